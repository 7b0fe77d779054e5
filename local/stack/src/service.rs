//! Integrations of the type `AWS`: API Gateway calls an action of a service, or a function, without a function in between.

use super::mapping::{IntegrationResponse, Templates};

/// An integration of the type `AWS`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ServiceIntegration {
    /// What is called.
    pub call: ServiceCall,
    /// Integration timeout in milliseconds, 50 to 29,000.
    pub timeout_ms: u64,
    /// `RequestParameters`: what the request has beside its body.
    pub parameters: Vec<RequestParameter>,
    /// `RequestTemplates`: the body.
    pub request: Templates,
    /// What becomes of a message that no template is for.
    pub passthrough: Passthrough,
    /// What may be answered.
    pub responses: Vec<IntegrationResponse>,
}

/// What an integration calls.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ServiceCall {
    /// The service.
    pub service: Service,
    /// `action/Name` or `path/…` of its address.
    pub target: ServiceTarget,
    /// What stands behind the action or the path, as in `action/SendMessage&DelaySeconds=5`.
    pub query: Vec<(String, String)>,
}

/// A service that runs locally.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Service {
    /// DynamoDB.
    DynamoDb,
    /// EventBridge.
    EventBridge,
    /// Lambda: a function gets what the template makes, and its answer is no proxy response.
    Lambda,
    /// Secrets Manager.
    SecretsManager,
    /// SQS.
    Sqs,
}

/// What is called of a service.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ServiceTarget {
    /// An operation by its name.
    Action(String),
    /// A path without its first slash, for example `123456789012/jobs` of SQS.
    Path(String),
}

/// A value that is set in the request to the service.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RequestParameter {
    /// Where it goes.
    pub place: ParameterPlace,
    /// What it is called there.
    pub name: String,
    /// What it is.
    pub value: ParameterValue,
}

/// `integration.request.header.X` and the like.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ParameterPlace {
    /// A header.
    Header,
    /// The query.
    Query,
    /// A variable `{x}` of the path.
    Path,
}

/// Where a value comes from (API Gateway Developer Guide, "Set up data mapping for WebSocket APIs").
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ParameterValue {
    /// `'text'`.
    Static(String),
    /// `route.request.header.X`, of the handshake only.
    Header(String),
    /// `route.request.querystring.X`, of the handshake only.
    Query(String),
    /// `route.request.body.PATH`, a JSON path.
    Body(String),
    /// `stageVariables.X`.
    StageVariable(String),
    /// `context.X`.
    Context(String),
}

/// `PassthroughBehavior`: what becomes of a message that no request template is for.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Passthrough {
    /// It is the request's body.
    #[default]
    WhenNoMatch,
    /// It is the request's body if there are no templates at all.
    WhenNoTemplates,
    /// It is refused.
    Never,
}
