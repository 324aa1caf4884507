//! What is shown while a plan or run goes: the transcript as it grows, and what is being waited for.

use std::rc::Rc;

use crate::base::{Error, Result, Span};
use crate::report::{Screen, Transcript, escape, json};
use crate::run::{Event, Record, Sink, What};

use super::args::Format;

/// Shows records as they come.
pub(super) struct Live {
    screen: Rc<Screen>,
    format: Format,
    what: What,
    transcript: Transcript,
    waited: Option<String>,
    /// A line that could not be written as JSON.
    fault: Option<Error>,
}

impl Live {
    /// A view of one plan or run.
    #[must_use]
    pub(super) fn new(screen: Rc<Screen>, format: Format, what: What, transcript: Transcript) -> Live {
        Live { screen, format, what, transcript, waited: None, fault: None }
    }

    /// Ends the view.
    ///
    /// # Errors
    /// What could not be shown.
    pub(super) fn finish(&mut self) -> Result<()> {
        self.screen.rest();
        self.fault.take().map_or(Ok(()), Err)
    }

    /// Says what is waited for and for how long: a moving line on a terminal, else a line whenever it changes. A plan waits for
    /// nothing real.
    fn waiting(&mut self, what: &str, state: &str, since: Span) {
        if self.what != What::Plan {
            self.tell(what, state, since);
        }
    }

    fn tell(&mut self, what: &str, state: &str, since: Span) {
        let text = format!("waiting  {}: {}", escape::line(what), escape::line(state));
        if self.screen.is_live() {
            self.screen.wait(&text, since);
        } else if self.waited.as_ref() != Some(&text) {
            let since = if since.is_zero() { String::new() } else { format!(", for {}", since.rounded()) };
            self.screen.talk(&format!("{text}{since}"));
        }
        self.waited = Some(text);
    }
}

impl Sink for Live {
    fn record(&mut self, record: &Record) {
        match self.format {
            Format::Text => {
                let lines = self.transcript.lines(record);
                if !lines.is_empty() {
                    self.screen.data(&lines);
                }
            }
            Format::Json => match json::event(self.what, record) {
                Ok(line) => self.screen.data(&line),
                Err(error) => self.fault = Some(error),
            },
        }
        match &record.event {
            Event::Waiting { what, state, since } => self.waiting(what, state, Span::between(*since, record.at)),
            Event::Delayed { what, state, waited } => self.tell(what, state, *waited),
            Event::Waited { .. } | Event::StepFinished { .. } | Event::CheckFinished { .. } => self.screen.rest(),
            _ => {}
        }
    }
}
