//! L3: one run of one runbook. What a file declared, parameters, the step machine, consent, events. No Lua here, no printing.

mod bounds;
pub mod consent;
pub mod coverage;
pub mod event;
pub mod needs;
pub mod params;
pub mod params_file;
pub mod runbook;
pub mod runner;
pub mod script;
mod session;
pub mod source;

pub use consent::{Nobody, Operator, Voice};
pub use event::{Confirmation, End, Event, Known, Record, Sink, Summary, What};
pub use params::Given;
pub use runbook::{CallbackId, Owner, Params, Phase, Runbook, State};
pub use runner::{Job, perform, plan, run};
pub use script::{Call, Calls, Returned, Scene, Script};
pub use source::Source;
