//! `$default` of a [Tidings](https://docs.rs/tidings) stack: carries out what clients ask for over their socket, and the
//! actions that an application adds. Replies go back as the route's response: the route is two-way.
//!
//! ```no_run
//! use std::process::ExitCode;
//!
//! use serde::Deserialize;
//! use tidings::{Context, Error};
//! use tidings_default::Function;
//!
//! struct App {
//!     longest: usize,
//! }
//!
//! #[derive(Deserialize)]
//! struct Join {
//!     room: String,
//! }
//!
//! async fn load() -> Result<App, std::env::VarError> {
//!     Ok(App { longest: std::env::var("LONGEST_NAME")?.len() })
//! }
//!
//! /// `{"action":"chat.join","room":"lobby","id":1}` is answered with `{"type":"ack","id":1}`.
//! async fn join(cx: Context<App>, body: Join) -> Result<(), Error> {
//!     if body.room.len() > cx.state().longest {
//!         return Err(Error::new("NameTooLong", "give the room a shorter name"));
//!     }
//!     cx.subscribe(format!("rooms/{}", body.room)).await
//! }
//!
//! fn main() -> ExitCode {
//!     Function::with_state(load).on("chat.join", join).run()
//! }
//! ```

mod actions;
mod centrifuge;
mod commands;
mod frame;
mod function;
mod guard;
mod history;
mod inbox;
mod outcome;
mod presence;
mod publish;
mod services;
mod subscribe;
mod web_pubsub;

pub use actions::Reply;
pub use commands::Commands;
pub use frame::Frame;
pub use function::Function;
pub use guard::{Guard, Limits, Rate};
pub use services::{Error, Services};
