//! What a run tells never holds a secret parameter or what a Secret holds that it reads or writes, whatever the script does with it.

use std::cell::RefCell;
use std::rc::Rc;

use sha2::{Digest as _, Sha256};

use super::event::{Event, Record, Sink, Summary};
use super::journal::Redactor;
use super::runbook::{ParamType, Params, Runbook};
use crate::base::json::{from_value, to_value};
use crate::base::{Error, Value};
use crate::cluster::RunId;

/// Stands before a sink and hides secrets.
pub(super) struct Hiding {
    sink: Rc<RefCell<dyn Sink>>,
    redactor: Rc<Redactor>,
}

/// Who hides the secret parameters of a run; it learns more as the run goes.
pub(super) fn redactor(runbook: &Runbook, params: &Params) -> Rc<Redactor> {
    let secrets = runbook.params.iter().filter(|decl| decl.ty == ParamType::Secret);
    let texts: Vec<String> = secrets.filter_map(|decl| params.get(&decl.name).and_then(Value::as_text)).collect();
    let redactor = nothing_yet();
    texts.iter().for_each(|text| redactor.learn(text));
    redactor
}

/// Who hides what is met from now on. Nobody compares its marks with others.
#[must_use]
pub fn nothing_yet() -> Rc<Redactor> {
    Rc::new(Redactor::new(Sha256::digest(RunId::generate().to_string()).into()))
}

/// The sink behind it.
pub(super) fn before(sink: Rc<RefCell<dyn Sink>>, redactor: &Rc<Redactor>) -> Rc<RefCell<dyn Sink>> {
    Rc::new(RefCell::new(Hiding { sink, redactor: redactor.clone() }))
}

/// Hides secrets in what a run ended with. What was asked was asked without them, so that consent still fits.
pub(super) fn ended(mut summary: Summary, redactor: &Redactor) -> Summary {
    if redactor.knows_nothing() {
        return summary;
    }
    let Ok(mut json) = to_value(&summary) else { return summary };
    if !redactor.json(&mut json) {
        return summary;
    }
    match from_value(json) {
        Ok(hidden) => hidden,
        // A secret that is a word of the summary itself.
        Err(_) => {
            let untold = |error: &Error| Error::new(error.kind, error.reason, "what went wrong cannot be told without a secret");
            summary.error = summary.error.as_ref().map(untold);
            Summary { unknowns: Vec::new(), assumptions: Vec::new(), ..summary }
        }
    }
}

impl Sink for Hiding {
    fn record(&mut self, record: &Record) {
        if self.redactor.knows_nothing() {
            return self.sink.borrow_mut().record(record);
        }
        let hidden = to_value(record).map(|mut json| self.redactor.json(&mut json).then(|| from_value::<Record>(json).ok()));
        match hidden {
            Ok(None) => self.sink.borrow_mut().record(record),
            Ok(Some(Some(hidden))) => self.sink.borrow_mut().record(&hidden),
            // A secret that is a word of the record itself.
            Ok(Some(None)) | Err(_) => {
                let event = Event::Note { text: "what happened cannot be told without a secret parameter".to_owned() };
                self.sink.borrow_mut().record(&Record { event, ..record.clone() });
            }
        }
    }
}
