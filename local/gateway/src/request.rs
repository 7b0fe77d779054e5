//! The client's opening request, as functions see it.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};

use axum::extract::Request;
use http::HeaderMap;
use percent_encoding::percent_decode_str;
use uuid::Uuid;

use super::head::RawHead;
use super::serve::Addresses;

/// Set by the gateway itself, whatever the client sent.
const FORWARDED_PORT: &str = "X-Forwarded-Port";
const FORWARDED_PROTO: &str = "X-Forwarded-Proto";
const FORWARDED_FOR: &str = "X-Forwarded-For";
const TRACE_ID: &str = "X-Amzn-Trace-Id";
/// In authorizer events only, and there with fixed values.
const HOP_BY_HOP: [(&str, &str); 3] = [("Connection", "upgrade"), ("content-length", "0"), ("Upgrade", "websocket")];

/// Names and values in the order they were sent; a name may come more than once.
pub(super) type Pairs = Vec<(String, String)>;

/// What a WebSocket handshake said.
#[derive(Debug, Clone)]
pub(super) struct Handshake {
    headers: Pairs,
    query: Pairs,
    /// Path and query as they came.
    target: String,
    source: IpAddr,
    port: u16,
    is_encrypted: bool,
    trace_id: String,
}

impl Handshake {
    /// Reads a request. Names have the client's case if the request came through [`serve()`](super::serve()).
    pub(super) fn new(request: &Request) -> Self {
        let target = request.uri().path_and_query().map_or("", |target| target.as_str());
        let headers = match request.extensions().get::<RawHead>() {
            Some(head) if head.target.ends_with(target) => head.headers.clone(),
            _ => lower_case(request.headers()),
        };
        let unknown = SocketAddr::from((Ipv4Addr::LOCALHOST, 80));
        let unknown = Addresses { client: unknown, server: unknown, is_encrypted: false };
        let Addresses { client, server, is_encrypted } =
            request.extensions().get::<Addresses>().copied().unwrap_or(unknown);
        Self {
            headers,
            query: parse_query(request.uri().query().unwrap_or_default()),
            target: target.to_owned(),
            source: client.ip().to_canonical(),
            port: server.port(),
            is_encrypted,
            trace_id: trace_id(),
        }
    }

    /// The last value of a header, found in any case.
    pub(super) fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().rfind(|(key, _)| key.eq_ignore_ascii_case(name)).map(|(_, value)| value.as_str())
    }

    /// The last value of a query parameter.
    pub(super) fn query_parameter(&self, name: &str) -> Option<&str> {
        self.query.iter().rfind(|(key, _)| key == name).map(|(_, value)| value.as_str())
    }

    /// Path and query without what a signature in the query added.
    pub(super) fn unsigned_target(&self) -> String {
        let Some((path, query)) = self.target.split_once('?') else { return self.target.clone() };
        let kept: Vec<_> = query.split('&').filter(|pair| !pair.starts_with("X-Amz-")).collect();
        if kept.is_empty() { path.to_owned() } else { format!("{path}?{}", kept.join("&")) }
    }

    /// Without the header that has a signature, which no function sees.
    pub(super) fn without_authorization(mut self) -> Self {
        self.headers.retain(|(name, _)| !name.eq_ignore_ascii_case("authorization"));
        self
    }

    /// All query parameters, decoded.
    pub(super) fn query(&self) -> &Pairs {
        &self.query
    }

    /// Where the client is, as far as the TCP connection tells.
    pub(super) fn source_ip(&self) -> String {
        self.source.to_string()
    }

    /// What the client called this server. Functions make the address of `@connections` of it.
    pub(super) fn host(&self) -> String {
        self.header("host").map_or_else(|| format!("localhost:{}", self.port), str::to_owned)
    }

    /// The headers of a `$connect` event: sorted as AWS sorts them, without those of the upgrade.
    pub(super) fn event_headers(&self) -> Pairs {
        let added = [FORWARDED_FOR, FORWARDED_PORT, FORWARDED_PROTO, TRACE_ID];
        let dropped = HOP_BY_HOP.iter().map(|(name, _)| *name).chain(added);
        let mut headers: Pairs = self
            .headers
            .iter()
            .filter(|(name, _)| !dropped.clone().any(|dropped| name.eq_ignore_ascii_case(dropped)))
            .cloned()
            .collect();
        let forwarded = self.header(FORWARDED_FOR).map(|before| format!("{before}, "));
        headers.extend([
            (TRACE_ID.to_owned(), self.header(TRACE_ID).unwrap_or(&self.trace_id).to_owned()),
            (FORWARDED_FOR.to_owned(), format!("{}{}", forwarded.unwrap_or_default(), self.source)),
            (FORWARDED_PORT.to_owned(), self.port.to_string()),
            (FORWARDED_PROTO.to_owned(), if self.is_encrypted { "https" } else { "http" }.to_owned()),
        ]);
        sort(&mut headers);
        headers
    }

    /// The headers of an authorizer's event, those of the upgrade included.
    pub(super) fn authorizer_headers(&self) -> Pairs {
        let mut headers = self.event_headers();
        headers.extend(HOP_BY_HOP.map(|(name, value)| (name.to_owned(), value.to_owned())));
        sort(&mut headers);
        headers
    }
}

/// Stable, so that values of one name keep their order.
fn sort(headers: &mut Pairs) {
    headers.sort_by_cached_key(|(name, _)| name.to_ascii_lowercase());
}

fn lower_case(headers: &HeaderMap) -> Pairs {
    headers
        .iter()
        .map(|(name, value)| (name.as_str().to_owned(), String::from_utf8_lossy(value.as_bytes()).into_owned()))
        .collect()
}

fn parse_query(query: &str) -> Pairs {
    let decode = |text: &str| percent_decode_str(&text.replace('+', " ")).decode_utf8_lossy().into_owned();
    query
        .split('&')
        .filter(|pair| !pair.is_empty())
        .map(|pair| pair.split_once('=').unwrap_or((pair, "")))
        .map(|(name, value)| (decode(name), decode(value)))
        .collect()
}

/// `Root=1-` with eight hex digits of time and 24 random ones.
fn trace_id() -> String {
    let seconds = std::time::SystemTime::UNIX_EPOCH.elapsed().map_or(0, |elapsed| elapsed.as_secs());
    let random = Uuid::new_v4().simple().to_string();
    format!("Root=1-{seconds:08x}-{}", &random[..24])
}

#[cfg(test)]
mod tests {
    use super::*;

    fn handshake(uri: &str, headers: &[(&str, &str)]) -> Handshake {
        let mut request = Request::new(axum::body::Body::empty());
        *request.uri_mut() = uri.parse().unwrap();
        let headers = headers.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
        request.extensions_mut().insert(RawHead { target: uri.to_owned(), headers });
        request.extensions_mut().insert(Addresses {
            client: "[::ffff:192.0.2.7]:5000".parse().unwrap(),
            server: "127.0.0.1:3030".parse().unwrap(),
            is_encrypted: false,
        });
        Handshake::new(&request)
    }

    fn names(headers: &Pairs) -> Vec<&str> {
        headers.iter().map(|(name, _)| name.as_str()).collect()
    }

    const SENT: &[(&str, &str)] = &[
        ("Upgrade", "websocket"),
        ("connection", "keep-alive, Upgrade"),
        ("x-api-key", "k"),
        ("HOST", "localhost:3030"),
        ("Sec-WebSocket-Key", "dGhlIHNhbXBsZSBub25jZQ=="),
        ("X-Forwarded-For", "198.51.100.1"),
        ("x-forwarded-proto", "gopher"),
    ];

    #[test]
    fn event_headers_are_sorted_without_the_upgrade_and_with_the_forwarded_ones() {
        let headers = handshake("/dev", SENT).event_headers();
        assert_eq!(
            names(&headers),
            [
                "HOST",
                "Sec-WebSocket-Key",
                "X-Amzn-Trace-Id",
                "x-api-key",
                "X-Forwarded-For",
                "X-Forwarded-Port",
                "X-Forwarded-Proto"
            ]
        );
        assert_eq!(headers[4].1, "198.51.100.1, 192.0.2.7");
        assert_eq!(headers[5].1, "3030");
        assert_eq!(headers[6].1, "http");
        let trace = &headers[2].1;
        assert!(trace.starts_with("Root=1-") && trace.len() == 40, "{trace}");
    }

    #[test]
    fn authorizer_headers_have_the_upgrade_with_fixed_values() {
        let headers = handshake("/dev", SENT).authorizer_headers();
        assert_eq!(names(&headers)[..3], ["Connection", "content-length", "HOST"]);
        assert!(headers.contains(&("Connection".to_owned(), "upgrade".to_owned())));
        assert!(headers.contains(&("content-length".to_owned(), "0".to_owned())));
        assert!(headers.contains(&("Upgrade".to_owned(), "websocket".to_owned())));
        assert_eq!(headers.iter().filter(|(name, _)| name.eq_ignore_ascii_case("connection")).count(), 1);
    }

    #[test]
    fn query_parameters_are_decoded_and_may_repeat() {
        let handshake = handshake("/dev?topic=a%2Fb&topic=c+d&flag&empty=&x=1=2", SENT);
        let pairs: Vec<_> = handshake.query().iter().map(|(name, value)| (name.as_str(), value.as_str())).collect();
        assert_eq!(pairs, [("topic", "a/b"), ("topic", "c d"), ("flag", ""), ("empty", ""), ("x", "1=2")]);
        assert_eq!(handshake.query_parameter("topic"), Some("c d"));
        assert_eq!(handshake.query_parameter("Topic"), None);
        assert_eq!(handshake.header("X-API-KEY"), Some("k"));
    }

    #[test]
    fn without_a_recorded_head_names_are_lower_case() {
        let mut request = Request::new(axum::body::Body::empty());
        *request.uri_mut() = "/dev".parse().unwrap();
        request.headers_mut().insert("X-Own", "1".parse().unwrap());
        let handshake = Handshake::new(&request);
        assert!(names(&handshake.event_headers()).contains(&"x-own"));
        assert_eq!(handshake.source_ip(), "127.0.0.1");
    }
}
