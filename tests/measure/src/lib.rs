//! What starting the bench needs: its arguments, and how to build and install what it measures. With few dependencies, so that
//! it answers soon.

mod arguments;
mod build;
mod peers;

pub use arguments::{Arguments, Row};
pub use build::build;
pub use peers::install_peers;
