//! What a client asks of a log, from the query of `GET /messages`.

use std::time::Duration;

use tidings::log::{Epoch, LogName, LogPosition, MOST_OFFSET};
use tidings::protocol::MAX_MESSAGES_PER_COMMAND;
use tidings::{Topic, UserId};

use crate::problem::Problem;
use crate::query::Query;

/// Messages where the client does not say how many.
const DEFAULT_LIMIT: u64 = 100;
/// The longest that a request may wait, in seconds: API Gateway gives up after 30.
const LONGEST_WAIT: u64 = 20;

/// What is asked for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Asked {
    pub(crate) log: LogName,
    /// The last message that the client has; `None` for one that has none.
    pub(crate) since: Option<LogPosition>,
    /// No more messages than this.
    pub(crate) limit: usize,
    /// The newest first.
    pub(crate) reverse: bool,
    /// For how long the answer may wait for something new.
    pub(crate) wait: Duration,
}

impl Asked {
    pub(crate) fn take(query: &mut Query) -> Result<Self, Problem> {
        let log = log(query)?;
        let since = since(query)?;
        let most = MAX_MESSAGES_PER_COMMAND as u64;
        let limit = query.take_number("limit", 1..=most)?.unwrap_or(DEFAULT_LIMIT);
        let reverse = query.take_flag("reverse")?;
        let wait = Duration::from_secs(query.take_number("wait", 0..=LONGEST_WAIT)?.unwrap_or(0));
        if reverse && !wait.is_zero() {
            return Err(Problem::invalid("wait", "what is new is never behind in reverse; leave one of them out"));
        }
        Ok(Self { log, since, limit: usize::try_from(limit).unwrap_or(MAX_MESSAGES_PER_COMMAND), reverse, wait })
    }

    /// The user whose messages are asked for.
    pub(crate) fn user(&self) -> Option<&UserId> {
        match &self.log {
            LogName::User(user) => Some(user),
            LogName::Topic(_) => None,
        }
    }
}

fn log(query: &mut Query) -> Result<LogName, Problem> {
    match (query.take_id("topic", Topic::parse)?, query.take_id("user", UserId::parse)?) {
        (Some(topic), None) => Ok(LogName::Topic(topic)),
        (None, Some(user)) => Ok(LogName::User(user)),
        (None, None) => Err(Problem::invalid("topic", "it is missing; give ?topic= or ?user=")),
        (Some(_), Some(_)) => Err(Problem::invalid("topic", "`user` is given too; give one of them")),
    }
}

fn since(query: &mut Query) -> Result<Option<LogPosition>, Problem> {
    let offset = query.take_number("offset", 0..=MOST_OFFSET)?;
    let epoch = query.take("epoch").map(Epoch::parse).transpose().map_err(|error| Problem::invalid("epoch", error))?;
    match (offset, epoch) {
        (None, None) => Ok(None),
        (Some(offset), Some(epoch)) => Ok(Some(LogPosition { offset, epoch })),
        (Some(_), None) => {
            Err(Problem::invalid("epoch", "it is missing; give it with `offset`, as it came with the last message"))
        }
        (None, Some(_)) => {
            Err(Problem::invalid("offset", "it is missing; give it with `epoch`, as it came with the last message"))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn take(text: &str) -> Result<Asked, Problem> {
        Asked::take(&mut Query::parse(text).unwrap())
    }

    #[test]
    fn a_log_is_asked_for_with_a_place_in_it_or_without() {
        let topic = LogName::Topic(Topic::parse("a/b").unwrap());
        let plain = Asked { log: topic, since: None, limit: 100, reverse: false, wait: Duration::ZERO };
        assert_eq!(take("topic=a%2Fb"), Ok(plain.clone()));
        let since = Some(LogPosition { offset: 41, epoch: Epoch::parse("k3f9").unwrap() });
        let waits = Asked { since, limit: 7, wait: Duration::from_secs(20), ..plain };
        assert_eq!(take("topic=a/b&offset=41&epoch=k3f9&limit=7&wait=20"), Ok(waits));
        let own = take("user=u1&reverse=true").unwrap();
        assert_eq!((own.user().map(UserId::as_str), own.reverse), (Some("u1"), true));
    }

    #[test]
    fn what_is_malformed_names_its_field_and_the_fix() {
        for (text, detail) in [
            ("", "`topic`: it is missing; give ?topic= or ?user="),
            ("topic=a&user=b", "`topic`: `user` is given too; give one of them"),
            ("topic=", "`topic`: a topic is empty"),
            ("topic=a&offset=1", "`epoch`: it is missing; give it with `offset`"),
            ("topic=a&epoch=k", "`offset`: it is missing; give it with `epoch`"),
            ("topic=a&offset=-1&epoch=k", "`offset`: it is not a whole number from 0 to"),
            ("topic=a&offset=1&epoch=K!", "`epoch`: an epoch is 1 to 32 lower-case letters and digits"),
            ("topic=a&limit=1001", "`limit`: it is not a whole number from 1 to 1000"),
            ("topic=a&wait=21", "`wait`: it is not a whole number from 0 to 20"),
            ("topic=a&wait=0.5", "`wait`: it is not a whole number from 0 to 20"),
            ("topic=a&reverse=yes", "`reverse`: it is neither true nor false"),
            ("topic=a&reverse=true&wait=1", "`wait`: what is new is never behind in reverse"),
        ] {
            let told = take(text).unwrap_err().detail();
            assert!(told.starts_with(detail), "{text}: {told}");
        }
    }
}
