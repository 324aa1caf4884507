use super::*;

fn sample() -> PlanFile {
    let mut file = PlanFile {
        schema: SCHEMA.to_owned(),
        hash: String::new(),
        tool: "1".to_owned(),
        runbook: "r".to_owned(),
        files: BTreeMap::new(),
        params: BTreeMap::new(),
        cluster: "c".to_owned(),
        uid: None,
        simulated: true,
        namespace: "shop".to_owned(),
        summary: Json::Null,
        claims: vec![Claim { at: "step a".to_owned(), says: "patch deployment/web".to_owned() }],
        confirmations: Vec::new(),
        inputs: BTreeMap::new(),
        lists: BTreeMap::new(),
        charts: BTreeMap::new(),
    };
    file.hash = file.sum().unwrap();
    file
}

#[test]
fn what_was_written_is_read() {
    let text = sample().text().unwrap();
    assert_eq!(PlanFile::read("p", &text).unwrap(), sample());
}

#[test]
fn what_is_no_whole_plan_file_is_told_by_what_is_wrong() {
    let text = sample().text().unwrap();
    for (text, words) in [
        (text[..text.len() / 2].to_owned(), "ends too early"),
        (text.replace("deployment/web", "deployment/api"), "not as it was written"),
        (text.replace("planfile/v1", "planfile/v2"), "another version"),
        (text.replace("\"schema\"", "\"sch\""), "is no plan file"),
        ("[]".to_owned(), "is no plan file"),
        ("plan".to_owned(), "is no plan file"),
        // A member that this version does not know is an edit all the same.
        (text.replacen('{', "{ \"more\": 1,", 1), "not as it was written"),
    ] {
        let error = PlanFile::read("p", &text).unwrap_err();
        assert!(error.message.contains(words), "{words}: {error:?}");
    }
}
