//! A local API Gateway for WebSocket APIs.
//!
//! Each stage of each API is at `/{stage}`; where two APIs have a stage of the same name, that is the first one's, and
//! every API also answers at `/{apiId}/{stage}`. The `@connections` API is below the same paths.
//!
//! What is *not* here: API keys and usage plans, permissions of IAM (signatures are looked at, see `signature`), HTTP
//! integrations, the account's quota of requests, logs in AWS's format. `docs/gateway.md` has the whole list.

mod authorizer;
mod by_domain;
mod clock;
mod connections;
mod domains;
mod ending;
mod events;
mod frames;
mod front;
mod handshake;
mod head;
mod http_api;
mod ids;
mod integration;
mod management;
mod mapped;
mod mapping;
mod messages;
mod policy;
mod request;
mod responses;
mod selection;
mod serve;
mod service;
mod settings;
mod shuffle;
mod signature;
mod socket;
mod throttle;
mod traffic;
mod validation;
mod watched;

#[cfg(test)]
mod tests;

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::AtomicU64;
use std::time::{Duration, Instant};

use axum::Router;
use axum::extract::{Request, State};
use axum::response::{IntoResponse as _, Response};
use http::StatusCode;
use indexmap::IndexMap;
use percent_encoding::percent_decode_str;
use tokio::sync::watch;
use tracing::warn;

use by_domain::ByDomain;
use clock::Clock;
use connections::Connections;
use domains::{api_in, host};
use management::Scope;
use mapped::Mapped;
use responses::Refusal;
use selection::Selection;
use service::Backends;
use throttle::Throttle;
use tidings_local_lambda::Invoker;
use tidings_local_stack::{Route, Stage, WebSocketApi};
use validation::Validator;

pub use domains::Domains;
pub use http_api::HttpGateway;
pub use serve::serve;
pub use settings::{ServiceEndpoints, Settings, SigningKeys};
pub use watched::OpenConnection;

/// The longest path with query that is served, in bytes.
const MAX_URL: usize = 4096;

/// How long [`Gateway::close_all`] waits for functions.
const STOP_GRACE: Duration = Duration::from_secs(10);

/// The WebSocket APIs of a template with their open connections. Clones share both.
#[derive(Debug, Clone)]
pub struct Gateway(Arc<Shared>);

/// What every request and connection needs.
#[derive(Debug)]
struct Shared {
    apis: Vec<Arc<Api>>,
    invoker: Invoker,
    settings: Settings,
    backends: Backends,
    throttle: Option<Throttle>,
    connections: Connections,
    clock: Clock,
    /// How many connections were opened so far.
    opened: AtomicU64,
    /// How many handshakes and connections there are, those in their `$disconnect` included.
    present: watch::Sender<usize>,
    stopping: watch::Sender<bool>,
}

#[derive(Debug)]
struct Api {
    id: String,
    selection: Selection,
    stages: Vec<Stage>,
    routes: IndexMap<String, Route>,
    /// By stage and route key, where a route is limited.
    throttles: HashMap<(String, String), Throttle>,
    /// By route key, where messages are checked.
    validators: HashMap<String, Validator>,
    /// By route key, where templates take the place of a function.
    mapped: HashMap<String, Mapped>,
    /// Clients come by custom domains only.
    has_only_domains: bool,
}

/// Counts a handshake or connection for as long as it lives.
#[derive(Debug)]
struct Presence(watch::Sender<usize>);

impl Drop for Presence {
    fn drop(&mut self) {
        self.0.send_modify(|count| *count -= 1);
    }
}

/// What a path is for.
#[derive(Debug)]
enum Target<'a> {
    Stage(&'a Arc<Api>, &'a Stage),
    Connection(Scope, String),
    Nothing,
}

impl Api {
    fn new(api: WebSocketApi) -> Self {
        let mut throttles = HashMap::new();
        for stage in &api.stages {
            for key in api.routes.keys() {
                if let Some(limit) = stage.limits.get(key).copied().or(stage.default_limit) {
                    let throttle = Throttle::new(limit.rate, limit.burst, Instant::now());
                    throttles.insert((stage.name.clone(), key.clone()), throttle);
                }
            }
        }
        let validators = api.routes.iter().filter_map(|(key, route)| {
            let validation = route.validation.as_ref()?;
            Some((key.clone(), Validator::new(validation)))
        });
        let mapped = api.routes.iter().filter_map(|(key, route)| Some((key.clone(), Mapped::new(&route.integration)?)));
        Self {
            mapped: mapped.collect(),
            id: api.api_id,
            selection: Selection::new(&api.route_selection_expression),
            stages: api.stages,
            throttles,
            validators: validators.collect(),
            routes: api.routes,
            has_only_domains: api.has_only_domains,
        }
    }

    /// Whether a route of a stage takes one more request now.
    fn admits(&self, stage: &str, route_key: &str) -> bool {
        let throttle = self.throttles.get(&(stage.to_owned(), route_key.to_owned()));
        throttle.is_none_or(|throttle| throttle.admit(Instant::now()))
    }
}

impl Gateway {
    /// A gateway for these APIs, whose functions run at `invoker`.
    #[must_use]
    pub fn new(apis: impl IntoIterator<Item = WebSocketApi>, invoker: Invoker, settings: Settings) -> Self {
        let apis = apis.into_iter().map(|api| Arc::new(Api::new(api)));
        Self(Arc::new(Shared {
            apis: apis.collect(),
            invoker,
            throttle: settings
                .new_connections_per_second
                .map(|rate| Throttle::new(f64::from(rate), rate, Instant::now())),
            backends: Backends::new(&settings),
            settings,
            connections: Connections::default(),
            clock: Clock::default(),
            opened: AtomicU64::new(0),
            present: watch::Sender::new(0),
            stopping: watch::Sender::new(false),
        }))
    }

    /// The gateway's paths, as the fallback of a router: merge it with one that has the server's other routes.
    /// What no stage claims is answered 403, as API Gateway does. Serve it with [`serve()`].
    pub fn router(&self) -> Router {
        Router::new().fallback(dispatch).with_state(Arc::clone(&self.0))
    }

    /// Moves the time of the connections ahead: they are idle and old so much earlier.
    pub fn advance(&self, by: Duration) {
        self.0.clock.advance(by);
    }

    /// Closes every connection with 1001, refuses new ones, and waits at most ten seconds until each `$disconnect`
    /// has run.
    pub async fn close_all(&self) {
        self.0.stopping.send_replace(true);
        let mut present = self.0.present.subscribe();
        if tokio::time::timeout(STOP_GRACE, present.wait_for(|count| *count == 0)).await.is_err() {
            let left = *self.0.present.borrow();
            warn!(left, "some connections were not done in time; their $disconnect may be missing");
        }
    }
}

async fn dispatch(State(shared): State<Arc<Shared>>, request: Request) -> Response {
    if request.uri().path_and_query().is_some_and(|target| target.as_str().len() > MAX_URL) {
        return Refusal::uri_too_long().into_response();
    }
    let path = request.uri().path().to_owned();
    let target = match request.extensions().get() {
        Some(led) => shared.behind(led),
        None => shared.at_own_address(host(request.headers()).as_deref(), &path),
    };
    if shared.settings.strict && is_management(&path) && !management::is_signed(request.headers()) {
        return Refusal::missing_authentication_token().into_response();
    }
    match target {
        Target::Stage(api, stage) => handshake::upgrade(&shared, api, stage, request).await,
        Target::Connection(scope, id) => management::handle(&shared, &scope, &id, request).await,
        Target::Nothing => {
            shared.saw_refusal(&request, StatusCode::FORBIDDEN);
            Refusal::forbidden().into_response()
        }
    }
}

fn segments(path: &str) -> Vec<String> {
    let path = path.strip_prefix('/').unwrap_or(path);
    path.split('/').map(|segment| percent_decode_str(segment).decode_utf8_lossy().into_owned()).collect()
}

/// An SDK whose endpoint ends with a slash calls `/{stage}//@connections/{id}`, which AWS takes as well
/// (aws-samples/serverless-patterns, `apigw-websocket-mapping-template-authorizer`).
fn undoubled(segments: &[String]) -> Vec<&str> {
    let mut segments: Vec<&str> = segments.iter().map(String::as_str).collect();
    if let Some(at) = segments.windows(2).position(|pair| pair == ["", "@connections"]) {
        segments.remove(at);
    }
    segments
}

fn is_management(path: &str) -> bool {
    segments(path).iter().any(|segment| segment == "@connections")
}

impl Shared {
    /// What a custom domain leads to: a stage, or a connection below it.
    fn behind(&self, led: &ByDomain) -> Target<'_> {
        let ByDomain::To { api_id, stage, rest } = led else { return Target::Nothing };
        let segments = segments(rest);
        match undoubled(&segments).as_slice() {
            [""] => self.stage(Some(api_id), stage),
            ["@connections", id] => self.connection(Some(api_id), stage, id),
            _ => Target::Nothing,
        }
    }

    /// What the gateway's own address leads to, or the name that an API has in AWS; not to APIs that have given it up.
    fn at_own_address(&self, host: Option<&str>, path: &str) -> Target<'_> {
        let named = host.and_then(api_in);
        match self.resolve(named, path) {
            Target::Stage(api, _) if api.has_only_domains => Target::Nothing,
            Target::Connection(..) if named.is_some_and(|id| self.has_only_domains(id)) => Target::Nothing,
            target => target,
        }
    }

    fn has_only_domains(&self, api_id: &str) -> bool {
        self.apis.iter().any(|api| api.id == api_id && api.has_only_domains)
    }

    /// `/{stage}` and `/{apiId}/{stage}`, each also with `/@connections/{id}`; `@` and `=` may be percent-encoded. A client
    /// that calls an API by its own name has `named` it, and that is the only one there is.
    fn resolve(&self, named: Option<&str>, path: &str) -> Target<'_> {
        let segments = segments(path);
        match (named, undoubled(&segments).as_slice()) {
            (_, [stage] | [stage, ""]) => self.stage(named, stage),
            (_, [stage, "@connections", id]) => self.connection(named, stage, id),
            (None, [api_id, stage] | [api_id, stage, ""]) => self.stage(Some(api_id), stage),
            (None, [api_id, stage, "@connections", id]) => self.connection(Some(api_id), stage, id),
            _ => Target::Nothing,
        }
    }

    fn stage(&self, api_id: Option<&str>, name: &str) -> Target<'_> {
        let apis = self.apis.iter().filter(|api| api_id.is_none_or(|api_id| api.id == api_id));
        let mut stages = apis.flat_map(|api| api.stages.iter().map(move |stage| (api, stage)));
        match stages.find(|(_, stage)| stage.name == name) {
            Some((api, stage)) => Target::Stage(api, stage),
            None => Target::Nothing,
        }
    }

    fn connection(&self, api_id: Option<&str>, stage: &str, id: &str) -> Target<'_> {
        match self.stage(api_id, stage) {
            Target::Stage(..) => {
                let scope = Scope { api_id: api_id.map(str::to_owned), stage: stage.to_owned() };
                Target::Connection(scope, id.to_owned())
            }
            _ => Target::Nothing,
        }
    }

    /// What an authorizer's policy must allow.
    fn connect_arn(&self, api: &Api, stage: &str) -> String {
        let Settings { region, account_id, .. } = &self.settings;
        format!("arn:aws:execute-api:{region}:{account_id}:{}/{stage}/$connect", api.id)
    }

    /// Counts a new handshake, unless the gateway is stopping.
    fn enter(&self) -> Option<Presence> {
        self.present.send_modify(|count| *count += 1);
        // Counted first, so that `close_all` waits for whoever is let in at the last moment.
        let presence = Presence(self.present.clone());
        (!*self.stopping.borrow()).then_some(presence)
    }
}
