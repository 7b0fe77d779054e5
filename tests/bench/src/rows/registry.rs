//! What connecting, subscribing and disconnecting cost while the table grows: capacity units, and time on the engine that
//! `tidings dev` embeds. The rows are real, and so is the registry's code.

use std::time::Instant;

use aws_sdk_dynamodb::Client;
use aws_sdk_dynamodb::types::{AttributeValue, PutRequest, WriteRequest};
use futures_util::stream::{self, StreamExt, TryStreamExt};
use tidings::registry::{Connection, Registry};
use tidings::{ConnectionId, Topic, UserId};

use crate::Result;
use crate::gateway::Gateway;
use crate::setup::Setup;
use crate::stats::Samples;
use crate::table::{Aim, Line, number};

pub(super) const TABLE: &str = "ConnectionsTable";
const SIZES: [u64; 2] = [1_000, 1_000_000];
/// Connections that are made and ended at each size.
const REPETITIONS: usize = 200;
const STEPS: [&str; 3] = ["connect with a user and a topic", "subscribe to a topic", "disconnect"];

/// One step at one size.
#[derive(Default)]
struct Cost {
    read: Samples,
    write: Samples,
    /// In milliseconds.
    time: Samples,
}

/// One kind of cost.
type Pick = fn(&Cost) -> &Samples;

/// A table with so many rows, and what the steps cost in it.
struct Table {
    size: u64,
    gateway: Gateway,
    registry: Registry,
    costs: [Cost; 3],
}

pub(super) async fn measure(setup: &Setup) -> Result<Vec<Line>> {
    let mut tables = Vec::new();
    for size in SIZES {
        tables.push(Table::filled(setup, setup.size(size)).await?);
    }
    let repetitions = if setup.quick { 3 } else { REPETITIONS };
    // The tables take turns, for a machine is not equally fast for minutes.
    for count in 0..repetitions {
        for table in &mut tables {
            table.run(count).await?;
        }
    }
    let lines = lines(&tables);
    for table in tables {
        table.gateway.program.finish().await?;
    }
    Ok(lines)
}

/// A client of the engine that a gateway embeds.
pub(super) fn client(endpoint: &str) -> Client {
    let connector = tidings::aws::connector_to(endpoint);
    let http = aws_smithy_runtime_api::client::http::http_client_fn(move |_, _| connector.clone());
    Client::from_conf(config(endpoint).http_client(http).build())
}

/// What such a client is made of, without its way to the engine.
pub(super) fn config(endpoint: &str) -> aws_sdk_dynamodb::config::Builder {
    use aws_sdk_dynamodb::config::{BehaviorVersion, Credentials, Region};
    aws_sdk_dynamodb::Config::builder()
        .behavior_version(BehaviorVersion::v2026_01_12())
        .region(Region::new("us-east-1"))
        .credentials_provider(Credentials::new("local", "local", None, None, "bench"))
        .endpoint_url(endpoint)
}

/// Writes the rows of a topic's members.
async fn fill(client: &Client, size: u64) -> Result<()> {
    let batches = (0..size).step_by(25).map(|start| async move {
        let puts: Vec<_> = (start..size.min(start + 25)).map(put).collect::<Result<_>>()?;
        client.batch_write_item().request_items(TABLE, puts).send().await?;
        Result::Ok(())
    });
    stream::iter(batches).buffer_unordered(8).try_collect().await
}

fn put(member: u64) -> Result<WriteRequest> {
    let prefix = member.wrapping_mul(0x9E37_79B9_7F4A_7C15) >> 56;
    let text = |value: String| AttributeValue::S(value);
    let request = PutRequest::builder()
        .item("pk", text("topic#crowd".to_owned()))
        .item("sk", text(format!("{prefix:02x}#member{member:09}=")))
        .item("protocol", text("tidings.v1.json".to_owned()))
        .item("connected_at", AttributeValue::N("1795520783000".to_owned()))
        .item("expires_at", AttributeValue::N("1795528883".to_owned()));
    Ok(WriteRequest::builder().put_request(request.build()?).build())
}

impl Table {
    async fn filled(setup: &Setup, size: u64) -> Result<Self> {
        let gateway = Gateway::ours(setup, "stack.yaml").await?;
        let endpoint = gateway.addresses["dynamodb"].as_str().ok_or("the gateway names no DynamoDB")?;
        let client = client(endpoint);
        fill(&client, size).await?;
        let registry = Registry::new(client, TABLE);
        Ok(Self { size, gateway, registry, costs: Default::default() })
    }

    /// Connects, subscribes and disconnects once.
    async fn run(&mut self, count: usize) -> Result<()> {
        let (crowd, other) = (Topic::parse("crowd")?, Topic::parse("other")?);
        let id = ConnectionId::parse(format!("bench{count:010}="))?;
        let mut connection = Connection::new(id);
        connection.user = Some(UserId::parse("alice")?);
        connection.connected_at = 1_795_520_783_000;
        connection.topics = vec![crowd];
        let registry = &self.registry;
        for (step, cost) in self.costs.iter_mut().enumerate() {
            let (before, begin) = (registry.consumed(), Instant::now());
            match step {
                0 => drop(registry.connect(&connection).await?),
                1 => registry.subscribe(&connection.id, std::slice::from_ref(&other)).await?,
                _ => drop(registry.disconnect(&connection.id, &connection.socket).await?),
            }
            let consumed = registry.consumed() - before;
            cost.time.push(begin.elapsed().as_secs_f64() * 1e3);
            cost.read.push(consumed.read);
            cost.write.push(consumed.write);
        }
        Ok(())
    }
}

fn lines(tables: &[Table]) -> Vec<Line> {
    let [few, many] = tables else { return Vec::new() };
    let mut lines = Vec::new();
    for (index, step) in STEPS.iter().enumerate() {
        let whats: [(&str, Pick, &'static str, Aim); 3] = [
            ("write units", |cost| &cost.write, "", Aim::RatioAtMost(1.0)),
            ("read units", |cost| &cost.read, "", Aim::RatioAtMost(1.0)),
            ("time on the local engine", |cost| &cost.time, "ms", Aim::None),
        ];
        for (what, of, unit, aim) in whats {
            let (ours, base) = (of(&many.costs[index]).median(), of(&few.costs[index]).median());
            if ours == 0.0 && base == 0.0 {
                continue;
            }
            let figure = format!("{step}, {} rows: {what}", number(many.size as f64));
            lines.push(
                Line::new(figure, ours, unit).against(format!("{} rows", number(few.size as f64)), base).aim(aim),
            );
        }
    }
    lines
}
