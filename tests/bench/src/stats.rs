//! What many measurements say together.

/// Measurements of one thing, in any unit.
#[derive(Debug, Clone, Default, PartialEq)]
pub(crate) struct Samples(Vec<f64>);

impl Samples {
    pub(crate) fn push(&mut self, value: f64) {
        self.0.push(value);
    }

    pub(crate) fn extend(&mut self, more: Self) {
        self.0.extend(more.0);
    }

    pub(crate) fn len(&self) -> usize {
        self.0.len()
    }

    /// The middle one; 0 where there is none.
    pub(crate) fn median(&self) -> f64 {
        self.part(0.5)
    }

    /// The value below which this share of them lies.
    pub(crate) fn part(&self, share: f64) -> f64 {
        let mut sorted = self.0.clone();
        sorted.sort_unstable_by(f64::total_cmp);
        let Some(last) = sorted.len().checked_sub(1) else { return 0.0 };
        let place = share * last as f64;
        let (below, above) = (sorted[place.floor() as usize], sorted[place.ceil() as usize]);
        below + (above - below) * place.fract()
    }

    /// These divided by those that were measured at the same time, one by one.
    pub(crate) fn ratios(&self, others: &Self) -> Self {
        self.0.iter().zip(&others.0).filter(|(_, other)| **other != 0.0).map(|(ours, theirs)| ours / theirs).collect()
    }

    pub(crate) fn mean(&self) -> f64 {
        if self.0.is_empty() { 0.0 } else { self.0.iter().sum::<f64>() / self.0.len() as f64 }
    }
}

impl FromIterator<f64> for Samples {
    fn from_iter<T: IntoIterator<Item = f64>>(values: T) -> Self {
        Self(values.into_iter().collect())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_median_is_the_middle_or_between_the_two_in_the_middle() {
        assert_eq!(Samples::from_iter([3.0, 1.0, 100.0]).median(), 3.0);
        assert_eq!(Samples::from_iter([4.0, 1.0, 2.0, 100.0]).median(), 3.0);
        assert_eq!(Samples::default().median(), 0.0);
    }

    #[test]
    fn ratios_are_of_what_was_measured_at_the_same_time() {
        let (ours, theirs) = (Samples::from_iter([1.0, 20.0, 3.0]), Samples::from_iter([2.0, 40.0, 12.0]));
        assert_eq!(ours.ratios(&theirs), Samples::from_iter([0.5, 0.5, 0.25]));
    }

    #[test]
    fn parts_lie_between_the_smallest_and_the_largest() {
        let samples: Samples = (0..=100).map(f64::from).collect();
        assert_eq!((samples.part(0.0), samples.part(0.25), samples.part(1.0)), (0.0, 25.0, 100.0));
    }
}
