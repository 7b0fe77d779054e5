//! What servers send: the body of a request as a payload.

use serde_json::value::RawValue;

use crate::notification::Payload;

/// Why a body is no message.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum InvalidBody {
    /// It is of a type that nobody sends: 415.
    #[error("the content type is not one of text/plain, application/json and application/octet-stream")]
    Type,
    /// It says that it is JSON, or text, and is not: 400.
    #[error("the body is not what its content type says")]
    Content(#[source] Box<dyn std::error::Error + Send + Sync>),
}

/// The message that a body is, by its `Content-Type`: text, JSON letter by letter, or bytes.
///
/// # Errors
/// When it is of another type, or not of that type.
pub fn payload(content_type: &str, body: &[u8]) -> Result<Payload, InvalidBody> {
    let essence = content_type.split(';').next().unwrap_or_default().trim().to_ascii_lowercase();
    if essence == "application/octet-stream" {
        return Ok(Payload::Binary(aws_smithy_types::base64::encode(body)));
    }
    if !["text/plain", "application/json"].contains(&essence.as_str()) {
        return Err(InvalidBody::Type);
    }
    let text = std::str::from_utf8(body).map_err(|error| InvalidBody::Content(error.into()))?.to_owned();
    match essence.as_str() {
        "text/plain" => Ok(Payload::Text(text)),
        _ => RawValue::from_string(text).map(Payload::Json).map_err(|error| InvalidBody::Content(error.into())),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_of_the_three_types_is_a_payload_of_its_own() {
        let written = |content_type: &str, body: &[u8]| {
            payload(content_type, body).map(|payload| serde_json::to_string(&payload).unwrap())
        };
        assert_eq!(written("text/plain; charset=UTF-8", b"\"a").unwrap(), r#"{"dataType":"text","data":"\"a"}"#);
        assert_eq!(
            written("Application/JSON", b" {\"a\" : 1.0}").unwrap(),
            r#"{"dataType":"json","data":{"a" : 1.0}}"#
        );
        assert_eq!(written("application/octet-stream", &[1, 2, 3]).unwrap(), r#"{"dataType":"binary","data":"AQID"}"#);
        assert!(matches!(written("", b"a"), Err(InvalidBody::Type)));
        assert!(matches!(written("text/html", b"a"), Err(InvalidBody::Type)));
        assert!(matches!(written("application/json", b"{"), Err(InvalidBody::Content(_))));
        assert!(matches!(written("text/plain", &[0xff]), Err(InvalidBody::Content(_))));
    }
}
