//! One small document over HTTP, with every bound that somebody else's server needs.

use std::net::IpAddr;
use std::time::Duration;

use aws_smithy_types::body::SdkBody;
use bytes::Bytes;
use http::Uri;
use http_body_util::{BodyExt as _, Limited};
use tidings::aws::HttpClient;

/// For the whole of it. A key set is some kilobytes, and a client waits.
const DEADLINE: Duration = Duration::from_secs(3);

/// The largest key sets have about 20 KB.
const MOST_BYTES: usize = 256 * 1024;

/// Why there is no document.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum FetchError {
    /// No answer, or not all of it.
    #[error("{0} did not answer within 3 seconds")]
    Timeout(String),
    /// Not reached, or cut off.
    #[error("{uri} could not be read")]
    Http {
        /// What was asked.
        uri: String,
        /// Why.
        source: Box<dyn std::error::Error + Send + Sync>,
    },
    /// Not the answer that has a document. Redirects are not followed.
    #[error("{uri} answered {status}")]
    Status {
        /// What was asked.
        uri: String,
        /// The status.
        status: u16,
    },
    /// More than anybody's keys.
    #[error("{0} answered with more than 256 KB")]
    TooLarge(String),
}

/// A URL that may be asked: https, or http on this machine.
pub(crate) fn url(text: &str) -> Option<Uri> {
    let uri: Uri = text.parse().ok()?;
    let authority = uri.authority()?;
    let may = match uri.scheme_str()? {
        "https" => true,
        "http" => is_loopback(authority.host()),
        _ => false,
    };
    (may && !authority.as_str().contains('@')).then_some(uri)
}

fn is_loopback(host: &str) -> bool {
    let address = host.trim_start_matches('[').trim_end_matches(']');
    host == "localhost" || address.parse::<IpAddr>().is_ok_and(|address| address.is_loopback())
}

pub(crate) async fn get(client: &HttpClient, uri: &Uri) -> Result<Bytes, FetchError> {
    match tokio::time::timeout(DEADLINE, whole(client, uri)).await {
        Ok(document) => document,
        Err(_) => Err(FetchError::Timeout(uri.to_string())),
    }
}

async fn whole(client: &HttpClient, uri: &Uri) -> Result<Bytes, FetchError> {
    let failed = |source| FetchError::Http { uri: uri.to_string(), source };
    let request = http::Request::get(uri.clone())
        .header("accept", "application/json")
        .header("user-agent", concat!("tidings/", env!("CARGO_PKG_VERSION")))
        .body(SdkBody::empty())
        .map_err(|error| failed(error.into()))?;
    let response = client.request(request).await.map_err(|error| failed(error.into()))?;
    let status = response.status().as_u16();
    if status != 200 {
        return Err(FetchError::Status { uri: uri.to_string(), status });
    }
    match Limited::new(response.into_body(), MOST_BYTES).collect().await {
        Ok(body) => Ok(body.to_bytes()),
        Err(error) if error.is::<http_body_util::LengthLimitError>() => Err(FetchError::TooLarge(uri.to_string())),
        Err(error) => Err(failed(error)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_https_is_asked_and_this_machine() {
        for good in
            ["https://a/b", "http://localhost:1/x", "http://127.0.0.1/", "http://127.1.2.3:80/", "http://[::1]:1/"]
        {
            assert!(url(good).is_some(), "{good}");
        }
        for bad in [
            "http://example.com/",
            "http://10.0.0.1/",
            "http://169.254.169.254/",
            "http://localhost.evil.org/",
            "ftp://a/",
            "a/b",
            "/a",
            "",
            "https://user:secret@a/",
            "http://127.0.0.1@evil.org/",
        ] {
            assert!(url(bad).is_none(), "{bad}");
        }
    }
}
