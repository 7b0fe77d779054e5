//! HTTP answers of the gateway itself: refused handshakes and `@connections` errors.

use axum::Json;
use axum::body::Body;
use axum::response::{IntoResponse, Response};
use http::{HeaderName, HeaderValue, StatusCode, header};
use serde_json::json;
use uuid::Uuid;

const ERROR_TYPE: HeaderName = HeaderName::from_static("x-amzn-errortype");
const REQUEST_ID: HeaderName = HeaderName::from_static("x-amzn-requestid");

/// An answer that is an error. What AWS puts into the bodies of refused handshakes is not known; these follow its
/// documented gateway responses.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Refusal {
    pub(super) status: StatusCode,
    /// The `x-amzn-ErrorType` header, which SDKs read.
    error_type: Option<&'static str>,
    /// The `message` of the JSON body; without one the body is empty.
    message: Option<String>,
}

impl Refusal {
    fn new(status: StatusCode, error_type: &'static str, message: impl Into<Option<String>>) -> Self {
        Self { status, error_type: Some(error_type), message: message.into() }
    }

    /// What `$connect` decided: its status and nothing else.
    pub(super) fn by_function(status: StatusCode) -> Self {
        Self { status, error_type: None, message: None }
    }

    pub(super) fn unauthorized() -> Self {
        Self::new(StatusCode::UNAUTHORIZED, "UnauthorizedException", "Unauthorized".to_owned())
    }

    /// Wrong stage or path, or a policy that does not allow.
    pub(super) fn forbidden() -> Self {
        Self::new(StatusCode::FORBIDDEN, "ForbiddenException", "Forbidden".to_owned())
    }

    /// The authorizer failed, or Lambda did not invoke a function.
    pub(super) fn internal() -> Self {
        Self::new(StatusCode::INTERNAL_SERVER_ERROR, "InternalServerErrorException", "Internal server error".to_owned())
    }

    /// `$connect` failed or answered something malformed.
    pub(super) fn bad_gateway() -> Self {
        let message = "Internal server error".to_owned();
        Self::new(StatusCode::BAD_GATEWAY, "InternalServerErrorException", message)
    }

    /// `$connect` took too long. Not captured for WebSocket APIs; the documented default of `INTEGRATION_TIMEOUT`.
    pub(super) fn gateway_timeout() -> Self {
        let message = "Endpoint request timed out".to_owned();
        Self::new(StatusCode::GATEWAY_TIMEOUT, "InternalServerErrorException", message)
    }

    /// Too many new connections.
    pub(super) fn too_many_requests() -> Self {
        Self::new(StatusCode::TOO_MANY_REQUESTS, "TooManyRequestsException", "Too Many Requests".to_owned())
    }

    /// More than 4,096 bytes of URL. AWS documents the limit but not the answer.
    pub(super) fn uri_too_long() -> Self {
        let message = "Request URI Too Long".to_owned();
        Self::new(StatusCode::URI_TOO_LONG, "RequestUriTooLongException", message)
    }

    /// An ordinary request to a WebSocket stage.
    pub(super) fn upgrade_required() -> Self {
        Self { status: StatusCode::UPGRADE_REQUIRED, error_type: None, message: Some("Upgrade Required".to_owned()) }
    }

    /// The gateway is being stopped.
    pub(super) fn unavailable() -> Self {
        let message = "Service Unavailable".to_owned();
        Self::new(StatusCode::SERVICE_UNAVAILABLE, "ServiceUnavailableException", message)
    }

    pub(super) fn bad_request(message: String) -> Self {
        Self::new(StatusCode::BAD_REQUEST, "BadRequestException", message)
    }

    /// No such connection now. The empty body is AWS's.
    pub(super) fn gone() -> Self {
        Self::new(StatusCode::GONE, "GoneException", None)
    }

    /// A message over 128 KB. AWS's text is not known.
    pub(super) fn payload_too_large() -> Self {
        let message = "Payload Too Large".to_owned();
        Self::new(StatusCode::PAYLOAD_TOO_LARGE, "PayloadTooLargeException", message)
    }

    /// The client reads more slowly than it is sent to. The exception has no members.
    pub(super) fn limit_exceeded() -> Self {
        Self::new(StatusCode::TOO_MANY_REQUESTS, "LimitExceededException", None)
    }

    /// A call of `@connections` without a signature.
    pub(super) fn missing_authentication_token() -> Self {
        let message = "Missing Authentication Token".to_owned();
        Self::new(StatusCode::FORBIDDEN, "MissingAuthenticationTokenException", message)
    }

    /// A call of `@connections` whose signature is not of the keys, not of the call, or old. The text is that of AWS's other services.
    pub(super) fn invalid_signature() -> Self {
        let message = "The request signature we calculated does not match the signature you provided. Check your AWS \
                       Secret Access Key and signing method. Consult the service documentation for details.";
        Self::new(StatusCode::FORBIDDEN, "InvalidSignatureException", message.to_owned())
    }
}

impl IntoResponse for Refusal {
    fn into_response(self) -> Response {
        let mut response = match self.message {
            Some(message) => Json(json!({ "message": message })).into_response(),
            None => Response::new(Body::empty()),
        };
        *response.status_mut() = self.status;
        if let Some(error_type) = self.error_type {
            response.headers_mut().insert(ERROR_TYPE, HeaderValue::from_static(error_type));
        }
        if self.status == StatusCode::UPGRADE_REQUIRED {
            response.headers_mut().insert(header::UPGRADE, HeaderValue::from_static("websocket"));
            response.headers_mut().insert(header::SEC_WEBSOCKET_VERSION, HeaderValue::from_static("13"));
        }
        with_request_id(response)
    }
}

/// Adds the `x-amzn-RequestId` header that SDKs show with errors.
pub(super) fn with_request_id(mut response: Response) -> Response {
    if let Ok(id) = HeaderValue::from_str(&Uuid::new_v4().to_string()) {
        response.headers_mut().insert(REQUEST_ID, id);
    }
    response
}
