//! What a delivery costs as its audience grows: processor time, memory, read units.
//!
//! A machine is not equally fast for minutes, and a million members take one. So two notifiers work at the same time, one with
//! the size and one with the base.

use std::cell::Cell;
use std::time::Duration;

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
const DELIVERIES: u64 = 20_000;
/// Members of the notifications before the measurement.
const WARM_UP: u64 = 100;

/// What one size costs.
#[derive(Default)]
struct Cost {
    members: u64,
    /// Microseconds of processor time for each delivery.
    time: Samples,
    /// The same of the base, meanwhile.
    base: Samples,
    /// In MB, of a process that has had this size only.
    memory: Samples,
    /// For each 1,000 deliveries.
    read_units: Samples,
}

/// How often a size is measured: a million members take a minute.
fn turns(members: u64) -> usize {
    match members {
        0..100_000 => 3,
        _ => 1,
    }
}

pub(super) async fn measure(setup: &Setup) -> Result<Vec<Line>> {
    let sockets = Sockets::start(None, None).await?;
    let mut costs = SIZES.map(|size| Cost { members: setup.size(size), ..Cost::default() });
    for turn in 0..setup.rounds(3) {
        for cost in costs.iter_mut().filter(|cost| turn < turns(cost.members)) {
            let mut size = Probe::start(setup, &sockets, cost.members).await?;
            let mut base = Probe::start(setup, &sockets, setup.size(BASE)).await?;
            size.beside(&mut base, setup.size(DELIVERIES)).await?;
            cost.time.push(size.time());
            cost.base.push(base.time());
            cost.memory.push(size.notifier.function.program.peak_memory()? as f64 / 1e6);
            cost.read_units.push(size.audience.take_units() * 1_000.0 / size.deliveries as f64);
            size.notifier.function.program.stop().await?;
            base.notifier.function.program.stop().await?;
        }
    }
    Ok(lines(&costs))
}

/// A notifier under measurement, with an audience of its own.
struct Probe {
    notifier: Notifier,
    audience: Audience,
    members: u64,
    deliveries: u64,
    /// Processor time before the first of them.
    before: Duration,
}

impl Probe {
    /// Starts it. Connections are open, and nothing is done for the first time.
    async fn start(setup: &Setup, sockets: &Sockets, members: u64) -> Result<Self> {
        let audience = Audience::start(WARM_UP, None).await?;
        let mut notifier = Notifier::start(setup, &audience, sockets, 1_000_000, &[]).await?;
        for _ in 0..3 {
            notifier.notify(WARM_UP).await?;
        }
        audience.resize(members);
        audience.take_units();
        let before = notifier.function.program.cpu();
        Ok(Self { notifier, audience, members, deliveries: 0, before })
    }

    /// Makes so many deliveries at least, while `base` makes its own.
    async fn beside(&mut self, base: &mut Self, deliveries: u64) -> Result<()> {
        let done = Cell::new(false);
        let measured = async {
            while self.deliveries < deliveries {
                self.notify().await?;
            }
            done.set(true);
            Result::Ok(())
        };
        let compared = async {
            while !done.get() {
                base.notify().await?;
            }
            Result::Ok(())
        };
        tokio::try_join!(measured, compared)?;
        Ok(())
    }

    async fn notify(&mut self) -> Result<()> {
        self.notifier.notify(self.members).await?;
        self.deliveries += self.members;
        Ok(())
    }

    /// Microseconds of processor time for each delivery.
    fn time(&self) -> f64 {
        (self.notifier.function.program.cpu() - self.before).as_secs_f64() * 1e6 / self.deliveries as f64
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
