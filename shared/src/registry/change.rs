//! Who comes to a topic, and who leaves it.

/// A change of what somebody is subscribed to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Change {
    Join,
    Leave,
}

impl Change {
    /// The change that makes a topic of a set what it is.
    pub(super) fn towards(is_in_set: bool) -> Self {
        if is_in_set { Self::Join } else { Self::Leave }
    }
}
