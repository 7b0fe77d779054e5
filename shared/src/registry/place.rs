//! Which of two commands of a connection came first.
//!
//! API Gateway runs the frames of one connection side by side, so what a client sent last may be carried out first.

use aws_sdk_dynamodb::types::AttributeValue;

/// Above every [`Place`]'s number.
const NUMBERS: u128 = 10_u128.pow(20);
/// The latest time of a [`Place`]: DynamoDB's numbers have 38 digits.
const LATEST: u64 = 10_u64.pow(18) - 1;

/// Where a command stands among those of its connection: by time, and by number where the time is the same. Two commands
/// of one place have no order.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Place {
    at: u64,
    number: u64,
}

impl Place {
    /// That of a command which came at `at`, in milliseconds since the epoch as API Gateway says it (`requestTimeEpoch`),
    /// as number `number` of its connection; 0 where the protocol does not number commands. Times are from 1970 on.
    #[must_use]
    pub fn new(at: i64, number: u64) -> Self {
        Self { at: u64::try_from(at).unwrap_or_default().min(LATEST), number }
    }

    /// As the table has it, where DynamoDB compares. Without a number it ends in zeros, which take no room.
    pub(super) fn attribute(self) -> AttributeValue {
        AttributeValue::N((u128::from(self.at) * NUMBERS + u128::from(self.number)).to_string())
    }
}

/// Who changes a membership.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum By {
    /// A command of the client: it counts where no later one was there before it.
    Command(Place),
    /// A server, which counts in any case: above the commands that were there before it, below the next.
    Server,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn places_are_in_the_table_in_the_order_that_they_have() {
        let number = |place: Place| place.attribute().as_n().unwrap().parse::<u128>().unwrap();
        let rising = [
            Place::new(-1, 0),
            Place::new(0, 1),
            Place::new(1_795_520_783_000, 0),
            Place::new(1_795_520_783_000, 7),
            Place::new(1_795_520_783_000, u64::MAX),
            Place::new(1_795_520_783_001, 0),
        ];
        for pair in rising.windows(2) {
            assert!(pair[0] < pair[1] && number(pair[0]) < number(pair[1]), "{pair:?}");
        }
        // DynamoDB takes no longer ones.
        assert_eq!(Place::new(i64::MAX, u64::MAX).attribute().as_n().unwrap().len(), 38);
    }
}
