//! `$util`.

use std::fmt::Write as _;

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;

use super::value::Value;

/// Calls a function of `$util`; an error is a clause.
pub(super) fn call(name: &str, arguments: &[Value]) -> Result<Value, String> {
    let [argument] = arguments else {
        return match NAMES.contains(&name) {
            true => Err(format!("`$util.{name}` takes one argument")),
            false => Err(unknown(name)),
        };
    };
    let text = match argument {
        Value::Null => return Ok(Value::Null),
        other => other.to_text(),
    };
    let text = match name {
        "escapeJavaScript" => escape(&text),
        "parseJson" => {
            return serde_json::from_str(&text)
                .map(|json| Value::of_json(&json))
                .map_err(|_| "`$util.parseJson` gets what is no JSON".to_owned());
        }
        "urlEncode" => form_urlencoded::byte_serialize(text.as_bytes()).collect(),
        "urlDecode" => form_urlencoded::parse(text.replace('=', "%3D").replace('&', "%26").as_bytes())
            .map(|(name, _)| name.into_owned())
            .collect(),
        "base64Encode" => BASE64_STANDARD.encode(text),
        "base64Decode" => BASE64_STANDARD
            .decode(text.trim())
            .ok()
            .and_then(|bytes| String::from_utf8(bytes).ok())
            .ok_or("`$util.base64Decode` gets what is no base64 of a text")?,
        _ => return Err(unknown(name)),
    };
    Ok(Value::Text(text))
}

const NAMES: [&str; 6] = ["escapeJavaScript", "parseJson", "urlEncode", "urlDecode", "base64Encode", "base64Decode"];

fn unknown(name: &str) -> String {
    format!("there is no `$util.{name}`; there are {}", NAMES.join(", "))
}

/// JavaScript's escapes, for single quotes too, which JSON does not know (API Gateway's reference says so).
fn escape(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for character in text.chars() {
        match character {
            '"' | '\'' | '\\' | '/' => out.extend(['\\', character]),
            '\n' => out.push_str("\\n"),
            '\r' => out.push_str("\\r"),
            '\t' => out.push_str("\\t"),
            '\u{8}' => out.push_str("\\b"),
            '\u{c}' => out.push_str("\\f"),
            ' '..='~' => out.push(character),
            other => {
                for unit in other.encode_utf16(&mut [0; 2]) {
                    // Writing to a String cannot fail.
                    let _ = write!(out, "\\u{unit:04X}");
                }
            }
        }
    }
    out
}
