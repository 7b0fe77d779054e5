//! Integrations of the type `AWS`: a template makes a request to a service, and the service's answer goes through another one.
//!
//! `request` is what the service gets, and knows nothing of the network; `backends` carries it there.

mod backends;
mod request;

use std::time::Duration;

use serde_json::Value;

use super::mapping::{Answers, Mapping, MappingError, Request};
use super::traffic::MAX_MESSAGE;
use tidings_local_stack::{Passthrough, Service, ServiceIntegration};

pub(super) use backends::Backends;
use backends::SendError;

/// Most characters of a service's own words in an error.
const MOST_WORDS: usize = 300;

/// Why an integration fails.
#[derive(Debug, thiserror::Error)]
pub(super) enum ServiceError {
    /// A template failed.
    #[error(transparent)]
    Mapping(#[from] MappingError),
    /// AWS answers 415 here.
    #[error("no request template is for this message, and `PassthroughBehavior` does not let it through")]
    NoTemplate,
    /// The service was not reached.
    #[error(transparent)]
    Send(#[from] SendError),
    /// It took longer than the integration's timeout.
    #[error("the service took longer than {} ms", .0.as_millis())]
    TimedOut(Duration),
    /// The service, or the function, failed.
    #[error("the service answered {status}: {words}")]
    Refused {
        /// Its status.
        status: u16,
        /// The beginning of what it said.
        words: String,
    },
    /// There is no answer to choose.
    #[error(
        "the service answered {0}, but its integration has no response for that; add an \
         `AWS::ApiGatewayV2::IntegrationResponse` with the key `$default`"
    )]
    NoResponse(u16),
    /// The answer is longer than a message may be.
    #[error("the answer has {0} bytes; at most {MAX_MESSAGE} are allowed")]
    TooLong(usize),
}

/// What a service answered.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Answer {
    pub(super) status: u16,
    pub(super) body: String,
    /// A function ran and failed; its status is 200 all the same.
    is_function_error: bool,
}

impl Answer {
    /// Why the call counts as failed, if it does.
    pub(super) fn failure(&self) -> Option<ServiceError> {
        let is_failure = self.is_function_error || !(200..300).contains(&self.status);
        let words = || self.body.trim().chars().take(MOST_WORDS).collect();
        is_failure.then(|| ServiceError::Refused { status: self.status, words: words() })
    }
}

/// A compiled integration of the type `AWS`.
#[derive(Debug)]
pub(super) struct ServiceRunner {
    integration: ServiceIntegration,
    request: Mapping,
    answers: Answers,
}

impl ServiceRunner {
    pub(super) fn new(integration: &ServiceIntegration) -> Self {
        Self {
            request: Mapping::new(&integration.request),
            answers: Answers::new(&integration.responses),
            integration: integration.clone(),
        }
    }

    /// Calls the service; that it fails is an answer too.
    pub(super) async fn call(&self, backends: &Backends, request: &Request<'_>) -> Result<Answer, ServiceError> {
        let body = self.body(request)?;
        let ServiceIntegration { call, parameters, timeout_ms, .. } = &self.integration;
        let parameters = request::values(parameters, request);
        let outgoing = request::outgoing(call, &parameters, body);
        let limit = Duration::from_millis(*timeout_ms);
        let answer = tokio::time::timeout(limit, backends.send(call.service, outgoing)).await;
        Ok(answer.map_err(|_| ServiceError::TimedOut(limit))??)
    }

    /// The body of the request: what the template for it makes, or the message itself.
    fn body(&self, request: &Request<'_>) -> Result<String, ServiceError> {
        let is_let_through = match self.integration.passthrough {
            Passthrough::WhenNoMatch => true,
            Passthrough::WhenNoTemplates => self.request.is_empty(),
            Passthrough::Never => false,
        };
        match self.request.render(request)? {
            Some(body) => Ok(body),
            None if is_let_through => Ok(request.message.to_owned()),
            None => Err(ServiceError::NoTemplate),
        }
    }

    /// What the client gets of an answer, where the route sends one. A failure that no integration response is for is an error on
    /// every route; what AWS does on one that sends no answers is not known.
    pub(super) fn reply(
        &self,
        answer: &Answer,
        request: &Request<'_>,
        returns_response: bool,
    ) -> Result<Option<String>, ServiceError> {
        let Some(mapping) = self.answers.choose(&self.selected_by(answer)) else {
            return match answer.failure() {
                Some(failure) => Err(failure),
                None if returns_response => Err(ServiceError::NoResponse(answer.status)),
                None => Ok(None),
            };
        };
        if !returns_response {
            return Ok(None);
        }
        let request = Request { body: &answer.body, status: Some(answer.status), ..*request };
        let reply = mapping.render(&request)?.unwrap_or_else(|| answer.body.clone());
        if reply.len() > MAX_MESSAGE { Err(ServiceError::TooLong(reply.len())) } else { Ok(Some(reply)) }
    }

    /// What the keys of integration responses are patterns for: the status, and of a function its error message (API Gateway
    /// Developer Guide, "WebSocket selection expressions").
    fn selected_by(&self, answer: &Answer) -> String {
        if self.integration.call.service != Service::Lambda || !(200..300).contains(&answer.status) {
            return answer.status.to_string();
        }
        let error: Value = match answer.is_function_error {
            true => serde_json::from_str(&answer.body).unwrap_or_default(),
            false => Value::Null,
        };
        error["errorMessage"].as_str().unwrap_or_default().to_owned()
    }
}

#[cfg(test)]
mod tests {
    use indexmap::IndexMap;
    use serde_json::json;
    use tidings_local_stack::{IntegrationResponse, MappingTemplate, ServiceCall, ServiceTarget, Templates};
    use tidings_local_vtl::Parameters;

    use super::*;

    fn templates(by_key: &[(&str, &str)]) -> Templates {
        let by_key = by_key.iter().map(|(key, text)| ((*key).to_owned(), MappingTemplate::of_text(*text)));
        Templates { selection: Some("$request.body.kind".to_owned()), by_key: by_key.collect() }
    }

    fn runner(
        service: Service,
        passthrough: Passthrough,
        request: &[(&str, &str)],
        responses: &[(&str, &str)],
    ) -> ServiceRunner {
        let responses = responses.iter().map(|(key, text)| IntegrationResponse {
            key: (*key).to_owned(),
            templates: if text.is_empty() { Templates::default() } else { templates(&[("$default", text)]) },
        });
        ServiceRunner::new(&ServiceIntegration {
            call: ServiceCall { service, target: ServiceTarget::Action("Do".to_owned()), query: Vec::new() },
            timeout_ms: 29_000,
            parameters: Vec::new(),
            request: templates(request),
            passthrough,
            responses: responses.collect(),
        })
    }

    fn with_request<T>(message: &str, work: impl FnOnce(&Request<'_>) -> T) -> T {
        let (context, stage_variables, parameters) =
            (json!({"routeKey": "say"}), IndexMap::new(), Parameters::default());
        let (context, stage_variables, parameters) = (&context, &stage_variables, &parameters);
        work(&Request { message, body: message, status: None, context, stage_variables, parameters })
    }

    fn answer(status: u16, body: &str, is_function_error: bool) -> Answer {
        Answer { status, body: body.to_owned(), is_function_error }
    }

    /// The reply to an answer, on a route that sends one or not.
    fn reply(runner: &ServiceRunner, answer: &Answer, returns_response: bool) -> Result<Option<String>, String> {
        with_request(r#"{"kind":"x"}"#, |request| {
            runner.reply(answer, request, returns_response).map_err(|error| error.to_string())
        })
    }

    #[test]
    fn a_message_that_no_template_is_for_is_the_body_if_the_integration_says_so() {
        let body = |passthrough, templates: &[(&str, &str)], message: &str| {
            let runner = runner(Service::DynamoDb, passthrough, templates, &[]);
            with_request(message, |request| runner.body(request).map_err(|error| error.to_string()))
        };
        let (known, other) = (r#"{"kind":"a"}"#, r#"{"kind":"b"}"#);
        let refused = Err(ServiceError::NoTemplate.to_string());
        let a: &[(&str, &str)] = &[("a", "<$context.routeKey>")];
        for passthrough in [Passthrough::WhenNoMatch, Passthrough::WhenNoTemplates, Passthrough::Never] {
            assert_eq!(body(passthrough, a, known), Ok("<say>".to_owned()));
        }
        assert_eq!(body(Passthrough::WhenNoMatch, a, other), Ok(other.to_owned()));
        assert_eq!(body(Passthrough::WhenNoTemplates, a, other), refused);
        assert_eq!(body(Passthrough::WhenNoTemplates, &[], other), Ok(other.to_owned()));
        assert_eq!(body(Passthrough::Never, &[], other), refused);
    }

    #[test]
    fn an_answer_goes_through_the_response_for_its_status_and_only_where_the_route_sends_one() {
        let responses = [("/4\\d\\d/", "refused: $input.path('$.why')"), ("$default", "")];
        let runner = runner(Service::DynamoDb, Passthrough::Never, &[], &responses);
        let (good, bad) = (answer(200, "{\"a\":1}", false), answer(400, "{\"why\":\"no key\"}", false));
        assert_eq!(reply(&runner, &good, true), Ok(Some("{\"a\":1}".to_owned())));
        assert_eq!(reply(&runner, &bad, true), Ok(Some("refused: no key".to_owned())));
        assert_eq!((reply(&runner, &good, false), reply(&runner, &bad, false)), (Ok(None), Ok(None)));
        let long = answer(200, &"x".repeat(MAX_MESSAGE + 1), false);
        assert!(reply(&runner, &long, true).unwrap_err().starts_with("the answer has 131073 bytes"));
    }

    #[test]
    fn without_a_response_for_it_a_failure_is_an_error_and_so_is_an_answer_that_should_be_sent() {
        let runner = runner(Service::Sqs, Passthrough::Never, &[], &[("/5\\d\\d/", "")]);
        let words = "the service answered 400: no such queue";
        for returns_response in [true, false] {
            assert_eq!(
                reply(&runner, &answer(400, " no such queue\n", false), returns_response),
                Err(words.to_owned())
            );
        }
        assert_eq!(reply(&runner, &answer(200, "{}", false), false), Ok(None));
        let error = reply(&runner, &answer(200, "{}", false), true).unwrap_err();
        assert!(error.starts_with("the service answered 200, but its integration has no response for that"), "{error}");
    }

    #[test]
    fn patterns_are_for_the_error_messages_of_functions() {
        let responses = [("/.*text.*/", "sorry"), ("$default", "")];
        let runner = runner(Service::Lambda, Passthrough::Never, &[], &responses);
        let failed = |message: &str| answer(200, &json!({"errorMessage": message}).to_string(), true);
        assert_eq!(reply(&runner, &failed("no text"), true), Ok(Some("sorry".to_owned())));
        assert_eq!(reply(&runner, &failed("other"), true), Ok(Some(r#"{"errorMessage":"other"}"#.to_owned())));
        assert_eq!(reply(&runner, &answer(200, "\"a text\"", false), true), Ok(Some("\"a text\"".to_owned())));
        assert!(failed("x").failure().is_some() && answer(202, "", false).failure().is_none());
    }
}
