//! Members whose clients neither sort nor drop what they get: each message once, in its order, or the connection is closed.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;
use std::time::Duration;

use futures_util::stream::{self, FuturesUnordered, StreamExt, TryStreamExt};
use tokio::time::Instant;

use super::{Attempt, Later, Looked, Run};
use crate::delivery::post::Outcome;
use crate::delivery::{Admission, DeliveryError, Doorkeeper, MAX_MESSAGE_BYTES, Verdict};
use crate::notification::Notification;
use crate::registry::{Begun, Member, RegistryError, Standing};

/// No post is made by what was read longer ago.
const OLD: Duration = Duration::from_secs(5);
/// When a connection that could not be closed is tried again.
const CLOSE_AGAIN: Duration = Duration::from_secs(1);
/// Members that are looked at side by side.
const SIDE_BY_SIDE: usize = 32;

/// What a run knows of its strict members.
pub(super) struct Strict {
    pub(super) doorkeeper: Option<Arc<Doorkeeper>>,
    /// How far an earlier run got with those that are still to be served.
    begun: BTreeMap<String, Begun>,
    /// Members that are being looked at again.
    pub(super) looking: FuturesUnordered<Later<(Attempt, Looked)>>,
    /// Whose posts are under way, by the number of their member.
    posted: HashMap<u64, String>,
}

/// Members, with what each of them gets.
pub(in crate::delivery) async fn admitted(
    doorkeeper: Option<Arc<Doorkeeper>>,
    members: Vec<Member>,
) -> Result<Vec<Admission>, RegistryError> {
    let Some(doorkeeper) = doorkeeper else {
        let admission = |mut member: Member| {
            // In a topic without order its client takes messages as they come.
            member.strict = None;
            Admission { member, verdict: Verdict::Live }
        };
        return Ok(members.into_iter().map(admission).collect());
    };
    let looks = members.into_iter().map(|member| {
        let look = member.strict.is_some().then(|| doorkeeper(member.clone(), false));
        async move {
            match look {
                Some(look) => look.await,
                None => Ok(Admission { member, verdict: Verdict::Live }),
            }
        }
    });
    stream::iter(looks).buffered(SIDE_BY_SIDE).try_collect().await
}

impl Strict {
    pub(super) fn new(doorkeeper: Option<Arc<Doorkeeper>>, begun: BTreeMap<String, Begun>) -> Self {
        Self { doorkeeper, begun, looking: FuturesUnordered::new(), posted: HashMap::new() }
    }

    /// Whether a member has this message.
    pub(super) fn has(&self, member: &Member, said: &Notification) -> bool {
        let (Some(strict), Some(place)) = (&member.strict, &said.log) else { return false };
        let live = match &strict.standing {
            Standing::Live(from) if from.epoch == place.position.epoch => from.offset,
            _ => 0,
        };
        let begun = match self.begun.get(&member.sort_key) {
            Some(Begun::At(offset)) => *offset,
            _ => 0,
        };
        place.position.offset <= live.max(begun)
    }

    /// A post to a member begins.
    pub(super) fn posted(&mut self, attempt: &Attempt) {
        if attempt.member.strict.is_some() {
            self.posted.insert(attempt.number, attempt.member.sort_key.clone());
        }
    }

    /// A post to a member was answered.
    pub(super) fn answered(&mut self, attempt: &Attempt) {
        if attempt.member.strict.is_some() {
            self.posted.remove(&attempt.number);
        }
    }

    /// A member has got something, and more is to come.
    pub(super) fn got(&mut self, attempt: &Attempt, begun: Begun) {
        if attempt.member.strict.is_some() {
            self.begun.insert(attempt.member.sort_key.clone(), begun);
        }
    }

    /// Nothing more is to be done for a member.
    pub(super) fn settled(&mut self, attempt: &Attempt) {
        self.begun.remove(&attempt.member.sort_key);
    }

    /// How far the members are that are not settled.
    pub(super) fn begun(&self) -> BTreeMap<String, Begun> {
        let mut begun = self.begun.clone();
        begun.extend(self.posted.values().map(|sort_key| (sort_key.clone(), Begun::Uncertain)));
        begun
    }
}

impl Attempt {
    /// Whether it is to be looked at, or closed, before anything else.
    pub(super) fn is_not_to_be_posted(&self) -> bool {
        self.member.strict.is_some() && (self.is_uncertain || self.read_at.elapsed() > OLD)
    }
}

impl Run<'_> {
    /// Looks at a strict member again, or closes it.
    pub(super) fn look_at(&mut self, attempt: Attempt) {
        if attempt.is_uncertain || self.strict.begun.get(&attempt.member.sort_key) == Some(&Begun::Uncertain) {
            return self.close_uncertain(attempt);
        }
        let Some(doorkeeper) = &self.strict.doorkeeper else { return self.close_uncertain(attempt) };
        let look = doorkeeper(attempt.member.clone(), true);
        self.strict.looking.push(Box::pin(async move {
            let looked = look.await;
            (attempt, looked)
        }));
    }

    pub(super) fn looked_at(&mut self, mut attempt: Attempt, looked: Looked) -> Result<(), DeliveryError> {
        let Admission { member, verdict } = looked?;
        attempt.member = member;
        let next = self.next_for(&attempt.member, attempt.next);
        match (verdict, next) {
            (Verdict::Uncertain, _) => self.close_uncertain(attempt),
            (Verdict::Live, Some(next)) => {
                (attempt.next, attempt.read_at) = (next, Instant::now());
                self.ready.push_front(attempt);
            }
            _ => {
                self.report.delivered += attempt.counts();
                self.settled(&attempt);
            }
        }
        Ok(())
    }

    /// Closes a member that may have what it must not get twice.
    fn close_uncertain(&mut self, mut attempt: Attempt) {
        attempt.is_uncertain = true;
        self.strict.got(&attempt, Begun::Uncertain);
        self.close(attempt);
    }

    /// What becomes of a strict member by what its post was answered: whoever may have its message does not get it again.
    pub(super) fn settle_strict(&mut self, mut attempt: Attempt, outcome: Outcome) -> Result<(), DeliveryError> {
        match outcome {
            Outcome::Delivered => {
                self.refusal = None;
                self.note_ok();
                self.settle_delivered(attempt);
            }
            Outcome::Gone | Outcome::Invalid => self.gone.push_back(attempt),
            Outcome::Throttled => {
                self.report.throttled += 1;
                attempt.throttles += 1;
                self.settle_lagging(attempt);
            }
            Outcome::Passing(reason) | Outcome::Refused(reason) => {
                self.log(&attempt.member, &format!("{reason}; it may have the message, so it is closed, and recovers"));
                self.close_uncertain(attempt);
            }
            Outcome::Forbidden(reason) => self.settle_forbidden(attempt, reason),
            // Those who come of an outbox are not strict: their library sorts.
            Outcome::Deferred => self.settle_lagging(attempt),
            Outcome::TooLarge => {
                let bytes = self.message(&attempt).bytes.len();
                return Err(DeliveryError::PayloadTooLarge { bytes, most: MAX_MESSAGE_BYTES });
            }
        }
        Ok(())
    }

    /// A strict member could not be closed.
    pub(super) fn close_again(&mut self, attempt: Attempt) {
        self.wait(attempt, CLOSE_AGAIN);
    }
}
