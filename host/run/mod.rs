//! L3: one run of one runbook. What a file declared, parameters, the step machine, consent, events. No Lua here, no printing.

pub mod approval;
mod batch;
mod bounds;
pub mod consent;
pub mod coverage;
mod drift;
pub mod event;
mod hiding;
pub mod hindsight;
pub mod journal;
pub mod lock;
pub mod needs;
pub mod params;
pub mod params_file;
pub mod permissions;
pub mod planfile;
pub mod prefix;
pub mod rbac;
pub mod rollback;
pub mod runbook;
pub mod runner;
pub mod script;
mod session;
pub mod source;
pub mod steady;
mod step;
pub mod typed;
pub mod undo;

pub use consent::{Nobody, Operator, Voice};
pub use event::{Confirmation, End, Event, Known, Record, Sink, Summary, What};
pub use params::Given;
pub use runbook::{CallbackId, Owner, Params, Phase, Runbook, State};
pub use runner::{Job, Recording, perform, plan, plan_on, run};
pub use script::{Again, Call, Calls, Returned, Scene, Script};
pub use source::Source;
pub use steady::Steady;
