//! Who lets a run begin, and a run go on whose record does not say that anybody did.

use super::prompt::Prompter;
use super::resume::Found;
use super::setting::Setting;
use crate::base::{Error, Kind, Reason, Result};
use crate::run::journal::Fact;
use crate::run::journal::entry::Consent;

/// The word for who accepted, as the record keeps it.
pub(super) fn word(by: &str, no_plan: bool) -> String {
    if no_plan { format!("{by}, without a plan") } else { by.to_owned() }
}

/// Asks for the consent that is not in the record: the run was killed before it was written, or the record was cut back. `None` where
/// it is there.
///
/// # Errors
/// Cancelled when the answer is no; input when there is nobody to ask.
pub(super) fn missing(setting: &Setting, found: &Found, prompter: &Prompter) -> Result<Option<Consent>> {
    if found.read.entries.iter().any(|entry| matches!(entry.fact, Fact::Consent(_))) {
        return Ok(None);
    }
    let (run, label) = (&found.header.run, setting.cluster.label());
    let unsaid = format!("the record of run `{run}` does not say that anybody accepted it");
    let by = if label.simulated && !prompter.is_there() {
        "sandbox"
    } else {
        let question = format!("{unsaid}.\nGo on with it on `{}` without a plan?", label.name);
        match setting.runtime.block_on(prompter.yes_or_no(&question))? {
            Some(true) => "operator",
            Some(false) => {
                return Err(Error::new(Kind::Cancelled, Reason::Declined, format!("run `{run}` was not accepted: nothing was written")));
            }
            None => {
                return Err(Error::usage(format!("{unsaid}, and there is no terminal to ask for consent: nothing was written"))
                    .hint(format!("begin it anew: `{}`", found.header.command)));
            }
        }
    };
    Ok(Some(Consent { by: word(by, true), plan: None, confirmations: Vec::new(), planned: None, grants: None }))
}
