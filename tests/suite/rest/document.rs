//! The OpenAPI document says what is there, and nothing else is.

use std::collections::BTreeSet;

use boon::{Compiler, Schemas};
use serde_json::Value;
use tests::stack::root;
use tests::wire::Answer;
use tidings::NotificationId;
use tidings::delivery::most_bytes;
use tidings::notification::{Defaults, Notification};
use tidings_local_template::{Context, load};

const PLACE: &str = "http://tidings.invalid/openapi.json";
/// The route that the document leaves to Centrifugo's.
const SERVER_API: &str = "POST /api/{method}";
/// Those that it leaves to Azure Web PubSub's.
const WEB_PUBSUB: [&str; 2] = ["ANY /api/hubs/{proxy+}", "HEAD /api/health"];

/// The document, with its schemas.
pub(super) struct Document(Value);

impl Document {
    pub(super) fn read() -> Self {
        Self(serde_json::from_str(tidings_api::OPENAPI).unwrap())
    }

    /// Method and path of each operation.
    fn operations(&self) -> BTreeSet<String> {
        let paths = self.0["paths"].as_object().unwrap().iter();
        let methods = |(path, item): (&String, &Value)| {
            let methods: Vec<_> =
                item.as_object().unwrap().keys().filter(|key| *key != "parameters").cloned().collect();
            methods.into_iter().map(|method| format!("{} {path}", method.to_uppercase())).collect::<Vec<_>>()
        };
        paths.flat_map(methods).collect()
    }

    /// Follows a reference within the document.
    fn resolved<'a>(&'a self, value: &'a Value) -> &'a Value {
        match value["$ref"].as_str() {
            Some(reference) => self.0.pointer(reference.strip_prefix('#').unwrap()).unwrap(),
            None => value,
        }
    }

    /// Panics if the value does not match the schema at this place of the document.
    fn validate(&self, pointer: &str, value: &Value) {
        let mut compiler = Compiler::new();
        compiler.add_resource(PLACE, self.0.clone()).unwrap();
        let mut schemas = Schemas::new();
        let schema = compiler.compile(&format!("{PLACE}#{pointer}"), &mut schemas).unwrap();
        if let Err(error) = schemas.validate(value, schema) {
            panic!("{pointer}: {value}: {error:#}");
        }
    }

    /// Panics if the document does not have this answer to this call. What is no operation has none.
    pub(super) fn check(&self, method: &str, target: &str, answer: &Answer) {
        let path = target.split('?').next().unwrap();
        let Some((template, item)) = self.path(path) else {
            return self.check_problem(answer);
        };
        let Some(operation) = item.get(method.to_lowercase()) else {
            assert!(answer.status == 405 || method == "OPTIONS" && answer.status == 204, "{method} {path}: {answer:?}");
            return if answer.status == 405 && method != "HEAD" {
                self.check_problem(answer)
            };
        };
        let described = self.resolved(&operation["responses"][answer.status.to_string()]);
        assert!(described.is_object(), "{method} {path} answers {}, which is not described: {answer:?}", answer.status);
        let Some(content) = described["content"].as_object() else {
            assert_eq!(answer.body, "", "{method} {path}");
            return;
        };
        let kind = answer.header("content-type").unwrap();
        assert!(content.contains_key(kind), "{method} {path} answers {kind}: {answer:?}");
        let escape = |text: &str| text.replace('~', "~0").replace('/', "~1");
        let place = match operation["responses"][answer.status.to_string()]["$ref"].as_str() {
            Some(reference) => reference.strip_prefix('#').unwrap().to_owned(),
            None => format!("/paths/{}/{}/responses/{}", escape(template), method.to_lowercase(), answer.status),
        };
        let body = serde_json::from_str(&answer.body).unwrap();
        self.validate(&format!("{place}/content/{}/schema", escape(kind)), &body);
    }

    fn check_problem(&self, answer: &Answer) {
        assert_eq!(answer.header("content-type"), Some("application/problem+json"), "{answer:?}");
        let body: Value = serde_json::from_str(&answer.body).unwrap();
        self.validate("/components/schemas/Problem", &body);
        assert_eq!(body["status"], answer.status);
    }

    /// The path of the document that a request's path matches; one without variables comes first.
    fn path(&self, path: &str) -> Option<(&str, &Value)> {
        let matches = |template: &str| {
            let (wanted, given) = (template.split('/'), path.split('/'));
            wanted.clone().count() == given.clone().count()
                && wanted
                    .zip(given)
                    .all(|(wanted, given)| wanted == given || wanted.starts_with('{') && !given.is_empty())
        };
        let mut found: Vec<_> = self.0["paths"].as_object().unwrap().iter().filter(|(path, _)| matches(path)).collect();
        found.sort_by_key(|(path, _)| path.matches('{').count());
        found.first().map(|(path, item)| (path.as_str(), *item))
    }
}

#[test]
fn the_document_the_function_and_the_template_have_the_same_operations() {
    let described = Document::read().operations();
    let served: BTreeSet<_> = tidings_api::Operation::ALL.map(tidings_api::Operation::route_key).into();
    assert_eq!(described, served);
    let protocols = [("Protocols".to_owned(), "centrifuge,webpubsub".to_owned())].into();
    let context = Context { parameters: &protocols, sqs: "http://127.0.0.1:3030", functions_elsewhere: false };
    let stack = load(&root().join("template.yaml"), context).unwrap();
    let mut routed: BTreeSet<_> = stack.http_apis["RestApi"].routes.iter().map(|route| route.key.clone()).collect();
    assert!(routed.remove("$default"), "what is no operation is to be answered too");
    assert!(routed.remove(SERVER_API), "Centrifugo describes it");
    assert!(WEB_PUBSUB.into_iter().all(|route| routed.remove(route)), "Azure describes them");
    for operation in tidings_api::Operation::ALL.into_iter().filter(|operation| operation.is_for_clients()) {
        let (_, path) = operation.route();
        assert!(routed.remove(&format!("OPTIONS {path}")), "a browser asks first whether a page may call {path}");
    }
    assert_eq!(routed, served);
}

#[test]
fn every_route_but_those_of_clients_is_protected_with_or_without_tokens() {
    use tidings_local_stack::Authorization;
    let for_clients = tidings_api::Operation::ALL.into_iter().filter(|operation| operation.is_for_clients());
    let for_clients =
        for_clients.flat_map(|operation| [operation.route_key(), format!("OPTIONS {}", operation.route().1)]);
    let foreign = [SERVER_API].into_iter().chain(WEB_PUBSUB).map(str::to_owned);
    let open: Vec<_> = for_clients.chain(foreign).collect();
    for (issuer, is_jwt) in [("", false), ("https://issuer.example", true)] {
        let protocols = ("Protocols", "centrifuge,webpubsub");
        let parameters = [("RestJwtIssuer", issuer), ("RestJwtAudience", "rest"), protocols];
        let parameters = parameters.map(|(name, value)| (name.to_owned(), value.to_owned())).into();
        let context = Context { parameters: &parameters, sqs: "http://127.0.0.1:3030", functions_elsewhere: false };
        let stack = load(&root().join("template.yaml"), context).unwrap();
        for route in &stack.http_apis["RestApi"].routes {
            let expected = if open.contains(&route.key) {
                route.authorization == Authorization::None
            } else if is_jwt {
                matches!(&route.authorization, Authorization::Jwt(jwt) if jwt.issuer == issuer && jwt.audience == ["rest"])
            } else {
                route.authorization == Authorization::Iam
            };
            assert!(expected, "{route:?}");
        }
    }
}

/// Walks to every media type and every parameter, and checks its examples against its schema.
#[test]
fn every_example_matches_its_schema() {
    fn walk(document: &Document, place: &str, value: &Value, count: &mut usize) {
        match value {
            Value::Object(fields) => {
                let named = fields.get("examples").and_then(Value::as_object).into_iter().flat_map(|all| all.values());
                let examples = named.map(|example| &example["value"]).chain(fields.get("example"));
                if fields.contains_key("schema") {
                    for example in examples {
                        document.validate(&format!("{place}/schema"), example);
                        *count += 1;
                    }
                }
                for (key, value) in fields {
                    let key = key.replace('~', "~0").replace('/', "~1");
                    walk(document, &format!("{place}/{key}"), value, count);
                }
            }
            Value::Array(items) => {
                for (index, item) in items.iter().enumerate() {
                    walk(document, &format!("{place}/{index}"), item, count);
                }
            }
            _ => {}
        }
    }
    let document = Document::read();
    let mut count = 0;
    walk(&document, "", &document.0, &mut count);
    assert!(count > 20, "only {count} examples were found");
}

#[test]
fn the_document_and_the_guide_name_the_longest_messages() {
    let defaults = Defaults { id: NotificationId::parse("n").unwrap(), at: 0 };
    let kilobytes = |to: &str| {
        let notification = Notification::parse(&format!(r#"{{"to":{to},"data":1}}"#), &defaults).unwrap();
        most_bytes(&notification) / 1_024
    };
    let [plain, topic, user] = [r#""everyone""#, r#"{"topic":"t"}"#, r#"{"user":"u"}"#].map(kilobytes);
    assert_eq!(topic, user);
    let (document, read) = (Document::read().0, |path: &str| std::fs::read_to_string(root().join(path)).unwrap());
    let body = &document["paths"]["/notifications"]["post"]["requestBody"]["description"];
    let refused = &document["components"]["responses"]["TooLarge"]["description"];
    let texts = [body, refused].map(|text| text.as_str().unwrap().to_owned());
    for text in texts.into_iter().chain(["docs/rest.md", "docs/protocol.md"].map(read)) {
        let text = text.split_whitespace().collect::<Vec<_>>().join(" ");
        assert!(text.contains(&format!("{plain} KB")), "{text}");
        assert!(text.contains(&format!("or {topic} KB where it is for a topic or a user")), "{text}");
    }
}

#[test]
fn the_examples_of_notifications_are_notifications() {
    let document = Document::read();
    let content = &document.0["paths"]["/notifications"]["post"]["requestBody"]["content"]["application/json"];
    let defaults = Defaults { id: NotificationId::parse("n").unwrap(), at: 0 };
    let examples = content["examples"].as_object().unwrap().values().map(|example| &example["value"]);
    let notifications: Vec<_> =
        examples.flat_map(|value| value.as_array().cloned().unwrap_or_else(|| vec![value.clone()])).collect();
    assert_eq!(notifications.len(), 3);
    for notification in notifications {
        Notification::parse(&notification.to_string(), &defaults).unwrap();
    }
}
