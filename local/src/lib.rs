//! The development gateway: a local API Gateway, Lambda and DynamoDB for WebSocket applications.

pub mod command;
pub mod dev;
pub mod dynamodb;
mod error;
pub mod gateway;
pub mod lambda;
mod net;
pub mod observe;
pub mod stack;
pub mod template;
