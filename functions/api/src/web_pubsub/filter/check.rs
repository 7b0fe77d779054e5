//! What a filter means: which names it has, and whether its parts fit together.

use super::syntax::{Comparison, Tree};

/// What a connection can be asked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Field {
    User,
    Connection,
    Protocol,
}

/// Something that is true or false of a connection.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Condition {
    Always(bool),
    Not(Box<Self>),
    Any(Vec<Self>),
    All(Vec<Self>),
    /// The values are the same; [`Value::Nothing`] is the same as itself.
    Equal(Value, Value),
    Same(Box<Self>, Box<Self>),
    /// False where one of them is nothing.
    Compared(Value, Comparison, Value),
    OneOf(Value, Vec<Value>),
    InGroups(Value),
    StartsWith(Value, Value),
    EndsWith(Value, Value),
    Contains(Value, Value),
}

/// A text, a whole number, or nothing.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Value {
    Nothing,
    Text(String),
    Number(i64),
    Field(Field),
    Lower(Box<Self>),
    Upper(Box<Self>),
    Trimmed(Box<Self>),
    Joined(Box<Self>, Box<Self>),
    /// From where on, and how many characters.
    Part(Box<Self>, Box<Self>, Option<Box<Self>>),
    Length(Box<Self>),
    GroupCount,
    /// Where the second stands in the first; -1 where it does not.
    Place(Box<Self>, Box<Self>),
}

/// What kind of value it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    Nothing,
    Text,
    Number,
}

/// A part of a filter that is understood.
enum Part {
    Condition(Condition),
    Value(Value),
    Groups,
}

/// Why a filter with good syntax makes no sense.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(super) enum Meaningless {
    #[error("there is no {0}; use userId, connectionId, groups and protocol, true, false and null")]
    Name(String),
    #[error(
        "there is no function {0} with that many arguments; use tolower, toupper, trim, substring, startswith, endswith, \
         contains, concat, indexof and length"
    )]
    Function(String),
    #[error("a condition is needed that is true or false, and there is another value")]
    NoCondition,
    #[error("a text is needed, and there is another value")]
    NoText,
    #[error("a whole number is needed, and there is another value")]
    NoNumber,
    #[error("a text or a whole number is needed, and there is another value")]
    NoValue,
    #[error("`in` needs groups, or values in parentheses")]
    NoSet,
    #[error("`in groups` needs a text")]
    NoGroup,
}

impl Condition {
    /// Understands a filter.
    pub(super) fn of(tree: Tree<'_>) -> Result<Self, Meaningless> {
        match Part::of(tree)? {
            Part::Condition(condition) => Ok(condition),
            _ => Err(Meaningless::NoCondition),
        }
    }

    /// Whether it asks for a connection's groups.
    pub(super) fn reads_groups(&self) -> bool {
        match self {
            Self::Always(_) => false,
            Self::Not(inner) => inner.reads_groups(),
            Self::Any(parts) | Self::All(parts) => parts.iter().any(Self::reads_groups),
            Self::Same(one, other) => one.reads_groups() || other.reads_groups(),
            Self::InGroups(_) => true,
            Self::Equal(one, other)
            | Self::Compared(one, _, other)
            | Self::StartsWith(one, other)
            | Self::EndsWith(one, other)
            | Self::Contains(one, other) => one.reads_groups() || other.reads_groups(),
            Self::OneOf(value, values) => value.reads_groups() || values.iter().any(Value::reads_groups),
        }
    }

    fn compared(left: Tree<'_>, comparison: Comparison, right: Tree<'_>) -> Result<Self, Meaningless> {
        let is_equality = matches!(comparison, Comparison::Equal | Comparison::NotEqual);
        let condition = match (Part::of(left)?, Part::of(right)?) {
            (Part::Value(left), Part::Value(right)) if is_equality => Self::Equal(left, right),
            (Part::Value(left), Part::Value(right)) => {
                return Ok(Self::Compared(left.number()?, comparison, right.number()?));
            }
            (Part::Condition(left), Part::Condition(right)) if is_equality => {
                Self::Same(Box::new(left), Box::new(right))
            }
            _ if is_equality => return Err(Meaningless::NoValue),
            _ => return Err(Meaningless::NoNumber),
        };
        Ok(if comparison == Comparison::Equal { condition } else { Self::Not(Box::new(condition)) })
    }

    fn within(left: Tree<'_>, right: Tree<'_>) -> Result<Self, Meaningless> {
        let left = Value::of(left)?;
        if let Tree::List(values) = right {
            return Ok(Self::OneOf(left, values.into_iter().map(Value::of).collect::<Result<_, _>>()?));
        }
        match Part::of(right)? {
            Part::Groups if matches!(left.kind(), Kind::Text) => Ok(Self::InGroups(left)),
            Part::Groups => Err(Meaningless::NoGroup),
            _ => Err(Meaningless::NoSet),
        }
    }
}

impl Value {
    fn of(tree: Tree<'_>) -> Result<Self, Meaningless> {
        match Part::of(tree)? {
            Part::Value(value) => Ok(value),
            _ => Err(Meaningless::NoValue),
        }
    }

    fn kind(&self) -> Kind {
        match self {
            Self::Nothing => Kind::Nothing,
            Self::Number(_) | Self::Length(_) | Self::GroupCount | Self::Place(..) => Kind::Number,
            _ => Kind::Text,
        }
    }

    /// The value, which has to be a text or nothing.
    fn text(self) -> Result<Self, Meaningless> {
        if self.kind() == Kind::Number { Err(Meaningless::NoText) } else { Ok(self) }
    }

    /// The value, which has to be a number or nothing.
    fn number(self) -> Result<Self, Meaningless> {
        if self.kind() == Kind::Text { Err(Meaningless::NoNumber) } else { Ok(self) }
    }

    fn reads_groups(&self) -> bool {
        match self {
            Self::GroupCount => true,
            Self::Nothing | Self::Text(_) | Self::Number(_) | Self::Field(_) => false,
            Self::Lower(value) | Self::Upper(value) | Self::Trimmed(value) | Self::Length(value) => {
                value.reads_groups()
            }
            Self::Joined(one, other) | Self::Place(one, other) => one.reads_groups() || other.reads_groups(),
            Self::Part(value, from, count) => {
                let counts = count.as_ref().is_some_and(|count| count.reads_groups());
                value.reads_groups() || from.reads_groups() || counts
            }
        }
    }
}

impl Part {
    fn of(tree: Tree<'_>) -> Result<Self, Meaningless> {
        let conditions = |parts: Vec<Tree<'_>>| parts.into_iter().map(Condition::of).collect::<Result<_, _>>();
        Ok(Self::Condition(match tree {
            Tree::Name(name) => return Self::named(name),
            Tree::Text(text) => return Ok(Self::Value(Value::Text(text))),
            Tree::Number(number) => return Ok(Self::Value(Value::Number(number))),
            Tree::List(_) => return Err(Meaningless::NoValue),
            Tree::Call(name, arguments) => return Self::call(name, arguments),
            Tree::Not(inner) => Condition::Not(Box::new(Condition::of(*inner)?)),
            Tree::Or(parts) => Condition::Any(conditions(parts)?),
            Tree::And(parts) => Condition::All(conditions(parts)?),
            Tree::Compare(left, comparison, right) => Condition::compared(*left, comparison, *right)?,
            Tree::In(left, right) => Condition::within(*left, *right)?,
        }))
    }

    fn named(name: &str) -> Result<Self, Meaningless> {
        let field = |field| Ok(Self::Value(Value::Field(field)));
        match name {
            "true" => return Ok(Self::Condition(Condition::Always(true))),
            "false" => return Ok(Self::Condition(Condition::Always(false))),
            "null" => return Ok(Self::Value(Value::Nothing)),
            _ => {}
        }
        match name.to_ascii_lowercase().as_str() {
            "userid" => field(Field::User),
            "connectionid" => field(Field::Connection),
            "protocol" => field(Field::Protocol),
            "groups" => Ok(Self::Groups),
            _ => Err(Meaningless::Name(name.to_owned())),
        }
    }

    fn call(name: &str, arguments: Vec<Tree<'_>>) -> Result<Self, Meaningless> {
        let parts = arguments.into_iter().map(Self::of).collect::<Result<Vec<_>, _>>()?;
        let unknown = || Meaningless::Function(name.to_owned());
        if let [Self::Groups] = parts.as_slice() {
            return if name == "length" { Ok(Self::Value(Value::GroupCount)) } else { Err(Meaningless::NoText) };
        }
        let values = parts.into_iter().map(|part| match part {
            Self::Value(value) => Ok(value),
            _ => Err(Meaningless::NoValue),
        });
        let mut values = values.collect::<Result<Vec<_>, _>>()?.into_iter();
        let first = values.next().ok_or_else(unknown)?.text()?;
        Self::of_text(name, first, values.next(), values.next())
            .filter(|_| values.next().is_none())
            .ok_or_else(unknown)?
    }

    /// What a function makes of a text; `None` where there is none with these arguments.
    fn of_text(
        name: &str,
        first: Value,
        second: Option<Value>,
        third: Option<Value>,
    ) -> Option<Result<Self, Meaningless>> {
        let value = |value| Some(Ok(Self::Value(value)));
        let first = Box::new(first);
        match (name, second, third) {
            ("tolower", None, None) => value(Value::Lower(first)),
            ("toupper", None, None) => value(Value::Upper(first)),
            ("trim", None, None) => value(Value::Trimmed(first)),
            ("length", None, None) => value(Value::Length(first)),
            ("substring", Some(from), count) => Some(Self::stretch(first, from, count)),
            (_, Some(second), None) => Self::of_two(name, *first, second),
            _ => None,
        }
    }

    fn stretch(text: Box<Value>, from: Value, count: Option<Value>) -> Result<Self, Meaningless> {
        let count = count.map(Value::number).transpose()?.map(Box::new);
        Ok(Self::Value(Value::Part(text, Box::new(from.number()?), count)))
    }

    /// What a function makes of two texts.
    fn of_two(name: &str, first: Value, second: Value) -> Option<Result<Self, Meaningless>> {
        let condition =
            |make: fn(Value, Value) -> Condition, second: Value| Ok(Self::Condition(make(first.clone(), second)));
        let value = |make: fn(Box<Value>, Box<Value>) -> Value, second: Value| {
            Ok(Self::Value(make(Box::new(first.clone()), Box::new(second))))
        };
        let second = second.text();
        Some(match name {
            "startswith" => second.and_then(|second| condition(Condition::StartsWith, second)),
            "endswith" => second.and_then(|second| condition(Condition::EndsWith, second)),
            "contains" => second.and_then(|second| condition(Condition::Contains, second)),
            "concat" => second.and_then(|second| value(Value::Joined, second)),
            "indexof" => second.and_then(|second| value(Value::Place, second)),
            _ => return None,
        })
    }
}
