//! What happens to a batch of a stream that fails: again from where it failed, in halves, or given up.
//!
//! (Lambda Developer Guide, "Parameters for Amazon DynamoDB event source mappings" and "Configuring partial batch
//! response with DynamoDB and Lambda".)

use std::ops::Range;
use std::time::Duration;

use crate::destination::Condition;
use tidings_local_stack::StreamOptions;

/// The way through one batch. Records are named by their place in it.
#[derive(Debug)]
pub(super) struct Plan<'a> {
    options: &'a StreamOptions,
    /// What is still to be done; the last piece comes first.
    pieces: Vec<Piece>,
}

#[derive(Debug)]
struct Piece {
    records: Range<usize>,
    /// How often it has failed, not counting the failures that split it.
    failures: u64,
    invocations: u32,
}

/// What to do next.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Step {
    /// Invoke the function with these records, then tell how it went.
    Invoke(Range<usize>),
    /// Tell the destination about these records, which are done with.
    GiveUp { records: Range<usize>, condition: Condition, invocations: u32 },
    /// All is done.
    Done,
}

impl<'a> Plan<'a> {
    pub(super) fn new(records: usize, options: &'a StreamOptions) -> Self {
        Self { options, pieces: vec![Piece { records: 0..records, failures: 0, invocations: 0 }] }
    }

    /// The next step, given how old each record is.
    pub(super) fn next(&mut self, age: impl Fn(usize) -> Duration) -> Step {
        loop {
            let Some(piece) = self.pieces.last_mut() else { return Step::Done };
            if piece.records.is_empty() {
                self.pieces.pop();
                continue;
            }
            let too_old =
                |record: &usize| self.options.maximum_age.is_some_and(|most| age(*record) > Duration::from_secs(most));
            let expired = piece.records.clone().take_while(too_old).count();
            let invocations = piece.invocations;
            if expired > 0 {
                let records = piece.records.start..piece.records.start + expired;
                piece.records.start += expired;
                return Step::GiveUp { records, condition: Condition::RecordAgeExceeded, invocations };
            }
            let records = piece.records.clone();
            if self.options.maximum_retries.is_some_and(|most| piece.failures > most) {
                self.pieces.pop();
                return Step::GiveUp { records, condition: Condition::RetryAttemptsExhausted, invocations };
            }
            piece.invocations += 1;
            return Step::Invoke(records);
        }
    }

    /// The function has done the records of the last step.
    pub(super) fn succeeded(&mut self) {
        self.pieces.pop();
    }

    /// The function has failed, on this record and what follows it if it said so, else on all of the last step.
    pub(super) fn failed(&mut self, first: Option<usize>) {
        let Some(mut piece) = self.pieces.pop() else { return };
        if let Some(first) = first.filter(|first| *first > piece.records.start) {
            // What came before is done, so the rest begins anew.
            self.pieces.push(Piece { records: first..piece.records.end, failures: 1, invocations: 1 });
            return;
        }
        if self.options.bisects && piece.records.len() > 1 {
            let Range { start, end } = piece.records;
            let middle = start + (end - start).div_ceil(2);
            let half = |records| Piece { records, failures: piece.failures, invocations: piece.invocations };
            self.pieces.extend([half(middle..end), half(start..middle)]);
            return;
        }
        piece.failures += 1;
        self.pieces.push(piece);
    }

    /// How often what comes next has failed.
    pub(super) fn failures(&self) -> u32 {
        self.pieces.last().map_or(0, |piece| piece.invocations)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn options(maximum_retries: Option<u64>, bisects: bool) -> StreamOptions {
        StreamOptions { maximum_retries, bisects, ..StreamOptions::default() }
    }

    fn young(_: usize) -> Duration {
        Duration::ZERO
    }

    /// The steps of a batch in which the function fails whenever it meets one of the `bad` records.
    fn steps(records: usize, options: &StreamOptions, reports: bool, bad: &[usize]) -> Vec<Step> {
        let mut plan = Plan::new(records, options);
        let mut steps = Vec::new();
        loop {
            let step = plan.next(young);
            match &step {
                Step::Invoke(records) => match bad.iter().find(|bad| records.contains(bad)) {
                    Some(first) => plan.failed(reports.then_some(*first)),
                    None => plan.succeeded(),
                },
                Step::GiveUp { .. } => {}
                Step::Done => return steps,
            }
            steps.push(step);
        }
    }

    fn exhausted(records: Range<usize>, invocations: u32) -> Step {
        Step::GiveUp { records, condition: Condition::RetryAttemptsExhausted, invocations }
    }

    #[test]
    fn a_batch_that_goes_well_is_one_step() {
        assert_eq!(steps(3, &options(None, false), false, &[]), [Step::Invoke(0..3)]);
    }

    #[test]
    fn a_batch_is_given_up_after_its_retries() {
        let expected = [Step::Invoke(0..3), Step::Invoke(0..3), Step::Invoke(0..3), exhausted(0..3, 3)];
        assert_eq!(steps(3, &options(Some(2), false), false, &[1]), expected);
    }

    #[test]
    fn a_reported_record_is_where_it_goes_on() {
        let expected = [Step::Invoke(0..4), Step::Invoke(2..4), exhausted(2..4, 2)];
        assert_eq!(steps(4, &options(Some(1), false), true, &[2]), expected);
    }

    #[test]
    fn bisecting_isolates_the_bad_record_and_costs_no_retries() {
        let expected = [
            Step::Invoke(0..4),
            Step::Invoke(0..2),
            Step::Invoke(0..1),
            Step::Invoke(1..2),
            exhausted(1..2, 3),
            Step::Invoke(2..4),
        ];
        assert_eq!(steps(4, &options(Some(0), true), false, &[1]), expected);
    }

    #[test]
    fn records_that_are_too_old_are_given_up_from_the_front() {
        let options = StreamOptions { maximum_age: Some(60), ..StreamOptions::default() };
        let mut plan = Plan::new(3, &options);
        let age = |record: usize| Duration::from_secs(if record < 2 { 61 } else { 5 });
        let condition = Condition::RecordAgeExceeded;
        assert_eq!(plan.next(age), Step::GiveUp { records: 0..2, condition, invocations: 0 });
        assert_eq!(plan.next(age), Step::Invoke(2..3));
        plan.succeeded();
        assert_eq!(plan.next(age), Step::Done);
    }

    #[test]
    fn without_a_limit_it_is_tried_for_ever() {
        let options = options(None, false);
        let mut plan = Plan::new(1, &options);
        for _ in 0..100 {
            assert_eq!(plan.next(young), Step::Invoke(0..1));
            plan.failed(None);
        }
        assert_eq!(plan.failures(), 100);
    }
}
