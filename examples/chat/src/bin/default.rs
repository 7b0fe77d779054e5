use std::process::ExitCode;

use tidings_default::Function;

fn main() -> ExitCode {
    Function::new()
        .on("chat.join", chat::join)
        .on("chat.leave", chat::leave)
        .on("chat.send", chat::send)
        .on("chat.typing", chat::typing)
        .run()
}
