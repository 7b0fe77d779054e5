use std::process::ExitCode;

use tidings_connect::Function;

fn main() -> ExitCode {
    Function::new().on_connect(orders::welcome).run()
}
