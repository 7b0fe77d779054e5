//! `$connect` of a [Tidings](https://docs.rs/tidings) stack: registers a client before API Gateway completes its handshake.
//!
//! The function of an application is this one with a hook, which refuses clients or gives them more:
//!
//! ```no_run
//! use std::process::ExitCode;
//!
//! use tidings::{Context, Handshake, Refusal};
//! use tidings_connect::{Function, Welcome};
//!
//! async fn welcome(cx: Context, handshake: Handshake) -> Result<Welcome, Refusal> {
//!     if cx.claims().get("plan").is_some_and(|plan| plan == "expired") {
//!         return Err(Refusal::new(402, "the trial of this tenant is over"));
//!     }
//!     match handshake.query("room") {
//!         Some(room) => Welcome::new().topic(format!("rooms/{room}")),
//!         None => Ok(Welcome::new()),
//!     }
//! }
//!
//! fn main() -> ExitCode {
//!     Function::new().on_connect(welcome).run()
//! }
//! ```

mod accept;
mod function;
mod hook;
mod request;

pub use accept::{Connect, Error, Outcome};
pub use function::Function;
pub use hook::Welcome;
