use std::process::ExitCode;

fn main() -> ExitCode {
    tidings_notifier::Function::new().run()
}
