//! What `tidings dev` tells while it starts and once it is up.

use tidings_local_lambda::Names;
use tidings_local_lambda::build::Plan;
use tidings_local_stack::{
    ApiMapping, ConnectAuthorization, Destination, Domain, Rule, RuleTarget, Source, Stack, Subscriber, Subscription,
    WebSocketApi,
};

use super::web_pubsub::{self, speaks};
use super::{Addresses, DevOptions};

/// Before anything slow happens: what is being run, and what the template says about it.
pub(super) fn announce(options: &DevOptions, stack: &Stack) {
    let (logs, template) = (&options.logs, options.template.display());
    logs.say(&format!("tidings {} runs {template}", env!("CARGO_PKG_VERSION")));
    for note in &stack.notes {
        let file = note.file.as_ref().unwrap_or(&options.template).display();
        logs.say(&format!("note: {file}:{}: {}", note.line, note.text));
    }
    if let Some(seed) = options.shuffle {
        logs.say(&format!(
            "frames are shuffled with seed {seed}: each waits for 0 to 300 ms before its function is called"
        ));
    }
    if !stack.dev_parameters.is_empty() {
        let parameters: Vec<_> = stack.dev_parameters.iter().map(|(name, value)| format!("{name}={value}")).collect();
        logs.say(&format!("parameters for local runs, from the template's Metadata: {}", parameters.join(", ")));
    }
}

pub(super) fn tables(stack: &Stack, dynamodb: &str) -> String {
    let names: Vec<_> = stack.tables.values().map(|table| table.name.as_str()).collect();
    match names.as_slice() {
        [] => format!("DynamoDB at {dynamodb}, without tables"),
        names => format!("DynamoDB at {dynamodb}, creating {}", names.join(", ")),
    }
}

pub(super) fn building(plan: &Plan, release: bool) -> String {
    let profile = if release { "release" } else { "quick" };
    match plan.functions() {
        0 if plan.script_count() > 0 => "no function needs a build".to_owned(),
        0 => "no function is a Cargo package, so there is nothing to build".to_owned(),
        1 => format!("building 1 function with cargo ({profile} profile); the first time takes a while"),
        count => format!("building {count} functions with cargo ({profile} profile); the first time takes a while"),
    }
}

/// What is served, and what to do next.
pub(super) fn up(options: &DevOptions, stack: &Stack, addresses: &Addresses) {
    let names = Names::new(stack);
    let lines = std::iter::once("up:".to_owned())
        .chain(services(options, stack, addresses, &names))
        .chain(protocols(stack, addresses))
        .chain(
            web_pubsub::connection_string(stack, &addresses.lambda)
                .map(|text| format!("              {text}  (the secret has the key)")),
        )
        .chain(clients(options, stack, addresses))
        .chain(secrets(options, stack, addresses))
        .chain(http_apis(options, stack, addresses))
        .chain(domains(stack, addresses))
        .chain(deliveries(stack, &names));
    for line in lines {
        options.logs.say(&line);
    }
    if let Some(folder) = &options.record {
        let folder = folder.display();
        options.logs.say(&format!("recording events in {folder}; tokens are masked, message bodies are not"));
    }
    warn_of_anonymous(options, stack);
    if names.resolve("notifier").is_some() {
        options.logs.say("next, in two more shells:");
        let has_tokens = stack.secrets.values().any(|secret| secret.name.ends_with("/tokens"));
        for command in next_commands(addresses, has_tokens) {
            options.logs.say(&format!("  {command}"));
        }
    }
    options.logs.say("Ctrl-C ends it");
}

/// Where each service is.
fn services(options: &DevOptions, stack: &Stack, addresses: &Addresses, names: &Names) -> [String; 9] {
    let unsigned = if options.strict { "" } else { "  (@connections; unsigned calls are accepted, see --strict)" };
    let engine = match (&options.dynamodb_endpoint, kept(options)) {
        (Some(_), _) => String::new(),
        (None, Some(kept)) => format!("  ({kept})"),
        (None, None) => "  (in memory, empty at every start)".to_owned(),
    };
    let listed = |names: Vec<&str>| if names.is_empty() { String::new() } else { format!("  ({})", names.join(", ")) };
    let functions = listed(stack.functions.keys().map(|id| names.label(id)).collect());
    let queues = listed(stack.queues.values().map(|queue| queue.name.as_str()).collect());
    let topics = listed(stack.topics.values().map(|topic| topic.name.as_str()).collect());
    [
        format!("  websocket   {}", addresses.websocket),
        format!("  management  {}{unsigned}", addresses.management),
        format!("  lambda      {}{functions}", addresses.lambda),
        format!("  dynamodb    {}{engine}", addresses.dynamodb),
        format!("  sqs         {}{queues}", addresses.sqs),
        format!("  sns         {}{topics}", addresses.sns),
        format!("  eventbridge {}", addresses.eventbridge),
        format!("  console     {}", addresses.console),
        format!("  tls         wss:// and https:// at the same ports, by {}", addresses.authority),
    ]
}

/// In which folder everything is kept, if it is.
fn kept(options: &DevOptions) -> Option<String> {
    options.data.as_ref().map(|folder| format!("kept in {}", folder.display()))
}

/// Where clients of other products connect.
fn protocols(stack: &Stack, addresses: &Addresses) -> impl Iterator<Item = String> {
    let queries = [("centrifuge", "protocol=centrifuge"), ("webpubsub", "hub=chat")];
    let spoken = queries.into_iter().filter(|(protocol, _)| speaks(stack, protocol));
    spoken.map(|(protocol, query)| format!("  {protocol:<11} {}?{query}", addresses.websocket))
}

/// Further stages and APIs for clients, and who is let in there.
fn clients(options: &DevOptions, stack: &Stack, addresses: &Addresses) -> impl Iterator<Item = String> {
    let stages = addresses.websockets.iter().skip(1);
    let stages = stages.map(|(stage, address)| format!("  websocket   {address}  ({stage})"));
    let open = stack.apis.iter().filter(|(_, api)| !options.strict && has_iam(api));
    stages.chain(
        open.map(|(id, _)| {
            format!("  clients of {id} are let in without a signature; --strict refuses them, as AWS does")
        }),
    )
}

fn secrets(options: &DevOptions, stack: &Stack, addresses: &Addresses) -> Option<String> {
    let names: Vec<_> = stack.secrets.values().map(|secret| secret.name.as_str()).collect();
    let kept = kept(options).unwrap_or_else(|| "new at every start".to_owned());
    (!names.is_empty()).then(|| format!("  secrets     {}  ({}; {kept})", addresses.sqs, names.join(", ")))
}

fn http_apis(options: &DevOptions, stack: &Stack, addresses: &Addresses) -> Vec<String> {
    let signed = if options.strict { "" } else { "; unsigned calls are accepted, see --strict" };
    let only = addresses.api.as_ref().filter(|_| addresses.apis.is_empty());
    let only = stack.http_apis.keys().next().zip(only);
    let all = only.into_iter().chain(&addresses.apis);
    all.map(|(id, url)| format!("  http api    {url}  ({id}{signed})")).collect()
}

/// What reaches functions, queues and topics by itself.
fn deliveries(stack: &Stack, names: &Names) -> Vec<String> {
    let sources = stack.event_sources.values().map(|source| {
        let (kind, name) = match &source.source {
            Source::Queue { name, .. } => ("the queue", name),
            Source::Table { name, .. } => ("the stream of", name),
        };
        format!("  {kind} {name} invokes {}", names.label(&source.function))
    });
    let subscriptions = stack.subscriptions.values().map(|subscription| subscription_line(subscription, names));
    let rules = stack.rules.values().flat_map(|rule| rule_lines(rule, names));
    sources.chain(subscriptions).chain(rules).collect()
}

/// Where each mapping of a custom domain is, once its name leads to this machine.
fn domains(stack: &Stack, addresses: &Addresses) -> Vec<String> {
    let port = addresses.lambda.rsplit(':').next().unwrap_or_default();
    let mappings = stack.domains.iter().flat_map(|domain| domain.mappings.iter().map(move |mapping| (domain, mapping)));
    let line = |(domain, mapping): (&Domain, &ApiMapping)| {
        let websocket = stack.apis.iter().find(|(_, api)| api.api_id == mapping.api_id).map(|(id, _)| (id, "ws"));
        let http = || stack.http_apis.iter().find(|(_, api)| api.api_id == mapping.api_id).map(|(id, _)| (id, "http"));
        let (id, scheme) = websocket.or_else(http)?;
        let (name, path, stage) = (&domain.name, &mapping.path, &mapping.stage);
        Some(format!("  domain      {scheme}://{name}:{port}/{path}  ({id}/{stage}; also as {name}.localhost)"))
    };
    mappings.filter_map(line).collect()
}

/// Whether clients of an API have to sign in AWS.
fn has_iam(api: &WebSocketApi) -> bool {
    api.routes.get("$connect").is_some_and(|route| route.authorization == ConnectAuthorization::Iam)
}

/// Who gets what is published to a topic.
fn subscription_line(subscription: &Subscription, names: &Names) -> String {
    let topic = subscription.topic.rsplit(':').next().unwrap_or_default();
    let filtered = if subscription.filter.is_some() { "  (by its filter policy)" } else { "" };
    match &subscription.subscriber {
        Subscriber::Function { id } => format!("  the topic {topic} invokes {}{filtered}", names.label(id)),
        Subscriber::Queue { name, .. } => format!("  the topic {topic} sends to {name}{filtered}"),
    }
}

/// What each target of a rule gets, and when.
fn rule_lines(rule: &Rule, names: &Names) -> Vec<String> {
    let Rule { id: name, bus, pattern, schedule, targets, .. } = rule;
    let events = pattern.as_ref().map(|_| format!("events of the bus {bus}"));
    let times = schedule.as_ref().map(ToString::to_string);
    let when = events.into_iter().chain(times).collect::<Vec<_>>().join(", and ");
    let line = |target: &RuleTarget| match &target.destination {
        Destination::Function { id } => format!("  the rule {name} invokes {} ({when})", names.label(id)),
        Destination::Queue { name: queue, .. } => format!("  the rule {name} sends to {queue} ({when})"),
        Destination::Topic { name: topic, .. } => format!("  the rule {name} publishes to {topic} ({when})"),
    };
    let mut lines: Vec<_> = targets.iter().map(line).collect();
    // Two targets with an input each are one function.
    lines.dedup();
    lines
}

/// Says it loudly where nobody has to show who they are, because a deployed stack may be set up in the same way.
fn warn_of_anonymous(options: &DevOptions, stack: &Stack) {
    let is = |name: &str, value: &str| {
        stack.functions.values().any(|function| function.environment.get(name).is_some_and(|set| set == value))
    };
    if is("AUTHENTICATION", "anonymous") {
        options.logs.warn(&format!(
            "anonymous access is on: whoever reaches this port connects as any user; to try tokens: {}, and tidings token",
            hs256(stack)
        ));
    } else if is("ALLOW_ANONYMOUS", "true") {
        options.logs.warn("anonymous access is on: clients without a token may connect, without a name");
    }
}

/// How to ask for tokens: a nested stack takes parameters from the template around it only.
fn hs256(stack: &Stack) -> String {
    let mut decided = stack.dev_parameters.keys();
    match decided.find_map(|path| path.strip_suffix("/Authentication")) {
        Some(nested) => format!("`Authentication: hs256` in `Parameters` of `{nested}`"),
        None => "--parameter Authentication=hs256".to_owned(),
    }
}

/// A listener and a notification, as they have to be typed here.
fn next_commands(addresses: &Addresses, wants_token: bool) -> [String; 2] {
    // Cargo sets this for what it runs: from a clone, whose alias builds nothing more than is there.
    let tidings = if std::env::var_os("CARGO").is_some() { "cargo tidings" } else { "tidings" };
    let url = match addresses.websocket.as_str() {
        crate::LISTEN_URL => String::new(),
        other => format!(" --url {other}"),
    };
    let endpoint = match addresses.lambda.as_str() {
        crate::NOTIFY_ENDPOINT => String::new(),
        other => format!(" --endpoint-url {other}"),
    };
    let token = match wants_token {
        true => format!("TIDINGS_TOKEN=$({tidings} token --user u1 --allow 'subscribe:orders/*'{endpoint}) "),
        false => String::new(),
    };
    [
        format!("{token}{tidings} listen --topic orders/42{url}"),
        format!(r#"{tidings} notify --topic orders/42 '{{"status":"shipped"}}'{endpoint}"#),
    ]
}
