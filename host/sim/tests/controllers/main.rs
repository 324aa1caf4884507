//! The controllers, the scheduler and the kubelets, driven through requests and virtual time alone.

#![expect(clippy::unwrap_used, clippy::panic, reason = "helpers of tests")]

mod collection;
mod containers;
mod daemonset;
mod determinism;
mod disruption;
mod fixtures;
mod invariants;
mod job;
mod kubelet;
mod nodes;
mod partial;
mod probes;
mod programs;
mod property;
mod rollout;
mod scheduler;
mod statefulset;
mod support;
mod trap;
