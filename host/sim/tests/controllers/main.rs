//! The controllers, the scheduler and the kubelets, driven through requests and virtual time alone.

#![expect(clippy::unwrap_used, clippy::panic, reason = "helpers of tests")]

mod daemonset;
mod determinism;
mod fixtures;
mod kubelet;
mod partial;
mod property;
mod rollout;
mod scheduler;
mod support;
mod trap;
