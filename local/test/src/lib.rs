//! Tests of an application on [Tidings](https://docs.rs/tidings), through everything that it is made of: the gateway, its own
//! functions, DynamoDB and the queues, on free ports, in the test's process.
//!
//! ```no_run
//! use serde_json::json;
//! use tidings_test::Stack;
//!
//! # async fn test() {
//! // The functions are built first, as `tidings dev` does.
//! let stack = Stack::start("template.yaml").await;
//! let mut ada = stack.client().user("ada").topic("orders/42").connect().await;
//!
//! // An action answers, or says why not.
//! let reply = ada.call("hello", json!({"name": "Ada"})).await;
//! assert_eq!(reply.unwrap(), json!({"hello": "Ada"}));
//!
//! // A message reaches the client, and nothing else does.
//! stack.notify(json!({"to": {"topic": "orders/42"}, "data": {"state": "shipped"}})).await;
//! assert_eq!(ada.message().await.data, json!({"state": "shipped"}));
//! ada.silence().await;
//!
//! // What was pushed, without a look at a socket; and what could not be.
//! assert_eq!(stack.pushes().len(), 1);
//! assert!(stack.dead_letters().is_empty());
//! stack.stop().await;
//! # }
//! ```
//!
//! Everything here ends the test with a panic that says what was missing; what the functions have logged is then shown too.
//! Tests want `#[tokio::test(flavor = "multi_thread")]`. They may run side by side: each has a stack of its own.
//!
//! # The clock
//!
//! [`Stack::advance`] moves the time of the queues (delays, visibility, retention) and of connections (idle for 10 minutes, at
//! an end after two hours). The functions are processes with the system's clock, and so see the same time as ever.

mod client;
mod rest;
mod stack;

pub use client::{Client, Connecting, Message, Refused};
pub use stack::{DeadLetter, Push, Stack, Starting};

use std::time::Duration;

/// How long anything may take before a test fails.
pub const PATIENCE: Duration = Duration::from_secs(20);
