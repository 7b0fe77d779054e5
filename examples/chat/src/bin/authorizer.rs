use std::process::ExitCode;

use tidings_authorizer::Function;

fn main() -> ExitCode {
    Function::new()
        // Your own way to say who a client is, before tokens: async fn by_key(app: Arc<()>, handshake: Handshake)
        // -> Result<Option<Identity>, Refusal>
        // .verify(chat::by_key)
        .run()
}
