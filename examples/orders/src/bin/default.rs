use std::process::ExitCode;

use tidings_default::Function;

use orders::App;

fn main() -> ExitCode {
    Function::with_state(App::load)
        .on("order.menu", orders::menu)
        .on("order.place", orders::place)
        .on("order.list", orders::list)
        .on("order.cancel", orders::cancel)
        .run()
}
