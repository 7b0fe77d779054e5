//! Pushes for each second of processor time: the notifier, an older one, the same in Node.js, and a bare HTTP client that only
//! posts. And pushes to clients of Centrifuge beside those to our own.

use std::ffi::OsString;
use std::time::Duration;

use serde_json::Value;
use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader, Lines};
use tokio::process::{ChildStdin, ChildStdout};

use crate::Result;
use crate::audience::{Audience, PROTOCOL};
use crate::host::Function;
use crate::notifier::{LONGEST, Notifier, environment, notification};
use crate::process::Program;
use crate::setup::Setup;
use crate::sockets::Sockets;
use crate::stats::Samples;
use crate::table::{Aim, Line};

/// Before anything is counted: connections open, code is loaded, Node.js compiles.
const WARM_UP: u64 = 3_000;
const IN_FLIGHT: usize = 256;

/// Each contender is started so often: what a process gets of memory and processor differs from start to start.
const STARTS: usize = 3;

/// Turns of each start, short and many: a busy machine's speed changes within a second.
const TURNS: usize = 12;
const PUSHES: u64 = 5_000;

/// What Centrifugo's libraries speak, as the registry writes it.
const CENTRIFUGE: &str = "centrifuge";

/// Node.js has every fourth turn, for it takes two seconds.
const NODE_EVERY: usize = 4;
const NODE_PUSHES: u64 = 2_000;

/// Pushes per second of processor time.
#[derive(Default)]
struct Speeds {
    ours: Samples,
    bare: Samples,
    /// Ours in those turns that Node.js had.
    ours_with_node: Samples,
    node: Samples,
    /// The baseline's.
    base: Samples,
    /// Ours, to clients of Centrifuge.
    centrifuge: Samples,
}

pub(super) async fn measure(setup: &Setup) -> Result<Vec<Line>> {
    let audience = Audience::start(0, None).await?;
    let sockets = Sockets::start(None, None).await?;
    let mut speeds = Speeds::default();
    for _ in 0..if setup.quick { 1 } else { STARTS } {
        start_and_push(setup, &audience, &sockets, &mut speeds).await?;
    }
    let figure = "pushes per second of processor time";
    let line = |ours, peer, theirs| Line::of_turns(figure, "", ours, peer, theirs);
    let in_node = match &setup.node {
        Ok(_) => line(&speeds.ours_with_node, "Node.js, SDK v3, `Promise.all`", &speeds.node),
        Err(reason) => Line::missing(format!("{figure}, Node.js"), reason.clone()),
    };
    let mut lines = vec![
        in_node.aim(Aim::RatioAtLeast(15.0)),
        line(&speeds.ours, "bare hyper client, unsigned", &speeds.bare).aim(Aim::RatioAtLeast(0.5)),
        Line::of_turns(format!("{figure}, to clients of Centrifuge"), "", &speeds.centrifuge, PROTOCOL, &speeds.ours)
            .aim(Aim::RatioAtLeast(1.0 / 1.1)),
    ];
    if let Some(baseline) = &setup.baseline {
        let name = format!("commit {}", baseline.commit());
        lines.push(line(&speeds.ours, &name, &speeds.base).aim(Aim::RatioAtLeast(0.95)));
    }
    Ok(lines)
}

async fn start_and_push(setup: &Setup, audience: &Audience, sockets: &Sockets, speeds: &mut Speeds) -> Result<()> {
    let mut contenders = Contenders::start(setup, audience, sockets).await?;
    contenders.warm_up(audience, setup.size(WARM_UP)).await?;
    let (count, node_count) = (setup.size(PUSHES), setup.size(NODE_PUSHES));
    for turn in 0..setup.rounds(TURNS) {
        let ours = contenders.push(audience, count, speeds).await?;
        if let Some(node) = contenders.node.as_mut().filter(|_| turn % NODE_EVERY == 0) {
            audience.resize(node_count);
            let before = node.function.program.cpu();
            node.notify(node_count).await?;
            speeds.node.push(per_second(node_count, node.function.program.cpu() - before));
            speeds.ours_with_node.push(ours);
        }
    }
    Ok(())
}

/// All who push.
struct Contenders {
    ours: Notifier,
    bare: BareClient,
    base: Option<Notifier>,
    node: Option<NodeNotifier>,
}

impl Contenders {
    async fn start(setup: &Setup, audience: &Audience, sockets: &Sockets) -> Result<Self> {
        let start = async |command| Notifier::start_as(setup, command, audience, sockets, 1_000_000, &[]).await;
        Ok(Self {
            ours: start(setup.command("notifier")?).await?,
            bare: BareClient::start(&setup.bare_client()?, &sockets.endpoint())?,
            base: match &setup.baseline {
                Some(baseline) => Some(start(vec![baseline.program("notifier").into()]).await?),
                None => None,
            },
            node: match &setup.node {
                Ok(node) => Some(NodeNotifier::start(setup, node.function("notify.mjs"), audience, sockets).await?),
                Err(_) => None,
            },
        })
    }

    async fn warm_up(&mut self, audience: &Audience, count: u64) -> Result<()> {
        audience.resize(count);
        for notifier in [Some(&mut self.ours), self.base.as_mut()].into_iter().flatten() {
            notifier.notify(count).await?;
        }
        self.bare.post(count).await?;
        match &mut self.node {
            Some(node) => node.notify(count).await,
            None => Ok(()),
        }
    }

    /// One turn of all but Node.js; what ours came to.
    async fn push(&mut self, audience: &Audience, count: u64, speeds: &mut Speeds) -> Result<f64> {
        audience.resize(count);
        let ours = speed(&mut self.ours, count).await?;
        speeds.ours.push(ours);
        let before = self.bare.program.cpu();
        self.bare.post(count).await?;
        speeds.bare.push(per_second(count, self.bare.program.cpu() - before));
        audience.speak(CENTRIFUGE);
        let to_centrifuge = speed(&mut self.ours, count).await;
        audience.speak(PROTOCOL);
        speeds.centrifuge.push(to_centrifuge?);
        if let Some(base) = &mut self.base {
            speeds.base.push(speed(base, count).await?);
        }
        Ok(ours)
    }
}

async fn speed(notifier: &mut Notifier, count: u64) -> Result<f64> {
    let before = notifier.function.program.cpu();
    notifier.notify(count).await?;
    Ok(per_second(count, notifier.function.program.cpu() - before))
}

fn per_second(count: u64, cpu: Duration) -> f64 {
    count as f64 / cpu.as_secs_f64()
}

/// The bare client's program.
pub(super) struct BareClient {
    pub(super) program: Program,
    input: ChildStdin,
    output: Lines<BufReader<ChildStdout>>,
}

impl BareClient {
    pub(super) fn start(command: &[OsString], endpoint: &str) -> Result<Self> {
        let mut command = command.to_vec();
        command.push(endpoint.into());
        let mut program = Program::converse(&command, &[])?;
        let child = program.child();
        let (input, output) = child.stdin.take().zip(child.stdout.take()).ok_or("the client has no pipes")?;
        Ok(Self { program, input, output: BufReader::new(output).lines() })
    }

    pub(super) async fn post(&mut self, count: u64) -> Result<()> {
        self.input.write_all(format!("{count} {IN_FLIGHT}\n").as_bytes()).await?;
        match self.output.next_line().await? {
            Some(_) => Ok(()),
            None => Err("the bare client has failed".into()),
        }
    }
}

/// The function in Node.js.
struct NodeNotifier {
    function: Function,
}

impl NodeNotifier {
    async fn start(setup: &Setup, command: Vec<OsString>, audience: &Audience, sockets: &Sockets) -> Result<Self> {
        let environment = environment(audience, sockets, 1, &[]);
        let mut function = Function::start(&command, &environment, &setup.log("node-notifier")).await?;
        function.initialised().await?;
        Ok(Self { function })
    }

    async fn notify(&mut self, members: u64) -> Result<()> {
        let (answer, _) = self.function.invoke(notification(), LONGEST).await?;
        let answer: Value = serde_json::from_slice(&answer)?;
        if answer["delivered"] == members { Ok(()) } else { Err(format!("Node.js answered {answer}").into()) }
    }
}
