//! What a connection may do with groups, as servers say it beside the roles of its token. What is taken from it is denied: no
//! role gives it back. Nobody leaves a group for it.

use tidings::ConnectionId;
use tidings::registry::RegistryError;
use tidings::web_pubsub::Right;

use super::Call;
use super::failure::Failure;
use super::operation::{Act, Named, group_of};
use super::parameters::Parameters;
use crate::response::Response;

impl Call<'_> {
    /// Grants a right, takes it, or says whether the connection has it: on the group that `targetName` names, or on all.
    pub(super) async fn permission(
        &self,
        act: Act,
        right: Right,
        connection: &Named<ConnectionId>,
        parameters: &mut Parameters,
    ) -> Result<Response, Failure> {
        let group = self.target_group(parameters)?;
        let group = group.as_deref();
        let Some(id) = connection else { return absent(act) };
        let Some(known) = self.connection(id).await?.and_then(|connection| connection.web_pubsub) else {
            return absent(act);
        };
        match act {
            Act::Check if known.client.may(&known.grants, right, group) => Ok(Response::empty(200)),
            Act::Check => Err(Failure::ABSENT),
            Act::Grant | Act::Revoke => match self.deps.registry.grant(id, right, group, act == Act::Grant).await {
                Ok(true) if act == Act::Grant => Ok(Response::empty(200)),
                Ok(true) => Ok(Response::empty(204)),
                Ok(false) => absent(act),
                Err(RegistryError::GrantsFull(_)) => Err(Failure::TOO_MANY_PERMISSIONS),
                Err(error) => Err(error.into()),
            },
        }
    }

    /// The group that is named; one that is named blank is none, and must not mean all.
    fn target_group(&self, parameters: &mut Parameters) -> Result<Option<String>, Failure> {
        let mut named = parameters.take_all("targetName");
        let group = named.pop();
        if !named.is_empty() {
            return Err(Failure::bad_request("targetName", "it is there more than once; give it once"));
        }
        if let Some(name) = &group {
            group_of(&self.hub, name)?;
        }
        Ok(group)
    }
}

/// The answer of a connection that is not there: it may do nothing, and nothing has to be taken from it.
fn absent(act: Act) -> Result<Response, Failure> {
    match act {
        Act::Revoke => Ok(Response::empty(204)),
        Act::Grant | Act::Check => Err(Failure::NO_CONNECTION),
    }
}
