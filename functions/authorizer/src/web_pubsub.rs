//! Clients of Azure Web PubSub: their tokens are signed with a key of their own, which opens nothing else.

use tidings::Handshake;
use tidings::metrics::Recorder;
use tidings::protocol::Protocol;
use tidings::web_pubsub::{Claimed, Client, Hub, claimed};

use crate::config::Deps;
use crate::identity::Identity;
use crate::reconnection;
use crate::request::{Credential, credential, named_user};
use crate::{Authentication, Denial, Refused};

/// Why a client is denied that has no token, which would name its hub.
const NO_HUB: Denial = Denial::Handshake("there is no hub; name it with ?hub=");

/// Why a client is denied that wants a connection back where none is kept.
const NOT_KEPT: Denial = Denial::Handshake("connections are not kept here (RELIABLE); begin anew");

/// Who asks for a connection of Web PubSub, or comes back to one, which needs no other token.
pub(crate) async fn identify(
    deps: &Deps,
    said: Option<Identity>,
    (protocol, handshake): (Protocol, &Handshake),
    recorder: &Recorder,
) -> Result<Identity, Refused> {
    let is_reliable = protocol == Protocol::WebPubSubReliable;
    let keeps = deps.web_pubsub.as_ref().filter(|_| deps.web_pubsub_reliable);
    if is_reliable && reconnection::is_asked_for(handshake) {
        return reconnection::recover(keeps.ok_or(NOT_KEPT)?, handshake, recorder).await;
    }
    let identity = newcomer(deps, said, handshake, recorder).await?;
    match keeps.filter(|_| is_reliable) {
        Some(key) => reconnection::with_token(key, identity, &handshake.connection, recorder).await,
        None => Ok(identity),
    }
}

/// Who asks for a connection: as the application's own way says, else by its token. What our own clients may
/// where nobody says it is no default of theirs. Without a token nobody gets in, unless the stack asks nobody who it is.
async fn newcomer(
    deps: &Deps,
    said: Option<Identity>,
    handshake: &Handshake,
    recorder: &Recorder,
) -> Result<Identity, Refused> {
    let hub = hub(handshake)?;
    if let Some(identity) = said {
        let client = Client::of(hub.ok_or(NO_HUB)?);
        let permissions = Some(identity.permissions.clone().unwrap_or_default());
        return Ok(Identity { permissions, ..identity }.in_hub(client));
    }
    let token = match credential(handshake)? {
        Credential::Token(token) => token,
        Credential::None if matches!(deps.authentication, Authentication::Anonymous) => {
            return Ok(deps.anonymous(named_user(handshake)?).in_hub(Client::of(hub.ok_or(NO_HUB)?)));
        }
        Credential::None => return Err(Denial::NoWebPubSubToken.into()),
    };
    let Some(key) = &deps.web_pubsub else { return Err(Denial::Protocol("webpubsub").into()) };
    let claims = key.claims(&token, recorder).await?;
    let claimed = claimed(&claims, hub.as_ref()).map_err(|problem| Denial::Token(problem.to_string()))?;
    let Claimed { user, client } = claimed;
    let permissions = Some(client.roles.permissions(&client.hub));
    Ok(Identity { user, permissions, ..Identity::default() }.in_hub(client))
}

/// The hub that a client asks for; `None` where its token says it alone.
fn hub(handshake: &Handshake) -> Result<Option<Hub>, Denial> {
    let hub = handshake.query("hub").map(Hub::parse).transpose();
    hub.map_err(|_| Denial::Handshake("?hub= is no name of a hub; use a letter, then letters, digits and _`,.[]"))
}
