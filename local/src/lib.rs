//! The development gateway: a local API Gateway, Lambda, DynamoDB, SQS and Secrets Manager for WebSocket and HTTP APIs.

pub mod command;
mod destination;
pub mod dev;
pub mod dynamodb;
pub mod event_sources;
#[cfg(test)]
mod fuzz;
pub mod gateway;
mod json_api;
pub mod lambda;
mod net;
pub mod observe;
mod scaffold;
pub mod secrets;
pub mod sqs;
pub mod stack;
pub mod template;
