//! What the verbs that change a release share: the look before, the lock, helm's own work, the look after, and the record.

use std::collections::BTreeMap;
use std::ffi::OsString;

use super::binary::{Helm, failed, go};
use super::contents::{self, Item};
use super::explain;
use super::release::{Place, Release, Stored, deployed};
use crate::base::diff::Change;
use crate::base::json::{Value as Json, json};
use crate::base::{Error, Kind, ObjectRef, Reason, Result, Span, Value};
use crate::cluster::keep::Elsewhere;
use crate::primitives::cx::Cx;
use crate::primitives::done::{Done, Inverse, Wrote};
use crate::primitives::view;
use crate::primitives::wait_rollout::WaitRollout;

/// No rollout takes longer.
const WHOLE: Span = Span::from_secs(7 * 24 * 60 * 60);

/// One call that changes a release.
pub(super) struct Work<'a> {
    pub(super) cx: &'a Cx,
    pub(super) place: &'a Place,
    /// `upgrading`, for errors.
    pub(super) doing: &'static str,
    /// `upgrade`: helm's word, for the command and the record.
    pub(super) word: &'static str,
    /// The revisions before, oldest first.
    pub(super) before: Vec<Stored>,
    /// helm's `--timeout`.
    pub(super) timeout: Span,
    /// For the waits afterwards.
    pub(super) stall: Option<Span>,
    /// Whether its workloads are waited for.
    pub(super) wait: bool,
    /// What was written before the release itself.
    pub(super) earlier: Vec<Wrote>,
    /// The operation, which is the same when an interrupted call is made anew.
    pub(super) begun: Elsewhere,
}

/// How a release was changed.
pub(super) struct Made {
    /// The last revision afterwards; none after an uninstallation.
    pub(super) release: Option<Release>,
    /// What is to be recorded.
    pub(super) wrote: Wrote,
    /// The objects afterwards.
    pub(super) items: Vec<Item>,
}

/// The operation of a call on a release.
pub(super) fn operation(cx: &Cx, place: &Place, word: &str) -> Elsewhere {
    cx.cluster.begin_elsewhere("helm", &place.full_name(), Some(word))
}

impl Work<'_> {
    /// ``upgrading release `shop` ``.
    pub(super) fn doing(&self) -> String {
        format!("{} release `{}`", self.doing, self.place)
    }

    /// The last revision before, decoded.
    ///
    /// # Errors
    /// When it cannot be read.
    pub(super) fn last(&self) -> Result<Option<Release>> {
        self.before.last().map(Stored::release).transpose()
    }

    /// The revision that helm builds on: the deployed one, else the last.
    ///
    /// # Errors
    /// When it cannot be read.
    pub(super) fn base(&self) -> Result<Option<Release>> {
        deployed(&self.before).or(self.before.last()).map(Stored::release).transpose()
    }

    /// Refuses to begin while another operation holds the release.
    ///
    /// # Errors
    /// `helm_locked`: who holds it and since when.
    pub(super) fn unlocked(&self, last: &Release) -> Result<()> {
        match self.before.last() {
            Some(stored) if last.is_pending() => Err(locked(self.cx, self.place, &self.doing(), stored, last, self.timeout)),
            _ => Ok(()),
        }
    }

    /// The words with which each of helm's commands begins.
    pub(super) fn words(&self, operands: &[&str]) -> Vec<OsString> {
        let mut words: Vec<OsString> = vec![self.word.into()];
        words.extend(operands.iter().map(OsString::from));
        words.extend(["--namespace".into(), self.place.namespace.as_str().into(), "--timeout".into(), go(self.timeout).into()]);
        words
    }

    /// Where Helm keeps this release.
    pub(super) fn driver(&self) -> &'static str {
        match self.before.last() {
            Some(stored) if stored.target.resource.kind == "ConfigMap" => "configmap",
            _ => "secret",
        }
    }

    /// Lets helm do it, then looks at what came of it. `items` are the objects before. A change is told at once, because waiting for
    /// what it began may take long and fail.
    ///
    /// # Errors
    /// What helm said. What a helm that failed has changed nevertheless is told before.
    pub(super) async fn carried_out(&self, helm: &mut Helm, words: &[OsString], items: Vec<Item>) -> Result<Made> {
        self.intend()?;
        let made = self.led(helm, words, items).await;
        self.begun.became(&made)?;
        made
    }

    /// Notes that it is about to be done, and what was there before.
    ///
    /// # Errors
    /// When it cannot be noted.
    pub(super) fn intend(&self) -> Result<()> {
        let of = |stored: Option<&Stored>| stored.map_or(0, Stored::revision);
        let last = self.before.last();
        self.begun.intend(json!({ "revision": of(last), "deployed": of(deployed(&self.before).or(last)) }))
    }

    /// What helm writes into the record of a revision that went well.
    pub(super) fn description(&self) -> String {
        format!("lockgate {}", self.begun.op())
    }

    async fn led(&self, helm: &mut Helm, words: &[OsString], items: Vec<Item>) -> Result<Made> {
        // helm's own limit is for each of its waits: one before, one after, and the work itself.
        let limit = self.timeout.plus(self.timeout).plus(Span::from_secs(60));
        let ended = helm.change(words, limit).await;
        let trouble = match ended {
            Ok(ended) if ended.is_well() => None,
            Ok(ended) => Some(failed(&self.doing(), &ended, limit)),
            Err(error) => Some(error),
        };
        let looked = self.looked(items).await;
        let trouble = trouble.or_else(|| looked.as_ref().ok().and_then(|made| self.not_noted(made)));
        let Some(error) = trouble else { return looked };
        match looked {
            Ok(made) if self.is_news(&made) => {
                self.cx.talk.wrote(&made.wrote);
                Err(explain::release(self, self.left(error, &made), &made).await)
            }
            Ok(_) => Err(error),
            // Nobody knows how it stands; helm's own words count.
            Err(_) => Err(error.details(json!({ "outcome": "unknown" }))),
        }
    }

    /// The error of a helm that ended well with its revision still pending: it could not write its last word, and `helm install` calls that no failure.
    fn not_noted(&self, made: &Made) -> Option<Error> {
        made.release.as_ref().filter(|release| release.is_pending())?;
        let error =
            Error::new(Kind::Cluster, Reason::HelmLocked, self.doing()).cause("helm has done its work, and could not note that it did");
        Some(error.hint("`helm.unlock` counts the revision as failed, so that the next operation can begin"))
    }

    /// Whether there is anything that was not there before.
    fn is_news(&self, made: &Made) -> bool {
        let now = made.release.as_ref().map(|release| (release.revision(), release.status().to_owned()));
        let then = self.before.last().map(|stored| (stored.revision(), stored.status().to_owned()));
        now != then || !made.wrote.changes.is_empty()
    }

    /// Says in an error how the release was left.
    fn left(&self, error: Error, made: &Made) -> Error {
        let Some(release) = &made.release else { return error };
        let (revision, status) = (release.revision(), release.status().to_owned());
        let error = error.cause(format!("revision {revision} is `{status}` now")).about(self.place.full_name());
        let details = json!({ "revision": revision, "status": status, "objects_changed": made.wrote.changes.len() });
        error.details(details)
    }

    /// What there is now, and what that changed.
    pub(super) async fn looked(&self, items: Vec<Item>) -> Result<Made> {
        let revisions = self.cx.revisions_of(self.place).await?;
        let release = revisions.last().map(Stored::release).transpose()?;
        let last = self.last()?;
        self.cx.cluster.forget_kinds();
        let items = match &release {
            // What only the new manifest has was not there, as far as anybody looked; its kinds may be new too.
            Some(release) => contents::with(self.cx, self.place, &self.doing(), items, release.manifest()).await?,
            None => items,
        };
        let after = contents::again(self.cx, &items).await?;
        let mut changes = release_changes(last.as_ref(), release.as_ref());
        changes.extend(contents::became(&items, &after));
        let wrote = Wrote { verb: self.word.to_owned(), target: format!("release/{}", self.place), changes, inverse: self.inverse(&last) };
        Ok(Made { release, wrote, items: after })
    }

    /// How it is taken back: to the revision that Helm called deployed.
    fn inverse(&self, last: &Option<Release>) -> Inverse {
        if self.word == "uninstall" {
            return Inverse::Irreversible("what an uninstalled release held is gone; install it again".to_owned());
        }
        let name = format!("{}/{}", self.place.namespace, self.place.name);
        let good = deployed(&self.before).map(Stored::revision).or_else(|| last.as_ref().map(Release::revision));
        match good {
            None => Inverse::Call { verb: "helm.uninstall".to_owned(), arguments: vec![name.into()], options: Json::Null },
            Some(revision) => {
                Inverse::Call { verb: "helm.rollback".to_owned(), arguments: vec![name.into()], options: json!({ "revision": revision }) }
            }
        }
    }

    /// Waits for the workloads of the release, since helm does not, and gives the result.
    ///
    /// # Errors
    /// As `wait_rollout`.
    pub(super) async fn done(self, made: Made) -> Result<Done> {
        self.cx.talk.wrote(&made.wrote);
        for target in contents::workloads(&made.items).filter(|_| self.wait) {
            let workload = ObjectRef::parse(&target.full_name())?;
            let wait = WaitRollout {
                workload,
                namespace: None,
                // How many nodes there are decides how long it takes as a whole: only standing still ends it.
                timeout: Some(WHOLE),
                stall: self.stall,
                stable: None,
                min_desired: None,
                revision: None,
            };
            wait.run(self.cx.clone()).await?;
        }
        let previous = self.before.last().map(Stored::revision);
        let mut all = self.earlier;
        all.push(made.wrote);
        Ok(Done::wrote(result(true, made.release.as_ref(), previous), all))
    }

    /// The result when the release was as asked.
    pub(super) fn left_alone(self, last: &Release) -> Done {
        let previous = self.before.last().map(Stored::revision);
        Done::wrote(result(!self.earlier.is_empty(), Some(last), previous), self.earlier)
    }
}

/// What a verb gives that changes a release.
pub(super) fn result(changed: bool, release: Option<&Release>, previous: Option<i64>) -> Value {
    let mut fields: BTreeMap<String, Value> = release.map(Release::whole_row).unwrap_or_default();
    fields.insert("changed".to_owned(), Value::from(changed));
    if let Some(previous) = previous {
        fields.insert("previous_revision".to_owned(), Value::Json(previous.into()));
    }
    Value::Map(fields)
}

/// What the record of the release says of a change.
fn release_changes(before: Option<&Release>, after: Option<&Release>) -> Vec<Change> {
    let of =
        |path: &str, before: Option<Json>, after: Option<Json>| (before != after).then(|| Change { path: path.to_owned(), before, after });
    let (revision, chart, status) = (
        |release: &Release| Json::from(release.revision()),
        |release: &Release| Json::from(release.chart()),
        |release: &Release| Json::from(release.status()),
    );
    let mut changes: Vec<Change> = [
        of("revision", before.map(revision), after.map(revision)),
        of("chart", before.map(chart), after.map(chart)),
        of("status", before.map(status), after.map(status)),
    ]
    .into_iter()
    .flatten()
    .collect();
    if let Some(after) = after {
        changes.extend(contents::values_changes(&before.map_or_else(|| json!({}), Release::config), &after.config()));
    }
    changes
}

/// The error for a release that another operation holds.
pub(super) fn locked(cx: &Cx, place: &Place, doing: &str, stored: &Stored, last: &Release, timeout: Span) -> Error {
    let since = view::time(&stored.object, "/metadata/creationTimestamp");
    let age = since.map(|since| Span::between(since, cx.now()));
    let (revision, status) = (last.revision(), last.status());
    let when = match age {
        Some(age) => format!("begun {} ago", age.rounded()),
        None => "begun at a time that is not known".to_owned(),
    };
    let message = format!("{doing}: another operation holds it: revision {revision} is `{status}`, {when}");
    let is_young = age.is_some_and(|age| age < timeout.plus(timeout));
    let hint = if is_young {
        "a helm may be at work: wait for it; if it is known to be dead, `helm.unlock` releases the lock"
    } else {
        "no helm works for so long: `helm.unlock(release, { to = \"rollback\" })` goes back to the last good revision"
    };
    Error::new(Kind::Cluster, Reason::HelmLocked, message)
        .about(place.full_name())
        .cause(format!("it says: {}", last.description()))
        .details(json!({ "revision": revision, "status": status, "since": since.map(|since| since.to_string()) }))
        .hint(hint)
}
