//! A call that a release was being changed by when its run was interrupted, and that is made anew: what became of its helm.
//!
//! No helm goes on after its run: it reaches the cluster only by the endpoint of the process that led it, and that is gone. So a revision
//! that is pending has nobody who will end it.

use std::rc::Rc;

use super::change::{Made, Work};
use super::diff::Heard;
use super::release::{ReleaseRef, Stored, write};
use super::{contents, errors, rendered};
use crate::base::json::{Value as Json, json};
use crate::base::{Error, Kind, Reason, Result};
use crate::cluster::Cluster;
use crate::cluster::keep::Open;
use crate::primitives::cx::Cx;
use crate::primitives::done::{Inverse, Wrote};

/// What the interrupted call made of the release, when it came to its end. Where it did not, what it left is put in order, and it is to be
/// done anew; in both cases the revisions before are those of then.
///
/// # Errors
/// What helm ended with, when it failed; `precondition` when somebody else has changed the release since; of the API.
pub(super) async fn found(work: &mut Work<'_>) -> Result<Option<Made>> {
    let Some(was) = work.begun.before().map(|(about, _)| about["revision"].as_i64().unwrap_or(0)) else { return Ok(None) };
    let (before, since): (Vec<Stored>, Vec<Stored>) = work.before.iter().cloned().partition(|stored| stored.revision() <= was);
    let Some(newest) = since.last() else { return Ok(None) };
    let release = newest.release()?;
    let place = work.place.full_name();
    work.before = before;
    if release.is_pending() {
        let (revision, status) = (release.revision(), release.status());
        work.cx.talk.note(&format!("{}: its helm went with the run that was interrupted; revision {revision} is `{status}`", work.doing()));
        put_in_order(work, newest).await?;
        return Ok(None);
    }
    let is_failed = |says: &str| release.status() == "failed" && release.description().contains(says);
    // Put in order already, by a process that was killed after that; or by helm itself, which was told to end because the run was.
    if is_failed(&interrupted(work)) || is_failed(CANCELED) {
        return Ok(None);
    }
    // Helm itself says what it rolled back to, and a release that failed why.
    let is_ours = work.word == "rollback" || release.description() == work.description();
    work.intend()?;
    let made = match release.status() {
        "failed" => Err(errors::of(&work.doing(), release.description()).about(place)),
        _ if is_ours => {
            let items = contents::look(work.cx, work.place, &work.doing(), &[release.manifest()]).await?;
            work.looked(items).await
        }
        _ => {
            let message =
                format!("{}: revision {} was made by somebody else since this run was interrupted", work.doing(), newest.revision());
            Err(Error::new(Kind::Cluster, Reason::Precondition, message)
                .about(place)
                .cause(format!("it says: {}", release.description()))
                .hint("look at `helm.history`, then say what the release is to be"))
        }
    };
    work.begun.became(&made)?;
    made.map(Some)
}

/// How helm says that it was told to end.
const CANCELED: &str = "context canceled";

/// How the description of a revision begins that was pending when its run was interrupted, and was put in order since.
fn interrupted(work: &Work<'_>) -> String {
    format!("its run was interrupted ({})", work.description())
}

/// Makes a release that is pending one that can be changed: it has failed, which its record says, and nothing else is written that the run may
/// have no grant for. Its objects are left to what comes next; an installation takes the name and its own objects over (`--replace`).
async fn put_in_order(work: &Work<'_>, pending: &Stored) -> Result<()> {
    let mut release = pending.release()?;
    if rendered::is_ours(work.cx, &release) {
        return rendered::forget(work.cx, pending).await;
    }
    if let Some(info) = release.0.get_mut("info").and_then(Json::as_object_mut) {
        let was = info.get("status").and_then(Json::as_str).unwrap_or_default().to_owned();
        info.insert("status".to_owned(), "failed".into());
        info.insert("description".to_owned(), format!("{}: it was `{was}`", interrupted(work)).into());
    }
    write(work.cx, pending, &release).await
}

/// How the change of a release is taken back whose call was interrupted and is not made anew: nothing, when helm had not begun.
///
/// # Errors
/// When the release cannot be read.
pub async fn way_back(cluster: &Cluster, open: &Open) -> Result<Vec<Wrote>> {
    let target = open.intent.object();
    let Some((namespace, name)) = target.strip_prefix("release/").and_then(|full| full.split_once('/')) else { return Ok(Vec::new()) };
    let cx = Cx { cluster: cluster.clone(), talk: Rc::new(Heard::default()) };
    let reference = ReleaseRef { namespace: Some(namespace.to_owned()), name: name.to_owned() };
    let number = |field: &str| open.intent.body.get(field).and_then(Json::as_i64);
    let was = number("revision").unwrap_or_default();
    let word = open.intent.key.part.clone().unwrap_or_default();
    let last = cx.revisions_of(&cx.release(&reference, None)).await?.pop();
    let wrote = |inverse: Inverse| Wrote { verb: word.clone(), target: target.to_owned(), changes: Vec::new(), inverse };
    let call = |verb: &str, options: Json| {
        wrote(Inverse::Call { verb: verb.to_owned(), arguments: vec![format!("{namespace}/{name}").into()], options })
    };
    let Some(last) = last else {
        let gone = "what an uninstalled release held is gone; install it again";
        return Ok(if was > 0 { vec![wrote(Inverse::Irreversible(gone.to_owned()))] } else { Vec::new() });
    };
    let pending = last.release()?.is_pending();
    if last.revision() == was && !pending && word != "uninstall" {
        return Ok(Vec::new());
    }
    let back = match number("deployed").unwrap_or(was) {
        0 => call("helm.uninstall", Json::Null),
        good => call("helm.rollback", json!({ "revision": good })),
    };
    // Newest first: nobody will end what is pending, because its helm went with the run.
    Ok(if pending { vec![back, call("helm.unlock", Json::Null)] } else { vec![back] })
}
