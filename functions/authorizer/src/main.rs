//! The `authorizer` function, without a way of an application's own.

use std::process::ExitCode;

use tidings_authorizer::Function;

fn main() -> ExitCode {
    Function::new().run()
}
