//! Tests of the whole, in one binary.

mod bad_input;
mod console;
mod delivery;
mod end_to_end;
mod events;
mod registry;
