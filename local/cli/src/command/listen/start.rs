//! Where in its log each topic begins.

use tidings_client::{Log, Position};

use super::Failure;

/// One `--since`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Since {
    topic: Option<String>,
    offset: u64,
    epoch: Option<String>,
}

/// Where a log begins.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Start {
    /// With what comes from now on.
    Now,
    /// After a position.
    Since(Position),
    /// After an offset of the log that there is now.
    Offset(u64),
    /// With the newest so many messages.
    Newest(u32),
}

impl Start {
    /// Whether the server need not be asked for it.
    pub(super) fn is_known(&self) -> bool {
        matches!(self, Self::Now | Self::Since(_))
    }

    /// The position, now that it is known where the log stands.
    pub(super) fn position(&self, newest: Position) -> Position {
        match self {
            Self::Now | Self::Newest(_) => newest,
            Self::Since(position) => position.clone(),
            Self::Offset(offset) => Position { offset: *offset, epoch: newest.epoch },
        }
    }
}

/// Reads `--since`.
pub(super) fn since(text: &str) -> Result<Since, String> {
    let (topic, position) = text.rsplit_once('=').map_or((None, text), |(topic, rest)| (Some(topic.to_owned()), rest));
    let (offset, epoch) = position.split_once('/').map_or((position, None), |(offset, epoch)| (offset, Some(epoch)));
    let offset = offset.parse().map_err(|_| "write an offset such as 41, 41/k3f9 or orders/42=41".to_owned())?;
    if topic.as_deref() == Some("") || epoch == Some("") {
        return Err("write a topic before the `=`, and an epoch after the `/`, or leave them out".to_owned());
    }
    Ok(Since { topic, offset, epoch: epoch.map(str::to_owned) })
}

/// Where each log begins. An offset without a topic is that of the only topic, or of the user.
pub(super) fn starts(logs: Vec<Log>, since: &[Since], newest: Option<u32>) -> Result<Vec<(Log, Start)>, Failure> {
    let first = newest.map_or(Start::Now, Start::Newest);
    let mut starts: Vec<_> = logs.into_iter().map(|log| (log, first.clone())).collect();
    let topics = starts.iter().filter(|(log, _)| *log != Log::User).count();
    for one in since {
        let start = match one.epoch.clone() {
            Some(epoch) => Start::Since(Position { offset: one.offset, epoch }),
            None => Start::Offset(one.offset),
        };
        let place = match &one.topic {
            Some(topic) => starts.iter_mut().find(|(log, _)| *log == Log::topic(topic)),
            None if topics > 1 => None,
            None => starts.first_mut(),
        };
        let Some((_, place)) = place else {
            return Err(Failure(match &one.topic {
                Some(topic) => format!("--since {topic}=…: listen to it too, with --topic {topic}"),
                None => format!("--since {}: there are several topics; write TOPIC={0}", one.offset),
            }));
        };
        *place = start;
    }
    Ok(starts)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn position(offset: u64, epoch: &str) -> Position {
        Position { offset, epoch: epoch.to_owned() }
    }

    #[test]
    fn an_offset_may_have_a_topic_and_an_epoch() {
        let read = |text| since(text).map(|since| (since.topic, since.offset, since.epoch)).ok();
        let owned = |text: &str| Some(text.to_owned());
        assert_eq!(read("41"), Some((None, 41, None)));
        assert_eq!(read("41/k3f9"), Some((None, 41, owned("k3f9"))));
        assert_eq!(read("orders/42=41"), Some((owned("orders/42"), 41, None)));
        assert_eq!(read("a=b=0/e"), Some((owned("a=b"), 0, owned("e"))));
        for wrong in ["", "x", "-1", "=4", "4/", "a=", "orders/42"] {
            assert_eq!(read(wrong), None, "{wrong}");
        }
    }

    #[test]
    fn each_log_begins_where_it_was_said() {
        let starts = |topics: &[&str], user: bool, given: &[&str], newest| {
            let logs = topics.iter().map(|topic| Log::topic(*topic)).chain(user.then_some(Log::User)).collect();
            let given: Vec<_> = given.iter().map(|text| since(text).unwrap()).collect();
            let starts = super::starts(logs, &given, newest);
            starts.map(|starts| starts.into_iter().map(|(_, start)| start).collect::<Vec<_>>())
        };
        assert_eq!(starts(&["a", "b"], true, &[], None).unwrap(), [Start::Now, Start::Now, Start::Now]);
        assert_eq!(starts(&["a"], true, &["4"], None).unwrap(), [Start::Offset(4), Start::Now]);
        assert_eq!(starts(&[], true, &["4/e"], None).unwrap(), [Start::Since(position(4, "e"))]);
        assert_eq!(starts(&["a", "b"], false, &["b=4"], None).unwrap(), [Start::Now, Start::Offset(4)]);
        assert_eq!(starts(&["a"], false, &[], Some(3)).unwrap(), [Start::Newest(3)]);
        assert!(starts(&["a", "b"], false, &["4"], None).is_err(), "of which one?");
        assert!(starts(&["a"], false, &["b=4"], None).is_err(), "nobody listens to it");
    }

    #[test]
    fn an_offset_without_an_epoch_is_one_of_the_log_that_there_is() {
        assert_eq!(Start::Offset(4).position(position(9, "e")), position(4, "e"));
        assert_eq!(Start::Newest(4).position(position(9, "e")), position(9, "e"));
    }
}
