//! Doors that lack a behaviour of the API server: what a case sends is changed on its way to the simulated cluster, as if the server did
//! not know what the request asks for. A case that agrees all the same guards nothing of it.

use std::time::Duration;

use serde_json::{Value, json};

use super::Outcome;
use super::case::Case;
use super::golden::{Answer, Sent};
use super::replay::Simulated;
use super::run::{Command, Target};

/// A behaviour that can be taken away, and the cases that are about it.
pub(crate) struct Behaviour {
    /// Its name.
    pub(crate) name: &'static str,
    /// The cases.
    pub(crate) cases: &'static [&'static str],
    /// How.
    lack: Lack,
}

/// How a behaviour is taken away.
#[derive(Clone, Copy)]
enum Lack {
    /// The request is sent in another form.
    Request(fn(&mut Sent)),
    /// What is there already is replaced by what is created.
    Unique,
    /// Watches are opened with another path.
    Watch(&'static [&'static str]),
    /// The server never forgets.
    Expiry,
    /// The cluster is made with other words about its control plane.
    Plane(fn(&mut Case)),
}

/// All of them.
pub(crate) const BEHAVIOURS: [Behaviour; 21] = [
    Behaviour { name: "authorization", cases: &["forbidden"], lack: Lack::Request(|sent| sent.user.clear()) },
    Behaviour {
        name: "strategic-merge",
        cases: &["strategic-merge", "set-image-daemonset"],
        lack: Lack::Request(|sent| {
            if sent.content_type == "application/strategic-merge-patch+json" {
                "application/merge-patch+json".clone_into(&mut sent.content_type);
            }
        }),
    },
    Behaviour {
        name: "null-removes",
        cases: &["client-side-apply", "json-and-merge-patch"],
        lack: Lack::Request(|sent| {
            if matches!(sent.content_type.as_str(), "application/merge-patch+json" | "application/strategic-merge-patch+json") {
                change_body(sent, without_nulls);
            }
        }),
    },
    Behaviour { name: "json-patch-test", cases: &["json-and-merge-patch"], lack: Lack::Request(without_tests) },
    Behaviour {
        name: "optimistic-locking",
        cases: &["update-conflicts", "scale-subresource", "leases"],
        lack: Lack::Request(|sent| {
            change_body(sent, |body| {
                if let Some(metadata) = body.get_mut("metadata").and_then(Value::as_object_mut) {
                    metadata.remove("resourceVersion");
                }
            });
        }),
    },
    Behaviour {
        name: "field-ownership",
        cases: &["server-side-apply", "server-side-kubectl"],
        lack: Lack::Request(|sent| {
            if sent.content_type == "application/apply-patch+yaml" {
                leave_out(sent, &["force"]);
                sent.path.push_str(if sent.path.contains('?') { "&force=true" } else { "?force=true" });
            }
        }),
    },
    Behaviour { name: "dry-run", cases: &["dry-run"], lack: Lack::Request(|sent| leave_out(sent, &["dryRun"])) },
    Behaviour { name: "field-validation", cases: &["field-validation"], lack: Lack::Request(|sent| leave_out(sent, &["fieldValidation"])) },
    Behaviour {
        name: "label-selectors",
        cases: &["selectors", "collection-deletion", "thousand-nodes"],
        lack: Lack::Request(|sent| leave_out(sent, &["labelSelector"])),
    },
    Behaviour {
        name: "field-selectors",
        cases: &["field-selectors", "selectors"],
        lack: Lack::Request(|sent| leave_out(sent, &["fieldSelector"])),
    },
    Behaviour { name: "watch-selectors", cases: &["watch"], lack: Lack::Watch(&["labelSelector", "fieldSelector"]) },
    Behaviour { name: "watch-versions", cases: &["watch", "expired-watches"], lack: Lack::Watch(&["resourceVersion"]) },
    Behaviour {
        name: "pages",
        cases: &["paging", "thousand-nodes", "expired-lists"],
        lack: Lack::Request(|sent| leave_out(sent, &["limit", "continue"])),
    },
    Behaviour { name: "expiry", cases: &["expired-lists", "expired-watches"], lack: Lack::Expiry },
    Behaviour { name: "unique-names", cases: &["create-get-delete"], lack: Lack::Unique },
    Behaviour {
        name: "status-subresource",
        cases: &["status-isolation"],
        lack: Lack::Request(|sent| sent.path = sent.path.replacen("/status", "", 1)),
    },
    Behaviour { name: "printed-forms", cases: &["tables"], lack: Lack::Request(|sent| "application/json".clone_into(&mut sent.accept)) },
    Behaviour {
        name: "collection-deletion",
        cases: &["collection-deletion"],
        lack: Lack::Request(|sent| {
            if sent.method == "DELETE" && sent.path.contains("Selector=") {
                "GET".clone_into(&mut sent.method);
            }
        }),
    },
    Behaviour { name: "structural-schemas", cases: &["custom-resources"], lack: Lack::Request(without_schemas) },
    Behaviour {
        name: "service-account-admission",
        cases: &["service-accounts"],
        lack: Lack::Plane(|case| case.text.plane.service_accounts = false),
    },
    Behaviour {
        name: "versions",
        cases: &["emulated-1-35", "versions-1-33", "versions-1-34", "versions-1-35", "versions-1-37"],
        lack: Lack::Plane(|case| {
            case.text.plane.emulates = None;
            case.text.plane.version = None;
        }),
    },
];

/// A simulated cluster behind such a door.
pub(crate) struct Door {
    inside: Simulated,
    lack: Lack,
}

impl Behaviour {
    /// The cluster of a case without this.
    ///
    /// # Errors
    /// As [`Simulated::new`].
    pub(crate) fn taken_from(&self, case: &Case) -> Outcome<Door> {
        let mut case = case.clone();
        if let Lack::Plane(change) = self.lack {
            change(&mut case);
        }
        Ok(Door { inside: Simulated::new(&case)?, lack: self.lack })
    }
}

impl Target for Door {
    fn send(&mut self, sent: &Sent) -> Outcome<Answer> {
        let mut sent = sent.clone();
        if let Lack::Request(change) = self.lack {
            change(&mut sent);
        }
        let answer = self.inside.send(&sent)?;
        if !matches!(self.lack, Lack::Unique) || answer.status != 409 || sent.method != "POST" {
            return Ok(answer);
        }
        let body: Value = serde_json::from_str(&sent.body).map_err(|error| error.to_string())?;
        let name = body.pointer("/metadata/name").and_then(Value::as_str).ok_or("a creation without a name")?;
        let path = format!("{}/{name}", sent.path.split('?').next().unwrap_or_default());
        self.inside.send(&Sent { method: "PUT".to_owned(), path, ..sent })
    }

    fn watch(&mut self, path: &str) -> Outcome<Result<usize, Answer>> {
        let mut sent = Sent { path: path.to_owned(), ..Sent::default() };
        if let Lack::Watch(parameters) = self.lack {
            leave_out(&mut sent, parameters);
        }
        self.inside.watch(&sent.path)
    }

    fn told(&mut self, watch: usize) -> Outcome<Vec<Value>> {
        self.inside.told(watch)
    }

    fn kubectl(&mut self, arguments: &[String], stdin: &str, exit: i32) -> Outcome<Option<Command>> {
        self.inside.kubectl(arguments, stdin, exit)
    }

    fn drains(&mut self, nodes: &[String]) -> Outcome<bool> {
        self.inside.drains(nodes)
    }

    fn clock(&self) -> Duration {
        self.inside.clock()
    }

    fn tick(&mut self) -> Outcome {
        self.inside.tick()
    }

    fn advance(&mut self, time: Duration) -> Outcome {
        self.inside.advance(time)
    }

    fn compact(&mut self) -> Outcome {
        if matches!(self.lack, Lack::Expiry) { Ok(()) } else { self.inside.compact() }
    }

    fn silence(&mut self, node: &str) -> Outcome {
        self.inside.silence(node)
    }

    fn rest(&mut self) -> Outcome {
        self.inside.rest()
    }
}

/// Takes these parameters out of a request line.
fn leave_out(sent: &mut Sent, names: &[&str]) {
    let Some((path, query)) = sent.path.split_once('?') else { return };
    let kept: Vec<&str> = query.split('&').filter(|pair| !names.contains(&pair.split('=').next().unwrap_or_default())).collect();
    sent.path = if kept.is_empty() { path.to_owned() } else { format!("{path}?{}", kept.join("&")) };
}

/// Changes a body that is JSON.
fn change_body(sent: &mut Sent, change: impl FnOnce(&mut Value)) {
    if let Ok(mut body) = serde_json::from_str::<Value>(&sent.body) {
        change(&mut body);
        sent.body = body.to_string();
    }
}

fn without_nulls(body: &mut Value) {
    if let Value::Object(fields) = body {
        fields.retain(|_, value| !value.is_null());
        fields.values_mut().for_each(without_nulls);
    }
}

fn without_tests(sent: &mut Sent) {
    if sent.content_type == "application/json-patch+json" {
        change_body(sent, |body| {
            if let Some(operations) = body.as_array_mut() {
                operations.retain(|operation| operation.get("op") != Some(&json!("test")));
            }
        });
    }
}

fn without_schemas(sent: &mut Sent) {
    change_body(sent, |body| {
        for version in body.pointer_mut("/spec/versions").and_then(Value::as_array_mut).into_iter().flatten() {
            if let Some(schema) = version.pointer_mut("/schema/openAPIV3Schema") {
                *schema = json!({"type": "object", "x-kubernetes-preserve-unknown-fields": true});
            }
        }
    });
}
