//! What a run tells never holds a secret parameter, whatever the script does with it.

use std::cell::RefCell;
use std::rc::Rc;

use sha2::{Digest as _, Sha256};

use super::event::{Event, Record, Sink, Summary};
use super::journal::Redactor;
use super::runbook::{ParamType, Params, Runbook};
use crate::base::Value;
use crate::base::json::{from_value, to_value};
use crate::cluster::RunId;

/// Stands before a sink and hides secrets.
pub(super) struct Hiding {
    sink: Rc<RefCell<dyn Sink>>,
    redactor: Rc<Redactor>,
}

/// Who hides the secret parameters of a run; `None` where there are none.
pub(super) fn redactor(runbook: &Runbook, params: &Params) -> Option<Rc<Redactor>> {
    let secrets = runbook.params.iter().filter(|decl| decl.ty == ParamType::Secret);
    let texts: Vec<String> = secrets.filter_map(|decl| params.get(&decl.name).and_then(Value::as_text)).collect();
    if texts.is_empty() {
        return None;
    }
    // Nobody compares these marks with others.
    let redactor = Redactor::new(Sha256::digest(RunId::generate().to_string()).into());
    texts.iter().for_each(|text| redactor.learn(text));
    Some(Rc::new(redactor))
}

/// The sink behind it.
pub(super) fn before(sink: Rc<RefCell<dyn Sink>>, redactor: Option<&Rc<Redactor>>) -> Rc<RefCell<dyn Sink>> {
    match redactor {
        Some(redactor) => Rc::new(RefCell::new(Hiding { sink, redactor: redactor.clone() })),
        None => sink,
    }
}

/// Hides secrets in the error that a run ended with.
pub(super) fn ended(mut summary: Summary, redactor: Option<&Rc<Redactor>>) -> Summary {
    let (Some(redactor), Some(error)) = (redactor, &summary.error) else { return summary };
    if let Ok(mut json) = to_value(error)
        && redactor.json(&mut json)
    {
        summary.error = from_value(json).ok().or_else(|| {
            let (kind, reason) = (error.kind, error.reason);
            Some(crate::base::Error::new(kind, reason, "what went wrong cannot be told without a secret parameter"))
        });
    }
    summary
}

impl Sink for Hiding {
    fn record(&mut self, record: &Record) {
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
