use std::process::ExitCode;

use tidings_authorizer::Function;

use orders::{App, verify};

fn main() -> ExitCode {
    Function::with_state(App::load).verify(verify).run()
}
