//! Whether something is a notification already.

use serde::Deserialize;
use serde::de::IgnoredAny;
use serde_json::value::RawValue;

#[derive(Deserialize)]
struct Notification {
    #[serde(rename = "to")]
    _to: IgnoredAny,
    #[serde(rename = "data")]
    _data: IgnoredAny,
}

/// An object with both fields that a notification must have. One that has them and is still wrong is refused, not sent on
/// as something else.
pub(crate) fn is_notification(data: &RawValue) -> bool {
    serde_json::from_str::<Notification>(data.get()).is_ok()
}
