//! Mapping templates: which one is for a message, and what it is rendered to; answers, chosen by patterns.

use std::collections::HashMap;

use indexmap::IndexMap;
use regex_lite::Regex;
use serde_json::Value;
use tidings_local_vtl as vtl;

use super::selection::Selection;
use tidings_local_stack::{IntegrationResponse, MappingTemplate, Mock, Templates};

const DEFAULT: &str = "$default";

/// Why a mapping gives nothing.
#[derive(Debug, thiserror::Error)]
pub(super) enum MappingError {
    /// A template failed.
    #[error("{place}: {name} failed: {}", .error.message)]
    Template {
        /// The file with the line, as compilers write it.
        place: String,
        /// What the template is called.
        name: String,
        /// What went wrong.
        error: vtl::Error,
    },
    /// What should be the status of a mock's answer is none.
    #[error("the request template of a mock must give `{{\"statusCode\": 200}}` or another status")]
    NoStatus,
}

/// What templates are rendered with.
#[derive(Debug, Clone, Copy)]
pub(super) struct Request<'a> {
    /// The client's message; empty for a handshake.
    pub(super) message: &'a str,
    /// What `$input` sees: the message, or what an integration answered.
    pub(super) body: &'a str,
    /// The status of what an integration answered.
    pub(super) status: Option<u16>,
    /// `requestContext` of the event.
    pub(super) context: &'a Value,
    pub(super) stage_variables: &'a IndexMap<String, String>,
    pub(super) parameters: &'a vtl::Parameters,
}

/// Compiled templates of which one is chosen.
#[derive(Debug)]
pub(super) struct Mapping {
    selection: Option<Choice>,
    templates: HashMap<String, Compiled>,
    /// The first one, which counts where nothing says which one to choose.
    first: Option<String>,
}

/// What a template selection expression may ask for beside the message (API Gateway Developer Guide, "WebSocket selection
/// expressions").
const STATUS: [&str; 2] = ["${integration.response.statuscode}", "$integration.response.statuscode"];

#[derive(Debug)]
enum Choice {
    Key(String),
    /// By the message.
    Expression(Selection),
    /// By the status of the answer.
    Status,
}

#[derive(Debug)]
struct Compiled {
    source: MappingTemplate,
    template: Result<vtl::Template, vtl::Error>,
}

impl Mapping {
    pub(super) fn new(templates: &Templates) -> Self {
        let selection = templates.selection.as_deref().map(|expression| match expression {
            expression if STATUS.contains(&expression) => Choice::Status,
            expression if expression.contains("request.body") => Choice::Expression(Selection::new(expression)),
            expression => Choice::Key(expression.trim_start_matches('\\').to_owned()),
        });
        let compiled = templates.by_key.iter().map(|(key, source)| {
            let template = vtl::Template::parse(&source.text);
            (key.clone(), Compiled { source: source.clone(), template })
        });
        Self { selection, templates: compiled.collect(), first: templates.by_key.keys().next().cloned() }
    }

    /// Whether there are no templates at all.
    pub(super) fn is_empty(&self) -> bool {
        self.templates.is_empty()
    }

    /// What the chosen template makes of a request; `None` where there is no template for it.
    pub(super) fn render(&self, request: &Request<'_>) -> Result<Option<String>, MappingError> {
        let key = match &self.selection {
            Some(Choice::Key(key)) => Some(key.clone()),
            Some(Choice::Expression(selection)) => selection.select(request.message),
            Some(Choice::Status) => request.status.map(|status| status.to_string()),
            None => self.first.clone().filter(|_| !self.templates.contains_key(DEFAULT)),
        };
        let chosen = key.and_then(|key| self.templates.get(&key)).or_else(|| self.templates.get(DEFAULT));
        chosen.map(|compiled| compiled.render(request)).transpose()
    }
}

impl Compiled {
    fn render(&self, request: &Request<'_>) -> Result<String, MappingError> {
        let Request { body, context, stage_variables, parameters, .. } = *request;
        let input = vtl::Input { body, context, stage_variables, parameters };
        let rendered = self.template.as_ref().map_err(Clone::clone).and_then(|template| template.render(&input));
        rendered.map_err(|error| {
            let file =
                self.source.file.as_ref().map_or_else(|| "line ".to_owned(), |file| format!("{}:", file.display()));
            let place = format!("{file}{}", self.source.line_in_file(error.line));
            MappingError::Template { place, name: self.source.name.clone(), error }
        })
    }
}

/// Compiled integration responses.
#[derive(Debug)]
pub(super) struct Answers(Vec<(Pattern, Mapping)>);

impl Answers {
    pub(super) fn new(responses: &[IntegrationResponse]) -> Self {
        Self(responses.iter().map(|one| (Pattern::new(&one.key), Mapping::new(&one.templates))).collect())
    }

    /// The one whose pattern matches a status or a function's error message, else `$default`.
    pub(super) fn choose(&self, text: &str) -> Option<&Mapping> {
        let matching = self.0.iter().find(|(pattern, _)| pattern.matches(text));
        let default = || self.0.iter().find(|(pattern, _)| matches!(pattern, Pattern::Default));
        matching.or_else(default).map(|(_, mapping)| mapping)
    }
}

/// A compiled `MOCK` integration.
#[derive(Debug)]
pub(super) struct MockRunner {
    request: Mapping,
    answers: Answers,
}

/// The key of an integration response.
#[derive(Debug)]
enum Pattern {
    Default,
    Status(Regex),
    /// One that the template's reader would have refused.
    Nothing,
}

/// What a mock answers.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct MockAnswer {
    pub(super) status: u16,
    pub(super) body: Option<String>,
}

impl MockRunner {
    pub(super) fn new(mock: &Mock) -> Self {
        Self { request: Mapping::new(&mock.request), answers: Answers::new(&mock.responses) }
    }

    /// The status is what the request template says, and the answer that whose pattern matches it, else `$default`.
    pub(super) fn answer(&self, request: &Request<'_>) -> Result<MockAnswer, MappingError> {
        let status = match self.request.render(request)? {
            Some(rendered) => status(&rendered).ok_or(MappingError::NoStatus)?,
            None => 200,
        };
        let answer = self.answers.choose(&status.to_string());
        let request = Request { status: Some(status), ..*request };
        let body = answer.map(|mapping| mapping.render(&request)).transpose()?.flatten();
        Ok(MockAnswer { status, body })
    }
}

fn status(rendered: &str) -> Option<u16> {
    let rendered: Value = serde_json::from_str(rendered).ok()?;
    let status = rendered.get("statusCode")?;
    let status = status.as_u64().or_else(|| status.as_str()?.parse().ok())?;
    u16::try_from(status).ok().filter(|status| (200..=599).contains(status))
}

impl Pattern {
    fn new(key: &str) -> Self {
        if key == DEFAULT {
            return Self::Default;
        }
        let pattern = key.strip_prefix('/').and_then(|key| key.strip_suffix('/'));
        pattern.and_then(|pattern| Regex::new(&format!("^(?:{pattern})$")).ok()).map_or(Self::Nothing, Self::Status)
    }

    fn matches(&self, status: &str) -> bool {
        matches!(self, Self::Status(regex) if regex.is_match(status))
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn templates(selection: Option<&str>, by_key: &[(&str, &str)]) -> Templates {
        let by_key = by_key.iter().map(|(key, text)| ((*key).to_owned(), MappingTemplate::of_text(*text)));
        Templates { selection: selection.map(str::to_owned), by_key: by_key.collect() }
    }

    fn response(key: &str, text: &str) -> IntegrationResponse {
        IntegrationResponse { key: key.to_owned(), templates: templates(None, &[("$default", text)]) }
    }

    fn answer(mock: &Mock, body: &str) -> Result<MockAnswer, String> {
        let context = json!({"connectionId": "c=", "routeKey": "ping"});
        let (variables, parameters) = (IndexMap::new(), vtl::Parameters::default());
        let request = Request {
            message: body,
            body,
            status: None,
            context: &context,
            stage_variables: &variables,
            parameters: &parameters,
        };
        MockRunner::new(mock).answer(&request).map_err(|error| error.to_string())
    }

    #[test]
    fn the_status_chooses_among_patterns_and_the_default_is_for_the_rest() {
        let responses = vec![
            response("$default", "rest"),
            response("/4\\d\\d/", "bad $context.routeKey"),
            response("/2\\d\\d/", "good"),
        ];
        let request = templates(None, &[("x", "{\"statusCode\": $input.path('$.status')}")]);
        let mock = Mock { request, responses };
        for (status, body) in [(200, "good"), (404, "bad ping"), (503, "rest")] {
            let expected = MockAnswer { status, body: Some(body.to_owned()) };
            assert_eq!(answer(&mock, &json!({"status": status}).to_string()), Ok(expected));
        }
        assert!(answer(&mock, "{}").unwrap_err().starts_with("the request template of a mock must give"));
    }

    #[test]
    fn a_template_is_chosen_by_key_or_by_the_message_else_it_is_the_default_or_the_first() {
        let check = |selection: Option<&str>, by_key: &[(&str, &str)], message: &str, expected: &str| {
            let response = IntegrationResponse { key: DEFAULT.to_owned(), templates: templates(selection, by_key) };
            let mock = Mock { request: Templates::default(), responses: vec![response] };
            assert_eq!(answer(&mock, message).unwrap().body.as_deref(), Some(expected), "{selection:?} {message}");
        };
        check(Some("b"), &[("a", "x"), ("b", "y")], "", "y");
        check(Some("\\$default"), &[("a", "x"), ("$default", "y")], "", "y");
        check(None, &[("a", "x"), ("b", "y")], "", "x");
        check(Some("$request.body.kind"), &[("a", "x"), ("$default", "y")], r#"{"kind":"a"}"#, "x");
        check(Some("$request.body.kind"), &[("a", "x"), ("$default", "y")], r#"{"kind":"c"}"#, "y");
        // Without a sign it is a key like any other.
        check(Some("request.body.kind"), &[("a", "x"), ("$default", "y")], r#"{"kind":"a"}"#, "y");
        check(Some("${integration.response.statuscode}"), &[("200", "x"), ("$default", "y")], "", "x");
    }

    #[test]
    fn an_expression_that_chooses_nothing_chooses_no_template() {
        for selection in ["b", "\\$default", "$request.body.kind"] {
            let templates = templates(Some(selection), &[("a", "x")]);
            let mock = Mock {
                request: Templates::default(),
                responses: vec![IntegrationResponse { key: DEFAULT.to_owned(), templates }],
            };
            assert_eq!(answer(&mock, "{}"), Ok(MockAnswer { status: 200, body: None }), "{selection}");
        }
    }

    #[test]
    fn a_mock_without_answers_is_silent() {
        assert_eq!(answer(&Mock::default(), ""), Ok(MockAnswer { status: 200, body: None }));
    }

    #[test]
    fn a_template_that_fails_names_file_and_line() {
        let mut response = response("$default", "a\n$util.nothing(1)");
        let template = response.templates.by_key.get_mut("$default").unwrap();
        (template.file, template.lines) = (Some("app/template.yaml".into()), vec![40, 41]);
        template.name = "the template `$default` in `ResponseTemplates` of `Pong`".to_owned();
        let mock = Mock { request: Templates::default(), responses: vec![response] };
        let error = answer(&mock, "").unwrap_err();
        assert!(
            error.starts_with(
                "app/template.yaml:41: the template `$default` in `ResponseTemplates` of `Pong` failed: there is no \
                 `$util.nothing`"
            ),
            "{error}"
        );
    }
}
