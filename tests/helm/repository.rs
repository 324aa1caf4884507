//! Charts from a repository, served on loopback.

use std::io::{Read as _, Write as _};
use std::net::TcpListener;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};

use lockgate::base::Reason;
use lockgate_sim::json::json;

use super::bench::{Bench, Outcome, ensure, is, same};

/// A repository with one version of the chart; it ends with the process.
struct Repository {
    address: String,
    asked: Arc<Mutex<Vec<String>>>,
}

fn said(error: impl std::fmt::Display) -> String {
    error.to_string()
}

impl Repository {
    fn serve(bench: &Bench) -> Outcome<Repository> {
        let chart = bench.chart("0.1.0", &[])?;
        let folder = PathBuf::from(&chart).parent().ok_or("no folder")?.to_path_buf();
        let place = folder.display().to_string();
        bench.helm(&["package", &chart, "--destination", &place])?;
        std::fs::remove_dir_all(&chart).map_err(said)?;
        let listener = TcpListener::bind("127.0.0.1:0").map_err(said)?;
        let address = format!("http://{}", listener.local_addr().map_err(said)?);
        bench.helm(&["repo", "index", &place, "--url", &address])?;
        let asked = Arc::new(Mutex::new(Vec::new()));
        let heard = asked.clone();
        drop(std::thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let mut stream = stream;
                let mut head = vec![0; 4096];
                let length = stream.read(&mut head).unwrap_or(0);
                let head = String::from_utf8_lossy(&head[..length]).into_owned();
                let path = head.split(' ').nth(1).unwrap_or("/").trim_start_matches('/').to_owned();
                heard.lock().unwrap_or_else(PoisonError::into_inner).push(path.clone());
                let (status, body) = match std::fs::read(folder.join(&path)) {
                    Ok(body) => ("200 OK", body),
                    Err(_) => ("404 Not Found", Vec::new()),
                };
                let head = format!("HTTP/1.1 {status}\r\nContent-Length: {}\r\nConnection: close\r\n\r\n", body.len());
                // A client that goes away has what it wanted.
                stream.write_all(head.as_bytes()).and_then(|()| stream.write_all(&body)).ok();
            }
        }));
        Ok(Repository { address, asked })
    }
}

pub(super) fn missing(bench: &Bench) -> Outcome {
    let repository = Repository::serve(bench)?;
    let options = |version: &str| json!({ "repo": repository.address, "version": version });
    let error = bench.fails(Reason::HelmChartNotFound, "helm.chart", json!(["shop"]), options("9.9.9"))?;
    ensure(error.to_string().contains("9.9.9"), || error.to_string())?;
    same("what there is", error.hint.as_deref(), Some("the repository has 0.1.0"))?;
    let error = bench.fails(Reason::HelmChartNotFound, "helm.chart", json!(["sohp"]), options("0.1.0"))?;
    same("what is near", error.hint.as_deref(), Some("the repository has no chart of this name; did you mean `shop`?"))?;
    let nowhere = json!({ "repo": "http://127.0.0.1:1", "version": "0.1.0" });
    bench.fails(Reason::HelmChartNotFound, "helm.chart", json!(["shop"]), nowhere)?;
    bench.fails(Reason::HelmChartNotFound, "helm.chart", json!(["./nowhere"]), json!({}))?;
    bench.fails(Reason::Usage, "helm.chart", json!(["shop/shop"]), json!({ "version": "0.1.0" }))?;
    bench.fails(Reason::Usage, "helm.chart", json!(["shop"]), json!({ "repo": repository.address })).map(drop)
}

pub(super) fn once(bench: &Bench) -> Outcome {
    let repository = Repository::serve(bench)?;
    let options = json!({ "repo": repository.address, "version": "0.1.0" });
    let facts = bench.value("helm.chart", json!(["shop"]), options.clone())?;
    same("the version", facts["version"].as_str(), Some("0.1.0"))?;
    is("its values", &facts["values"]["colour"], "green")?;
    ensure(facts["digest"].as_str().is_some_and(|digest| digest.starts_with("sha256:") && digest.len() == 71), || facts.to_string())?;
    let pulled = |repository: &Repository| {
        let asked = repository.asked.lock().unwrap_or_else(PoisonError::into_inner);
        asked.iter().filter(|path| path.ends_with(".tgz")).count()
    };
    same("pulled", pulled(&repository), 1)?;
    bench.value("helm.install", json!(["shop", "shop"]), options.clone())?;
    let plan = bench.planning()?;
    same("the plan has the same", &plan.value("helm.chart", json!(["shop"]), options)?["digest"], &facts["digest"])?;
    same("pulled once", pulled(&repository), 1)
}
