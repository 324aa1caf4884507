//! What every verb does with its object: find what a reference means, read it, and say what may have been meant.

use std::sync::Arc;

use crate::base::json::Value as Json;

use super::cx::Cx;
use super::view;
use crate::base::{Error, ObjectRef, Reason, Result, did_you_mean};
use crate::cluster::{Select, Target};

impl Cx {
    /// The object that a reference means; `namespace` is the option of that name.
    pub(super) async fn target(&self, reference: &ObjectRef, namespace: Option<&str>) -> Result<Target> {
        self.cluster.target(reference, namespace).await
    }

    /// Reads an object that must be there. When it is not, the error names what is there under a similar name.
    pub(super) async fn read(&self, target: &Target) -> Result<Arc<Json>> {
        self.read_part(target, None).await
    }

    /// The same for a subresource of it.
    pub(super) async fn read_part(&self, target: &Target, part: Option<&str>) -> Result<Arc<Json>> {
        match self.cluster.get_part(target, part).await {
            Err(error) if error.reason == Reason::NotFound => Err(self.suggest(target, error).await?),
            other => other,
        }
    }

    /// Adds to a `not_found` what may have been meant. Secrets are not listed for that: a list shows what is in them.
    async fn suggest(&self, target: &Target, error: Error) -> Result<Error> {
        if target.resource.kind == "Secret" {
            return Ok(error);
        }
        let listed = match self.cluster.list(&target.resource, target.namespace.as_deref(), &Select::default()).await {
            Ok(listed) => listed,
            Err(stop) if stop.is_stop() => return Err(stop),
            // The object is missing whether or not its neighbours may be read.
            Err(_) => return Ok(error),
        };
        let place = match &target.namespace {
            Some(namespace) => format!(" in namespace `{namespace}`"),
            None => String::new(),
        };
        if listed.items.is_empty() {
            return Ok(error.hint(format!("there are no {}{place}", target.resource.plural)));
        }
        Ok(match did_you_mean(&target.name, listed.items.iter().map(|object| view::name(object))) {
            Some(near) => error.hint(format!("did you mean `{}/{near}`?", target.resource)),
            None => {
                let names: Vec<String> = listed.items.iter().take(8).map(|object| format!("`{}`", view::name(object))).collect();
                let more = listed.items.len().saturating_sub(names.len());
                let names = if more == 0 { view::and(&names) } else { format!("{} and {more} more", names.join(", ")) };
                error.hint(format!("{}{place}: {names}", target.resource.plural))
            }
        })
    }
}
