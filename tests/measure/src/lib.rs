//! What starting the bench needs: its arguments, and how to build and install what it measures. With few dependencies, so that
//! it answers soon.

mod arguments;
mod baseline;
mod build;
mod peers;

pub use arguments::{Arguments, BASELINE_PROGRAMS, Row};
pub use baseline::Baseline;
pub use build::build;
pub use peers::{install_ministack, install_peers};
