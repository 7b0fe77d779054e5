//! Single calls of the management API: looking at a socket, closing it, sending its client away.

use aws_sdk_apigatewaymanagement::Client;
use aws_sdk_apigatewaymanagement::error::{DisplayErrorContext, SdkError};
use aws_sdk_apigatewaymanagement::primitives::Blob;

use crate::ids::Socket;

/// The API Gateway Management API of a stack, for a call now and then; [`Sockets`](super::Sockets) is for many. Cheap to
/// clone.
#[derive(Debug, Clone)]
pub struct Management(Client);

/// Why API Gateway did not say.
#[derive(Debug, thiserror::Error)]
#[error("{operation} failed: {reason}")]
pub struct SocketError {
    operation: &'static str,
    reason: String,
}

impl Management {
    pub(crate) fn with_client(client: Client) -> Self {
        Self(client)
    }

    /// When something was last sent over a socket, in either direction, in milliseconds since the epoch; `None` where API
    /// Gateway has no such socket, or not yet: it says so until the handshake is through.
    ///
    /// # Errors
    /// When API Gateway refuses or does not answer.
    pub async fn last_active(&self, socket: &Socket) -> Result<Option<i64>, SocketError> {
        match self.0.get_connection().connection_id(socket.as_str()).send().await {
            Ok(answer) => Ok(answer.last_active_at.and_then(|time| time.to_millis().ok())),
            Err(error) if is_gone(&error) => Ok(None),
            Err(error) => Err(failed("GetConnection", &error)),
        }
    }

    /// Closes a socket. `false` where API Gateway has no such socket, or not yet.
    ///
    /// # Errors
    /// When API Gateway refuses or does not answer.
    pub async fn close(&self, socket: &Socket) -> Result<bool, SocketError> {
        match self.0.delete_connection().connection_id(socket.as_str()).send().await {
            Ok(_) => Ok(true),
            Err(error) if is_gone(&error) => Ok(false),
            Err(error) => Err(failed("DeleteConnection", &error)),
        }
    }

    /// Posts a message to a socket.
    ///
    /// # Errors
    /// When API Gateway does not take it.
    pub async fn send(&self, socket: &Socket, message: String) -> Result<(), SocketError> {
        let request = self.0.post_to_connection().connection_id(socket.as_str()).data(Blob::new(message));
        request.send().await.map(drop).map_err(|error| failed("PostToConnection", &error))
    }

    /// Tells a client why, and closes its socket so that it comes back. API Gateway lets nobody choose the close code.
    ///
    /// Best effort: a client that cannot be told or closed is gone by itself, or will be by its longest life.
    pub async fn dismiss(&self, socket: &Socket, farewell: &str) {
        let told = self.0.post_to_connection().connection_id(socket.as_str()).data(Blob::new(farewell)).send().await;
        if let Err(error) = told {
            let error = DisplayErrorContext(error);
            tracing::info!(connection.id = %socket, %error, "could not say why it is closed");
        }
        if let Err(error) = self.0.delete_connection().connection_id(socket.as_str()).send().await {
            let error = DisplayErrorContext(error);
            tracing::info!(connection.id = %socket, %error, "could not close a connection");
        }
    }
}

/// 410, which has no body, or 400 for an id that API Gateway would never make.
fn is_gone<E>(error: &SdkError<E>) -> bool {
    error.raw_response().is_some_and(|response| matches!(response.status().as_u16(), 400 | 410))
}

fn failed<E: std::error::Error + 'static>(operation: &'static str, error: &SdkError<E>) -> SocketError {
    SocketError { operation, reason: DisplayErrorContext(error).to_string() }
}
