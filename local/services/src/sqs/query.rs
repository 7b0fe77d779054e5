//! The query protocol, which SDKs spoke before JSON and `curl` speaks well: forms in, XML out; JSON for API Gateway, which asks
//! for it.

use std::fmt::Write as _;

use serde_json::{Map, Value};

use super::refusal::Refusal;
use crate::query::{self, Tree, escaped};

const NAMESPACE: &str = "http://queue.amazonaws.com/doc/2012-11-05/";

/// The action of a form, and its parameters as the JSON protocol would have them.
pub(super) fn read(form: &[u8]) -> (String, Value) {
    let mut root = Tree::of(form);
    (root.action(), object(root))
}

fn object(tree: Tree) -> Value {
    let mut members = Map::new();
    for (name, tree) in tree.inside {
        match name.as_str() {
            "AttributeName" | "MessageAttributeName" | "MessageSystemAttributeName" => {
                members.insert(format!("{name}s"), tree.numbered().map(|tree| Value::from(tree.text)).collect());
            }
            "Attribute" | "MessageAttribute" | "MessageSystemAttribute" => {
                members.insert(format!("{name}s"), named(tree));
            }
            _ if name.ends_with("BatchRequestEntry") => {
                members.insert("Entries".to_owned(), tree.numbered().map(object).collect());
            }
            _ => {
                members.insert(name.clone(), scalar(&name, tree.text));
            }
        }
    }
    members.into()
}

/// A map that is written as a list of names and values.
fn named(tree: Tree) -> Value {
    let pairs = tree.numbered().filter_map(|mut pair| {
        let (name, value) = (pair.inside.remove("Name")?.text, pair.inside.remove("Value")?);
        Some((name, if value.inside.is_empty() { value.text.into() } else { object(value) }))
    });
    Value::Object(pairs.collect())
}

/// Numbers where the JSON protocol has them.
fn scalar(name: &str, text: String) -> Value {
    let numbers = ["DelaySeconds", "MaxNumberOfMessages", "VisibilityTimeout", "WaitTimeSeconds"];
    match text.parse::<u64>() {
        Ok(number) if numbers.contains(&name) => number.into(),
        _ => text.into(),
    }
}

/// A result as XML.
pub(super) fn success(action: &str, result: &Value, request_id: &str) -> String {
    let mut xml = format!("<?xml version=\"1.0\"?><{action}Response xmlns=\"{NAMESPACE}\"><{action}Result>");
    members(&mut xml, action, result);
    let _ = write!(
        xml,
        "</{action}Result><ResponseMetadata><RequestId>{request_id}</RequestId></ResponseMetadata></{action}Response>"
    );
    xml
}

/// A refusal as XML.
pub(super) fn failure(refusal: &Refusal, request_id: &str) -> String {
    format!(
        "<?xml version=\"1.0\"?><ErrorResponse xmlns=\"{NAMESPACE}\"><Error><Type>Sender</Type><Code>{}</Code>\
         <Message>{}</Message><Detail/></Error><RequestId>{request_id}</RequestId></ErrorResponse>",
        refusal.code.query_name(),
        escaped(&refusal.message)
    )
}

/// A result as the JSON that API Gateway gets. Of `SendMessage` there are captures, in which what is not there is `null`
/// (aws-samples/serverless-patterns, READMEs of its patterns from API Gateway to SQS).
pub(super) fn success_in_json(action: &str, result: &Value, request_id: &str) -> Value {
    let mut result = result.clone();
    if let ("SendMessage", Some(members)) = (action, result.as_object_mut()) {
        for name in ["MD5OfMessageAttributes", "MD5OfMessageSystemAttributes", "SequenceNumber"] {
            members.entry(name).or_insert(Value::Null);
        }
    }
    query::success_in_json(action, &result, request_id)
}

/// A refusal as JSON.
pub(super) fn failure_in_json(refusal: &Refusal, request_id: &str) -> Value {
    query::failure_in_json(&refusal.code.query_name(), &refusal.message, request_id)
}

fn members(xml: &mut String, action: &str, object: &Value) {
    for (name, value) in object.as_object().into_iter().flatten() {
        let tag = match name.as_str() {
            "Messages" => "Message".to_owned(),
            "Attributes" => "Attribute".to_owned(),
            "MessageAttributes" => "MessageAttribute".to_owned(),
            "QueueUrls" | "queueUrls" => "QueueUrl".to_owned(),
            "Failed" => "BatchResultErrorEntry".to_owned(),
            "Successful" => format!("{action}ResultEntry"),
            other => other.to_owned(),
        };
        match value {
            Value::Array(items) => items.iter().for_each(|item| element(xml, action, &tag, item)),
            // Maps are flattened; only attribute values are objects of their own.
            Value::Object(map) if tag == "Attribute" || tag == "MessageAttribute" => {
                for (name, value) in map {
                    let _ = write!(xml, "<{tag}><Name>{}</Name>", escaped(name));
                    element(xml, action, "Value", value);
                    let _ = write!(xml, "</{tag}>");
                }
            }
            value => element(xml, action, &tag, value),
        }
    }
}

fn element(xml: &mut String, action: &str, tag: &str, value: &Value) {
    // Writing to a string never fails.
    let _ = write!(xml, "<{tag}>");
    match value {
        Value::Object(_) => members(xml, action, value),
        Value::String(text) => xml.push_str(&escaped(text)),
        other => xml.push_str(&other.to_string()),
    }
    let _ = write!(xml, "</{tag}>");
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_form_becomes_what_json_would_say() {
        let form = b"Action=SendMessageBatch&Version=2012-11-05&SendMessageBatchRequestEntry.10.Id=b\
            &SendMessageBatchRequestEntry.10.MessageBody=2&SendMessageBatchRequestEntry.2.Id=a\
            &SendMessageBatchRequestEntry.2.DelaySeconds=5&SendMessageBatchRequestEntry.2.MessageBody=%7B%7D\
            &SendMessageBatchRequestEntry.2.MessageAttribute.1.Name=n\
            &SendMessageBatchRequestEntry.2.MessageAttribute.1.Value.DataType=String\
            &SendMessageBatchRequestEntry.2.MessageAttribute.1.Value.StringValue=v";
        let attributes = json!({"n": {"DataType": "String", "StringValue": "v"}});
        let entries = json!([
            {"Id": "a", "DelaySeconds": 5, "MessageBody": "{}", "MessageAttributes": attributes},
            {"Id": "b", "MessageBody": "2"},
        ]);
        let (action, input) = read(form);
        assert_eq!(
            (action.as_str(), input),
            ("SendMessageBatch", json!({"Version": "2012-11-05", "Entries": entries}))
        );
        let (_, input) = read(b"AttributeName.1=All&Attribute.1.Name=DelaySeconds&Attribute.1.Value=5");
        assert_eq!(input, json!({"AttributeNames": ["All"], "Attributes": {"DelaySeconds": "5"}}));
    }

    #[test]
    fn a_result_becomes_json_for_those_who_ask_for_it() {
        let result = json!({"MessageId": "m", "MD5OfMessageBody": "b"});
        let expected = json!({"SendMessageResponse": {"ResponseMetadata": {"RequestId": "r"}, "SendMessageResult": {
            "MD5OfMessageAttributes": null, "MD5OfMessageBody": "b", "MD5OfMessageSystemAttributes": null, "MessageId": "m",
            "SequenceNumber": null,
        }}});
        assert_eq!(success_in_json("SendMessage", &result, "r"), expected);
        let refusal = Refusal::missing("Action");
        let error = json!({"Code": "MissingParameter", "Message": refusal.message, "Type": "Sender"});
        assert_eq!(failure_in_json(&refusal, "r"), json!({"Error": error, "RequestId": "r"}));
    }

    #[test]
    fn a_result_becomes_xml() {
        let attribute = json!({"DataType": "String", "StringValue": "v"});
        let message = json!({"Body": "a<b&c", "Attributes": {"A": "1"}, "MessageAttributes": {"n": attribute}});
        let xml = success("ReceiveMessage", &json!({"Messages": [message]}), "id");
        let expected = "<ReceiveMessageResult><Message><Attribute><Name>A</Name><Value>1</Value></Attribute>\
            <Body>a&lt;b&amp;c</Body><MessageAttribute><Name>n</Name><Value><DataType>String</DataType>\
            <StringValue>v</StringValue></Value></MessageAttribute></Message></ReceiveMessageResult>";
        assert!(xml.contains(expected), "{xml}");
    }
}
