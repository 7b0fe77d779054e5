//! Custom domains, put together from the resources of domains and of API mappings, also of those that SAM makes.

use indexmap::IndexMap;

use super::super::{Fault, properties::Properties};
use super::{Parts, Protocol};
use tidings_local_stack::{ApiMapping, Domain, HttpApi, Note, Stage, WebSocketApi};

/// The longest `ApiMappingKey`, in characters ("Map API stages to a custom domain name for WebSocket APIs").
const LONGEST_KEY: usize = 300;
/// What may stand in one beside letters, digits and the slashes between its segments; the same page.
const MARKS: &str = "$-_.+!*'()";

const DOMAINS: &[&str] = &["AWS::ApiGateway::DomainName", "AWS::ApiGatewayV2::DomainName"];
const MAPPINGS: &[&str] = &["AWS::ApiGatewayV2::ApiMapping"];
const REST_APIS: &[&str] = &["AWS::ApiGateway::RestApi", "AWS::Serverless::Api"];

/// The APIs that mappings may lead to, by path.
pub(in super::super) struct Served<'a> {
    pub(in super::super) apis: &'a IndexMap<String, WebSocketApi>,
    pub(in super::super) http_apis: &'a IndexMap<String, HttpApi>,
}

impl Served<'_> {
    fn api(&self, id: &str) -> Option<(Protocol, &[Stage])> {
        let websocket = self.apis.values().find(|api| api.api_id == id);
        let websocket = websocket.map(|api| (Protocol::WebSocket, api.stages.as_slice()));
        let http = || self.http_apis.values().find(|api| api.api_id == id);
        websocket.or_else(|| http().map(|api| (Protocol::Http, api.stages.as_slice())))
    }
}

/// Reads all domains with their mappings.
pub(in super::super) fn read(
    parts: &Parts<'_>,
    served: &Served<'_>,
    notes: &mut Vec<Note>,
) -> Result<Vec<Domain>, Fault> {
    let mut domains: IndexMap<String, (Vec<ApiMapping>, Option<Protocol>)> = IndexMap::new();
    for found in parts.all(DOMAINS) {
        let (_, domain, _) = found?;
        if let Some(name) = known(&domain, notes)? {
            domains.entry(name).or_default();
        }
    }
    for found in parts.all(MAPPINGS) {
        let (_, properties, _) = found?;
        let Some(name) = known(&properties, notes)? else { continue };
        let Some((mapping, protocol)) = parts.mapping(&properties, served, notes)? else { continue };
        let (mappings, of) = domains.entry(name.clone()).or_default();
        if mappings.iter().any(|known| known.path == mapping.path) {
            return Err(properties.fault("ApiMappingKey", format!("repeats the path `{}` of `{name}`", mapping.path)));
        }
        if of.is_some_and(|of| of != protocol) {
            let words = format!("leads from `{name}` to an API of another protocol than its other mappings do");
            return Err(properties.fault("ApiId", words));
        }
        *of = Some(protocol);
        mappings.push(mapping);
    }
    let domains: Vec<_> = domains.into_iter().map(|(name, (mappings, _))| Domain { name, mappings }).collect();
    parts.note_unreachable(&domains, notes)?;
    Ok(domains)
}

/// The name of a domain. One that only CloudFormation knows is told, and nothing leads from it.
fn known(properties: &Properties<'_>, notes: &mut Vec<Note>) -> Result<Option<String>, Fault> {
    match properties.required_text("DomainName") {
        Ok(name) => Ok(Some(name.trim_end_matches('.').to_ascii_lowercase())),
        Err(fault) if fault.is_elsewhere => {
            let id = properties.logical_id();
            let text = format!("`{id}`: the name of its domain is not known here, so no client is led by it");
            notes.push(properties.note(properties.line_of("DomainName"), text));
            Ok(None)
        }
        Err(fault) => Err(fault),
    }
}

impl<'a> Parts<'a> {
    /// A mapping, unless it leads to what is not emulated.
    fn mapping(
        &self,
        properties: &Properties<'a>,
        served: &Served<'_>,
        notes: &mut Vec<Note>,
    ) -> Result<Option<(ApiMapping, Protocol)>, Fault> {
        let api_id = properties.required_text("ApiId")?;
        let Some((protocol, stages)) = served.api(&api_id) else {
            if self.is_rest_api(&api_id)? {
                let text = format!("`{}`: REST APIs are not emulated", properties.logical_id());
                notes.push(properties.note(properties.line, text));
                return Ok(None);
            }
            return Err(properties.fault("ApiId", format!("must name an API of this template, not `{api_id}`")));
        };
        let stage = properties.required_text("Stage")?;
        if !stages.iter().any(|known| known.name == stage) {
            let known = stages.iter().map(|known| format!("`{}`", known.name)).collect::<Vec<_>>().join(", ");
            return Err(properties.fault("Stage", format!("must be a stage of its API ({known}), not `{stage}`")));
        }
        let key = properties.text("ApiMappingKey")?.unwrap_or_default();
        let path = if key == "/" { String::new() } else { key };
        if let Some(words) = key_problem(&path) {
            return Err(properties.fault("ApiMappingKey", words));
        }
        Ok(Some((ApiMapping { path, api_id, stage }, protocol)))
    }

    fn is_rest_api(&self, id: &str) -> Result<bool, Fault> {
        for found in self.all(REST_APIS) {
            let (logical_id, properties, _) = found?;
            if properties.scope().api_id(logical_id) == id {
                return Ok(true);
            }
        }
        Ok(false)
    }

    /// Says which APIs have neither an endpoint of their own nor a domain.
    fn note_unreachable(&self, domains: &[Domain], notes: &mut Vec<Note>) -> Result<(), Fault> {
        for protocol in [Protocol::WebSocket, Protocol::Http] {
            for (logical_id, api) in self.apis(protocol)? {
                let id = api.scope().api_id(logical_id);
                let mut mapped = domains.iter().flat_map(|domain| &domain.mappings);
                if api.flag("DisableExecuteApiEndpoint")? && !mapped.any(|mapping| mapping.api_id == id) {
                    let text = format!(
                        "nothing can connect to `{logical_id}`: `DisableExecuteApiEndpoint` is set, and no API mapping \
                         leads to it"
                    );
                    notes.push(api.note(api.line_of("DisableExecuteApiEndpoint"), text));
                }
            }
        }
        Ok(())
    }
}

fn key_problem(key: &str) -> Option<String> {
    let is_allowed = |letter: char| letter.is_ascii_alphanumeric() || MARKS.contains(letter);
    let is_segment = |segment: &str| !segment.is_empty() && segment.chars().all(is_allowed);
    let is_key = key.is_empty() || key.len() <= LONGEST_KEY && key.split('/').all(is_segment);
    (!is_key).then(|| {
        format!(
            "must be up to {LONGEST_KEY} letters, digits and {MARKS}, in segments with single slashes between them, not \
             `{key}`"
        )
    })
}

#[cfg(test)]
mod tests {
    use super::super::super::testing::{fault_of_resources, stack_of_resources};
    use super::*;

    const APIS: &str = "
  F: {Type: AWS::Serverless::Function}
  Chat: {Type: AWS::ApiGatewayV2::Api, Properties: {ProtocolType: WEBSOCKET, RouteSelectionExpression: x}}
  Dev: {Type: AWS::ApiGatewayV2::Stage, Properties: {ApiId: !Ref Chat, StageName: dev}}
  Rest: {Type: AWS::Serverless::HttpApi, Properties: {StageName: v1}}
  Domain: {Type: AWS::ApiGatewayV2::DomainName, Properties: {DomainName: WS.Example.com}}
";

    fn mapping(id: &str, properties: &str) -> String {
        format!("  {id}: {{Type: AWS::ApiGatewayV2::ApiMapping, Properties: {{{properties}}}}}\n")
    }

    #[test]
    fn mappings_are_gathered_by_their_domain() {
        let one = mapping("One", "DomainName: !Ref Domain, ApiId: !Ref Chat, Stage: !Ref Dev");
        let other = mapping("Other", "DomainName: ws.example.com, ApiId: !Ref Chat, Stage: dev, ApiMappingKey: a/b");
        let rest = mapping("Third", "DomainName: api.example.com, ApiId: !Ref Rest, Stage: v1, ApiMappingKey: orders");
        let stack = stack_of_resources(&format!("{APIS}{one}{other}{rest}"));
        let (chat, rest) = (&stack.apis["Chat"].api_id, &stack.http_apis["Rest"].api_id);
        let to = |path: &str, api_id: &String, stage: &str| ApiMapping {
            path: path.to_owned(),
            api_id: api_id.clone(),
            stage: stage.to_owned(),
        };
        let expected = [
            ("ws.example.com", vec![to("", chat, "dev"), to("a/b", chat, "dev")]),
            ("api.example.com", vec![to("orders", rest, "v1")]),
        ];
        let expected = expected.map(|(name, mappings)| Domain { name: name.to_owned(), mappings });
        assert_eq!(stack.domains, expected);
        assert!(stack.notes.is_empty(), "{:?}", stack.notes);
    }

    #[test]
    fn the_domain_of_sams_apis_maps_each_of_its_paths() {
        let sam = "
  F: {Type: AWS::Serverless::Function}
  Rest: {Type: AWS::Serverless::HttpApi, Properties: {DisableExecuteApiEndpoint: true,
    Domain: {DomainName: api.example.com, CertificateArn: x, BasePath: [/, /v1/, v2]}}}
  Chat: {Type: AWS::Serverless::WebSocketApi, Properties: {RouteSelectionExpression: x,
    Domain: {DomainName: ws.example.com}, Routes: {$connect: {FunctionArn: !GetAtt F.Arn}}}}
";
        let stack = stack_of_resources(sam);
        let paths = |index: usize| -> Vec<(&str, &str)> {
            let mappings = stack.domains[index].mappings.iter();
            mappings.map(|mapping| (mapping.path.as_str(), mapping.stage.as_str())).collect()
        };
        let names: Vec<_> = stack.domains.iter().map(|domain| domain.name.as_str()).collect();
        assert_eq!(names, ["ws.example.com", "api.example.com"]);
        assert_eq!(paths(0), [("", "default")]);
        assert_eq!(paths(1), [("", "$default"), ("v1", "$default"), ("v2", "$default")]);
        assert!(stack.http_apis["Rest"].has_only_domains && !stack.apis["Chat"].has_only_domains);
        assert!(stack.notes.is_empty(), "{:?}", stack.notes);
    }

    #[test]
    fn what_aws_would_refuse_is_refused_with_its_line() {
        let check = |mappings: &[&str], words: &str| {
            let mappings: String =
                mappings.iter().enumerate().map(|(index, text)| mapping(&format!("M{index}"), text)).collect();
            let fault = fault_of_resources(&format!("{APIS}{mappings}"));
            assert!(fault.text.contains(words) && fault.line.is_some(), "{fault:?}");
        };
        let good = "DomainName: a.example, ApiId: !Ref Chat, Stage: dev";
        check(&["DomainName: a.example, ApiId: zzzzzzzzzz, Stage: dev"], "must name an API of this template, not `zzz");
        check(
            &["DomainName: a.example, ApiId: !Ref Chat, Stage: prod"],
            "must be a stage of its API (`dev`), not `prod`",
        );
        check(&["DomainName: a.example, ApiId: !Ref Chat"], "`Stage` of `M0`");
        check(&["ApiId: !Ref Chat, Stage: dev"], "`DomainName` of `M0`");
        check(&[good, good], "repeats the path `` of `a.example`");
        let other = "DomainName: A.example, ApiId: !Ref Rest, Stage: v1, ApiMappingKey: rest";
        check(&[good, other], "leads from `a.example` to an API of another protocol");
        for key in ["/a", "a/", "a//b", "a b", "a?b", &"x".repeat(301)] {
            check(&[&format!("{good}, ApiMappingKey: '{key}'")], "in segments with single slashes between them");
        }
    }

    #[test]
    fn what_leads_nowhere_here_is_named_with_its_line() {
        let rest = "  Old: {Type: AWS::ApiGateway::RestApi}\n".to_owned()
            + &mapping("M", "DomainName: a.example, ApiId: !Ref Old, Stage: dev");
        let alone = "  Shut: {Type: AWS::ApiGatewayV2::Api, Properties: {ProtocolType: HTTP, Name: n,
    DisableExecuteApiEndpoint: true}}\n";
        let stack = stack_of_resources(&format!("{APIS}{rest}{alone}"));
        let said: Vec<_> = stack.notes.iter().map(|note| note.text.as_str()).collect();
        assert!(said.contains(&"`M`: REST APIs are not emulated"), "{said:?}");
        assert!(said.iter().any(|text| text.starts_with("nothing can connect to `Shut`: ")), "{said:?}");
    }
}
