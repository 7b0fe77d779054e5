//! Which API a request is for, by the name that the client called: a custom domain, or the name of an API in AWS.

use std::collections::HashMap;
use std::sync::Arc;

use axum::Router;
use axum::extract::{Request, State};
use axum::middleware::{self, Next};
use axum::response::Response;
use http::{HeaderMap, header};
use percent_encoding::percent_decode_str;
use tower_service::Service as _;

use super::by_domain::ByDomain;
use super::{Gateway, HttpGateway};
use tidings_local_stack::Domain;

/// Behind a custom domain's name it leads to this machine, as names that end so do.
const LOCAL: &str = ".localhost";

/// The names by which clients may call APIs, beside the address of the gateway.
#[derive(Debug, Clone)]
pub struct Domains(Arc<Names>);

#[derive(Debug)]
struct Names {
    /// By their names.
    domains: HashMap<String, Vec<Mapping>>,
    websocket: Router,
    /// HTTP APIs by id.
    http: HashMap<String, Router>,
}

#[derive(Debug)]
struct Mapping {
    segments: Vec<String>,
    api_id: String,
    stage: String,
}

impl Domains {
    /// These domains, and the names that the APIs have in AWS.
    #[must_use]
    pub fn new(domains: &[Domain], websocket: &Gateway, http: &[HttpGateway]) -> Self {
        let domains = domains.iter().map(|domain| {
            let mappings = domain.mappings.iter().map(|mapping| Mapping {
                segments: mapping.path.split('/').filter(|part| !part.is_empty()).map(str::to_owned).collect(),
                api_id: mapping.api_id.clone(),
                stage: mapping.stage.clone(),
            });
            (domain.name.clone(), mappings.collect())
        });
        Self(Arc::new(Names {
            domains: domains.collect(),
            websocket: websocket.router(),
            http: http.iter().map(|api| (api.id().to_owned(), api.router())).collect(),
        }))
    }

    /// A router that gives requests to the API whose name they call, and all others to `rest`.
    pub fn before(&self, rest: Router) -> Router {
        rest.layer(middleware::from_fn_with_state(self.clone(), by_host))
    }
}

async fn by_host(State(Domains(names)): State<Domains>, mut request: Request, next: Next) -> Response {
    let Some(host) = host(request.headers()) else { return next.run(request).await };
    let mapped = names.domain(&host).map(|mappings| lead(mappings, request.uri().path()));
    let router = match &mapped {
        Some(ByDomain::To { api_id, .. }) => names.http.get(api_id).unwrap_or(&names.websocket),
        Some(ByDomain::Nowhere) => &names.websocket,
        None => match api_in(&host) {
            Some(api_id) => names.http.get(api_id).unwrap_or(&names.websocket),
            None => return next.run(request).await,
        },
    };
    let mut router = router.clone();
    if let Some(mapped) = mapped {
        request.extensions_mut().insert(mapped);
    }
    // A router never fails.
    router.call(request).await.unwrap_or_else(|never| match never {})
}

impl Names {
    /// The mappings of a domain; `*.example.com` is for what has one label in the place of the star.
    fn domain(&self, host: &str) -> Option<&Vec<Mapping>> {
        let name = host.strip_suffix(LOCAL).unwrap_or(host);
        let wildcard = || Some(format!("*.{}", name.split_once('.')?.1));
        self.domains.get(name).or_else(|| self.domains.get(&wildcard()?))
    }
}

/// The name that a client calls this server by, in lower case and without the port.
pub(super) fn host(headers: &HeaderMap) -> Option<String> {
    let host = headers.get(header::HOST)?.to_str().ok()?;
    let name = match host.rsplit_once(':') {
        Some((name, port)) if port.bytes().all(|byte| byte.is_ascii_digit()) => name,
        _ => host,
    };
    Some(name.trim_end_matches('.').to_ascii_lowercase())
}

/// The id in the name that an API has in AWS, `{apiId}.execute-api.{region}.amazonaws.com`.
pub(super) fn api_in(host: &str) -> Option<&str> {
    let (id, rest) = host.split_once('.')?;
    rest.starts_with("execute-api.").then_some(id)
}

/// The mapping with the most segments that a path begins with.
fn lead(mappings: &[Mapping], path: &str) -> ByDomain {
    let sent: Vec<&str> = path.trim_start_matches('/').split('/').collect();
    let decoded: Vec<_> = sent.iter().map(|segment| percent_decode_str(segment).decode_utf8_lossy()).collect();
    let begins = |mapping: &&Mapping| {
        mapping.segments.len() <= decoded.len() && mapping.segments.iter().zip(&decoded).all(|(own, sent)| own == sent)
    };
    match mappings.iter().filter(begins).max_by_key(|mapping| mapping.segments.len()) {
        Some(Mapping { segments, api_id, stage }) => {
            let rest = format!("/{}", sent[segments.len()..].join("/"));
            ByDomain::To { api_id: api_id.clone(), stage: stage.clone(), rest }
        }
        None => ByDomain::Nowhere,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn mapping(path: &str) -> Mapping {
        let segments = path.split('/').filter(|part| !part.is_empty()).map(str::to_owned).collect();
        Mapping { segments, api_id: path.to_owned(), stage: "v1".to_owned() }
    }

    #[test]
    fn the_longest_mapping_that_a_path_begins_with_takes_it() {
        // The table of the Developer Guide, "Map API stages to a custom domain name for HTTP APIs".
        let all = ["", "orders", "orders/v1/items", "orders/v2/items", "orders/v2/items/categories"].map(mapping);
        for (path, api, rest) in [
            ("/orders", "orders", "/"),
            ("/orders/v1/items", "orders/v1/items", "/"),
            ("/orders/v2/items", "orders/v2/items", "/"),
            ("/orders/v1/items/123", "orders/v1/items", "/123"),
            ("/orders/v2/items/categories/5", "orders/v2/items/categories", "/5"),
            ("/customers", "", "/customers"),
            ("/ordersandmore", "", "/ordersandmore"),
            ("/orders/v2", "orders", "/v2"),
            ("/orders/", "orders", "/"),
            ("/", "", "/"),
            ("/order%73/a%2Fb", "orders", "/a%2Fb"),
        ] {
            let expected = ByDomain::To { api_id: api.to_owned(), stage: "v1".to_owned(), rest: rest.to_owned() };
            assert_eq!(lead(&all, path), expected, "{path}");
        }
        assert_eq!(lead(&all[1..], "/customers"), ByDomain::Nowhere);
        assert_eq!(lead(&[], "/"), ByDomain::Nowhere);
    }

    #[test]
    fn a_host_is_taken_without_its_port_and_in_any_case() {
        for (sent, expected) in [
            ("API.example.com:3030", "api.example.com"),
            ("api.example.com.", "api.example.com"),
            ("[::1]:3030", "[::1]"),
            ("[::1]", "[::1]"),
            ("localhost", "localhost"),
        ] {
            let mut headers = HeaderMap::new();
            headers.insert(header::HOST, sent.parse().unwrap());
            assert_eq!(host(&headers).unwrap(), expected);
        }
        assert_eq!(host(&HeaderMap::new()), None);
        assert_eq!(api_in("abcdef1234.execute-api.us-east-1.amazonaws.com"), Some("abcdef1234"));
        assert_eq!(api_in("execute-api.example.com"), None);
    }
}
