//! How near a broadcast comes to what AWS's quota allows.

use crate::Result;
use crate::audience::Audience;
use crate::notifier::Notifier;
use crate::setup::Setup;
use crate::sockets::{QUOTA, Sockets};
use crate::stats::Samples;
use crate::table::{Aim, Line};

pub(super) async fn measure(setup: &Setup) -> Result<Vec<Line>> {
    let audience = Audience::start(0, None).await?;
    let (rate, burst) = QUOTA;
    let sockets = Sockets::start(Some(QUOTA), None).await?;
    let mut lines = Vec::new();
    for (members, rounds) in [(10_000, 9), (100_000, 1), (1_000_000, 1)] {
        let members = setup.size(members);
        let (mut times, mut throttled) = (Samples::default(), Samples::default());
        for _ in 0..if setup.quick { 1 } else { rounds } {
            let mut notifier = Notifier::start(setup, &audience, &sockets, rate as u64, &[]).await?;
            audience.resize(members);
            audience.rest();
            sockets.reset();
            let (begin, _) = notifier.notify(members).await?;
            let seen = sockets.reset();
            times.push(seen.since(begin).as_secs_f64());
            throttled.push(seen.throttled as f64);
            notifier.function.program.stop().await?;
        }
        let bound = ((members as f64 - burst) / rate).max(0.0);
        let line =
            Line::new(format!("broadcast to {} members", crate::table::number(members as f64)), times.median(), "s")
                .against("bound of the quota", bound);
        let line = line.note(format!("answers 429: {}", throttled.median()));
        lines.push(if setup.quick { line } else { line.aim(Aim::RatioAtMost(1.05)) });
    }
    Ok(lines)
}
