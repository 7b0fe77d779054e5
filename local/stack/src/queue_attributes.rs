//! Queue attributes: text in the API, properties in a template, numbers in [`QueueSettings`].

use std::ops::RangeInclusive;

use serde_json::{Map, Value, json};

use crate::{QueueSettings, Redrive};

/// Sets one attribute by its name in the API.
///
/// # Errors
/// With what it must be instead, to be put behind the attribute's name.
pub fn set(settings: &mut QueueSettings, name: &str, value: &str) -> Result<(), String> {
    match name {
        "VisibilityTimeout" => settings.visibility_timeout = number(value, 0..=43_200)?,
        "DelaySeconds" => settings.delay = number(value, 0..=900)?,
        "MessageRetentionPeriod" => settings.retention = number(value, 60..=1_209_600)?,
        "ReceiveMessageWaitTimeSeconds" => settings.receive_wait = number(value, 0..=20)?,
        "MaximumMessageSize" => settings.maximum_message_size = number(value, 1_024..=1_048_576)?,
        "FifoQueue" => settings.fifo = flag(value)?,
        "ContentBasedDeduplication" => settings.content_based_deduplication = flag(value)?,
        "DeduplicationScope" => settings.deduplication_by_group = choice(value, ["queue", "messageGroup"])?,
        "RedrivePolicy" => settings.redrive = redrive(value)?,
        _ if IGNORED.contains(&name) => {}
        _ => return Err("is no attribute of a queue".to_owned()),
    }
    Ok(())
}

/// What SQS knows and what means nothing here.
const IGNORED: [&str; 6] = [
    "FifoThroughputLimit",
    "KmsDataKeyReusePeriodSeconds",
    "KmsMasterKeyId",
    "Policy",
    "RedriveAllowPolicy",
    "SqsManagedSseEnabled",
];

fn number<T>(value: &str, range: RangeInclusive<T>) -> Result<T, String>
where
    T: std::str::FromStr + PartialOrd + std::fmt::Display,
{
    value.trim().parse().ok().filter(|number| range.contains(number)).ok_or_else(|| {
        let (least, most) = (range.start(), range.end());
        format!("must be a whole number from {least} to {most}, not `{value}`")
    })
}

fn flag(value: &str) -> Result<bool, String> {
    choice(&value.to_ascii_lowercase(), ["false", "true"])
}

/// Whether the value is the second of two.
fn choice(value: &str, [first, second]: [&str; 2]) -> Result<bool, String> {
    match value {
        _ if value == first => Ok(false),
        _ if value == second => Ok(true),
        _ => Err(format!("must be `{first}` or `{second}`, not `{value}`")),
    }
}

fn redrive(value: &str) -> Result<Option<Redrive>, String> {
    if value.is_empty() {
        return Ok(None);
    }
    let policy: Value = serde_json::from_str(value).map_err(|error| format!("must be JSON: {error}"))?;
    let arn = policy["deadLetterTargetArn"].as_str().ok_or("needs a `deadLetterTargetArn`")?;
    let count = match &policy["maxReceiveCount"] {
        Value::String(text) => text.parse().ok(),
        count => count.as_u64(),
    };
    let count = count.and_then(|count| u32::try_from(count).ok()).filter(|count| (1..=1000).contains(count));
    let max_receive_count = count.ok_or("needs a `maxReceiveCount` from 1 to 1000")?;
    Ok(Some(Redrive { dead_letter_queue: arn.to_owned(), max_receive_count }))
}

/// All attributes as the API shows them.
pub fn to_json(settings: &QueueSettings) -> Map<String, Value> {
    let mut shown = Map::new();
    let mut show = |name: &str, value: String| shown.insert(name.to_owned(), value.into());
    show("VisibilityTimeout", settings.visibility_timeout.to_string());
    show("DelaySeconds", settings.delay.to_string());
    show("MessageRetentionPeriod", settings.retention.to_string());
    show("ReceiveMessageWaitTimeSeconds", settings.receive_wait.to_string());
    show("MaximumMessageSize", settings.maximum_message_size.to_string());
    show("SqsManagedSseEnabled", "true".to_owned());
    if settings.fifo {
        let scope = if settings.deduplication_by_group { "messageGroup" } else { "queue" };
        show("FifoQueue", "true".to_owned());
        show("ContentBasedDeduplication", settings.content_based_deduplication.to_string());
        show("DeduplicationScope", scope.to_owned());
        show("FifoThroughputLimit", "perQueue".to_owned());
    }
    if let Some(Redrive { dead_letter_queue, max_receive_count }) = &settings.redrive {
        let policy = json!({"deadLetterTargetArn": dead_letter_queue, "maxReceiveCount": max_receive_count});
        show("RedrivePolicy", policy.to_string());
    }
    shown
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn attributes_are_shown_as_they_were_set() {
        let mut settings = QueueSettings::default();
        let policy = r#"{"deadLetterTargetArn":"arn:aws:sqs:us-east-1:123456789012:Dead","maxReceiveCount":"3"}"#;
        for (name, value) in [
            ("VisibilityTimeout", "45"),
            ("DelaySeconds", "1"),
            ("MessageRetentionPeriod", "60"),
            ("FifoQueue", "true"),
            ("DeduplicationScope", "messageGroup"),
            ("RedrivePolicy", policy),
            ("KmsMasterKeyId", "alias/aws/sqs"),
        ] {
            set(&mut settings, name, value).unwrap();
        }
        let shown = to_json(&settings);
        assert_eq!(shown["VisibilityTimeout"], "45");
        assert_eq!(shown["DeduplicationScope"], "messageGroup");
        assert_eq!(shown["RedrivePolicy"], policy.replace("\"3\"", "3"));
    }

    #[test]
    fn a_wrong_attribute_says_what_it_must_be() {
        let check = |name: &str, value: &str, words: &str| {
            assert_eq!(set(&mut QueueSettings::default(), name, value), Err(words.to_owned()), "{name}");
        };
        check("VisibilityTimeout", "x", "must be a whole number from 0 to 43200, not `x`");
        check("MessageRetentionPeriod", "59", "must be a whole number from 60 to 1209600, not `59`");
        check("FifoQueue", "yes", "must be `false` or `true`, not `yes`");
        check("RedrivePolicy", "{}", "needs a `deadLetterTargetArn`");
        check("RedrivePolicy", r#"{"deadLetterTargetArn":"a"}"#, "needs a `maxReceiveCount` from 1 to 1000");
        check("Colour", "red", "is no attribute of a queue");
    }
}
