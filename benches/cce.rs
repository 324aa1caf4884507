//! The CCE upgrade on the simulated cluster, in a warm process: `cargo bench --bench cce`.

#![allow(missing_docs, clippy::unwrap_used, reason = "a benchmark ends when something is wrong")]

use std::cell::RefCell;
use std::hint::black_box;
use std::rc::Rc;

use criterion::{Criterion, criterion_group, criterion_main};
use futures::future::LocalBoxFuture;
use lockgate::base::{ObjectRef, Result};
use lockgate::cluster::{Cluster, Options, RunId};
use lockgate::lua::LuaHost;
use lockgate::primitives::AskOptions;
use lockgate::run::{self, Confirmation, End, Given, Operator, Record, Script, Source, Voice};
use lockgate_sim::Options as SimOptions;
use lockgate_sim::fixture::Fixture;
use tokio::runtime::{Builder, Runtime};

/// That of the program.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

const NAME: &str = "cce-cni-v1-patch";
const IMAGE: &str = "registry.example/cce-plugin-pro/cce-cni:v1.8.4";

struct Yes;

impl Operator for Yes {
    fn confirm<'a>(&'a self, _: &'a Confirmation) -> LocalBoxFuture<'a, Result<Option<bool>>> {
        Box::pin(async { Ok(Some(true)) })
    }

    fn ask<'a>(&'a self, _: &'a Confirmation, _: &'a AskOptions) -> LocalBoxFuture<'a, Result<Option<String>>> {
        Box::pin(async { Ok(None) })
    }
}

fn fixture() -> Fixture {
    let source = Source::bundled(NAME).unwrap();
    Fixture::parse("cluster.yaml", &source.beside.read("cluster.yaml").unwrap().unwrap()).unwrap()
}

fn sandbox(fixture: &Fixture) -> Cluster {
    let options = SimOptions::default();
    let run = RunId::simulated(options.start, options.seed);
    Cluster::simulated(fixture.cluster(options).unwrap(), Options::new(run))
}

/// Everything that a run is: load, parameters, cluster, checks, steps, the trap.
fn whole_run(fixture: &Fixture, runtime: &Rc<Runtime>) -> usize {
    let mut script = LuaHost::new(Source::bundled(NAME).unwrap(), Some(runtime.clone())).unwrap();
    let runbook = Rc::new(script.load().unwrap());
    let given = Given { words: vec![("image".into(), IMAGE.into())], file: None, beside: None };
    let params = run::params::resolve(&runbook, &given, &mut |pattern, text| script.matches(pattern, text)).unwrap();
    let records: Rc<RefCell<Vec<Record>>> = Rc::default();
    let voice = Voice::Person { operator: Rc::new(Yes), consented: Vec::new() };
    let summary = run::run(&mut script, &sandbox(fixture), &runbook, &Rc::new(params), voice, records);
    assert_eq!(summary.end, End::Succeeded);
    summary.writes
}

fn cce(criterion: &mut Criterion) {
    let runtime = Rc::new(Builder::new_current_thread().enable_all().build().unwrap());
    let fixture = fixture();
    criterion.bench_function("whole CCE run, trap included", |bencher| bencher.iter(|| black_box(whole_run(&fixture, &runtime))));
    criterion.bench_function("boot of its cluster", |bencher| bencher.iter(|| black_box(sandbox(&fixture))));
    let cluster = sandbox(&fixture);
    let reference = ObjectRef::parse("deployment/kube-system/cce-eni-ipam").unwrap();
    criterion.bench_function("one GET", |bencher| {
        bencher.iter(|| {
            runtime.block_on(async {
                let target = cluster.target(&reference, None).await.unwrap();
                black_box(cluster.get(&target).await.unwrap())
            })
        });
    });
    criterion.bench_function("load of the runbook", |bencher| {
        let mut script = LuaHost::new(Source::bundled(NAME).unwrap(), None).unwrap();
        bencher.iter(|| black_box(script.load().unwrap()));
    });
}

criterion_group!(benches, cce);
criterion_main!(benches);
