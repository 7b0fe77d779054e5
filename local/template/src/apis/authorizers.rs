//! Who may connect to a WebSocket API.

use super::super::{Fault, properties::Properties};
use super::Parts;
use tidings_local_stack::{Authorizer, ConnectAuthorization, Note};

impl<'a> Parts<'a> {
    /// What a route asks of clients.
    pub(super) fn authorization_of(
        &self,
        route: &Properties<'a>,
        notes: &mut Vec<Note>,
    ) -> Result<ConnectAuthorization, Fault> {
        match route.text("AuthorizationType")?.as_deref() {
            None | Some("NONE") => Ok(ConnectAuthorization::None),
            Some("AWS_IAM") => Ok(ConnectAuthorization::Iam),
            Some("CUSTOM") => self.authorizer(route, notes).map(ConnectAuthorization::Custom),
            Some(other) => {
                let words = format!("must be `NONE`, `AWS_IAM` or `CUSTOM` for a WebSocket API, not `{other}`");
                Err(route.fault("AuthorizationType", words))
            }
        }
    }

    fn authorizer(&self, route: &Properties<'a>, notes: &mut Vec<Note>) -> Result<Authorizer, Fault> {
        let authorizer = self.referred(route, "AuthorizerId", "AWS::ApiGatewayV2::Authorizer", "an authorizer")?;
        if let Some(other) = authorizer.text("AuthorizerType")?.filter(|kind| kind != "REQUEST") {
            let words = format!("must be `REQUEST` for a WebSocket API, not `{other}`");
            return Err(authorizer.fault("AuthorizerType", words));
        }
        let id = authorizer.logical_id();
        let function = self.function_at(&authorizer, "AuthorizerUri")?.unwrap_or_else(|reason| {
            let text = format!("`{id}` answers every handshake with 500 here: {reason}");
            notes.push(authorizer.note(authorizer.line_of("AuthorizerUri"), text));
            // The host has no function of this name either, and says so.
            id.to_owned()
        });
        let identity_sources = authorizer.texts("IdentitySource")?;
        match identity_sources.iter().find(|source| !is_identity_source(source)) {
            Some(bad) => {
                let words = format!(
                    "must be made of `route.request.header.NAME`, `route.request.querystring.NAME`, `stageVariables.NAME` \
                     and `context.NAME`, or API Gateway refuses it (Invalid request identity source expression), not `{bad}`"
                );
                Err(authorizer.fault("IdentitySource", words))
            }
            None => Ok(Authorizer { function, identity_sources }),
        }
    }
}

/// Whether API Gateway takes it; see [aws-cdk#18307](https://github.com/aws/aws-cdk/issues/18307).
fn is_identity_source(source: &str) -> bool {
    let prefixes = ["route.request.header.", "route.request.querystring.", "stageVariables.", "context."];
    let name = prefixes.iter().find_map(|prefix| source.strip_prefix(prefix));
    let is_allowed = |letter: char| letter.is_ascii_alphanumeric() || matches!(letter, '.' | '_' | '-');
    name.is_some_and(|name| !name.is_empty() && name.chars().all(is_allowed))
}
