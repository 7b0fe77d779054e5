//! One address for a WebSocket API and an HTTP API, as a CloudFront distribution before both gives it: `/client/hubs/{hub}` is a
//! stage of the former, which has no paths of its own, and gets the hub as `?hub=`, and what a client speaks who offers no
//! subprotocol as `?protocol=`; `/api/hubs/…` and `/api/health` are the latter's.

use std::sync::Arc;

use axum::Router;
use axum::extract::{Path, Request, State};
use axum::response::Response;
use axum::routing::any;
use http::Uri;
use http::uri::PathAndQuery;
use tower_service::Service as _;

use super::head::RawHead;
use super::{Gateway, HttpGateway, Shared, dispatch};

/// The name under which a handshake gets its hub.
const HUB: &str = "hub=";
/// What a client speaks who offers nothing and says nothing.
const PROTOCOL: &str = "protocol=";
const RAW: &str = "protocol=webpubsub.raw";

/// Where clients and servers are led to.
#[derive(Debug, Clone)]
struct Front {
    shared: Arc<Shared>,
    stage: Arc<str>,
    servers: Router,
}

impl Gateway {
    /// The paths of such a distribution: clients come to the stage of this name, and what is for servers goes to `api`.
    pub fn front(&self, stage: &str, api: &HttpGateway) -> Router {
        let front = Front { shared: Arc::clone(&self.0), stage: stage.into(), servers: api.router() };
        Router::new()
            .route("/client/hubs/{hub}", any(of_path))
            .route("/client", any(of_query))
            .route("/client/", any(of_query))
            .route("/api/hubs/{*path}", any(of_servers))
            .route("/api/health", any(of_servers))
            .with_state(front)
    }
}

/// The hub is in the path.
async fn of_path(State(front): State<Front>, Path(_): Path<String>, request: Request) -> Response {
    // As it was sent: what stands behind the last slash.
    let hub = request.uri().path().rsplit('/').next().unwrap_or_default().to_owned();
    front.serve(request, Some(&hub)).await
}

/// The hub is in the query already.
async fn of_query(State(front): State<Front>, request: Request) -> Response {
    front.serve(request, None).await
}

async fn of_servers(State(mut front): State<Front>, request: Request) -> Response {
    match front.servers.call(request).await {
        Ok(response) => response,
        Err(never) => match never {},
    }
}

impl Front {
    async fn serve(self, mut request: Request, hub: Option<&str>) -> Response {
        if let Some(target) = target(&self.stage, request.uri().query().unwrap_or_default(), hub) {
            if let Some(head) = request.extensions_mut().get_mut::<RawHead>() {
                head.target = target.as_str().to_owned();
            }
            *request.uri_mut() = Uri::from(target);
        }
        dispatch(State(self.shared), request).await
    }
}

/// Path and query as the WebSocket API gets them.
fn target(stage: &str, query: &str, hub: Option<&str>) -> Option<PathAndQuery> {
    let hub = hub.map(|hub| format!("{HUB}{hub}"));
    let pairs = query.split('&').filter(|pair| !pair.is_empty());
    let pairs = pairs.filter(|pair| hub.is_none() || !pair.starts_with(HUB)).chain(hub.as_deref());
    let mut pairs: Vec<_> = pairs.collect();
    if !pairs.iter().any(|pair| pair.starts_with(PROTOCOL)) {
        pairs.push(RAW);
    }
    format!("/{stage}?{}", pairs.join("&")).parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_hub_in_the_path_counts_and_becomes_the_one_of_the_query() {
        let target = |query: &str, hub: Option<&str>| target("dev", query, hub).unwrap().to_string();
        let raw = "protocol=webpubsub.raw";
        assert_eq!(target("", Some("chat")), format!("/dev?hub=chat&{raw}"));
        let expected = format!("/dev?access_token=a.b&hubs=1&hub=c%5B&{raw}");
        assert_eq!(target("access_token=a.b&hub=x&hubs=1", Some("c%5B")), expected);
        assert_eq!(target("hub=x&access_token=a", None), format!("/dev?hub=x&access_token=a&{raw}"));
        assert_eq!(target("protocol=webpubsub", Some("h")), "/dev?protocol=webpubsub&hub=h", "who says so knows");
        assert_eq!(target("", None), format!("/dev?{raw}"));
    }
}
