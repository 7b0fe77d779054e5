use std::process::ExitCode;

use tidings_connect::Function;

fn main() -> ExitCode {
    Function::new()
        // Refuse clients, or give them topics: async fn welcome(cx: Context, handshake: Handshake)
        // -> Result<Welcome, Refusal>
        // .on_connect(chat::welcome)
        .run()
}
