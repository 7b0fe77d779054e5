//! The ids of the messages that came last: what tells a message without an offset from its double.

use std::collections::{HashSet, VecDeque};

use crate::position::Log;

/// How many ids are kept. Doubles come within seconds, so this is a matter of memory.
const KEPT: usize = 1_024;

/// One message: a notification for several logs comes once for each.
type Key = (String, Option<Log>);

/// The last ids.
#[derive(Debug, Default)]
pub(crate) struct Recent {
    order: VecDeque<Key>,
    known: HashSet<Key>,
}

impl Recent {
    /// Whether this one is new. A message without an id always is.
    pub(crate) fn insert(&mut self, id: &str, log: Option<Log>) -> bool {
        if id.is_empty() {
            return true;
        }
        let key = (id.to_owned(), log);
        if !self.known.insert(key.clone()) {
            return false;
        }
        self.order.push_back(key);
        if self.order.len() > KEPT
            && let Some(oldest) = self.order.pop_front()
        {
            self.known.remove(&oldest);
        }
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_double_is_known_by_id_and_log_until_it_is_long_ago() {
        let mut recent = Recent::default();
        assert!(recent.insert("n", None) && !recent.insert("n", None));
        assert!(recent.insert("n", Some(Log::User)), "for another log");
        assert!(recent.insert("", None) && recent.insert("", None), "no id, no double");
        for number in 0..KEPT {
            assert!(recent.insert(&number.to_string(), None));
        }
        assert!(recent.insert("n", None), "forgotten");
        assert_eq!((recent.order.len(), recent.known.len()), (KEPT, KEPT));
    }
}
