//! An object that is read, judged and written. When somebody else writes in between, it is read and judged anew.
//!
//! The rule of `reference/primitives.md` §0.4, in one place for every verb that changes an object: a conflict is answered with a
//! fresh read, never by sending the same thing blindly once more.

use std::sync::Arc;

use crate::base::json::Value as Json;

use super::cx::Cx;
use super::view;
use super::watched::replaced;
use crate::base::{Error, Reason, Result};
use crate::cluster::{PatchType, Target};

/// How often one call decides anew. Who is overtaken this often writes against a loop, and that is for a person to see.
const TRIES: usize = 5;

/// The tries of one call.
pub(super) struct Tries<'a> {
    cx: &'a Cx,
    target: &'a Target,
    /// What is being done, for errors: `scaling`.
    doing: &'static str,
    /// The subresource that is read; `None` for the object itself.
    part: Option<&'static str>,
    /// Which object it is, from the first look on.
    uid: String,
    made: usize,
}

impl<'a> Tries<'a> {
    /// Of an object that nobody has looked at yet.
    pub(super) fn of(cx: &'a Cx, target: &'a Target, doing: &'static str) -> Tries<'a> {
        Tries { cx, target, doing, part: None, uid: String::new(), made: 0 }
    }

    /// Reads this subresource in the place of the object.
    pub(super) fn part(self, part: Option<&'static str>) -> Tries<'a> {
        Tries { part, ..self }
    }

    /// Of an object that the script has read already.
    pub(super) fn since(self, seen: &Json) -> Tries<'a> {
        Tries { uid: view::uid(seen).to_owned(), ..self }
    }

    /// The object as it is now.
    ///
    /// # Errors
    /// As [`Cx::read`]; `replaced` when it is no longer the one of the first look.
    pub(super) async fn read(&mut self) -> Result<Arc<Json>> {
        let object = self.cx.read_part(self.target, self.part).await?;
        self.is_same(&object)?;
        Ok(object)
    }

    /// The same, of an object that may not be there.
    pub(super) async fn find(&mut self) -> Result<Option<Arc<Json>>> {
        let object = self.cx.cluster.find(self.target).await?;
        object.iter().try_for_each(|object| self.is_same(object))?;
        Ok(object)
    }

    fn is_same(&mut self, object: &Json) -> Result<()> {
        if self.uid.is_empty() {
            view::uid(object).clone_into(&mut self.uid);
        } else if view::uid(object) != self.uid {
            return Err(replaced(self.doing, self.target).hint("look at what created it; nothing was sent to it"));
        }
        Ok(())
    }

    /// After a write that failed: comes back when the object is to be judged anew, because somebody else wrote to it since it was
    /// read as `before`.
    ///
    /// # Errors
    /// The error of the write, when that was not the reason or it was the last try; or of a read.
    pub(super) async fn again(&mut self, kind: PatchType, before: &Json, mut error: Error) -> Result<()> {
        let overtaken = match error.details.get("code").and_then(Json::as_u64) {
            Some(409) => true,
            // A `test` of a JSON patch that fails is answered like an invalid object: one more read tells.
            Some(422) if kind == PatchType::Json => version(&*self.read().await?) != version(before),
            _ => false,
        };
        if !overtaken {
            return Err(error);
        }
        self.made += 1;
        if self.made < TRIES {
            tracing::debug!(target: "lockgate::primitives", target = %self.target, tries = self.made, "overtaken: looking again");
            return Ok(());
        }
        error.reason = Reason::Conflict;
        Err(error.hint(format!("it was changed during each of {TRIES} tries: find out who writes it all the time")))
    }
}

/// The version that a write can be bound to.
pub(super) fn version(object: &Json) -> &str {
    view::text(object, "/metadata/resourceVersion")
}
