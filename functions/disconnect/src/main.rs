//! The `disconnect` function, without hooks.

use std::process::ExitCode;

use tidings_disconnect::Function;

fn main() -> ExitCode {
    Function::new().run()
}
