//! Looking at one socket, and closing it.

use aws_sdk_apigatewaymanagement::Client;
use aws_sdk_apigatewaymanagement::error::{DisplayErrorContext, SdkError};

use crate::ids::Socket;

/// Why API Gateway did not say.
#[derive(Debug, thiserror::Error)]
#[error("{operation} failed: {reason}")]
pub struct SocketError {
    operation: &'static str,
    reason: String,
}

/// When something was last sent over a socket, in either direction, in milliseconds since the epoch; `None` where API
/// Gateway has no such socket, or not yet: it says so until the handshake is through.
///
/// # Errors
/// When API Gateway refuses or does not answer.
pub async fn last_active(client: &Client, socket: &Socket) -> Result<Option<i64>, SocketError> {
    match client.get_connection().connection_id(socket.as_str()).send().await {
        Ok(answer) => Ok(answer.last_active_at.and_then(|time| time.to_millis().ok())),
        Err(error) if is_gone(&error) => Ok(None),
        Err(error) => Err(failed("GetConnection", &error)),
    }
}

/// Closes a socket. `false` where API Gateway has no such socket, or not yet.
///
/// # Errors
/// When API Gateway refuses or does not answer.
pub async fn close(client: &Client, socket: &Socket) -> Result<bool, SocketError> {
    match client.delete_connection().connection_id(socket.as_str()).send().await {
        Ok(_) => Ok(true),
        Err(error) if is_gone(&error) => Ok(false),
        Err(error) => Err(failed("DeleteConnection", &error)),
    }
}

/// 410, which has no body, or 400 for an id that API Gateway would never make.
fn is_gone<E>(error: &SdkError<E>) -> bool {
    error.raw_response().is_some_and(|response| matches!(response.status().as_u16(), 400 | 410))
}

fn failed<E: std::error::Error + 'static>(operation: &'static str, error: &SdkError<E>) -> SocketError {
    SocketError { operation, reason: DisplayErrorContext(error).to_string() }
}
