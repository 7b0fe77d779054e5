//! The `connect` function, without hooks.

use std::process::ExitCode;

use tidings_connect::Function;

fn main() -> ExitCode {
    Function::new().run()
}
