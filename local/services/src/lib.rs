//! The services of AWS that a stack uses beside Lambda and API Gateway, on this machine: DynamoDB, SQS, SNS, EventBridge
//! and Secrets Manager.

pub mod data;
pub mod dynamodb;
pub mod events;
pub mod json_api;
mod keys;
pub mod net;
mod query;
pub mod secrets;
pub mod sns;
pub mod sqs;
pub mod token;

pub use keys::Keys;
