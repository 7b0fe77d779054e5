//! The command line `tidings`.

pub mod command;
mod scaffold;
