use std::process::ExitCode;

use tidings_authorizer::Function;

use orders::App;

fn main() -> ExitCode {
    Function::with_state(App::load).verify(orders::verify).run()
}
