//! The API on the wire: the query protocol is the only one that SNS has.

use std::fmt::Write as _;

use axum::http::{StatusCode, header};
use axum::response::{IntoResponse as _, Response};
use serde_json::{Map, Value};
use uuid::Uuid;

use super::Sns;
use super::operations::{self, Refusal};
use crate::query::{Tree, escaped, failure_in_json, success_in_json};

/// The version of the API, by which a form is told from one of SQS.
const VERSION: &str = "2010-03-31";
const NAMESPACE: &str = "http://sns.amazonaws.com/doc/2010-03-31/";

/// Actions of SNS alone, for callers that name no version.
const ACTIONS: [&str; 7] = [
    "Publish",
    "PublishBatch",
    "CreateTopic",
    "ListTopics",
    "ListSubscriptions",
    "ListSubscriptionsByTopic",
    "GetTopicAttributes",
];

/// Whether a form is a call of SNS.
pub(crate) fn is_meant(form: &[u8]) -> bool {
    let mut tells = form_urlencoded::parse(form).filter_map(|(name, value)| match name.as_ref() {
        "Version" => Some(value == VERSION),
        "Action" if ACTIONS.contains(&value.as_ref()) => Some(true),
        _ => None,
    });
    tells.any(|is_ours| is_ours)
}

/// Answers a call: in XML, or in JSON to who asks for it, as API Gateway does.
pub(crate) fn answer(sns: &Sns, form: &[u8], wants_json: bool) -> Response {
    let mut tree = Tree::of(form);
    let action = tree.action();
    let id = Uuid::new_v4().to_string();
    let called = operations::call(sns, &action, &value(tree));
    let status = match &called {
        Ok(_) => StatusCode::OK,
        Err(refusal) if refusal.code == "NotFound" => StatusCode::NOT_FOUND,
        Err(_) => StatusCode::BAD_REQUEST,
    };
    let (kind, body) = match (called, wants_json) {
        (Ok(output), true) => ("application/json", success_in_json(&action, &output, &id).to_string()),
        (Err(refusal), true) => ("application/json", failure_in_json(refusal.code, &refusal.message, &id).to_string()),
        (Ok(output), false) => ("text/xml", success(&action, &output, &id)),
        (Err(refusal), false) => ("text/xml", failure(&refusal, &id)),
    };
    let headers = [(header::CONTENT_TYPE, kind), (header::HeaderName::from_static("x-amzn-requestid"), &id)];
    (status, headers, body).into_response()
}

/// Parameters as JSON: lists are written with `member`, and maps with `entry`.
fn value(mut tree: Tree) -> Value {
    if let Some(members) = tree.inside.remove("member") {
        return members.numbered().map(value).collect();
    }
    if let Some(entries) = tree.inside.remove("entry") {
        let pairs = entries.numbered().filter_map(|mut pair| {
            let mut take = |names: [&str; 2]| names.iter().find_map(|name| pair.inside.remove(*name));
            Some((take(["Name", "key"])?.text, value(take(["Value", "value"])?)))
        });
        return Value::Object(pairs.collect());
    }
    if tree.inside.is_empty() {
        return tree.text.into();
    }
    let members: Map<_, _> = tree.inside.into_iter().map(|(name, tree)| (name, value(tree))).collect();
    members.into()
}

fn success(action: &str, output: &Value, request_id: &str) -> String {
    let mut xml = format!("<{action}Response xmlns=\"{NAMESPACE}\"><{action}Result>");
    write(&mut xml, output);
    let _ = write!(
        xml,
        "</{action}Result><ResponseMetadata><RequestId>{request_id}</RequestId></ResponseMetadata></{action}Response>"
    );
    xml
}

fn failure(refusal: &Refusal, request_id: &str) -> String {
    format!(
        "<ErrorResponse xmlns=\"{NAMESPACE}\"><Error><Type>Sender</Type><Code>{}</Code><Message>{}</Message></Error>\
         <RequestId>{request_id}</RequestId></ErrorResponse>",
        refusal.code,
        escaped(&refusal.message)
    )
}

fn write(xml: &mut String, value: &Value) {
    match value {
        Value::Object(members) => {
            for (name, value) in members {
                xml.push_str(&format!("<{name}>"));
                match value {
                    // The one map of the API.
                    Value::Object(attributes) if name == "Attributes" => entries(xml, attributes),
                    value => write(xml, value),
                }
                xml.push_str(&format!("</{name}>"));
            }
        }
        Value::Array(items) => {
            for item in items {
                xml.push_str("<member>");
                write(xml, item);
                xml.push_str("</member>");
            }
        }
        Value::String(text) => xml.push_str(&escaped(text)),
        other => xml.push_str(&other.to_string()),
    }
}

fn entries(xml: &mut String, attributes: &Map<String, Value>) {
    for (name, value) in attributes {
        xml.push_str(&format!("<entry><key>{}</key><value>", escaped(name)));
        write(xml, value);
        xml.push_str("</value></entry>");
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_form_of_sns_is_told_from_one_of_sqs() {
        for (form, expected) in [
            ("Action=Publish&Version=2010-03-31&Message=x", true),
            ("Action=Publish&Message=x", true),
            ("Action=Subscribe&Version=2010-03-31", true),
            ("Action=SendMessage&Version=2012-11-05", false),
            ("Action=ListQueues", false),
            ("", false),
        ] {
            assert_eq!(is_meant(form.as_bytes()), expected, "{form}");
        }
    }

    #[test]
    fn lists_and_maps_of_a_form_are_read() {
        let form = b"Action=PublishBatch&TopicArn=t&PublishBatchRequestEntries.member.2.Id=b\
            &PublishBatchRequestEntries.member.1.Id=a&PublishBatchRequestEntries.member.1.Message=m\
            &PublishBatchRequestEntries.member.1.MessageAttributes.entry.1.Name=n\
            &PublishBatchRequestEntries.member.1.MessageAttributes.entry.1.Value.DataType=String\
            &PublishBatchRequestEntries.member.1.MessageAttributes.entry.1.Value.StringValue=v\
            &Attributes.entry.1.key=FifoTopic&Attributes.entry.1.value=true";
        let mut tree = Tree::of(form);
        assert_eq!(tree.action(), "PublishBatch");
        let attributes = json!({"n": {"DataType": "String", "StringValue": "v"}});
        let entries = json!([{"Id": "a", "Message": "m", "MessageAttributes": attributes}, {"Id": "b"}]);
        let expected =
            json!({"TopicArn": "t", "PublishBatchRequestEntries": entries, "Attributes": {"FifoTopic": "true"}});
        assert_eq!(value(tree), expected);
    }

    #[test]
    fn answers_are_the_documented_xml() {
        let id = "f187a3c1-376f-11df-8963-01868b7c937a";
        let expected = format!(
            "<PublishResponse xmlns=\"{NAMESPACE}\"><PublishResult><MessageId>94f20ce6-13c5-43a0-9a9e-ca52d816e90b\
             </MessageId></PublishResult><ResponseMetadata><RequestId>{id}</RequestId></ResponseMetadata></PublishResponse>"
        );
        assert_eq!(success("Publish", &json!({"MessageId": "94f20ce6-13c5-43a0-9a9e-ca52d816e90b"}), id), expected);
        let lists = success("X", &json!({"Topics": [{"TopicArn": "a&b"}], "Attributes": {"k": "v"}}), id);
        assert!(lists.contains("<Topics><member><TopicArn>a&amp;b</TopicArn></member></Topics>"), "{lists}");
        assert!(lists.contains("<Attributes><entry><key>k</key><value>v</value></entry></Attributes>"), "{lists}");
        let refusal = Refusal { code: "NotFound", message: "Topic does not exist".to_owned() };
        assert!(failure(&refusal, id).contains("<Code>NotFound</Code><Message>Topic does not exist</Message>"));
    }
}
