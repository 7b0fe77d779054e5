//! CloudWatch's embedded metric format: what it wants, and how much it takes. Its limits are those of the CloudWatch User
//! Guide, "Specification: Embedded metric format".

use aws_smithy_types::DateTime;
use aws_smithy_types::date_time::Format;
use serde_json::{Map, Value, json};

use super::{DIMENSION, Metric, NAMESPACE, Unit, Values};

/// Most metrics that a line may define; all of ours fit into one.
const MOST_METRICS: usize = 100;
const _: () = assert!(Metric::ALL.len() <= MOST_METRICS);
/// Most values that one metric may have in a line.
const MOST_VALUES: usize = 100;

/// One line for all that was counted, and further ones where there are more times than a line takes. Nothing for nothing.
pub(super) fn lines(stack: &str, level: &str, at: i64, values: &Values) -> String {
    let mut text = String::new();
    let mut rest = values.times.as_slice();
    let mut counts = Metric::ALL.iter().filter(|metric| values.sums[**metric as usize] > 0).collect::<Vec<_>>();
    while !counts.is_empty() || !rest.is_empty() {
        let (times, later) = rest.split_at(rest.len().min(MOST_VALUES));
        let mut found = Map::new();
        for metric in counts.drain(..) {
            found.insert(metric.name().to_owned(), values.sums[*metric as usize].into());
        }
        for metric in Metric::ALL.iter().filter(|metric| metric.unit() == Unit::Milliseconds) {
            let times: Vec<_> = times.iter().filter(|(of, _)| of == metric).map(|(_, time)| *time).collect();
            if !times.is_empty() {
                found.insert(metric.name().to_owned(), times.into());
            }
        }
        text.push_str(&line(stack, level, at, found));
        rest = later;
    }
    text
}

fn line(stack: &str, level: &str, at: i64, found: Map<String, Value>) -> String {
    let defined = Metric::ALL.iter().filter(|metric| found.contains_key(metric.name()));
    let defined: Vec<_> = defined.map(|metric| json!({"Name": metric.name(), "Unit": metric.unit().name()})).collect();
    let directive = json!({"Namespace": NAMESPACE, "Dimensions": [[DIMENSION]], "Metrics": defined});
    // Fails only for years beyond 9999.
    let timestamp = DateTime::from_millis(at).fmt(Format::DateTime).unwrap_or_default();
    let mut root = Map::from_iter([
        ("_aws".to_owned(), json!({"Timestamp": at, "CloudWatchMetrics": [directive]})),
        (DIMENSION.to_owned(), stack.into()),
        ("level".to_owned(), level.into()),
        ("timestamp".to_owned(), timestamp.into()),
    ]);
    root.extend(found);
    format!("{}\n", Value::Object(root))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn written(values: &Values) -> Vec<Value> {
        let text = lines("tidings", "INFO", 1_795_520_783_123, values);
        text.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
    }

    #[test]
    fn a_line_is_as_cloudwatch_specifies_it() {
        let mut values = Values::default();
        values.sums[Metric::Delivered as usize] = 3;
        values.times = vec![(Metric::FanOutLag, 12), (Metric::FanOutLag, 7)];
        let expected = json!({
            "_aws": {"Timestamp": 1_795_520_783_123_i64, "CloudWatchMetrics": [{
                "Namespace": "Tidings",
                "Dimensions": [["Stack"]],
                "Metrics": [
                    {"Name": "Delivered", "Unit": "Count"},
                    {"Name": "FanOutLag", "Unit": "Milliseconds"},
                ],
            }]},
            "Stack": "tidings",
            "Delivered": 3,
            "FanOutLag": [12, 7],
            "level": "INFO",
            "timestamp": "2026-11-24T11:46:23.123Z",
        });
        assert_eq!(written(&values), [expected]);
    }

    #[test]
    fn nothing_is_written_where_nothing_was_counted() {
        assert_eq!(lines("tidings", "INFO", 0, &Values::default()), "");
    }

    #[test]
    fn more_times_than_a_line_takes_go_into_further_lines_and_counts_are_told_once() {
        let mut values = Values::default();
        values.sums[Metric::KinesisNotifications as usize] = 250;
        values.times = (0..250).flat_map(|time| [(Metric::PickUpLag, time), (Metric::FanOutLag, time)]).collect();
        let lines = written(&values);
        let counted: Vec<_> = lines.iter().filter_map(|line| line.get("KinesisNotifications")).collect();
        assert_eq!(counted, [250]);
        for name in ["PickUpLag", "FanOutLag"] {
            let times: Vec<_> = lines.iter().filter_map(|line| line.get(name)?.as_array()).collect();
            assert!(times.iter().all(|times| times.len() <= MOST_VALUES));
            assert_eq!(times.into_iter().flatten().count(), 250);
        }
    }

    #[test]
    fn a_line_with_every_metric_stays_below_the_size_of_a_log_event() {
        let mut values = Values { sums: [u64::MAX; Metric::ALL.len()], times: Vec::new() };
        for metric in Metric::ALL.iter().filter(|metric| metric.unit() == Unit::Milliseconds) {
            values.sums[*metric as usize] = 0;
            values.times.extend((0..MOST_VALUES).map(|_| (*metric, u64::MAX)));
        }
        let text = lines(&"s".repeat(128), "ERROR", i64::from(i32::MAX), &values);
        assert!(text.lines().all(|line| line.len() < 256 * 1_024));
    }
}
