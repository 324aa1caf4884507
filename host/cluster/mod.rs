//! L1: the one way to an API server. Nothing else opens a connection, and `kube` is imported nowhere else.
//!
//! In reading order: [`Cluster`] is what primitives hold. Its requests ([`request`]) go over a wire that knows deadlines,
//! retries and cancellation, through a `kube::Client`, the [`layers`] (guard, recorder) and into one of three services: a live
//! API server, a simulated cluster, or the copy that a plan on a live cluster works on. The clock of each belongs to it: real
//! time for a live cluster, virtual time for the others. A dry run is no feature of a primitive: it is the service behind it.

mod admission;
mod apply;
mod at_hand;
mod budget;
mod calibrate;
mod cancel;
mod channels;
mod client;
mod discovery;
pub mod door;
pub mod downtime;
mod dry_run;
pub mod endpoint;
mod error;
mod exec;
pub mod fence;
mod follow;
#[cfg(test)]
mod follow_tests;
mod home;
mod instances;
pub mod keep;
mod kuberc;
pub mod layers;
pub mod lease;
mod live;
mod load;
mod lock;
mod logs;
pub mod machines;
mod op;
pub mod orphan;
mod overlay;
mod page;
pub mod permit;
mod place;
mod question;
pub mod reads;
pub mod request;
mod run_id;
pub mod serve;
mod settle;
mod sim;
pub mod snapshot;
mod spdy;
#[cfg(test)]
mod testing;
mod tls;
mod upgrade;
mod webhooks;
mod wire;
mod written;

pub use apply::Applying;
pub use budget::Budget;
pub use cancel::{Cancel, Stage};
pub use client::{Cluster, Listed, Select, Target};
pub use discovery::{Resource, singular};
pub use downtime::Downtime;
pub use exec::{Command, Executed};
pub use follow::{Follow, Following, Woke};
pub use home::Home;
pub use layers::{Access, Recorded, given};
pub use lease::{Claim, Lease, Over};
pub use live::{IN_CLUSTER, LiveOptions};
pub use lock::{Lock, Taken};
pub use logs::LogPart;
pub use op::OP_ANNOTATION;
pub use overlay::{Drift, Moved};
pub use place::{Label, Options};
pub use request::{Act, PatchType, Verb};
pub use run_id::RunId;
pub use sim::Simulation;
pub use sim::tape::{Input, Tape};
pub use wire::{Delay, Limits, may_recover};

/// Namespace and name of the Lease that is the lock of a cluster.
pub const LOCK_LEASE: (&str, &str) = (lease::NAMESPACE, lease::NAME);
