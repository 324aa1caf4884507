//! One API server of several: asked at its own address, or through what stands in front of all of them, over a new connection.

use futures::future::join_all;

use super::client::Cluster;
use super::place::Place;
use super::request::Call;
use super::wire::Wire;
use crate::base::json::Value as Json;
use crate::base::{Error, Kind, Reason, Result};

impl Cluster {
    /// The version of the API server at `host:port`, which must hold a certificate of the cluster's own authority. `None` where
    /// that way is not there: in a simulated cluster, behind a proxy, without TLS or the authority's certificate.
    ///
    /// # Errors
    /// It does not answer within 5 s, or not as an API server does.
    pub async fn version_at(&self, address: &str) -> Result<Option<String>> {
        match self.origin().neighbour(Some(address))? {
            Some(wire) => self.asked(&wire, &format!("the version of the API server at `{address}`")).await.map(Some),
            None => Ok(None),
        }
    }

    /// The versions that so many answers say, each over a connection of its own: behind a balancer others may answer. One answer
    /// where connections cannot be told apart.
    ///
    /// # Errors
    /// As [`Cluster::server_version`].
    pub async fn sampled_versions(&self, times: usize) -> Result<Vec<String>> {
        let Some(wire) = self.origin().neighbour(None)? else { return Ok(vec![self.server_version().await?]) };
        join_all((0..times).map(|_| self.asked(&wire, "the server's version"))).await.into_iter().collect()
    }

    /// The way to the server itself, past a plan's copy of it.
    fn origin(&self) -> &Wire {
        match &self.shared.place {
            Place::Copy(overlay) => overlay.base(),
            Place::Simulated(_) | Place::Server(_) => self.wire(),
        }
    }

    async fn asked(&self, wire: &Wire, about: &str) -> Result<String> {
        // A plan's virtual time stands still for a real network.
        let _busy = self.clock().busy();
        let document = wire.json(&Call::path("/version", about)).await?;
        let text = document.pointer("/gitVersion").and_then(Json::as_str).map(str::to_owned);
        text.ok_or_else(|| Error::new(Kind::Cluster, Reason::Unsupported, format!("reading {about}: it does not say")))
    }
}
