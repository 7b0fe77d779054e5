//! What a delivery costs as its audience grows: processor time, memory, read units.

use crate::Result;
use crate::audience::Audience;
use crate::notifier::Notifier;
use crate::setup::Setup;
use crate::sockets::Sockets;
use crate::stats::Samples;
use crate::table::{Aim, Line};

const SIZES: [u64; 5] = [100, 1_000, 10_000, 100_000, 1_000_000];
/// Deliveries that each size gets at least, so that small ones are measured as well as large ones.
const DELIVERIES: u64 = 40_000;

/// What one size costs.
struct Cost {
    members: u64,
    /// Microseconds of processor time for each delivery.
    time: f64,
    /// In MB.
    memory: f64,
    /// For each 1,000 deliveries.
    read_units: f64,
}

pub(super) async fn measure(setup: &Setup) -> Result<Vec<Line>> {
    let audience = Audience::start(0, None).await?;
    let sockets = Sockets::start(None, None).await?;
    let mut costs: Vec<Cost> = Vec::new();
    for members in SIZES.map(|size| setup.size(size)) {
        costs.push(cost(setup, &audience, &sockets, members).await?);
    }
    // Once more for what the others are compared with: the machine may have been busier then.
    let again = cost(setup, &audience, &sockets, costs[1].members).await?;
    costs[1].time = Samples::from_iter([costs[1].time, again.time]).median();
    Ok(lines(&costs))
}

async fn cost(setup: &Setup, audience: &Audience, sockets: &Sockets, members: u64) -> Result<Cost> {
    let log = setup.log("notifier");
    // It may be there from the last run.
    let _ = std::fs::remove_file(&log);
    let level = [("AWS_LAMBDA_LOG_LEVEL", "DEBUG"), ("RUST_LOG", "off,notifier=debug")];
    let mut notifier = Notifier::start(setup, audience, sockets, 1_000_000, &level).await?;
    audience.resize(members.min(300));
    notifier.notify(members.min(300)).await?;
    audience.resize(members);
    let before = notifier.function.program.cpu();
    let repetitions = setup.size(DELIVERIES).div_ceil(members);
    for _ in 0..repetitions {
        notifier.notify(members).await?;
    }
    let time = (notifier.function.program.cpu() - before).as_secs_f64() * 1e6 / (members * repetitions) as f64;
    let memory = notifier.function.program.peak_memory()? as f64 / 1e6;
    notifier.function.program.stop().await?;
    let read_units = last_read_units(&std::fs::read_to_string(&log)?).unwrap_or_default();
    Ok(Cost { members, time, memory, read_units: read_units * 1_000.0 / members as f64 })
}

/// What the notifier's log says of its last invocation.
fn last_read_units(log: &str) -> Option<f64> {
    let behind = log.rsplit_once("\"read_units\":")?.1;
    behind.split([',', '}']).next()?.trim().parse().ok()
}

fn lines(costs: &[Cost]) -> Vec<Line> {
    let mut lines = Vec::new();
    let [_, base, ..] = costs else { return lines };
    for cost in costs {
        let members = crate::table::number(cost.members as f64);
        let line = Line::new(format!("processor time per delivery, {members} members"), cost.time, "µs");
        let line = line.against("1,000 members", base.time);
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn read_units_are_those_of_the_last_invocation() {
        let log = "{\"fields\":{\"read_units\":1.5,\"write_units\":0}}\n{\"fields\":{\"read_units\":13.0}}\n";
        assert_eq!(last_read_units(log), Some(13.0));
    }
}
