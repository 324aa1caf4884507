//! Lines that a person types on the cluster itself. Each is a step of a run that no file declares: what it writes passes the journal and the
//! lock, and `rollback` takes it back. What was typed is not done again by anybody: such a run is not resumed.

use std::cell::Cell;
use std::rc::Rc;

use super::event::{Event, Item, Part, StepEnd, Summary, TargetInfo};
use super::journal::Redactor;
use super::runbook::{Phase, State};
use super::runner::{Job, summary};
use super::script::{Calls, Returned};
use super::session::Session;
use super::{Source, hiding};
use crate::base::{Result, Span, Timestamp};
use crate::cluster::{Access, Cluster};
use crate::primitives::Talk;

/// The name of the runbook that stands for what is typed; what such a run does, in its journal.
pub const PROMPT: &str = "prompt";
/// Its step: each line is an item of it.
const LINE: &str = "line";

/// The runbook that stands for what is typed: it lets `rollback` find the lines among the steps.
const SOURCE: &str = r#"--- What was typed at the prompt of lockgate: each line is an item of this step. Nothing here is run again.
runbook { title = "Lines typed at the prompt", summary = "Nobody wrote them down before.", impact = "outage" }

step "line" {
  title = "A line",
  each = function() return {} end,
  run = function(line)
    ensure(false, `line {line} was typed at the prompt, and is not run again`)
  end,
}
"#;

/// The runbook that stands for what is typed.
#[must_use]
pub fn source() -> Source {
    Source::of_text(PROMPT, SOURCE)
}

/// A line that is being run.
struct Line {
    item: Item,
    since: Timestamp,
}

/// A person at the prompt, on the cluster itself.
pub struct Typed {
    session: Rc<Session>,
    cluster: Cluster,
    started: Timestamp,
    redactor: Rc<Redactor>,
    lines: Cell<usize>,
}

impl Typed {
    /// Begins: writes go to the cluster of this job from now on, while a line runs. The prompt has shown nothing of the secrets that it has
    /// met so far, and neither does this.
    #[must_use]
    pub fn begin(job: Job, redactor: Rc<Redactor>) -> Typed {
        let Job { what, cluster, runbook, params: _, voice, sink, record } = job;
        let book = record.map(|record| record.book);
        if let Some(book) = &book {
            cluster.keep(book.clone());
        }
        let session = Session::new(what, cluster.clone(), voice, hiding::before(sink, &redactor), book);
        session.hide(redactor.clone());
        cluster.set_access(Access::ReadOnly);
        let label = cluster.label();
        session.emit(Event::Started {
            what,
            run: cluster.run().to_string(),
            runbook: runbook.name.clone(),
            title: runbook.header.title.clone(),
            target: TargetInfo { name: label.name, simulated: label.simulated },
            namespace: cluster.namespace().to_owned(),
            params: [].into(),
            checks: Vec::new(),
            steps: 0,
            resumes: false,
        });
        let started = session.now();
        Typed { session, cluster, started, redactor, lines: Cell::new(0) }
    }

    /// Who is told of every call.
    #[must_use]
    pub fn calls(&self) -> Rc<dyn Calls> {
        self.session.clone()
    }

    /// Who answers for the operator.
    #[must_use]
    pub fn talk(&self) -> Rc<dyn Talk> {
        self.session.clone()
    }

    /// Runs a line. What it wrote is recorded, however it ends.
    ///
    /// # Errors
    /// What it raised; what keeps the journal from taking it: then it is not run.
    pub fn line<T>(&self, text: &str, run: impl FnOnce() -> Result<T>) -> Result<T> {
        let line = self.entered(text)?;
        self.cluster.set_access(Access::ReadWrite);
        let result = run();
        self.cluster.set_access(Access::ReadOnly);
        self.left(line, result.as_ref().map(drop).map_err(Clone::clone))?;
        result
    }

    fn entered(&self, text: &str) -> Result<Line> {
        let number = self.lines.get() + 1;
        self.lines.set(number);
        let part = Part { name: number.to_string(), number, of: number };
        let item = Item { id: format!("{LINE}/{number}"), title: text.to_owned(), number: 1, of: 1, part: Some(part) };
        self.session.begin_item(format!("step {}", item.id));
        self.session.emit(Event::StepStarted { step: item.clone() });
        drop(self.session.begin_phase(Phase::Run)?);
        Ok(Line { item, since: self.session.now() })
    }

    fn left(&self, line: Line, result: Result<()>) -> Result<()> {
        let end = match &result {
            Ok(()) => StepEnd::Done { recovered: false },
            Err(error) => StepEnd::Failed { error: error.clone() },
        };
        self.session.end_phase(Phase::Run, &result.map(|()| Returned::default()))?;
        self.session.ended(&end, Some(&State::new()))?;
        let took = Span::between(line.since, self.session.now());
        self.session.emit(Event::StepFinished { step: line.item, end, took });
        Ok(())
    }

    /// Ends: nothing more is written.
    #[must_use]
    pub fn end(self) -> Summary {
        self.cluster.set_access(Access::ReadOnly);
        let what = super::What::Run;
        let summary = summary(&self.session, &self.cluster, what, self.started, Ok(()));
        self.session.emit(Event::Finished { what, summary: summary.clone() });
        hiding::ended(summary, &self.redactor)
    }
}
