//! What a Secret holds is used at the prompt and not shown there, on the copy and on the cluster itself. A value of less than six
//! characters is not shown as part of its Secret; elsewhere it could be any word.

use super::pending::piped;

#[test]
fn what_a_secret_holds_is_used_and_not_shown() {
    let home = tempfile::tempdir().unwrap();
    let lines = [
        r#"apply({ apiVersion = "v1", kind = "Secret", metadata = { name = "db", namespace = "default" }, stringData = { password = "canary-0001", pin = "1" } })"#,
        r#"get("secret/db")"#,
        r#"held = get("secret/db").data"#,
        "held",
        "held.password",
        r#"{ of = held, also = { held.password } }"#,
        "print(`it is {held.password}`)",
        r#"list("secret")"#,
        r#"set_env("deployment/kube-system/cce-eni-ipam", { PASSWORD = held.password })"#,
        "ensure(false, held.password)",
        "error(held.password)",
        "confirm(`Sure of {held.password}?`)",
        ":diff",
        ":plan",
        ":commit",
        ":live on",
        r#"patch("secret/default/db", { stringData = { password = "canary-0002" } })"#,
        r#"get("secret/default/db").data.password"#,
        r#"#get("secret/default/db").data.password"#,
        ":live off",
    ];
    let (code, out, said) = piped(home.path(), &lines);
    assert_eq!(code, Some(1), "two lines fail by what they say:\n{out}\n{said}");
    for canary in ["canary-0001", "Y2FuYXJ5LTAwMDE", "canary-0002", "Y2FuYXJ5LTAwMDI"] {
        assert!(!out.contains(canary) && !said.contains(canary), "{canary}:\n{out}\n{said}");
    }
    assert!(out.contains("  password: (secret)") && out.contains("  pin: (secret)"), "{out}");
    assert!(out.lines().any(|line| line == "(secret)"), "one value by its name:\n{out}");
    assert!(out.contains("it is (secret)"), "{out}");
    assert!(said.contains("error: (secret)"), "{said}");
    assert!(out.lines().any(|line| line == "16"), "what it is can be used:\n{out}");
}
