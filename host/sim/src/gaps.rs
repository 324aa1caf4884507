//! What the simulated cluster does not model, as data: the README quotes it, and `lockgate sandbox --gaps` prints it.

use crate::kinds::{self, Modelling};

/// Where the lines of [`page`] are broken.
const WIDTH: usize = 128;

/// What a real cluster does and this one does not, or does otherwise: one sentence or two each, by what it is about.
pub const GAPS: &[(&str, &str)] = &[
    (
        "Server-side apply",
        "`managedFields` tell the owners of what requests write, and of what controllers write to workloads that clients made. What \
         controllers, scheduler and kubelets make or write otherwise belongs to nobody until somebody applies. Apply to a `scale` is \
         refused (501), and a scale that is set to what it is changes no owner.",
    ),
    (
        "OpenAPI",
        "Version 3 only, without descriptions; the document of version 2 is empty, and kubectl before 1.27 needs it for `explain`. kubectl 1.29 and 1.36 are what the tests use.",
    ),
    (
        "Warnings",
        "Of the `Warning` headers of a real server those about unknown and duplicate fields are sent; those about deprecated kinds and \
         odd pod specs are not.",
    ),
    (
        "Encodings",
        "Bodies in protobuf are read for all kinds but CustomResourceDefinition (415). Answers are JSON, whole, as a Table or as \
         PartialObjectMetadata; the columns of a table have no description.",
    ),
    (
        "Admission",
        "No admission webhooks, no quota. Of the admission plugins that are on by default, those that fill in tolerations, priority and \
         the default class of an Ingress, and guard namespaces are modelled; the one that gives pods a ServiceAccount and \
         its token is off unless `Options::service_accounts` asks for it. While a cluster holds no PriorityClass at all, a pod may name any.",
    ),
    (
        "Containers",
        "Nothing runs in a container. What a command gives (`exec`) and what a log holds comes from `exec` and `logs` entries of a \
         Model document; without one both are refused. A log begins anew with each start of its container, and only the last two runs \
         are kept, by time and not by size. A terminal echoes nothing. Probes are asked as their spec says and answered as a \
         Model says (`startup`, `lapses`, `hangs`), except that `ready` is when a pod gets ready and not when it could answer; an answer \
         takes no time, and after 25 failures of a probe in one run of a container no more events are recorded. The mirror of a static \
         pod comes back when it is deleted, but not after a deletion without grace; no files are behind it but those of `machines`.",
    ),
    (
        "Streams",
        "`exec` speaks WebSocket (v5 and v4 of the channel protocol) and SPDY/3.1 (v4 to v1); attach, port-forward and proxy are refused (501): nothing runs in a container that could be spoken to.",
    ),
    (
        "Custom resources",
        "Rules in CEL (`x-kubernetes-validations`) are accepted with a warning and not evaluated. Conversion webhooks and \
         `selectableFields` are refused (501). Of JSON paths in columns, fields, indexes, `[*]` and `[?(@.a==b)]` are understood; any \
         other shows nothing. What is wrong with the metadata of an object is told before what is wrong with the rest. A version of a \
         definition that was once established is kept for the life of the process.",
    ),
    (
        "Operators",
        "Operators are what `objects` entries say, and these know no code: the operator of Calico retags its workloads and tells how far it \
         is, but installs nothing, renders no specification, and does not take over an installation by manifest. Included definitions of \
         Calico and Cilium take any field.",
    ),
    ("Depth", "A document of more than 128 levels is refused; a real server takes 10,000."),
    ("Status", "A write to `status` takes labels and annotations along, and no other metadata."),
    (
        "Access",
        "RBAC alone decides: there are no other authorizers and no webhooks; reviews in an overlay are refused (501). A token of a \
         ServiceAccount looks like one and is signed by nobody, so that nobody can log in with it. Of the \
         first ClusterRoles of a server those are there that people are bound to. Reviews and tokens come without `managedFields`, and of several \
         bindings that allow the same the first by name is told.",
    ),
    ("Certificates", "`kube-root-ca.crt` holds no certificate."),
    (
        "Services",
        "Cluster addresses are from 10.96.0.0/16 and of IPv4; another range is taken for granted where services lie elsewhere already. \
         Nothing gives a LoadBalancer an address. The Service `kubernetes` of the namespace `default` is there when a fixture has it.",
    ),
    (
        "Scheduling",
        "Nobody is preempted: a pod that a real scheduler would give the place of others waits, and its `PodScheduled` condition says \
         `simulator: not modelled: preemption`. Nodes are compared by room, spread of a workload, soft taints and preferred nodes; \
         preferences about other pods, soft spread constraints and where images are already count for nothing. There is one profile; pods \
         of another `schedulerName` wait for it.",
    ),
    ("Owners", "An object that was loaded without its owner is left alone; a real server collects it."),
    (
        "Nodes",
        "Nodes have no Leases in `kube-node-lease`, and tell no heartbeats: `lastHeartbeatTime` is that of the last change. Lost nodes are \
         marked all at once, and not one in 10 s. Pods of a node that is gone are removed 40 s later, and not within 60 s. \
         The conditions of a namespace that is going are counted anew 8 s after a change.",
    ),
    (
        "Machines",
        "Known without an entry are `apt-get`, `apt-mark`, `apt-cache`, `dpkg-query`, `yum`, `rpm`, `systemctl`, `kubeadm`, `kubelet`, `cat` and a \
         few more, in the forms that runbooks use; any other command is refused by name. A reboot restarts no containers, and a \
         command in a container lives through a restart of its kubelet. `kubeadm upgrade` moves the static pods, kube-proxy and its \
         ConfigMaps, and neither etcd, CoreDNS nor certificates; an API server is away for as long as `api_away` says, which is no time \
         by default.",
    ),
    (
        "Volumes",
        "There are no claims: `volumeClaimTemplates` of a StatefulSet are refused. A pod that names one starts as if it were bound; volumes \
         are taken to be there, whatever they are.",
    ),
    (
        "Jobs",
        "`podFailurePolicy`, `successPolicy`, `backoffLimitPerIndex`, `maxFailedIndexes` and `managedBy` are refused. Containers of a Job \
         end well after 5 s when no Model says otherwise. Controllers act at once where real ones wait up to a second. A \
         CronJob starts no Job: a cluster in which something begins every minute would never come to rest.",
    ),
    (
        "Validation",
        "The types of all fields are checked, their values as far as runbooks and charts write them (`validate/`); other values are accepted \
         as they are. Of pods those are what is for Windows only, volumes of cloud providers, restart rules of containers, and the \
         values that `matchLabelKeys` add to a selector.",
    ),
    (
        "Watches",
        "A watch with `resourceVersion=0` begins with the newest state, never with an older one. A watch without `timeoutSeconds` \
         ends after 30 minutes. Bookmarks come every minute and at the end.",
    ),
    (
        "Names",
        "Uids, generated names, cluster addresses and node ports come from the seed; they look like a server's but are not evenly spread.",
    ),
    (
        "Overlay",
        "What no change was recorded for cannot be seen in history: objects loaded into an overlay appear without an event. Custom resources \
         are known by the definitions of what lies below, except those whose versions a webhook converts; what their operators would do \
         nobody knows: they cannot be watched, and their scale cannot be set.",
    ),
    (
        "Service",
        "A served cluster speaks HTTP/1.1 without compression and knows one user, who may do everything and be anybody (`--as`). With `instant` speed its time \
         is not the time of its clients: a program that computes an age by its own clock shows a wrong one.",
    ),
];

/// All gaps as a Markdown list: kinds that are data, resources that are refused, then [`GAPS`].
#[must_use]
pub fn page() -> String {
    let data: Vec<String> = kinds::ALL.iter().filter(|kind| kind.status == Modelling::Data).map(|kind| kind.group_kind()).collect();
    let (groups, resources) = kinds::refused();
    let mut out = String::new();
    item(
        &mut out,
        &format!("**Stored only.** Objects of these kinds are defaulted and validated, and nothing acts on them: {}.", data.join(", ")),
    );
    let absent: Vec<String> = kinds::ABSENT.iter().map(|kind| kind.group_kind()).collect();
    item(
        &mut out,
        &format!("**None.** Lists of these kinds are empty, and all else about them is refused with 501: {}.", absent.join(", ")),
    );
    let own = "the paths /metrics, /debug and /openid";
    item(&mut out, &format!("**Refused** with 501, by name: all else of {}; {}; {own}.", groups.join(", "), resources.join(", ")));
    for (about, text) in GAPS {
        item(&mut out, &format!("**{about}.** {text}"));
    }
    out
}

/// One item of a list, its lines broken and indented.
fn item(out: &mut String, text: &str) {
    let mut line = "-".to_owned();
    for word in text.split_whitespace() {
        if line.chars().count() + 1 + word.chars().count() > WIDTH {
            out.push_str(&line);
            out.push('\n');
            line = " ".to_owned();
        }
        line.push(' ');
        line.push_str(word);
    }
    out.push_str(&line);
    out.push('\n');
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_page_names_what_is_stored_and_what_is_refused() {
        let page = page();
        assert!(page.contains("**Stored only.**") && page.contains("CronJob.batch"), "{page}");
        assert!(page.contains("storage.k8s.io") && page.contains("PersistentVolumeClaim") && page.contains("pods/portforward"), "{page}");
        assert!(page.lines().all(|line| line.chars().count() <= WIDTH && line.trim_end() == line), "{page}");
    }
}
