//! Signature Version 4, in a header or in the query: of a connecting client for routes with `AWS_IAM`, and of calls of `@connections`.

use std::time::{Duration, SystemTime};

use aws_credential_types::Credentials;
use aws_sigv4::http_request::{
    SessionTokenMode, SignableBody, SignableRequest, SignatureLocation, SigningSettings, sign,
};
use aws_sigv4::sign::v4::SigningParams;
use http::Method;
use time::PrimitiveDateTime;
use time::format_description::FormatItem;
use time::macros::format_description;

use super::events::Caller;
use super::request::Handshake;
use super::settings::SigningKeys;

const SERVICE: &str = "execute-api";
/// The organization that the local account is in: AWS tells functions that of the caller's account.
const ORGANIZATION: &str = "o-tidingslocal";
/// How far a signer's clock may be off (General Reference, "Troubleshooting AWS SigV4 errors").
const SKEW: Duration = Duration::from_secs(5 * 60);
const DATE: &[FormatItem<'_>] = format_description!("[year][month][day]T[hour][minute][second]Z");

/// A signature as it came.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Signature {
    access_key: String,
    region: String,
    date: String,
    signed_headers: Vec<String>,
    signature: String,
    token: Option<String>,
    /// Only of one in the query: how long it is good, in seconds.
    expires: Option<u64>,
}

/// What a signature is made for, beside the head.
#[derive(Debug, Clone, Copy)]
pub(super) struct Signed<'a> {
    pub(super) method: &'a Method,
    pub(super) body: &'a [u8],
}

impl Signed<'static> {
    /// As each handshake is.
    pub(super) const HANDSHAKE: Self = Self { method: &Method::GET, body: b"" };
}

impl Signature {
    /// The signature of a request, if it has one for API Gateway.
    pub(super) fn of(handshake: &Handshake) -> Option<Self> {
        Self::in_header(handshake).or_else(|| Self::in_query(handshake))
    }

    fn in_header(handshake: &Handshake) -> Option<Self> {
        let fields = handshake.header("authorization")?.strip_prefix("AWS4-HMAC-SHA256 ")?;
        let field = |name: &str| fields.split(',').find_map(|field| field.trim().strip_prefix(name)?.strip_prefix('='));
        Self::new(
            field("Credential")?,
            handshake.header("x-amz-date")?,
            field("SignedHeaders")?,
            field("Signature")?,
            handshake.header("x-amz-security-token"),
            None,
        )
    }

    fn in_query(handshake: &Handshake) -> Option<Self> {
        let field = |name| handshake.query_parameter(name);
        let expires = field("X-Amz-Expires")?.parse().ok()?;
        (field("X-Amz-Algorithm")? == "AWS4-HMAC-SHA256").then_some(())?;
        Self::new(
            field("X-Amz-Credential")?,
            field("X-Amz-Date")?,
            field("X-Amz-SignedHeaders")?,
            field("X-Amz-Signature")?,
            field("X-Amz-Security-Token"),
            Some(expires),
        )
    }

    fn new(
        credential: &str,
        date: &str,
        signed_headers: &str,
        signature: &str,
        token: Option<&str>,
        expires: Option<u64>,
    ) -> Option<Self> {
        let scope: Vec<_> = credential.rsplitn(5, '/').collect();
        let ["aws4_request", SERVICE, region, day, access_key] = scope.as_slice() else { return None };
        let is_hex = signature.len() == 64 && signature.bytes().all(|byte| byte.is_ascii_hexdigit());
        (is_hex && !region.is_empty() && !access_key.is_empty() && date.starts_with(day)).then(|| Self {
            access_key: (*access_key).to_owned(),
            region: (*region).to_owned(),
            date: date.to_owned(),
            signed_headers: signed_headers.split(';').map(str::to_owned).collect(),
            signature: signature.to_owned(),
            token: token.map(str::to_owned),
            expires,
        })
    }

    /// Whose it says that it is.
    pub(super) fn caller(&self, account: &str) -> Caller {
        Caller {
            principal_org_id: ORGANIZATION,
            account_id: account.to_owned(),
            caller: self.access_key.clone(),
            user: self.access_key.clone(),
            user_arn: format!("arn:aws:iam::{account}:user/{}", self.access_key),
            access_key: self.access_key.clone(),
        }
    }

    /// Whether these keys made it for this request, and it is fresh.
    pub(super) fn is_valid(&self, head: &Handshake, signed: Signed<'_>, keys: &SigningKeys, now: SystemTime) -> bool {
        let Some(signed_at) = self.signed_at() else { return false };
        let until = signed_at + self.expires.map_or(SKEW, Duration::from_secs);
        self.access_key == keys.access_key_id
            && (signed_at.checked_sub(SKEW).is_some_and(|from| from <= now) && now <= until)
            && self.expected(head, signed, keys, signed_at).is_some_and(|expected| expected == self.signature)
    }

    fn signed_at(&self) -> Option<SystemTime> {
        let date = PrimitiveDateTime::parse(&self.date, DATE).ok()?;
        Some(SystemTime::from(date.assume_utc()))
    }

    /// The signature that the keys make for the request.
    fn expected(
        &self,
        head: &Handshake,
        signed: Signed<'_>,
        keys: &SigningKeys,
        signed_at: SystemTime,
    ) -> Option<String> {
        let credentials =
            Credentials::new(&keys.access_key_id, &keys.secret_access_key, self.token.clone(), None, "tidings");
        let identity = credentials.into();
        let mut settings = SigningSettings::default();
        settings.expires_in = self.expires.map(Duration::from_secs);
        if self.expires.is_some() {
            settings.signature_location = SignatureLocation::QueryParams;
        }
        if self.token.is_some() && self.expires.is_none() && !self.signs("x-amz-security-token") {
            settings.session_token_mode = SessionTokenMode::Exclude;
        }
        let parameters = SigningParams::builder()
            .identity(&identity)
            .region(&self.region)
            .name(SERVICE)
            .time(signed_at)
            .settings(settings)
            .build()
            .ok()?
            .into();
        let added = ["x-amz-date", "x-amz-security-token"];
        let names = self.signed_headers.iter().filter(|name| !added.contains(&name.as_str()));
        let headers: Option<Vec<_>> = names.map(|name| Some((name.as_str(), head.header(name)?))).collect();
        let uri = format!("https://{}{}", head.host(), head.unsigned_target());
        let body = SignableBody::Bytes(signed.body);
        let request = SignableRequest::new(signed.method.as_str(), uri, headers?.into_iter(), body).ok()?;
        sign(request, &parameters).ok().map(|output| output.signature().to_owned())
    }

    fn signs(&self, header: &str) -> bool {
        self.signed_headers.iter().any(|name| name == header)
    }
}
