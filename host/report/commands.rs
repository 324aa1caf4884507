//! Commands about runs in what people are told. Who names one does not know where the runs are kept; here it gets the option that finds
//! the same run again.

use std::borrow::Cow;

/// The commands that look for a run in the folder of runs.
const ABOUT_RUNS: [&str; 8] = ["approve", "attach", "report", "resume", "rollback", "runs", "status", "unlock"];
/// The option that says where.
const OPTION: &str = " --runs ";

/// Puts `options` behind each command between backticks that looks for a run, where it does not have them.
#[must_use]
pub fn with_options<'a>(text: &'a str, options: &str) -> Cow<'a, str> {
    const BEGINS: &str = "`lockgate ";
    if options.is_empty() || !text.contains(BEGINS) {
        return Cow::Borrowed(text);
    }
    let mut parts = text.split(BEGINS);
    let mut out = parts.next().unwrap_or_default().to_owned();
    for part in parts {
        out.push_str(BEGINS);
        let end = part.find(['`', '\n']).filter(|end| part[*end..].starts_with('`'));
        let command = end.map_or("", |end| &part[..end]);
        if is_about_a_run(command) {
            out.push_str(command);
            out.push_str(options);
        } else {
            out.push_str(command);
        }
        out.push_str(&part[command.len()..]);
    }
    Cow::Owned(out)
}

/// Whether this, behind `lockgate`, is a command that looks for a run and does not say where.
fn is_about_a_run(command: &str) -> bool {
    let word = command.split(' ').next().unwrap_or_default();
    ABOUT_RUNS.contains(&word) && !format!("{command} ").contains(OPTION)
}

#[cfg(test)]
mod tests {
    use super::with_options;

    #[test]
    fn commands_about_runs_say_where_the_runs_are() {
        for (text, expected) in [
            (
                "`lockgate resume A` goes on; `lockgate rollback A` takes it back",
                "`lockgate resume A --runs /r` goes on; `lockgate rollback A --runs /r` takes it back",
            ),
            ("hint: (`lockgate runs`)", "hint: (`lockgate runs --runs /r`)"),
            ("`lockgate resume A --script pinned`", "`lockgate resume A --script pinned --runs /r`"),
            ("`lockgate status A --runs /s`", "`lockgate status A --runs /s`"),
            ("`lockgate list` and `lockgate plan x`", "`lockgate list` and `lockgate plan x`"),
            ("lockgate resume A", "lockgate resume A"),
            ("`lockgate resume A\nnot closed here`", "`lockgate resume A\nnot closed here`"),
            ("`lockgate resume A", "`lockgate resume A"),
        ] {
            assert_eq!(with_options(text, " --runs /r"), expected);
            assert_eq!(with_options(text, ""), text);
        }
    }
}
