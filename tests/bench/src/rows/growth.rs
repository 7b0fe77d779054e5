//! What a delivery costs as its audience grows: processor time, memory, read units.

use std::time::Duration;

use tokio::time::{Instant, sleep};

use crate::Result;
use crate::audience::Audience;
use crate::notifier::Notifier;
use crate::setup::Setup;
use crate::sockets::Sockets;
use crate::stats::Samples;
use crate::table::{Aim, Line, number};

/// What the others are compared with.
const BASE: u64 = 1_000;
const SIZES: [u64; 5] = [100, BASE, 10_000, 100_000, 1_000_000];
/// Deliveries of one measurement at least, so that small audiences are measured as well as large ones.
const DELIVERIES: u64 = 30_000;
/// The base rests so many times as long as it has worked, for it is not to be in the way.
const REST: u32 = 3;

/// What one size costs.
#[derive(Default)]
struct Cost {
    members: u64,
    /// Microseconds of processor time for each delivery.
    time: Samples,
    /// The same of the base, by another process in the same seconds: a machine is not equally fast for a minute.
    base: Samples,
    /// In MB.
    memory: Samples,
    /// For each 1,000 deliveries.
    read_units: Samples,
}

/// How many processes measure a size: a million members take a minute.
fn processes(members: u64) -> usize {
    if members < 1_000_000 { 3 } else { 1 }
}

pub(super) async fn measure(setup: &Setup) -> Result<Vec<Line>> {
    let (audience, crowd) = (Audience::start(0, None).await?, Audience::start(setup.size(BASE), None).await?);
    let sockets = Sockets::start(None, None).await?;
    let mut costs = SIZES.map(|size| Cost { members: setup.size(size), ..Cost::default() });
    for process in 0..setup.rounds(3) {
        for cost in costs.iter_mut().filter(|cost| process < processes(cost.members)) {
            let mut probe = Probe::start(setup, &audience, &sockets, cost.members).await?;
            let mut base = Probe::start(setup, &crowd, &sockets, setup.size(BASE)).await?;
            audience.take_units();
            let deliveries = setup.size(DELIVERIES).div_ceil(cost.members) * cost.members;
            tokio::select! {
                done = probe.notify(deliveries) => done?,
                failed = base.notify_now_and_then() => failed?,
            }
            cost.time.push(probe.time());
            cost.base.push(base.time());
            cost.memory.push(probe.notifier.function.program.peak_memory()? as f64 / 1e6);
            cost.read_units.push(audience.take_units() * 1_000.0 / deliveries as f64);
            probe.notifier.function.program.stop().await?;
            base.notifier.function.program.stop().await?;
        }
    }
    Ok(lines(&costs))
}

/// A notifier under measurement.
struct Probe {
    notifier: Notifier,
    members: u64,
    deliveries: u64,
    cpu: Duration,
}

impl Probe {
    /// Starts it. Connections are open, and nothing is done for the first time.
    async fn start(setup: &Setup, audience: &Audience, sockets: &Sockets, members: u64) -> Result<Self> {
        let mut notifier = Notifier::start(setup, audience, sockets, 1_000_000, &[]).await?;
        audience.resize(100);
        for _ in 0..3 {
            notifier.notify(100).await?;
        }
        audience.resize(members);
        Ok(Self { notifier, members, deliveries: 0, cpu: Duration::ZERO })
    }

    async fn notify(&mut self, deliveries: u64) -> Result<()> {
        for _ in 0..deliveries / self.members {
            let before = self.notifier.function.program.cpu();
            self.notifier.notify(self.members).await?;
            self.cpu += self.notifier.function.program.cpu() - before;
            self.deliveries += self.members;
        }
        Ok(())
    }

    async fn notify_now_and_then(&mut self) -> Result<()> {
        loop {
            let begin = Instant::now();
            self.notify(self.members).await?;
            sleep(begin.elapsed() * REST).await;
        }
    }

    /// Microseconds of processor time for each delivery.
    fn time(&self) -> f64 {
        self.cpu.as_secs_f64() * 1e6 / self.deliveries.max(1) as f64
    }
}

fn lines(costs: &[Cost]) -> Vec<Line> {
    let mut lines = Vec::new();
    let [_, base, ..] = costs else { return lines };
    for cost in costs {
        let members = number(cost.members as f64);
        let figure = format!("processor time per delivery, {members} members");
        let line = Line::of_turns(figure, "µs", &cost.time, "1,000 members", &cost.base);
        lines.push(if cost.members == 1_000_000 { line.aim(Aim::RatioAtMost(1.1)) } else { line });
    }
    for cost in costs {
        let members = number(cost.members as f64);
        let line = Line::new(format!("peak memory of the notifier, {members} members"), cost.memory.median(), "MB");
        let line = line.against("1,000 members", base.memory.median());
        lines.push(if cost.members == 100_000 { line.aim(Aim::RatioAtMost(1.2)) } else { line });
    }
    for cost in costs {
        let members = number(cost.members as f64);
        lines.push(Line::new(
            format!("read units per 1,000 deliveries, {members} members"),
            cost.read_units.median(),
            "",
        ));
    }
    lines
}
