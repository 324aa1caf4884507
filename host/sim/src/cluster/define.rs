//! Custom resources of a partial cluster: a definition is read by itself, when a resource is asked for that nobody knows.

use super::Cluster;
use crate::engine::Scope;
use crate::json::Value;
use crate::kinds;
use crate::status::Status;
use crate::view;
use crate::{crd, defaults};

impl Cluster {
    /// The name of the definition that would tell what this resource is; `None` for what Kubernetes itself has, modelled or not, and for
    /// what is defined here.
    #[must_use]
    pub fn definition_wanted(&self, group: &str, version: &str, resource: &str) -> Option<String> {
        let foreign = group.contains('.')
            && kinds::by_resource(group, version, resource).is_none()
            && kinds::review(group, version, resource).is_none()
            && kinds::not_modelled(group, version, resource).is_none();
        let name = format!("{resource}.{group}");
        let known = !foreign || self.store.customs().defined(&name.as_str().into()).is_some() || self.knows_definitions();
        (!known).then_some(name)
    }

    /// Whether requests for a resource are answered: it is modelled, or defined and established.
    #[must_use]
    pub fn serves(&self, group: &str, version: &str, resource: &str) -> bool {
        kinds::by_resource(group, version, resource).is_some() || self.store.customs().served(group, version, resource).is_some()
    }

    /// Puts a definition that was read elsewhere under a partial cluster: its kinds are served from then on, as far as it is
    /// established. Nothing starts, and no scope counts as loaded.
    ///
    /// # Errors
    /// 501 for a definition whose versions are converted by a webhook, 400 for what is no definition.
    pub fn define(&mut self, mut definition: Value) -> Result<(), Status> {
        let kind = kinds::CUSTOM_RESOURCE_DEFINITION;
        if view::text(&definition, &["kind"]) != kind.kind || view::name(&definition).is_empty() {
            return Err(Status::bad_request("this is no CustomResourceDefinition"));
        }
        // One version has nothing to be converted to.
        if view::list(&definition, &["spec", "versions"]).len() > 1 && crd::define::converts_elsewhere(&definition) {
            return crd::define::refuse(&definition);
        }
        defaults::apply(kind, &mut definition);
        let now = self.engine.now();
        let (key, object) = self.store.put_loaded(kind, definition, now);
        self.engine.object_loaded(&key, &object);
        Ok(())
    }

    /// Whether all definitions were read: then there are no others.
    fn knows_definitions(&self) -> bool {
        self.engine.is_loaded(&Scope::all(kinds::CUSTOM_RESOURCE_DEFINITION, None))
    }
}
