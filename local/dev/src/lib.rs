//! `tidings dev`: everything of a template, running on this machine.
//!
//! [`start`] composes the parts: template, DynamoDB, the functions' build and host, what invokes them, API Gateway, and
//! the Lambda Invoke API, SQS, SNS, Secrets Manager, EventBridge and console beside it on one port. [`Running::shutdown`] ends all of them.

mod addresses;
mod console;
mod guard;
mod kept;
mod options;
mod rebuild;
mod running;
mod secured;
mod summary;
mod web_pubsub;

use std::collections::BTreeMap;
use std::io;
use std::path::Path;
use std::sync::Arc;

use axum::{Router, middleware};
use tokio::net::TcpListener;
use tokio::sync::mpsc::UnboundedReceiver;
use tokio::sync::watch;
use tokio::task::JoinHandle;

use tidings_local_gateway::{self as gateway, Domains, Gateway, HttpGateway};
use tidings_local_lambda::build::{self, BuildError, Plan};
use tidings_local_lambda::event_sources::EventSources;
use tidings_local_lambda::{
    Asynchronous, Destinations, Endpoint, EventRules, Host, Invoker, Names, RecordError, Recording, Services,
    StartError, Topics, Trusted, api,
};
use tidings_local_observe::Observer;
use tidings_local_services::data::{DataError, StoreError};
use tidings_local_services::dynamodb::{self, DynamoDbError, Embedded, Home};
use tidings_local_services::events::{Events, Matched};
use tidings_local_services::json_api;
use tidings_local_services::net::is_listening;
use tidings_local_services::sns::Sns;
use tidings_local_services::sqs::Place;
use tidings_local_stack::Stack;
use tidings_local_template::{self as template, TemplateError};
use tidings_local_tls::{AuthorityError, Tls, Trust};

use addresses::{addresses, root};
use kept::Kept;
use secured::Secured;

pub use addresses::{Addresses, LISTEN_URL, NOTIFY_ENDPOINT};
pub use options::DevOptions;
pub use running::Running;

/// The port of the embedded DynamoDB, which is also DynamoDB Local's.
const DYNAMODB_PORT: u16 = 8000;

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
    /// The data folder cannot be opened.
    #[error(transparent)]
    Data(#[from] DataError),
    /// What the data folder has cannot be read.
    #[error("what is kept in the data folder cannot be used: {0}; move the folder away, or choose another with --data")]
    Kept(#[from] StoreError),
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
    /// There is no authority for TLS, not even one for this run.
    #[error(transparent)]
    Authority(#[from] AuthorityError),
    /// What functions trust cannot be written.
    #[error("the certificates that functions trust cannot be written to the temporary folder")]
    Trust(#[source] io::Error),
}

/// Starts everything and returns once it is up.
///
/// # Errors
/// When a part cannot start; what was started before it is ended again.
pub async fn start(options: DevOptions) -> Result<Running, DevError> {
    // The port comes first, because the template's queue URLs have it.
    let listener = listen(&options.host, options.port, "--port").await?;
    let kept = Kept::open(options.data.as_deref())?;
    let root = root(&listener);
    let stack = template::load(&options.template, options.context(&root))?;
    let logs = Arc::clone(&options.logs);
    summary::announce(&options, &stack);
    let http_listeners = listen_for_apis(&options, &stack).await?;
    let (dynamodb, dynamodb_url) = start_dynamodb(&options, &kept).await?;
    let Secured { tls, trust, certificate } = Secured::new(&options)?;
    let addresses = addresses(&stack, root, dynamodb_url, &http_listeners, &certificate);
    let services = services(&options, &stack, &addresses, &trust).await?;
    logs.say(&summary::tables(&stack, &addresses.dynamodb));
    dynamodb::create_tables(&addresses.dynamodb, &services.region, &services.keys, stack.tables.values()).await?;
    let (functions, rebuild) = start_functions(&options, &stack, &services).await?;
    let observer = Observer::new();
    let invoker = recorded(&options, &stack, functions)?.watched(&observer);
    let sqs = kept.queues(place(&options, &addresses, &services), &stack)?;
    let secrets = kept.secrets(&stack)?;
    let asynchronous = Arc::new(Asynchronous::new(&stack, invoker.clone(), sqs.clone(), Arc::clone(&logs)));
    let (events, matched) = event_buses(&options, &stack, &services);
    let (sns, published) =
        Sns::new(&services.region, options.account(), stack.topics.values(), stack.subscriptions.values());

    let settings = gateway_settings(&options, &services, &addresses, &observer);
    let gateway = Gateway::new(stack.apis.values().cloned(), invoker.clone(), settings.clone());
    let http_apis =
        stack.http_apis.values().map(|api| HttpGateway::new(api.clone(), invoker.clone(), settings.clone()));
    let http_apis: Vec<_> = http_apis.collect();
    let domains = Domains::new(&stack.domains, &gateway, &http_apis);
    let router = gateway
        .router()
        .merge(web_pubsub::router(&stack, &gateway, &http_apis))
        .merge(api::router(invoker.clone(), Names::new(&stack), Arc::clone(&asynchronous)))
        .merge(json_api::router(&sqs, &secrets, &events, &sns))
        .merge(console::router(&console::Parts {
            stack: &stack,
            addresses: &addresses,
            services: &services,
            gateway: &gateway,
            invoker: &invoker,
            observer: &observer,
            events: &events,
            sns: &sns,
            notifier: &options.notifier,
            host: &options.host,
            has_own_dynamodb: dynamodb.is_some(),
        }));
    let router =
        domains.before(router).layer(middleware::from_fn_with_state(Arc::from(options.host.as_str()), guard::programs));
    let stop = watch::Sender::new(false);
    let mut servers = vec![serve(listener, &tls, router, &stop)];
    for (api, listener) in http_apis.iter().zip(http_listeners) {
        servers.push(serve(listener, &tls, domains.before(api.router()), &stop));
    }
    let event_sources = EventSources::start(&stack, &services, &invoker, &sqs, &logs, kept.store()).await;
    let topics = Topics::start(&stack, published, &asynchronous, &sqs, &observer, &logs);
    let destinations = Destinations { functions: Arc::clone(&asynchronous), sqs: sqs.clone(), sns: sns.clone() };
    let event_rules = EventRules::start(&stack, &events, matched, &destinations, &observer, &logs);
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
        sns,
        topics,
        asynchronous,
        servers,
        trust,
        stop,
        kept,
    })
}

fn serve(listener: TcpListener, tls: &Tls, router: Router, stop: &watch::Sender<bool>) -> JoinHandle<()> {
    let mut stopped = stop.subscribe();
    tokio::spawn(gateway::serve(listener, Some(tls.clone()), router, async move {
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

fn gateway_settings(
    options: &DevOptions,
    services: &Services,
    addresses: &Addresses,
    observer: &Observer,
) -> gateway::Settings {
    gateway::Settings {
        region: services.region.clone(),
        idle_timeout: options.idle_timeout,
        connection_lifetime: options.connection_lifetime,
        strict: options.strict,
        shuffle: options.shuffle,
        keys: gateway::SigningKeys {
            access_key_id: services.keys.access_key_id.clone(),
            secret_access_key: services.keys.secret_access_key.clone(),
            session_token: services.keys.session_token.clone(),
        },
        services: gateway::ServiceEndpoints { dynamodb: addresses.dynamodb.clone(), others: addresses.sqs.clone() },
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

async fn start_dynamodb(options: &DevOptions, kept: &Kept) -> Result<(Option<Embedded>, String), DevError> {
    if let Some(endpoint) = &options.dynamodb_endpoint {
        return Ok((None, endpoint.trim_end_matches('/').to_owned()));
    }
    let port = options.dynamodb_port.unwrap_or(if options.port == 0 { 0 } else { DYNAMODB_PORT });
    let listener = listen(&options.host, port, "--dynamodb-port").await?;
    let home = Home { region: options.region(), account: options.account().to_owned() };
    let embedded = Embedded::serve(listener, home, kept.dynamodb().as_deref())?;
    let url = embedded.url().to_owned();
    Ok((Some(embedded), url))
}

/// Where queues say that they are.
fn place(options: &DevOptions, addresses: &Addresses, services: &Services) -> Place {
    let account = options.account().to_owned();
    Place { endpoint: addresses.sqs.clone(), region: services.region.clone(), account }
}

/// The buses of the template, and what their rules match.
fn event_buses(options: &DevOptions, stack: &Stack, services: &Services) -> (Events, UnboundedReceiver<Matched>) {
    Events::new(&services.region, options.account(), stack.event_buses.values(), stack.rules.values())
}

async fn services(
    options: &DevOptions,
    stack: &Stack,
    addresses: &Addresses,
    trust: &Trust,
) -> Result<Services, DevError> {
    let path = |file: &Path| file.to_string_lossy().into_owned();
    Ok(Services {
        region: options.region(),
        dynamodb: Some(addresses.dynamodb.clone()),
        sqs: Some(addresses.sqs.clone()),
        secrets_manager: Some(addresses.sqs.clone()),
        sns: Some(addresses.sns.clone()),
        eventbridge: Some(addresses.eventbridge.clone()),
        management: Some(addresses.management.clone()),
        domains: stack.domains.iter().map(|domain| domain.name.clone()).collect(),
        trusted: Some(Trusted { authority: path(trust.authority()), bundle: path(trust.bundle()) }),
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
        let without_defaults = options.without_defaults.as_deref();
        plan.build(build::Options { release: options.release, quiet: false, without_defaults }, logs).await?
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
