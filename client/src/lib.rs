#![doc = include_str!("../README.md")]

mod builder;
mod client;
mod conversation;
mod driver;
mod error;
mod event;
mod handshake;
mod history;
mod link;
mod message;
mod options;
mod position;
mod recent;
mod requests;
mod retry;
mod sequencer;
mod session;
mod wire;

pub use builder::Builder;
pub use client::Client;
pub use error::{BuildError, CallError, Reason, Refusal};
pub use event::{Event, Events};
pub use history::{History, Page};
pub use message::{DataType, Message, Origin};
pub use position::{Log, Position, Positions};
