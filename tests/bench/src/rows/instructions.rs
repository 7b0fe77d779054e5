//! Instructions, counted by callgrind: the same on a busy machine, so that a small change shows.

use std::ffi::OsString;
use std::path::Path;

use serde_json::Value;
use tokio::process::Command;
use tokio::try_join;

use crate::Result;
use crate::audience::Audience;
use crate::gateway::Gateway;
use crate::host::Function;
use crate::notifier::{LONGEST, environment, notification};
use crate::rows::gateway::{open_all, talk};
use crate::rows::pushes::BareClient;
use crate::rows::start::{self, EVENT};
use crate::setup::Setup;
use crate::sockets::Sockets;
use crate::table::Line;

/// A small and a large amount of the same: what the difference costs is what each one costs, without start and end.
const AMOUNTS: [u64; 2] = [300, 1_300];

const START: &str = "instructions of a start of `connect` with one event, HTTP";

pub(super) async fn measure(setup: &Setup) -> Result<Vec<Line>> {
    let figure = "instructions per push";
    if Command::new("valgrind").arg("--version").output().await.is_err() {
        return Ok(vec![Line::missing(figure, "valgrind is not installed")]);
    }
    let [few, many] = AMOUNTS.map(|amount| setup.size(amount));
    let each = |(few_count, many_count): (f64, f64)| (many_count - few_count) / (many - few) as f64;
    // With a neighbour more or fewer posts are under way at once, and each costs a few per cent more or less.
    let ours = || setup.command("notifier");
    let pushes = each((pushing(setup, ours()?, few).await?, pushing(setup, ours()?, many).await?));
    let posts = each((posting(setup, few).await?, posting(setup, many).await?));
    // These do one thing after the other.
    let frames = each(try_join!(talking(setup, few), talking(setup, many))?);
    let start = async |name| starting(setup, setup.command(name)?, name).await;
    let (start, bare_start) = try_join!(start("connect"), start("bare-function"))?;
    let mut lines = vec![
        Line::new(figure, pushes, "").against("bare hyper client, unsigned", posts),
        Line::new("instructions of the gateway per round trip", frames, ""),
        Line::new(START, start, "").against("bare `lambda_runtime` function", bare_start),
    ];
    if let Some(baseline) = &setup.baseline {
        let program = |name| vec![baseline.program(name).into()];
        let notifier = || program("notifier");
        let pushes_then = each((pushing(setup, notifier(), few).await?, pushing(setup, notifier(), many).await?));
        let start_then = starting(setup, program("connect"), "connect").await?;
        let name = format!("commit {}", baseline.commit());
        lines.push(Line::new(figure, pushes, "").against(&name, pushes_then));
        lines.push(Line::new(START, start, "").against(&name, start_then));
    }
    Ok(lines)
}

/// The words that put a program under callgrind, whose count goes to `log` and whose profile, for `callgrind_annotate`, to
/// a file beside it.
fn tool(log: &Path) -> Vec<String> {
    let profile = format!("--callgrind-out-file={}", log.with_extension("out").display());
    let log = format!("--log-file={}", log.display());
    ["valgrind", "--tool=callgrind", &profile, &log].map(str::to_owned).into()
}

fn under_tool(command: Vec<OsString>, log: &Path) -> Vec<OsString> {
    tool(log).into_iter().map(OsString::from).chain(command).collect()
}

fn collected(log: &Path) -> Result<f64> {
    let text = std::fs::read_to_string(log)?;
    let count = text.lines().find_map(|line| line.split_once("Collected : ")?.1.trim().parse().ok());
    count.ok_or_else(|| format!("callgrind counted nothing: see {}", log.display()).into())
}

async fn pushing(setup: &Setup, notifier: Vec<OsString>, members: u64) -> Result<f64> {
    let audience = Audience::start(members, None).await?;
    let sockets = Sockets::start(None, None).await?;
    let log = setup.log(&format!("callgrind-notifier-{members}"));
    let command = under_tool(notifier, &log);
    let environment = environment(&audience, &sockets, 1_000_000, &[]);
    let mut function = Function::start(&command, &environment, &setup.log("notifier")).await?;
    function.initialised().await?;
    function.invoke(notification(), LONGEST).await?;
    function.program.finish().await?;
    collected(&log)
}

async fn posting(setup: &Setup, members: u64) -> Result<f64> {
    let sockets = Sockets::start(None, None).await?;
    let log = setup.log(&format!("callgrind-client-{members}"));
    let mut client = BareClient::start(&under_tool(setup.bare_client()?, &log), &sockets.endpoint())?;
    client.post(members).await?;
    client.program.finish().await?;
    collected(&log)
}

async fn talking(setup: &Setup, messages: u64) -> Result<f64> {
    let log = setup.log(&format!("callgrind-gateway-{messages}"));
    let gateway = Gateway::ours_under(setup, "gateway.yaml", &tool(&log)).await?;
    let mut sockets = open_all(&gateway.websocket, 1).await?;
    talk(&mut sockets, messages).await?;
    drop(sockets);
    gateway.program.finish().await?;
    collected(&log)
}

async fn starting(setup: &Setup, command: Vec<OsString>, name: &str) -> Result<f64> {
    let audience = Audience::start(0, None).await?;
    let log = setup.log(&format!("callgrind-start-{name}"));
    let environment = start::environment(audience.endpoint(), None);
    let command = under_tool(command, &log);
    let mut function = Function::start(&command, &environment, &setup.log("start")).await?;
    function.initialised().await?;
    let (answer, _) = function.invoke(EVENT, LONGEST).await?;
    let answer: Value = serde_json::from_slice(&answer)?;
    if name == "connect" && answer["statusCode"] != 200 {
        return Err(format!("`connect` answered {answer}").into());
    }
    function.program.finish().await?;
    collected(&log)
}
