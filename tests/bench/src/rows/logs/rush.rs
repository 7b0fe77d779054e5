//! Everybody comes back to one topic at once: what it takes of the function, and what of the two keys that all of them read.

use std::cell::Cell;
use std::time::{Duration, Instant};

use futures_util::future::try_join_all;
use futures_util::stream::{self, StreamExt, TryStreamExt};
use serde_json::{Value, json};
use tidings::history::Retention;
use tidings::log::{LogName, LogPosition, Since};
use tidings::recovery::Reading;
use tidings::registry::{Connection, Registry};
use tidings::{ConnectionId, Topic};

use super::Place;
use crate::Result;
use crate::host::Function;
use crate::rows::registry::{TABLE, client};
use crate::setup::Setup;
use crate::table::Line;

const CLIENTS: u64 = 10_000;
/// Messages that each has missed.
const MISSED: u64 = 100;
const TOPIC: &str = "logged/rush";
/// Environments of the function: two for each processor of a small machine.
const ENVIRONMENTS: usize = 4;
const TIMEOUT: Duration = Duration::from_secs(30);
const RETENTION: Retention = Retention { seconds: 3_600, messages: None, ordered: false };
/// Read units that one partition of DynamoDB gives in a second (Developer Guide, "Best practices for designing and using partition
/// keys effectively").
const UNITS_A_SECOND: f64 = 3_000.0;

/// What one recovery reads.
struct Units {
    head: f64,
    log: f64,
}

pub(super) async fn measure(setup: &Setup, place: &mut Place) -> Result<Vec<Line>> {
    for number in 0..MISSED {
        place.say(TOPIC, &json!({"n": number, "data": "x".repeat(80)})).await?;
    }
    let registry = Registry::new(client(place.address("dynamodb")?), TABLE);
    let clients = setup.size(CLIENTS);
    let connects = (0..clients).map(|number| connect(&registry, number));
    stream::iter(connects).buffer_unordered(16).try_collect::<()>().await?;
    let log = LogName::Topic(Topic::parse(TOPIC)?);
    let head = registry.head(&log).await?.ok_or("the log has no head")?;
    let since = Since { position: LogPosition { offset: 0, epoch: head.epoch }, connection: None };
    let units = units(&registry, &log, &since).await?;
    let frame = json!({
        "action": "subscribe", "topic": TOPIC, "since": {"offset": 0, "epoch": since.position.epoch.as_str()}, "id": 1,
    });
    let mut environments = Vec::new();
    for _ in 0..ENVIRONMENTS {
        environments.push(start(setup, place).await?);
    }
    let cpu = |environments: &[Function]| -> Duration { environments.iter().map(|one| one.program.cpu()).sum() };
    let (next, begin) = (Cell::new(0), Instant::now());
    let before = cpu(&environments);
    try_join_all(environments.iter_mut().map(async |environment| {
        while next.get() < clients {
            let number = next.get();
            next.set(number + 1);
            recover(environment, number, &frame).await?;
        }
        Result::Ok(())
    }))
    .await?;
    let (took, cpu) = (begin.elapsed().as_secs_f64(), cpu(&environments) - before);
    let what = format!("{clients} recoveries of {MISSED} messages of one topic");
    let throttled = |units: f64| units * clients as f64 / UNITS_A_SECOND;
    Ok(vec![
        Line::new(format!("{what}, {ENVIRONMENTS} environments and the table on this machine"), took, "s"),
        Line::new(format!("{what}: processor time of one"), cpu.as_secs_f64() * 1e3 / clients as f64, "ms"),
        Line::new(format!("{what}: read units of one, of the log's head"), units.head, ""),
        Line::new(format!("{what}: read units of one, of its entries"), units.log, ""),
        Line::new(
            format!("{what}: time that one partition of DynamoDB takes for the heads"),
            throttled(units.head),
            "s",
        ),
        Line::new(format!("{what}: the same for the entries"), throttled(units.log), "s"),
    ])
}

fn id(number: u64) -> String {
    format!("rush{number:09}=")
}

async fn connect(registry: &Registry, number: u64) -> Result<()> {
    let mut connection = Connection::new(ConnectionId::parse(id(number))?);
    connection.connected_at = 1_795_520_783_000;
    registry.connect(&connection).await?;
    Ok(())
}

/// What a recovery reads beside what any subscribe does, with the code of the function.
async fn units(registry: &Registry, log: &LogName, since: &Since) -> Result<Units> {
    let before = registry.consumed();
    registry.head(log).await?;
    let head = (registry.consumed() - before).read;
    let before = registry.consumed();
    let reading = Reading { log, retention: RETENTION, connection: None, now: 0 };
    let told = registry.missed(&reading, since, &mut usize::MAX.clone()).await?;
    if told.messages.len() as u64 != MISSED {
        return Err(format!("{} messages were recovered", told.messages.len()).into());
    }
    Ok(Units { head, log: (registry.consumed() - before).read - head })
}

async fn start(setup: &Setup, place: &Place) -> Result<Function> {
    let environment = [
        ("TABLE_NAME", TABLE),
        ("WEBSOCKET_ENDPOINT", place.address("management")?),
        ("AWS_ENDPOINT_URL_DYNAMODB", place.address("dynamodb")?),
        ("NOTIFICATION_QUEUE_URL", "http://127.0.0.1:9/123456789012/nowhere"),
    ];
    let environment: Vec<_> =
        environment.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
    let mut function = Function::start(&setup.command("default")?, &environment, &setup.log("default")).await?;
    function.initialised().await?;
    Ok(function)
}

/// One client's frame, as API Gateway gives it to the function.
async fn recover(function: &mut Function, number: u64, frame: &Value) -> Result<()> {
    let event = json!({
        "requestContext": {
            "routeKey": "$default", "eventType": "MESSAGE", "messageDirection": "IN", "stage": "dev", "apiId": "bench",
            "messageId": format!("m{number}"), "requestId": format!("r{number}"), "extendedRequestId": format!("r{number}"),
            "authorizer": {"principalId": "anonymous", "permissions": "subscribe:**"},
            "requestTime": "24/Nov/2026:11:46:33 +0000", "requestTimeEpoch": 1_795_520_793_100_u64,
            "connectedAt": 1_795_520_783_000_u64, "identity": {"sourceIp": "203.0.113.10"},
            "domainName": "bench.execute-api.us-east-1.amazonaws.com", "connectionId": id(number),
        },
        "body": frame.to_string(),
        "isBase64Encoded": false,
    });
    let (answer, _) = function.invoke(event.to_string(), TIMEOUT).await?;
    let answer: Value = serde_json::from_slice(&answer)?;
    let reply: Value = serde_json::from_str(answer["body"].as_str().unwrap_or_default()).unwrap_or_default();
    match reply["topics"][TOPIC]["messages"].as_array().map(Vec::len) {
        Some(count) if count as u64 == MISSED => Ok(()),
        _ => Err(format!("client {number} was answered with {answer}").into()),
    }
}
