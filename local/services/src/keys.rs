//! Keys of AWS, or what stands for them.

/// Keys that let a function sign its calls.
#[derive(Clone)]
pub struct Keys {
    /// `AWS_ACCESS_KEY_ID`.
    pub access_key_id: String,
    /// `AWS_SECRET_ACCESS_KEY`.
    pub secret_access_key: String,
    /// `AWS_SESSION_TOKEN`; absent for long-lived keys.
    pub session_token: Option<String>,
}

impl Keys {
    /// Keys that open nothing: what a local engine accepts.
    #[must_use]
    pub fn local() -> Self {
        Self { access_key_id: "local".to_owned(), secret_access_key: "local".to_owned(), session_token: None }
    }
}

impl std::fmt::Debug for Keys {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Keys").field("access_key_id", &self.access_key_id).finish_non_exhaustive()
    }
}
