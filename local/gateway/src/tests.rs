//! The gateway over real sockets, its functions behind a real Lambda Invoke API.

mod authorizing;
mod closing;
mod encrypted;
mod fuzzing;
mod harness;
mod managing;
mod messaging;
mod opening;
mod serving;
