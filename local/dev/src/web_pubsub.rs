//! Azure Web PubSub on the main port, as a distribution before both APIs has it on one host: its libraries build all addresses
//! from one connection string.

use axum::Router;

use tidings_local_gateway::{Gateway, HttpGateway};
use tidings_local_stack::Stack;

/// What the name of the secret ends in that holds the key.
const KEY: &str = "/webpubsub-key";

/// The paths of its clients and servers; none where the stack does not speak it.
pub(super) fn router(stack: &Stack, gateway: &Gateway, apis: &[HttpGateway]) -> Router {
    let stage = stack.apis.values().find_map(|api| api.stages.first());
    match (stage, apis.first()) {
        (Some(stage), Some(api)) if speaks(stack, "webpubsub") => gateway.front(&stage.name, api),
        _ => Router::new(),
    }
}

/// What its libraries take, with the name of the secret in the place of the key; `root` is where everything on the main port is.
/// `None` where the stack does not speak it.
pub(super) fn connection_string(stack: &Stack, root: &str) -> Option<String> {
    let name = stack.secrets.values().map(|secret| secret.name.as_str()).find(|name| name.ends_with(KEY))?;
    speaks(stack, "webpubsub").then(|| format!("Endpoint={root};AccessKey=<{name}>;Version=1.0;"))
}

/// Whether the functions of a stack take clients of this protocol.
pub(super) fn speaks(stack: &Stack, protocol: &str) -> bool {
    let spoken = stack.functions.values().filter_map(|function| function.environment.get("PROTOCOLS"));
    spoken.flat_map(|spoken| spoken.split(',')).any(|spoken| spoken.trim() == protocol)
}
