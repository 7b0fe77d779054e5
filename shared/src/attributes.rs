//! What an application keeps with a connection.

use serde_json::{Map, Value};

/// Most bytes that the attributes of a connection may have together, as JSON: every change of its topics pays for them.
pub const MAX_ATTRIBUTE_BYTES: usize = 1_024;
/// Most bytes of a name.
const LONGEST_NAME: usize = 64;

/// What an application keeps with a connection: given when it connects, there for every action and when it ends.
///
/// ```
/// use tidings::Attributes;
///
/// let mut attributes = Attributes::new();
/// attributes.insert("room", "lobby")?;
/// assert_eq!(attributes.get("room"), Some(&"lobby".into()));
/// assert!(attributes.insert("", 1).is_err());
/// # Ok::<(), tidings::attributes::InvalidAttribute>(())
/// ```
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Attributes(Map<String, Value>);

/// Why something is not kept.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum InvalidAttribute {
    /// The name is none.
    #[error("the attribute's name {name:?} is not valid; use 1 to {LONGEST_NAME} letters, digits, `_`, `-` and `.`")]
    Name {
        /// It.
        name: String,
    },
    /// All together would be too large.
    #[error(
        "with `{name}` the connection's attributes would have {bytes} bytes as JSON, and {MAX_ATTRIBUTE_BYTES} are allowed; keep less, or keep it in a table"
    )]
    TooLarge {
        /// The attribute that was to be added.
        name: String,
        /// How many bytes it would be.
        bytes: usize,
    },
}

impl Attributes {
    /// None.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds one, or replaces it.
    ///
    /// # Errors
    /// When the name is none, or all together would be larger than [`MAX_ATTRIBUTE_BYTES`]; then nothing is changed.
    pub fn insert(&mut self, name: impl Into<String>, value: impl Into<Value>) -> Result<(), InvalidAttribute> {
        let (name, value) = (name.into(), value.into());
        let fits = |byte: u8| byte.is_ascii_alphanumeric() || b"_-.".contains(&byte);
        if name.is_empty() || name.len() > LONGEST_NAME || !name.bytes().all(fits) {
            return Err(InvalidAttribute::Name { name: name.chars().take(LONGEST_NAME).collect() });
        }
        let mut all = self.clone();
        all.0.insert(name.clone(), value);
        let bytes = all.to_json().len();
        if bytes > MAX_ATTRIBUTE_BYTES {
            return Err(InvalidAttribute::TooLarge { name, bytes });
        }
        *self = all;
        Ok(())
    }

    /// The value of one.
    #[must_use]
    pub fn get(&self, name: &str) -> Option<&Value> {
        self.0.get(name)
    }

    /// Whether there are none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// All of them, by name.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &Value)> {
        self.0.iter().map(|(name, value)| (name.as_str(), value))
    }

    pub(crate) fn to_json(&self) -> String {
        // Values under text: there is nothing in it that cannot be written.
        serde_json::to_string(&self.0).unwrap_or_default()
    }

    pub(crate) fn from_json(text: &str) -> Option<Self> {
        serde_json::from_str(text).ok().map(Self)
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_name_that_is_none_is_refused_with_what_may_stand_in_it() {
        let mut attributes = Attributes::new();
        for name in ["", "a b", "ä", "a/b", &"n".repeat(65)] {
            let error = attributes.insert(name, 1).unwrap_err().to_string();
            assert!(error.ends_with("is not valid; use 1 to 64 letters, digits, `_`, `-` and `.`"), "{error}");
        }
        assert!(attributes.is_empty());
    }

    #[test]
    fn all_together_are_bounded_and_what_is_refused_changes_nothing() {
        let mut attributes = Attributes::new();
        // {"a":"…"} has eight bytes beside the text.
        attributes.insert("a", "x".repeat(MAX_ATTRIBUTE_BYTES - 8)).unwrap();
        let error = attributes.insert("b", 1).unwrap_err();
        assert_eq!(error, InvalidAttribute::TooLarge { name: "b".to_owned(), bytes: MAX_ATTRIBUTE_BYTES + 6 });
        assert!(error.to_string().starts_with("with `b` the connection's attributes would have 1030 bytes"), "{error}");
        attributes.insert("a", json!({"deep": [1]})).unwrap();
        assert_eq!(attributes.iter().collect::<Vec<_>>(), [("a", &json!({"deep": [1]}))]);
        assert_eq!(Attributes::from_json(&attributes.to_json()), Some(attributes));
    }
}
