//! The `default` function, without actions of an application.

use std::process::ExitCode;

use tidings_default::Function;

fn main() -> ExitCode {
    Function::new().run()
}
