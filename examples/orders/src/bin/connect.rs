use std::process::ExitCode;

use tidings_connect::Function;

use orders::welcome;

fn main() -> ExitCode {
    Function::new().on_connect(welcome).run()
}
