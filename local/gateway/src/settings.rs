//! What can be set about the gateway. The defaults are API Gateway's own numbers.

use std::time::Duration;

use tidings_local_observe::Observer;

/// How the gateway behaves. [`Settings::default`] gives API Gateway's quotas.
#[derive(Debug, Clone)]
pub struct Settings {
    /// The region in ARNs, for example `us-east-1`.
    pub region: String,
    /// The account in ARNs, twelve digits.
    pub account_id: String,
    /// A connection without data in either direction for so long is closed with 1001. AWS: 10 minutes.
    pub idle_timeout: Duration,
    /// A connection is closed with 1001 at this age, busy or not. AWS: 2 hours.
    pub connection_lifetime: Duration,
    /// Refuse what is not signed (Signature Version 4), as AWS does: calls of `@connections` and of routes with `AWS_IAM`. The
    /// signatures of WebSocket handshakes are verified, others are only looked at.
    pub strict: bool,
    /// Let each message wait for 0 to 300 ms at random before its function is called, so that messages of a connection
    /// overtake one another: the seed says which wait how long, by the numbers of connection and message.
    pub shuffle: Option<u64>,
    /// The keys that signatures of handshakes must be of, where the gateway is strict, and that calls of services are signed with.
    pub keys: SigningKeys,
    /// Where the services are that integrations of the type `AWS` call.
    pub services: ServiceEndpoints,
    /// New connections per second before handshakes are answered 429, with a burst of as many. AWS: 500 for an
    /// account and region. `None` lets everyone in.
    pub new_connections_per_second: Option<u32>,
    /// Gets to know handshakes, messages, `@connections` calls and closes. By default nobody does.
    pub observer: Observer,
}

/// Addresses without a slash at the end. Where one is empty, the integrations that need it fail.
#[derive(Debug, Clone, Default)]
pub struct ServiceEndpoints {
    /// DynamoDB's.
    pub dynamodb: String,
    /// That of all others: SQS, EventBridge, Secrets Manager and the Lambda Invoke API.
    pub others: String,
}

/// Keys that clients sign with.
#[derive(Clone, Default)]
pub struct SigningKeys {
    /// `AWS_ACCESS_KEY_ID`.
    pub access_key_id: String,
    /// `AWS_SECRET_ACCESS_KEY`.
    pub secret_access_key: String,
    /// `AWS_SESSION_TOKEN`; absent for long-lived keys.
    pub session_token: Option<String>,
}

impl std::fmt::Debug for SigningKeys {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("SigningKeys").field("access_key_id", &self.access_key_id).finish_non_exhaustive()
    }
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            region: "us-east-1".to_owned(),
            account_id: "123456789012".to_owned(),
            idle_timeout: Duration::from_secs(10 * 60),
            connection_lifetime: Duration::from_secs(2 * 60 * 60),
            strict: false,
            shuffle: None,
            keys: SigningKeys::default(),
            services: ServiceEndpoints::default(),
            new_connections_per_second: Some(500),
            observer: Observer::default(),
        }
    }
}
