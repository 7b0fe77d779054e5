//! From saying something until a client has it, with a log and without, one after the other on the same gateway.

use std::time::Instant;

use serde_json::json;

use super::{Place, next};
use crate::Result;
use crate::setup::Setup;
use crate::stats::Samples;
use crate::table::{Aim, Line};

const MESSAGES: u64 = 1_000;
/// Before anything is counted: functions have started, and code is loaded.
const WARM_UP: u64 = 50;
/// Without a log, with one, and with a lane.
const TOPICS: [&str; 3] = ["plain/one", "logged/one", "ordered/one"];
/// What a log may add, in milliseconds.
const MOST_MS: f64 = 3.0;

pub(super) async fn measure(setup: &Setup, place: &mut Place) -> Result<Vec<Line>> {
    let query: Vec<_> = TOPICS.iter().map(|topic| format!("topic={topic}")).collect();
    let mut socket = place.connect(&format!("?{}", query.join("&"))).await?;
    let mut times = [Samples::default(), Samples::default(), Samples::default()];
    for number in 0..WARM_UP + setup.size(MESSAGES) {
        for (topic, times) in TOPICS.iter().zip(&mut times) {
            let (data, begin) = (json!({"n": number}), Instant::now());
            let arrived = async {
                let message = next(&mut socket).await?;
                match message["data"]["n"] == number && message["topic"] == **topic {
                    true => Ok(begin.elapsed()),
                    false => Err(format!("instead of message {number} to {topic} came {message}").into()),
                }
            };
            let (took, ()) = tokio::try_join!(arrived, place.say(topic, &data))?;
            if number >= WARM_UP {
                times.push(took.as_secs_f64() * 1e3);
            }
        }
    }
    let [plain, logged, ordered] = times;
    Ok([lines("with a log", &logged, &plain), lines("of an ordered topic", &ordered, &plain)].concat())
}

fn lines(what: &str, with: &Samples, without: &Samples) -> Vec<Line> {
    let shares = [("p50", 0.5), ("p99", 0.99)];
    let lines = shares.iter().flat_map(|(name, share)| {
        let (with, without) = (with.part(*share), without.part(*share));
        let figure = format!("from saying to having a message {what}, {name}");
        let added = Line::new(format!("what it adds, {name}, {what}"), with - without, "ms").aim(Aim::AtMost(MOST_MS));
        [Line::new(figure, with, "ms").against("without a log", without), added]
    });
    lines.collect()
}
