//! Tests of the Lambda host, the development gateway and the command line with real processes.
#![expect(clippy::unwrap_used, reason = "a helper of a test fails as the test does")]

mod cases;
mod commands;
mod data;
mod dead_letters;
mod deployed;
mod dev;
mod doctor;
mod event_sources;
mod host;
mod invoke_api;
mod project;
mod sqs;
mod support;
