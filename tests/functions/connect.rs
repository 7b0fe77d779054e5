//! The function `connect` of an application whose hook notifies.

use std::process::ExitCode;

use serde_json::json;
use tidings::{Context, Handshake, Refusal};
use tidings_connect::{Function, Welcome};

async fn welcome(cx: Context, _: Handshake) -> Result<Welcome, Refusal> {
    let notification = json!({"to": {"topic": "presence"}, "data": {"came": cx.connection()}});
    cx.notify(notification).await.map_err(|error| Refusal::new(500, error.to_string()))?;
    Ok(Welcome::new())
}

fn main() -> ExitCode {
    Function::new().on_connect(welcome).run()
}
