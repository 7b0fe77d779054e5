//! Signature Version 4 for posts to sockets, which differ in nothing but path and body.
//!
//! What the SDK works out anew for each request, the signing key, the date and the order of the headers, is worked out once
//! a second here, as far as into the state of the keyed hash. `tests` below compare it with the SDK's own signer.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::SystemTime;

use aws_credential_types::Credentials;
use aws_sigv4::sign::v4::generate_signing_key;
use aws_smithy_types::DateTime;
use aws_smithy_types::date_time::Format;
use bytes::Bytes;
use http::HeaderValue;
use http::header::InvalidHeaderValue;
use ring::{digest, hmac};

use crate::clock;

/// The service in the signature's scope.
const SERVICE: &str = "execute-api";
/// What every post says about its body, and what is signed of it.
pub(super) const CONTENT_TYPE: &str = "application/octet-stream";

/// A SHA-256, or a signature, in hexadecimal digits.
pub(super) type Hex = [u8; 64];

/// Signs posts to one host.
#[derive(Debug)]
pub(super) struct Signer {
    credentials: Credentials,
    region: String,
    host: String,
    moment: Mutex<Option<Arc<Moment>>>,
}

/// What signatures of one second have in common.
struct Moment {
    second: u64,
    date: HeaderValue,
    /// Of the canonical request: the headers and their names.
    headers: String,
    /// The keyed hash after the text that is signed, but for the hash at its end.
    signing: hmac::Context,
    /// Of the header: all but the signature.
    authorization: String,
}

/// The headers that make a request a signed one.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Signature {
    pub(super) date: HeaderValue,
    pub(super) authorization: HeaderValue,
}

impl std::fmt::Debug for Moment {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.debug_struct("Moment").field("second", &self.second).finish_non_exhaustive()
    }
}

impl Signer {
    pub(super) fn new(credentials: Credentials, region: String, host: String) -> Self {
        Self { credentials, region, host, moment: Mutex::default() }
    }

    /// Signs a request to `path`, encoded twice as the signature wants it, of a body with this hash.
    ///
    /// # Errors
    /// When the access key holds what a header cannot.
    pub(super) fn sign(
        &self,
        method: &str,
        path: &str,
        body: &Hex,
        now: SystemTime,
    ) -> Result<Signature, InvalidHeaderValue> {
        let moment = self.moment(now)?;
        let mut request = digest::Context::new(&digest::SHA256);
        for part in [method, "\n", path, "\n\n", &moment.headers, "\n"] {
            request.update(part.as_bytes());
        }
        request.update(body);
        let mut signing = moment.signing.clone();
        signing.update(&hex(request.finish().as_ref()));
        let signature = hex(signing.sign().as_ref());
        let authorization = [moment.authorization.as_bytes(), &signature].concat();
        Ok(Signature {
            date: moment.date.clone(),
            authorization: HeaderValue::from_maybe_shared(Bytes::from(authorization))?,
        })
    }

    fn moment(&self, now: SystemTime) -> Result<Arc<Moment>, InvalidHeaderValue> {
        let second = clock::seconds(now);
        // Nobody panics while holding the lock; what it holds would be right in any case.
        let mut moment = self.moment.lock().unwrap_or_else(PoisonError::into_inner);
        match &*moment {
            Some(known) if known.second == second => Ok(Arc::clone(known)),
            _ => Ok(Arc::clone(moment.insert(Arc::new(self.work_out(second, now)?)))),
        }
    }

    fn work_out(&self, second: u64, now: SystemTime) -> Result<Moment, InvalidHeaderValue> {
        let date = basic_date(second);
        let scope = format!("{}/{}/{SERVICE}/aws4_request", &date[..8], self.region);
        let mut headers = format!("content-type:{CONTENT_TYPE}\nhost:{}\nx-amz-date:{date}\n", self.host);
        let mut names = "content-type;host;x-amz-date".to_owned();
        if let Some(token) = self.credentials.session_token() {
            headers.push_str("x-amz-security-token:");
            headers.push_str(token);
            headers.push('\n');
            names.push_str(";x-amz-security-token");
        }
        let credential = format!("{}/{scope}", self.credentials.access_key_id());
        let key = generate_signing_key(self.credentials.secret_access_key(), now, &self.region, SERVICE);
        let mut signing = hmac::Context::with_key(&hmac::Key::new(hmac::HMAC_SHA256, key.as_ref()));
        signing.update(format!("AWS4-HMAC-SHA256\n{date}\n{scope}\n").as_bytes());
        Ok(Moment {
            second,
            headers: format!("{headers}\n{names}"),
            signing,
            authorization: format!("AWS4-HMAC-SHA256 Credential={credential}, SignedHeaders={names}, Signature="),
            date: HeaderValue::try_from(date)?,
        })
    }
}

/// `20261124T120000Z`.
fn basic_date(second: u64) -> String {
    let date = DateTime::from_secs(i64::try_from(second).unwrap_or(i64::MAX));
    // Only years beyond 9999 cannot be written.
    let date = date.fmt(Format::DateTime).unwrap_or_else(|_| "1970-01-01T00:00:00Z".to_owned());
    date.chars().filter(|character| !matches!(character, '-' | ':')).collect()
}

/// The SHA-256 of something.
pub(super) fn hash(bytes: &[u8]) -> Hex {
    hex(digest::digest(&digest::SHA256, bytes).as_ref())
}

fn hex(bytes: &[u8]) -> Hex {
    let mut digits = [b'0'; 64];
    for (pair, byte) in digits.chunks_exact_mut(2).zip(bytes) {
        pair.copy_from_slice(&crate::hex::digits(*byte));
    }
    digits
}

#[cfg(test)]
mod tests {
    use aws_sigv4::http_request::{SignableBody, SignableRequest, SigningSettings, sign};
    use aws_sigv4::sign::v4::SigningParams;

    use super::*;

    const HOST: &str = "abcdef1234.execute-api.eu-west-1.amazonaws.com";

    /// What the SDK's signer says.
    fn reference(credentials: &Credentials, method: &str, url: &str, body: &[u8], now: SystemTime) -> Signature {
        let identity = credentials.clone().into();
        let params = SigningParams::builder()
            .identity(&identity)
            .region("eu-west-1")
            .name(SERVICE)
            .time(now)
            .settings(SigningSettings::default())
            .build()
            .unwrap()
            .into();
        let headers = [("content-type", CONTENT_TYPE), ("host", HOST)].into_iter();
        let request = SignableRequest::new(method, url, headers, SignableBody::Bytes(body)).unwrap();
        let (instructions, _) = sign(request, &params).unwrap().into_parts();
        let header = |name: &str| {
            let found = instructions.headers().find(|(key, _)| key.eq_ignore_ascii_case(name));
            found.map(|(_, value)| HeaderValue::from_str(value).unwrap()).unwrap()
        };
        Signature { date: header("x-amz-date"), authorization: header("authorization") }
    }

    #[test]
    fn signatures_are_those_of_the_sdk() {
        let now = SystemTime::UNIX_EPOCH + std::time::Duration::from_millis(1_795_520_783_999);
        for token in [None, Some("token/with+signs==".to_owned())] {
            let credentials = Credentials::new("AKID", "secret", token, None, "test");
            let signer = Signer::new(credentials.clone(), "eu-west-1".to_owned(), HOST.to_owned());
            for (wire, path) in [
                ("/dev/@connections/BPATqkuNIAMCKkQ%3D", "/dev/%40connections/BPATqkuNIAMCKkQ%253D"),
                ("/@connections/a%2Fb%2Bc~_.-", "/%40connections/a%252Fb%252Bc~_.-"),
            ] {
                for (later, method) in [(0, "POST"), (1, "DELETE"), (86_400, "POST")] {
                    let now = now + std::time::Duration::from_secs(later);
                    let url = format!("https://{HOST}{wire}");
                    let expected = reference(&credentials, method, &url, b"{}", now);
                    assert_eq!(
                        signer.sign(method, path, &hash(b"{}"), now).unwrap(),
                        expected,
                        "{method} {wire} after {later} s"
                    );
                }
            }
        }
    }
}
