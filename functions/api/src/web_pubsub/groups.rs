//! Who is in which group. A server's word counts after all that a client has asked for until then.

use std::sync::atomic::{AtomicBool, Ordering};

use serde::Deserialize;
use tidings::registry::{Audience, Connection, RegistryError};
use tidings::web_pubsub::Hub;
use tidings::{ConnectionId, Topic, UserId};

use super::Call;
use super::failure::Failure;
use super::operation::{Change, Named, Whose, group_of};
use super::recipients::{Choice, filter_of};
use crate::response::Response;

/// Longest body that names groups, in bytes.
const LONGEST_BODY: usize = 256 * 1_024;

/// Which groups are meant, and whose connections.
#[derive(Debug, Deserialize)]
struct Asked {
    groups: Option<Vec<String>>,
    filter: Option<String>,
}

impl Call<'_> {
    pub(super) async fn join(&self, group: &Topic, connection: &Named<ConnectionId>) -> Result<Response, Failure> {
        let id = connection.as_ref().ok_or(Failure::NO_MEMBER)?;
        self.connection(id).await?.ok_or(Failure::NO_MEMBER)?;
        match self.deps.registry.subscribe(id, std::slice::from_ref(group)).await {
            Ok(()) => Ok(Response::empty(200)),
            Err(RegistryError::NotConnected) => Err(Failure::NO_MEMBER),
            Err(error) => Err(error.into()),
        }
    }

    /// Answers 204, whether the connection was in the group or not.
    pub(super) async fn leave(&self, group: &Topic, connection: &Named<ConnectionId>) -> Result<Response, Failure> {
        if let Some(id) = connection {
            self.change(id, Change::Leave, std::slice::from_ref(group)).await?;
        }
        Ok(Response::empty(204))
    }

    /// The connections that the user has now; those to come are not in the group.
    pub(super) async fn join_user(&self, group: &Topic, user: &Named<UserId>) -> Result<Response, Failure> {
        let user = user.as_ref().ok_or(Failure::NO_USER)?;
        let is_there = AtomicBool::new(false);
        let join = async |id: ConnectionId| {
            is_there.store(true, Ordering::Relaxed);
            self.change(&id, Change::Join, std::slice::from_ref(group)).await
        };
        self.each(Audience::User(user), &Choice::default(), join).await?;
        if is_there.into_inner() { Ok(Response::empty(200)) } else { Err(Failure::NO_USER) }
    }

    /// Takes a user's connections out of a group, or out of all of the hub's.
    pub(super) async fn leave_user(&self, group: Option<&Topic>, user: &Named<UserId>) -> Result<Response, Failure> {
        let leave = async |id: ConnectionId| match group {
            Some(group) => self.change(&id, Change::Leave, std::slice::from_ref(group)).await,
            None => self.leave_groups(&id).await,
        };
        if let Some(user) = user {
            self.each(Audience::User(user), &Choice::default(), leave).await?;
        }
        Ok(Response::empty(204))
    }

    pub(super) async fn leave_all(&self, connection: &Named<ConnectionId>) -> Result<Response, Failure> {
        if let Some(id) = connection {
            self.leave_groups(id).await?;
        }
        Ok(Response::empty(204))
    }

    /// Lets those whom a filter admits join groups, or leave them.
    pub(super) async fn change_groups(&self, change: Change) -> Result<Response, Failure> {
        let Asked { groups, filter } = self.asked()?;
        let groups = topics(&self.hub, groups.unwrap_or_default())?;
        let choice = Choice { filter: filter_of(filter.as_deref())?, ..Choice::default() };
        let Some(audience) = self.audience(&Whose::Everybody) else { return Ok(Response::empty(200)) };
        self.each(audience, &choice, async |id| self.change(&id, change, &groups).await).await?;
        Ok(Response::empty(200))
    }

    fn asked(&self) -> Result<Asked, Failure> {
        let kind = self.event.header("content-type").unwrap_or_default();
        if !kind.split(';').next().unwrap_or_default().trim().eq_ignore_ascii_case("application/json") {
            return Err(Failure::UNSUPPORTED_MEDIA_TYPE);
        }
        let body = self.event.bytes().unwrap_or_default();
        if body.len() > LONGEST_BODY {
            return Err(Failure::too_large(format!("the body has more than {LONGEST_BODY} bytes")));
        }
        serde_json::from_slice(&body).map_err(|error| {
            Failure::bad_request("body", format!("give {{\"groups\":[…],\"filter\":\"…\"}} ({error})"))
        })
    }

    async fn leave_groups(&self, id: &ConnectionId) -> Result<(), Failure> {
        let Some(Connection { topics, .. }) = self.deps.registry.connection(id).await? else { return Ok(()) };
        let groups: Vec<_> = topics.into_iter().filter(|topic| self.hub.group_of(topic).is_some()).collect();
        if groups.is_empty() { Ok(()) } else { self.change(id, Change::Leave, &groups).await }
    }

    /// One that is gone by now is where it should be.
    async fn change(&self, id: &ConnectionId, change: Change, groups: &[Topic]) -> Result<(), Failure> {
        let done = match change {
            Change::Join => self.deps.registry.subscribe(id, groups).await,
            Change::Leave => self.deps.registry.unsubscribe(id, groups).await,
        };
        match done {
            Ok(()) | Err(RegistryError::NotConnected) => Ok(()),
            Err(error) => Err(error.into()),
        }
    }
}

/// The topics that groups are, each once.
fn topics(hub: &Hub, groups: Vec<String>) -> Result<Vec<Topic>, Failure> {
    if groups.is_empty() {
        return Err(Failure::bad_request("groups", "give one or more"));
    }
    let mut topics = groups.iter().map(|group| group_of(hub, group)).collect::<Result<Vec<_>, _>>()?;
    topics.sort_unstable();
    topics.dedup();
    Ok(topics)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn groups_are_named_once_each_and_not_left_blank() {
        let hub = Hub::parse("h").unwrap();
        let named = |groups: &[&str]| topics(&hub, groups.iter().map(|group| (*group).to_owned()).collect());
        let names: Vec<_> = named(&["b", "a", "b"]).unwrap().into_iter().map(String::from).collect();
        assert_eq!(names, ["h/a", "h/b"]);
        assert!(named(&[]).is_err() && named(&["a", " "]).is_err());
    }
}
