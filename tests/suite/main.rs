//! Tests of the whole, in one binary.

mod delivery;
mod registry;
