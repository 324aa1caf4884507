//! How a helm is led: what it is told, what it can see, and what is left behind. A script stands in for it, which notes all of that.

use std::collections::BTreeMap;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;

use lockgate::base::Reason;
use lockgate::cluster::{Cluster, Options, RunId};
use lockgate_sim::json::{Value as Json, json};
use lockgate_sim::{Cluster as Sim, Options as SimOptions, Request};
use tempfile::TempDir;

use super::helm::release_of_two;
use super::support::Rig;

/// Notes its words, its environment as it was given, its process group, the kubeconfig and the file of values; answers what is asked about the
/// chart, and does nothing else.
const STAND_IN: &str = r#"#!/bin/sh
for number in 0 1 2 3 4 5 6 7 8 9; do
  call="@HERE@/$number"
  mkdir "$call" 2>/dev/null && break
done
for word in "$@"; do printf '%s\n' "$word" >> "$call/words"; done
tr '\0' '\n' < /proc/$$/environ > "$call/environment"
cat "$KUBECONFIG" > "$call/kubeconfig"
read -r process name state parent group rest < /proc/$$/stat
test "$group" = "$$" && : > "$call/own-group"
before=
for word in "$@"; do
  if test "$before" = --values; then
    cat "$word" > "$call/values"
    stat -c %a "$word" > "$call/mode"
    printf '%s' "$word" > "$call/file"
  fi
  before="$word"
done
case "$1 $2" in
  "show chart") cat "$3/Chart.yaml" ;;
  "show values") cat "$3/values.yaml" ;;
  *) echo "Error: this is no helm" >&2; exit 1 ;;
esac
"#;

/// What of the operator's environment a child keeps, where it is set: where programs and homes are, the locale, the proxies with what they are
/// trusted by, and the logins to registries.
const OPERATORS: [&str; 14] = [
    "PATH",
    "HOME",
    "USER",
    "LOGNAME",
    "TMPDIR",
    "LANG",
    "SSL_CERT_FILE",
    "SSL_CERT_DIR",
    "HTTP_PROXY",
    "HTTPS_PROXY",
    "NO_PROXY",
    "http_proxy",
    "https_proxy",
    "HELM_REGISTRY_CONFIG",
];

/// What one call of it noted.
struct Call {
    words: Vec<String>,
    environment: BTreeMap<String, String>,
    kubeconfig: String,
    own_group: bool,
    /// The values, the mode of their file, and where it was.
    values: Option<(Json, String, String)>,
}

struct Led {
    rig: Rig,
    folder: TempDir,
}

impl Led {
    fn new() -> Led {
        let folder = TempDir::new().unwrap();
        let here = folder.path().display().to_string();
        let program = folder.path().join("helm");
        std::fs::write(&program, STAND_IN.replace("@HERE@", &here)).unwrap();
        std::fs::set_permissions(&program, std::fs::Permissions::from_mode(0o755)).unwrap();
        for (file, text) in [("Chart.yaml", "apiVersion: v2\nname: shop\nversion: 0.3.0\n"), ("values.yaml", "colour: green\n")] {
            std::fs::create_dir_all(folder.path().join("shop")).unwrap();
            std::fs::write(folder.path().join("shop").join(file), text).unwrap();
        }
        let mut sim = Sim::new(SimOptions::default());
        let namespace = json!({ "apiVersion": "v1", "kind": "Namespace", "metadata": { "name": "default" } });
        assert_eq!(sim.handle(&Request::post("/api/v1/namespaces", &namespace)).status, 201);
        for secret in release_of_two() {
            assert_eq!(sim.handle(&Request::post("/api/v1/namespaces/default/secrets", &secret)).status, 201);
        }
        let options = Options { helm: Some(program), ..Options::new(RunId::simulated(sim.now(), 1)) };
        Led { rig: Rig::over(Cluster::simulated(sim, options)), folder }
    }

    fn chart(&self) -> String {
        self.folder.path().join("shop").display().to_string()
    }

    fn calls(&self) -> Vec<Call> {
        let read = |file: &Path| std::fs::read_to_string(file).ok();
        let numbers = (0..10).map(|number| self.folder.path().join(number.to_string()));
        let call = |folder: std::path::PathBuf| Call {
            words: read(&folder.join("words")).unwrap().lines().map(str::to_owned).collect(),
            environment: read(&folder.join("environment"))
                .unwrap()
                .lines()
                .map(|line| line.split_once('=').map(|(name, value)| (name.to_owned(), value.to_owned())).unwrap())
                .collect(),
            kubeconfig: read(&folder.join("kubeconfig")).unwrap(),
            own_group: folder.join("own-group").exists(),
            values: read(&folder.join("values")).map(|values| {
                let noted = |file: &str| read(&folder.join(file)).unwrap().trim().to_owned();
                (serde_json::from_str(&values).unwrap(), noted("mode"), noted("file"))
            }),
        };
        numbers.filter(|folder| folder.is_dir()).map(call).collect()
    }
}

#[test]
fn helm_sees_its_own_way_to_the_cluster_and_nothing_of_the_operators() {
    let led = Led::new();
    let error = led.rig.error("helm.install", json!(["new", led.chart()]), json!({}));
    assert_eq!((error.reason, error.causes.as_slice()), (Reason::HelmFailed, &["this is no helm".to_owned()][..]), "{error}");
    let calls = led.calls();
    let first: Vec<&str> = calls.iter().map(|call| call.words[0].as_str()).collect();
    assert_eq!(first, ["show", "show", "install"]);
    for call in &calls {
        let environment = &call.environment;
        let names: Vec<&str> = environment.keys().map(String::as_str).filter(|name| !OPERATORS.contains(name)).collect();
        let only = ["HELM_CACHE_HOME", "HELM_CONFIG_HOME", "HELM_DATA_HOME", "HELM_DRIVER", "HELM_PLUGINS", "KUBECONFIG"];
        assert_eq!(names, only, "nothing else of the environment is there");
        assert_eq!((environment["HELM_PLUGINS"].as_str(), environment["HELM_DRIVER"].as_str()), ("", "secret"));
        let private = Path::new(&environment["KUBECONFIG"]).parent().unwrap();
        for home in ["HELM_CACHE_HOME", "HELM_CONFIG_HOME", "HELM_DATA_HOME"] {
            assert!(Path::new(&environment[home]).starts_with(private), "{home} is {}", environment[home]);
        }
        let servers: Vec<&str> = call.kubeconfig.lines().filter(|line| line.contains("server")).collect();
        assert!(servers.len() == 1 && servers[0].contains("127.0.0.1:"), "{}", call.kubeconfig);
        assert!(!Path::new(&environment["KUBECONFIG"]).exists(), "it is gone with the call");
        assert!(call.own_group, "{:?} shares a process group", call.words);
    }
}

#[test]
fn values_are_one_private_file_and_never_helms_own_to_put_together() {
    let led = Led::new();
    let release = led.rig.value("helm.values", json!(["shop"]), json!({}));
    let given = json!({ "values_from": "previous", "values": { "password": "hunter2" } });
    led.rig.error("helm.upgrade", json!(["shop", led.chart()]), given);
    led.rig.error("helm.upgrade", json!(["shop", led.chart()]), json!({ "values_from": "none", "values": { "a": 1 } }));
    led.rig.error("helm.install", json!(["new", led.chart()]), json!({ "values": { "a": 2 } }));
    let calls: Vec<Call> = led.calls().into_iter().filter(|call| call.words[0] != "show").collect();
    assert_eq!(calls.len(), 3);
    let mut kept = release.clone();
    kept["password"] = "hunter2".into();
    for (call, wanted) in calls.iter().zip([kept, json!({ "a": 1 }), json!({ "a": 2 })]) {
        let (values, mode, file) = call.values.as_ref().unwrap();
        assert_eq!((values, mode.as_str()), (&wanted, "600"));
        assert!(!Path::new(file).exists(), "it is gone with the call");
        assert!(!call.words.iter().any(|word| word.contains("hunter2")), "{:?}", call.words);
        for flag in ["--reuse-values", "--reset-then-reuse-values", "--set", "--wait", "--atomic", "--kube-context", "--kubeconfig"] {
            assert!(!call.words.iter().any(|word| word.starts_with(flag)), "{flag}: {:?}", call.words);
        }
        assert_eq!(call.words.iter().filter(|word| *word == "--values").count(), 1);
        assert_eq!(call.words.contains(&"--reset-values".to_owned()), call.words[0] == "upgrade", "{:?}", call.words);
    }
}
