//! Parts of audiences, by the order that all of them have.

use super::keys::{ABOVE_ALL, PREFIXES_TOGETHER, everyone_partition, sort_key};
use crate::hex;
use crate::ids::ConnectionId;

/// A part of an audience: the sort keys above `after` up to and including `to`; a bound that is absent does not bound.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Interval {
    /// Exclusive lower bound.
    pub after: Option<String>,
    /// Inclusive upper bound.
    pub to: Option<String>,
}

impl Interval {
    /// Everything.
    #[must_use]
    pub fn whole() -> Self {
        Self::default()
    }

    /// Everything behind a connection, in the order that all audiences have.
    #[must_use]
    pub fn beyond(connection: &ConnectionId) -> Self {
        Self { after: Some(sort_key(connection)), to: None }
    }

    /// What is left behind a sort key of the interval; `None` when nothing can follow it. DynamoDB says that a page which
    /// ends at the upper bound goes on, and refuses to read from there.
    pub(super) fn behind(&self, sort_key: String) -> Option<Self> {
        let rest = Self { after: Some(sort_key), to: self.to.clone() };
        (!rest.is_empty()).then_some(rest)
    }

    /// Whether the sort key lies in the interval.
    #[must_use]
    pub fn contains(&self, sort_key: &str) -> bool {
        self.after.as_deref().is_none_or(|after| sort_key > after) && self.to.as_deref().is_none_or(|to| sort_key <= to)
    }

    /// The condition on the sort key, and the values of its placeholders. DynamoDB allows one condition, and `BETWEEN`
    /// includes both ends: a space after the lower bound excludes it, since ids have no character as low as a space.
    pub(super) fn condition(&self) -> (&'static str, Vec<(&'static str, String)>) {
        match (&self.after, &self.to) {
            (None, None) => ("pk = :pk", Vec::new()),
            (Some(after), None) => ("pk = :pk AND sk > :after", vec![(":after", after.clone())]),
            (None, Some(to)) => ("pk = :pk AND sk <= :to", vec![(":to", to.clone())]),
            (Some(after), Some(to)) => {
                ("pk = :pk AND sk BETWEEN :after AND :to", vec![(":after", format!("{after} ")), (":to", to.clone())])
            }
        }
    }

    fn is_empty(&self) -> bool {
        matches!((&self.after, &self.to), (Some(after), Some(to)) if after >= to)
    }

    /// The partitions of everyone that can hold something of the interval, in the order of their sort keys.
    pub(super) fn everyone_partitions(&self) -> Vec<String> {
        if self.is_empty() {
            return Vec::new();
        }
        let first_prefixes = (0..=u8::MAX).step_by(usize::from(PREFIXES_TOGETHER));
        first_prefixes.filter(|first| self.meets_prefixes_from(*first)).map(everyone_partition).collect()
    }

    /// Whether the hash prefixes that share a partition, from `first` on, can hold something of the interval.
    fn meets_prefixes_from(&self, first: u8) -> bool {
        let next = first.checked_add(PREFIXES_TOGETHER).map_or(ABOVE_ALL.to_owned(), |next| hex::encode(&[next]));
        self.after.as_deref().is_none_or(|after| after < next.as_str())
            && self.to.as_deref().is_none_or(|to| to >= hex::encode(&[first]).as_str())
    }

    /// The partition `pk` alone, unless the interval is empty.
    pub(super) fn partition(&self, pk: String) -> Vec<String> {
        if self.is_empty() { Vec::new() } else { vec![pk] }
    }
}

#[cfg(test)]
mod tests {
    use super::super::keys::Key;
    use super::*;

    fn interval(after: &str, to: &str) -> Interval {
        let bound = |text: &str| (!text.is_empty()).then(|| text.to_owned());
        Interval { after: bound(after), to: bound(to) }
    }

    #[test]
    fn bounds_exclude_below_and_include_above() {
        let part = interval("40", "7f#zz");
        for (key, inside) in [("40", false), ("40#a", true), ("3f#zzz", false), ("7f#zz", true), ("7f#zzz", false)] {
            assert_eq!(part.contains(key), inside, "{key}");
        }
        assert!(interval("ff", "").contains("ff#zzz"));
    }

    #[test]
    fn nothing_is_left_behind_the_upper_bound() {
        let part = interval("40", "7f#zz");
        assert_eq!(part.behind("50#a".to_owned()), Some(interval("50#a", "7f#zz")));
        assert_eq!(part.behind("7f#zz".to_owned()), None);
        assert_eq!(interval("", "").behind("ff#a".to_owned()), Some(interval("ff#a", "")));
    }

    #[test]
    fn only_partitions_that_can_hold_something_are_read() {
        for (after, to, first, last, count) in [
            ("", "", "conn#00", "conn#fc", 64),
            ("40", "7f#zz", "conn#40", "conn#7c", 16),
            ("3f#zz", "40", "conn#3c", "conn#40", 2),
            ("ff#a", "", "conn#fc", "conn#fc", 1),
            ("fd", "", "conn#fc", "conn#fc", 1),
            ("", "03#a", "conn#00", "conn#00", 1),
        ] {
            let partitions = interval(after, to).everyone_partitions();
            let found = (partitions[0].as_str(), partitions[partitions.len() - 1].as_str(), partitions.len());
            assert_eq!(found, (first, last, count), "{after:?} {to:?}");
        }
        assert!(interval("7f", "7f").everyone_partitions().is_empty());
    }

    #[test]
    fn every_connection_is_in_one_of_the_partitions_of_everyone() {
        for index in 0..1_000 {
            let connection = ConnectionId::parse(format!("c{index}")).unwrap();
            let Key { pk, sk } = Key::everyone(&connection);
            let just_it = Interval { after: Some(sk[..2].to_owned()), to: Some(sk) };
            assert_eq!(just_it.everyone_partitions(), [pk]);
        }
    }
}
