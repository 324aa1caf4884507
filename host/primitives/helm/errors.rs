//! What helm says on its standard error, as errors of ours.
//!
//! The texts are those of helm 3.21 and 4.2 (`pkg/action`, `pkg/cmd`, `pkg/downloader`, `pkg/storage/driver`), compared without case.

use crate::base::{Error, Kind, Reason};

/// A text of helm, and what it means.
struct Row {
    /// All of these are in what helm says, in lower case.
    says: &'static [&'static str],
    kind: Kind,
    reason: Reason,
    hint: &'static str,
}

const fn row(says: &'static [&'static str], kind: Kind, reason: Reason, hint: &'static str) -> Row {
    Row { says, kind, reason, hint }
}

/// The first row that fits counts: what is more particular stands above what is less.
const TABLE: &[Row] = &[
    row(
        &["lockgate:", "only reads are allowed"],
        Kind::Refused,
        Reason::Refused,
        "change releases in a step, not in a check or in `verify`",
    ),
    // What stops the run itself, told to helm at the endpoint.
    row(
        &["lockgate:", "could not be renewed for"],
        Kind::Cancelled,
        Reason::Interrupted,
        "when the cluster answers again, go on with `lockgate resume last`",
    ),
    row(
        &["lockgate:", "has lost its lock"],
        Kind::Cancelled,
        Reason::Interrupted,
        "this process writes nothing more; `lockgate status` says how far it came",
    ),
    row(&["lockgate:"], Kind::Refused, Reason::Refused, ""),
    row(
        &["simulator: not modelled"],
        Kind::Cluster,
        Reason::Unmodelled,
        "the simulated cluster does not know what the chart does; `assume` gives the result of a function that cannot be foreseen",
    ),
    row(
        &["has been rolled back due to"],
        Kind::Cluster,
        Reason::HelmRolledBack,
        "`helm.history` says to which revision; nothing of the upgrade is left",
    ),
    row(
        &["hooks failed"],
        Kind::Cluster,
        Reason::HelmHook,
        "look at the Job of the hook and its logs; the release is as failed until it is upgraded or rolled back",
    ),
    row(
        &["failed pre-install"],
        Kind::Cluster,
        Reason::HelmHook,
        "look at the Job of the hook and its logs; `helm.uninstall` takes away what is there",
    ),
    row(
        &["failed post-install"],
        Kind::Cluster,
        Reason::HelmHook,
        "look at the Job of the hook and its logs; `helm.uninstall` takes away what is there",
    ),
    row(
        &["another operation", "is in progress"],
        Kind::Cluster,
        Reason::HelmLocked,
        "`helm.get` says since when; if nobody is at work any more, `helm.unlock` releases it",
    ),
    row(
        &["has no deployed releases"],
        Kind::Cluster,
        Reason::NotFound,
        "`helm.history` says what became of its revisions; `helm.rollback` goes back to one, `helm.install` begins anew",
    ),
    row(&["release: not found"], Kind::Cluster, Reason::NotFound, "`helm.list { all_namespaces = true }` tells what there is"),
    row(&["cannot re-use a name that is still in use"], Kind::Cluster, Reason::Precondition, "use `helm.upgrade`"),
    row(&["cannot reuse a name that is still in use"], Kind::Cluster, Reason::Precondition, "use `helm.upgrade`"),
    row(
        &["invalid ownership metadata"],
        Kind::Cluster,
        Reason::Conflict,
        "these objects belong to nobody, or to another release: give them this release's labels and annotations, or remove them",
    ),
    row(
        &["contains removed kubernetes api(s)"],
        Kind::Cluster,
        Reason::HelmRemovedApi,
        "the last revision uses an API that the server no longer has: `helm.manifest` shows where",
    ),
    row(
        &["no matches for kind"],
        Kind::Cluster,
        Reason::HelmRemovedApi,
        "the server has no such kind: it was removed, or its definition is not there yet (`crds = true` applies those of the chart)",
    ),
    row(
        &["apply failed with", "conflict"],
        Kind::Cluster,
        Reason::Conflict,
        "somebody else owns these fields: `get(…).metadata.managedFields` says who; undo the change there, or give the field up here",
    ),
    row(
        &["conflict occurred while applying object"],
        Kind::Cluster,
        Reason::Conflict,
        "somebody else owns these fields: `get(…).metadata.managedFields` says who; undo the change there, or give the field up here",
    ),
    row(&["no repo named"], Kind::Input, Reason::Usage, "give the address of the repository: `repo = \"https://…\"`, or an `oci://` chart"),
    row(&["no cached repo found"], Kind::Input, Reason::HelmChartNotFound, "give the address of the repository: `repo = \"https://…\"`"),
    row(&["chart", "matching", "not found in"], Kind::Input, Reason::HelmChartNotFound, "look up which versions the repository has"),
    row(
        &["not found in", "repository"],
        Kind::Input,
        Reason::HelmChartNotFound,
        "check the chart's name, and the address of the repository",
    ),
    row(&["no chart version found"], Kind::Input, Reason::HelmChartNotFound, "look up which versions the repository has"),
    row(&["is not a valid chart repository"], Kind::Input, Reason::HelmChartNotFound, "check the address of the repository"),
    row(
        &["failed to fetch"],
        Kind::Input,
        Reason::HelmChartNotFound,
        "check the chart's name and version, and whether the network is there",
    ),
    row(
        &["failed to download"],
        Kind::Input,
        Reason::HelmChartNotFound,
        "check the chart's name and version, and whether the network is there",
    ),
    row(
        &["failed to perform"],
        Kind::Input,
        Reason::HelmChartNotFound,
        "check the chart's name and version, and whether the registry may be read",
    ),
    row(
        &["repo", "not found"],
        Kind::Input,
        Reason::Usage,
        "give the address of the repository: `repo = \"https://…\"`, or an `oci://` chart",
    ),
    row(&["chart.yaml file is missing"], Kind::Input, Reason::HelmChartNotFound, "name the folder that holds `Chart.yaml`"),
    row(
        &["path", "not found"],
        Kind::Input,
        Reason::HelmChartNotFound,
        "name a folder with `Chart.yaml`, a packed chart, or a chart with its `repo`",
    ),
    row(&["non-absolute urls should be in form"], Kind::Input, Reason::Usage, "name a chart with its `repo`, an `oci://` chart, or a path"),
    row(
        &["is incompatible with kubernetes"],
        Kind::Cluster,
        Reason::Precondition,
        "`helm.chart(…).kube_version` says what the chart wants",
    ),
    row(
        &["don't meet the specifications of the schema"],
        Kind::Input,
        Reason::Invalid,
        "the chart's schema refuses these values; the causes name them",
    ),
    row(
        &["nil pointer evaluating"],
        Kind::Input,
        Reason::HelmRender,
        "a template reads a value that is not there: compare with `helm.chart(…).values`",
    ),
    row(&["execution error at"], Kind::Input, Reason::HelmRender, "the chart refuses these values in its own words"),
    row(&["template:"], Kind::Input, Reason::HelmRender, "a template cannot be rendered with these values"),
    row(&["parse error at"], Kind::Input, Reason::HelmRender, "the chart itself is broken there"),
    row(&["yaml parse error on"], Kind::Input, Reason::HelmRender, "a template rendered with these values gives no YAML"),
    row(&["unable to parse yaml"], Kind::Input, Reason::HelmRender, "a template rendered with these values gives no YAML"),
    row(&["error validating data"], Kind::Cluster, Reason::Invalid, "the chart renders an object that the server does not take"),
    row(&["is invalid:"], Kind::Cluster, Reason::Invalid, "the server refuses an object of the chart"),
    row(
        &["is forbidden"],
        Kind::Refused,
        Reason::Forbidden,
        "the server does not allow it to this user, or an admission rule refuses the object",
    ),
    row(&["denied the request"], Kind::Cluster, Reason::Forbidden, "an admission rule refuses an object of the chart"),
    row(&["namespaces", "not found"], Kind::Cluster, Reason::NotFound, "create the namespace first"),
    row(
        &["kubernetes cluster unreachable"],
        Kind::Cluster,
        Reason::Unreachable,
        "check the address in the kubeconfig, and whether the server is up",
    ),
    row(&["context deadline exceeded"], Kind::Stuck, Reason::Timeout, "`helm.get` says how the release stands"),
    row(&["timed out waiting for the condition"], Kind::Stuck, Reason::Timeout, "`helm.get` says how the release stands"),
    row(&["not ready. status:"], Kind::Stuck, Reason::Timeout, "`helm.get` says how the release stands"),
    row(&["unknown flag"], Kind::Input, Reason::Unsupported, "this helm is too old: 3.14 or later is needed"),
];

/// What helm said, as one error. `doing` begins its message: ``upgrading release `shop` ``.
pub(super) fn of(doing: &str, stderr: &str) -> Error {
    let said = spoken(stderr);
    let whole = said.join(" ").to_lowercase();
    let row = TABLE.iter().find(|row| row.says.iter().all(|word| whole.contains(word)));
    let mut causes = said.into_iter();
    let first = causes.next().unwrap_or_else(|| "helm ended with an error and said nothing".to_owned());
    let (kind, reason, hint) = row.map_or((Kind::Cluster, Reason::HelmFailed, ""), |row| (row.kind, row.reason, row.hint));
    let mut error = Error::new(kind, reason, doing).cause(first);
    for cause in causes.take(8) {
        error = error.cause(cause);
    }
    if let Some(value) = missing_value(&whole_words(stderr)).filter(|_| reason == Reason::HelmRender) {
        return error.hint(format!("a template reads `{value}`, and a part of it is not there: compare with `helm.chart(…).values`"));
    }
    if hint.is_empty() { error } else { error.hint(hint) }
}

/// The text on one line.
fn whole_words(text: &str) -> String {
    text.split_whitespace().collect::<Vec<_>>().join(" ")
}

/// What a template read that is not there: the innermost place that helm names.
fn missing_value(said: &str) -> Option<&str> {
    let (before, _) = said.split_once(": nil pointer evaluating")?;
    let (_, value) = before.rsplit_once("at <")?;
    value.strip_suffix('>').filter(|value| value.contains(".Values"))
}

/// The lines in which helm says what is wrong, without its warnings, log lines and prefixes.
fn spoken(stderr: &str) -> Vec<String> {
    let begins = stderr.lines().position(|line| line.starts_with("Error: "));
    let lines: Vec<&str> = stderr.lines().skip(begins.unwrap_or(0)).collect();
    let is_talk = |line: &&str| {
        let line = line.trim();
        !(line.is_empty()
            || line.starts_with("WARNING:")
            || line.starts_with("level=")
            || line.starts_with("time=")
            || line.starts_with("Use --debug")
            || line.starts_with("Flag --"))
    };
    let mut said: Vec<String> = lines
        .into_iter()
        .filter(is_talk)
        .map(|line| {
            line.trim()
                .trim_start_matches("Error: ")
                .trim_start_matches("* ")
                .trim_start_matches("UPGRADE FAILED: ")
                .trim_start_matches("INSTALLATION FAILED: ")
                .to_owned()
        })
        .filter(|line| !line.ends_with("error occurred:") && !line.ends_with("errors occurred:") || line.contains("failed"))
        .collect();
    for line in &mut said {
        for ending in [": 1 error occurred:", " 1 error occurred:"] {
            if let Some(shorter) = line.strip_suffix(ending) {
                *line = shorter.to_owned();
            }
        }
    }
    said.dedup();
    said
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What helm 3.21 and 4.2 say, and the reason that it is.
    const SAID: &[(&str, Reason)] = &[
        ("Error: UPGRADE FAILED: another operation (install/upgrade/rollback) is in progress\n", Reason::HelmLocked),
        ("Error: UPGRADE FAILED: \"shop\" has no deployed releases\n", Reason::NotFound),
        ("Error: uninstall: Release not loaded: nothing: release: not found\n", Reason::NotFound),
        ("Error: INSTALLATION FAILED: cannot re-use a name that is still in use\n", Reason::Precondition),
        ("Error: INSTALLATION FAILED: release name check failed: cannot reuse a name that is still in use\n", Reason::Precondition),
        ("Error: failed to download \"cilium/cilium\" at version \"9.9.9\"\n", Reason::HelmChartNotFound),
        ("Error: no cached repo found. (try 'helm repo update'): open x: no such file or directory\n", Reason::HelmChartNotFound),
        (
            "Error: chart \"shop\" matching 9.9.9 not found in charts index. (try 'helm repo update'): no chart version found\n",
            Reason::HelmChartNotFound,
        ),
        ("Error: repo cilium not found\n", Reason::Usage),
        ("Error: no repo named \"cilium\" found\n", Reason::Usage),
        (
            "Error: UPGRADE FAILED: Unable to continue with update: ConfigMap \"a\" in namespace \"default\" exists and cannot be imported into the current release: invalid ownership metadata; label validation error: missing key\n",
            Reason::Conflict,
        ),
        (
            "Error: UPGRADE FAILED: resource mapping not found for name: \"x\" namespace: \"\" from \"\": no matches for kind \"PodDisruptionBudget\" in version \"policy/v1beta1\"\nensure CRDs are installed first\n",
            Reason::HelmRemovedApi,
        ),
        (
            "Error: UPGRADE FAILED: current release manifest contains removed kubernetes api(s) for this kubernetes version and it is therefore unable to build the kubernetes objects for performing the diff\n",
            Reason::HelmRemovedApi,
        ),
        (
            "Error: UPGRADE FAILED: conflict occurred while applying object default/shop apps/v1, Kind=Deployment: Apply failed with 1 conflict: conflict with \"kubectl-edit\" using apps/v1: .spec.replicas\n",
            Reason::Conflict,
        ),
        ("Error: UPGRADE FAILED: context deadline exceeded\n", Reason::Timeout),
        ("Error: UPGRADE FAILED: resource Deployment/default/shop not ready. status: InProgress\n", Reason::Timeout),
        (
            "Error: UPGRADE FAILED: pre-upgrade hooks failed: 1 error occurred:\n\t* timed out waiting for the condition\n\n\n",
            Reason::HelmHook,
        ),
        ("Error: INSTALLATION FAILED: failed pre-install: 1 error occurred:\n\t* job x failed: BackoffLimitExceeded\n\n", Reason::HelmHook),
        (
            "Error: UPGRADE FAILED: values don't meet the specifications of the schema(s) in the following chart(s):\nshop:\n- replicas: Invalid type. Expected: integer, given: string\n",
            Reason::Invalid,
        ),
        (
            "Error: UPGRADE FAILED: template: shop/templates/a.yaml:3:20: executing \"shop/templates/a.yaml\" at <.Values.a.b.c>: nil pointer evaluating interface {}.c\n",
            Reason::HelmRender,
        ),
        ("Error: UPGRADE FAILED: execution error at (shop/templates/a.yaml:1:4): colour is needed\n", Reason::HelmRender),
        (
            "Error: UPGRADE FAILED: release shop failed, and has been rolled back due to rollback-on-failure being set: x\n",
            Reason::HelmRolledBack,
        ),
        ("Error: Kubernetes cluster unreachable: Get \"https://127.0.0.1:1/version\"\n", Reason::Unreachable),
        ("Error: kubernetes cluster unreachable: Get \"https://127.0.0.1:1/version\"\n", Reason::Unreachable),
        ("Error: INSTALLATION FAILED: create: failed to create: namespaces \"nowhere\" not found\n", Reason::NotFound),
        ("Error: chart requires kubeVersion: >= 9.0.0 which is incompatible with Kubernetes v1.36.4\n", Reason::Precondition),
        (
            "Error: INSTALLATION FAILED: unable to continue with install: could not get information about the resource Deployment \"web\" in namespace \"shop\": lockgate: the lock of the run `r` could not be renewed for 30m, so nothing more is written: no connection\n",
            Reason::Interrupted,
        ),
        (
            "Error: UPGRADE FAILED: create: failed to create: lockgate: the run `r` has lost its lock: it is process 2 now\n",
            Reason::Interrupted,
        ),
        ("Error: UPGRADE FAILED: update: failed to update: lockgate: patching secrets: only reads are allowed here\n", Reason::Refused),
        ("Error: UPGRADE FAILED: the server said something new\n", Reason::HelmFailed),
        ("", Reason::HelmFailed),
    ];

    #[test]
    fn every_text_of_helm_has_its_reason() {
        for (said, reason) in SAID {
            let error = of("upgrading release `shop`", said);
            assert_eq!(error.reason, *reason, "{said}");
            assert_eq!(error.message, "upgrading release `shop`");
            assert!(!error.causes.is_empty() && error.causes.iter().all(|cause| !cause.starts_with("Error:")), "{error}");
            assert!(error.reason == Reason::HelmFailed || error.hint.is_some(), "{said}");
        }
    }

    #[test]
    fn a_value_that_is_not_there_is_named() {
        let said = "Error: UPGRADE FAILED: template: shop/templates/a.yaml:3:20: executing \"shop/templates/a.yaml\" at <.Values.a.b.c>: nil \
                    pointer evaluating interface {}.c\n";
        let hint = of("upgrading release `shop`", said).hint.clone().unwrap();
        assert_eq!(hint, "a template reads `.Values.a.b.c`, and a part of it is not there: compare with `helm.chart(…).values`");
        let other = "Error: template: shop/templates/a.yaml:3:20: executing \"a\" at <index .x 1>: nil pointer evaluating interface {}.c\n";
        assert!(of("x", other).hint.as_deref().unwrap().starts_with("a template reads a value"));
    }

    #[test]
    fn a_failed_hook_says_which_and_why() {
        let error = of(
            "upgrading release `shop`",
            "Error: UPGRADE FAILED: pre-upgrade hooks failed: 1 error occurred:\n\t* timed out waiting for the condition\n\n\n",
        );
        assert_eq!(error.to_string(), "upgrading release `shop`: pre-upgrade hooks failed: timed out waiting for the condition");
    }

    #[test]
    fn warnings_are_not_what_is_wrong() {
        let text = "WARNING: Kubernetes configuration file is group-readable.\nlevel=WARN msg=\"unable\"\nError: release: not found\n";
        assert_eq!(of("x", text).causes, ["release: not found"]);
    }
}
