//! Secrets never arrive in what lockgate says or keeps: canaries in every place where a run meets a secret, looked for in every place
//! where it writes or says something.

use std::fs;
use std::path::{Path, PathBuf};

use lockgate::base::base64;

use super::support::{CLUSTER, HEAD, Host};

/// How many canaries a Secret of the cluster holds.
const MANY: usize = 56;

/// What is secret in the fixture, in parameters, and in what the script writes.
fn canaries() -> Vec<String> {
    let read = (0..MANY).map(|number| format!("canary-{number:02}-Zq7/+w"));
    let written = (MANY..MANY + 6).map(|number| format!("canary-{number:02}-Xk3?&v"));
    read.chain(written).chain(["canary-62-param".to_owned(), "canary-63-param".to_owned()]).collect()
}

/// Every form in which a canary may be found.
fn forms(canary: &str) -> [String; 3] {
    let url: String = canary
        .bytes()
        .map(|byte| if byte.is_ascii_alphanumeric() || byte == b'-' { char::from(byte).to_string() } else { format!("%{byte:02X}") })
        .collect();
    [canary.to_owned(), base64::encode(canary.as_bytes()).trim_end_matches('=').to_owned(), url]
}

fn host() -> Host {
    let canaries = canaries();
    let data: String = canaries[..MANY]
        .iter()
        .enumerate()
        .map(|(number, canary)| format!("  k{number}: {}\n", base64::encode(canary.as_bytes())))
        .collect();
    let secret = format!("---\napiVersion: v1\nkind: Secret\nmetadata: {{ name: db, namespace: shop }}\ntype: Opaque\ndata:\n{data}");
    let script = format!(
        r#"{HEAD}
param "key" {{ type = "secret", doc = "A key.", example = "x" }}
param "other" {{ type = "secret", doc = "Another.", example = "x" }}

check "read" {{
  title = "The secret is there",
  run = function()
    local db = get("secret/db")
    for name, value in db.data do note(`{{name}} is {{value}}`) end
    return `read {{db.data.k0}}`
  end,
}}

step "tell" {{
  title = "Tell",
  run = function()
    for _, one in list("secret") do note("listed " .. tostring(one.data.k1)) end
    note("key is " .. params.key)
    annotate("deployment/web", {{ note = "for " .. params.other }})
    create({{ apiVersion = "v1", kind = "Secret", metadata = {{ name = "new" }}, stringData = {{ a = "{a}", b = "{b}" }} }})
    patch("secret/db", {{ stringData = {{ c = "{c}", d = "{d}" }} }})
    pcall(patch, "secret/none", {{ stringData = {{ e = "{e}" }} }})
    note("written {a} {b} {c} {d} {e}")
    confirm("Does {a} look right?")
    error("it went wrong with " .. params.key .. " and {b} and {f}" .. get("secret/db").data.k2)
  end,
}}
"#,
        a = canaries[MANY],
        b = canaries[MANY + 1],
        c = canaries[MANY + 2],
        d = canaries[MANY + 3],
        e = canaries[MANY + 4],
        f = "",
    );
    Host::new().file("r/runbook.luau", &script).file("r/cluster.yaml", &format!("{CLUSTER}{secret}"))
}

/// Every file below a folder, with what it holds; the pinned script and fixture are the operator's own files.
fn kept(folder: &Path, out: &mut Vec<(PathBuf, String)>) {
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() && !path.ends_with("script") {
            kept(&path, out);
        } else if path.is_file() {
            out.push((path.clone(), String::from_utf8_lossy(&fs::read(&path).unwrap()).into_owned()));
        }
    }
}

#[track_caller]
fn clean(sink: &str, text: &str) {
    for canary in canaries() {
        for form in forms(&canary) {
            let found = text.find(&form).map(|at| text[at.saturating_sub(120)..].chars().take(300).collect::<String>());
            assert_eq!(found, None, "{canary} is in {sink}");
        }
    }
}

#[test]
fn no_secret_is_said_or_kept() {
    let words = ["key=canary-62-param", "other=canary-63-param", "--sandbox", "--yes", "--no-plan"];
    for format in ["text", "json"] {
        let host = host();
        let mut run = vec!["run", "r"];
        run.extend(words);
        run.extend(["-o", format, "-vv", "--runs", "state"]);
        let said = host.run(&run);
        assert!(said.stdout.contains("(secret)"), "the run met its secrets\n{}{}", said.stdout, said.stderr);
        clean(&format!("standard output of run -o {format}"), &said.stdout);
        clean(&format!("standard error of run -o {format} -vv"), &said.stderr);
        let mut files = Vec::new();
        kept(&host.path().join("state"), &mut files);
        assert!(files.iter().any(|(path, text)| path.ends_with("journal.jsonl") && text.contains("(secret)")), "{files:?}");
        for (path, text) in &files {
            clean(&path.display().to_string(), text);
        }
        for words in
            [&["status"][..], &["runs"], &["report", "last"], &["report", "last", "-o", "json"], &["report", "last", "-o", "markdown"]]
        {
            let mut words = words.to_vec();
            words.extend(["--runs", "state"]);
            let said = host.run(&words).exits(0);
            clean(&words.join(" "), &format!("{}{}", said.stdout, said.stderr));
        }
        let html = host.run(&["report", "last", "-o", "html", "--runs", "state"]).exits(0);
        clean("report -o html", &html.stdout);
    }
    let host = host();
    for format in ["text", "json"] {
        let said = host.run(&["plan", "r", words[0], words[1], "--sandbox", "-o", format, "-vv"]);
        assert!(said.stdout.contains("(secret)"), "{}{}", said.stdout, said.stderr);
        clean(&format!("plan -o {format}"), &format!("{}{}", said.stdout, said.stderr));
    }
}
