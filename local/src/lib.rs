//! The development gateway: a local API Gateway, Lambda and DynamoDB for WebSocket applications.

pub mod gateway;
pub mod lambda;
pub mod stack;
