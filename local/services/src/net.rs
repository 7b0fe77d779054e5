//! Addresses and clients that several parts need.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::time::Duration;

use aws_smithy_runtime_api::client::http::{SharedHttpClient, http_client_fn};

/// The address at which this machine reaches a listener: loopback where it listens on all interfaces.
pub fn reachable(mut address: SocketAddr) -> SocketAddr {
    match address.ip() {
        IpAddr::V4(ip) if ip.is_unspecified() => address.set_ip(Ipv4Addr::LOCALHOST.into()),
        IpAddr::V6(ip) if ip.is_unspecified() => address.set_ip(Ipv6Addr::LOCALHOST.into()),
        _ => {}
    }
    address
}

/// Whether anything accepts connections at this URL.
pub async fn is_listening(url: &str) -> bool {
    let Ok(uri) = url.parse::<http::Uri>() else { return false };
    let Some(host) = uri.host() else { return false };
    let port = uri.port_u16().unwrap_or(if uri.scheme_str() == Some("https") { 443 } else { 80 });
    let connect = tokio::net::TcpStream::connect((host.trim_matches(['[', ']']), port));
    matches!(tokio::time::timeout(Duration::from_secs(3), connect).await, Ok(Ok(_)))
}

/// An HTTP client for AWS SDKs that call `endpoint`, or AWS itself: the one that functions have.
pub fn http_client(endpoint: Option<&str>) -> SharedHttpClient {
    let connector = tidings::aws::connector_to(endpoint.unwrap_or("https://"));
    http_client_fn(move |_, _| connector.clone())
}

/// Whether a URL leads to AWS itself, where keys count.
pub fn is_aws(endpoint: &str) -> bool {
    let host = endpoint.split("://").nth(1).unwrap_or(endpoint);
    let host = host.split(['/', ':']).next().unwrap_or(host);
    host.ends_with(".amazonaws.com") || host.ends_with(".amazonaws.com.cn")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_aws_needs_real_keys() {
        assert!(is_aws("https://dynamodb.eu-west-1.amazonaws.com"));
        assert!(!is_aws("http://localhost:8000"));
        assert!(!is_aws("http://127.0.0.1:8000/amazonaws.com"));
    }
}
