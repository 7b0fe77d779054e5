//! What a delivery costs as its audience grows: processor time, memory, read units.

use crate::Result;
use crate::audience::Audience;
use crate::notifier::Notifier;
use crate::setup::Setup;
use crate::sockets::Sockets;
use crate::table::{Aim, Line};

/// What the others are compared with.
const BASE: u64 = 1_000;
const SIZES: [u64; 5] = [100, BASE, 10_000, 100_000, 1_000_000];
/// Deliveries that each size gets at least, so that small ones are measured as well as large ones.
const DELIVERIES: u64 = 40_000;

/// What one size costs.
struct Cost {
    members: u64,
    /// Microseconds of processor time for each delivery.
    time: f64,
    /// The same of the base, measured just before and just after: a machine is not equally fast for minutes.
    base: f64,
    /// In MB.
    memory: f64,
    /// For each 1,000 deliveries.
    read_units: f64,
}

pub(super) async fn measure(setup: &Setup) -> Result<Vec<Line>> {
    let audience = Audience::start(0, None).await?;
    let sockets = Sockets::start(None, None).await?;
    let mut costs = Vec::new();
    let mut before = cost(setup, &audience, &sockets, setup.size(BASE)).await?;
    for members in SIZES.map(|size| setup.size(size)) {
        let mut cost_of = cost(setup, &audience, &sockets, members).await?;
        let after = cost(setup, &audience, &sockets, setup.size(BASE)).await?;
        cost_of.base = f64::midpoint(before.time, after.time);
        costs.push(cost_of);
        before = after;
    }
    Ok(lines(&costs))
}

async fn cost(setup: &Setup, audience: &Audience, sockets: &Sockets, members: u64) -> Result<Cost> {
    let mut notifier = Notifier::start(setup, audience, sockets, 1_000_000, &[]).await?;
    // Connections are open, and nothing is done for the first time.
    audience.resize(members.min(300));
    notifier.notify(members.min(300)).await?;
    audience.resize(members);
    audience.take_units();
    let before = notifier.function.program.cpu();
    let repetitions = setup.size(DELIVERIES).div_ceil(members);
    for _ in 0..repetitions {
        notifier.notify(members).await?;
    }
    let deliveries = (members * repetitions) as f64;
    let time = (notifier.function.program.cpu() - before).as_secs_f64() * 1e6 / deliveries;
    let memory = notifier.function.program.peak_memory()? as f64 / 1e6;
    notifier.function.program.stop().await?;
    Ok(Cost { members, time, base: time, memory, read_units: audience.take_units() * 1_000.0 / deliveries })
}

fn lines(costs: &[Cost]) -> Vec<Line> {
    let mut lines = Vec::new();
    let [_, base, ..] = costs else { return lines };
    for cost in costs {
        let members = crate::table::number(cost.members as f64);
        let line = Line::new(format!("processor time per delivery, {members} members"), cost.time, "µs");
        let line = line.against("1,000 members", cost.base);
        lines.push(if cost.members == 1_000_000 { line.aim(Aim::RatioAtMost(1.1)) } else { line });
    }
    for cost in costs {
        let members = crate::table::number(cost.members as f64);
        let line = Line::new(format!("peak memory of the notifier, {members} members"), cost.memory, "MB");
        let line = line.against("1,000 members", base.memory);
        lines.push(if cost.members == 100_000 { line.aim(Aim::RatioAtMost(1.2)) } else { line });
    }
    for cost in costs {
        let members = crate::table::number(cost.members as f64);
        lines.push(Line::new(format!("read units per 1,000 deliveries, {members} members"), cost.read_units, ""));
    }
    lines
}
