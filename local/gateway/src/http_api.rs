//! A local API Gateway for HTTP APIs, each on a port of its own, as each has a host of its own in AWS.
//!
//! What is *not* here: OpenAPI documents as a source of routes, authorizer functions, CORS settings, payload format 1.0,
//! integrations other than Lambda, the account's quota. Signatures of tokens and of IAM callers are not verified.
//! `docs/gateway.md` has the whole list.

mod access;
mod event;
#[cfg(test)]
mod fuzzing;
mod response;
mod routes;

use std::collections::HashMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use axum::Router;
use axum::extract::{Request, State};
use axum::response::{IntoResponse as _, Response};
use http::{HeaderValue, Method, StatusCode};
use tracing::warn;

use super::by_domain::ByDomain;
use super::integration::{self, Failure};
use super::settings::Settings;
use super::throttle::Throttle;
use super::{events, ids};
use event::Call;
use response::Refusal;
use routes::{Pattern, Target};
use tidings_local_lambda::{Invoker, collect};
use tidings_local_stack::{HttpApi, HttpIntegration, HttpRoute, Stage};

/// Longest body of a request, in bytes (quotas of HTTP APIs: payload size).
const MAX_BODY: usize = 10 * 1024 * 1024;

/// One HTTP API of a template. Clones share it.
#[derive(Debug, Clone)]
pub struct HttpGateway(Arc<Shared>);

#[derive(Debug)]
struct Shared {
    id: String,
    stages: Vec<Stage>,
    routes: Vec<(Pattern, HttpRoute)>,
    /// By stage and route key, where a route is limited.
    throttles: HashMap<(String, String), Throttle>,
    invoker: Invoker,
    settings: Settings,
    /// Clients come by custom domains only.
    has_only_domains: bool,
}

impl HttpGateway {
    /// A gateway for this API, whose functions run at `invoker`.
    #[must_use]
    pub fn new(api: HttpApi, invoker: Invoker, settings: Settings) -> Self {
        let mut throttles = HashMap::new();
        for stage in &api.stages {
            for HttpRoute { key, .. } in &api.routes {
                if let Some(limit) = stage.limits.get(key).copied().or(stage.default_limit) {
                    let throttle = Throttle::new(limit.rate, limit.burst, Instant::now());
                    throttles.insert((stage.name.clone(), key.clone()), throttle);
                }
            }
        }
        let has_only_domains = api.has_only_domains;
        let routes = api.routes.into_iter().map(|route| (Pattern::new(&route.key), route)).collect();
        let (id, stages) = (api.api_id, api.stages);
        Self(Arc::new(Shared { id, stages, routes, throttles, invoker, settings, has_only_domains }))
    }

    /// The API's id.
    pub(super) fn id(&self) -> &str {
        &self.0.id
    }

    /// Everything that the API answers. Serve it with [`serve()`](super::serve()).
    pub fn router(&self) -> Router {
        Router::new().fallback(dispatch).with_state(Arc::clone(&self.0))
    }
}

async fn dispatch(State(shared): State<Arc<Shared>>, request: Request) -> Response {
    let request_id = ids::request();
    let is_head = request.method() == Method::HEAD;
    let mut response = match answer(&shared, request, &request_id).await {
        Ok(response) => response,
        Err(refusal) => refusal.into_response(),
    };
    if let Ok(id) = HeaderValue::from_str(&request_id) {
        response.headers_mut().insert("apigw-requestid", id);
    }
    if is_head {
        *response.body_mut() = axum::body::Body::empty();
    }
    response
}

async fn answer(shared: &Shared, request: Request, request_id: &str) -> Result<Response, Refusal> {
    let path = shared.path(&request).ok_or(Refusal::NotFound)?;
    let Target { stage, rest } = shared.target(request.extensions().get(), &path).ok_or(Refusal::NotFound)?;
    let found = routes::find(&shared.routes, request.method(), rest).ok_or(Refusal::NotFound)?;
    let route = found.route;
    if let Some(throttle) = shared.throttles.get(&(stage.name.clone(), route.key.clone()))
        && !throttle.admit(Instant::now())
    {
        return Err(Refusal::TooManyRequests);
    }
    let authorizer = access::check(&route.authorization, request.headers(), request.uri(), &shared.settings)?;
    let (function, timeout_ms) = match &route.integration {
        HttpIntegration::Lambda { function, timeout_ms } => (function, *timeout_ms),
        HttpIntegration::Unsupported { reason } => {
            warn!(route = route.key, reason, "a route cannot be served; the client gets 500");
            return Err(Refusal::Internal);
        }
    };
    let call = Call {
        api_id: &shared.id,
        account_id: &shared.settings.account_id,
        stage,
        route_key: &route.key,
        path: &path,
        path_parameters: found.variables,
        authorizer,
        request_id,
        time: events::epoch_ms(),
    };
    let (head, body) = request.into_parts();
    let body = collect(body, MAX_BODY).await.map_err(|_| Refusal::BadRequest)?.ok_or(Refusal::TooLarge)?;
    let event = call.event(&Request::from_parts(head, axum::body::Body::empty()), &body);
    let answer = integration::call(&shared.invoker, function, Duration::from_millis(timeout_ms), event).await;
    answer.and_then(|payload| response::of(&payload)).map_err(|failure| refuse(&failure, route, function))
}

impl Shared {
    /// The path with the stage, as functions get to see it: also behind a custom domain, whose own path nobody sees (the
    /// Developer Guide on payload formats, and a report of what AWS sends: CodeGenieApp/serverless-express#465).
    fn path(&self, request: &Request) -> Option<String> {
        match request.extensions().get::<ByDomain>() {
            Some(ByDomain::To { stage, rest, .. }) if stage == "$default" => Some(routes::decoded(rest)),
            Some(ByDomain::To { stage, rest, .. }) => Some(format!("/{stage}{}", routes::decoded(rest))),
            Some(ByDomain::Nowhere) => None,
            None => (!self.has_only_domains).then(|| routes::decoded(request.uri().path())),
        }
    }

    /// The stage of such a path, and what is behind it.
    fn target<'a>(&'a self, mapped: Option<&ByDomain>, path: &'a str) -> Option<Target<'a>> {
        let Some(ByDomain::To { stage: name, .. }) = mapped else { return routes::stage(&self.stages, path) };
        let stage = self.stages.iter().find(|stage| stage.name == *name)?;
        let rest = if name == "$default" { path } else { path.get(1 + name.len()..)? };
        Some(Target { stage, rest })
    }
}

fn refuse(failure: &Failure, route: &HttpRoute, function: &str) -> Refusal {
    let error: &dyn std::error::Error = failure;
    let refusal = match failure {
        Failure::TimedOut(_) => Refusal::Unavailable,
        _ => Refusal::Internal,
    };
    warn!(route = route.key, function, error, status = StatusCode::from(refusal).as_u16(), "an integration failed");
    refusal
}
