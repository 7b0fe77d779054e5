//! Addresses and clients that several parts need.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use aws_smithy_http_client::tls;
use aws_smithy_runtime_api::client::http::SharedHttpClient;

/// The address at which this machine reaches a listener: loopback where it listens on all interfaces.
pub(crate) fn reachable(mut address: SocketAddr) -> SocketAddr {
    match address.ip() {
        IpAddr::V4(ip) if ip.is_unspecified() => address.set_ip(Ipv4Addr::LOCALHOST.into()),
        IpAddr::V6(ip) if ip.is_unspecified() => address.set_ip(Ipv6Addr::LOCALHOST.into()),
        _ => {}
    }
    address
}

/// An HTTP client for AWS SDKs, with TLS by rustls and ring.
pub(crate) fn https_client() -> SharedHttpClient {
    let provider = tls::Provider::Rustls(tls::rustls_provider::CryptoMode::Ring);
    aws_smithy_http_client::Builder::new().tls_provider(provider).build_https()
}

/// Whether a URL leads to AWS itself, where keys count.
pub(crate) fn is_aws(endpoint: &str) -> bool {
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
