//! The function `disconnect` of an application whose hook notifies.

use std::process::ExitCode;

use serde_json::json;
use tidings::{Context, Error};
use tidings_disconnect::{Function, Reason};

async fn gone(cx: Context, _: Reason) -> Result<(), Error> {
    cx.notify(json!({"to": {"topic": "presence"}, "data": {"left": cx.connection()}})).await
}

fn main() -> ExitCode {
    Function::new().on_disconnect(gone).run()
}
