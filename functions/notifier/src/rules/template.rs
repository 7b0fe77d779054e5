//! Templates: JSON with paths in its strings.

use serde_json::{Map, Value};

/// JSON whose strings are filled from an event.
#[derive(Debug)]
pub(super) enum Template {
    /// As it stands.
    Fixed(Value),
    /// One path and nothing else: keeps the type of what it finds.
    Path(String),
    /// Text with paths in it.
    Text(Vec<Piece>),
    List(Vec<Template>),
    Object(Vec<(String, Template)>),
}

#[derive(Debug, PartialEq, Eq)]
pub(super) enum Piece {
    Text(String),
    Path(String),
}

/// What is wrong with a template, and where in it.
#[derive(Debug)]
pub(super) struct BadTemplate {
    pub(super) at: String,
    pub(super) problem: String,
}

impl Template {
    pub(super) fn read(value: Value) -> Result<Self, BadTemplate> {
        match value {
            Value::String(text) => {
                let problem = |problem: &str| BadTemplate { at: String::new(), problem: problem.to_owned() };
                Ok(Self::from_pieces(pieces(&text).map_err(problem)?))
            }
            Value::Array(list) => {
                let read = |(index, value)| Self::read(value).map_err(|error| error.within(&format!("[{index}]")));
                list.into_iter().enumerate().map(read).collect::<Result<_, _>>().map(Self::List)
            }
            Value::Object(object) => {
                let read = |(name, value): (String, Value)| match Self::read(value) {
                    Ok(template) => Ok((name, template)),
                    Err(error) => Err(error.within(&format!(".{name}"))),
                };
                object.into_iter().map(read).collect::<Result<_, _>>().map(Self::Object)
            }
            fixed => Ok(Self::Fixed(fixed)),
        }
    }

    fn from_pieces(mut pieces: Vec<Piece>) -> Self {
        match pieces.as_slice() {
            [] => Self::Fixed(Value::String(String::new())),
            [Piece::Path(_)] => match pieces.remove(0) {
                Piece::Path(path) => Self::Path(path),
                Piece::Text(text) => Self::Fixed(Value::String(text)),
            },
            _ => Self::Text(pieces),
        }
    }

    /// The template with its paths filled in; the path that leads nowhere, if one does.
    pub(super) fn fill(&self, root: &Value) -> Result<Value, String> {
        match self {
            Self::Fixed(value) => Ok(value.clone()),
            Self::Path(path) => find(root, path).cloned(),
            Self::Text(pieces) => {
                let mut text = String::new();
                for piece in pieces {
                    match piece {
                        Piece::Text(piece) => text.push_str(piece),
                        Piece::Path(path) => match find(root, path)? {
                            Value::String(found) => text.push_str(found),
                            found => text.push_str(&found.to_string()),
                        },
                    }
                }
                Ok(Value::String(text))
            }
            Self::List(list) => list.iter().map(|template| template.fill(root)).collect(),
            Self::Object(object) => {
                let fill = |(name, template): &(String, Self)| Ok((name.clone(), template.fill(root)?));
                object.iter().map(fill).collect::<Result<Map<_, _>, _>>().map(Value::Object)
            }
        }
    }
}

impl BadTemplate {
    fn within(self, place: &str) -> Self {
        Self { at: format!("{place}{}", self.at), ..self }
    }
}

/// Takes a text apart: `{path}`, `{{` and `}}` for braces, and all else as it is.
fn pieces(text: &str) -> Result<Vec<Piece>, &'static str> {
    let mut pieces = Vec::new();
    let mut plain = String::new();
    let mut rest = text;
    while let Some(index) = rest.find(['{', '}']) {
        plain.push_str(&rest[..index]);
        let brace = &rest[index..=index];
        rest = &rest[index + 1..];
        if let Some(after) = rest.strip_prefix(brace) {
            plain.push_str(brace);
            rest = after;
        } else if brace == "}" {
            return Err("has a `}` without its `{`; write `}}` for a brace");
        } else {
            let (path, after) = rest.split_once('}').ok_or("has a `{` that is not closed; write `{{` for a brace")?;
            if path.split('.').any(str::is_empty) {
                return Err("has an empty path; write `{data.name}`");
            }
            if !plain.is_empty() {
                pieces.push(Piece::Text(std::mem::take(&mut plain)));
            }
            pieces.push(Piece::Path(path.to_owned()));
            rest = after;
        }
    }
    plain.push_str(rest);
    if !plain.is_empty() {
        pieces.push(Piece::Text(plain));
    }
    Ok(pieces)
}

fn find<'a>(root: &'a Value, path: &str) -> Result<&'a Value, String> {
    let step = |value: &'a Value, name: &str| match value {
        Value::Array(list) => list.get(name.parse::<usize>().ok()?),
        other => other.get(name),
    };
    let found = path.split('.').try_fold(root, step);
    found.filter(|value| !value.is_null()).ok_or_else(|| path.to_owned())
}
