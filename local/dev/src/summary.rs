//! What `tidings dev` tells while it starts and once it is up.

use tidings_local_lambda::Names;
use tidings_local_lambda::build::Plan;
use tidings_local_stack::{ConnectAuthorization, Destination, Rule, RuleTarget, Source, Stack, WebSocketApi};

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
    let functions: Vec<_> = stack.functions.keys().map(|id| names.label(id)).collect();
    let unsigned = if options.strict { "" } else { "  (@connections; unsigned calls are accepted, see --strict)" };
    let engine = if options.dynamodb_endpoint.is_some() { "" } else { "  (in memory, empty at every start)" };
    let queues: Vec<_> = stack.queues.values().map(|queue| queue.name.as_str()).collect();
    let queues = if queues.is_empty() { String::new() } else { format!("  ({})", queues.join(", ")) };
    for line in [
        "up:".to_owned(),
        format!("  websocket   {}", addresses.websocket),
        format!("  management  {}{unsigned}", addresses.management),
        format!("  lambda      {}  ({})", addresses.lambda, functions.join(", ")),
        format!("  dynamodb    {}{engine}", addresses.dynamodb),
        format!("  sqs         {}{queues}", addresses.sqs),
        format!("  console     {}", addresses.console),
    ] {
        options.logs.say(&line);
    }
    if speaks(stack, "centrifuge") {
        options.logs.say(&format!("  centrifuge  {}?protocol=centrifuge", addresses.websocket));
    }
    if speaks(stack, "webpubsub") {
        options.logs.say(&format!("  webpubsub   {}?hub=chat", addresses.websocket));
    }
    if let Some(connection_string) = web_pubsub::connection_string(stack, &addresses.lambda) {
        options.logs.say(&format!("              {connection_string}  (the secret has the key)"));
    }
    for (stage, address) in addresses.websockets.iter().skip(1) {
        options.logs.say(&format!("  websocket   {address}  ({stage})"));
    }
    for (id, _) in stack.apis.iter().filter(|(_, api)| !options.strict && has_iam(api)) {
        options
            .logs
            .say(&format!("  clients of {id} are let in without a signature; --strict refuses them, as AWS does"));
    }
    if !stack.secrets.is_empty() {
        let names: Vec<_> = stack.secrets.values().map(|secret| secret.name.as_str()).collect();
        options.logs.say(&format!("  secrets     {}  ({}; new at every start)", addresses.sqs, names.join(", ")));
    }
    let signed = if options.strict { "" } else { "; unsigned calls are accepted, see --strict" };
    let only = addresses.api.as_ref().filter(|_| addresses.apis.is_empty());
    let only = stack.http_apis.keys().next().zip(only);
    for (id, url) in only.into_iter().chain(&addresses.apis) {
        options.logs.say(&format!("  http api    {url}  ({id}{signed})"));
    }
    for source in stack.event_sources.values() {
        let (kind, name) = match &source.source {
            Source::Queue { name, .. } => ("the queue", name),
            Source::Table { name, .. } => ("the stream of", name),
        };
        options.logs.say(&format!("  {kind} {name} invokes {}", names.label(&source.function)));
    }
    for line in stack.rules.values().flat_map(|rule| rule_lines(rule, &names)) {
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

/// Whether clients of an API have to sign in AWS.
fn has_iam(api: &WebSocketApi) -> bool {
    api.routes.get("$connect").is_some_and(|route| route.authorization == ConnectAuthorization::Iam)
}

/// What each target of a rule gets, and when.
fn rule_lines(rule: &Rule, names: &Names) -> Vec<String> {
    let Rule { id: name, bus, pattern, rate, targets, .. } = rule;
    let events = pattern.as_ref().map(|_| format!("events of the bus {bus}"));
    let times = rate.map(|rate| format!("every {} minutes", rate.as_secs() / 60));
    let when = events.into_iter().chain(times).collect::<Vec<_>>().join(", and ");
    let line = |target: &RuleTarget| match &target.destination {
        Destination::Function { id } => format!("  the rule {name} invokes {} ({when})", names.label(id)),
        Destination::Queue { name: queue, .. } => format!("  the rule {name} sends to {queue} ({when})"),
    };
    targets.iter().map(line).collect()
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
    // Cargo sets this for what it runs.
    let tidings = if std::env::var_os("CARGO").is_some() { "cargo run -q --bin tidings --" } else { "tidings" };
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
