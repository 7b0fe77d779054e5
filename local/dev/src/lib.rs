//! `tidings dev`: everything of a template, running on this machine.
//!
//! [`start`] composes the parts: template, DynamoDB, the functions' build and host, what invokes them, API Gateway, and
//! the Lambda Invoke API, SQS, Secrets Manager, EventBridge and console beside it on one port. [`Running::shutdown`] ends all of them.

mod console;
mod guard;
mod rebuild;
mod summary;

use std::collections::BTreeMap;
use std::io;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use axum::{Router, middleware};
use bytes::Bytes;
use indexmap::IndexMap;
use serde::Serialize;
use tokio::net::TcpListener;
use tokio::sync::mpsc::UnboundedReceiver;
use tokio::sync::watch;
use tokio::task::JoinHandle;

use tidings_local_gateway::{self as gateway, Gateway, HttpGateway};
use tidings_local_lambda::build::{self, BuildError, Plan};
use tidings_local_lambda::event_sources::EventSources;
use tidings_local_lambda::{
    ACCOUNT, Asynchronous, Endpoint, EventRules, Host, Invocation, InvokeError, Invoker, Logs, Names, RecordError,
    Recording, Services, StartError, api,
};
use tidings_local_observe::Observer;
use tidings_local_services::dynamodb::{self, DynamoDbError, Embedded, Home};
use tidings_local_services::events::{Events, Matched};
use tidings_local_services::json_api;
use tidings_local_services::net::{is_listening, reachable};
use tidings_local_services::secrets::Secrets;
use tidings_local_services::sqs::{Place, Sqs};
use tidings_local_stack::Stack;
use tidings_local_template::{self as template, Context, TemplateError};

/// The port of the embedded DynamoDB, which is also DynamoDB Local's.
const DYNAMODB_PORT: u16 = 8000;

/// Where `tidings dev` has the WebSocket API of this project's template, unless told otherwise.
pub const LISTEN_URL: &str = "ws://127.0.0.1:3030/dev";

/// Where `tidings dev` has the Lambda Invoke API, unless told otherwise.
pub const NOTIFY_ENDPOINT: &str = "http://127.0.0.1:3030";

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
    fn context<'a>(&'a self, sqs: &'a str) -> Context<'a> {
        Context { parameters: &self.parameters, sqs, functions_elsewhere: self.lambda_endpoint.is_some() }
    }
}

/// Why it does not start: one sentence each.
#[derive(Debug, thiserror::Error)]
pub enum DevError {
    /// The template cannot be used.
    #[error(transparent)]
    Template(#[from] TemplateError),
    /// Something else has the port.
    #[error("port {port} of {host} is in use: stop what uses it, or choose another with {option} (0 picks a free one)")]
    PortInUse {
        /// The host.
        host: String,
        /// The port.
        port: u16,
        /// The option that chooses it.
        option: &'static str,
    },
    /// The address cannot be listened on.
    #[error("cannot listen on {host}:{port}; see --host and {option}")]
    Listen {
        /// The host.
        host: String,
        /// The port.
        port: u16,
        /// The option that chooses it.
        option: &'static str,
        /// What the system said.
        source: io::Error,
    },
    /// There is no DynamoDB, or a table is missing.
    #[error(transparent)]
    DynamoDb(#[from] DynamoDbError),
    /// The functions cannot be built.
    #[error(transparent)]
    Build(#[from] BuildError),
    /// A debugger is to be attached to a function that is not there.
    #[error("--inspect names the function {function}, which the template does not have; it has {known}")]
    Inspect {
        /// The name that was given.
        function: String,
        /// The labels of those that are there.
        known: String,
    },
    /// A function does not start.
    #[error(transparent)]
    Start(#[from] StartError),
    /// Events cannot be recorded where they should be.
    #[error(transparent)]
    Record(#[from] RecordError),
}

/// Where everything is, as the `ready` line says it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Addresses {
    /// The first stage of the first WebSocket API, for clients.
    pub websocket: String,
    /// All stages of all WebSocket APIs by logical id and name (`Chat/dev`), where there are several.
    #[serde(skip_serializing_if = "IndexMap::is_empty")]
    pub websockets: IndexMap<String, String>,
    /// The same, for the `@connections` API.
    pub management: String,
    /// The Lambda Invoke API.
    pub lambda: String,
    /// DynamoDB.
    pub dynamodb: String,
    /// SQS.
    pub sqs: String,
    /// The first HTTP API, where the template has one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub api: Option<String>,
    /// All HTTP APIs by logical id, and their further stages (`Rest/beta`), where there are several.
    #[serde(skip_serializing_if = "IndexMap::is_empty")]
    pub apis: IndexMap<String, String>,
    /// The page for people.
    pub console: String,
}

/// A running stack. Call [`shutdown`](Self::shutdown) to end it; what is merely dropped may leave processes for a moment.
#[derive(Debug)]
pub struct Running {
    /// Where everything is.
    pub addresses: Addresses,
    gateway: Gateway,
    observer: Observer,
    stack: Stack,
    invoker: Invoker,
    secrets: Secrets,
    dynamodb: Option<Embedded>,
    rebuild: Option<JoinHandle<()>>,
    sqs: Sqs,
    event_sources: EventSources,
    events: Events,
    event_rules: EventRules,
    asynchronous: Arc<Asynchronous>,
    servers: Vec<JoinHandle<()>>,
    stop: watch::Sender<bool>,
}

impl Running {
    /// The object behind `ready `.
    #[must_use]
    pub fn ready_json(&self) -> String {
        // Strings always have a JSON form.
        serde_json::to_string(&self.addresses).unwrap_or_default()
    }

    /// What the template says.
    #[must_use]
    pub fn stack(&self) -> &Stack {
        &self.stack
    }

    /// The WebSocket APIs with their open connections.
    #[must_use]
    pub fn gateway(&self) -> &Gateway {
        &self.gateway
    }

    /// The queues.
    #[must_use]
    pub fn sqs(&self) -> &Sqs {
        &self.sqs
    }

    /// The event buses, with their rules.
    #[must_use]
    pub fn events(&self) -> &Events {
        &self.events
    }

    /// The secrets.
    #[must_use]
    pub fn secrets(&self) -> &Secrets {
        &self.secrets
    }

    /// What has happened.
    #[must_use]
    pub fn observer(&self) -> &Observer {
        &self.observer
    }

    /// Invokes a function, by any of its names, and waits for its answer.
    ///
    /// # Errors
    /// When there is no such function, or it cannot be reached; one that fails is an answer.
    pub async fn invoke(&self, function: &str, payload: impl Into<Bytes>) -> Result<Invocation, InvokeError> {
        let names = Names::new(&self.stack);
        self.invoker.invoke(names.resolve(function).unwrap_or(function), payload.into()).await
    }

    /// Closes all connections, lets their `$disconnect` run, and ends everything that was started.
    pub async fn shutdown(self) {
        if let Some(rebuild) = self.rebuild {
            rebuild.abort();
        }
        self.event_sources.stop().await;
        self.gateway.close_all().await;
        self.event_rules.stop().await;
        self.asynchronous.stop().await;
        self.sqs.stop();
        // Pages that follow would keep the server from stopping.
        self.observer.end();
        self.stop.send_replace(true);
        for server in self.servers {
            // A task that was cut off has nothing left to stop.
            let _ = server.await;
        }
        if let Some(host) = self.invoker.host() {
            host.shutdown().await;
        }
        if let Some(dynamodb) = self.dynamodb {
            dynamodb.shutdown().await;
        }
    }
}

/// Starts everything and returns once it is up.
///
/// # Errors
/// When a part cannot start; what was started before it is ended again.
pub async fn start(options: DevOptions) -> Result<Running, DevError> {
    // The port comes first, because the template's queue URLs have it.
    let listener = listen(&options.host, options.port, "--port").await?;
    let root = root(&listener);
    let stack = template::load(&options.template, options.context(&root))?;
    let logs = Arc::clone(&options.logs);
    summary::announce(&options, &stack);
    let http_listeners = listen_for_apis(&options, &stack).await?;
    let (dynamodb, dynamodb_url) = start_dynamodb(&options).await?;
    let addresses = addresses(&stack, root, dynamodb_url, &http_listeners);
    let services = services(&options, &addresses).await?;
    logs.say(&summary::tables(&stack, &addresses.dynamodb));
    dynamodb::create_tables(&addresses.dynamodb, &services.region, &services.keys, stack.tables.values()).await?;
    let (functions, rebuild) = start_functions(&options, &stack, &services).await?;
    let observer = Observer::new();
    let invoker = recorded(&options, &stack, functions)?.watched(&observer);
    let sqs = Sqs::new(place(&options, &addresses, &services), stack.queues.values());
    let secrets = Secrets::new(stack.secrets.values());
    let asynchronous = Arc::new(Asynchronous::new(&stack, invoker.clone(), sqs.clone(), Arc::clone(&logs)));
    let (events, matched) = event_buses(&options, &stack, &services);

    let settings = gateway_settings(&options, &services, &observer);
    let gateway = Gateway::new(stack.apis.values().cloned(), invoker.clone(), settings.clone());
    let router = gateway
        .router()
        .merge(api::router(invoker.clone(), Names::new(&stack), Arc::clone(&asynchronous)))
        .merge(json_api::router(&sqs, &secrets, &events))
        .merge(console::router(&console::Parts {
            stack: &stack,
            addresses: &addresses,
            services: &services,
            gateway: &gateway,
            invoker: &invoker,
            observer: &observer,
            notifier: &options.notifier,
            host: &options.host,
            has_own_dynamodb: dynamodb.is_some(),
        }))
        .layer(middleware::from_fn_with_state(Arc::from(options.host.as_str()), guard::programs));
    let stop = watch::Sender::new(false);
    let mut servers = vec![serve(listener, router, &stop)];
    for (api, listener) in stack.http_apis.values().zip(http_listeners) {
        let router = HttpGateway::new(api.clone(), invoker.clone(), settings.clone()).router();
        servers.push(serve(listener, router, &stop));
    }
    let event_sources = EventSources::start(&stack, &services, &invoker, &sqs, &logs).await;
    let event_rules = EventRules::start(&stack, &events, matched, &asynchronous, &sqs, &observer, &logs);
    summary::up(&options, &stack, &addresses);
    Ok(Running {
        addresses,
        gateway,
        observer,
        stack,
        invoker,
        secrets,
        dynamodb,
        rebuild,
        sqs,
        event_sources,
        events,
        event_rules,
        asynchronous,
        servers,
        stop,
    })
}

fn serve(listener: TcpListener, router: Router, stop: &watch::Sender<bool>) -> JoinHandle<()> {
    let mut stopped = stop.subscribe();
    tokio::spawn(gateway::serve(listener, router, async move {
        // A dropped sender stops the server as well.
        let _ = stopped.wait_for(|stopped| *stopped).await;
    }))
}

/// One listener for each HTTP API: in AWS each has a host of its own, and its paths are all its own.
async fn listen_for_apis(options: &DevOptions, stack: &Stack) -> Result<Vec<TcpListener>, DevError> {
    let first = options.api_port.unwrap_or(if options.port == 0 { 0 } else { options.port.saturating_add(1) });
    let mut listeners = Vec::new();
    for index in 0..stack.http_apis.len() {
        let offset = u16::try_from(index).unwrap_or(u16::MAX);
        let port = if first == 0 { 0 } else { first.saturating_add(offset) };
        listeners.push(listen(&options.host, port, "--api-port").await?);
    }
    Ok(listeners)
}

/// The functions, with their events written to files if that is asked for.
fn recorded(options: &DevOptions, stack: &Stack, functions: Invoker) -> Result<Invoker, RecordError> {
    match &options.record {
        Some(folder) => Ok(Invoker::Recording(Recording::new(functions, Names::new(stack), folder)?)),
        None => Ok(functions),
    }
}

fn gateway_settings(options: &DevOptions, services: &Services, observer: &Observer) -> gateway::Settings {
    gateway::Settings {
        region: services.region.clone(),
        idle_timeout: options.idle_timeout,
        connection_lifetime: options.connection_lifetime,
        strict: options.strict,
        shuffle: options.shuffle,
        keys: gateway::SigningKeys {
            access_key_id: services.keys.access_key_id.clone(),
            secret_access_key: services.keys.secret_access_key.clone(),
        },
        observer: observer.clone(),
        ..gateway::Settings::default()
    }
}

async fn listen(host: &str, port: u16, option: &'static str) -> Result<TcpListener, DevError> {
    TcpListener::bind((host, port)).await.map_err(|source| {
        let host = host.to_owned();
        match source.kind() {
            io::ErrorKind::AddrInUse => DevError::PortInUse { host, port, option },
            _ => DevError::Listen { host, port, option, source },
        }
    })
}

async fn start_dynamodb(options: &DevOptions) -> Result<(Option<Embedded>, String), DevError> {
    if let Some(endpoint) = &options.dynamodb_endpoint {
        return Ok((None, endpoint.trim_end_matches('/').to_owned()));
    }
    let port = options.dynamodb_port.unwrap_or(if options.port == 0 { 0 } else { DYNAMODB_PORT });
    let listener = listen(&options.host, port, "--dynamodb-port").await?;
    let embedded = Embedded::serve(listener, Home { region: region(options), account: account(options).to_owned() })?;
    let url = embedded.url().to_owned();
    Ok((Some(embedded), url))
}

/// What the addresses of everything on the main port begin with.
fn root(listener: &TcpListener) -> String {
    // A bound listener has an address; the fallback only keeps a failing system call from ending the program.
    let address = listener.local_addr().map_or(SocketAddr::from(([127, 0, 0, 1], 0)), reachable);
    format!("http://{address}")
}

fn addresses(stack: &Stack, root: String, dynamodb: String, http_listeners: &[TcpListener]) -> Addresses {
    let apis = stack.http_apis.iter().zip(http_listeners).flat_map(|((id, api), listener)| {
        let first = api.stages.iter().find(|stage| stage.name == "$default").or(api.stages.first());
        let first = first.map_or("$default", |stage| stage.name.as_str());
        let others = api.stages.iter().map(|stage| stage.name.as_str()).filter(move |name| *name != first);
        let root = self::root(listener);
        let address = move |name: &str| if name == "$default" { root.clone() } else { format!("{root}/{name}") };
        let others: Vec<_> = others.map(|name| (format!("{id}/{name}"), address(name))).collect();
        [(id.clone(), address(first))].into_iter().chain(others)
    });
    let apis: IndexMap<_, _> = apis.collect();
    let stage = stack.apis.values().find_map(|api| api.stages.first()).map_or("", |stage| stage.name.as_str());
    let websockets = stage_addresses(stack, &root);
    Addresses {
        websocket: format!("{}/{stage}", root.replacen("http", "ws", 1)),
        websockets: if websockets.len() > 1 { websockets } else { IndexMap::new() },
        management: format!("{root}/{stage}"),
        lambda: root.clone(),
        dynamodb,
        console: format!("{root}/"),
        sqs: root,
        api: apis.values().next().cloned(),
        apis: if apis.len() > 1 { apis } else { IndexMap::new() },
    }
}

/// Where each stage of each WebSocket API is: the first of a name has the short address, as the gateway serves it.
fn stage_addresses(stack: &Stack, root: &str) -> IndexMap<String, String> {
    let root = root.replacen("http", "ws", 1);
    let mut taken: Vec<&str> = Vec::new();
    let mut addresses = IndexMap::new();
    for (id, api) in &stack.apis {
        for stage in &api.stages {
            let is_first = !taken.contains(&stage.name.as_str());
            taken.push(&stage.name);
            let path = if is_first { stage.name.clone() } else { format!("{}/{}", api.api_id, stage.name) };
            addresses.insert(format!("{id}/{}", stage.name), format!("{root}/{path}"));
        }
    }
    addresses
}

/// Where queues say that they are.
fn place(options: &DevOptions, addresses: &Addresses, services: &Services) -> Place {
    let account = account(options).to_owned();
    Place { endpoint: addresses.sqs.clone(), region: services.region.clone(), account }
}

fn region(options: &DevOptions) -> String {
    options.parameters.get("AWS::Region").cloned().unwrap_or_else(|| Services::default().region)
}

fn account(options: &DevOptions) -> &str {
    options.parameters.get("AWS::AccountId").map_or(ACCOUNT, String::as_str)
}

/// The buses of the template, and what their rules match.
fn event_buses(options: &DevOptions, stack: &Stack, services: &Services) -> (Events, UnboundedReceiver<Matched>) {
    Events::new(&services.region, account(options), stack.event_buses.values(), stack.rules.values())
}

async fn services(options: &DevOptions, addresses: &Addresses) -> Result<Services, DevError> {
    Ok(Services {
        region: region(options),
        dynamodb: Some(addresses.dynamodb.clone()),
        sqs: Some(addresses.sqs.clone()),
        secrets_manager: Some(addresses.sqs.clone()),
        eventbridge: Some(addresses.sqs.clone()),
        management: Some(addresses.management.clone()),
        keys: dynamodb::keys(&addresses.dynamodb).await?,
    })
}

/// The ports of the functions that a debugger may be attached to, by logical id.
fn inspected(options: &DevOptions, stack: &Stack) -> Result<BTreeMap<String, u16>, DevError> {
    let names = Names::new(stack);
    let known = |name: &str| names.resolve(name).map(str::to_owned);
    let ports = options.inspect.iter().map(|(name, port)| {
        let id = known(name).ok_or_else(|| DevError::Inspect {
            function: name.clone(),
            known: stack.functions.keys().map(|id| names.label(id)).collect::<Vec<_>>().join(", "),
        })?;
        Ok((id, *port))
    });
    ports.collect()
}

/// Builds the functions and starts a first process of each, or leaves all of it to another Invoke API.
async fn start_functions(
    options: &DevOptions,
    stack: &Stack,
    services: &Services,
) -> Result<(Invoker, Option<JoinHandle<()>>), DevError> {
    let logs = &options.logs;
    if let Some(endpoint) = &options.lambda_endpoint {
        if !is_listening(endpoint).await {
            logs.warn(&format!("nothing listens at --lambda-endpoint {endpoint} yet, so no function can run"));
        }
        return Ok((Invoker::Endpoint(Endpoint::new(endpoint).for_stack(stack).into()), None));
    }
    let plan = Plan::inspecting(stack, &inspected(options, stack)?).await?;
    plan.warnings().iter().for_each(|warning| logs.warn(warning));
    let programs = if options.no_build {
        plan.existing(options.release)?
    } else {
        logs.say(&summary::building(&plan, options.release));
        plan.build(build::Options { release: options.release, quiet: false }, logs).await?
    };
    let host = Host::new(stack, services, logs, &plan.missing);
    for (id, reason) in &plan.missing {
        logs.warn(&format!("function {} cannot run: {reason}", host.label(id)));
    }
    host.install(programs).await;
    host.install(plan.scripts()).await;
    host.warm().await?;
    let rebuild = (!options.no_build && plan.functions() + plan.script_count() > 0)
        .then(|| rebuild::on_change(plan, options, stack, Arc::clone(&host)));
    Ok((Invoker::Processes(host), rebuild))
}
