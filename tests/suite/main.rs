//! Tests of the whole, in one binary.

#![expect(clippy::unwrap_used, reason = "this is test code: what cannot be is to end the test")]

mod any_service;
mod anybody;
mod appending;
mod application;
mod authorizing;
mod bad_input;
mod centrifuge;
mod chaos;
mod client;
#[path = "../conformance/suite.rs"]
mod conformance;
mod console;
mod cost;
mod delivery;
mod end_to_end;
mod environment;
mod events;
mod examples;
mod fanout;
mod garbage;
mod going_live;
mod http_api;
mod inbox;
mod integrations;
mod keep_alive;
mod long_poll;
mod metrics;
mod nobodies;
mod operations;
mod order;
mod outbox;
mod own_protocol;
mod platforms;
mod presence;
mod queues;
mod recording;
mod recovery;
mod redrive;
mod registry;
mod reliable;
mod rest;
mod roles;
mod scale;
mod scopes;
mod scripts;
mod server_api;
mod shuffled;
mod simulation;
mod structure;
mod template;
mod test_crate;
mod triggers;
mod undelivered;
mod web_pubsub;
