//! Request models: a message that its model does not match is answered *Bad request body*.
//!
//! Models are JSON schemas of draft 4. Which one is for a message is said by the route's model selection expression;
//! where it names none, `$default` is, and without that the message fails.

use std::collections::HashMap;

use super::selection::Selection;
use tidings_local_stack::Validation;
use tidings_local_stack::schema::Schema;

const DEFAULT: &str = "$default";

/// The compiled models of one route.
#[derive(Debug)]
pub(super) struct Validator {
    /// `None` if the expression is `$default` itself.
    selection: Option<Selection>,
    models: HashMap<String, Schema>,
}

impl Validator {
    /// Compiles the models. One that cannot be is left out, so that its messages fail; the template reader has refused
    /// such a template already.
    pub(super) fn new(validation: &Validation) -> Self {
        let selection =
            (validation.selection.trim_start_matches('\\') != DEFAULT).then(|| Selection::new(&validation.selection));
        let models =
            validation.models.iter().filter_map(|(key, schema)| Some((key.clone(), Schema::new(schema).ok()?)));
        Self { selection, models: models.collect() }
    }

    /// Whether a message may go to the integration.
    pub(super) fn accepts(&self, message: &str) -> bool {
        let Ok(body) = serde_json::from_str(message) else { return false };
        let key = self.selection.as_ref().and_then(|selection| selection.select(message));
        let model = key.and_then(|key| self.models.get(&key)).or_else(|| self.models.get(DEFAULT));
        model.is_some_and(|model| model.accepts(&body))
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn validator(selection: &str, models: &[(&str, Value)]) -> Validator {
        let models = models.iter().map(|(key, schema)| ((*key).to_owned(), schema.clone())).collect();
        Validator::new(&Validation { selection: selection.to_owned(), models })
    }

    fn text() -> Value {
        json!({"$schema": "http://json-schema.org/draft-04/schema#", "type": "object",
            "properties": {"text": {"type": "string", "maxLength": 5}}, "required": ["text"]})
    }

    #[test]
    fn a_message_must_match_its_model() {
        let validator = validator("$default", &[("$default", text())]);
        assert!(validator.accepts(r#"{"text":"hi"}"#));
        for bad in [r#"{"text":7}"#, r#"{"text":"too long"}"#, "{}", "[]", "not json", ""] {
            assert!(!validator.accepts(bad), "{bad}");
        }
    }

    #[test]
    fn the_expression_selects_the_model_and_the_default_is_for_the_rest() {
        let chosen = validator("$request.body.kind", &[("a", json!({"required": ["n"]})), ("$default", text())]);
        assert!(chosen.accepts(r#"{"kind":"a","n":1}"#));
        assert!(!chosen.accepts(r#"{"kind":"a","text":"hi"}"#));
        assert!(chosen.accepts(r#"{"kind":"b","text":"hi"}"#));
        let no_default = validator("$request.body.kind", &[("a", json!({}))]);
        assert!(no_default.accepts(r#"{"kind":"a"}"#));
        assert!(!no_default.accepts(r#"{"kind":"b"}"#));
    }
}
