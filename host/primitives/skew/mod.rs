//! `versions` and `skew_check`: which versions a cluster has, and what the version skew policy says about them.
//!
//! [`read`] finds the versions, [`rules`] is the policy as a table, [`judge`] applies it to one version, [`passing`] knows what an upgrade
//! breaks for a while, [`order`] says what an
//! upgrade moves when, and [`report`] puts all of it together. What is not known is never taken for good.

pub mod check;
mod component;
mod judge;
mod order;
mod passing;
mod programs;
mod read;
mod report;
mod rules;
mod servers;
pub mod versions;

pub use component::Component;
pub use judge::{Judged, Servers, Verdict, allowed, judge, judge_step};
pub use order::Move;
pub use passing::{PASSING, Passing, Stage};
pub use programs::{kubectl, own};
pub use read::{Reading, Readings, read};
pub use report::{Assumed, Finding, Report, Row, report};
pub use rules::{Bound, Lag, RULES, Rule};
