//! What a person lets a run do beyond its permissions.

use std::borrow::Cow;

use super::Session;
use crate::base::Result;
use crate::cluster::permit::Grant;
use crate::run::event::Confirmation;
use crate::run::journal::Fact;

impl Session {
    /// Asks the operator whether something may be done that nothing grants; nobody there is no. It is no question of the script: those
    /// are counted without it. A yes holds for as long as the run goes on, whichever process does.
    pub(in crate::run) async fn granted(&self, question: &str, line: &Grant) -> Result<bool> {
        let question = self.secrets.get().map_or(Cow::Borrowed(question), |secrets| secrets.text(question)).into_owned();
        let confirmation = Confirmation { at: self.place.borrow().clone(), question, occurrence: 1 };
        let one_at_a_time = self.asking.lock().await;
        let answer = self.voice.grant(&confirmation).await?;
        drop(one_at_a_time);
        if let Some(yes) = answer.value {
            self.asked(&confirmation, Some(if yes { "yes" } else { "no" }.to_owned()), &answer);
        }
        let yes = answer.value == Some(true);
        if yes && let Some(book) = &self.book {
            book.note(&Fact::Granted { grant: line.clone() })?;
        }
        Ok(yes)
    }

    /// What was allowed so in the processes before this one.
    pub(in crate::run) fn granted_before(&self) -> Vec<Grant> {
        self.book.as_ref().map(|book| book.past(|past| past.granted.clone())).unwrap_or_default()
    }
}
