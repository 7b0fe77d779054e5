//! What a template says, once its parameters, conditions and intrinsics are resolved.
//!
//! The template reader (`template`) makes a [`Stack`]; the gateway, the Lambda host and DynamoDB are set up from it.
//! Nothing here knows YAML, and nothing here does I/O.

pub mod filter;
mod mapping;
pub mod queue_attributes;
mod rule;
mod schedule;
pub mod schema;
mod secret;
mod service;
mod topic;

use std::path::PathBuf;

use indexmap::IndexMap;
use serde::{Deserialize, Serialize};

pub use mapping::{IntegrationResponse, MappingTemplate, Mock, Templates};
pub use rule::{DEFAULT_BUS, Destination, EventBus, Input, Rule, RuleTarget};
pub use schedule::{Cron, Schedule};
pub use secret::{GeneratedSecret, Secret, SecretTemplate, SecretValue};
pub use service::{
    ParameterPlace, ParameterValue, Passthrough, RequestParameter, Service, ServiceCall, ServiceIntegration,
    ServiceTarget,
};
pub use topic::{FilterPolicy, FilterScope, Subscriber, Subscription, Topic};

/// Everything of a template, and of those that it nests, that runs locally. Keys of the maps are logical ids; those of a
/// nested stack are paths, such as `Tidings/NotifierFunction`.
#[derive(Debug, Clone, Default)]
pub struct Stack {
    /// WebSocket APIs.
    pub apis: IndexMap<String, WebSocketApi>,
    /// HTTP APIs. REST APIs are not emulated.
    pub http_apis: IndexMap<String, HttpApi>,
    /// Lambda functions.
    pub functions: IndexMap<String, Function>,
    /// DynamoDB tables.
    pub tables: IndexMap<String, Table>,
    /// SQS queues.
    pub queues: IndexMap<String, Queue>,
    /// Secrets of Secrets Manager.
    pub secrets: IndexMap<String, Secret>,
    /// What invokes functions by itself; the keys are the logical ids of the event source mappings.
    pub event_sources: IndexMap<String, EventSource>,
    /// Buses of EventBridge, beside the account's own.
    pub event_buses: IndexMap<String, EventBus>,
    /// Rules of EventBridge.
    pub rules: IndexMap<String, Rule>,
    /// Topics of SNS.
    pub topics: IndexMap<String, Topic>,
    /// Who is subscribed to them; one that stands in its topic has the path of the topic, and its place in the list.
    pub subscriptions: IndexMap<String, Subscription>,
    /// Parameters whose values a template's `Metadata: tidings: dev: Parameters` decided, for local runs only; those of a
    /// nested stack by paths too.
    pub dev_parameters: IndexMap<String, String>,
    /// What was recognised but is not emulated; each is told to the user once, and blocks only what needs it.
    pub notes: Vec<Note>,
    /// The files that all of this was read from, the main template first.
    pub templates: Vec<PathBuf>,
}

/// A remark about a part of the template.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Note {
    /// The template's file, where it came from one.
    pub file: Option<PathBuf>,
    /// Line in the template, counted from 1.
    pub line: usize,
    /// One sentence.
    pub text: String,
}

impl Note {
    /// A remark about a template whose file is told later.
    pub fn new(line: usize, text: impl Into<String>) -> Self {
        Self { file: None, line, text: text.into() }
    }
}

/// One WebSocket API with its stages.
#[derive(Debug, Clone)]
pub struct WebSocketApi {
    /// What `!Ref` of the API resolves to: ten lower-case letters and digits, derived from the logical id.
    pub api_id: String,
    /// For example `$request.body.action`.
    pub route_selection_expression: String,
    /// Stage names; the first is the one in the `ready` line.
    pub stages: Vec<Stage>,
    /// Routes by route key (`$connect`, `$disconnect`, `$default` or a custom key).
    pub routes: IndexMap<String, Route>,
}

/// A stage of an API.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Stage {
    /// The path segment clients connect to.
    pub name: String,
    /// Stage variables.
    pub variables: IndexMap<String, String>,
    /// `DefaultRouteSettings`: the limit of each route that has none of its own, where the stage sets one.
    pub default_limit: Option<Limit>,
    /// `RouteSettings`: limits by route key.
    pub limits: IndexMap<String, Limit>,
}

/// How many requests a route of a stage takes: a token bucket.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Limit {
    /// `ThrottlingRateLimit`: requests per second.
    pub rate: f64,
    /// `ThrottlingBurstLimit`: requests at once after a rest.
    pub burst: u32,
}

/// A route and what runs behind it.
#[derive(Debug, Clone)]
pub struct Route {
    /// What handles the route.
    pub integration: Integration,
    /// Two-way: a `RouteResponse` for `$default` exists, so the integration's body goes back to the client.
    pub returns_response: bool,
    /// Who may connect; only on `$connect`.
    pub authorization: ConnectAuthorization,
    /// What messages must look like, where the route says so.
    pub validation: Option<Validation>,
}

/// Request models: a message whose model it does not match never reaches the integration.
#[derive(Debug, Clone, PartialEq)]
pub struct Validation {
    /// `ModelSelectionExpression`, for example `$request.body.kind`; it gives a key of `models`.
    pub selection: String,
    /// JSON schemas (draft 4) by key; `$default` is for messages whose key is not among them.
    pub models: IndexMap<String, serde_json::Value>,
}

/// What a route invokes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Integration {
    /// `AWS_PROXY` to a function of the stack.
    Lambda {
        /// The function's logical id.
        function: String,
        /// Integration timeout in milliseconds, 50 to 29,000.
        timeout_ms: u64,
    },
    /// `MOCK`: answers without invoking anything.
    Mock(Mock),
    /// `AWS`: calls a service, or a function that gets what a template makes.
    Service(ServiceIntegration),
    /// Something that is not emulated: whatever needs it fails as it does when Lambda refuses an invocation.
    Unsupported {
        /// One clause for the log.
        reason: String,
    },
}

/// One HTTP API with its stages.
#[derive(Debug, Clone)]
pub struct HttpApi {
    /// What `!Ref` of the API resolves to.
    pub api_id: String,
    /// Its stages; `$default` is the one without a name in the path.
    pub stages: Vec<Stage>,
    /// Its routes.
    pub routes: Vec<HttpRoute>,
}

/// A route of an HTTP API and what runs behind it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HttpRoute {
    /// `$default`, or a method and a path such as `GET /pets/{id}`, `ANY /{proxy+}`.
    pub key: String,
    /// What it invokes.
    pub integration: HttpIntegration,
    /// Who may call it.
    pub authorization: Authorization,
}

/// What a route of an HTTP API invokes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum HttpIntegration {
    /// `AWS_PROXY` to a function of the stack, in payload format 2.0.
    Lambda {
        /// The function's logical id.
        function: String,
        /// Integration timeout in milliseconds, 50 to 30,000.
        timeout_ms: u64,
    },
    /// Something that is not emulated: its requests fail.
    Unsupported {
        /// One clause for the log.
        reason: String,
    },
}

/// Who may call a route of an HTTP API.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Authorization {
    /// Anybody.
    None,
    /// Whoever signs and is allowed to.
    Iam,
    /// Whoever has a token.
    Jwt(JwtAuthorizer),
}

/// What a token must say.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct JwtAuthorizer {
    /// The claim `iss`.
    pub issuer: String,
    /// One of these must be the claim `aud`, or be in it; `client_id` counts where there is no `aud`.
    pub audience: Vec<String>,
    /// Where the token is: `$request.header.X` or `$request.querystring.X`.
    pub identity_sources: Vec<String>,
    /// One of these must be in the claim `scope` or `scp`, where there are any.
    pub scopes: Vec<String>,
}

/// Who may connect to a WebSocket API.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub enum ConnectAuthorization {
    /// Anybody.
    #[default]
    None,
    /// `AWS_IAM`: whoever signs and is allowed to.
    Iam,
    /// `CUSTOM`: whoever the function lets in.
    Custom(Authorizer),
}

/// A Lambda REQUEST authorizer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Authorizer {
    /// Logical id of the function.
    pub function: String,
    /// `route.request.header.X`, `route.request.querystring.X`, `stageVariables.X` or `context.X`; all must be present.
    pub identity_sources: Vec<String>,
}

/// The text of a program.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Code(pub String);

/// A Lambda function.
#[derive(Debug, Clone)]
pub struct Function {
    /// What `!Ref` resolves to: `FunctionName` if given, else what CloudFormation would make, `<stack>-<LogicalId>-<random>`.
    pub name: String,
    /// The folder of `CodeUri`, made absolute from the template's folder.
    pub code: Option<PathBuf>,
    /// Code that stands in the template (`InlineCode`, `ZipFile`).
    pub inline: Option<Code>,
    /// The folders of its layers that are in the template, in the template's order.
    pub layers: Vec<PathBuf>,
    /// For example `provided.al2023`.
    pub runtime: Option<String>,
    /// `bootstrap` for Rust.
    pub handler: Option<String>,
    /// `Metadata: BuildMethod`, for example `rust-cargolambda`.
    pub build_method: Option<String>,
    /// `Metadata: BuildProperties: Binary`: the name of the Cargo binary where it is not the package's only one.
    pub binary: Option<String>,
    /// Environment variables, resolved.
    pub environment: IndexMap<String, String>,
    /// Seconds, 1 to 900; Lambda's default is 3.
    pub timeout_seconds: u64,
    /// MB; Lambda's default is 128.
    pub memory_mb: u64,
    /// `LoggingConfig: LogFormat: JSON`.
    pub json_logs: bool,
    /// Most environments at once (`ReservedConcurrentExecutions`), if limited.
    pub reserved_concurrency: Option<usize>,
    /// What becomes of `Event` invocations that fail.
    pub asynchronous: Asynchronous,
    /// The template's file, where it came from one.
    pub template: Option<PathBuf>,
    /// Line of the resource in the template.
    pub line: usize,
}

impl Function {
    /// A Rust function with Lambda's defaults, whose code is in this folder.
    #[must_use]
    pub fn new(name: impl Into<String>, code: Option<PathBuf>) -> Self {
        Self {
            name: name.into(),
            code,
            inline: None,
            layers: Vec::new(),
            runtime: Some("provided.al2023".to_owned()),
            handler: Some("bootstrap".to_owned()),
            build_method: None,
            binary: None,
            environment: IndexMap::new(),
            timeout_seconds: 3,
            memory_mb: 128,
            json_logs: false,
            reserved_concurrency: None,
            asynchronous: Asynchronous::default(),
            template: None,
            line: 1,
        }
    }
}

/// A DynamoDB table.
#[derive(Debug, Clone)]
pub struct Table {
    /// `TableName` if given, else what CloudFormation would make.
    pub name: String,
    /// The input of `CreateTable`, in DynamoDB's own JSON.
    pub create: serde_json::Value,
    /// The TTL attribute, where enabled.
    pub ttl_attribute: Option<String>,
}

/// An SQS queue.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Queue {
    /// `QueueName` if given, else what CloudFormation would make; it ends with `.fifo` where the queue is one.
    pub name: String,
    /// What `!GetAtt Queue.Arn` resolves to.
    pub arn: String,
    /// How it behaves.
    pub settings: QueueSettings,
}

/// How a queue behaves. [`QueueSettings::default`] gives the defaults of SQS. Times are in seconds.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct QueueSettings {
    /// Keep order within message groups, and drop duplicates.
    pub fifo: bool,
    /// Only FIFO: a message without a deduplication id has the hash of its body as one.
    pub content_based_deduplication: bool,
    /// Only FIFO: duplicates are looked for within a message group, not in the whole queue.
    pub deduplication_by_group: bool,
    /// How long a received message is hidden, 0 to 43,200.
    pub visibility_timeout: u64,
    /// How long a new message is hidden, 0 to 900.
    pub delay: u64,
    /// How long a message is kept, 60 to 1,209,600.
    pub retention: u64,
    /// How long a receive waits that does not say it itself, 0 to 20.
    pub receive_wait: u64,
    /// The largest message in bytes, 1,024 to 1,048,576.
    pub maximum_message_size: usize,
    /// Where messages go that are received too often.
    pub redrive: Option<Redrive>,
}

impl Default for QueueSettings {
    fn default() -> Self {
        Self {
            fifo: false,
            content_based_deduplication: false,
            deduplication_by_group: false,
            visibility_timeout: 30,
            delay: 0,
            retention: 4 * 24 * 60 * 60,
            receive_wait: 0,
            maximum_message_size: 1024 * 1024,
            redrive: None,
        }
    }
}

/// The redrive policy of a queue.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Redrive {
    /// The ARN of the dead-letter queue.
    pub dead_letter_queue: String,
    /// A message that was received so often goes there instead of being received once more.
    pub max_receive_count: u32,
}

/// An event source mapping: what Lambda reads for a function.
#[derive(Debug, Clone)]
pub struct EventSource {
    /// Logical id of the function.
    pub function: String,
    /// What is read.
    pub source: Source,
    /// Most records of one invocation.
    pub batch_size: usize,
    /// How long records may be gathered until a batch is full, in seconds; 0 takes what is there.
    pub batching_window: u64,
    /// `FunctionResponseTypes: [ReportBatchItemFailures]`: the function says which records have failed.
    pub reports_item_failures: bool,
    /// Patterns of which a record must match one; none lets every record through.
    pub filters: Vec<serde_json::Value>,
}

/// What an event source mapping reads.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Source {
    /// An SQS queue of the same template.
    Queue {
        /// The queue's name.
        name: String,
        /// The queue's ARN.
        arn: String,
        /// Most invocations at once, 2 to 1,000, if limited.
        maximum_concurrency: Option<usize>,
    },
    /// The stream of a DynamoDB table of the same template.
    Table {
        /// The table's name.
        name: String,
        /// The stream's ARN, as the template has it.
        arn: String,
        /// How it is read.
        options: StreamOptions,
    },
}

/// How a stream is read.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct StreamOptions {
    /// `StartingPosition: TRIM_HORIZON`: from the oldest record; else from the newest.
    pub from_the_beginning: bool,
    /// How often a failed batch is tried again; `None` until its records expire.
    pub maximum_retries: Option<u64>,
    /// Records older than this many seconds are not tried any more, 60 to 604,800.
    pub maximum_age: Option<u64>,
    /// A batch that fails is split in two before it is tried again.
    pub bisects: bool,
    /// The ARN of the queue that is told of batches which were given up.
    pub on_failure: Option<String>,
}

/// What becomes of a function's `Event` invocations. [`Asynchronous::default`] gives Lambda's defaults.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Asynchronous {
    /// How often an event is tried again after a failure, 0 to 2.
    pub maximum_retries: u32,
    /// Events older than this many seconds are not tried any more, 60 to 21,600.
    pub maximum_age: u64,
    /// The ARN of the queue that gets what failed for good.
    pub on_failure: Option<String>,
}

impl Default for Asynchronous {
    fn default() -> Self {
        Self { maximum_retries: 2, maximum_age: 6 * 60 * 60, on_failure: None }
    }
}
