//! What is asked of the sandbox itself, beside the cluster in it: requests that a fault rule holds are listed and let go on, and what
//! clients did is told. A test in another process can so stop a client in the middle of a write, and see afterwards what came of it.
//!
//! `GET /lockgate.dev/holds` gives `{"holds": [{"id": 1, "side": "after", "request": "patch deployment/shop/web"}]}`; with `?wait` the
//! answer comes when there is one. `POST /lockgate.dev/holds/1/release` lets that one go on. `GET /lockgate.dev/effects` gives the
//! requests that changed something, in order: `{"effects": [{"at": "…", "verb": "patch", "subject": "deployment/shop/web"}]}`.

use std::sync::Arc;

use http::{Method, Uri};
use lockgate_sim::faults::{HoldId, Side};
use lockgate_sim::json::{Value, json};
use lockgate_sim::request::Response;
use lockgate_sim::status::Status;

use crate::cluster::sim::Simulation;

/// Where it is.
const PATH: &str = "/lockgate.dev";

/// The answer to such a request; `None` for one to the cluster.
pub(super) async fn answer(simulation: &Simulation, method: &Method, uri: &Uri) -> Option<Response> {
    let rest = uri.path().strip_prefix(PATH).filter(|rest| rest.is_empty() || rest.starts_with('/'))?;
    let id = rest.strip_prefix("/holds/").and_then(|rest| rest.strip_suffix("/release")).and_then(|id| id.parse().ok());
    Some(match (method, rest, id) {
        (&Method::GET, "/holds", None) => {
            if uri.query() == Some("wait") {
                simulation.holds().await;
            }
            Response::json(200, Arc::new(list(simulation)))
        }
        (&Method::GET, "/effects", None) => Response::json(200, Arc::new(effects(simulation))),
        (&Method::POST, _, Some(id)) if simulation.release(HoldId(id)) => Response::json(200, Arc::new(json!({"released": id}))),
        (&Method::POST, _, Some(id)) => {
            Response::from(Status::new(404, "NotFound", format!("no request stands still under the number {id}"), Value::Null))
        }
        _ => Response::from(Status::unknown_path()),
    })
}

fn effects(simulation: &Simulation) -> Value {
    let ledger = simulation.with(|sim| sim.ledger().to_vec());
    let items = ledger.iter().map(|effect| json!({"at": effect.at.to_string(), "verb": effect.verb, "subject": effect.subject}));
    json!({ "effects": items.collect::<Vec<Value>>() })
}

fn list(simulation: &Simulation) -> Value {
    let held = simulation.with(|sim| sim.faults().held().to_vec());
    let items: Vec<Value> = held
        .iter()
        .map(|held| {
            let side = match held.side {
                Side::Before => "before",
                Side::After => "after",
            };
            json!({"id": held.id.0, "side": side, "request": held.request})
        })
        .collect();
    json!({ "holds": items })
}
