//! The development gateway: a local API Gateway, Lambda and DynamoDB for WebSocket applications.

pub mod dynamodb;
pub mod lambda;
mod net;
pub mod stack;
pub mod template;
