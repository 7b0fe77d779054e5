//! `$disconnect` of a [Tidings](https://docs.rs/tidings) stack: forgets a client. API Gateway promises nothing about it: it
//! may come late, twice or never.
//!
//! The function of an application is this one with a hook:
//!
//! ```no_run
//! use std::process::ExitCode;
//!
//! use tidings::{Context, Error};
//! use tidings_disconnect::{Function, Reason};
//!
//! async fn gone(cx: Context, reason: Reason) -> Result<(), Error> {
//!     println!("{} left after {:?}", cx.connection(), reason.status);
//!     Ok(())
//! }
//!
//! fn main() -> ExitCode {
//!     Function::new().on_disconnect(gone).run()
//! }
//! ```

mod forget;
mod function;
mod hook;

pub use forget::{Disconnect, Error};
pub use function::Function;
pub use hook::Reason;
