//! Producers that know nothing of each other append to one log, with the registry's own code and a table that answers as late as
//! DynamoDB does.

use std::time::Duration;

use aws_sdk_dynamodb::Client;
use aws_smithy_runtime_api::client::http::{HttpConnector, HttpConnectorFuture, SharedHttpConnector, http_client_fn};
use aws_smithy_runtime_api::client::orchestrator::HttpRequest;
use tidings::history::Retention;
use tidings::log::LogName;
use tidings::registry::{Append, Registry, RegistryError};
use tidings::{NotificationId, Topic};
use tokio::task::JoinSet;
use tokio::time::sleep;

use crate::Result;
use crate::rows::registry::{self, TABLE};
use crate::setup::Setup;
use crate::table::Line;

/// Messages a second, at random moments.
const RATES: [f64; 2] = [50.0, 100.0];
const SECONDS: u64 = 20;
/// How far away the table is.
const ROUND_TRIP: Duration = Duration::from_millis(5);
const RETENTION: Retention = Retention { seconds: 3_600, messages: None, ordered: false };

/// A connector whose every answer takes a round trip more.
#[derive(Debug)]
struct FarAway(SharedHttpConnector);

impl HttpConnector for FarAway {
    fn call(&self, request: HttpRequest) -> HttpConnectorFuture {
        let near = self.0.clone();
        HttpConnectorFuture::new(async move {
            sleep(ROUND_TRIP).await;
            near.call(request).await
        })
    }
}

pub(super) async fn measure(setup: &Setup, endpoint: &str) -> Result<Vec<Line>> {
    let client = far_away(endpoint);
    let mut lines = Vec::new();
    for rate in RATES {
        let units = units(&client, rate, if setup.quick { 1 } else { SECONDS }).await?;
        let figure = format!("write units of an append to one log, {rate} a second from as many producers");
        lines.push(Line::new(figure, units, "").against("one after the other", 2.0));
    }
    Ok(lines)
}

fn far_away(endpoint: &str) -> Client {
    let connector = SharedHttpConnector::new(FarAway(tidings::aws::connector_to(endpoint)));
    let config = registry::config(endpoint).http_client(http_client_fn(move |_, _| connector.clone()));
    Client::from_conf(config.build())
}

/// Write units of each of many appends.
async fn units(client: &Client, rate: f64, seconds: u64) -> Result<f64> {
    let registry = Registry::new(client.clone(), TABLE);
    let log = LogName::Topic(Topic::parse(format!("contended/{rate}"))?);
    registry.begin_log(&log, RETENTION, now()?).await?;
    let before = registry.consumed();
    let (mut appends, count) = (JoinSet::new(), (rate * seconds as f64) as u64);
    for number in 0..count {
        let (registry, log) = (registry.clone(), log.clone());
        appends.spawn(async move { append(&registry, &log, number).await });
        // As far apart as what many do without knowing of each other.
        sleep(Duration::from_secs_f64(-fastrand::f64().max(1e-9).ln() / rate)).await;
    }
    let mut contended = 0;
    while let Some(appended) = appends.join_next().await {
        contended += u64::from(appended??);
    }
    let head = registry.head(&log).await?.ok_or("the log has no head")?;
    if head.offset != count {
        return Err(format!("the log ends at {} after {count} appends", head.offset).into());
    }
    // DynamoDB takes a unit for a write that its condition refuses, and does not say so: a place that was taken, a head that was
    // higher.
    Ok(((registry.consumed() - before).write + contended as f64) / count as f64)
}

/// As the notifier does it; how many places others had taken.
async fn append(registry: &Registry, log: &LogName, number: u64) -> Result<u32> {
    let (id, text) = (NotificationId::parse(format!("n{number}"))?, format!(r#"{{"n":{number}}}"#));
    loop {
        let head = registry.head(log).await?.ok_or("the log has no head")?;
        let append = Append {
            log,
            retention: RETENTION,
            scope: "direct",
            id: &id,
            notification: &text,
            head: &head,
            from: None,
        };
        let appended = match registry.append(&append, now()?).await {
            // On a machine that is busy with something else too many are late. A producer would say it again.
            Err(RegistryError::Contended) => continue,
            appended => appended?,
        };
        registry.raise_head(log, &appended.position, RETENTION, now()?).await?;
        return Ok(appended.contended);
    }
}

fn now() -> Result<i64> {
    let since = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH)?;
    Ok(i64::try_from(since.as_millis())?)
}
