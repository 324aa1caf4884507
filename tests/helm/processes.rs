//! The command is killed at every write while its helm works: the program itself, by SIGKILL, with the helm that it leads as its child, against
//! a cluster that lives on. Whoever goes on finds what helm left, and brings it to its end.

use super::bench::{Outcome, ensure};
use super::killed::{Ended, Runbook};

/// Installs a chart and brings it to its next version.
const RUNBOOK: &str = r#"
runbook { title = "Chart", summary = "A chart comes, and changes.", impact = "none", namespace = "shop" }
step "install" {
  title = "Install the first",
  run = function() helm.install("web", "./r/first", { timeout = "5m" }) end,
}
step "upgrade" {
  title = "Upgrade to the second",
  run = function() helm.upgrade("web", "./r/second", { values_from = "previous", timeout = "5m" }) end,
  verify = function()
    wait_rollout("deployment/web")
    for _, pod in list("pods", { labels = "app=web" }) do
      if pod.metadata.deletionTimestamp then wait_gone(pod) end
    end
    ensure(helm.get("web").status == "deployed", "the release is not deployed")
  end,
}
"#;

const CLUSTER: &str =
    "{apiVersion: v1, kind: Node, metadata: {name: n1}}\n---\n{apiVersion: v1, kind: Namespace, metadata: {name: shop}}\n";

const CONFIG: &str = "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: web}\ndata: {version: '{{ .Chart.AppVersion }}'}\n";

const DEPLOYMENT: &str = "apiVersion: apps/v1\nkind: Deployment\nmetadata: {name: web}\nspec:\n  replicas: 1\n  \
    selector: {matchLabels: {app: web}}\n  template:\n    metadata: {labels: {app: web}}\n    \
    spec: {containers: [{name: web, image: 'registry.example/web:v{{ .Chart.AppVersion }}'}]}\n";

/// The files of the chart of this version.
fn chart(folder: &str, version: &str) -> Vec<(String, String)> {
    let head = format!("apiVersion: v2\nname: web\nversion: {version}\nappVersion: '{version}'\n");
    let files = [("Chart.yaml", head.as_str()), ("templates/config.yaml", CONFIG), ("templates/deployment.yaml", DEPLOYMENT)];
    files.map(|(name, text)| (format!("r/{folder}/{name}"), text.to_owned())).into()
}

/// It ends as the run that nobody killed, apart from the records of helm's operations: one that was interrupted is told as failed, and made
/// anew with a record of its own. Nothing else was done twice.
fn judge(wanted: &Ended, ended: &Ended) -> Result<(), String> {
    let others = |lines: &[String], record: &str| -> Vec<String> { lines.iter().filter(|line| !line.contains(record)).cloned().collect() };
    // The server is asked to create a record without its name in the path.
    let (state, effects) = ("\"kind\":\"Release\"", " secret/shop");
    super::killed::same(
        &Ended { state: others(&wanted.state, state), effects: others(&wanted.effects, effects) },
        &Ended { state: others(&ended.state, state), effects: others(&ended.effects, effects) },
    )?;
    let standing = |all: &Ended, status: &str| {
        let status = format!("\"status\":\"{status}\"");
        all.state.iter().filter(|line| line.contains(state) && line.contains(&status)).count()
    };
    // The one that was interrupted is failed, or superseded by the one that was made anew.
    for (status, least, most) in [("deployed", 1, 1), ("superseded", 1, 2), ("failed", 0, 1)] {
        let left = standing(ended, status);
        ensure((least..=most).contains(&left), || format!("{left} records are {status}: {:#?}", ended.state))?;
    }
    let records = ended.state.iter().filter(|line| line.contains(state)).count();
    let told = ["deployed", "superseded", "failed"].map(|status| standing(ended, status)).iter().sum::<usize>();
    ensure(records == told, || format!("a record is of something that has not ended: {:#?}", ended.state))
}

/// Kills it everywhere, with this helm.
pub(super) fn everywhere(helm: &str) -> Outcome {
    let program = crate::sandbox::helm(helm)?;
    let files = [chart("first", "1.0.0"), chart("second", "2.0.0")].concat();
    let path = std::env::var("PATH").unwrap_or_default();
    let env = vec![("HELM_BIN", program.display().to_string()), ("PATH", path)];
    let runbook = Runbook { source: RUNBOOK.to_owned(), fixture: CLUSTER.to_owned(), params: &[], files, env, judge };
    let killed = runbook.everywhere();
    ensure(killed >= 16, || format!("it was killed {killed} times"))
}
