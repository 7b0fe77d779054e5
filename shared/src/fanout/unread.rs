//! Telling a user's connections what is left to read.

use futures_util::{StreamExt, stream};

use crate::delivery::Management;
use crate::ids::{ConnectionId, UserId};
use crate::registry::{Audience, Registry};
use crate::unread::Unread;

/// Most connections of a user that are told.
const MOST_TOLD: u16 = 100;
/// Posts at a time.
const SIDE_BY_SIDE: usize = 16;

/// Tells the connections of a user, a hundred at most, what it has not read, all but the one that knows. `now` is in
/// milliseconds since the epoch.
///
/// Best effort: what fails is logged, and a client asks for `unread` when it comes back.
pub async fn tell_unread(
    (registry, sockets): (&Registry, &Management),
    user: &UserId,
    except: Option<&ConnectionId>,
    unread: &Unread,
    now: i64,
) {
    let page = match registry.page(Audience::User(user), None, MOST_TOLD, now).await {
        Ok(page) => page,
        Err(error) => {
            return tracing::warn!(error = crate::describe(&error), "could not read whom to tell what is unread");
        }
    };
    let others = page.connections.iter().filter(|connection| Some(&connection.id) != except);
    let posts = others.filter_map(|other| Some((other, other.protocol.encode_unread(unread)?)));
    stream::iter(posts)
        .for_each_concurrent(SIDE_BY_SIDE, |(connection, text)| async move {
            if let Err(error) = sockets.send(&connection.socket, text).await {
                tracing::info!(connection.id = %connection.id, %error, "could not tell what is unread");
            }
        })
        .await;
}
