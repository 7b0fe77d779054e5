//! The whole thing: the gateway, the functions' own binaries and DynamoDB, from this repository's template.

use std::path::{Path, PathBuf};

use aws_sdk_lambda::config::{BehaviorVersion, Credentials, Region};
use aws_sdk_lambda::primitives::Blob;
use serde_json::Value;
use tidings::registry::Registry;
use tidings_local::dev::{self, DevOptions, Running};

use crate::engine;

/// A stack that runs until it is stopped.
#[derive(Debug)]
pub struct Stack {
    running: Running,
}

/// What a function answered.
#[derive(Debug, Clone, PartialEq)]
pub struct Answer {
    /// What it returned, or its error.
    pub payload: Value,
    /// Whether that is an error.
    pub failed: bool,
}

/// The root of the repository.
#[must_use]
pub fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("the package has a parent folder").to_owned()
}

impl Stack {
    /// Starts the stack on random ports, with these parameters of the template.
    ///
    /// # Panics
    /// When it does not start.
    pub async fn start(parameters: &[(&str, &str)]) -> Self {
        Self::of(&root().join("template.yaml"), parameters).await
    }

    /// Starts the stack of another template.
    ///
    /// # Panics
    /// When it does not start.
    pub async fn of(template: &Path, parameters: &[(&str, &str)]) -> Self {
        let mut options = DevOptions::new(template);
        options.port = 0;
        options.parameters = parameters.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
        Self { running: dev::start(options).await.unwrap() }
    }

    /// Where clients connect.
    #[must_use]
    pub fn url(&self) -> &str {
        &self.running.addresses.websocket
    }

    /// The page for people.
    #[must_use]
    pub fn console(&self) -> &str {
        &self.running.addresses.console
    }

    /// The registry in the stack's table.
    #[must_use]
    pub fn registry(&self) -> Registry {
        let client = engine::client(&self.running.addresses.dynamodb, engine::http());
        Registry::new(client, "ConnectionsTable")
    }

    /// Every row of the stack's table.
    pub async fn rows(&self) -> Vec<engine::Row> {
        engine::rows(&engine::client(&self.running.addresses.dynamodb, engine::http()), "ConnectionsTable").await
    }

    /// Invokes a function with the AWS SDK.
    ///
    /// # Panics
    /// When it cannot be invoked; a function that fails is an answer.
    pub async fn invoke(&self, function: &str, payload: &str) -> Answer {
        let config = aws_sdk_lambda::Config::builder()
            .behavior_version(BehaviorVersion::v2026_01_12())
            .region(Region::new("us-east-1"))
            .credentials_provider(Credentials::new("local", "local", None, None, "tests"))
            .endpoint_url(&self.running.addresses.lambda)
            .http_client(engine::http());
        let client = aws_sdk_lambda::Client::from_conf(config.build());
        let answer = client.invoke().function_name(function).payload(Blob::new(payload)).send().await.unwrap();
        let payload = answer.payload.unwrap().into_inner();
        Answer { payload: serde_json::from_slice(&payload).unwrap(), failed: answer.function_error.is_some() }
    }

    /// Stops everything.
    pub async fn stop(self) {
        self.running.shutdown().await;
    }
}
