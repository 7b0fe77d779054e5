//! Signature Version 4 for posts to sockets, which differ in nothing but path and body.
//!
//! What the SDK works out anew for each request, the signing key, the date and the order of the headers, is worked out once
//! a second here. `tests` below compare it with the SDK's own signer.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::{SystemTime, UNIX_EPOCH};

use aws_credential_types::Credentials;
use aws_sigv4::sign::v4::{calculate_signature, generate_signing_key};
use aws_smithy_types::DateTime;
use aws_smithy_types::date_time::Format;
use sha2::{Digest, Sha256};

/// The service in the signature's scope.
const SERVICE: &str = "execute-api";
/// What every post says about its body, and what is signed of it.
pub(super) const CONTENT_TYPE: &str = "application/octet-stream";

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
    date: String,
    /// Of the canonical request: the headers and their names.
    headers: String,
    /// Of the text that is signed: all but the hash.
    head: String,
    /// Of the header: all but the signature.
    authorization: String,
    key: Box<dyn AsRef<[u8]> + Send + Sync>,
}

/// The headers that make a request a signed one.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Signature {
    pub(super) date: String,
    pub(super) authorization: String,
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

    /// The session token, to be sent beside the signature.
    pub(super) fn token(&self) -> Option<&str> {
        self.credentials.session_token()
    }

    /// Signs a post to `path`, encoded twice as the signature wants it, of a body with this hash.
    pub(super) fn sign(&self, path: &str, body: &str, now: SystemTime) -> Signature {
        let moment = self.moment(now);
        let request = format!("POST\n{path}\n\n{}\n{body}", moment.headers);
        let text = format!("{}{}", moment.head, hash(request.as_bytes()));
        let signature = calculate_signature((*moment.key).as_ref(), text.as_bytes());
        Signature { date: moment.date.clone(), authorization: format!("{}{signature}", moment.authorization) }
    }

    fn moment(&self, now: SystemTime) -> Arc<Moment> {
        let second = now.duration_since(UNIX_EPOCH).unwrap_or_default().as_secs();
        // Nobody panics while holding the lock; what it holds would be right in any case.
        let mut moment = self.moment.lock().unwrap_or_else(PoisonError::into_inner);
        match &*moment {
            Some(known) if known.second == second => Arc::clone(known),
            _ => Arc::clone(moment.insert(Arc::new(self.work_out(second, now)))),
        }
    }

    fn work_out(&self, second: u64, now: SystemTime) -> Moment {
        let date = basic_date(second);
        let scope = format!("{}/{}/{SERVICE}/aws4_request", &date[..8], self.region);
        let mut headers = format!("content-type:{CONTENT_TYPE}\nhost:{}\nx-amz-date:{date}\n", self.host);
        let mut names = "content-type;host;x-amz-date".to_owned();
        if let Some(token) = self.token() {
            headers.push_str("x-amz-security-token:");
            headers.push_str(token);
            headers.push('\n');
            names.push_str(";x-amz-security-token");
        }
        let credential = format!("{}/{scope}", self.credentials.access_key_id());
        Moment {
            second,
            headers: format!("{headers}\n{names}"),
            head: format!("AWS4-HMAC-SHA256\n{date}\n{scope}\n"),
            authorization: format!("AWS4-HMAC-SHA256 Credential={credential}, SignedHeaders={names}, Signature="),
            key: Box::new(generate_signing_key(self.credentials.secret_access_key(), now, &self.region, SERVICE)),
            date,
        }
    }
}

/// `20261124T120000Z`.
fn basic_date(second: u64) -> String {
    let date = DateTime::from_secs(i64::try_from(second).unwrap_or(i64::MAX));
    // Only years beyond 9999 cannot be written.
    let date = date.fmt(Format::DateTime).unwrap_or_else(|_| "1970-01-01T00:00:00Z".to_owned());
    date.chars().filter(|character| !matches!(character, '-' | ':')).collect()
}

/// The SHA-256 of something, in hexadecimal digits.
pub(super) fn hash(bytes: &[u8]) -> String {
    let digit = |value: u8| char::from(b"0123456789abcdef"[usize::from(value)]);
    Sha256::digest(bytes).into_iter().flat_map(|byte| [digit(byte >> 4), digit(byte & 15)]).collect()
}

#[cfg(test)]
mod tests {
    use aws_sigv4::http_request::{SignableBody, SignableRequest, SigningSettings, sign};
    use aws_sigv4::sign::v4::SigningParams;

    use super::*;

    /// What the SDK's signer says.
    fn reference(credentials: &Credentials, url: &str, host: &str, body: &[u8], now: SystemTime) -> Signature {
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
        let headers = [("content-type", CONTENT_TYPE), ("host", host)].into_iter();
        let request = SignableRequest::new("POST", url, headers, SignableBody::Bytes(body)).unwrap();
        let (instructions, _) = sign(request, &params).unwrap().into_parts();
        let header = |name: &str| {
            let found = instructions.headers().find(|(key, _)| key.eq_ignore_ascii_case(name));
            found.map(|(_, value)| value.to_owned()).unwrap()
        };
        Signature { date: header("x-amz-date"), authorization: header("authorization") }
    }

    #[test]
    fn signatures_are_those_of_the_sdk() {
        let host = "abcdef1234.execute-api.eu-west-1.amazonaws.com";
        let now = UNIX_EPOCH + std::time::Duration::from_millis(1_795_520_783_999);
        for token in [None, Some("token/with+signs==".to_owned())] {
            let credentials = Credentials::new("AKID", "secret", token, None, "test");
            let signer = Signer::new(credentials.clone(), "eu-west-1".to_owned(), host.to_owned());
            for (wire, path) in [
                ("/dev/@connections/BPATqkuNIAMCKkQ%3D", "/dev/%40connections/BPATqkuNIAMCKkQ%253D"),
                ("/@connections/a%2Fb%2Bc~_.-", "/%40connections/a%252Fb%252Bc~_.-"),
            ] {
                for later in [0, 1, 86_400] {
                    let now = now + std::time::Duration::from_secs(later);
                    let url = format!("https://{host}{wire}");
                    let expected = reference(&credentials, &url, host, b"{}", now);
                    assert_eq!(signer.sign(path, &hash(b"{}"), now), expected, "{wire} after {later} s");
                }
            }
        }
    }
}
