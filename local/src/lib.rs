//! The development gateway: a local API Gateway, Lambda, DynamoDB and SQS for WebSocket and HTTP APIs.

pub mod command;
mod destination;
pub mod dev;
pub mod dynamodb;
pub mod event_sources;
#[cfg(test)]
mod fuzz;
pub mod gateway;
pub mod lambda;
mod net;
pub mod observe;
pub mod sqs;
pub mod stack;
pub mod template;
