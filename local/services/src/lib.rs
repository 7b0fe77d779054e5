//! The services of AWS that a stack uses beside Lambda and API Gateway, on this machine: DynamoDB, SQS, EventBridge
//! and Secrets Manager.

pub mod data;
pub mod dynamodb;
pub mod events;
pub mod json_api;
mod keys;
pub mod net;
pub mod secrets;
pub mod sqs;
pub mod token;

pub use keys::Keys;
