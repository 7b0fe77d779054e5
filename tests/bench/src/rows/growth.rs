//! What a delivery costs as its audience grows: processor time, memory, read units.

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
const DELIVERIES: u64 = 15_000;

/// What one size costs.
#[derive(Default)]
struct Cost {
    members: u64,
    /// Microseconds of processor time for each delivery.
    time: Samples,
    /// The same of the base, by the same process, measured just before and just after: a machine is not equally fast for
    /// minutes.
    base: Samples,
    /// In MB, of a process that has had this size only.
    memory: Samples,
    /// For each 1,000 deliveries.
    read_units: Samples,
}

/// How many processes measure a size, and how often each of them: a million members take a minute.
fn turns(members: u64) -> (usize, usize) {
    match members {
        0..100_000 => (3, 2),
        100_000..1_000_000 => (3, 1),
        _ => (1, 1),
    }
}

pub(super) async fn measure(setup: &Setup) -> Result<Vec<Line>> {
    let audience = Audience::start(0, None).await?;
    let sockets = Sockets::start(None, None).await?;
    let start = async || Probe::start(setup, &audience, &sockets).await;
    let mut costs = SIZES.map(|size| Cost { members: setup.size(size), ..Cost::default() });
    let base = setup.size(BASE);
    let mut probe = start().await?;
    let mut before = probe.time(base).await?;
    for process in 0..setup.rounds(3) {
        for cost in costs.iter_mut().filter(|cost| process < turns(cost.members).0) {
            probe.stop().await?;
            probe = start().await?;
            for turn in 0..turns(cost.members).1 {
                audience.take_units();
                cost.time.push(probe.time(cost.members).await?);
                if turn == 0 {
                    cost.memory.push(probe.notifier.function.program.peak_memory()? as f64 / 1e6);
                    cost.read_units.push(audience.take_units() * 1_000.0 / probe.deliveries(cost.members) as f64);
                }
                let after = probe.time(base).await?;
                cost.base.push(f64::midpoint(before, after));
                before = after;
            }
        }
    }
    probe.stop().await?;
    Ok(lines(&costs))
}

/// A notifier under measurement.
struct Probe<'a> {
    notifier: Notifier,
    audience: &'a Audience,
    least: u64,
}

impl<'a> Probe<'a> {
    /// Starts it. Connections are open, and nothing is done for the first time.
    async fn start(setup: &Setup, audience: &'a Audience, sockets: &Sockets) -> Result<Self> {
        let notifier = Notifier::start(setup, audience, sockets, 1_000_000, &[]).await?;
        let mut probe = Self { notifier, audience, least: setup.size(DELIVERIES) };
        probe.notify(100, 3).await?;
        Ok(probe)
    }

    /// Microseconds of processor time for each delivery to an audience of this size.
    async fn time(&mut self, members: u64) -> Result<f64> {
        let deliveries = self.deliveries(members);
        let before = self.notifier.function.program.cpu();
        self.notify(members, deliveries / members).await?;
        Ok((self.notifier.function.program.cpu() - before).as_secs_f64() * 1e6 / deliveries as f64)
    }

    fn deliveries(&self, members: u64) -> u64 {
        self.least.div_ceil(members) * members
    }

    async fn notify(&mut self, members: u64, repetitions: u64) -> Result<()> {
        self.audience.resize(members);
        for _ in 0..repetitions {
            self.notifier.notify(members).await?;
        }
        Ok(())
    }

    async fn stop(self) -> Result<()> {
        self.notifier.function.program.stop().await
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
