//! What people get wrong, and what they are told: word for word in `tests/cli/golden/`.

use super::support::{CLUSTER, HEAD, Host, MOVE};

/// One row: the name of the golden file, the words, the exit code.
type Row<'a> = (&'a str, &'a [&'a str], i32);

fn check(host: &Host, rows: &[Row<'_>]) {
    for (name, words, code) in rows {
        let said = host.run(words).exits(*code);
        assert!(said.stdout.is_empty(), "{}", said.transcript());
        said.golden(name);
    }
}

#[test]
fn the_command_line() {
    check(
        &Host::new(),
        &[
            ("unknown-command", &["plna", "x"], 2),
            ("unknown-option", &["plan", "cce-cni-v1-patch", "--sandbx"], 2),
            ("unknown-format", &["list", "-o", "jsn"], 2),
            ("sandbox-and-context", &["plan", "cce-cni-v1-patch", "--sandbox", "--context", "prod"], 2),
            ("unknown-runbook-near", &["show", "cce-cni-v1-ptach"], 2),
            ("unknown-runbook", &["show", "nothing-like-it"], 2),
            ("unknown-path", &["show", "./nothing/here"], 2),
            ("unknown-shell", &["completions", "zhs"], 2),
        ],
    );
}

#[test]
fn parameters() {
    let host = Host::with_runbook(MOVE)
        .file("bad.yaml", "image: registry.example/web:v1.2.4\nother: [unclosed\n")
        .file("unknown.yaml", "imgae: registry.example/web:v1.2.4\n");
    check(
        &host,
        &[
            ("parameter-missing", &["plan", "r", "--sandbox"], 2),
            ("parameter-unknown", &["plan", "r", "imag=x:v1", "--sandbox"], 2),
            ("parameter-no-value", &["plan", "r", "image", "--sandbox"], 2),
            ("parameter-twice", &["plan", "r", "image=x:v1", "image=x:v2", "--sandbox"], 2),
            ("image-uppercase", &["plan", "r", "image=Registry/Web:v1", "--sandbox"], 2),
            ("image-empty-tag", &["plan", "r", "image=web:", "--sandbox"], 2),
            ("params-file-missing", &["plan", "r", "--params", "nothing.yaml", "--sandbox"], 2),
            ("params-file-broken", &["plan", "r", "--params", "bad.yaml", "--sandbox"], 2),
            ("params-file-unknown", &["plan", "r", "--params", "unknown.yaml", "--sandbox"], 2),
        ],
    );
    let typed = Host::with_runbook(&format!(
        "{HEAD}param \"to\" {{ type = \"version\", doc = \"Where to.\", example = \"v1.2.3\" }}\n\
         param \"pace\" {{ type = \"choice\", doc = \"How fast.\", choices = {{ \"fast\", \"slow\" }}, default = \"slow\" }}\n"
    ));
    check(
        &typed,
        &[
            ("version-wrong", &["plan", "r", "to=latest", "--sandbox"], 2),
            ("choice-wrong", &["plan", "r", "to=v1.2.3", "pace=fats", "--sandbox"], 2),
        ],
    );
}

#[test]
fn values_that_are_of_the_type_and_not_allowed() {
    let host = Host::with_runbook(&format!(
        "{HEAD}param \"n\" {{ type = \"integer\", doc = \"How many.\", min = 1, max = 5, default = 1 }}\n\
         param \"p\" {{ type = \"string\", doc = \"A word.\", pattern = \"%l+\", default = \"a\" }}\n\
         param \"d\" {{ type = \"duration\", doc = \"How long.\", default = \"1m\" }}\n\
         param \"image\" {{ type = \"image\", doc = \"What.\", optional = true }}\n"
    ))
    .file("seconds.yaml", "d: 90\n")
    .file("number.json", "{\"image\": 3}\n");
    check(
        &host,
        &[
            ("integer-bounds", &["plan", "r", "n=9", "--sandbox"], 2),
            ("string-pattern", &["plan", "r", "p=AB", "--sandbox"], 2),
            ("image-number", &["plan", "r", "--params", "number.json", "--sandbox"], 2),
        ],
    );
    host.run(&["plan", "r", "--params", "seconds.yaml", "--sandbox"]).exits(0).shows("d=1m30s");
}

#[test]
fn folders_of_modules() {
    let text = format!("{HEAD}local helpers = require(\"./helpers\")\n");
    let host = Host::with_runbook(&text).file("r/helpers.luau", "return {}\n").file("plain.txt", "x\n");
    check(
        &host,
        &[
            ("modules-missing", &["plan", "r", "--modules", "nowhere", "--sandbox"], 2),
            ("modules-no-folder", &["show", "r", "--modules", "plain.txt"], 2),
            ("require-with-dot", &["show", "r"], 1),
        ],
    );
    host.run(&["repl", "--sandbox", "--modules", "nowhere"]).exits(2).tells("there is no such folder");
}

#[test]
fn files_that_are_no_runbooks() {
    let host = Host::new()
        .file("syntax/runbook.luau", &format!("{HEAD}step \"a\" {{\n  run = function() wait_rollout( end,\n}}\n"))
        .bytes("binary/runbook.luau", b"\x7fELF\xff\xfe\x00\x01")
        .file("prose/runbook.luau", "This is no program.\n")
        .file("empty/README.md", "nothing\n")
        .file("field/runbook.luau", &format!("{HEAD}step \"a\" {{ titel = \"A\", run = function() end }}\n"))
        .file("global/runbook.luau", &format!("{HEAD}agent = \"x\"\n"))
        .file("early/runbook.luau", &format!("{HEAD}local web = get(\"deployment/web\")\n"));
    check(
        &host,
        &[
            ("syntax-error", &["show", "syntax"], 1),
            ("not-text", &["show", "binary"], 2),
            ("not-luau", &["show", "prose"], 1),
            ("folder-without-runbook", &["show", "empty"], 2),
            ("unknown-field", &["show", "field"], 1),
            ("global-assigned", &["show", "global"], 1),
            ("verb-while-loading", &["show", "early"], 1),
        ],
    );
}

/// Few lines of YAML whose aliases stand for a hundred million values.
fn bomb() -> String {
    let mut text = "apiVersion: v1\nkind: ConfigMap\nmetadata: { name: a }\na0: &a0 [1, 1, 1, 1, 1, 1, 1, 1, 1, 1]\n".to_owned();
    for level in 1..8 {
        let inner = vec![format!("*a{}", level - 1); 10].join(", ");
        text.push_str(&format!("a{level}: &a{level} [{inner}]\n"));
    }
    text
}

#[test]
fn fixtures() {
    let host = Host::with_runbook(MOVE)
        .file("broken.yaml", &CLUSTER.replace("kind: Deployment", "kind: Deploymnt"))
        .file("unclosed.yaml", "apiVersion: v1\nkind: [Node\n")
        .file("bomb.yaml", &bomb());
    let image = "image=registry.example/web:v1.2.4";
    check(
        &host,
        &[
            ("fixture-unknown-kind", &["plan", "r", image, "--sandbox=broken.yaml"], 2),
            ("fixture-no-yaml", &["plan", "r", image, "--sandbox=unclosed.yaml"], 2),
            ("fixture-bomb", &["plan", "r", image, "--sandbox=bomb.yaml"], 2),
            ("fixture-missing", &["plan", "r", image, "--sandbox=nothing.yaml"], 2),
        ],
    );
    let without = Host::new().file("r/runbook.luau", MOVE);
    check(&without, &[("fixture-none", &["plan", "r", image, "--sandbox"], 2)]);
}

/// A step with this body, planned; the talk is compared.
fn step(name: &str, body: &str, code: i32) {
    let host = Host::with_runbook(&format!("{HEAD}\nstep \"a\" {{\n  title = \"A\",\n  run = function()\n    {body}\n  end,\n}}\n"));
    host.run(&["plan", "r", "--sandbox"]).exits(code).golden(name);
}

#[test]
fn calls() {
    step("verb-unknown", "wait_rolout(\"deployment/web\")", 1);
    step("verb-wrong-type", "scale(\"deployment/web\", \"three\")", 1);
    step("verb-unknown-option", "wait_rollout(\"deployment/web\", { stal = \"1m\" })", 1);
    step("object-missing", "get(\"deployment/wbe\")", 1);
    step("kind-unknown", "get(\"deploymnt/web\")", 1);
    step("container-missing", "set_image(\"deployment/web\", { wbe = \"registry.example/web:v2\" })", 1);
    step("raised", "error(\"not today\")", 1);
    let check = Host::with_runbook(&format!("{HEAD}check \"c\" {{ title = \"C\", run = function() scale(\"deployment/web\", 0) end }}\n"));
    check.run(&["plan", "r", "--sandbox"]).exits(1).golden("write-in-check");
}

#[test]
fn errors_in_modules_point_into_them() {
    let host = Host::with_runbook(&format!(
        "{HEAD}local helper = require \"helper\"\nstep \"a\" {{ title = \"A\", run = function() helper.roll(\"deployment/wbe\") end }}\n"
    ))
    .file("r/helper.luau", "local helper = {}\n\nfunction helper.roll(ref)\n  set_image(ref, { web = \"x:v1\" })\nend\n\nreturn helper\n");
    host.run(&["plan", "r", "--sandbox"]).exits(1).golden("error-in-module");
}
