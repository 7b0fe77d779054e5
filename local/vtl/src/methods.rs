//! Methods of texts, lists, maps and numbers: those of Java that templates use.

use regex_lite::Regex;

use super::value::Value;

/// Calls a method of a value; an error is a clause.
pub(super) fn call(value: &Value, name: &str, arguments: &[Value]) -> Result<Value, String> {
    let found = match value {
        Value::Text(text) => of_text(text, name, arguments)?,
        Value::List(items) => of_list(&mut items.borrow_mut(), name, arguments),
        Value::Map(entries) => of_map(&mut entries.borrow_mut(), name, arguments),
        Value::Null | Value::Bool(_) | Value::Integer(_) | Value::Float(_) => of_scalar(value, name, arguments),
    };
    match found {
        Some(found) => Ok(found),
        None => {
            let count = arguments.len();
            Err(format!(
                "{} has no method `{name}` with {count} argument{}",
                value.kind(),
                if count == 1 { "" } else { "s" }
            ))
        }
    }
}

fn count(length: usize) -> Value {
    Value::Integer(i64::try_from(length).unwrap_or(i64::MAX))
}

/// A place in a text or list.
fn place(value: &Value) -> Option<usize> {
    match value {
        Value::Integer(place) => usize::try_from(*place).ok(),
        Value::Text(text) => text.parse().ok(),
        _ => None,
    }
}

fn of_scalar(value: &Value, name: &str, arguments: &[Value]) -> Option<Value> {
    match (name, arguments) {
        ("toString", []) => Some(Value::Text(value.to_text())),
        ("equals", [other]) => Some(Value::Bool(value.equals(other))),
        #[expect(clippy::cast_possible_truncation, reason = "as Java does")]
        ("intValue" | "longValue", []) => value.as_number().map(|number| Value::Integer(number as i64)),
        ("doubleValue" | "floatValue", []) => value.as_number().map(Value::Float),
        _ => None,
    }
}

fn of_text(text: &str, name: &str, arguments: &[Value]) -> Result<Option<Value>, String> {
    let texts: Vec<String> = arguments.iter().map(Value::to_text).collect();
    let texts: Vec<&str> = texts.iter().map(String::as_str).collect();
    let regex = |pattern: &str| Regex::new(pattern).map_err(|_| format!("`{pattern}` is no pattern that is supported"));
    let made = |text: String| Ok(Some(Value::Text(text)));
    let is = |flag: bool| Ok(Some(Value::Bool(flag)));
    match (name, texts.as_slice()) {
        ("length" | "size", []) => Ok(Some(count(text.encode_utf16().count()))),
        ("isEmpty", []) => is(text.is_empty()),
        ("toString", []) => made(text.to_owned()),
        ("trim", []) => made(text.trim().to_owned()),
        ("toLowerCase", []) => made(text.to_lowercase()),
        ("toUpperCase", []) => made(text.to_uppercase()),
        ("equals", [other]) => is(text == *other),
        ("equalsIgnoreCase", [other]) => is(text.to_lowercase() == other.to_lowercase()),
        ("contains", [part]) => is(text.contains(part)),
        ("startsWith", [part]) => is(text.starts_with(part)),
        ("endsWith", [part]) => is(text.ends_with(part)),
        ("concat", [other]) => made(format!("{text}{other}")),
        ("replace", [from, to]) => made(text.replace(from, to)),
        ("replaceAll", [pattern, to]) => made(regex(pattern)?.replace_all(text, java_replacement(to)).into_owned()),
        ("replaceFirst", [pattern, to]) => made(regex(pattern)?.replace(text, java_replacement(to)).into_owned()),
        ("matches", [pattern]) => is(regex(&format!("^(?:{pattern})$"))?.is_match(text)),
        ("split", [pattern]) => {
            let mut parts: Vec<_> = regex(pattern)?.split(text).map(|part| Value::Text(part.to_owned())).collect();
            // Java leaves empty parts at the end away.
            while parts.len() > 1 && matches!(parts.last(), Some(Value::Text(part)) if part.is_empty()) {
                parts.pop();
            }
            Ok(Some(Value::list(parts)))
        }
        ("indexOf", [part]) => Ok(Some(index(text.find(part)))),
        ("lastIndexOf", [part]) => Ok(Some(index(text.rfind(part)))),
        ("substring", _) => substring(text, arguments).map(Some),
        ("charAt", [_]) => Ok(place(&arguments[0]).and_then(|at| text.chars().nth(at)).map(|c| Value::Text(c.into()))),
        _ => Ok(None),
    }
}

/// `$1` ends before a letter in Java, which here needs braces; a backslash makes a sign literal.
fn java_replacement(text: &str) -> String {
    let mut out = String::new();
    let mut characters = text.chars().peekable();
    while let Some(character) = characters.next() {
        match character {
            '\\' => match characters.next() {
                Some('$') => out.push_str("$$"),
                Some(other) => out.push(other),
                None => {}
            },
            '$' => match characters.next_if(char::is_ascii_digit) {
                Some(digit) => out.push_str(&format!("${{{digit}}}")),
                None => out.push_str("$$"),
            },
            other => out.push(other),
        }
    }
    out
}

fn index(found: Option<usize>) -> Value {
    found.map_or(Value::Integer(-1), count)
}

fn substring(text: &str, arguments: &[Value]) -> Result<Value, String> {
    let length = text.chars().count();
    let places: Option<Vec<_>> = arguments.iter().map(place).collect();
    let (from, to) = match places.as_deref() {
        Some([from]) => (*from, length),
        Some([from, to]) => (*from, *to),
        _ => return Err("`substring` takes one or two places".to_owned()),
    };
    if from > to || to > length {
        return Err(format!("`substring` of {from} to {to} is outside of a text of {length} characters"));
    }
    Ok(Value::Text(text.chars().skip(from).take(to - from).collect()))
}

fn of_list(items: &mut Vec<Value>, name: &str, arguments: &[Value]) -> Option<Value> {
    let position = |items: &[Value], wanted: &Value| items.iter().position(|item| item.equals(wanted));
    match (name, arguments) {
        ("size", []) => Some(count(items.len())),
        ("isEmpty", []) => Some(Value::Bool(items.is_empty())),
        ("get", [at]) => Some(place(at).and_then(|at| items.get(at)).cloned().unwrap_or(Value::Null)),
        ("contains", [wanted]) => Some(Value::Bool(position(items, wanted).is_some())),
        ("indexOf", [wanted]) => Some(index(position(items, wanted))),
        ("add", [item]) => {
            items.push(item.clone());
            Some(Value::Bool(true))
        }
        ("addAll", [Value::List(more)]) => {
            // A list that is added to itself is borrowed already.
            let more = more.try_borrow().map(|more| more.clone()).unwrap_or_else(|_| items.clone());
            items.extend(more);
            Some(Value::Bool(true))
        }
        ("set", [at, item]) => {
            let found = place(at).and_then(|at| items.get_mut(at))?;
            Some(std::mem::replace(found, item.clone()))
        }
        ("remove", [at]) => place(at).filter(|at| *at < items.len()).map(|at| items.remove(at)),
        ("clear", []) => {
            items.clear();
            Some(Value::Null)
        }
        _ => None,
    }
}

fn of_map(entries: &mut indexmap::IndexMap<String, Value>, name: &str, arguments: &[Value]) -> Option<Value> {
    match (name, arguments) {
        ("size", []) => Some(count(entries.len())),
        ("isEmpty", []) => Some(Value::Bool(entries.is_empty())),
        ("get", [key]) => Some(entries.get(&key.to_text()).cloned().unwrap_or(Value::Null)),
        ("containsKey", [key]) => Some(Value::Bool(entries.contains_key(&key.to_text()))),
        ("containsValue", [value]) => Some(Value::Bool(entries.values().any(|one| one.equals(value)))),
        ("keySet", []) => Some(Value::list(entries.keys().cloned().map(Value::Text).collect())),
        ("values", []) => Some(Value::list(entries.values().cloned().collect())),
        ("entrySet", []) => {
            let entry = |(key, value): (&String, &Value)| {
                let pair = [("key".to_owned(), Value::Text(key.clone())), ("value".to_owned(), value.clone())];
                Value::map(pair.into_iter().collect())
            };
            Some(Value::list(entries.iter().map(entry).collect()))
        }
        ("put", [key, value]) => Some(entries.insert(key.to_text(), value.clone()).unwrap_or(Value::Null)),
        ("putAll", [Value::Map(more)]) => {
            let more = more.try_borrow().map(|more| more.clone()).unwrap_or_default();
            entries.extend(more);
            Some(Value::Null)
        }
        ("remove", [key]) => Some(entries.shift_remove(&key.to_text()).unwrap_or(Value::Null)),
        // Java's entries have them.
        ("getKey" | "getValue", []) => {
            let key = if name == "getKey" { "key" } else { "value" };
            entries.get(key).cloned()
        }
        _ => None,
    }
}
