//! Keeping other web pages out.
//!
//! Whoever runs on this machine may use what `tidings dev` serves, and needs no password. A web page is no such
//! program, yet every page that the developer visits can make the browser send requests to this machine. So:
//!
//! - The console answers only under names that nobody else can own: addresses, `localhost`, and the name in `--host`.
//!   A page whose own name was made to lead here (DNS rebinding) gets nothing.
//! - The console answers no request that another origin sends, port included, by what the browser itself says in
//!   `Origin` and `Sec-Fetch-Site`. Programs send neither and pass.
//! - What changes something must be JSON, which another origin cannot send without asking first (CORS), and nothing
//!   ever allows that.
//! - The emulated AWS APIs take unsigned calls of programs, where AWS would refuse them; from other pages they refuse
//!   them too.

use std::net::IpAddr;
use std::sync::Arc;

use axum::Json;
use axum::extract::{Request, State};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode, header};
use serde_json::json;

const FETCH_SITE: HeaderName = HeaderName::from_static("sec-fetch-site");

/// Why a request is not served.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Refusal {
    /// `Host` is missing or a name that anyone may own.
    Host,
    /// Another page sent it.
    Origin,
    /// Not JSON.
    Type,
}

impl IntoResponse for Refusal {
    fn into_response(self) -> Response {
        let (status, message) = match self {
            Self::Host => (
                StatusCode::FORBIDDEN,
                "open it as localhost or by the machine's address; other names are refused because any web site could \
                 take them",
            ),
            Self::Origin => (StatusCode::FORBIDDEN, "requests of other web pages are refused"),
            Self::Type => (StatusCode::UNSUPPORTED_MEDIA_TYPE, "send Content-Type: application/json"),
        };
        (status, Json(json!({ "message": message }))).into_response()
    }
}

/// Lets only the console's own page, and programs, to the console. The state is the name in `--host`.
pub(super) async fn console(State(own): State<Arc<str>>, request: Request, next: Next) -> Response {
    let is_page = request.uri().path() == "/";
    let checked = check_host(request.headers(), &own)
        .and_then(|host| check_origin(request.headers(), host))
        .and_then(|()| check_site(request.method(), request.headers(), is_page))
        .and_then(|()| check_type(request.method(), request.headers()));
    match checked {
        Ok(()) => {
            let mut response = next.run(request).await;
            harden(response.headers_mut());
            response
        }
        Err(refusal) => refusal.into_response(),
    }
}

/// Refuses unsigned calls of other web pages, whatever they are for.
pub(super) async fn programs(State(own): State<Arc<str>>, request: Request, next: Next) -> Response {
    let headers = request.headers();
    let is_foreign = !request.method().is_safe()
        && headers.contains_key(header::ORIGIN)
        && !headers.contains_key(header::AUTHORIZATION)
        && check_host(headers, &own).and_then(|host| check_origin(headers, host)).is_err();
    if is_foreign { Refusal::Origin.into_response() } else { next.run(request).await }
}

fn harden(headers: &mut HeaderMap) {
    for (name, value) in [
        (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
        (header::REFERRER_POLICY, "no-referrer"),
        (header::CACHE_CONTROL, "no-store"),
        (HeaderName::from_static("cross-origin-opener-policy"), "same-origin"),
        (HeaderName::from_static("cross-origin-resource-policy"), "same-origin"),
    ] {
        headers.insert(name, HeaderValue::from_static(value));
    }
}

/// The value of `Host`, if nobody else can own the name in it.
fn check_host<'a>(headers: &'a HeaderMap, own: &str) -> Result<&'a str, Refusal> {
    let host = headers.get(header::HOST).and_then(|value| value.to_str().ok()).ok_or(Refusal::Host)?;
    let authority: http::uri::Authority = host.parse().map_err(|_| Refusal::Host)?;
    let name = authority.host().trim_matches(['[', ']']).to_ascii_lowercase();
    let is_safe = name.parse::<IpAddr>().is_ok()
        || name == "localhost"
        || name.ends_with(".localhost")
        || name == own.to_ascii_lowercase();
    if is_safe { Ok(host) } else { Err(Refusal::Host) }
}

/// Browsers name the page that a request comes from wherever it matters.
fn check_origin(headers: &HeaderMap, host: &str) -> Result<(), Refusal> {
    let Some(origin) = headers.get(header::ORIGIN) else { return Ok(()) };
    let origin = origin.to_str().unwrap_or_default();
    let of = origin.strip_prefix("http://").or_else(|| origin.strip_prefix("https://"));
    if of.is_some_and(|of| of.eq_ignore_ascii_case(host)) { Ok(()) } else { Err(Refusal::Origin) }
}

/// Anyone may link to the page itself; it can be neither read nor framed from elsewhere.
fn check_site(method: &Method, headers: &HeaderMap, is_page: bool) -> Result<(), Refusal> {
    match headers.get(FETCH_SITE).map(HeaderValue::as_bytes) {
        None | Some(b"same-origin" | b"none") => Ok(()),
        Some(_) if is_page && method.is_safe() => Ok(()),
        Some(_) => Err(Refusal::Origin),
    }
}

fn check_type(method: &Method, headers: &HeaderMap) -> Result<(), Refusal> {
    let is_json = headers.get(header::CONTENT_TYPE).and_then(|value| value.to_str().ok()).is_some_and(|value| {
        value.split(';').next().is_some_and(|kind| kind.trim().eq_ignore_ascii_case("application/json"))
    });
    if method != Method::POST || is_json { Ok(()) } else { Err(Refusal::Type) }
}

#[cfg(test)]
mod tests {
    use axum::Router;
    use axum::body::Body;
    use axum::middleware;
    use axum::routing::any;
    use tower_service::Service as _;

    use super::*;

    fn own() -> Arc<str> {
        "127.0.0.1".into()
    }

    async fn status(mut router: Router, method: Method, path: &str, headers: &[(&str, &str)]) -> u16 {
        let mut request = Request::builder().method(method).uri(path);
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        router.call(request.body(Body::empty()).unwrap()).await.unwrap().status().as_u16()
    }

    fn guarded() -> Router {
        let routes = Router::new().route("/", any(|| async {})).route("/api", any(|| async {}));
        routes.layer(middleware::from_fn_with_state(own(), console))
    }

    #[tokio::test]
    async fn only_names_that_nobody_else_can_own_are_answered() {
        for (host, expected) in [
            ("127.0.0.1:3030", 200),
            ("localhost:3030", 200),
            ("LOCALHOST", 200),
            ("console.localhost:3030", 200),
            ("[::1]:3030", 200),
            ("192.168.1.7:3030", 200),
            ("evil.example:3030", 403),
            ("localhost.evil.example", 403),
            ("127.0.0.1.evil.example", 403),
            ("evil.example#localhost", 403),
            ("", 403),
        ] {
            assert_eq!(status(guarded(), Method::GET, "/", &[("host", host)]).await, expected, "{host}");
        }
        assert_eq!(status(guarded(), Method::GET, "/", &[]).await, 403);
    }

    #[tokio::test]
    async fn requests_of_other_pages_are_refused_and_programs_pass() {
        let host = ("host", "localhost:3030");
        let json = ("content-type", "application/json; charset=utf-8");
        for (method, path, headers, expected) in [
            (Method::GET, "/api", vec![], 200),
            (Method::GET, "/api", vec![("sec-fetch-site", "same-origin")], 200),
            (Method::GET, "/api", vec![("sec-fetch-site", "same-site")], 403),
            (Method::GET, "/api", vec![("sec-fetch-site", "cross-site")], 403),
            (Method::GET, "/", vec![("sec-fetch-site", "cross-site")], 200),
            (Method::GET, "/", vec![("sec-fetch-site", "none")], 200),
            (Method::GET, "/api", vec![("origin", "http://localhost:3030")], 200),
            (Method::GET, "/api", vec![("origin", "http://localhost:5173")], 403),
            (Method::POST, "/api", vec![json], 200),
            (Method::POST, "/api", vec![json, ("origin", "http://localhost:3030")], 200),
            (Method::POST, "/api", vec![json, ("origin", "http://evil.example")], 403),
            (Method::POST, "/api", vec![json, ("origin", "null")], 403),
            (Method::POST, "/api", vec![("content-type", "text/plain")], 415),
            (Method::POST, "/api", vec![], 415),
            (Method::POST, "/", vec![json, ("sec-fetch-site", "cross-site")], 403),
            (Method::DELETE, "/api", vec![("origin", "http://evil.example")], 403),
        ] {
            let mut all = headers.clone();
            all.push(host);
            assert_eq!(status(guarded(), method.clone(), path, &all).await, expected, "{method} {path} {headers:?}");
        }
    }

    #[tokio::test]
    async fn aws_apis_take_unsigned_calls_of_programs_and_not_of_other_pages() {
        let router = || {
            let routes = Router::new().fallback(any(|| async {}));
            routes.layer(middleware::from_fn_with_state(own(), programs))
        };
        for (headers, expected) in [
            (vec![("host", "host.docker.internal:3030")], 200),
            (vec![("host", "localhost:3030"), ("origin", "http://localhost:3030")], 200),
            (vec![("host", "localhost:3030"), ("origin", "http://evil.example")], 403),
            (vec![("host", "evil.example:3030"), ("origin", "http://evil.example:3030")], 403),
            (vec![("host", "localhost:3030"), ("origin", "http://app.example"), ("authorization", "AWS4-…")], 200),
        ] {
            assert_eq!(status(router(), Method::POST, "/x", &headers).await, expected, "{headers:?}");
        }
        let page = [("host", "localhost:3030"), ("origin", "http://evil.example")];
        assert_eq!(status(router(), Method::GET, "/dev", &page).await, 200, "WebSocket handshakes are the function's");
    }
}
