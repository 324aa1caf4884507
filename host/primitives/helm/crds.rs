//! Definitions of custom resources that come with a chart: helm installs them once and never upgrades them.

use std::ffi::OsString;

use super::contents;
use super::source::Way;
use crate::base::{Error, Kind, ObjectRef, Reason, Result};
use crate::cluster::Applying;
use crate::primitives::cx::Cx;
use crate::primitives::done::{Inverse, Wrote};
use crate::primitives::types::Condition;
use crate::primitives::view;
use crate::primitives::wait_for::WaitFor;

/// Applies the chart's definitions, each as a whole, and waits until the server serves them. Gives what it wrote and told.
///
/// # Errors
/// What helm or the server says; `invalid` when there is something else among them.
pub(super) async fn apply(cx: &Cx, doing: &str, way: &mut Way) -> Result<Vec<Wrote>> {
    let mut all = Vec::new();
    let doing = format!("{doing}: applying the chart's definitions");
    let text = match way {
        Way::Rendered(chart) => chart.model.as_ref().map(|model| model.crds.clone()).unwrap_or_default(),
        Way::Helm(chart, helm) => {
            let words = [OsString::from("show"), OsString::from("crds"), chart.path.clone().into_os_string()];
            helm.ask(&doing, &words).await?
        }
    };
    let resource = cx.cluster.resolve("customresourcedefinitions", None).await?;
    for definition in contents::documents(&doing, &text)? {
        let name = view::name(&definition).to_owned();
        if view::text(&definition, "/kind") != "CustomResourceDefinition" {
            let kind = view::text(&definition, "/kind");
            return Err(Error::new(Kind::Input, Reason::Invalid, doing).cause(format!("`{name}` is a {kind}, no definition")));
        }
        let target = cx.cluster.object(resource.clone(), None, name);
        let before = cx.cluster.find(&target).await?;
        // What is there is helm's or an earlier apply's; a chart's definitions are taken as a whole.
        let applying = Applying { force: true, dry_run: true };
        let foreseen = match &before {
            Some(_) => Some(cx.cluster.apply(&target, definition.clone(), applying).await?),
            None => None,
        };
        let changes = match (&before, &foreseen) {
            (Some(before), Some(after)) => crate::base::diff::changes(before, after),
            _ => Vec::new(),
        };
        if before.is_some() && changes.is_empty() {
            continue;
        }
        cx.cluster.apply(&target, definition, Applying { force: true, dry_run: false }).await?;
        let why = "a definition may hold objects by now that an older one refuses";
        let wrote = Wrote { verb: "apply".to_owned(), target: target.to_string(), changes, inverse: Inverse::Irreversible(why.to_owned()) };
        cx.talk.wrote(&wrote);
        all.push(wrote);
        let object = ObjectRef::parse(&target.full_name())?;
        let wait = WaitFor {
            object,
            condition: Condition::Named("Established".to_owned()),
            namespace: None,
            timeout: None,
            stall: None,
            stable: None,
        };
        wait.run(cx.clone()).await?;
    }
    cx.cluster.forget_kinds();
    Ok(all)
}
