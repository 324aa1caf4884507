//! What is asked of the sandbox itself, beside the cluster in it: requests that a fault rule holds are listed and let go on. A test
//! in another process can so stop a client in the middle of a write.
//!
//! `GET /lockgate.dev/holds` gives `{"holds": [{"id": 1, "side": "after", "request": "patch deployment/shop/web"}]}`;
//! `POST /lockgate.dev/holds/1/release` lets that one go on.

use std::sync::Arc;

use http::Method;
use lockgate_sim::faults::{HoldId, Side};
use lockgate_sim::json::{Value, json};
use lockgate_sim::request::Response;
use lockgate_sim::status::Status;

use crate::cluster::sim::Simulation;

/// Where it is.
const PATH: &str = "/lockgate.dev/holds";

/// The answer to such a request; `None` for one to the cluster.
pub(super) fn answer(simulation: &Simulation, method: &Method, path: &str) -> Option<Response> {
    let rest = path.strip_prefix(PATH).filter(|rest| rest.is_empty() || rest.starts_with('/'))?;
    let id = rest.strip_prefix('/').and_then(|rest| rest.strip_suffix("/release")).and_then(|id| id.parse().ok());
    Some(match (method, id) {
        (&Method::GET, None) if rest.is_empty() => Response::json(200, Arc::new(list(simulation))),
        (&Method::POST, Some(id)) if simulation.release(HoldId(id)) => Response::json(200, Arc::new(json!({"released": id}))),
        (&Method::POST, Some(id)) => {
            Response::from(Status::new(404, "NotFound", format!("no request stands still under the number {id}"), Value::Null))
        }
        _ => Response::from(Status::unknown_path()),
    })
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
