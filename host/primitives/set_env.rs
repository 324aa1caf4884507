//! `set_env`: environment variables of a workload's containers.

use crate::base::json::{Array, Map, Value as Json, json};

use super::cx::Cx;
use super::done::{Done, Inverse, Wrote};
use super::set_image::known;
use super::settings::Settings;
use super::tries::{Tries, version};
use super::view;
use super::workload::{self, LISTS, nest, unsupported};
use crate::base::diff::changes;
use crate::base::{Error, Kind, ObjectRef, Reason, Result, Value};
use crate::cluster::{PatchType, Target};
use crate::primitive;

const DOING: &str = "setting the environment of";

primitive! {
    /// Sets environment variables in a workload's pod template: all of them or none, in one request.
    ///
    /// `false` takes a variable away. A variable that took its value from a Secret or elsewhere gets the text instead; all others stay as
    /// they are. Without `containers` all containers and init containers are meant. When every variable is as asked nothing is sent. It does
    /// not wait: `wait_rollout` does.
    pub write fn set_env as SetEnv(
        /// Deployment, DaemonSet, StatefulSet, ReplicaSet or CronJob, for example `deployment/web`.
        workload: ObjectRef,
        /// The value for each variable; `false` takes it away.
        env: Settings,
    ) options {
        /// The namespace, when the reference has none.
        namespace: Option<String>,
        /// The names of the containers and init containers meant.
        containers: Option<Vec<String>>,
    } -> "{ changed: boolean, previous: { [string]: { [string]: string | boolean } }, generation: number? }",
        "for each container what the variables were: `false` where there was none, `true` where the value came from elsewhere";
    since "0.1";
    example r#"set_env("daemonset/calico-node", { IP_AUTODETECTION_METHOD = "interface=eth0", OLD = false }, { containers = { "calico-node" } })"#;
    needs ["get {workload}", "patch {workload}"];
}

/// One container with its list, and its variables before and after.
struct Edit {
    list: &'static str,
    place: usize,
    name: String,
    before: Vec<Json>,
    after: Vec<Json>,
}

impl SetEnv {
    async fn run(self, cx: Cx) -> Result<Done> {
        self.check()?;
        let target = cx.target(&self.workload, self.namespace.as_deref()).await?;
        let pod_spec = workload::need_pod_spec(&target, DOING)?;
        if target.resource.kind == "Pod" {
            let message = format!("{DOING} `{target}`: the environment of a pod cannot be changed");
            return Err(unsupported(&target, message).hint("change the workload that made it"));
        }
        let mut tries = Tries::of(&cx, &target, DOING);
        loop {
            let before = tries.read().await?;
            let edits = self.edits(&target, &before, pod_spec)?;
            let previous = self.previous(&edits);
            if edits.iter().all(|edit| edit.before == edit.after) {
                return Ok(Done::unchanged(result(false, previous, &before)));
            }
            let mut body = patch(pod_spec, &edits, |edit| (&edit.before, &edit.after));
            body["metadata"] = json!({ "resourceVersion": version(&before) });
            match cx.cluster.patch(&target, PatchType::Strategic, body, None).await {
                Err(error) => tries.again(PatchType::Strategic, &before, error).await?,
                Ok(stored) => {
                    let wrote = wrote(&target, &before, pod_spec, &edits);
                    return Ok(Done::changed(result(true, previous, &stored), wrote));
                }
            }
        }
    }

    fn check(&self) -> Result<()> {
        if let Some(name) = self.env.0.keys().find(|name| name.is_empty() || name.contains('=')) {
            return Err(Error::usage(format!("`set_env`: `{name}` cannot be the name of a variable")).hint("write `{ NAME = \"value\" }`"));
        }
        if self.containers.as_ref().is_some_and(Vec::is_empty) {
            return Err(Error::usage("`set_env`: option `containers` is empty").hint("leave it out to mean all containers"));
        }
        Ok(())
    }

    /// What is to be done to each container.
    fn edits(&self, target: &Target, object: &Json, pod_spec: &str) -> Result<Vec<Edit>> {
        if let Some(names) = &self.containers {
            known(target, DOING, &workload::images(object, pod_spec), names.iter())?;
        }
        let mut edits = Vec::new();
        for list in LISTS {
            for (place, container) in view::list(object, &format!("{pod_spec}/{list}")).iter().enumerate() {
                let name = view::text(container, "/name").to_owned();
                if self.containers.as_ref().is_some_and(|names| !names.contains(&name)) {
                    continue;
                }
                let before = view::list(container, "/env").to_vec();
                let twice = self.env.0.keys().find(|key| before.iter().filter(|entry| view::text(entry, "/name") == **key).count() > 1);
                if let Some(twice) = twice {
                    // A strategic patch reaches one of them, and the last one counts.
                    let message = format!("{DOING} `{target}`: container `{name}` has `{twice}` twice");
                    return Err(Error::new(Kind::Cluster, Reason::Unsupported, message)
                        .about(target.full_name())
                        .hint("leave one of them with `patch` first; nothing was sent"));
                }
                let after = self.applied(&before);
                edits.push(Edit { list, place, name, before, after });
            }
        }
        Ok(edits)
    }

    /// The variables after the change: in their places, new ones at the end.
    fn applied(&self, before: &[Json]) -> Vec<Json> {
        let mut after = before.to_vec();
        for (name, value) in &self.env.0 {
            let place = after.iter().position(|entry| view::text(entry, "/name") == name);
            let made = value.as_ref().map(|value| json!({ "name": name, "value": value }));
            match (place, made) {
                // The API leaves out a value that is empty.
                (Some(place), Some(made)) if same(&after[place], &made) => {}
                (Some(place), Some(made)) => after[place] = made,
                (Some(place), None) => drop(after.remove(place)),
                (None, Some(made)) => after.push(made),
                (None, None) => {}
            }
        }
        after
    }

    fn previous(&self, edits: &[Edit]) -> Json {
        let of = |edit: &Edit, name: &String| match edit.before.iter().find(|entry| view::text(entry, "/name") == name) {
            None => json!(false),
            Some(entry) if entry.get("valueFrom").is_some() => json!(true),
            Some(entry) => view::text(entry, "/value").into(),
        };
        let each = |edit: &Edit| Json::Object(self.env.0.keys().map(|name| (name.clone(), of(edit, name))).collect::<Map>());
        Json::Object(edits.iter().map(|edit| (edit.name.clone(), each(edit))).collect::<Map>())
    }
}

/// Whether two entries give a variable the same value.
fn same(a: &Json, b: &Json) -> bool {
    view::text(a, "/value") == view::text(b, "/value") && a.get("valueFrom") == b.get("valueFrom")
}

/// The entries of a strategic patch that lead from one list to the other.
fn changed(from: &[Json], to: &[Json]) -> Array {
    let named = |list: &[Json], name: &str| list.iter().find(|entry| view::text(entry, "/name") == name).cloned();
    let mut entries = Array::new();
    for entry in to {
        let name = view::text(entry, "/name");
        match named(from, name) {
            Some(old) if old == *entry => {}
            None => entries.push(entry.clone()),
            Some(_) => {
                // What the entry does not say must go: a value from elsewhere excludes one of its own.
                let mut entry = entry.clone();
                for field in ["value", "valueFrom"] {
                    if entry.get(field).is_none() {
                        entry[field] = Json::Null;
                    }
                }
                entries.push(entry);
            }
        }
    }
    for entry in from {
        let name = view::text(entry, "/name");
        if named(to, name).is_none() {
            entries.push(json!({ "name": name, "$patch": "delete" }));
        }
    }
    entries
}

/// One strategic patch for all containers that it changes, from one list of variables to the other. The order counts, since a variable may
/// name those before it; without a word about it the server would put new ones first.
fn patch<'a>(pod_spec: &str, edits: &'a [Edit], lists: impl Fn(&'a Edit) -> (&'a Vec<Json>, &'a Vec<Json>)) -> Json {
    let one = |edit: &'a Edit| {
        let (from, to) = lists(edit);
        let mut container = json!({ "name": edit.name, "env": Json::Array(changed(from, to)) });
        if !to.is_empty() {
            let order: Array = to.iter().map(|entry| json!({ "name": view::text(entry, "/name") })).collect();
            container["$setElementOrder/env"] = Json::Array(order);
        }
        container
    };
    let mut spec = Map::new();
    for list in LISTS {
        let of = |edit: &&Edit| edit.list == list && edit.before != edit.after;
        let containers: Array = edits.iter().filter(of).map(one).collect();
        if !containers.is_empty() {
            spec.insert(list.to_owned(), Json::Array(containers));
        }
    }
    nest(pod_spec, Json::Object(spec))
}

fn wrote(target: &Target, before: &Json, pod_spec: &str, edits: &[Edit]) -> Wrote {
    let mut after = before.clone();
    for edit in edits.iter().filter(|edit| edit.before != edit.after) {
        if let Some(container) = after.pointer_mut(&format!("{pod_spec}/{}/{}", edit.list, edit.place)).and_then(Json::as_object_mut) {
            if edit.after.is_empty() {
                container.remove("env");
            } else {
                container.insert("env".to_owned(), Json::Array(edit.after.iter().cloned().collect()));
            }
        }
    }
    let back = patch(pod_spec, edits, |edit| (&edit.after, &edit.before));
    Wrote {
        verb: "patch".to_owned(),
        target: target.to_string(),
        changes: changes(before, &after),
        inverse: Inverse::Call {
            verb: "patch".to_owned(),
            arguments: vec![target.full_name().into(), back],
            options: json!({ "type": "strategic" }),
        },
    }
}

fn result(changed: bool, previous: Json, object: &Json) -> Value {
    let mut fields = Map::from_iter([("changed".to_owned(), Json::from(changed)), ("previous".to_owned(), previous)]);
    fields.extend(view::int(object, "/metadata/generation").map(|number| ("generation".to_owned(), Json::from(number))));
    Value::Json(Json::Object(fields))
}
