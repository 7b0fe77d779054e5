//! default
fn main() {}
