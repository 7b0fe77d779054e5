//! What an application is told of the end of a connection.

use tidings::Context;
use tidings::function::BoxFuture;

pub(crate) type Hook<S> = Box<dyn Fn(Context<S>, Reason) -> BoxFuture<Result<(), tidings::Error>> + Send + Sync>;

/// Why a connection ended, as far as API Gateway says.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Reason {
    /// The status of the close frame, as 1000 or 1005.
    pub status: Option<u16>,
    /// The text beside it.
    pub text: Option<String>,
    /// When it was made, in milliseconds since the epoch; 0 where nobody says.
    pub connected_at: i64,
    /// When it ended, in milliseconds since the epoch.
    pub at: i64,
}
