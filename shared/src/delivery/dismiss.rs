//! Sending a client away.

use aws_sdk_apigatewaymanagement::Client;
use aws_sdk_apigatewaymanagement::error::DisplayErrorContext;
use aws_sdk_apigatewaymanagement::primitives::Blob;

use crate::ids::Socket;

/// Tells a client why, and closes its socket so that it comes back. API Gateway lets nobody choose the close code.
///
/// Best effort: a client that cannot be told or closed is gone by itself, or will be by its longest life.
pub async fn dismiss(client: &Client, socket: &Socket, farewell: &str) {
    let told = client.post_to_connection().connection_id(socket.as_str()).data(Blob::new(farewell)).send().await;
    if let Err(error) = told {
        tracing::info!(connection.id = %socket, error = %DisplayErrorContext(error), "could not say why it is closed");
    }
    if let Err(error) = client.delete_connection().connection_id(socket.as_str()).send().await {
        tracing::info!(connection.id = %socket, error = %DisplayErrorContext(error), "could not close a connection");
    }
}
