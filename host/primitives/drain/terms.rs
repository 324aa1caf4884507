//! What a drain is allowed to do: the options that `drain` and `drain_plan` have in common.

use crate::base::json::{Map, Value as Json};
use crate::base::{Error, Result, Span};
use crate::choice;

choice! {
    /// What is done about a pod that its disruption budgets will never let go.
    pub enum OnImpossibleBudget {
        /// Nothing is written, and the error names the budget.
        Fail = "fail",
        /// It is waited for like any other: somebody is about to change the budget.
        Wait = "wait",
        /// The pod is deleted past its budget, after the operator's consent.
        Delete = "delete",
    } is "\"fail\" | \"wait\" | \"delete\"", "\"fail\", \"wait\" or \"delete\""
}

/// The options, with their defaults.
#[derive(Clone, Debug)]
pub(in crate::primitives) struct Terms {
    /// Leaves pods of DaemonSets where they are.
    pub(in crate::primitives) ignore_daemonsets: bool,
    /// Lets pods go that have `emptyDir` volumes.
    pub(in crate::primitives) delete_emptydir_data: bool,
    /// Lets pods go that nobody makes again.
    pub(in crate::primitives) force: bool,
    /// Deletes in the place of evicting.
    pub(in crate::primitives) disable_eviction: bool,
    /// The grace period of every pod; `None` for each pod's own.
    pub(in crate::primitives) grace_period: Option<Span>,
    /// Which pods; `None` for all.
    pub(in crate::primitives) pod_selector: Option<String>,
    /// Pods that should have been gone for so long are not waited for.
    pub(in crate::primitives) skip_wait: Option<Span>,
    /// About impossible budgets.
    pub(in crate::primitives) on_impossible: OnImpossibleBudget,
    /// How many pods may be on their way out at a time.
    pub(in crate::primitives) max_evictions: usize,
}

/// The default of `max_evictions`.
const MAX_EVICTIONS: u32 = 10;

impl Terms {
    /// Fills in the defaults. `max_evictions`, when given, must be 1 or more.
    ///
    /// # Errors
    /// A usage error of `verb`.
    pub(super) fn checked(self, verb: &str, max_evictions: Option<u32>) -> Result<Terms> {
        match max_evictions.unwrap_or(MAX_EVICTIONS) {
            0 => Err(Error::usage(format!("`{verb}`: option `max_evictions` must be 1 or more, got 0"))),
            many => Ok(Terms { max_evictions: usize::try_from(many).unwrap_or(usize::MAX), ..self }),
        }
    }

    /// The fields of `deleteOptions`.
    pub(super) fn delete_options(&self) -> Json {
        let mut options = Map::new();
        if let Some(grace) = self.grace_period {
            options.insert("gracePeriodSeconds".to_owned(), (grace.as_millis() / 1000).into());
        }
        Json::Object(options)
    }
}

/// The options of a call as [`Terms`]: the two verbs have fields of the same names.
macro_rules! terms {
    ($call:expr, $verb:literal) => {
        $crate::primitives::drain::terms::Terms {
            ignore_daemonsets: $call.ignore_daemonsets.unwrap_or(true),
            delete_emptydir_data: $call.delete_emptydir_data.unwrap_or(false),
            force: $call.force.unwrap_or(false),
            disable_eviction: $call.disable_eviction.unwrap_or(false),
            grace_period: $call.grace_period,
            pod_selector: $call.pod_selector.clone(),
            skip_wait: $call.skip_wait_for_delete_timeout,
            on_impossible: $call.on_impossible_budget.unwrap_or($crate::primitives::drain::OnImpossibleBudget::Fail),
            max_evictions: 0,
        }
        .checked($verb, $call.max_evictions)
    };
}
pub(in crate::primitives) use terms;
