//! What is generated is what is committed. `BLESS=1 cargo test docs` writes it again.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use lockgate::lua::types;
use lockgate::report::{catalogue, reference, schema};

fn root() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR"))
}

/// Compares a generated file with the committed one, or writes it.
pub(crate) fn generated(path: &Path, text: &str) {
    if std::env::var_os("BLESS").is_some() {
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, text).unwrap();
        return;
    }
    let committed = fs::read_to_string(path).unwrap_or_default();
    if committed != text {
        let line =
            committed.lines().zip(text.lines()).position(|(a, b)| a != b).unwrap_or(committed.lines().count().min(text.lines().count()));
        panic!(
            "{} is stale at line {}: `BLESS=1 cargo test` writes it again\n  committed: {:?}\n  generated: {:?}",
            path.strip_prefix(root()).unwrap_or(path).display(),
            line + 1,
            committed.lines().nth(line),
            text.lines().nth(line)
        );
    }
}

#[test]
fn the_type_definitions_are_fresh() {
    generated(&root().join("stdlib/types/lockgate.d.luau"), &types::file());
}

#[test]
fn the_reference_is_fresh() {
    generated(&root().join("stdlib/reference.md"), &reference::page());
}

#[test]
fn the_schemas_are_fresh() {
    let folder = root().join("host/report/schema");
    let schemas = schema::all();
    for (name, schema) in &schemas {
        generated(&folder.join(name), &format!("{schema:#}\n"));
    }
    let committed: Vec<String> = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
    for file in committed {
        assert!(schemas.iter().any(|(name, _)| *name == file), "host/report/schema/{file} is no schema any more: delete it");
    }
}

#[test]
fn the_pages_of_the_runbooks_are_fresh() {
    let runbooks = lockgate::cli::bundled().unwrap();
    let folder = root().join("runbooks");
    generated(&folder.join("README.md"), &catalogue::catalogue_page(&runbooks));
    for runbook in &runbooks {
        let own = folder.join(&runbook.name);
        let transcript = fs::read_to_string(own.join("plan.txt")).ok();
        let known = lockgate::cli::known(&lockgate::run::Source::bundled(&runbook.name).unwrap()).unwrap();
        generated(&own.join("README.md"), &catalogue::page(runbook, &known, transcript.as_deref()));
    }
}

/// The README's table of commands and the program's own are the same.
#[test]
fn the_readme_names_every_command_and_no_other() {
    use clap::CommandFactory as _;
    let readme = fs::read_to_string(root().join("README.md")).unwrap();
    let named: Vec<&str> = readme.lines().filter_map(|line| line.strip_prefix("| `lockgate ")?.split([' ', '`']).next()).collect();
    let program = lockgate::cli::args::Cli::command();
    let commands: Vec<&str> =
        program.get_subcommands().filter(|command| !command.is_hide_set()).map(|command| command.get_name()).collect();
    for command in &commands {
        assert!(named.contains(command), "README.md does not name `lockgate {command}`");
    }
    for name in named {
        assert!(commands.contains(&name), "README.md names `lockgate {name}`, which is no command");
    }
}

/// The table of the README: what is known of every bundled runbook.
#[test]
fn the_table_of_runbooks_is_fresh() {
    let mut table = String::from(
        "| runbook | source | scenarios | sentences covered / waived | killed at | whole on a real control plane |\n|---|---|---|---|---|---|\n",
    );
    let completed = completed();
    for runbook in lockgate::cli::bundled().unwrap() {
        let name = &runbook.name;
        let source = lockgate::run::Source::bundled(name).unwrap();
        let tests = lockgate::cli::test::tests(&source).unwrap();
        let scenarios = tests.iter().filter(|test| matches!(test, lockgate::cli::test::Test::Scenario(_))).count();
        let (covered, waived) = sentences(&source, &runbook);
        let kills = fs::read_to_string(root().join(format!("tests/runbooks/{name}.txt"))).unwrap_or_default();
        // What there is behind the first line is of each fixture.
        let kills = kills.lines().next().unwrap_or_default().split_once(" scenarios, killed at ").map_or_else(
            || "not yet".to_owned(),
            |(of, points)| if of.contains(" of ") { format!("{points} in {of} scenarios") } else { points.to_owned() },
        );
        let real = if completed.contains(name) { "yes" } else { "no" };
        let document = runbook.header.source.as_deref().unwrap_or("").replace('|', "\\|");
        table.push_str(&format!(
            "| [`{name}`](runbooks/{name}/README.md) | {document} | {scenarios} | {covered} / {waived} | {kills} | {real} |\n"
        ));
    }
    quoted("README.md", "runbooks", &table);
}

/// How many lines with text of its documents are covered, and how many are waived.
fn sentences(source: &lockgate::run::Source, runbook: &lockgate::run::Runbook) -> (usize, usize) {
    use lockgate::run::runbook::CoveredBy;
    let mut sum = (0, 0);
    for table in &runbook.coverage {
        let lines = lockgate::run::coverage::committed(source, table).unwrap();
        for entry in &table.entries {
            let own = lines.range(entry.from..=entry.to).count();
            match entry.by {
                CoveredBy::Part(_) => sum.0 += own,
                CoveredBy::Waived(_) => sum.1 += own,
            }
        }
    }
    sum
}

/// The runbooks that went to their end on the real control plane: a case writes them into its record when it has passed.
fn completed() -> BTreeSet<String> {
    let records = root().join("tests/controlplane/procedures");
    let lines = |path: PathBuf| fs::read_to_string(path).unwrap().lines().map(str::to_owned).collect::<Vec<_>>();
    let records = fs::read_dir(records).unwrap().map(|entry| entry.unwrap().path());
    let records = records.filter(|path| path.extension().is_some_and(|ending| ending == "writes"));
    records.flat_map(lines).filter_map(|line| line.strip_prefix("completed ").map(str::to_owned)).collect()
}

/// Every record of the real control plane is of a case that there is: the file of the case names the record, and the runbooks in it.
#[test]
fn the_records_of_procedures_are_of_cases() {
    let folder = root().join("tests/controlplane");
    let files = |folder: &Path, ending: &str| -> Vec<PathBuf> {
        let all = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path());
        all.filter(|path| path.extension().is_some_and(|found| found == ending)).collect()
    };
    let procedures = folder.join("procedures");
    let cases: Vec<String> =
        files(&folder, "rs").iter().chain(&files(&procedures, "rs")).map(|path| fs::read_to_string(path).unwrap()).collect();
    let known: Vec<String> = lockgate::cli::bundled().unwrap().into_iter().map(|runbook| runbook.name).collect();
    for record in files(&procedures, "writes") {
        let name = record.file_stem().unwrap().to_str().unwrap();
        let case = name.strip_suffix("-helm3").or(name.strip_suffix("-helm4"));
        let quoted = case.map_or_else(|| format!("\"{name}\""), |case| format!("\"{case}-{{"));
        let text = fs::read_to_string(&record).unwrap();
        let completed: Vec<&str> = text.lines().map_while(|line| line.strip_prefix("completed ")).collect();
        assert!(!completed.is_empty(), "{name}.writes does not say what went to its end");
        for runbook in completed {
            assert!(known.iter().any(|known| known == runbook), "{name}.writes names `{runbook}`, which is no bundled runbook");
            for word in [&quoted, &format!("\"{runbook}\"")] {
                assert!(cases.iter().any(|case| case.contains(word)), "{name}.writes is of no case that runs `{runbook}`: none has {word}");
            }
        }
    }
}

/// Compares the part of a page between `<!-- name -->` and `<!-- end -->`, or writes it.
fn quoted(page: &str, name: &str, text: &str) {
    let path = root().join(page);
    let page = fs::read_to_string(&path).unwrap();
    let mark = format!("<!-- {name} -->\n");
    let (head, rest) = page.split_once(&mark).unwrap();
    let (_, tail) = rest.split_once("<!-- end -->").unwrap();
    generated(&path, &format!("{head}{mark}{text}<!-- end -->{tail}"));
}

/// The page of the simulator quotes its list of gaps, and both pages how true it is.
#[test]
fn the_figures_and_gaps_of_the_simulator_are_fresh() {
    let result = fs::read_to_string(root().join("tests/conformance/result.txt")).unwrap();
    let figure = format!("`{}`\n", result.trim());
    quoted("README.md", "conformance", &figure);
    // Their limits are in tests/README.md.
    quoted(
        "README.md",
        "faults",
        &format!("`{}`\n\n`{}` ([limits](tests/README.md#runs-that-are-killed))\n", faults(), crate::runs::count::line()),
    );
    quoted("host/sim/README.md", "conformance", &figure);
    quoted("host/sim/README.md", "gaps", &lockgate_sim::gaps::page());
    // That file is a test; the page's own code is one of the crate, which does not know `kube`.
    let example = fs::read_to_string(root().join("tests/cluster/controller.rs")).unwrap();
    quoted("host/sim/README.md", "controller", &format!("```rust,ignore\n{example}```\n"));
}

/// The sum of what the fault matrix counted, group by group.
fn faults() -> String {
    let mut sum = [0_usize; 2];
    for entry in fs::read_dir(root().join("tests/primitives/faults/counts")).unwrap() {
        let line = fs::read_to_string(entry.unwrap().path()).unwrap();
        let numbers: Vec<usize> = line.split_whitespace().filter_map(|word| word.parse().ok()).collect();
        sum = [sum[0] + numbers[0], sum[1] + numbers[1]];
    }
    format!("fault matrix: {} cells, {} as specified", sum[0], sum[1])
}

/// What stands between the first line that is `opening` and the next fence.
fn block<'a>(text: &'a str, opening: &str) -> &'a str {
    let start = text.find(opening).unwrap_or_else(|| panic!("README.md has no {opening}")) + opening.len() + 1;
    &text[start..start + text[start..].find("```").unwrap()]
}

/// The README opens with what its first command really prints.
#[test]
fn the_readme_opens_with_its_own_transcript() {
    let path = root().join("README.md");
    let readme = fs::read_to_string(&path).unwrap();
    let shown = block(&readme, "```console");
    let (prompt, _) = shown.split_once('\n').unwrap();
    let (_, words) = prompt.split_once(" -- ").unwrap();
    let runs = tempfile::tempdir().unwrap();
    let mut command = Command::new(env!("CARGO_BIN_EXE_lockgate"));
    let output = command.args(words.split_whitespace()).env("LOCKGATE_RUNS", runs.path()).output().unwrap();
    assert!(output.status.success(), "{prompt}: {}", String::from_utf8_lossy(&output.stderr));
    let real = format!("{prompt}\n{}", String::from_utf8(output.stdout).unwrap());
    generated(&path, &readme.replacen(shown, &real, 1));
}

/// The runbook that the README shows loads, and its plan succeeds on the fixture of the cluster that it is about.
#[test]
fn the_runbook_of_the_readme_runs() {
    let readme = fs::read_to_string(root().join("README.md")).unwrap();
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("ipam.luau");
    fs::write(&file, block(&readme, "```lua")).unwrap();
    let fixture = root().join("runbooks/cce-cni-v1-patch/cluster.yaml");
    let output = Command::new(env!("CARGO_BIN_EXE_lockgate"))
        .arg("plan")
        .arg(&file)
        .arg("image=registry.example/cce-plugin-pro/cce-cni:v1.8.4")
        .arg(format!("--sandbox={}", fixture.display()))
        .output()
        .unwrap();
    let shown = String::from_utf8(output.stdout).unwrap();
    assert_eq!(output.status.code(), Some(0), "{shown}{}", String::from_utf8_lossy(&output.stderr));
    assert!(shown.contains("would succeed: 3 writes"), "{shown}");
}

#[test]
fn the_readme_is_short() {
    let lines = fs::read_to_string(root().join("README.md")).unwrap().lines().count();
    // The table of the runbooks is a line for each.
    assert!(lines < 270, "README.md has {lines} lines");
}
