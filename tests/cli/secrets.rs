//! Secrets never arrive in what lockgate says or keeps: canaries in every place where a run meets a secret, looked for in every place
//! where it writes or says something.

use std::fs;
use std::path::{Path, PathBuf};

use expectrl::Expect as _;
use expectrl::session::OsSession;
use lockgate::base::base64;

use super::support::{CLUSTER, HEAD, Host};
use super::terminal::{ends, start};
use super::threats::serve;

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

/// A runbook that keeps asking about its secrets, on the same cluster.
fn asking() -> Host {
    let script = format!(
        r#"{HEAD}
param "key" {{ type = "secret", doc = "A key.", example = "x" }}
param "other" {{ type = "secret", doc = "Another.", example = "x" }}
permissions {{ {{ verbs = {{ "*" }}, kinds = {{ "*" }} }} }}

check "read" {{
  title = "The secret is there",
  run = function() return `read {{get("secret/db").data.k3}}` end,
}}

step "ask" {{
  title = "Ask",
  run = function()
    local all = ""
    for name, value in get("secret/db").data do all = `{{all}} {{value}}` end
    note(`all of them: {{all}}, {{params.key}}, {{params.other}}`)
    create({{ apiVersion = "v1", kind = "Secret", metadata = {{ name = "new" }}, stringData = {{ {written} }} }})
    confirm(`Is {{params.key}} the right key, and{{all}}?`)
    note("chosen: " .. ask(`Which of {{params.other}}?`, {{ choices = {{ "one", "none" }}, default = "none" }}))
    manual(`Look at{{all}} and {{params.other}}`)
  end,
}}

step "rest" {{
  title = "Rest",
  run = function()
    patch("secret/new", {{ stringData = {{ k0 = "{first}" }} }})
    scale("deployment/web", 3)
  end,
}}
"#,
        written = (MANY..MANY + 6).map(|number| format!("w{number} = \"{}\"", canaries()[number])).collect::<Vec<_>>().join(", "),
        first = canaries()[MANY],
    );
    host().file("r/runbook.luau", &script)
}

const KEYS: [&str; 2] = ["key=canary-62-param", "other=canary-63-param"];

/// What the command said from here to these words, on its terminal.
fn until(session: &mut OsSession, words: &str) -> String {
    let found = session.expect(words).unwrap_or_else(|error| panic!("`{words}` does not appear: {error}"));
    String::from_utf8_lossy(found.before()).into_owned()
}

#[test]
fn no_secret_is_in_a_question_or_on_another_terminal() {
    let host = asking();
    let mut session = start(&host, &["run", "r", KEYS[0], KEYS[1], "--sandbox", "--no-plan", "--runs", "state"]);
    let mut said = String::new();
    for (words, answer) in [("without a plan? [y/N] ", "y"), ("[y/N] ", "y"), ("[none] ", "none"), ("[y/N] ", "n")] {
        said.push_str(&until(&mut session, words));
        session.send_line(answer).unwrap();
    }
    said.push_str(&ends(session, 4));
    assert!(said.contains("Is (secret) the right key, and (secret)"), "{said}");
    assert!(said.contains("Which of (secret)?") && said.contains("Look at (secret)"), "{said}");
    clean("the questions of a run", &said);
    all_clean(&host, "state");

    // The same run as others see it, who answer it and go on.
    for (words, code) in [
        (&["status", "last"][..], 0),
        (&["attach", "last"], 4),
        (&["resume", "last"], 4),
        (&["approve", "last", "ask", "--yes"], 0),
        (&["resume", "last"], 0),
        (&["report", "last"], 0),
        (&["report", "last", "-o", "json"], 0),
        (&["report", "last", "-o", "markdown"], 0),
        (&["report", "last", "-o", "html"], 0),
        (&["status", "last", "-o", "json"], 0),
        (&["runs", "-o", "json"], 0),
        (&["rollback", "last", "--yes"], 0),
        (&["report", "last"], 0),
        (&["report", "last", "-o", "json"], 0),
    ] {
        let mut words = words.to_vec();
        words.extend(["--runs", "state", "-v"]);
        // What no journal keeps is given again.
        if ["resume", "rollback"].contains(&words[0]) {
            words.extend(KEYS);
        }
        let said = host.run(&words).exits(code);
        clean(&words.join(" "), &format!("{}{}", said.stdout, said.stderr));
    }
    all_clean(&host, "state");
}

#[test]
fn what_can_be_chosen_is_no_secret() {
    for options in ["choices = { params.key, \"none\" }", "default = `as {params.key}`"] {
        let script = format!(
            "{HEAD}param \"key\" {{ type = \"secret\", doc = \"A key.\", example = \"x\" }}\n\
             step \"ask\" {{ title = \"Ask\", run = function() ask(\"Which?\", {{ {options} }}) end }}\n"
        );
        for words in [&["plan", "r", KEYS[0], "--sandbox"][..], &["run", "r", KEYS[0], "--sandbox", "--yes", "--no-plan"]] {
            let said = Host::with_runbook(&script).run(words).exits(1);
            let said = said.tells("`ask`: one of the choices, or the default, holds a secret").tells("hint: ");
            clean("the error", &format!("{}{}", said.stdout, said.stderr));
        }
    }
}

/// Whether the simulated cluster of the newest run holds this value in the Secret `made`.
fn made(host: &Host, value: &str) -> bool {
    let wanted = base64::encode(value.as_bytes());
    super::worlds::again(host).with(|sim| {
        let mut secrets = sim.store().list(lockgate_sim::kinds::SECRET, None).map(|(_, object)| object.to_string());
        secrets.any(|secret| secret.contains("\"made\"") && secret.contains(&wanted))
    })
}

/// A manifest with a Secret in it is a parameter that no journal keeps: who goes on must not write what stands there for its values.
#[test]
fn a_run_that_goes_on_has_the_secrets_of_its_parameters_or_does_not_go_on() {
    let script = format!(
        "{HEAD}param \"what\" {{ type = \"manifests\", doc = \"What is made.\", example = \"m.yaml\" }}\n\
         param \"key\" {{ type = \"secret\", doc = \"A key.\", example = \"x\" }}\n\
         param \"url\" {{ type = \"string\", doc = \"With the key in it.\", example = \"x\" }}\n\
         permissions {{ {{ verbs = {{ \"*\" }}, kinds = {{ \"*\" }} }} }}\n\
         step \"make\" {{ title = \"Make\", gate = \"Go on?\", run = function()\n  apply(params.what)\n  annotate(\"deployment/web\", {{ length = tostring(#params.url) }})\nend }}\n"
    );
    let manifest = "apiVersion: v1\nkind: Secret\nmetadata: { name: made, namespace: shop }\nstringData: { a: canary-56-Xk3?&v }\n";
    let url = "url=https://example/?key=canary-62-param";
    let host = Host::with_runbook(&script).file("m.yaml", manifest).file("other.yaml", &manifest.replace("56", "57"));
    host.run(&["run", "r", "what=m.yaml", KEYS[0], url, "--sandbox", "--yes", "--runs", "state"]).exits(4);
    host.run(&["approve", "last", "make", "--yes", "--runs", "state"]).exits(0);
    all_clean(&host, "state");
    let resume = |more: &[&str], code: i32| {
        let mut words = vec!["resume", "last", "--runs", "state"];
        words.extend(more);
        host.run(&words).exits(code)
    };
    let told = "the parameter `what` has to be given again: it holds a secret, which no journal keeps";
    resume(&[KEYS[0], url], 2).tells(told).tells("what=…");
    resume(&[KEYS[0], "what=m.yaml"], 2).tells("the parameter `url` has to be given again: it holds a secret");
    resume(&[KEYS[0], url, "what=other.yaml"], 2).tells("the parameter `what` is not the one that the run began with");
    assert!(!made(&host, "canary-56-Xk3?&v"));
    resume(&[KEYS[0], url, "what=m.yaml"], 0);
    assert!(made(&host, "canary-56-Xk3?&v"));
    all_clean(&host, "state");
}

/// Tables stand in a parameter file; with a secret in them they are given again as JSON.
#[test]
fn tables_with_a_secret_are_given_again_as_json() {
    let script = format!(
        "{HEAD}param \"key\" {{ type = \"secret\", doc = \"A key.\", example = \"x\" }}\n\
         param \"values\" {{ type = \"map\", doc = \"Values.\" }}\nparam \"rules\" {{ type = \"list\", doc = \"Rules.\" }}\n\
         step \"use\" {{ title = \"Use\", gate = \"Go on?\", run = function()\n\
           annotate(\"deployment/web\", {{ length = tostring(#params.values.url + #params.rules[1].key) }})\nend }}\n"
    );
    let file =
        "key: canary-62-param\nvalues: { url: \"https://example/?key=canary-62-param\", port: 8080 }\nrules: [{ key: canary-62-param }]\n";
    let host = Host::with_runbook(&script).file("p.yaml", file);
    host.run(&["run", "r", "--params", "p.yaml", "--sandbox", "--yes", "--runs", "state"]).exits(4);
    host.run(&["approve", "last", "use", "--yes", "--runs", "state"]).exits(0);
    let resume = |more: &[&str], code: i32| {
        let said = host.run(&[&["resume", "last", "--runs", "state", KEYS[0]], more].concat()).exits(code);
        clean("a resume", &format!("{}{}", said.stdout, said.stderr));
        said
    };
    let rules = r#"rules=[{"key": "canary-62-param"}]"#;
    let values = r#"values={"port": 8080, "url": "https://example/?key=canary-62-param"}"#;
    resume(&[rules], 2)
        .tells("the parameter `values` has to be given again: it holds a secret")
        .tells("values='{…}' --runs state`, the table as JSON");
    resume(&[values], 2).tells("the parameter `rules` has to be given again: it holds a secret");
    resume(&[rules, "values=canary-62-param"], 2).tells("parameter `values`: it is no JSON").tells("as JSON: values='{");
    resume(&[rules, &values.replace("8080", "8081")], 2).tells("the parameter `values` is not the one that the run began with");
    resume(&[rules, values], 0).shows("length");
    all_clean(&host, "state");
}

/// What a later step gets is kept in the journal, and a secret is not.
#[test]
fn what_lives_across_steps_is_no_secret() {
    let param = "param \"key\" { type = \"secret\", doc = \"A key.\", example = \"x\" }\n";
    for (step, name) in [
        ("step \"a\" { title = \"A\", run = function() state.token = \"it is \" .. params.key end }", "`state.token`"),
        ("step \"a\" { title = \"A\", each = function() return { params.key } end, run = function() end }", "`each`"),
    ] {
        let host = Host::with_runbook(&format!("{HEAD}{param}{step}\n"));
        for words in [&["plan", "r", KEYS[0], "--sandbox"][..], &["run", "r", KEYS[0], "--sandbox", "--yes", "--no-plan"]] {
            let said = host.run(words).exits(1).tells(&format!("{name} holds a secret, which no journal keeps")).tells("hint: ");
            clean("the error", &format!("{}{}", said.stdout, said.stderr));
        }
    }
}

/// Nothing secret is in the files of runs.
fn all_clean(host: &Host, state: &str) {
    let mut files = Vec::new();
    kept(&host.path().join(state), &mut files);
    assert!(!files.is_empty());
    for (path, text) in &files {
        clean(&path.display().to_string(), text);
    }
}

#[test]
fn no_secret_is_in_a_page_a_file_or_a_snapshot() {
    let host = asking();
    let (_served, kubeconfig) = serve(&host, "r", "record.jsonl");
    let host = host.file("k.yaml", &kubeconfig);
    let on = |words: &[&str], way: &[&str], code: i32| {
        let mut all = words.to_vec();
        all.extend(way);
        let said = host.run(&all).exits(code);
        clean(&all.join(" "), &format!("{}{}", said.stdout, said.stderr));
        format!("{}{}", said.stdout, said.stderr)
    };
    let live = ["--kubeconfig", "k.yaml"];
    let copy = ["--sandbox"];
    for way in [&live[..], &copy] {
        for more in
            [&["-o", "text"][..], &["-o", "json"], &["-o", "markdown"], &["-o", "html"], &["--explain", "ask"], &["--out", "plan.json"]]
        {
            let mut words = vec!["plan", "r", KEYS[0], KEYS[1]];
            words.extend(more);
            let said = on(&words, way, 3);
            assert!(more[0] == "--out" || said.contains("(secret)"), "{said}");
        }
        clean("plan.json", &fs::read_to_string(host.path().join("plan.json")).unwrap());
        on(&["rbac", "r", KEYS[0], KEYS[1]], way, 3);
    }
    on(&["snapshot", "-o", "all.snap"], &live, 0);
    on(&["snapshot", "-o", "few.snap", "--for", "r", KEYS[0], KEYS[1]], &live, 0);
    for name in ["all.snap", "few.snap"] {
        let mut text = String::new();
        let file = fs::File::open(host.path().join(name)).unwrap();
        std::io::Read::read_to_string(&mut flate2::read::GzDecoder::new(file), &mut text).unwrap();
        clean(name, &text);
    }
    on(&["plan", "r", KEYS[0], KEYS[1], "--snapshot", "all.snap"], &[], 3);
    // What the run itself leaves in the cluster, Secrets aside, and what it says of its Secrets where a question parks it.
    on(&["run", "r", KEYS[0], KEYS[1], "--yes", "-v"], &live, 4);
    on(&["snapshot", "-o", "after.snap"], &live, 0);
    let mut text = String::new();
    let file = fs::File::open(host.path().join("after.snap")).unwrap();
    std::io::Read::read_to_string(&mut flate2::read::GzDecoder::new(file), &mut text).unwrap();
    assert!(text.contains("lockgate.dev/op") && text.contains("\"Lease\""), "the run has written");
    clean("the lock, the marks of writes and the events", &text);
}
