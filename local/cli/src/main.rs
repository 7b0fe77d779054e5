//! The program `tidings`.

use std::process::ExitCode;

fn main() -> ExitCode {
    tidings_local::command::main(std::env::args_os().collect())
}
