//! What the verbs of a plan read: the objects as they were before the plan changed anything, what was not there, and which lists.
//! A run can be held to a plan by them: it is refused when they are others.

use std::collections::{BTreeMap, BTreeSet};
use std::rc::Rc;
use std::sync::Arc;

use super::client::{Cluster, Select, Target};
use super::discovery::Resource;
use super::layers::{Access, Recorder};
use super::page::meta;
use super::request::Call;
use crate::base::Result;
use crate::base::json::Value as Json;

/// An object that a plan read.
#[derive(Clone, Debug)]
pub struct Input {
    /// `kind/namespace/name`; custom kinds with their group.
    pub object: String,
    /// As it was; `None` where it was looked for and not there.
    pub found: Option<Arc<Json>>,
    /// Whether what its status says counts: a check, or a condition of a step, read it by its name, or in a list where no controller made
    /// it. What controllers make comes and goes by itself, and in a list only what the script made of it counts.
    pub checked: bool,
}

/// A list that a plan read.
#[derive(Clone, Debug)]
pub struct Listing {
    /// `pods in shop, app=web`.
    pub about: String,
    /// What was in it.
    pub items: Vec<Input>,
}

/// Everything that a plan read.
#[derive(Clone, Debug, Default)]
pub struct Inputs {
    /// The objects, each once, those of the lists included.
    pub objects: Vec<Input>,
    /// The lists.
    pub lists: Vec<Listing>,
    /// The digests of the charts that it used, by what they were asked for as.
    pub charts: BTreeMap<String, String>,
}

/// A list by what was asked for.
#[derive(Clone)]
struct Asked {
    resource: Rc<Resource>,
    namespace: Option<String>,
    select: Select,
}

impl Asked {
    fn about(&self) -> String {
        let place = self.namespace.as_ref().map_or_else(String::new, |namespace| format!(" in {namespace}"));
        let selectors = [&self.select.labels, &self.select.fields].into_iter().flatten().map(|text| format!(", {text}"));
        format!("{}{place}{}", kind(&self.resource, &self.resource.plural), selectors.collect::<String>())
    }
}

/// The list of what was read, shared by all clones and branches of a plan's copy.
#[derive(Default)]
pub(super) struct Reads {
    objects: BTreeMap<String, (Target, Option<Arc<Json>>)>,
    lists: BTreeMap<String, (Asked, Vec<Input>)>,
    /// What was first read after the plan had written: what it was before must be looked up.
    late_objects: BTreeMap<String, Target>,
    late_lists: BTreeMap<String, Asked>,
    charts: BTreeMap<String, String>,
    /// Objects of which a check read what their status says, before the plan had written.
    checked: BTreeSet<String>,
    /// How many requests were looked at, and whether one of them wrote.
    looked: usize,
    wrote: bool,
}

impl Reads {
    fn is_late(&mut self, recorder: &Recorder) -> bool {
        if !self.wrote {
            self.wrote = recorder.wrote_after(self.looked);
            self.looked = recorder.count();
        }
        self.wrote
    }

    fn object(&mut self, target: Target, found: Option<&Arc<Json>>, late: bool) {
        let name = kind_and_name(&target);
        if self.objects.contains_key(&name) {
            return;
        }
        if late {
            self.late_objects.entry(name).or_insert(target);
        } else {
            self.objects.insert(name, (target, found.cloned()));
        }
    }
}

fn is_made_by_a_controller(object: &Json) -> bool {
    let owners = object.pointer("/metadata/ownerReferences").and_then(Json::as_array);
    owners.into_iter().flatten().any(|owner| owner["controller"] == true)
}

fn kind(resource: &Resource, word: &str) -> String {
    // The groups of Kubernetes itself go without saying.
    if resource.group.contains('.') && !resource.group.ends_with(".k8s.io") {
        format!("{word}.{}", resource.group)
    } else {
        word.to_owned()
    }
}

fn kind_and_name(target: &Target) -> String {
    let kind = kind(&target.resource, &target.resource.singular);
    match &target.namespace {
        Some(namespace) => format!("{kind}/{namespace}/{}", target.name),
        None => format!("{kind}/{}", target.name),
    }
}

impl Cluster {
    /// Notes that a verb of a plan read an object, or looked for it in vain.
    pub(super) fn noted(&self, target: &Target, part: Option<&str>, found: Option<&Arc<Json>>) {
        if !self.shared.label.plan {
            return;
        }
        let mut reads = self.shared.reads.borrow_mut();
        // A part of an object says too little of it.
        let late = reads.is_late(&self.shared.recorder) || part.is_some();
        if !late && self.access() == Access::ReadOnly {
            reads.checked.insert(kind_and_name(target));
        }
        reads.object(target.clone(), found, late);
    }

    /// Notes that a verb of a plan read a list.
    pub(super) fn noted_list(&self, resource: &Rc<Resource>, call: &Call, items: &[Arc<Json>]) {
        if !self.shared.label.plan {
            return;
        }
        let query = |name: &str| call.query.iter().find(|(own, _)| *own == name).map(|(_, value)| value.clone());
        let select = Select { labels: query("labelSelector"), fields: query("fieldSelector") };
        let asked = Asked { resource: resource.clone(), namespace: call.act.namespace.clone(), select };
        let about = asked.about();
        let mut reads = self.shared.reads.borrow_mut();
        let late = reads.is_late(&self.shared.recorder);
        if late {
            if !reads.lists.contains_key(&about) {
                reads.late_lists.insert(about, asked);
            }
            return;
        }
        let items = self.members(&asked, items);
        for (target, input) in &items {
            if self.access() == Access::ReadOnly && !input.found.as_deref().is_some_and(is_made_by_a_controller) {
                reads.checked.insert(input.object.clone());
            }
            reads.object(target.clone(), input.found.as_ref(), false);
        }
        reads.lists.entry(about).or_insert_with(|| (asked, items.into_iter().map(|(_, input)| input).collect()));
    }

    /// Notes that a verb of a plan used a chart with this digest.
    pub fn used_chart(&self, chart: &str, digest: &str) {
        if self.shared.label.plan {
            self.shared.reads.borrow_mut().charts.insert(chart.to_owned(), digest.to_owned());
        }
    }

    fn members(&self, asked: &Asked, items: &[Arc<Json>]) -> Vec<(Target, Input)> {
        let member = |item: &Arc<Json>| {
            let namespace = Some(meta(item, "namespace").to_owned()).filter(|namespace| !namespace.is_empty());
            let target = self.object(asked.resource.clone(), namespace, meta(item, "name"));
            let input = Input { object: kind_and_name(&target), found: Some(item.clone()), checked: false };
            (target, input)
        };
        items.iter().map(member).collect()
    }

    /// What the plan on this copy read, as it was in the cluster that it copies. What was first read after the plan's own writes is read
    /// from there now; what is not there was made by the plan.
    ///
    /// # Errors
    /// When such a read fails.
    pub async fn inputs(&self, twin: &Cluster) -> Result<Inputs> {
        let (mut objects, mut lists, late_objects, late_lists) = {
            let reads = twin.shared.reads.borrow();
            (reads.objects.clone(), reads.lists.clone(), reads.late_objects.clone(), reads.late_lists.clone())
        };
        let (charts, checked) = {
            let reads = twin.shared.reads.borrow();
            (reads.charts.clone(), reads.checked.clone())
        };
        let aside = self.aside();
        for (about, asked) in late_lists.into_iter().filter(|(about, _)| !lists.contains_key(about)).collect::<Vec<_>>() {
            let listed = aside.list(&asked.resource, asked.namespace.as_deref(), &asked.select).await?;
            let items = self.members(&asked, &listed.items);
            for (target, input) in &items {
                objects.entry(input.object.clone()).or_insert_with(|| (target.clone(), input.found.clone()));
            }
            lists.insert(about, (asked, items.into_iter().map(|(_, input)| input).collect()));
        }
        let listed: BTreeSet<String> = lists.values().filter_map(|(asked, _)| whole(asked)).collect();
        for (name, target) in late_objects {
            // What a whole list had not is not there.
            let missed = listed.contains(&format!("{} {}", target.resource.plural, target.namespace.as_deref().unwrap_or_default()));
            if objects.contains_key(&name) || missed {
                continue;
            }
            if let Some(found) = aside.find(&target).await? {
                objects.insert(name, (target, Some(found)));
            }
        }
        Ok(Inputs {
            objects: objects.into_iter().map(|(object, (_, found))| Input { checked: checked.contains(&object), object, found }).collect(),
            lists: lists.into_iter().map(|(about, (_, items))| Listing { about, items }).collect(),
            charts,
        })
    }
}

/// A list that nothing was left out of.
fn whole(asked: &Asked) -> Option<String> {
    let all = asked.select == Select::default();
    all.then(|| format!("{} {}", asked.resource.plural, asked.namespace.as_deref().unwrap_or_default()))
}
