//! What routes invoke.

use super::super::{Fault, functions::find, properties::Properties};
use super::{Parts, mapping};
use tidings_local_stack::{Integration, Mock, Note};

/// API Gateway's own limits and default for WebSocket APIs, in milliseconds.
const TIMEOUT_MS: (std::ops::RangeInclusive<u64>, u64) = (50..=29_000, 29_000);

impl<'a> Parts<'a> {
    /// What a route invokes, or why that is not emulated.
    pub(super) fn integration_of(
        &self,
        route: &Properties<'a>,
        notes: &mut Vec<Note>,
    ) -> Result<Result<Integration, String>, Fault> {
        let integration = match self.target(route)? {
            Ok(integration) => integration,
            Err(reason) => return Ok(Err(reason)),
        };
        let id = integration.logical_id();
        if integration.has("ContentHandlingStrategy") {
            let text = format!("`ContentHandlingStrategy` of `{id}` is not emulated: messages stay text");
            notes.push(integration.note(integration.line_of("ContentHandlingStrategy"), text));
        }
        let timeout_ms = integration.number("TimeoutInMillis", TIMEOUT_MS.0)?.unwrap_or(TIMEOUT_MS.1);
        match integration.required_text("IntegrationType")?.as_str() {
            "AWS" => Ok(self.service_integration(&integration, timeout_ms, notes)?.map(Integration::Service)),
            "AWS_PROXY" => {
                let function = self.function_at(&integration, "IntegrationUri")?;
                Ok(function.map(|function| Integration::Lambda { function, timeout_ms }))
            }
            "MOCK" => {
                let request = mapping::templates(&integration, "RequestTemplates")?;
                Ok(Ok(Integration::Mock(Mock { request, responses: mapping::responses(&integration)? })))
            }
            other @ ("HTTP" | "HTTP_PROXY") => Ok(Err(format!("integrations of the type `{other}` are not emulated"))),
            other => {
                let words = format!("must be `AWS`, `AWS_PROXY`, `HTTP`, `HTTP_PROXY` or `MOCK`, not `{other}`");
                Err(integration.fault("IntegrationType", words))
            }
        }
    }

    /// The integration of a route, or why it has none.
    pub(super) fn target(&self, route: &Properties<'a>) -> Result<Result<Properties<'a>, String>, Fault> {
        let Some(target) = route.text("Target")? else { return Ok(Err("it has no `Target`".to_owned())) };
        let id = target.strip_prefix("integrations/").unwrap_or(&target);
        let kind = "AWS::ApiGatewayV2::Integration";
        match route.scope().resources.get_key_value(id).filter(|(_, resource)| resource.kind == kind) {
            Some((id, resource)) => Ok(Ok(Properties::of(route.scope(), id, resource))),
            None => Err(route.fault("Target", format!("must name an integration of this template, not `{target}`"))),
        }
    }

    /// The function that a property names by its invocation URI, or why there is none. What cannot be resolved is in
    /// another stack.
    pub(super) fn function_at(&self, properties: &Properties<'a>, key: &str) -> Result<Result<String, String>, Fault> {
        if !properties.has(key) {
            return Err(properties.fault(key, "is missing"));
        }
        match properties.required_text(key) {
            Ok(uri) => Ok(self.function(&uri)),
            Err(fault) => Ok(Err(fault.text)),
        }
    }

    /// The function of this template that an invocation URI names, or why there is none.
    pub(super) fn function(&self, uri: &str) -> Result<String, String> {
        if uri.contains("stageVariables.") {
            return Err("stage variables in the address of a function are not emulated".to_owned());
        }
        let name = uri.split_once("/functions/").map_or(uri, |(_, rest)| rest);
        let name = name.strip_suffix("/invocations").unwrap_or(name);
        find(self.functions, name).map(str::to_owned).ok_or_else(|| {
            let name = name.split_once(":function:").map_or(name, |(_, name)| name);
            let name = name.split(':').next().unwrap_or(name);
            format!("it invokes `{name}`, which is no function of this template")
        })
    }
}
