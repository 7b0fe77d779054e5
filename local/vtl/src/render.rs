//! Rendering: a template and a request become a text.

use std::collections::HashMap;

use super::ast::{Expression, Node, Operator, Reference, Step};
use super::value::Value;
use super::{Error, Input, functions, methods, paths};

/// Most pieces and values that one rendering goes through.
const MAX_WORK: usize = 500_000;
/// The longest result, and the longest text and list in between, in bytes or items.
const MAX_LENGTH: usize = 1024 * 1024;

pub(super) fn render(nodes: &[Node], input: &Input<'_>) -> Result<String, Error> {
    let globals = HashMap::from([
        ("context".to_owned(), Value::of_json(input.context)),
        ("stageVariables".to_owned(), Value::texts(input.stage_variables)),
    ]);
    let mut renderer = Renderer { input, body: None, globals, variables: HashMap::new(), work: 0 };
    let mut out = String::new();
    renderer.nodes(nodes, &mut out)?;
    Ok(out)
}

struct Renderer<'a> {
    input: &'a Input<'a>,
    /// The body as JSON, once it is asked for; `null` where it is none.
    body: Option<serde_json::Value>,
    /// What API Gateway gives.
    globals: HashMap<String, Value>,
    /// What the template sets.
    variables: HashMap<String, Value>,
    work: usize,
}

/// How some pieces ended.
#[derive(Clone, Copy, PartialEq)]
enum Flow {
    On,
    Break,
    Stop,
}

impl Renderer<'_> {
    fn spend(&mut self, line: usize, amount: usize) -> Result<(), Error> {
        self.work = self.work.saturating_add(amount);
        if self.work > MAX_WORK { Err(Error::new(line, "it takes too much work to render")) } else { Ok(()) }
    }

    fn nodes(&mut self, nodes: &[Node], out: &mut String) -> Result<Flow, Error> {
        for node in nodes {
            self.spend(1, 1)?;
            match node {
                Node::Text(text) => push(out, text, 1)?,
                Node::Reference { reference, is_quiet, source } => {
                    let is_global = ["input", "util"].contains(&reference.name.as_str())
                        || self.globals.contains_key(&reference.name);
                    match self.resolve(reference)? {
                        Some(value) if !matches!(value, Value::Null) => {
                            push(out, &value.to_text(), reference.line)?;
                        }
                        _ if *is_quiet || is_global => {}
                        _ => push(out, source, reference.line)?,
                    }
                }
                Node::Set { target, value } => self.set(target, value)?,
                Node::If { branches, otherwise } => {
                    let mut chosen = otherwise;
                    for (condition, body) in branches {
                        if self.evaluate(condition)?.is_true() {
                            chosen = body;
                            break;
                        }
                    }
                    let flow = self.nodes(chosen, out)?;
                    if flow != Flow::On {
                        return Ok(flow);
                    }
                }
                Node::Foreach { name, list, body, line } => {
                    if self.foreach(name, list, body, *line, out)? == Flow::Stop {
                        return Ok(Flow::Stop);
                    }
                }
                Node::Break => return Ok(Flow::Break),
                Node::Stop => return Ok(Flow::Stop),
            }
        }
        Ok(Flow::On)
    }

    fn foreach(
        &mut self,
        name: &str,
        list: &Expression,
        body: &[Node],
        line: usize,
        out: &mut String,
    ) -> Result<Flow, Error> {
        let items = match self.evaluate(list)? {
            Value::Null => return Ok(Flow::On),
            Value::List(items) => items.borrow().clone(),
            Value::Map(entries) => entries.borrow().values().cloned().collect(),
            other => {
                return Err(Error::new(
                    line,
                    format!("`#foreach` goes over lists and maps, not over {}", other.kind()),
                ));
            }
        };
        let names = [name, "foreach", "velocityCount"];
        let before = names.map(|name| self.variables.get(name).cloned());
        let mut flow = Flow::On;
        for (index, item) in items.iter().enumerate() {
            let number = |number: usize| Value::Integer(i64::try_from(number).unwrap_or(i64::MAX));
            let state = [
                ("index", number(index)),
                ("count", number(index + 1)),
                ("hasNext", Value::Bool(index + 1 < items.len())),
                ("first", Value::Bool(index == 0)),
                ("last", Value::Bool(index + 1 == items.len())),
            ];
            let state = Value::map(state.into_iter().map(|(key, value)| (key.to_owned(), value)).collect());
            self.variables.insert("foreach".to_owned(), state);
            self.variables.insert("velocityCount".to_owned(), number(index + 1));
            self.variables.insert(name.to_owned(), item.clone());
            flow = self.nodes(body, out)?;
            if flow != Flow::On {
                break;
            }
        }
        for (name, before) in names.into_iter().zip(before) {
            match before {
                Some(value) => self.variables.insert(name.to_owned(), value),
                None => self.variables.remove(name),
            };
        }
        Ok(flow)
    }

    /// Velocity leaves a variable as it is where there is no value for it.
    fn set(&mut self, target: &Reference, value: &Expression) -> Result<(), Error> {
        let value = self.evaluate(value)?;
        let Some((last, steps)) = target.steps.split_last() else {
            if !matches!(value, Value::Null) {
                self.variables.insert(target.name.clone(), value);
            }
            return Ok(());
        };
        let owner = Reference { steps: steps.to_vec(), ..target.clone() };
        let key = match last {
            Step::Property(name) => Value::Text(name.clone()),
            Step::Index(index) => self.evaluate(index)?,
            Step::Method(..) => return Err(Error::new(target.line, "`#set` cannot set what a method gives")),
        };
        match (self.resolve(&owner)?, key) {
            (Some(Value::Map(entries)), key) => drop(entries.borrow_mut().insert(key.to_text(), value)),
            (Some(Value::List(items)), Value::Integer(at)) => {
                let mut items = items.borrow_mut();
                let length = items.len();
                let found = usize::try_from(at).ok().and_then(|at| items.get_mut(at));
                *found.ok_or_else(|| Error::new(target.line, format!("a list of {length} has no place {at}")))? = value;
            }
            (owner, _) => {
                let kind = owner.map_or("nothing", |owner| owner.kind());
                return Err(Error::new(target.line, format!("`#set` cannot set a part of {kind}")));
            }
        }
        Ok(())
    }

    /// The value of a reference; `None` where there is none.
    fn resolve(&mut self, reference: &Reference) -> Result<Option<Value>, Error> {
        let line = reference.line;
        self.spend(line, 1)?;
        let mut steps = reference.steps.as_slice();
        let mut value = match (reference.name.as_str(), steps) {
            ("input", [Step::Property(name), rest @ ..]) if name == "body" => {
                steps = rest;
                Value::Text(self.input.body.to_owned())
            }
            ("input", [Step::Method(name, arguments), rest @ ..]) => {
                steps = rest;
                let arguments = self.all(arguments)?;
                self.input_method(name, &arguments).map_err(|message| Error::new(line, message))?
            }
            ("util", [Step::Method(name, arguments), rest @ ..]) => {
                steps = rest;
                let arguments = self.all(arguments)?;
                functions::call(name, &arguments).map_err(|message| Error::new(line, message))?
            }
            ("input" | "util", _) => {
                let text = format!("`${}` needs a function, as in `$input.json('$')`", reference.name);
                return Err(Error::new(line, text));
            }
            (name, _) => match self.variables.get(name).or_else(|| self.globals.get(name)) {
                Some(value) => value.clone(),
                None => return Ok(None),
            },
        };
        for step in steps {
            if matches!(value, Value::Null) {
                return Ok(None);
            }
            value = self.step(value, step, line)?;
        }
        Ok(Some(value))
    }

    fn step(&mut self, value: Value, step: &Step, line: usize) -> Result<Value, Error> {
        self.spend(line, 1)?;
        match step {
            Step::Property(name) => Ok(property(&value, name)),
            Step::Index(index) => match (value, self.evaluate(index)?) {
                (Value::List(items), Value::Integer(at)) => {
                    let items = items.borrow();
                    let at = if at < 0 { at.checked_add(i64::try_from(items.len()).unwrap_or(0)) } else { Some(at) };
                    let at = at.and_then(|at| usize::try_from(at).ok());
                    Ok(at.and_then(|at| items.get(at)).cloned().unwrap_or(Value::Null))
                }
                (value @ Value::Map(_), key) => Ok(property(&value, &key.to_text())),
                (value, _) => Err(Error::new(line, format!("{} has no places in brackets", value.kind()))),
            },
            Step::Method(name, arguments) => {
                let arguments = self.all(arguments)?;
                let value = methods::call(&value, name, &arguments).map_err(|message| Error::new(line, message))?;
                let length = length_of(&value);
                self.spend(line, length / 64)?;
                if length > MAX_LENGTH { Err(too_long(line)) } else { Ok(value) }
            }
        }
    }

    fn all(&mut self, expressions: &[Expression]) -> Result<Vec<Value>, Error> {
        expressions.iter().map(|expression| self.evaluate(expression)).collect()
    }

    fn input_method(&mut self, name: &str, arguments: &[Value]) -> Result<Value, String> {
        match (name, arguments) {
            ("body", []) => Ok(Value::Text(self.input.body.to_owned())),
            // As it came, so that nothing of it is lost.
            ("json", [path]) if path.to_text().trim() == "$" && self.body().is_some() => {
                Ok(Value::Text(self.input.body.trim().to_owned()))
            }
            ("json", [path]) => {
                let found = paths::find(self.body().unwrap_or(&serde_json::Value::Null), &path.to_text())?;
                Ok(Value::Text(found.map_or_else(|| "\"\"".to_owned(), |found| found.to_string())))
            }
            ("path", [path]) => {
                let found = paths::find(self.body().unwrap_or(&serde_json::Value::Null), &path.to_text())?;
                Ok(found.map_or(Value::Null, |found| Value::of_json(&found)))
            }
            ("params", []) => {
                let parameters = self.input.parameters;
                let all =
                    [("path", &parameters.path), ("querystring", &parameters.query), ("header", &parameters.headers)];
                Ok(Value::map(all.into_iter().map(|(key, entries)| (key.to_owned(), Value::texts(entries))).collect()))
            }
            ("params", [name]) => Ok(self.parameter(&name.to_text())),
            _ => Err(format!("there is no `$input.{name}` with {} arguments", arguments.len())),
        }
    }

    fn parameter(&self, name: &str) -> Value {
        let parameters = self.input.parameters;
        let header =
            || parameters.headers.iter().find(|(key, _)| key.eq_ignore_ascii_case(name)).map(|(_, value)| value);
        let found = parameters.path.get(name).or_else(|| parameters.query.get(name)).or_else(header);
        Value::Text(found.cloned().unwrap_or_default())
    }

    /// The body as JSON, if it is any.
    fn body(&mut self) -> Option<&serde_json::Value> {
        let text = self.input.body;
        let body = self.body.get_or_insert_with(|| serde_json::from_str(text).unwrap_or_default());
        (!body.is_null()).then_some(&*body)
    }

    fn evaluate(&mut self, expression: &Expression) -> Result<Value, Error> {
        self.spend(1, 1)?;
        Ok(match expression {
            Expression::Null => Value::Null,
            Expression::Bool(flag) => Value::Bool(*flag),
            Expression::Integer(integer) => Value::Integer(*integer),
            Expression::Float(float) => Value::Float(*float),
            Expression::Text(text) => Value::Text(text.clone()),
            Expression::Template(nodes) => {
                let mut out = String::new();
                self.nodes(nodes, &mut out)?;
                Value::Text(out)
            }
            Expression::List(items) => Value::list(self.all(items)?),
            Expression::Map(entries) => {
                let entries =
                    entries.iter().map(|(key, value)| Ok((self.evaluate(key)?.to_text(), self.evaluate(value)?)));
                Value::map(entries.collect::<Result<_, Error>>()?)
            }
            Expression::Range(first, last) => self.range(first, last)?,
            Expression::Reference(reference) => self.resolve(reference)?.unwrap_or(Value::Null),
            Expression::Not(inner) => Value::Bool(!self.evaluate(inner)?.is_true()),
            Expression::Negative(inner) => match self.evaluate(inner)? {
                Value::Integer(integer) => Value::Integer(integer.wrapping_neg()),
                Value::Float(float) => Value::Float(-float),
                _ => Value::Null,
            },
            Expression::Binary { operator, left, right, line } => self.binary(*operator, left, right, *line)?,
        })
    }

    fn range(&mut self, first: &Expression, last: &Expression) -> Result<Value, Error> {
        let (Value::Integer(first), Value::Integer(last)) = (self.evaluate(first)?, self.evaluate(last)?) else {
            return Err(Error::new(1, "a range goes from one whole number to another"));
        };
        self.spend(1, usize::try_from(first.abs_diff(last)).unwrap_or(usize::MAX))?;
        let items = if first <= last { (first..=last).collect::<Vec<_>>() } else { (last..=first).rev().collect() };
        Ok(Value::list(items.into_iter().map(Value::Integer).collect()))
    }

    fn binary(
        &mut self,
        operator: Operator,
        left: &Expression,
        right: &Expression,
        line: usize,
    ) -> Result<Value, Error> {
        let left = self.evaluate(left)?;
        match operator {
            Operator::Or if left.is_true() => return Ok(Value::Bool(true)),
            Operator::And if !left.is_true() => return Ok(Value::Bool(false)),
            _ => {}
        }
        let right = self.evaluate(right)?;
        match operator {
            Operator::Or | Operator::And => Ok(Value::Bool(right.is_true())),
            Operator::Equal => Ok(Value::Bool(left.equals(&right))),
            Operator::NotEqual => Ok(Value::Bool(!left.equals(&right))),
            Operator::Less | Operator::LessOrEqual | Operator::Greater | Operator::GreaterOrEqual => {
                compare(operator, &left, &right).map_err(|message| Error::new(line, message))
            }
            Operator::Add if matches!(left, Value::Text(_)) || matches!(right, Value::Text(_)) => {
                let text = left.to_text() + &right.to_text();
                if text.len() > MAX_LENGTH { Err(too_long(line)) } else { Ok(Value::Text(text)) }
            }
            _ => Ok(calculate(operator, &left, &right)),
        }
    }
}

fn push(out: &mut String, text: &str, line: usize) -> Result<(), Error> {
    if out.len() + text.len() > MAX_LENGTH {
        return Err(too_long(line));
    }
    out.push_str(text);
    Ok(())
}

fn too_long(line: usize) -> Error {
    Error::new(line, format!("it grows longer than {MAX_LENGTH} bytes"))
}

fn length_of(value: &Value) -> usize {
    match value {
        Value::Text(text) => text.len(),
        Value::List(items) => items.borrow().len(),
        Value::Map(entries) => entries.borrow().len(),
        _ => 0,
    }
}

/// `$x.name`: an entry of a map, or what Java's getters give.
fn property(value: &Value, name: &str) -> Value {
    match value {
        Value::Map(entries) => entries.borrow().get(name).cloned().unwrap_or(Value::Null),
        Value::List(items) if name == "empty" => Value::Bool(items.borrow().is_empty()),
        Value::Text(text) if name == "empty" => Value::Bool(text.is_empty()),
        _ => Value::Null,
    }
}

fn compare(operator: Operator, left: &Value, right: &Value) -> Result<Value, String> {
    let (Some(one), Some(other)) = (left.as_number(), right.as_number()) else {
        return Err(format!("only numbers can be compared, not {} with {}", left.kind(), right.kind()));
    };
    Ok(Value::Bool(match operator {
        Operator::Less => one < other,
        Operator::LessOrEqual => one <= other,
        Operator::Greater => one > other,
        _ => one >= other,
    }))
}

/// What cannot be calculated is `null`, as in Velocity.
fn calculate(operator: Operator, left: &Value, right: &Value) -> Value {
    if let (Value::Integer(left), Value::Integer(right)) = (left, right) {
        let result = match operator {
            Operator::Add => left.checked_add(*right),
            Operator::Subtract => left.checked_sub(*right),
            Operator::Multiply => left.checked_mul(*right),
            Operator::Divide => left.checked_div(*right),
            _ => left.checked_rem(*right),
        };
        return result.map_or(Value::Null, Value::Integer);
    }
    let (Some(left), Some(right)) = (left.as_number(), right.as_number()) else { return Value::Null };
    Value::Float(match operator {
        Operator::Add => left + right,
        Operator::Subtract => left - right,
        Operator::Multiply => left * right,
        Operator::Divide => left / right,
        _ => left % right,
    })
}
