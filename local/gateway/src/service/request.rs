//! What a service gets: the method's translation into the service's own protocol, as API Gateway does it.
//!
//! SQS is called by the query protocol, whose parameters may stand in the address, in mapped parameters and in a body that says
//! that it is a form; the others by JSON, with the operation in `X-Amz-Target`. A mapped header counts for more than our own.

use form_urlencoded::Serializer;
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};

use super::super::mapping::Request;
use super::super::selection::Selection;
use tidings_local_stack::{ParameterPlace, ParameterValue, RequestParameter, Service, ServiceCall, ServiceTarget};

const FORM: &str = "application/x-www-form-urlencoded";
const TARGET: &str = "x-amz-target";
/// What is left as it is in paths: the unreserved characters and what separates segments.
const RESERVED: &AsciiSet =
    &NON_ALPHANUMERIC.remove(b'-').remove(b'.').remove(b'_').remove(b'~').remove(b'/').remove(b':');

/// A mapped parameter with its value.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Parameter {
    place: ParameterPlace,
    name: String,
    value: String,
}

/// A request without the address of its server. It is a POST.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Outgoing {
    /// Path and query, encoded.
    pub(super) target: String,
    /// Names in lower case.
    pub(super) headers: Vec<(String, String)>,
    pub(super) body: String,
}

/// The parameters that a request has a value for.
pub(super) fn values(parameters: &[RequestParameter], request: &Request<'_>) -> Vec<Parameter> {
    let value = |parameter: &RequestParameter| match &parameter.value {
        ParameterValue::Static(text) => Some(text.clone()),
        ParameterValue::Header(name) => {
            let headers = request.parameters.headers.iter();
            headers.rev().find(|(key, _)| key.eq_ignore_ascii_case(name)).map(|(_, value)| value.clone())
        }
        ParameterValue::Query(name) => request.parameters.query.get(name).cloned(),
        ParameterValue::Body(path) => {
            let found = Selection::new(&format!("$request.body.{path}")).select(request.message);
            found.filter(|found| !found.is_empty())
        }
        ParameterValue::StageVariable(name) => request.stage_variables.get(name).cloned(),
        ParameterValue::Context(path) => {
            let found = path.split('.').try_fold(request.context, |value, name| value.get(name))?;
            if found.is_null() { None } else { Some(found.as_str().map_or_else(|| found.to_string(), str::to_owned)) }
        }
    };
    let valued = parameters.iter().filter_map(|parameter| {
        Some(Parameter { place: parameter.place, name: parameter.name.clone(), value: value(parameter)? })
    });
    valued.collect()
}

/// The request for a call.
pub(super) fn outgoing(call: &ServiceCall, parameters: &[Parameter], body: String) -> Outgoing {
    let mut headers: Vec<(String, String)> =
        of(parameters, ParameterPlace::Header).map(|(name, value)| (name.to_ascii_lowercase(), value)).collect();
    let mut query: Vec<_> = call.query.clone();
    query.extend(of(parameters, ParameterPlace::Query));
    let path = path(call, parameters);
    let is_query_protocol = call.service == Service::Sqs && header(&headers, TARGET).is_none();
    if is_query_protocol {
        let body = form(call, query, header(&headers, "content-type"), &body);
        headers.retain(|(name, _)| name != "content-type" && name != "accept");
        // API Gateway asks for JSON, and gets it: `{"SendMessageResponse":{…}}`.
        headers.extend([("content-type", FORM), ("accept", "application/json")].map(owned));
        return Outgoing { target: path, headers, body };
    }
    let defaults = [target(call).map(|target| (TARGET, target)), Some(("content-type", content_type(call.service)))];
    for (name, value) in defaults.into_iter().flatten() {
        if header(&headers, name).is_none() {
            headers.push((name.to_owned(), value));
        }
    }
    let query = Serializer::new(String::new()).extend_pairs(query).finish();
    let target = if query.is_empty() { path } else { format!("{path}?{query}") };
    Outgoing { target, headers, body }
}

fn of(parameters: &[Parameter], place: ParameterPlace) -> impl Iterator<Item = (String, String)> {
    let of_place = parameters.iter().filter(move |parameter| parameter.place == place);
    of_place.map(|parameter| (parameter.name.clone(), parameter.value.clone()))
}

fn owned((name, value): (&str, &str)) -> (String, String) {
    (name.to_owned(), value.to_owned())
}

fn header<'a>(headers: &'a [(String, String)], name: &str) -> Option<&'a str> {
    headers.iter().find(|(key, _)| key == name).map(|(_, value)| value.as_str())
}

fn path(call: &ServiceCall, parameters: &[Parameter]) -> String {
    let encoded = |text: &str| utf8_percent_encode(text, RESERVED).to_string();
    match (&call.target, call.service) {
        (ServiceTarget::Action(function), Service::Lambda) => {
            // A nested function's logical id has slashes, which separate nothing here.
            format!("/2015-03-31/functions/{}/invocations", encoded(function).replace('/', "%2F"))
        }
        (ServiceTarget::Action(_), _) => "/".to_owned(),
        (ServiceTarget::Path(path), _) => {
            let filled = of(parameters, ParameterPlace::Path)
                .fold(path.clone(), |path, (name, value)| path.replace(&format!("{{{name}}}"), &value));
            format!("/{}", encoded(&filled))
        }
    }
}

/// All parameters as a form. What the body says counts for more; a body that does not say that it is a form is none, as the
/// service could not read it.
fn form(call: &ServiceCall, query: Vec<(String, String)>, content_type: Option<&str>, body: &str) -> String {
    let is_form = content_type.is_some_and(|kind| kind.trim().to_ascii_lowercase().starts_with(FORM));
    let body: Vec<(String, String)> =
        if is_form { form_urlencoded::parse(body.as_bytes()).into_owned().collect() } else { Vec::new() };
    let action = match &call.target {
        ServiceTarget::Action(action) => Some(("Action".to_owned(), action.clone())),
        ServiceTarget::Path(_) => None,
    };
    let outside = action.into_iter().chain(query).filter(|(name, _)| !body.iter().any(|(other, _)| other == name));
    let pairs: Vec<_> = outside.collect();
    Serializer::new(String::new()).extend_pairs(pairs).extend_pairs(&body).finish()
}

fn target(call: &ServiceCall) -> Option<String> {
    let ServiceTarget::Action(action) = &call.target else { return None };
    let prefix = match call.service {
        Service::DynamoDb => "DynamoDB_20120810",
        Service::EventBridge => "AWSEvents",
        Service::SecretsManager => "secretsmanager",
        Service::Sqs => "AmazonSQS",
        Service::Lambda => return None,
    };
    Some(format!("{prefix}.{action}"))
}

fn content_type(service: Service) -> String {
    let kind = match service {
        Service::Lambda => "application/json",
        Service::DynamoDb | Service::Sqs => "application/x-amz-json-1.0",
        Service::EventBridge | Service::SecretsManager => "application/x-amz-json-1.1",
    };
    kind.to_owned()
}

#[cfg(test)]
mod tests {
    use indexmap::IndexMap;
    use serde_json::json;
    use tidings_local_vtl::Parameters;

    use super::*;

    fn call(service: Service, target: ServiceTarget) -> ServiceCall {
        ServiceCall { service, target, query: Vec::new() }
    }

    fn action(service: Service, name: &str) -> ServiceCall {
        call(service, ServiceTarget::Action(name.to_owned()))
    }

    fn parameter(place: ParameterPlace, name: &str, value: &str) -> Parameter {
        Parameter { place, name: name.to_owned(), value: value.to_owned() }
    }

    #[track_caller]
    fn check(outgoing: Outgoing, target: &str, headers: &[(&str, &str)], body: &str) {
        let mut found = outgoing.headers;
        found.sort();
        let expected: Vec<_> = headers.iter().copied().map(owned).collect();
        assert_eq!((outgoing.target.as_str(), found, outgoing.body.as_str()), (target, expected, body));
    }

    const IS_FORM: [(&str, &str); 2] = [("accept", "application/json"), ("content-type", FORM)];

    #[test]
    fn operations_of_json_services_are_named_in_a_header() {
        let json = |service, name| outgoing(&action(service, name), &[], "{}".to_owned());
        let headers = [("content-type", "application/x-amz-json-1.0"), (TARGET, "DynamoDB_20120810.PutItem")];
        check(json(Service::DynamoDb, "PutItem"), "/", &headers, "{}");
        let headers = [("content-type", "application/x-amz-json-1.1"), (TARGET, "AWSEvents.PutEvents")];
        check(json(Service::EventBridge, "PutEvents"), "/", &headers, "{}");
        let headers = [("content-type", "application/x-amz-json-1.1"), (TARGET, "secretsmanager.GetSecretValue")];
        check(json(Service::SecretsManager, "GetSecretValue"), "/", &headers, "{}");
    }

    #[test]
    fn a_mapped_header_counts_for_more() {
        let mapped = [
            parameter(ParameterPlace::Header, "X-Amz-Target", "AWSEvents.PutEvents"),
            parameter(ParameterPlace::Header, "Content-Type", "application/x-amz-json-1.1"),
        ];
        let headers = [("content-type", "application/x-amz-json-1.1"), (TARGET, "AWSEvents.PutEvents")];
        let raw = call(Service::EventBridge, ServiceTarget::Path(String::new()));
        check(outgoing(&raw, &mapped, "{}".to_owned()), "/", &headers, "{}");
        // So SQS can be spoken to in JSON too.
        let mapped = [parameter(ParameterPlace::Header, "X-Amz-Target", "AmazonSQS.SendMessage")];
        let headers = [("content-type", "application/x-amz-json-1.0"), (TARGET, "AmazonSQS.SendMessage")];
        let raw = call(Service::Sqs, ServiceTarget::Path(String::new()));
        check(outgoing(&raw, &mapped, "{}".to_owned()), "/", &headers, "{}");
    }

    #[test]
    fn a_function_gets_its_event_at_its_own_address() {
        let headers = [("content-type", "application/json")];
        check(
            outgoing(&action(Service::Lambda, "Chat/Send"), &[], "{}".to_owned()),
            "/2015-03-31/functions/Chat%2FSend/invocations",
            &headers,
            "{}",
        );
        let mapped = [parameter(ParameterPlace::Header, "X-Amz-Invocation-Type", "Event")];
        let headers = [("content-type", "application/json"), ("x-amz-invocation-type", "Event")];
        let outgoing = outgoing(&action(Service::Lambda, "F"), &mapped, String::new());
        check(outgoing, "/2015-03-31/functions/F/invocations", &headers, "");
    }

    #[test]
    fn a_form_for_a_queue_is_what_address_parameters_and_body_say_together() {
        let queue = call(Service::Sqs, ServiceTarget::Path("123456789012/{queue}.fifo".to_owned()));
        let kind = parameter(ParameterPlace::Header, "Content-Type", FORM);
        let mapped = [kind.clone(), parameter(ParameterPlace::Path, "queue", "jobs")];
        let body = "Action=SendMessage&MessageBody=%7B%22a%22%3A1%7D";
        check(outgoing(&queue, &mapped, body.to_owned()), "/123456789012/jobs.fifo", &IS_FORM, body);
        let mut send = action(Service::Sqs, "SendMessage");
        send.query = vec![owned(("DelaySeconds", "5"))];
        let mapped = [kind, parameter(ParameterPlace::Query, "QueueUrl", "http://h/1/q")];
        let expected = "Action=SendMessage&DelaySeconds=5&QueueUrl=http%3A%2F%2Fh%2F1%2Fq&MessageBody=a+b";
        check(outgoing(&send, &mapped, "MessageBody=a b".to_owned()), "/", &IS_FORM, expected);
        let expected = "DelaySeconds=5&QueueUrl=http%3A%2F%2Fh%2F1%2Fq&Action=PurgeQueue";
        check(outgoing(&send, &mapped, "Action=PurgeQueue".to_owned()), "/", &IS_FORM, expected);
    }

    #[test]
    fn a_body_that_does_not_say_that_it_is_a_form_is_none() {
        let body = "Action=SendMessage&MessageBody=a";
        let queue = call(Service::Sqs, ServiceTarget::Path("123456789012/jobs".to_owned()));
        check(outgoing(&queue, &[], body.to_owned()), "/123456789012/jobs", &IS_FORM, "");
    }

    #[test]
    fn values_come_from_wherever_they_are_mapped_from() {
        let context = json!({"connectionId": "c=", "identity": {"sourceIp": "::1"}, "connectedAt": 5, "no": null});
        let variables: IndexMap<_, _> = [owned(("table", "rows"))].into();
        let parameters = Parameters {
            headers: [owned(("X-Own", "h"))].into(),
            query: [owned(("token", "t"))].into(),
            ..Parameters::default()
        };
        let request = Request {
            message: r#"{"to":{"name":"u"},"n":1}"#,
            body: "",
            status: None,
            context: &context,
            stage_variables: &variables,
            parameters: &parameters,
        };
        let value = |value: ParameterValue| {
            let parameter = RequestParameter { place: ParameterPlace::Header, name: "x".to_owned(), value };
            values(&[parameter], &request).pop().map(|parameter| parameter.value)
        };
        let text = str::to_owned;
        for (source, expected) in [
            (ParameterValue::Static(text("s")), Some("s")),
            (ParameterValue::Header(text("x-own")), Some("h")),
            (ParameterValue::Query(text("token")), Some("t")),
            (ParameterValue::Query(text("other")), None),
            (ParameterValue::Body(text("to.name")), Some("u")),
            (ParameterValue::Body(text("n")), Some("1")),
            (ParameterValue::Body(text("none")), None),
            (ParameterValue::StageVariable(text("table")), Some("rows")),
            (ParameterValue::Context(text("connectionId")), Some("c=")),
            (ParameterValue::Context(text("identity.sourceIp")), Some("::1")),
            (ParameterValue::Context(text("connectedAt")), Some("5")),
            (ParameterValue::Context(text("no")), None),
        ] {
            assert_eq!(value(source.clone()).as_deref(), expected, "{source:?}");
        }
    }
}
