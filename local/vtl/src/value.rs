//! Values while a template is rendered. Lists and maps are shared, as objects in Java are.

use std::cell::RefCell;
use std::fmt::Write as _;
use std::rc::Rc;

use indexmap::IndexMap;

#[derive(Debug, Clone)]
pub(super) enum Value {
    Null,
    Bool(bool),
    Integer(i64),
    Float(f64),
    Text(String),
    List(Rc<RefCell<Vec<Value>>>),
    Map(Rc<RefCell<IndexMap<String, Value>>>),
}

impl Value {
    pub(super) fn list(items: Vec<Self>) -> Self {
        Self::List(Rc::new(RefCell::new(items)))
    }

    pub(super) fn map(entries: IndexMap<String, Self>) -> Self {
        Self::Map(Rc::new(RefCell::new(entries)))
    }

    pub(super) fn texts(entries: &IndexMap<String, String>) -> Self {
        Self::map(entries.iter().map(|(key, value)| (key.clone(), Self::Text(value.clone()))).collect())
    }

    pub(super) fn of_json(json: &serde_json::Value) -> Self {
        match json {
            serde_json::Value::Null => Self::Null,
            serde_json::Value::Bool(flag) => Self::Bool(*flag),
            serde_json::Value::Number(number) => match number.as_i64() {
                Some(integer) => Self::Integer(integer),
                None => Self::Float(number.as_f64().unwrap_or(f64::NAN)),
            },
            serde_json::Value::String(text) => Self::Text(text.clone()),
            serde_json::Value::Array(items) => Self::list(items.iter().map(Self::of_json).collect()),
            serde_json::Value::Object(fields) => {
                Self::map(fields.iter().map(|(key, value)| (key.clone(), Self::of_json(value))).collect())
            }
        }
    }

    /// What counts as true in a condition: everything but `null` and `false`.
    pub(super) fn is_true(&self) -> bool {
        !matches!(self, Self::Null | Self::Bool(false))
    }

    /// The word for what it is.
    pub(super) fn kind(&self) -> &'static str {
        match self {
            Self::Null => "null",
            Self::Bool(_) => "a boolean",
            Self::Integer(_) | Self::Float(_) => "a number",
            Self::Text(_) => "a text",
            Self::List(_) => "a list",
            Self::Map(_) => "a map",
        }
    }

    pub(super) fn as_number(&self) -> Option<f64> {
        match self {
            #[expect(clippy::cast_precision_loss, reason = "as Java compares them")]
            Self::Integer(integer) => Some(*integer as f64),
            Self::Float(float) => Some(*float),
            _ => None,
        }
    }

    /// Numbers by their size, the rest by its text where it is of different kinds.
    pub(super) fn equals(&self, other: &Self) -> bool {
        match (self.as_number(), other.as_number()) {
            (Some(one), Some(other)) => one == other,
            _ if matches!(self, Self::Null) || matches!(other, Self::Null) => {
                matches!((self, other), (Self::Null, Self::Null))
            }
            _ => self.to_text() == other.to_text(),
        }
    }

    /// As it is written out; lists and maps as Java's collections are (`[a, b]`, `{a=b}`).
    pub(super) fn to_text(&self) -> String {
        let mut out = String::new();
        self.write(&mut out, 0);
        out
    }

    /// A list that was put into itself ends at some depth.
    fn write(&self, out: &mut String, depth: usize) {
        if depth > 50 {
            out.push_str("...");
            return;
        }
        match self {
            Self::Null => out.push_str("null"),
            Self::Text(text) => out.push_str(text),
            Self::List(items) => {
                out.push('[');
                for (index, item) in items.borrow().iter().enumerate() {
                    out.push_str(if index == 0 { "" } else { ", " });
                    item.write(out, depth + 1);
                }
                out.push(']');
            }
            Self::Map(entries) => {
                out.push('{');
                for (index, (key, value)) in entries.borrow().iter().enumerate() {
                    out.push_str(if index == 0 { "" } else { ", " });
                    out.push_str(key);
                    out.push('=');
                    value.write(out, depth + 1);
                }
                out.push('}');
            }
            // Writing to a String cannot fail.
            Self::Bool(flag) => drop(write!(out, "{flag}")),
            Self::Integer(integer) => drop(write!(out, "{integer}")),
            Self::Float(float) if float.fract() == 0.0 && float.abs() < 1e15 => drop(write!(out, "{float:.1}")),
            Self::Float(float) => drop(write!(out, "{float}")),
        }
    }
}
