//! `lockgate check` of a bundled runbook: in a warm process, and the first one: `cargo bench --bench check`.

#![allow(missing_docs, clippy::unwrap_used, reason = "a benchmark ends when something is wrong")]

use std::hint::black_box;

use criterion::{Criterion, criterion_group, criterion_main};
use lockgate::check::Checker;
use lockgate::run::Source;

/// That of the program.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn check(criterion: &mut Criterion) {
    let source = Source::bundled("cce-cni-v1-patch").unwrap();
    let mut warm = Checker::new(true, Vec::new()).unwrap();
    warm.check(std::slice::from_ref(&source)).unwrap();
    criterion.bench_function("check, warm", |bencher| {
        bencher.iter(|| black_box(warm.check(std::slice::from_ref(&source)).unwrap().findings.len()));
    });
    criterion.bench_function("check, the first", |bencher| {
        bencher.iter(|| {
            let mut first = Checker::new(true, Vec::new()).unwrap();
            black_box(first.check(std::slice::from_ref(&source)).unwrap().findings.len())
        });
    });
}

criterion_group! {
    name = benches;
    config = Criterion::default().sample_size(20);
    targets = check
}
criterion_main!(benches);
