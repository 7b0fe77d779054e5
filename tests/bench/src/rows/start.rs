//! How long a client waits for `$connect` in a new execution environment, with TLS and without, and what that costs in
//! memory.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::time::Duration;

use serde_json::Value;

use crate::Result;
use crate::audience::Audience;
use crate::certificates::Certificates;
use crate::host::Function;
use crate::setup::Setup;
use crate::stats::Samples;
use crate::table::{Aim, Line};

pub(super) const EVENT: &str = include_str!("../../../events/connect-with-topics.json");
const TIMEOUT: Duration = Duration::from_secs(10);

/// A function to start.
struct Contender {
    name: &'static str,
    command: Vec<OsString>,
    environment: Vec<(String, String)>,
    /// Measured only in every so many rounds: some take a second.
    every: usize,
}

/// What starting one function took.
#[derive(Default)]
struct Start {
    /// To its first request for an event, in milliseconds.
    init: Samples,
    /// The first event.
    first: Samples,
    /// Both.
    total: Samples,
    /// Processor time.
    cpu: Samples,
    /// In MB.
    memory: Samples,
}

/// One kind of cost.
type Pick = fn(&Start) -> &Samples;

pub(super) async fn measure(setup: &Setup) -> Result<Vec<Line>> {
    let certificates = Certificates::make(&setup.scratch)?;
    let plain = Audience::start(0, None).await?;
    let secret = Audience::start(0, Some(certificates.acceptor.clone())).await?;
    let contenders = contenders(setup, &certificates, &plain, &secret)?;
    let mut starts: BTreeMap<&str, Start> = BTreeMap::new();
    for round in 0..setup.rounds(101) {
        for contender in contenders.iter().filter(|contender| round % contender.every == 0) {
            let start = starts.entry(contender.name).or_default();
            once(setup, contender, start).await.map_err(|error| format!("{}: {error}", contender.name))?;
        }
    }
    Ok(lines(setup, &starts))
}

fn contenders(
    setup: &Setup,
    certificates: &Certificates,
    plain: &Audience,
    secret: &Audience,
) -> Result<Vec<Contender>> {
    let environment = |endpoint| environment(endpoint, Some(certificates));
    let (plain, secret) = (environment(plain.endpoint()), environment(secret.endpoint()));
    let ours = setup.command("connect")?;
    let mut contenders = vec![
        Contender { name: "http", command: ours.clone(), environment: plain.clone(), every: 1 },
        Contender { name: "bare", command: setup.command("bare-function")?, environment: plain.clone(), every: 1 },
        Contender { name: "https", command: ours, environment: secret.clone(), every: 1 },
    ];
    if let Ok(node) = &setup.node {
        let of = |name, file, environment: &Vec<_>| Contender {
            name,
            command: node.function(file),
            environment: environment.clone(),
            every: 10,
        };
        contenders.push(of("node http", "connect.mjs", &plain));
        contenders.push(of("node https", "connect.mjs", &secret));
        contenders.push(of("bundled http", "connect.bundled.cjs", &plain));
    }
    Ok(contenders)
}

/// What `connect` needs to know, and how it is to trust the stand-in.
pub(super) fn environment(endpoint: String, certificates: Option<&Certificates>) -> Vec<(String, String)> {
    let mut environment = vec![("TABLE_NAME", "connections".to_owned()), ("AWS_ENDPOINT_URL_DYNAMODB", endpoint)];
    if let Some(certificates) = certificates {
        environment.push(("SSL_CERT_FILE", certificates.bundle.to_string_lossy().into_owned()));
        environment.push(("NODE_EXTRA_CA_CERTS", certificates.authority.to_string_lossy().into_owned()));
    }
    environment.into_iter().map(|(name, value)| (name.to_owned(), value)).collect()
}

async fn once(setup: &Setup, contender: &Contender, start: &mut Start) -> Result<()> {
    let log = setup.log("start");
    let mut function = Function::start(&contender.command, &contender.environment, &log).await?;
    let init = function.initialised().await?;
    let (answer, end) = function.invoke(EVENT, TIMEOUT).await?;
    let answer: Value = serde_json::from_slice(&answer)?;
    if answer["statusCode"] != 200 {
        return Err(format!("it answered {answer}").into());
    }
    let total = end - function.started();
    let milliseconds = |time: Duration| time.as_secs_f64() * 1e3;
    start.init.push(milliseconds(init));
    start.total.push(milliseconds(total));
    start.first.push(milliseconds(total - init));
    start.cpu.push(milliseconds(function.program.cpu()));
    start.memory.push(function.program.peak_memory()? as f64 / 1e6);
    function.program.stop().await
}

fn lines(setup: &Setup, starts: &BTreeMap<&str, Start>) -> Vec<Line> {
    let of = |name: &str, what: Pick| starts.get(name).map(|start| what(start).median());
    let total = of("http", |start| &start.total).unwrap_or_default();
    let secret = of("https", |start| &start.total).unwrap_or_default();
    let bare = of("bare", |start| &start.total).unwrap_or_default();
    let start = "start to first response of `connect`";
    let mut lines = vec![
        Line::new(format!("{start}, HTTP"), total, "ms")
            .against("bare `lambda_runtime` function", bare)
            .aim(Aim::RatioAtMost(1.5)),
        Line::new(format!("{start}, TLS"), secret, "ms").against("bare `lambda_runtime` function", bare),
    ];
    let node = |name: &str, ours: f64, peer: &str, figure: String| match (&setup.node, of(name, |start| &start.total)) {
        (Ok(_), Some(theirs)) => Line::new(figure, ours, "ms").against(peer, theirs),
        (Err(reason), _) => Line::missing(figure, reason.clone()),
        (Ok(_), None) => Line::missing(figure, "no round measured it"),
    };
    let sdk = "Node.js, AWS SDK v3";
    lines.push(node("node http", total, sdk, format!("{start}, HTTP")).aim(Aim::RatioAtMost(0.05)));
    lines.push(node("node https", secret, sdk, format!("{start}, TLS")).aim(Aim::RatioAtMost(0.05)));
    lines.push(node("bundled http", total, "the same, bundled by esbuild", format!("{start}, HTTP")));
    let first = |name| of(name, |start| &start.first).unwrap_or_default();
    lines.push(
        Line::new("first invoke of `connect` over TLS, less over HTTP", first("https") - first("http"), "ms")
            .aim(Aim::AtMost(5.0)),
    );
    let parts: [(&str, Pick, &str); 3] = [
        ("of the start: until `connect` asks for an event", |start| &start.init, "ms"),
        ("processor time of a start of `connect`", |start| &start.cpu, "ms"),
        ("peak memory of `connect`", |start| &start.memory, "MB"),
    ];
    for (figure, what, unit) in parts {
        let ours = of("http", what).unwrap_or_default();
        lines.push(
            Line::new(figure, ours, unit)
                .against("bare `lambda_runtime` function", of("bare", what).unwrap_or_default()),
        );
        if let Some(theirs) = of("node http", what) {
            lines.push(Line::new(figure, ours, unit).against(sdk, theirs));
        }
    }
    lines
}
