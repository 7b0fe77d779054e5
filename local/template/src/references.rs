//! What `Ref` and `Fn::GetAtt` give: the names, addresses and ARNs that AWS would make.
//!
//! They only have to look right and be told apart: what belongs together is found by them again, as an integration's
//! function by its ARN. A resource of an unknown kind gives its logical id, so that no template fails on it.

use std::rc::Rc;

use super::{
    Fault,
    evaluate::{Evaluated, Scope},
    names,
    node::Node,
    resource::Resource,
};

/// How a kind of resource is called in AWS.
struct Kind {
    /// `Type` in the template.
    resource: &'static str,
    /// The property that names it; else it is called by its logical id.
    name: &'static str,
    /// Its ARN after `arn:PARTITION:`, with `{region}`, `{account}` and `{name}`.
    arn: &'static str,
    /// What `Ref` gives.
    reference: Reference,
}

enum Reference {
    Name,
    Arn,
    QueueUrl,
    ApiId,
}

const fn kind(resource: &'static str, name: &'static str, arn: &'static str, reference: Reference) -> Kind {
    Kind { resource, name, arn, reference }
}

const KINDS: &[Kind] = &[
    kind("AWS::ApiGateway::RestApi", "", "apigateway:{region}::/restapis/{name}", Reference::ApiId),
    kind("AWS::ApiGatewayV2::Api", "", "apigateway:{region}::/apis/{name}", Reference::ApiId),
    kind("AWS::ApiGateway::DomainName", "DomainName", "apigateway:{region}::/domainnames/{name}", Reference::Name),
    kind("AWS::ApiGatewayV2::DomainName", "DomainName", "apigateway:{region}::/domainnames/{name}", Reference::Name),
    kind("AWS::ApiGatewayV2::Stage", "StageName", "apigateway:{region}::/stages/{name}", Reference::Name),
    kind("AWS::Cognito::UserPool", "", "cognito-idp:{region}:{account}:userpool/{name}", Reference::Name),
    kind("AWS::DynamoDB::GlobalTable", "TableName", "dynamodb:{region}:{account}:table/{name}", Reference::Name),
    kind("AWS::DynamoDB::Table", "TableName", "dynamodb:{region}:{account}:table/{name}", Reference::Name),
    kind("AWS::Events::EventBus", "Name", "events:{region}:{account}:event-bus/{name}", Reference::Name),
    kind("AWS::Events::Rule", "Name", "events:{region}:{account}:rule/{name}", Reference::Name),
    kind("AWS::IAM::ManagedPolicy", "ManagedPolicyName", "iam::{account}:policy/{name}", Reference::Arn),
    kind("AWS::IAM::Role", "RoleName", "iam::{account}:role/{name}", Reference::Name),
    kind("AWS::KMS::Key", "", "kms:{region}:{account}:key/{name}", Reference::Name),
    kind("AWS::Kinesis::Stream", "Name", "kinesis:{region}:{account}:stream/{name}", Reference::Name),
    kind("AWS::Lambda::Alias", "Name", "", Reference::Arn),
    kind("AWS::Lambda::Function", "FunctionName", "lambda:{region}:{account}:function:{name}", Reference::Name),
    kind("AWS::Lambda::LayerVersion", "LayerName", "lambda:{region}:{account}:layer:{name}:1", Reference::Arn),
    kind("AWS::Lambda::Version", "", "", Reference::Arn),
    kind("AWS::Logs::LogGroup", "LogGroupName", "logs:{region}:{account}:log-group:{name}:*", Reference::Name),
    kind("AWS::S3::Bucket", "BucketName", "s3:::{name}", Reference::Name),
    kind("AWS::SNS::Topic", "TopicName", "sns:{region}:{account}:{name}", Reference::Arn),
    kind("AWS::SQS::Queue", "QueueName", "sqs:{region}:{account}:{name}", Reference::QueueUrl),
    kind("AWS::SSM::Parameter", "Name", "ssm:{region}:{account}:parameter/{name}", Reference::Name),
    kind("AWS::SecretsManager::Secret", "Name", "secretsmanager:{region}:{account}:secret:{name}", Reference::Arn),
    kind("AWS::Serverless::Api", "", "apigateway:{region}::/restapis/{name}", Reference::ApiId),
    kind("AWS::Serverless::Function", "FunctionName", "lambda:{region}:{account}:function:{name}", Reference::Name),
    kind("AWS::Serverless::HttpApi", "", "apigateway:{region}::/apis/{name}", Reference::ApiId),
    kind("AWS::Serverless::LayerVersion", "LayerName", "lambda:{region}:{account}:layer:{name}:1", Reference::Arn),
    kind("AWS::Serverless::StateMachine", "Name", "states:{region}:{account}:stateMachine:{name}", Reference::Arn),
    kind(
        "AWS::StepFunctions::StateMachine",
        "StateMachineName",
        "states:{region}:{account}:stateMachine:{name}",
        Reference::Arn,
    ),
];

/// A kind that is not in the list.
const OTHER: Kind = kind("", "", "{service}:{region}:{account}:{name}", Reference::Name);

impl Scope {
    /// What `Ref` of a name gives.
    pub(super) fn reference(&self, name: &str, line: usize) -> Evaluated {
        if name == "AWS::NoValue" {
            return Ok(None);
        }
        if let Some(fault) = self.unknown.get(name) {
            return Err(fault.clone());
        }
        if let Some(value) = self.parameters.get(name) {
            return self.evaluate(value);
        }
        if let Some(resource) = self.resource(name, line)? {
            return Ok(Some(Node::text(line, self.reference_of(name, resource)?)));
        }
        if let Some((resource, attribute)) = name.split_once('.') {
            return self.attribute(resource, attribute, line);
        }
        if self.is_made_by_sam(name) {
            return Ok(Some(Node::text(line, name)));
        }
        let text = format!("`{name}` is neither a parameter nor a resource of this template");
        Err(Fault::at(line, text))
    }

    /// What `Fn::GetAtt` gives; it is written as `Resource.Attribute` or as a list of the two.
    pub(super) fn get_att(&self, argument: &Rc<Node>, line: usize) -> Evaluated {
        let parts = match argument.as_list() {
            Some([resource, attributes @ ..]) if !attributes.is_empty() => {
                let what = "a part of `Fn::GetAtt`";
                let attributes: Result<Vec<_>, _> = attributes.iter().map(|node| self.text(node, what)).collect();
                Some((self.text(resource, what)?, attributes?.join(".")))
            }
            _ => argument.as_text().and_then(|text| text.split_once('.')).map(|(a, b)| (a.to_owned(), b.to_owned())),
        };
        let Some((resource, attribute)) = parts else {
            return Err(Fault::at(line, "`Fn::GetAtt` takes a resource and an attribute, as in `!GetAtt Queue.Arn`"));
        };
        self.attribute(&resource, &attribute, line)
    }

    /// An attribute of a resource.
    pub(super) fn attribute(&self, name: &str, attribute: &str, line: usize) -> Evaluated {
        let text = match self.resource(name, line)? {
            Some(resource) if resource.is_nested_stack() => {
                return self.nested_attribute(name, resource, attribute, line);
            }
            Some(resource) => self.attribute_of(name, resource, attribute)?,
            None if self.is_made_by_sam(name) && attribute.ends_with("Arn") => {
                self.arn("iam::{account}:role/{name}", name)
            }
            None if self.is_made_by_sam(name) => name.to_owned(),
            None => {
                let text = format!("`{name}.{attribute}`: this template has no resource `{name}`");
                return Err(Fault::at(line, text));
            }
        };
        Ok(Some(Node::text(line, text)))
    }

    /// A resource that is created under the conditions as they are.
    fn resource(&self, name: &str, line: usize) -> Result<Option<&Resource>, Fault> {
        let Some(resource) = self.resources.get(name) else { return Ok(None) };
        match &resource.condition {
            Some(condition) if !self.condition(condition, resource.line)? => {
                let text = format!("`{name}` is used here, but its condition `{condition}` does not hold");
                Err(Fault::at(line, text))
            }
            _ => Ok(Some(resource)),
        }
    }

    fn reference_of(&self, logical_id: &str, resource: &Resource) -> Result<String, Fault> {
        if resource.is_nested_stack() {
            return Ok(self.stack_id(logical_id));
        }
        let kind = kind_of(resource);
        match kind.reference {
            Reference::Name => self.name_of(logical_id, resource),
            Reference::Arn => self.arn_of(logical_id, resource),
            Reference::ApiId => Ok(self.api_id(logical_id)),
            Reference::QueueUrl => {
                let (account, name) = (self.pseudo("AWS::AccountId"), self.name_of(logical_id, resource)?);
                Ok(format!("{}/{account}/{name}", self.shared.sqs))
            }
        }
    }

    fn attribute_of(&self, logical_id: &str, resource: &Resource, attribute: &str) -> Result<String, Fault> {
        let is_function = resource.kind.ends_with("::Function");
        match attribute {
            "StreamArn" => Ok(self.arn_of(logical_id, resource)? + "/stream/2000-01-01T00:00:00.000"),
            "Version" if is_function => Ok(self.arn_of(logical_id, resource)? + ":1"),
            "Alias" if is_function => self.generated(logical_id, resource, "AWS::Lambda::Alias"),
            "Stage" if resource.kind == "AWS::ApiGatewayV2::Api" => {
                self.generated(logical_id, resource, "AWS::ApiGatewayV2::Stage")
            }
            _ if attribute == "Arn" || attribute.ends_with("Arn") => self.arn_of(logical_id, resource),
            "QueueUrl" | "ApiId" => self.reference_of(logical_id, resource),
            "QueueName" | "TopicName" | "Name" | "StageName" => self.name_of(logical_id, resource),
            "ApiEndpoint" => Ok(format!(
                "{}://{}.execute-api.{}.{}",
                if self.is_websocket_api(resource)? { "wss" } else { "https" },
                self.api_id(logical_id),
                self.pseudo("AWS::Region"),
                self.pseudo("AWS::URLSuffix"),
            )),
            _ => Ok(logical_id.to_owned()),
        }
    }

    /// What SAM's `Function.Alias` and `Api.Stage` stand for: `Ref` of the resource that it made.
    fn generated(&self, owner: &str, resource: &Resource, kind: &str) -> Result<String, Fault> {
        let mut resources = self.resources.iter();
        match resources.find(|(_, made)| made.kind == kind && made.made_for.as_deref() == Some(owner)) {
            Some((name, made)) => self.reference_of(name, made),
            None => Err(Fault::at(resource.line, format!("SAM makes no `{kind}` for `{owner}`"))),
        }
    }

    /// The name that a resource has in AWS.
    pub(super) fn name_of(&self, logical_id: &str, resource: &Resource) -> Result<String, Fault> {
        let key = kind_of(resource).name;
        let what = format!("the name of `{logical_id}`");
        if let Some(node) = resource.properties.get(key)
            && let Some(name) = self.once(&what, node.line, || self.property(resource, key))?
        {
            return match names::problem(&resource.kind, &name) {
                Some(words) => Err(Fault::at(node.line, format!("`{key}` of `{logical_id}` {words}"))),
                None => Ok(name),
            };
        }
        let suffix = if self.is_fifo(resource)? { ".fifo" } else { "" };
        // What has no name in AWS is found again by its logical id, and only in its own template.
        let generated = names::generated(&resource.kind, &self.pseudo("AWS::StackName"), logical_id, suffix);
        Ok(generated.unwrap_or_else(|| logical_id.to_owned()))
    }

    /// Whether a queue or topic keeps order.
    pub(super) fn is_fifo(&self, resource: &Resource) -> Result<bool, Fault> {
        let key = match resource.kind.as_str() {
            "AWS::SQS::Queue" => "FifoQueue",
            "AWS::SNS::Topic" => "FifoTopic",
            _ => return Ok(false),
        };
        Ok(self.property(resource, key)?.is_some_and(|fifo| fifo.eq_ignore_ascii_case("true")))
    }

    /// Whether an API is one for WebSockets, and not an HTTP API.
    pub(super) fn is_websocket_api(&self, resource: &Resource) -> Result<bool, Fault> {
        if resource.kind != "AWS::ApiGatewayV2::Api" {
            return Ok(false);
        }
        match self.property(resource, "ProtocolType")?.as_deref() {
            Some("WEBSOCKET") => Ok(true),
            None | Some("HTTP") => Ok(false),
            Some(other) => {
                let line = resource.properties.get("ProtocolType").map_or(resource.line, |node| node.line);
                Err(Fault::at(line, format!("`ProtocolType` must be `HTTP` or `WEBSOCKET`, not `{other}`")))
            }
        }
    }

    /// The id that `Ref` of an API gives.
    pub(super) fn api_id(&self, logical_id: &str) -> String {
        api_id(&self.place.path_of(logical_id))
    }

    /// The ARN that a resource has in AWS.
    pub(super) fn arn_of(&self, logical_id: &str, resource: &Resource) -> Result<String, Fault> {
        let qualifier = match resource.kind.as_str() {
            "AWS::Lambda::Alias" => self.name_of(logical_id, resource)?,
            "AWS::Lambda::Version" => "1".to_owned(),
            kind => {
                let service = kind.split("::").nth(1).unwrap_or("custom").to_ascii_lowercase();
                let pattern = kind_of(resource).arn.replace("{service}", &service);
                return Ok(self.arn(&pattern, &self.name_of(logical_id, resource)?));
            }
        };
        let function = match resource.properties.get("FunctionName") {
            Some(function) => self.text(function, &format!("`FunctionName` of `{logical_id}`"))?,
            None => logical_id.to_owned(),
        };
        let function = function.rsplit_once(":function:").map_or(function.as_str(), |(_, name)| name);
        Ok(self.arn("lambda:{region}:{account}:function:{name}", function) + ":" + &qualifier)
    }

    fn arn(&self, pattern: &str, name: &str) -> String {
        let arn = pattern
            .replace("{region}", &self.pseudo("AWS::Region"))
            .replace("{account}", &self.pseudo("AWS::AccountId"))
            .replace("{name}", name);
        format!("arn:{}:{arn}", self.pseudo("AWS::Partition"))
    }

    /// A pseudo parameter that is text.
    pub(super) fn pseudo(&self, name: &str) -> String {
        self.parameters.get(name).and_then(|value| value.as_text()).unwrap_or_default().to_owned()
    }

    /// Whether SAM may make a resource of this name: it puts the name of the resource it belongs to in front.
    fn is_made_by_sam(&self, name: &str) -> bool {
        let owns = |(owner, resource): (&String, &Resource)| {
            let is_sams = resource.kind.starts_with("AWS::Serverless::") || resource.made_for.is_some();
            is_sams && name.starts_with(owner.as_str())
        };
        let shared =
            ["ServerlessRestApi", "ServerlessHttpApi", "ServerlessDeploymentApplication", "CodeDeployServiceRole"];
        shared.contains(&name) || self.resources.iter().any(owns)
    }
}

fn kind_of(resource: &Resource) -> &'static Kind {
    KINDS.iter().find(|kind| kind.resource == resource.kind).unwrap_or(&OTHER)
}

/// Ten lower-case letters and digits, always the same for the same logical id (FNV-1a).
fn api_id(logical_id: &str) -> String {
    let mut hash = logical_id
        .bytes()
        .fold(0xcbf2_9ce4_8422_2325_u64, |hash, byte| (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3));
    let digits = b"abcdefghijklmnopqrstuvwxyz0123456789";
    let mut id = String::new();
    for _ in 0..10 {
        id.push(char::from(digits[(hash % 36) as usize]));
        hash /= 36;
    }
    id
}

#[cfg(test)]
mod tests {
    use super::super::testing::{check_in, fault_in, named};
    use super::*;

    const RESOURCES: &str = "
Conditions: {Never: !Equals [a, b]}
Resources:
  Function: {Type: AWS::Serverless::Function, Properties: {AutoPublishAlias: live}}
  Named: {Type: AWS::Lambda::Function, Properties: {FunctionName: !Sub '${AWS::StackName}-fn'}}
  Alias: {Type: AWS::Lambda::Alias, Properties: {FunctionName: !Ref Named, Name: live}}
  Version: {Type: AWS::Lambda::Version, Properties: {FunctionName: !GetAtt Named.Arn}}
  Queue: {Type: AWS::SQS::Queue}
  Topic: {Type: AWS::SNS::Topic, Properties: {TopicName: news}}
  Table: {Type: AWS::DynamoDB::Table}
  Simple: {Type: AWS::Serverless::SimpleTable, Properties: {TableName: rows}}
  Role: {Type: AWS::IAM::Role}
  Bucket: {Type: AWS::S3::Bucket}
  Strange: {Type: AWS::Some::Thing}
  Http: {Type: AWS::Serverless::HttpApi}
  Missing: {Type: AWS::SQS::Queue, Condition: Never}
  Api:
    Type: AWS::Serverless::WebSocketApi
    Properties:
      StageName: beta
      RouteSelectionExpression: $request.body.action
      Routes: {$connect: {FunctionArn: !GetAtt Function.Arn}, sendMessage: {FunctionArn: !Ref Function.Alias}}
";

    fn check(expression: &str, expected: &str) {
        check_in(&format!("{RESOURCES}Probe: {expression}\n"), named(expected).into());
    }

    fn check_fault(expression: &str, words: &str) {
        let fault = fault_in(&format!("{RESOURCES}Probe: {expression}\n"));
        assert!(fault.text.contains(words), "{expression}: {}", fault.text);
    }

    #[test]
    fn ref_gives_what_aws_gives() {
        check("!Ref Function", "<Serverless::Function Function>");
        check("!Ref Named", "tidings-dev-fn");
        check("!Ref Alias", "arn:aws:lambda:us-east-1:123456789012:function:tidings-dev-fn:live");
        check("!Ref Version", "arn:aws:lambda:us-east-1:123456789012:function:tidings-dev-fn:1");
        check("!Ref Queue", "http://127.0.0.1:3030/123456789012/<SQS::Queue Queue>");
        check("!Ref Topic", "arn:aws:sns:us-east-1:123456789012:news");
        check("!Ref Table", "<DynamoDB::Table Table>");
        check("!Ref Simple", "rows");
        check("!Ref Role", "<IAM::Role Role>");
        check("!Ref Bucket", "<S3::Bucket Bucket>");
        check("!Ref Strange", "Strange");
        check("!Ref Api", &api_id("Api"));
    }

    #[test]
    fn get_att_gives_what_aws_gives() {
        check("!GetAtt Function.Arn", "arn:aws:lambda:us-east-1:123456789012:function:<Serverless::Function Function>");
        check("!GetAtt [Named, Arn]", "arn:aws:lambda:us-east-1:123456789012:function:tidings-dev-fn");
        check("{'Fn::GetAtt': [Queue, Arn]}", "arn:aws:sqs:us-east-1:123456789012:<SQS::Queue Queue>");
        check("!GetAtt Queue.QueueName", "<SQS::Queue Queue>");
        check("!GetAtt Queue.QueueUrl", "http://127.0.0.1:3030/123456789012/<SQS::Queue Queue>");
        check("!GetAtt Topic.TopicArn", "arn:aws:sns:us-east-1:123456789012:news");
        check("!GetAtt Topic.TopicName", "news");
        check("!GetAtt Table.Arn", "arn:aws:dynamodb:us-east-1:123456789012:table/<DynamoDB::Table Table>");
        check(
            "!GetAtt Table.StreamArn",
            "arn:aws:dynamodb:us-east-1:123456789012:table/<DynamoDB::Table Table>/stream/2000-01-01T00:00:00.000",
        );
        check("!GetAtt Role.Arn", "arn:aws:iam::123456789012:role/<IAM::Role Role>");
        check("!GetAtt Bucket.Arn", "arn:aws:s3:::<S3::Bucket Bucket>");
        check("!GetAtt Strange.Arn", "arn:aws:some:us-east-1:123456789012:Strange");
        check("!GetAtt Strange.Deep.Attribute", "Strange");
        check("!GetAtt Api.ApiEndpoint", &format!("wss://{}.execute-api.us-east-1.amazonaws.com", api_id("Api")));
        check("!GetAtt Http.ApiEndpoint", &format!("https://{}.execute-api.us-east-1.amazonaws.com", api_id("Http")));
        check("!GetAtt Api.ApiId", &api_id("Api"));
    }

    #[test]
    fn what_sam_makes_can_be_referred_to() {
        check("!Ref ApiConnectRoute", "ApiConnectRoute");
        check("!Ref ApiSendmessageIntegration", "ApiSendmessageIntegration");
        check("!Ref ApibetaStage", "beta");
        check("!Ref Api.Stage", "beta");
        check("!Sub '${Api.Stage}'", "beta");
        check(
            "!Ref Function.Alias",
            "arn:aws:lambda:us-east-1:123456789012:function:<Serverless::Function Function>:live",
        );
        check(
            "!Ref Function.Version",
            "arn:aws:lambda:us-east-1:123456789012:function:<Serverless::Function Function>:1",
        );
        check(
            "!Ref FunctionAliaslive",
            "arn:aws:lambda:us-east-1:123456789012:function:<Serverless::Function Function>:live",
        );
        check("!Ref FunctionRole", "FunctionRole");
        check("!GetAtt FunctionRole.Arn", "arn:aws:iam::123456789012:role/FunctionRole");
        check("!Ref ServerlessHttpApi", "ServerlessHttpApi");
    }

    #[test]
    fn a_name_that_stands_for_nothing_is_told() {
        check_fault("!Ref Nothing", "`Nothing` is neither a parameter nor a resource of this template");
        check_fault("!GetAtt Nothing.Arn", "this template has no resource `Nothing`");
        check_fault("!GetAtt Queue", "takes a resource and an attribute");
        check_fault("!Ref Missing", "`Missing` is used here, but its condition `Never` does not hold");
    }

    #[test]
    fn an_api_id_looks_like_one_and_never_changes() {
        assert_eq!(api_id("Api"), api_id("Api"));
        assert_ne!(api_id("Api"), api_id("Api2"));
        for id in ["", "Api", "WebSocketApi"].map(api_id) {
            assert_eq!(id.len(), 10);
            assert!(id.chars().all(|c| c.is_ascii_lowercase() || c.is_ascii_digit()), "{id}");
        }
    }
}
