//! Faults under a real helm on the real server: in the middle of an upgrade the API server is restarted, or every connection to it is
//! cut. Whatever comes of the call, the release is upgraded once and another call brings it to its end.

use std::net::{Shutdown, TcpListener, TcpStream};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use lockgate::base::Reason;
use lockgate_sim::json::json;
use nix::sys::signal::Signal;

use super::bench::{Bench, Outcome, ensure, same};
use super::faults::REASONS;
use crate::controlplane::plane::{ControlPlane, Pace};
use crate::controlplane::{Binaries, command};

/// Long enough for the hook of the upgrade to be running when something goes wrong.
const PACE: Pace = Pace { ready: Duration::from_secs(2), gone: Duration::from_millis(500) };
const SOON: Duration = Duration::from_secs(60);

/// A way to a port that can be cut.
struct Wire {
    port: u16,
    open: Arc<Mutex<Vec<TcpStream>>>,
}

impl Wire {
    fn to(port: u16) -> Outcome<Wire> {
        let said = |error: std::io::Error| format!("a way to port {port}: {error}");
        let listener = TcpListener::bind(("127.0.0.1", 0)).map_err(said)?;
        let wire = Wire { port: listener.local_addr().map_err(said)?.port(), open: Arc::default() };
        let open = Arc::clone(&wire.open);
        // It ends with the process.
        std::thread::spawn(move || {
            for client in listener.incoming().filter_map(Result::ok) {
                let Ok(server) = TcpStream::connect(("127.0.0.1", port)) else { continue };
                let (Ok(one), Ok(other)) = (client.try_clone(), server.try_clone()) else { continue };
                pump(one, other);
                let (Ok(one), Ok(other)) = (server.try_clone(), client.try_clone()) else { continue };
                pump(one, other);
                open.lock().unwrap_or_else(PoisonError::into_inner).extend([client, server]);
            }
        });
        Ok(wire)
    }

    /// Cuts everything that is open: how many ends there were.
    fn cut(&self) -> usize {
        let open = std::mem::take(&mut *self.open.lock().unwrap_or_else(PoisonError::into_inner));
        // One that has ended by itself is as good.
        open.iter().for_each(|stream| drop(stream.shutdown(Shutdown::Both)));
        open.len()
    }
}

/// Carries on what comes, until one of the two ends.
fn pump(mut from: TcpStream, mut to: TcpStream) {
    std::thread::spawn(move || {
        drop(std::io::copy(&mut from, &mut to));
        drop((from.shutdown(Shutdown::Both), to.shutdown(Shutdown::Both)));
    });
}

/// What goes wrong.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Wrong {
    Restart,
    Cut,
}

pub(super) fn in_the_middle(helm: &'static str, binaries: &Binaries) -> Outcome {
    let mut plane = Bench::plane(binaries, PACE)?;
    for wrong in [Wrong::Restart, Wrong::Cut] {
        play(helm, &mut plane, wrong).map_err(|why| format!("{wrong:?}: {why}"))?;
    }
    told_to_end(helm, &plane).map_err(|why| format!("SIGTERM: {why}"))
}

/// The run is told to end, twice, while its helm waits for a hook: helm is ended, no process of it is left, and the run goes on later.
fn told_to_end(helm: &'static str, plane: &ControlPlane) -> Outcome {
    let io = |error: std::io::Error| error.to_string();
    plane.kubectl(&["create", "namespace", "ended"])?;
    let bench = Bench::led(helm, plane.kubeconfig("admin"), "ended".to_owned())?;
    let chart = bench.plain_chart("0.1.0", &[])?;
    bench.value("helm.install", json!(["shop", chart]), json!({ "values": { "colour": "blue" } }))?;
    let next = bench.plain_chart("0.2.0", &[("tag: v1.0.0", "tag: v2.0.0")])?;
    let text = format!(
        "runbook {{ title = \"Upgrade\", summary = \"Upgrades.\", impact = \"restarts\", namespace = \"ended\" }}\n\
         permissions {{ {{ verbs = {{ \"*\" }}, kinds = {{ \"*\" }} }}, helm = {{ charts = {{ \"{next}\" }} }} }}\n\
         step \"upgrade\" {{ title = \"Upgrade\", run = function() helm.upgrade(\"shop\", \"{next}\", \
         {{ values_from = \"previous\", values = {{ annotations = {{ [\"never-ready\"] = \"yes\" }} }} }}) end }}\n"
    );
    std::fs::write(plane.path().join("ended.luau"), text).map_err(io)?;
    let bin = plane.path().join("bin");
    std::fs::create_dir_all(&bin).map_err(io)?;
    std::os::unix::fs::symlink(crate::sandbox::helm(helm)?, bin.join("helm")).map_err(io)?;

    let running = command::start(plane, "admin", &["run", "./ended.luau", "--yes", "--no-plan"])?;
    middle_of(plane, "ended")?;
    same("helm is at work", helms(&next)?.len(), 1)?;
    running.signal(Signal::SIGTERM)?;
    // Who presses after that waits for no answers, and helm does not finish either.
    running.signal(Signal::SIGINT)?;
    let ended = running.finish()?;
    ended.expect_code(4)?;
    same("helm is not left behind", helms(&next)?, Vec::<u32>::new())?;
    let status = bench.release()?["status"].clone();
    ensure(["failed", "pending-upgrade"].iter().any(|known| status == *known), || format!("the release is {status}"))?;
    let resumed = command::start(plane, "admin", &["resume", "last"])?;
    plane.until("the hook of the second try has ended", SOON, |plane| {
        // One that goes at this moment is as good.
        plane.kubectl(&["annotate", "pods", "-n", "ended", "-l", "batch.kubernetes.io/job-name", "never-ready-"]).ok();
        let done = plane.kubectl(&["get", "secrets", "-n", "ended", "-l", "status=deployed,version=3", "-o", "name"])?;
        Ok(!done.is_empty())
    })?;
    resumed.finish()?.expect_code(0)?;
    same("in the end", bench.release()?["status"].as_str(), Some("deployed"))?;
    let image = bench.object("deployment/shop")?["spec"]["template"]["spec"]["containers"][0]["image"].clone();
    ensure(image.as_str().is_some_and(|image| image.ends_with("v2.0.0")), || format!("the image is {image}"))
}

/// The processes whose command line names this chart.
fn helms(chart: &str) -> Outcome<Vec<u32>> {
    let name = std::path::Path::new(chart).file_name().unwrap_or_default().to_string_lossy().into_owned();
    let processes = std::fs::read_dir("/proc").map_err(|error| error.to_string())?.filter_map(Result::ok);
    let ids = processes.filter_map(|entry| entry.file_name().to_str()?.parse::<u32>().ok());
    // One that ends meanwhile has no command line any more.
    let words = |id: &u32| std::fs::read(format!("/proc/{id}/cmdline")).unwrap_or_default();
    Ok(ids
        .filter(|id| {
            let words = String::from_utf8_lossy(&words(id)).into_owned();
            words.split('\0').next().is_some_and(|program| program.ends_with("/helm"))
                && words.contains("--namespace\0ended")
                && words.contains(&name)
        })
        .collect())
}

/// Comes when the hook of an upgrade is running.
fn middle_of(plane: &ControlPlane, namespace: &str) -> Outcome {
    plane.until("the upgrade is in its middle", SOON, |plane| {
        let jobs = plane.kubectl(&["get", "pods", "-n", namespace, "-l", "batch.kubernetes.io/job-name", "-o", "name"])?;
        let locked = plane.kubectl(&["get", "secrets", "-n", namespace, "-l", "status=pending-upgrade", "-o", "name"])?;
        Ok(!jobs.is_empty() && !locked.is_empty())
    })
}

fn play(helm: &'static str, plane: &mut ControlPlane, wrong: Wrong) -> Outcome {
    let namespace = format!("{wrong:?}").to_lowercase();
    plane.kubectl(&["create", "namespace", &namespace])?;
    let wire = Wire::to(plane.port())?;
    let led = plane.path().join(format!("{namespace}.kubeconfig"));
    let text = std::fs::read_to_string(plane.kubeconfig("admin")).map_err(|error| error.to_string())?;
    let text = text.replace(&format!(":{}", plane.port()), &format!(":{}", wire.port));
    std::fs::write(&led, text).map_err(|error| error.to_string())?;
    let bench = Bench::led(helm, led, namespace.clone())?;
    let chart = bench.chart("0.1.0", &[])?;
    bench.value("helm.install", json!(["shop", chart]), json!({ "values": { "colour": "blue" } }))?;
    let next = bench.chart("0.2.0", &[("tag: v1.0.0", "tag: v2.0.0")])?;
    let upgrade = || (json!(["shop", next]), json!({ "values_from": "previous", "values": { "colour": "red" } }));
    let (arguments, options) = upgrade();
    let (result, meddled) = std::thread::scope(|scope| {
        let meddler = scope.spawn(|| -> Outcome {
            middle_of(plane, &namespace)?;
            match wrong {
                Wrong::Restart => plane.restart_apiserver(),
                Wrong::Cut => ensure(wire.cut() > 0, || "nothing was open".to_owned()),
            }
        });
        let result = bench.call("helm.upgrade", arguments, options);
        (result, meddler.join().map_err(|_| "the meddler failed".to_owned()).flatten())
    });
    meddled?;
    if let Err(error) = &result {
        ensure(REASONS.contains(&error.reason), || format!("{}: {error}", error.reason.as_str()))?;
    }
    let release = bench.release()?;
    let (revision, status) = (release["revision"].as_i64(), release["status"].as_str().unwrap_or_default().to_owned());
    same("it was begun once", revision, Some(2)).map_err(|why| format!("{why}; {result:?}"))?;
    if result.is_ok() {
        same("the release", status.as_str(), "deployed")?;
    }
    let (arguments, options) = upgrade();
    if status.starts_with("pending-") {
        bench.fails(Reason::HelmLocked, "helm.upgrade", arguments.clone(), options.clone())?;
        bench.value("helm.unlock", json!(["shop"]), json!({ "to": "failed" }))?;
    }
    bench.value("helm.upgrade", arguments, options).map_err(|error| format!("after {result:?}: {error}"))?;
    same("in the end", bench.release()?["status"].as_str(), Some("deployed"))?;
    let image = bench.object("deployment/shop")?["spec"]["template"]["spec"]["containers"][0]["image"].clone();
    ensure(image.as_str().is_some_and(|image| image.ends_with("v2.0.0")), || format!("the image is {image}"))
}
