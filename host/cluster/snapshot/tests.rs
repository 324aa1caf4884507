use super::redact::{HIDDEN, redact, sealed};
use super::*;
use crate::base::base64;

fn sample() -> Contents {
    let head = Head { schema: SCHEMA.to_owned(), tool: "1".to_owned(), cluster: "prod".to_owned(), ..Head::default() };
    let mut contents = Contents::new(head);
    for number in 0..50 {
        contents.add(
            "",
            "configmaps",
            json!({ "metadata": { "namespace": "shop", "name": (format!("c{number}")) }, "data": { "a": "b" } }),
        );
    }
    contents
}

#[test]
fn what_was_written_is_read() {
    let contents = sample();
    assert_eq!(Contents::read("s", &contents.bytes().unwrap()).unwrap(), contents);
    assert_eq!(contents.of("", "configmaps", Some("shop")).count(), 50);
    assert_eq!(contents.of("", "configmaps", Some("other")).count(), 0);
}

#[test]
fn a_snapshot_that_lost_its_end_is_told_wherever_it_was_cut() {
    let bytes = sample().bytes().unwrap();
    for length in [3, 20, bytes.len() / 2, bytes.len() - 9, bytes.len() - 1] {
        let error = Contents::read("s", &bytes[..length]).unwrap_err();
        assert!(error.message.contains("ends too early"), "{length}: {error:?}");
    }
    // Cut before it was packed.
    let mut text = String::new();
    GzDecoder::new(bytes.as_slice()).read_to_string(&mut text).unwrap();
    let pack = |text: &str| {
        let mut zip = GzEncoder::new(Vec::new(), Compression::default());
        zip.write_all(text.as_bytes()).unwrap();
        zip.finish().unwrap()
    };
    let lines: Vec<&str> = text.lines().collect();
    let cut = Contents::read("s", &pack(&lines[..20].join("\n"))).unwrap_err();
    assert!(cut.message.contains("ends too early"), "{cut:?}");
    let edited = Contents::read("s", &pack(&text.replacen("\"b\"", "\"c\"", 1))).unwrap_err();
    assert!(edited.message.contains("is damaged"), "{edited:?}");
    let newer = Contents::read("s", &pack(&text.replace("snapshot/v1", "snapshot/v2"))).unwrap_err();
    assert!(newer.message.contains("another version"), "{newer:?}");
    assert!(Contents::read("s", &pack("{}\n")).unwrap_err().message.contains("no snapshot"));
    let mut other = bytes.clone();
    other[2] = 0;
    assert!(Contents::read("s", &other).unwrap_err().message.contains("no snapshot"), "a way of packing that nobody knows");
}

#[test]
fn what_is_secret_is_cut_and_told() {
    let jwt = format!("eyJ{}.eyJ{}.x", "a".repeat(30), "b".repeat(30));
    let cut = |mut object: Json| {
        let mut cuts = Vec::new();
        redact("o", &mut object, &mut cuts);
        (object, cuts)
    };
    let (secret, cuts) =
        cut(json!({ "kind": "Secret", "metadata": { "annotations": { "kubectl.kubernetes.io/last-applied-configuration": "{hunter2}" } },
        "data": { "password": (base64::encode(b"hunter2")) } }));
    assert!(!secret.to_string().contains("hunter2") && cuts.len() == 2, "{secret} {cuts:?}");
    let once = secret["data"]["password"].as_str().unwrap().to_owned();
    assert_eq!(sealed(&once), sealed(&base64::encode(b"hunter2")), "a hash stays what it is");

    let (pod, cuts) = cut(json!({ "kind": "Pod", "spec": { "containers": [{ "env": [
        { "name": "DB_PASSWORD", "value": "hunter2" }, { "name": "DB_PASSWORD_FILE", "value": "/run/pw" }, { "name": "MODE", "value": "fast" } ],
        "args": [format!("--auth={jwt}")] }] } }));
    assert!(!pod.to_string().contains("hunter2") && !pod.to_string().contains(&jwt), "{pod}");
    assert!(pod.to_string().contains("/run/pw") && pod.to_string().contains("fast"), "{pod}");
    assert_eq!(
        cuts.iter().map(|cut| cut.field.as_str()).collect::<Vec<_>>(),
        ["spec.containers[0].args[0]", "spec.containers[0].env[0].value"]
    );

    let config = "mode: fast\npassword: hunter2\nsecretName: db\nverify_token: true\nurl=https://x/?a=b";
    let (map, _) = cut(
        json!({ "kind": "ConfigMap", "data": { "app.conf": config, "api-key": "hunter3", "ca": "-----BEGIN RSA PRIVATE KEY-----\nx" } }),
    );
    let text = map["data"]["app.conf"].as_str().unwrap();
    assert_eq!(text, format!("mode: fast\npassword: {HIDDEN}\nsecretName: db\nverify_token: true\nurl=https://x/?a=b"));
    assert_eq!((&map["data"]["api-key"], &map["data"]["ca"]), (&HIDDEN.into(), &HIDDEN.into()));

    let (plain, cuts) = cut(json!({ "kind": "Deployment", "metadata": { "name": "web" }, "spec": { "replicas": 2 } }));
    assert_eq!((plain["spec"]["replicas"].as_i64(), cuts.len()), (Some(2), 0));
}

#[test]
fn a_release_of_helm_stays_readable_without_its_secrets() {
    let manifest = "---\n# Source: shop/templates/a.yaml\napiVersion: v1\nkind: ConfigMap\nmetadata:\n  name: conf\ndata:\n  mode: fast\n---\n\
                    apiVersion: v1\nkind: Secret\nmetadata:\n  name: db\nstringData:\n  key: hunter2\n";
    let release = json!({
        "name": "shop", "version": 3, "namespace": "shop", "manifest": manifest,
        "info": { "status": "deployed", "notes": "mode: fast\npassword: hunter2" },
        "config": { "replicas": 3, "db": { "password": "hunter2", "passwordSecretName": "db" } },
        "chart": { "metadata": { "name": "shop", "version": "1.2.0" }, "values": { "token": "hunter2" }, "templates": [{ "name": "a", "data": "hunter2" }] },
        "hooks": [{ "name": "h", "manifest": "kind: Pod\nspec:\n  containers:\n  - name: c\n    env:\n    - name: API_TOKEN\n      value: hunter2\n" }],
    });
    let value = base64::encode(crate::base::release::pack(&release).unwrap().as_bytes());
    let mut secret =
        json!({ "kind": "Secret", "type": "helm.sh/release.v1", "data": { "release": (value.clone()), "other": "aHVudGVyMg==" } });
    let mut cuts = Vec::new();
    redact("secret/shop/r", &mut secret, &mut cuts);
    let kept = secret["data"]["release"].as_str().unwrap().to_owned();
    let coded = String::from_utf8(base64::decode(&kept).unwrap()).unwrap();
    let read = crate::base::release::unpack(&coded).unwrap();
    assert!(!read.to_string().contains("hunter2"), "{read}");
    assert_eq!((&read["config"]["replicas"], &read["config"]["db"]["passwordSecretName"]), (&3.into(), &"db".into()));
    assert_eq!((&read["config"]["db"]["password"], &read["chart"]["metadata"]["version"]), (&HIDDEN.into(), &"1.2.0".into()));
    let text = read["manifest"].as_str().unwrap();
    assert!(
        text.starts_with("---\n# Source: shop/templates/a.yaml\napiVersion: v1\nkind: ConfigMap"),
        "what holds no secret stays: {text}"
    );
    assert!(text.contains("\"kind\":\"Secret\"") && text.contains("lockgate-sha256:"), "{text}");
    for field in ["data.release.config.db.password", "data.release.chart.values.token", "data.release.info.notes"] {
        assert!(cuts.iter().any(|cut| cut.field == field), "{field}: {cuts:?}");
    }
    // A plan on the snapshot is held to the same as one on the cluster.
    assert_eq!(sealed(&kept), sealed(&value));
    let again = secret.clone();
    redact("secret/shop/r", &mut secret, &mut Vec::new());
    assert_eq!(secret, again, "what was cut is not cut again");
}
