//! Messages and the checksums that SDKs verify.

use std::collections::BTreeMap;

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::refusal::{Code, Refusal};

/// Most message attributes of one message.
const MOST_ATTRIBUTES: usize = 10;

/// What a producer sends, with the id that it gets.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Message {
    /// A UUID.
    pub id: String,
    /// The text.
    pub body: String,
    /// Message attributes by name. The checksum needs them sorted.
    pub attributes: BTreeMap<String, Attribute>,
    /// The system attribute `AWSTraceHeader`.
    pub trace: Option<String>,
    /// `MessageGroupId`: needed in FIFO queues, carried in others.
    pub group: Option<String>,
    /// `MessageDeduplicationId`, only in FIFO queues.
    pub deduplication: Option<String>,
}

/// One message attribute.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Attribute {
    /// `String`, `Number` or `Binary`, with an own label behind a dot if wanted.
    pub data_type: String,
    /// The value.
    pub content: Content,
}

/// The value of a message attribute.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Content {
    /// Of the types `String` and `Number`.
    Text(String),
    /// Of the type `Binary`.
    Binary(Vec<u8>),
}

impl Message {
    /// A message of text alone.
    #[must_use]
    pub fn text(body: impl Into<String>) -> Self {
        Self { id: uuid::Uuid::new_v4().to_string(), body: body.into(), ..Self::default() }
    }

    /// What counts against the limit: body, attributes with their names and types.
    pub(super) fn size(&self) -> usize {
        let attributes = self
            .attributes
            .iter()
            .map(|(name, attribute)| name.len() + attribute.data_type.len() + attribute.content.bytes().len());
        self.body.len() + attributes.sum::<usize>()
    }

    /// Whether SQS takes it at all.
    pub(super) fn check(&self) -> Result<(), Refusal> {
        if self.body.is_empty() {
            return Err(Refusal::new(Code::MissingParameter, "The request must contain the parameter MessageBody."));
        }
        if self.attributes.len() > MOST_ATTRIBUTES {
            let text = format!(
                "Number of message attributes [{}] exceeds the allowed maximum [{MOST_ATTRIBUTES}].",
                self.attributes.len()
            );
            return Err(Refusal::new(Code::InvalidParameterValue, text));
        }
        let texts = self.attributes.values().filter_map(|attribute| match &attribute.content {
            Content::Text(text) => Some(text.as_str()),
            Content::Binary(_) => None,
        });
        if std::iter::once(self.body.as_str()).chain(texts).flat_map(str::chars).any(is_forbidden) {
            let text = "Invalid characters found. Valid unicode characters are #x9 | #xA | #xD | #x20 to #xD7FF | \
                        #xE000 to #xFFFD | #x10000 to #x10FFFF";
            return Err(Refusal::new(Code::InvalidMessageContents, text));
        }
        Ok(())
    }
}

fn is_forbidden(character: char) -> bool {
    matches!(character, '\0'..='\x08' | '\x0b' | '\x0c' | '\x0e'..='\x1f' | '\u{fffe}' | '\u{ffff}')
}

impl Content {
    fn bytes(&self) -> &[u8] {
        match self {
            Self::Text(text) => text.as_bytes(),
            Self::Binary(bytes) => bytes,
        }
    }
}

impl Attribute {
    /// An attribute of text or of a number.
    pub(super) fn text(data_type: &str, text: String) -> Self {
        Self { data_type: data_type.to_owned(), content: Content::Text(text) }
    }

    /// Reads an attribute as the API has it.
    pub(super) fn read(name: &str, value: &Value) -> Result<Self, Refusal> {
        let wrong = |why: &str| {
            let text = format!("The message attribute '{name}' {why}");
            Refusal::new(Code::InvalidParameterValue, text)
        };
        let data_type = value["DataType"].as_str().unwrap_or_default();
        let content = match data_type.split('.').next() {
            Some("String" | "Number") => value["StringValue"].as_str().map(|text| Content::Text(text.to_owned())),
            Some("Binary") => {
                let bytes = value["BinaryValue"].as_str().and_then(|text| BASE64_STANDARD.decode(text).ok());
                bytes.map(Content::Binary)
            }
            _ => {
                return Err(wrong(
                    "has an invalid message attribute type, the set of supported type prefixes is \
                                   Binary, Number, and String.",
                ));
            }
        };
        match content.filter(|content| !content.bytes().is_empty()) {
            Some(content) => Ok(Self { data_type: data_type.to_owned(), content }),
            None => Err(wrong("must contain a non-empty message attribute value of its type.")),
        }
    }

    /// The attribute as the API has it.
    pub(super) fn to_json(&self) -> Value {
        match &self.content {
            Content::Text(text) => json!({"DataType": self.data_type, "StringValue": text}),
            Content::Binary(bytes) => json!({"DataType": self.data_type, "BinaryValue": BASE64_STANDARD.encode(bytes)}),
        }
    }
}

/// The MD5 of a text in hexadecimal digits.
pub fn md5_of(text: &str) -> String {
    format!("{:x}", md5::compute(text))
}

/// The MD5 of message attributes; nothing where there are none.
///
/// SQS Developer Guide, "Calculating the MD5 message digest for message attributes": each name, type and value with
/// its length in four bytes before it, and one byte that tells text from bytes.
pub fn md5_of_attributes<'a>(attributes: impl IntoIterator<Item = (&'a String, &'a Attribute)>) -> Option<String> {
    let mut bytes = Vec::new();
    let mut put = |part: &[u8], kind: Option<u8>| {
        bytes.extend(kind);
        // No part is longer than a message, which has at most 1 MiB.
        bytes.extend(u32::try_from(part.len()).unwrap_or(u32::MAX).to_be_bytes());
        bytes.extend(part);
    };
    for (name, attribute) in attributes {
        put(name.as_bytes(), None);
        put(attribute.data_type.as_bytes(), None);
        let kind = if matches!(attribute.content, Content::Text(_)) { 1 } else { 2 };
        put(attribute.content.bytes(), Some(kind));
    }
    (!bytes.is_empty()).then(|| format!("{:x}", md5::compute(bytes)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn checksums_are_those_that_sdks_expect() {
        assert_eq!(md5_of("This is a test message"), "fafb00f5732ab283681e124bf8747ed1");
        let text = Attribute { data_type: "String".into(), content: Content::Text("attribute1-value".into()) };
        let attributes = BTreeMap::from([("attribute1-name".to_owned(), text)]);
        let mut by_hand = Vec::new();
        for (kind, part) in [(None, "attribute1-name"), (None, "String"), (Some(1_u8), "attribute1-value")] {
            by_hand.extend(kind);
            by_hand.extend((part.len() as u32).to_be_bytes());
            by_hand.extend(part.as_bytes());
        }
        assert_eq!(md5_of_attributes(&attributes), Some(format!("{:x}", md5::compute(by_hand))));
        assert_eq!(md5_of_attributes(&BTreeMap::new()), None);
    }

    #[test]
    fn attributes_are_checked() {
        let read = |value: Value| Attribute::read("a", &value).map(|attribute| attribute.to_json());
        let number = json!({"DataType": "Number.int", "StringValue": "5"});
        assert_eq!(read(number.clone()).unwrap(), number);
        let binary = json!({"DataType": "Binary", "BinaryValue": "AAEC"});
        assert_eq!(read(binary.clone()).unwrap(), binary);
        for wrong in [
            json!({"DataType": "Map", "StringValue": "5"}),
            json!({"DataType": "String"}),
            json!({"DataType": "String", "StringValue": ""}),
            json!({"DataType": "Binary", "BinaryValue": "%"}),
        ] {
            assert!(read(wrong.clone()).is_err(), "{wrong}");
        }
    }

    #[test]
    fn a_body_of_forbidden_characters_is_refused() {
        assert!(Message::text("a\n\t😀").check().is_ok());
        assert_eq!(Message::text("a\u{0}").check().unwrap_err().code, Code::InvalidMessageContents);
        assert_eq!(Message::text("").check().unwrap_err().code, Code::MissingParameter);
    }
}
