//! How clients of Web PubSub come back to a connection that another socket has carried: by a token that says which it is and
//! who its client is, signed with the key that their own tokens are signed with, and good for nothing else.

use serde::{Deserialize, Serialize};
use serde_json::Value;
use tidings::metrics::Recorder;
use tidings::permissions::Permissions;
use tidings::web_pubsub::Client;
use tidings::{Claims, ConnectionId, Handshake, UserId};

use crate::identity::{Identity, Reconnection};
use crate::web_pubsub_key::WebPubSubKey;
use crate::{Denial, Refused};

/// What the libraries append to their address.
const CONNECTION: &str = "awps_connection_id";
const TOKEN: &str = "awps_reconnection_token";
/// What these tokens are for: no address, so that they are neither clients' tokens nor servers'.
const AUDIENCE: &str = "reconnection";
/// Longer than a connection lives; one that has ended is told so at once where its token is good.
const SECONDS: u64 = 24 * 3_600;
/// Together with all else that API Gateway carries from an authorizer, and in an address, there is room for so many bytes.
const MOST_BYTES: usize = 2_048;

#[derive(Debug, Serialize, Deserialize)]
struct Said {
    aud: String,
    exp: u64,
    connection: ConnectionId,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    sub: Option<UserId>,
    client: Client,
    #[serde(default, skip_serializing_if = "String::is_empty")]
    permissions: String,
    #[serde(default, skip_serializing_if = "Claims::is_empty")]
    claims: Claims,
}

/// Whether a handshake asks for a connection that there was.
pub(crate) fn is_asked_for(handshake: &Handshake) -> bool {
    [CONNECTION, TOKEN].iter().any(|name| handshake.query(name).is_some())
}

/// Who comes back, and to what.
pub(crate) async fn recover(
    key: &WebPubSubKey,
    handshake: &Handshake,
    recorder: &Recorder,
) -> Result<Identity, Refused> {
    let token = handshake.query(TOKEN).unwrap_or_default();
    let claims = key.claims(token, recorder).await?;
    let invalid = |problem: &str| Denial::Token(format!("to come back by {problem}"));
    let said: Said =
        serde_json::from_value(Value::Object(claims)).map_err(|_| invalid("is none that was given to a client"))?;
    if said.aud != AUDIENCE {
        return Err(invalid("is for something else").into());
    }
    if handshake.query(CONNECTION) != Some(said.connection.as_str()) {
        return Err(invalid("is another connection's").into());
    }
    let permissions = Permissions::parse(&said.permissions).map_err(|_| invalid("has permissions that are none"))?;
    let known = Identity { user: said.sub, permissions: Some(permissions), claims: said.claims, ..Identity::default() };
    let client = Client { groups: Vec::new(), ..said.client };
    Ok(Identity { reconnection: Some(Reconnection::To(said.connection)), ..known.in_hub(client) })
}

/// The same client, with a token to come back by, where API Gateway can carry it.
pub(crate) async fn with_token(
    key: &WebPubSubKey,
    identity: Identity,
    connection: &ConnectionId,
    recorder: &Recorder,
) -> Result<Identity, Refused> {
    let Some(client) = identity.web_pubsub.clone() else { return Ok(identity) };
    let said = Said {
        aud: AUDIENCE.to_owned(),
        exp: jsonwebtoken::get_current_timestamp() + SECONDS,
        connection: connection.clone(),
        sub: identity.user.clone(),
        client: Client { groups: Vec::new(), ..client },
        permissions: identity.permissions.as_ref().map(ToString::to_string).unwrap_or_default(),
        claims: identity.claims.clone(),
    };
    let token = key.sign(&said, recorder).await?;
    let fits = token.len() <= MOST_BYTES;
    if !fits {
        tracing::info!(connection.id = %connection, bytes = token.len(), "cannot come back: its roles are too long");
    }
    Ok(Identity { reconnection: fits.then_some(Reconnection::By(token)), ..identity })
}
