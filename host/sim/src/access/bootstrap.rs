//! What a server has from its first start: the ClusterRoles that people are bound to, their bindings, the classes of priority.
//!
//! `bootstrap.json` holds these objects of kube-apiserver v1.36.4. Those that only parts of the control plane use are left out.

use std::sync::LazyLock;

use crate::json::Value;

use super::aggregated;
use crate::view;

/// The objects, rules of aggregated roles included.
static OBJECTS: LazyLock<Vec<Value>> = LazyLock::new(|| {
    let mut objects: Vec<Value> = serde_json::from_str(include_str!("bootstrap.json")).unwrap_or_default();
    // A role may gather from one that gathers itself: view goes into edit, and edit into admin.
    for _ in 0..3 {
        let before = objects.clone();
        let all: Vec<&Value> = before.iter().filter(|object| view::text(object, &["kind"]) == "ClusterRole").collect();
        for object in &mut objects {
            if let Some(rules) = aggregated(object, &all) {
                view::set(object, &["rules"], rules);
            }
        }
    }
    objects
});

/// All of them.
pub(crate) fn objects() -> &'static [Value] {
    &OBJECTS
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn aggregated_roles_have_their_rules() {
        let rules = |name: &str| {
            let role = objects().iter().find(|o| view::text(o, &["kind"]) == "ClusterRole" && view::name(o) == name).unwrap();
            view::list(role, &["rules"]).to_vec()
        };
        let of_view = rules("view");
        assert_eq!(of_view, rules("system:aggregate-to-view"));
        assert!(of_view.iter().all(|rule| rules("edit").contains(rule) && rules("admin").contains(rule)));
        assert!(rules("admin").len() > rules("edit").len() && rules("edit").len() > of_view.len() && of_view.len() > 5);
        assert_eq!(rules("cluster-admin").len(), 2);
    }
}
