use std::process::ExitCode;

use tidings_disconnect::Function;

fn main() -> ExitCode {
    Function::new()
        // Called once for each connection that has ended: async fn gone(cx: Context, reason: Reason) -> Result<(), Error>
        // .on_disconnect(chat::gone)
        .run()
}
