//! Whom a dead letter is about.

use std::collections::HashSet;

use serde_json::Value;

use super::rows;

/// The members of one notification that a dead letter says were not reached.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Letter {
    /// The notification's label.
    pub label: String,
    whom: Whom,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Whom {
    Everyone,
    /// By connection.
    Named(HashSet<String>),
    /// By sort key.
    Only(HashSet<String>),
    /// The sort keys above one and up to another; an empty one does not bound.
    Between(String, String),
}

impl Letter {
    /// Reads what is in the dead-letter queue: a notification, a segment, or the record that brought either.
    ///
    /// # Panics
    /// When it is none of these.
    #[must_use]
    pub fn read(body: &str) -> Self {
        let value: Value = serde_json::from_str(body).unwrap();
        if let Some(inner) = value["body"].as_str() {
            return Self::read(inner);
        }
        if let Some(key) = value["s3"]["object"]["key"].as_str() {
            return Self { label: key.to_owned(), whom: Whom::Everyone };
        }
        let segment = &value["segment"];
        if segment.is_object() {
            // The notification, or its id.
            let label = value["notification"].as_str().map_or_else(|| label(&value["notification"]), str::to_owned);
            return Self { label, whom: part(segment) };
        }
        let named: HashSet<_> = list(&value["to"], |target| target["connection"].as_str());
        let whom = if named.is_empty() { Whom::Everyone } else { Whom::Named(named) };
        Self { label: label(&value), whom }
    }

    /// Whether it is about this connection.
    #[must_use]
    pub fn names(&self, connection: &str) -> bool {
        match &self.whom {
            Whom::Everyone => true,
            Whom::Named(named) => named.contains(connection),
            Whom::Only(keys) => keys.contains(&rows::sort_key(connection)),
            Whom::Between(after, to) => {
                let key = rows::sort_key(connection);
                key > *after && (to.is_empty() || key <= *to)
            }
        }
    }
}

fn label(notification: &Value) -> String {
    let data = notification["data"].as_str().unwrap_or_default();
    data.split('|').next().unwrap_or_default().to_owned()
}

fn part(segment: &Value) -> Whom {
    let only = list(&segment["only"], Value::as_str);
    let bound = |name| segment[name].as_str().unwrap_or_default().to_owned();
    if only.is_empty() { Whom::Between(bound("after"), bound("to")) } else { Whom::Only(only) }
}

fn list<'a>(values: &'a Value, read: impl Fn(&'a Value) -> Option<&'a str>) -> HashSet<String> {
    values.as_array().into_iter().flatten().filter_map(read).map(str::to_owned).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_letter_is_about_the_named_a_part_or_everyone() {
        let inside = rows::sort_key("m-1=");
        for (body, first, second) in [
            (r#"{"id":"n","to":[{"connection":"m-1="}],"data":"n|xx"}"#.to_owned(), true, false),
            (r#"{"id":"n","to":[{"topic":"t"}],"data":"n"}"#.to_owned(), true, true),
            (format!(r#"{{"notification":"n","segment":{{"id":"0","only":["{inside}"]}}}}"#), true, false),
            (format!(r#"{{"notification":{{"data":"n|"}},"segment":{{"id":"0","to":"{inside}"}}}}"#), true, false),
            (r#"{"messageId":"m","body":"{\"to\":{\"topic\":\"t\"},\"data\":\"n\"}"}"#.to_owned(), true, true),
        ] {
            let letter = Letter::read(&body);
            let other = ["z-1=", "z-2=", "z-3=", "z-4="].into_iter().find(|id| rows::sort_key(id) > inside).unwrap();
            assert_eq!(
                (letter.label.as_str(), letter.names("m-1="), letter.names(other)),
                ("n", first, second),
                "{body}"
            );
        }
    }
}
