//! The user that a path is about.

use tidings::UserId;

use crate::event::Event;
use crate::problem::Problem;
use crate::query::Query;

/// Stands in the path for a user that is named by `?user=`: API Gateway decodes a path before it looks at it, so a name
/// with a `/` or a `?` cannot be in one.
const IN_QUERY: &str = "-";

/// Takes the user from the path, or from the query where the path has a hyphen.
pub(crate) fn named_user(event: &Event, query: &mut Query) -> Result<UserId, Problem> {
    let named = query.take_id("user", UserId::parse)?;
    let user = event.path_parameter("user", UserId::parse)?;
    match named {
        None if user.as_str() == IN_QUERY => {
            Err(Problem::invalid("user", "it is missing; give ?user= where the path has a hyphen"))
        }
        None => Ok(user),
        Some(named) if user.as_str() == IN_QUERY => Ok(named),
        Some(_) => Err(Problem::invalid("user", "the path names a user too; put a hyphen in its place")),
    }
}
