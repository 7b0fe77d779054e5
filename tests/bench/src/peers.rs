//! Peers that are this program in another role, in a process of their own: they need what the bench needs, and to link one
//! more program takes a minute.

mod authorizer;
pub(crate) mod bare_client;
mod polled;

/// Runs as the function with this handler.
pub(crate) async fn function(handler: &str) -> crate::Result<()> {
    match handler {
        "authorize" => authorizer::run().await,
        "poll" => polled::run().await,
        _ => Err(format!("the bench has no handler {handler:?}").into()),
    }
}
