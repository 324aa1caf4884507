//! Answers from another terminal: what a run waits for is written into its folder, and so is the answer.
//!
//! `answers/waiting.json` says what is asked; it stays when the run parks, so that the answer can be given before it is resumed. An
//! answer is a file of its own, named by what it answers (place, text, occurrence): one to another text, or to the same text asked
//! another time, answers nothing. The folder is its owner's alone, the file must be too, and it carries a mark that only who has the key of
//! the folder of runs can make: who can only write into the folder of the run answers nothing.

use std::cell::RefCell;
use std::fs::{self, DirBuilder, OpenOptions};
use std::io::{self, Write as _};
use std::os::unix::fs::{DirBuilderExt as _, MetadataExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};
use std::rc::Rc;

use futures::future::LocalBoxFuture;
use serde::{Deserialize, Serialize};

use super::consent::Operator;
use super::event::Confirmation;
use super::journal::chain::sha256;
use super::journal::{Marks, Runs};
use crate::base::{Clock, Error, Kind, Reason, Result, Span, did_you_mean};
use crate::primitives::AskOptions;

/// The folder inside a run's.
const FOLDER: &str = "answers";
/// What is asked at present.
const WAITING: &str = "waiting.json";
/// How often an answer is looked for while somebody could also give it on the terminal.
const LOOK: Span = Span::from_millis(300);

/// What a run waits for.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Waiting {
    /// What is asked, and where.
    #[serde(flatten)]
    pub confirmation: Confirmation,
    /// SHA-256 over place, text and occurrence: an answer is bound to it.
    pub hash: String,
}

impl Waiting {
    fn of(confirmation: &Confirmation) -> Waiting {
        let Confirmation { at, question, occurrence } = confirmation;
        Waiting { confirmation: confirmation.clone(), hash: sha256(format!("{at}\n{occurrence}\n{question}").as_bytes()) }
    }

    /// The step or check that asks, as `approve` wants it.
    #[must_use]
    pub fn gate(&self) -> &str {
        let at = &self.confirmation.at;
        at.split_once(' ').map_or(at, |(_, id)| id)
    }
}

/// An answer as it is kept.
#[derive(Debug, Serialize, Deserialize)]
struct Given {
    hash: String,
    yes: bool,
    by: String,
    /// The mark under these.
    #[serde(default)]
    mac: String,
}

impl Given {
    /// What is marked.
    fn parts(&self) -> [&[u8]; 4] {
        [b"answer", self.hash.as_bytes(), if self.yes { b"yes" } else { b"no" }, self.by.as_bytes()]
    }
}

/// The answers of one run.
#[derive(Clone, Debug)]
pub struct Answers {
    run: String,
    folder: PathBuf,
}

impl Answers {
    /// Those in the folder of this run.
    #[must_use]
    pub fn of(run: &str, folder: &Path) -> Answers {
        Answers { run: run.to_owned(), folder: folder.join(FOLDER) }
    }

    /// What the run waits for; `None` when it waits for nothing.
    ///
    /// # Errors
    /// When the file cannot be read, or is not safe to believe.
    pub fn waiting(&self) -> Result<Option<Waiting>> {
        self.read(WAITING)
    }

    /// What the run waits for and nobody has answered yet.
    ///
    /// # Errors
    /// As [`Answers::waiting`].
    pub fn unanswered(&self) -> Result<Option<Waiting>> {
        let waiting = self.waiting()?;
        Ok(waiting.filter(|waiting| !self.folder.join(name(&waiting.hash)).exists()))
    }

    /// What the run waits for at this step or check.
    ///
    /// # Errors
    /// Input when it waits for nothing, or for something else, with what it waits for.
    pub fn waits_at(&self, gate: &str) -> Result<Waiting> {
        let Some(waiting) = self.waiting()? else {
            return Err(Error::usage(format!("the run `{}` waits for no answer", self.run))
                .hint(format!("`lockgate status {}` says where it stands", self.run)));
        };
        let at = &waiting.confirmation.at;
        if gate != waiting.gate() && gate != at {
            let hint = match did_you_mean(gate, [waiting.gate()]) {
                Some(near) => format!("did you mean `{near}`?"),
                None => format!("it asks `{}`", waiting.confirmation.question),
            };
            return Err(Error::usage(format!("the run `{}` does not wait at `{gate}` but at `{}`", self.run, waiting.gate())).hint(hint));
        }
        Ok(waiting)
    }

    /// Answers a question as it was shown.
    ///
    /// # Errors
    /// Refused when the run does not ask it any more, or when it has been answered.
    pub fn answer(&self, shown: &Waiting, yes: bool, by: &str) -> Result<()> {
        let now = self.waiting()?;
        if now.as_ref().is_none_or(|now| now.hash != shown.hash) {
            let cause = match &now {
                Some(now) => format!("it asks `{}` at `{}` now", now.confirmation.question, now.gate()),
                None => "it was answered meanwhile, or the run has ended".to_owned(),
            };
            let message = format!("the run `{}` does not ask that any more: nothing was answered", self.run);
            return Err(Error::new(Kind::Refused, Reason::Refused, message)
                .cause(cause)
                .hint(format!("`lockgate status {}` says where it stands", self.run)));
        }
        let mut given = Given { hash: shown.hash.clone(), yes, by: by.to_owned(), mac: String::new() };
        given.mac = self.marks()?.under(&given.parts());
        match self.write(&name(&shown.hash), &given, true) {
            Ok(()) => Ok(()),
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => Err(Error::new(
                Kind::Refused,
                Reason::Refused,
                format!("`{}` of the run `{}` has been answered, and the run has not taken the answer yet", shown.gate(), self.run),
            )
            .hint(format!("`lockgate resume {}` goes on with it", self.run))),
            Err(error) => Err(self.broken("write", &error)),
        }
    }

    /// Says what is waited for.
    fn wait(&self, confirmation: &Confirmation) -> Result<()> {
        self.write(WAITING, &Waiting::of(confirmation), false).map_err(|error| self.broken("write", &error))
    }

    /// Nothing is waited for any more.
    fn over(&self) {
        // A file that is not there is what is wanted.
        fs::remove_file(self.folder.join(WAITING)).ok();
    }

    /// The answer to this and who gave it, when there is one. It is taken: it counts once.
    fn take(&self, confirmation: &Confirmation) -> Result<Option<(bool, String)>> {
        let hash = Waiting::of(confirmation).hash;
        let Some(given) = self.read::<Given>(&name(&hash))? else { return Ok(None) };
        if given.hash != hash {
            return Ok(None);
        }
        let path = self.folder.join(name(&hash));
        if !self.marks()?.is_under(&given.mac, &given.parts()) {
            let message = format!("`{}` is not safe to go by", path.display());
            return Err(Error::new(Kind::Refused, Reason::Refused, message)
                .cause("it was not written by `lockgate approve` with the key of this folder of runs")
                .hint("remove it, and answer again"));
        }
        fs::rename(&path, path.with_extension("taken")).map_err(|error| self.broken("take", &error))?;
        Ok(Some((given.yes, given.by)))
    }

    fn marks(&self) -> Result<Marks> {
        let root = self.folder.parent().and_then(Path::parent).unwrap_or(&self.folder);
        Marks::of(&Runs::at(root), &self.run)
    }

    fn read<T: for<'de> Deserialize<'de>>(&self, name: &str) -> Result<Option<T>> {
        let path = self.folder.join(name);
        let unsafe_to = |why: &str| {
            Error::new(Kind::Refused, Reason::Refused, format!("`{}` is not safe to go by", path.display())).cause(why.to_owned())
        };
        let metadata = match path.symlink_metadata() {
            Ok(metadata) => metadata,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(self.broken("read", &error)),
        };
        if metadata.uid() != nix::unistd::geteuid().as_raw() {
            return Err(unsafe_to("it belongs to another user"));
        }
        if !metadata.is_file() || metadata.mode() & 0o077 != 0 {
            return Err(unsafe_to("others than its owner can read or write it").hint("remove it, and answer again"));
        }
        let text = fs::read(&path).map_err(|error| self.broken("read", &error))?;
        let value = serde_json::from_slice(&text).map_err(|error| unsafe_to("it is damaged").cause(error.to_string()))?;
        Ok(Some(value))
    }

    /// Writes a file whole: who reads it sees all of it or nothing.
    fn write(&self, name: &str, value: &impl Serialize, new: bool) -> io::Result<()> {
        match DirBuilder::new().mode(0o700).create(&self.folder) {
            Err(error) if error.kind() != io::ErrorKind::AlreadyExists => return Err(error),
            _ => {}
        }
        let (path, half) = (self.folder.join(name), self.folder.join(format!("{name}.{}", nix::unistd::getpid())));
        fs::remove_file(&half).ok();
        let mut file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(&half)?;
        file.write_all(&serde_json::to_vec(value)?)?;
        file.sync_all()?;
        let put = if new { fs::hard_link(&half, &path) } else { fs::rename(&half, &path) };
        fs::remove_file(&half).ok();
        put
    }

    fn broken(&self, what: &str, error: &io::Error) -> Error {
        let said = error.to_string().split(" (os error").next().unwrap_or_default().to_lowercase();
        Error::new(Kind::Input, Reason::Refused, format!("cannot {what} the answers of the run `{}`", self.run))
            .cause(format!("`{}`: {said}", self.folder.display()))
    }
}

fn name(hash: &str) -> String {
    format!("{}.json", hash.get(..32).unwrap_or(hash))
}

/// An operator who may also answer from another terminal.
pub struct Elsewhere {
    here: Rc<dyn Operator>,
    answers: Answers,
    world: Clock,
    /// Who gave the last answer from elsewhere.
    by: RefCell<Option<String>>,
}

impl Elsewhere {
    /// Questions go to `here`, and may be answered by `lockgate approve` too.
    #[must_use]
    pub fn new(here: Rc<dyn Operator>, answers: Answers) -> Elsewhere {
        Elsewhere { here, answers, world: Clock::real(), by: RefCell::default() }
    }

    /// Comes when there is an answer.
    async fn answered(&self, question: &Confirmation) -> Result<bool> {
        loop {
            if let Some(yes) = self.taken(question)? {
                return Ok(yes);
            }
            self.world.sleep(LOOK).await?;
        }
    }

    fn taken(&self, question: &Confirmation) -> Result<Option<bool>> {
        let Some((yes, by)) = self.answers.take(question)? else { return Ok(None) };
        *self.by.borrow_mut() = Some(by);
        Ok(Some(yes))
    }
}

impl Operator for Elsewhere {
    fn confirm<'a>(&'a self, question: &'a Confirmation) -> LocalBoxFuture<'a, Result<Option<bool>>> {
        Box::pin(async move {
            *self.by.borrow_mut() = None;
            if let Some(yes) = self.taken(question)? {
                self.answers.over();
                return Ok(Some(yes));
            }
            self.answers.wait(question)?;
            let answer = tokio::select! {
                biased;
                here = self.here.confirm(question) => here?,
                elsewhere = self.answered(question) => Some(elsewhere?),
            };
            // What nobody answered is still waited for: the run parks.
            if answer.is_some() {
                self.answers.over();
            }
            Ok(answer)
        })
    }

    fn ask<'a>(&'a self, question: &'a Confirmation, options: &'a AskOptions) -> LocalBoxFuture<'a, Result<Option<String>>> {
        self.here.ask(question, options)
    }

    /// What a run may do is not answered from elsewhere: without a terminal it is refused and not waited for.
    fn grant<'a>(&'a self, question: &'a Confirmation) -> LocalBoxFuture<'a, Result<Option<bool>>> {
        self.here.grant(question)
    }

    fn answered_by(&self) -> Option<String> {
        self.by.borrow().clone()
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt as _;

    use super::*;
    use crate::run::consent::Nobody;

    /// The folder of a run in a folder of runs.
    fn folder() -> (tempfile::TempDir, PathBuf) {
        let root = tempfile::tempdir().unwrap();
        let folder = Runs::at(root.path()).create("R").unwrap().path().to_owned();
        (root, folder)
    }

    fn question(text: &str) -> Confirmation {
        Confirmation { at: "step canary".to_owned(), question: text.to_owned(), occurrence: 1 }
    }

    fn run<F: Future>(future: F) -> F::Output {
        tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap().block_on(future)
    }

    /// Somebody who never answers.
    struct Silent;

    impl Operator for Silent {
        fn confirm<'a>(&'a self, _: &'a Confirmation) -> LocalBoxFuture<'a, Result<Option<bool>>> {
            Box::pin(std::future::pending())
        }
        fn ask<'a>(&'a self, _: &'a Confirmation, _: &'a AskOptions) -> LocalBoxFuture<'a, Result<Option<String>>> {
            Box::pin(std::future::pending())
        }
    }

    #[test]
    fn a_parked_run_takes_the_answer_when_it_asks_again_and_only_once() {
        let (_root, folder) = folder();
        let answers = Answers::of("R", &folder);
        let operator = Elsewhere::new(Rc::new(Nobody), answers.clone());
        let gate = question("Go on with the rest?");
        assert_eq!(run(operator.confirm(&gate)).unwrap(), None, "nobody is there: it parks");
        assert_eq!(answers.waiting().unwrap().unwrap().gate(), "canary");
        let shown = answers.waits_at("canary").unwrap();
        assert_eq!(shown.confirmation, gate);
        assert_eq!(answers.unanswered().unwrap(), Some(shown.clone()));
        answers.answer(&shown, true, "kim").unwrap();
        assert_eq!(answers.unanswered().unwrap(), None, "it has its answer");
        assert_eq!(run(operator.confirm(&gate)).unwrap(), Some(true));
        assert_eq!(operator.answered_by().as_deref(), Some("kim"));
        assert_eq!(answers.waiting().unwrap(), None);
        assert_eq!(run(operator.confirm(&gate)).unwrap(), None, "an answer counts once");
        assert_eq!(operator.answered_by(), None);
    }

    #[test]
    fn a_waiting_run_takes_it_while_it_waits() {
        let (_root, folder) = folder();
        let answers = Answers::of("R", &folder);
        let operator = Elsewhere::new(Rc::new(Silent), answers.clone());
        let (gate, path) = (question("Go on?"), folder.clone());
        let other = std::thread::spawn(move || {
            let answers = Answers::of("R", &path);
            while answers.waiting().unwrap().is_none() {
                std::thread::yield_now();
            }
            answers.answer(&answers.waits_at("step canary").unwrap(), false, "kim").unwrap();
        });
        assert_eq!(run(operator.confirm(&gate)).unwrap(), Some(false));
        other.join().unwrap();
    }

    #[test]
    fn an_answer_is_bound_to_what_was_shown() {
        let (_root, folder) = folder();
        let answers = Answers::of("R", &folder);
        answers.wait(&question("Remove 2 nodes?")).unwrap();
        answers.answer(&answers.waits_at("canary").unwrap(), true, "kim").unwrap();
        for other in [question("Remove 9 nodes?"), Confirmation { occurrence: 2, ..question("Remove 2 nodes?") }] {
            assert_eq!(answers.take(&other).unwrap(), None, "{other:?}");
        }
        assert_eq!(answers.take(&question("Remove 2 nodes?")).unwrap(), Some((true, "kim".to_owned())));
    }

    #[test]
    fn what_is_asked_after_what_was_shown_is_not_answered_by_it() {
        let (_root, folder) = folder();
        let answers = Answers::of("R", &folder);
        answers.wait(&question("Look at 2 nodes?")).unwrap();
        let shown = answers.waits_at("canary").unwrap();
        // It was answered elsewhere, and the run has gone on to its next question at the same place.
        answers.wait(&question("Remove 2 nodes?")).unwrap();
        let error = answers.answer(&shown, true, "kim").unwrap_err();
        assert_eq!((error.kind, &*error.message), (Kind::Refused, "the run `R` does not ask that any more: nothing was answered"));
        assert_eq!(error.causes, ["it asks `Remove 2 nodes?` at `canary` now"]);
        for asked in ["Look at 2 nodes?", "Remove 2 nodes?"] {
            assert_eq!(answers.take(&question(asked)).unwrap(), None, "{asked}");
        }
        answers.over();
        let error = answers.answer(&shown, true, "kim").unwrap_err();
        assert_eq!(error.causes, ["it was answered meanwhile, or the run has ended"]);
    }

    #[test]
    fn nobody_elsewhere_says_what_a_run_may_do() {
        let (_root, folder) = folder();
        let answers = Answers::of("R", &folder);
        let operator = Elsewhere::new(Rc::new(Nobody), answers.clone());
        let text = question("Allow it?");
        assert_eq!(run(operator.grant(&text)).unwrap(), None);
        assert_eq!(answers.waiting().unwrap(), None, "there is nothing that could be answered");
        // An answer to a script's question of the same words counts there only.
        answers.wait(&text).unwrap();
        answers.answer(&answers.waits_at("canary").unwrap(), true, "kim").unwrap();
        assert_eq!(run(operator.grant(&text)).unwrap(), None);
        assert_eq!(run(operator.confirm(&text)).unwrap(), Some(true));
    }

    #[test]
    fn what_cannot_be_answered_is_said() {
        let (_root, folder) = folder();
        let answers = Answers::of("R", &folder);
        let error = answers.waits_at("canary").unwrap_err();
        assert_eq!((error.kind, error.message.as_str()), (Kind::Input, "the run `R` waits for no answer"));
        answers.wait(&question("Go on?")).unwrap();
        let error = answers.waits_at("canari").unwrap_err();
        assert_eq!(error.message, "the run `R` does not wait at `canari` but at `canary`");
        assert_eq!(error.hint.as_deref(), Some("did you mean `canary`?"));
        let shown = answers.waits_at("canary").unwrap();
        answers.answer(&shown, true, "kim").unwrap();
        let error = answers.answer(&shown, false, "kim").unwrap_err();
        assert_eq!(error.message, "`canary` of the run `R` has been answered, and the run has not taken the answer yet");
    }

    #[test]
    fn an_answer_that_others_could_have_written_is_refused() {
        let (_root, folder) = folder();
        let answers = Answers::of("R", &folder);
        let gate = question("Go on?");
        answers.wait(&gate).unwrap();
        let waiting = answers.waits_at("canary").unwrap();
        answers.answer(&waiting, true, "kim").unwrap();
        let path = folder.join(FOLDER).join(name(&waiting.hash));
        assert_eq!(fs::metadata(&path).unwrap().mode() & 0o777, 0o600);
        fs::set_permissions(&path, fs::Permissions::from_mode(0o660)).unwrap();
        let error = answers.take(&gate).unwrap_err();
        assert_eq!((error.kind, &*error.causes[0]), (Kind::Refused, "others than its owner can read or write it"));
        fs::remove_file(&path).unwrap();
        std::os::unix::fs::symlink("/etc/hostname", &path).unwrap();
        assert_eq!(answers.take(&gate).unwrap_err().kind, Kind::Refused);
    }
}
