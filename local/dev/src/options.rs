//! What to run, and how.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use tidings_local_gateway as gateway;
use tidings_local_lambda::{ACCOUNT, Logs, Services};
use tidings_local_template::Context;

/// What to run, and how. [`DevOptions::new`] gives the command's defaults.
#[derive(Debug, Clone)]
pub struct DevOptions {
    /// The SAM or CloudFormation template.
    pub template: PathBuf,
    /// Values of the template's parameters.
    pub parameters: BTreeMap<String, String>,
    /// Where to listen: an address or a name.
    pub host: String,
    /// The port of everything except DynamoDB and HTTP APIs; 0 picks one.
    pub port: u16,
    /// The port of the template's first HTTP API, and others follow; by default the one after `port`, or free ones where
    /// that is 0.
    pub api_port: Option<u16>,
    /// The port of the embedded DynamoDB; by default 8000, or a free one where `port` is 0.
    pub dynamodb_port: Option<u16>,
    /// A DynamoDB that runs elsewhere, instead of the embedded one.
    pub dynamodb_endpoint: Option<String>,
    /// A folder that keeps tables, queues and secrets between starts; otherwise they are in memory.
    pub data: Option<PathBuf>,
    /// A Lambda Invoke API that runs the functions, instead of processes of this machine.
    pub lambda_endpoint: Option<String>,
    /// A connection without data is closed after so long.
    pub idle_timeout: Duration,
    /// A connection is closed at this age.
    pub connection_lifetime: Duration,
    /// Refuse unsigned `@connections` calls.
    pub strict: bool,
    /// Let each frame of a client wait for 0 to 300 ms at random before its function is called, so that frames of a
    /// connection overtake one another; the same seed gives the same waits.
    pub shuffle: Option<u64>,
    /// Build the functions with the release profile.
    pub release: bool,
    /// Run what the target folder has, and watch nothing.
    pub no_build: bool,
    /// Functions of Node.js, by any of their names, that wait for a debugger at these ports of 127.0.0.1.
    pub inspect: BTreeMap<String, u16>,
    /// Write every event of a function to a file in this folder; see `docs/local.md`.
    pub record: Option<PathBuf>,
    /// The function that the console sends notifications to, by any of its names.
    pub notifier: String,
    /// Where log lines and remarks go.
    pub logs: Arc<Logs>,
}

impl DevOptions {
    /// The defaults of the command, for the template at this path.
    #[must_use]
    pub fn new(template: impl Into<PathBuf>) -> Self {
        let gateway = gateway::Settings::default();
        Self {
            template: template.into(),
            parameters: BTreeMap::new(),
            host: "127.0.0.1".to_owned(),
            port: 3030,
            api_port: None,
            dynamodb_port: None,
            dynamodb_endpoint: None,
            data: None,
            lambda_endpoint: None,
            idle_timeout: gateway.idle_timeout,
            connection_lifetime: gateway.connection_lifetime,
            strict: false,
            shuffle: None,
            release: false,
            no_build: false,
            inspect: BTreeMap::new(),
            record: None,
            notifier: "notifier".to_owned(),
            logs: Arc::new(Logs::stderr(false)),
        }
    }

    /// What the template's reader has to know; queues are at `sqs`.
    pub(crate) fn context<'a>(&'a self, sqs: &'a str) -> Context<'a> {
        Context { parameters: &self.parameters, sqs, functions_elsewhere: self.lambda_endpoint.is_some() }
    }

    /// The region that everything is in.
    pub(crate) fn region(&self) -> String {
        self.parameters.get("AWS::Region").cloned().unwrap_or_else(|| Services::default().region)
    }

    /// The number of the account that everything is in.
    pub(crate) fn account(&self) -> &str {
        self.parameters.get("AWS::AccountId").map_or(ACCOUNT, String::as_str)
    }
}
