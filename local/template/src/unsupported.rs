//! What is recognised and does nothing here, named with its line: in SAM's spelling, CloudFormation's and the CDK's.
//!
//! The readers of functions, rules and event sources name what they meet themselves. Resources that only matter in AWS, such
//! as roles, are passed over.

use super::{evaluate::Scope, node::Node, resource::Resource};
use tidings_local_stack::Note;

/// Kinds of resources that do nothing here.
const KINDS: &[(&str, &str)] = &[
    ("AWS::ApiGateway::BasePathMapping", MAPPING),
    ("AWS::ApiGateway::RestApi", "REST APIs are not emulated"),
    ("AWS::ApiGatewayV2::ApiMapping", MAPPING),
    ("AWS::CloudFormation::CustomResource", CUSTOM),
    ("AWS::IoT::TopicRule", "rules of IoT are not emulated"),
    ("AWS::Lambda::Url", "function URLs are not emulated"),
    ("AWS::Logs::SubscriptionFilter", "subscriptions of log groups are not emulated"),
    ("AWS::Pipes::Pipe", "pipes of EventBridge are not emulated"),
    ("AWS::SES::ReceiptRule", "rules of SES are not emulated"),
    ("AWS::Scheduler::Schedule", "schedules of EventBridge Scheduler do not fire locally"),
    ("AWS::Serverless::Api", "REST APIs are not emulated"),
    ("AWS::Serverless::GraphQLApi", "GraphQL APIs are not emulated"),
    ("AWS::Serverless::StateMachine", "state machines are not emulated"),
    ("AWS::StepFunctions::StateMachine", "state machines are not emulated"),
    ("Custom::S3BucketNotifications", NOTIFICATIONS),
];

/// Properties that do nothing here, by the kind of their resource.
const PROPERTIES: &[(&str, &str, &str)] = &[
    ("AWS::ApiGatewayV2::Api", "DisableExecuteApiEndpoint", "clients may connect here all the same"),
    (
        "AWS::ApiGatewayV2::IntegrationResponse",
        "ResponseParameters",
        "clients get no headers of integration responses locally",
    ),
    (
        "AWS::ApiGatewayV2::Route",
        "RequestParameters",
        "they are not checked locally, so nobody is refused for want of them",
    ),
    ("AWS::ApiGatewayV2::Stage", "AccessLogSettings", "access logs are not written locally"),
    ("AWS::ApiGatewayV2::Stage", "ClientCertificateId", "certificates of clients are not emulated"),
    ("AWS::Cognito::UserPool", "LambdaConfig", "triggers of user pools are not emulated"),
    ("AWS::DynamoDB::Table", "KinesisStreamSpecification", "streams of Kinesis are not emulated"),
    ("AWS::Lambda::Function", "DeadLetterConfig", FAILURES),
    ("AWS::S3::Bucket", "NotificationConfiguration", NOTIFICATIONS),
    ("AWS::Serverless::Function", "DeadLetterQueue", FAILURES),
    ("AWS::Serverless::Function", "FunctionUrlConfig", "function URLs are not emulated"),
];

const CUSTOM: &str = "custom resources do not run locally";
const FAILURES: &str = "it is not emulated; use `EventInvokeConfig` with an `OnFailure` queue";
const MAPPING: &str = "custom domains are not emulated; the API answers at its own address";
const NOTIFICATIONS: &str =
    "notifications of buckets are not emulated; send such an event with `aws lambda invoke`, as docs/local.md shows";

/// What there is to say of the resources that the conditions leave in the stack.
pub(super) fn notes(scope: &Scope) -> Vec<Note> {
    let is_there = |resource: &Resource| {
        let condition = resource.condition.as_ref();
        // A condition that cannot be evaluated is somebody else's error; a note too many does no harm.
        condition.is_none_or(|name| scope.condition(name, resource.line).unwrap_or(true))
    };
    let present = scope.resources.iter().filter(|(_, resource)| is_there(resource));
    present.flat_map(|(logical_id, resource)| notes_of(scope, logical_id, resource)).collect()
}

fn notes_of(scope: &Scope, logical_id: &str, resource: &Resource) -> Vec<Note> {
    let kind = resource.kind.as_str();
    let known = KINDS.iter().find(|(known, _)| *known == kind).map(|(_, words)| *words);
    let custom = kind.starts_with("Custom::").then_some(CUSTOM);
    let whole = known.or(custom).map(|words| Note::new(resource.line, format!("`{logical_id}`: {words}")));
    let properties = PROPERTIES.iter().filter(|(known, ..)| *known == kind).filter_map(|(_, key, words)| {
        let node = resource.properties.get(key)?;
        is_set(scope, node).then(|| Note::new(node.line, format!("`{key}` of `{logical_id}`: {words}")))
    });
    whole.into_iter().chain(properties).collect()
}

/// Whether a property says something: `false` and `AWS::NoValue` do not.
fn is_set(scope: &Scope, node: &std::rc::Rc<Node>) -> bool {
    match scope.evaluate(node) {
        Ok(None) => false,
        Ok(Some(value)) => !value.as_text().is_some_and(|text| text.eq_ignore_ascii_case("false")),
        Err(_) => true,
    }
}

#[cfg(test)]
mod tests {
    use super::super::testing::{stack_of, stack_of_resources};

    /// Each line of the resources, with the start of what is said about it.
    #[track_caller]
    fn check(resources: &[(&str, &str)]) {
        let text: String = resources.iter().map(|(resource, _)| format!("  {resource}\n")).collect();
        let stack = stack_of(&format!("{text}Conditions: {{Never: !Equals [a, b]}}\n"));
        let first = super::super::testing::API.lines().count() + 1;
        for (index, (resource, words)) in resources.iter().enumerate() {
            let said = stack.notes.iter().filter(|note| note.line == first + index);
            let said: Vec<_> = said.map(|note| note.text.as_str()).collect();
            let is_right =
                if words.is_empty() { said.is_empty() } else { said.iter().any(|text| text.contains(words)) };
            assert!(is_right, "{resource}: {said:?}");
        }
    }

    #[test]
    fn raw_resources_that_do_nothing_here_are_named_with_their_line() {
        check(&[
            ("Topic: {Type: AWS::SNS::Topic}", ""),
            (
                "Sub: {Type: AWS::SNS::Subscription, Properties: {TopicArn: !Ref Topic, Protocol: email, Endpoint: a@b.c}}",
                "`Sub`: subscribers by `email`",
            ),
            (
                "Inline: {Type: AWS::SNS::Topic, Properties: {Subscription: [{Protocol: sqs, Endpoint: 'arn:q'}]}}",
                "`arn:q` is no queue of this template",
            ),
            ("Timer: {Type: AWS::Scheduler::Schedule}", "`Timer`: schedules of EventBridge Scheduler"),
            ("Pipe: {Type: AWS::Pipes::Pipe}", "`Pipe`: pipes"),
            (
                "Photos: {Type: AWS::S3::Bucket, Properties: {NotificationConfiguration: {}}}",
                "notifications of buckets",
            ),
            ("Cdk: {Type: Custom::S3BucketNotifications}", "notifications of buckets"),
            ("Own: {Type: Custom::Thing}", "custom resources"),
            ("Bucket: {Type: AWS::S3::Bucket}", ""),
            ("Map: {Type: AWS::ApiGatewayV2::ApiMapping, Properties: {ApiId: !Ref Api}}", "`Map`: custom domains"),
            ("Steps: {Type: AWS::StepFunctions::StateMachine}", "state machines"),
            ("Role: {Type: AWS::IAM::Role}", ""),
            ("Rule: {Type: AWS::Events::Rule, Properties: {ScheduleExpression: cron(0 1 * * ? *)}}", ""),
            ("Gone: {Type: AWS::Pipes::Pipe, Condition: Never}", ""),
            ("Shut: {Type: AWS::SNS::Topic, Properties: {Subscription: !Ref AWS::NoValue}}", ""),
            (
                "Late: {Type: AWS::Lambda::Function, Properties: {Code: ., DeadLetterConfig: {TargetArn: x}}}",
                "OnFailure",
            ),
        ]);
    }

    #[test]
    fn what_an_api_asks_for_in_vain_is_named_in_both_spellings() {
        let function = "  F: {Type: AWS::Serverless::Function}\n";
        let raw = format!(
            "\n{function}  Api: {{Type: AWS::ApiGatewayV2::Api, Properties: {{ProtocolType: WEBSOCKET, RouteSelectionExpression: x,
    DisableExecuteApiEndpoint: true}}}}
  Stage: {{Type: AWS::ApiGatewayV2::Stage, Properties: {{ApiId: !Ref Api, StageName: v1,
    AccessLogSettings: {{Format: x}}}}}}
  Route: {{Type: AWS::ApiGatewayV2::Route, Properties: {{ApiId: !Ref Api, RouteKey: $connect, Target: !Ref I,
    RequestParameters: {{route.request.querystring.token: {{Required: true}}}}}}}}
  I: {{Type: AWS::ApiGatewayV2::Integration, Properties: {{ApiId: !Ref Api, IntegrationType: MOCK}}}}
"
        );
        let sam = format!(
            "\n{function}  Api: {{Type: AWS::Serverless::WebSocketApi, Properties: {{RouteSelectionExpression: x,
    DisableExecuteApiEndpoint: true,
    Domain: {{DomainName: a.example}},
    AccessLogSettings: {{Format: x}},
    Routes: {{$connect: {{FunctionArn: !GetAtt F.Arn,
      RequestParameters: {{route.request.querystring.token: {{Required: true}}}}}}}}}}}}
"
        );
        let lines = |text: &str| {
            let stack = stack_of_resources(text);
            stack
                .notes
                .iter()
                .map(|note| (note.line, note.text.split(':').next().unwrap().to_owned()))
                .collect::<Vec<_>>()
        };
        let words = |found: &[(usize, String)]| found.iter().map(|(_, text)| text.clone()).collect::<Vec<_>>();
        let found = lines(&raw);
        assert_eq!(found.iter().map(|(line, _)| *line).collect::<Vec<_>>(), [4, 6, 8], "{found:?}");
        assert_eq!(
            words(&found),
            [
                "`DisableExecuteApiEndpoint` of `Api`",
                "`AccessLogSettings` of `Stage`",
                "`RequestParameters` of `Route`"
            ]
        );
        let found = lines(&sam);
        assert_eq!(found.iter().map(|(line, _)| *line).collect::<Vec<_>>(), [4, 5, 6, 8], "{found:?}");
        assert_eq!(
            words(&found),
            [
                "`DisableExecuteApiEndpoint` of `Api`",
                "`ApiApiMapping`",
                "`AccessLogSettings` of `ApiDefaultStage`",
                "`RequestParameters` of `ApiConnectRoute`"
            ]
        );
    }

    #[test]
    fn a_transform_in_a_table_is_not_lost_behind_what_it_would_have_brought() {
        let table =
            "  T: {Type: AWS::DynamoDB::Table, Properties: {TableName: abc, 'Fn::Transform': {Name: AWS::Include}}}\n";
        let fault = super::super::testing::stack_fault_of(table);
        assert!(
            fault.text.ends_with("it may come from `Fn::Transform`, which is not followed locally"),
            "{}",
            fault.text
        );
    }
}
