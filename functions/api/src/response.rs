//! What goes back to API Gateway, in payload format 2.0.

use std::collections::BTreeMap;

use serde::Serialize;

/// One answer.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Response {
    status_code: u16,
    headers: BTreeMap<&'static str, String>,
    body: String,
    is_base64_encoded: bool,
}

impl Response {
    /// An answer without a body.
    pub(crate) fn empty(status: u16) -> Self {
        let headers = BTreeMap::from([("cache-control", "no-store".to_owned())]);
        Self { status_code: status, headers, body: String::new(), is_base64_encoded: false }
    }

    /// An answer in JSON.
    pub(crate) fn json(status: u16, body: &impl Serialize) -> Self {
        // Strings, numbers and lists always have a JSON form.
        let body = serde_json::to_string(body).unwrap_or_default();
        Self { body, ..Self::empty(status) }.with_header("content-type", "application/json")
    }

    /// A text as it stands.
    pub(crate) fn text(content_type: &str, body: &str) -> Self {
        Self { body: body.to_owned(), ..Self::empty(200) }.with_header("content-type", content_type)
    }

    pub(crate) fn with_status(self, status: u16) -> Self {
        Self { status_code: status, ..self }
    }

    pub(crate) fn with_header(mut self, name: &'static str, value: &str) -> Self {
        self.headers.insert(name, value.to_owned());
        self
    }

    /// The status.
    #[must_use]
    pub fn status(&self) -> u16 {
        self.status_code
    }

    /// The value of a header; names are in lower case.
    #[must_use]
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name).map(String::as_str)
    }

    /// The body.
    #[must_use]
    pub fn body(&self) -> &str {
        &self.body
    }
}
