//! What was asked of the server and is not answered yet. Pure, but for the answers to whoever called.

use std::collections::HashMap;
use std::time::Duration;

use tokio::sync::oneshot;
use tokio::time::Instant;

use crate::error::CallError;
use crate::position::{Log, Position};
use crate::sequencer::Asked;

/// A question of the client's own that has no answer after this time will get none: a function failed.
const PATIENCE: Duration = Duration::from_secs(15);

/// Where the answer to a call goes: the frame.
pub(crate) type Answer = oneshot::Sender<Result<String, CallError>>;

/// Why something was asked.
#[derive(Debug)]
pub(crate) enum Purpose {
    /// To be subscribed to these.
    Subscribe(Vec<(Log, Asked)>),
    /// To get what comes after a position.
    History(Log, Position),
    /// On the application's behalf.
    Call(Answer),
}

#[derive(Debug)]
struct Request {
    link: u64,
    purpose: Purpose,
    /// Calls are timed by whoever waits for them.
    expires: Option<Instant>,
}

#[derive(Debug, Default)]
pub(crate) struct Requests {
    last: u64,
    open: HashMap<u64, Request>,
}

impl Requests {
    /// Notes what is asked on a link; the id to ask with.
    pub(crate) fn insert(&mut self, link: u64, purpose: Purpose, now: Instant) -> u64 {
        self.last += 1;
        let expires = (!matches!(purpose, Purpose::Call(_))).then(|| now + PATIENCE);
        self.open.insert(self.last, Request { link, purpose, expires });
        self.last
    }

    /// What this answer is to; `None` for one that is waited for no more.
    pub(crate) fn answered(&mut self, id: u64) -> Option<(u64, Purpose)> {
        self.open.remove(&id).map(|request| (request.link, request.purpose))
    }

    /// What was asked on a link that is gone.
    pub(crate) fn of_link(&mut self, link: u64) -> Vec<Purpose> {
        self.take(|request| request.link == link).into_iter().map(|(_, purpose)| purpose).collect()
    }

    /// What has waited for too long, each with its link.
    pub(crate) fn expired(&mut self, now: Instant) -> Vec<(u64, Purpose)> {
        self.take(|request| request.expires.is_some_and(|expires| expires <= now))
    }

    /// When something will have waited for too long.
    pub(crate) fn due(&self) -> Option<Instant> {
        self.open.values().filter_map(|request| request.expires).min()
    }

    /// Whether a subscription is still to be acknowledged on a link.
    pub(crate) fn is_subscribing(&self, link: u64) -> bool {
        let of_link = |request: &&Request| request.link == link;
        self.open.values().filter(of_link).any(|request| matches!(request.purpose, Purpose::Subscribe(_)))
    }

    /// Whether somebody waits for an answer, on any link, or on this one.
    pub(crate) fn has_calls(&self, link: Option<u64>) -> bool {
        let of_link = |request: &&Request| link.is_none_or(|link| request.link == link);
        let is_call = |request: &Request| matches!(&request.purpose, Purpose::Call(answer) if !answer.is_closed());
        self.open.values().filter(of_link).any(is_call)
    }

    fn take(&mut self, which: impl Fn(&Request) -> bool) -> Vec<(u64, Purpose)> {
        let taken = self.open.extract_if(|_, request| which(request));
        taken.map(|(_, request)| (request.link, request.purpose)).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn questions_are_kept_by_link_and_expire_but_for_calls() {
        let (mut requests, now) = (Requests::default(), Instant::now());
        let subscribe = || Purpose::Subscribe(vec![(Log::User, Asked::Now)]);
        let (answer, caller) = oneshot::channel();
        assert_eq!(requests.insert(1, subscribe(), now), 1);
        assert_eq!(requests.insert(2, Purpose::Call(answer), now), 2);
        assert_eq!(requests.insert(2, subscribe(), now), 3);
        assert!(requests.is_subscribing(1) && requests.has_calls(None) && !requests.has_calls(Some(1)));
        drop(caller);
        assert!(!requests.has_calls(None), "nobody waits any more");
        assert!(matches!(requests.answered(1), Some((1, Purpose::Subscribe(_)))));
        assert!(requests.answered(1).is_none() && !requests.is_subscribing(1));
        assert_eq!(requests.due(), Some(now + PATIENCE));
        assert!(requests.expired(now).is_empty());
        assert_eq!(requests.expired(now + PATIENCE).len(), 1);
        assert_eq!(requests.of_link(2).len(), 1);
    }
}
