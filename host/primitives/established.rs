//! Definitions of kinds: until the server serves them.

use std::rc::Rc;

use crate::base::json::Value as Json;

use super::cx::Cx;
use super::pace::{Pace, next};
use super::view;
use super::watched::{by_name, deleted};
use crate::base::{Error, Kind, Reason, Result, Span};
use crate::cluster::{Resource, Select, Target};

/// How often a kind is asked for that is established and not served yet: nothing tells when the server has caught up.
const AGAIN: Span = Span::from_millis(200);

/// Waits until all definitions are established, then forgets what the server served before.
pub(super) async fn wait(cx: &Cx, definitions: &[Target], timeout: Span) -> Result<()> {
    for definition in definitions {
        let mut pace = Pace::begin(cx, format!("establishing of {definition}"), timeout, Some(timeout));
        let mut following = cx.cluster.follow(vec![by_name(definition)]).await?;
        loop {
            let Some(object) = following.items(0).next().cloned() else { return Err(deleted(definition)) };
            if view::holds(&object, "Established") {
                pace.done(cx, "established");
                break;
            }
            let names = view::condition(&object, "NamesAccepted").filter(|condition| view::text(condition, "/status") == "False");
            if let Some(names) = names {
                let message = format!("applying `{definition}`: its names are not accepted");
                return Err(Error::new(Kind::Stuck, Reason::Invalid, message)
                    .about(definition.full_name())
                    .cause(view::text(names, "/message"))
                    .hint("another definition has these names already"));
            }
            if let Some(ended) = pace.ended(cx.now(), None) {
                let message = pace.says(ended, &format!("the wait until `{definition}` is established"));
                return Err(Error::new(Kind::Stuck, ended.reason(), message).about(definition.full_name()));
            }
            pace.show(cx, "not established yet");
            let until = pace.until(None);
            next(cx, &mut pace, &mut following, until).await?;
        }
    }
    cx.cluster.forget_kinds();
    Ok(())
}

/// Waits until the objects of a kind can be listed: the server serves a kind a moment after its definition is established.
pub(super) async fn served(cx: &Cx, resource: &Rc<Resource>, timeout: Span) -> Result<()> {
    let pace = Pace::begin(cx, format!("server for {}", resource.plural), timeout, Some(timeout));
    loop {
        let select = Select { labels: None, fields: Some("metadata.name=none".to_owned()) };
        match cx.cluster.list(resource, None, &select).await {
            Ok(_) => return Ok(()),
            Err(error) if error.reason == Reason::Unsupported && pace.ended(cx.now(), None).is_none() => {
                cx.cluster.rest(AGAIN.after(cx.now())).await?;
            }
            // Who may apply one need not be allowed to list all.
            Err(error) if error.reason == Reason::Forbidden => return Ok(()),
            Err(error) => return Err(error),
        }
    }
}

/// The group and kind that a definition makes.
pub(super) fn makes(definition: &Json) -> (&str, &str) {
    (view::text(definition, "/spec/group"), view::text(definition, "/spec/names/kind"))
}
