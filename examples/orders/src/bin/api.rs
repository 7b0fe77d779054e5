use std::process::ExitCode;

fn main() -> ExitCode {
    tidings_api::Function::new().run()
}
