//! Routes of WebSocket APIs.

use std::collections::HashSet;

use indexmap::IndexMap;

use super::super::{Fault, properties::Properties};
use super::{Parts, models};
use tidings_local_stack::{ConnectAuthorization, Integration, Note, Route};

/// The route keys that API Gateway keeps for itself.
const LIFECYCLE: [&str; 3] = ["$connect", "$disconnect", "$default"];

impl<'a> Parts<'a> {
    /// The routes whose answers go back to the client, by path.
    pub(super) fn answering_routes(&self) -> Result<HashSet<String>, Fault> {
        self.all(&["AWS::ApiGatewayV2::RouteResponse"])
            .filter_map(|found| {
                let route = || {
                    let (_, response, _) = found?;
                    let key = response.required_text("RouteResponseKey")?;
                    let route = response.scope().place.path_of(&response.required_text("RouteId")?);
                    Ok((key == "$default").then_some(route))
                };
                route().transpose()
            })
            .collect()
    }

    /// The routes of an API, by key; what of them does nothing here is noted.
    pub(super) fn routes(
        &self,
        api: &Properties<'a>,
        answering: &HashSet<String>,
        notes: &mut Vec<Note>,
    ) -> Result<IndexMap<String, Route>, Fault> {
        let (api_id, api) = (api.scope().api_id(api.logical_id()), api.logical_id());
        let mut routes = IndexMap::new();
        for found in self.of_api(&api_id, &["AWS::ApiGatewayV2::Route"]) {
            let (logical_id, route) = found?;
            let key = route.required_text("RouteKey")?;
            if key.starts_with('$') && !LIFECYCLE.contains(&key.as_str()) {
                let words = "must not begin with `$`, unless it is `$connect`, `$disconnect` or `$default`";
                return Err(route.fault("RouteKey", words));
            }
            if routes.contains_key(&key) {
                return Err(route.fault("RouteKey", format!("repeats the route `{key}` of `{api}`")));
            }
            let returns_response = answering.contains(&route.scope().place.path_of(logical_id));
            note_route(&route, &key, api, returns_response, notes)?;
            let authorization = self.connect_authorization(&route, &key, notes)?;
            let validation = models::of_route(&api_id, &route)?;
            let integration = self.integration_of(&route, notes)?.unwrap_or_else(|reason| {
                let text = format!("the route `{key}` of `{api}` always fails here: {reason}");
                notes.push(route.note(route.line, text));
                Integration::Unsupported { reason }
            });
            routes.insert(key, Route { integration, returns_response, authorization, validation });
        }
        Ok(routes)
    }

    fn connect_authorization(
        &self,
        route: &Properties<'a>,
        key: &str,
        notes: &mut Vec<Note>,
    ) -> Result<ConnectAuthorization, Fault> {
        let authorization = self.authorization_of(route, notes)?;
        if key != "$connect" && authorization != ConnectAuthorization::None {
            return Err(route.fault("AuthorizationType", "is only for `$connect`, where clients are checked"));
        }
        Ok(authorization)
    }
}

fn note_route(
    route: &Properties<'_>,
    key: &str,
    api: &str,
    returns_response: bool,
    notes: &mut Vec<Note>,
) -> Result<(), Fault> {
    if route.has("RouteResponseSelectionExpression") && !returns_response {
        let text = format!(
            "the route `{key}` of `{api}` sends no answers, because it has no `AWS::ApiGatewayV2::RouteResponse`"
        );
        notes.push(route.note(route.line, text));
    }
    if route.flag("ApiKeyRequired")? {
        let text = format!("the API key that the route `{key}` of `{api}` requires is not checked locally");
        notes.push(route.note(route.line_of("ApiKeyRequired"), text));
    }
    Ok(())
}
