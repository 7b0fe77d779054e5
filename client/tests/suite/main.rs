//! The client against a server that the tests play.

#![expect(clippy::unwrap_used, reason = "this is test code: what cannot be is to end the test")]

mod calling;
mod chaos;
mod connecting;
mod recovering;
mod renewing;
mod server;
