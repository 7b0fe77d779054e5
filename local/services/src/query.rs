//! AWS's query protocol, which SNS speaks, and SQS beside JSON: forms in, XML out. What names mean is each service's matter.

use std::collections::BTreeMap;

use axum::http::{HeaderMap, header};
use serde_json::{Value, json};

/// Parameters by the parts of their names, `Attribute.1.Name` being three.
#[derive(Debug, Default)]
pub(crate) struct Tree {
    /// By the next part of the name.
    pub(crate) inside: BTreeMap<String, Tree>,
    /// What the name stands for, where it ends here.
    pub(crate) text: String,
}

impl Tree {
    /// The parameters of a form.
    pub(crate) fn of(form: &[u8]) -> Self {
        let mut root = Self::default();
        for (name, value) in form_urlencoded::parse(form) {
            let leaf = name.split('.').fold(&mut root, |tree, part| tree.inside.entry(part.to_owned()).or_default());
            leaf.text = value.into_owned();
        }
        root
    }

    /// Takes the action out.
    pub(crate) fn action(&mut self) -> String {
        self.inside.remove("Action").map(|tree| tree.text).unwrap_or_default()
    }

    /// The members of a list, in the order of their numbers.
    pub(crate) fn numbered(self) -> impl Iterator<Item = Self> {
        let mut members: Vec<_> = self.inside.into_iter().collect();
        members.sort_by_key(|(number, _)| number.parse::<u32>().unwrap_or(u32::MAX));
        members.into_iter().map(|(_, tree)| tree)
    }
}

/// A text as XML has it.
pub(crate) fn escaped(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for character in text.chars() {
        match character {
            '&' => out.push_str("&amp;"),
            '<' => out.push_str("&lt;"),
            '>' => out.push_str("&gt;"),
            // A parser would make a line feed of it.
            '\r' => out.push_str("&#13;"),
            other => out.push(other),
        }
    }
    out
}

/// Whether a caller asks for JSON, as API Gateway does; all others get XML.
pub(crate) fn wants_json(headers: &HeaderMap) -> bool {
    headers.get(header::ACCEPT).is_some_and(|kinds| kinds.as_bytes() == b"application/json")
}

/// A result as the JSON that API Gateway gets.
pub(crate) fn success_in_json(action: &str, result: &Value, request_id: &str) -> Value {
    let metadata = json!({"RequestId": request_id});
    json!({format!("{action}Response"): {"ResponseMetadata": metadata, format!("{action}Result"): result}})
}

/// A refusal as JSON.
pub(crate) fn failure_in_json(code: &str, message: &str, request_id: &str) -> Value {
    let error = json!({"Code": code, "Message": message, "Type": "Sender"});
    json!({"Error": error, "RequestId": request_id})
}
