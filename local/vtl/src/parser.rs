//! From text to the pieces of a template: text, references and directives. Expressions are in `expressions`.

use super::Error;
use super::ast::{Expression, Node, Reference, Step};

/// Deepest nesting of blocks and expressions.
const MAX_DEPTH: usize = 50;

/// Directives of Velocity that API Gateway's templates have no use for.
const UNSUPPORTED: [&str; 6] = ["define", "evaluate", "include", "literal", "macro", "parse"];

/// Parses a text that begins in a line.
pub(super) fn parse(text: &str, first_line: usize) -> Result<Vec<Node>, Error> {
    parse_nested(text, first_line, 0)
}

/// Parses a text within another one.
pub(super) fn parse_nested(text: &str, first_line: usize, depth: usize) -> Result<Vec<Node>, Error> {
    let newlines = text.bytes().enumerate().filter(|(_, byte)| *byte == b'\n').map(|(at, _)| at).collect();
    let mut parser = Parser { text, at: 0, newlines, first_line, depth };
    let (nodes, end) = parser.block()?;
    match end {
        Ending::Text => Ok(nodes),
        Ending::Else(line) => Err(Error::new(line, "`#else` stands outside of an `#if`")),
        Ending::ElseIf(line) => Err(Error::new(line, "`#elseif` stands outside of an `#if`")),
        Ending::End(line) => Err(Error::new(line, "`#end` has nothing to end")),
    }
}

pub(super) struct Parser<'a> {
    text: &'a str,
    at: usize,
    newlines: Vec<usize>,
    first_line: usize,
    depth: usize,
}

/// What ends a block, with its line.
enum Ending {
    Text,
    Else(usize),
    ElseIf(usize),
    End(usize),
}

impl<'a> Parser<'a> {
    pub(super) fn rest(&self) -> &'a str {
        &self.text[self.at..]
    }

    pub(super) fn line(&self) -> usize {
        self.first_line + self.newlines.partition_point(|newline| *newline < self.at)
    }

    pub(super) fn fault(&self, message: impl Into<String>) -> Error {
        Error::new(self.line(), message)
    }

    pub(super) fn depth(&self) -> usize {
        self.depth
    }

    /// Goes on behind a token, if it is next.
    pub(super) fn take(&mut self, token: &str) -> bool {
        let is_next = self.rest().starts_with(token);
        self.at += if is_next { token.len() } else { 0 };
        is_next
    }

    pub(super) fn skip_space(&mut self) {
        self.at += self.rest().len() - self.rest().trim_start().len();
    }

    pub(super) fn skip(&mut self, length: usize) {
        self.at += length;
    }

    /// One level deeper, as long as that is no bomb.
    pub(super) fn deeper<T>(&mut self, work: impl FnOnce(&mut Self) -> Result<T, Error>) -> Result<T, Error> {
        if self.depth >= MAX_DEPTH {
            return Err(self.fault(format!("it is nested more than {MAX_DEPTH} levels deep")));
        }
        self.depth += 1;
        let result = work(self);
        self.depth -= 1;
        result
    }

    /// A name; letters, digits, `-` and `_`, the first one a letter or `_`.
    pub(super) fn name(&mut self) -> Option<String> {
        let rest = self.rest();
        if !rest.starts_with(|c: char| c.is_ascii_alphabetic() || c == '_') {
            return None;
        }
        let is_part = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_');
        let length = rest.find(|c| !is_part(c)).unwrap_or(rest.len());
        self.at += length;
        Some(rest[..length].to_owned())
    }

    fn block(&mut self) -> Result<(Vec<Node>, Ending), Error> {
        self.deeper(|parser| {
            let mut nodes = Vec::new();
            loop {
                let rest = parser.rest();
                let Some(length) = rest.find(['$', '#', '\\']) else {
                    push_text(&mut nodes, rest);
                    parser.at = parser.text.len();
                    return Ok((nodes, Ending::Text));
                };
                push_text(&mut nodes, &rest[..length]);
                parser.at += length;
                match rest.as_bytes()[length] {
                    b'\\' => parser.escape(&mut nodes),
                    b'$' => parser.text_reference(&mut nodes)?,
                    _ => {
                        if let Some(end) = parser.hash(&mut nodes)? {
                            return Ok((nodes, end));
                        }
                    }
                }
            }
        })
    }

    /// `\$` and `\#` are the bare signs.
    fn escape(&mut self, nodes: &mut Vec<Node>) {
        let is_sign = self.rest()[1..].starts_with(['$', '#']);
        let length = if is_sign { 2 } else { 1 };
        push_text(nodes, &self.rest()[usize::from(is_sign)..length]);
        self.at += length;
    }

    fn text_reference(&mut self, nodes: &mut Vec<Node>) -> Result<(), Error> {
        let start = self.at;
        match self.reference()? {
            Some((reference, is_quiet)) => {
                let source = self.text[start..self.at].to_owned();
                nodes.push(Node::Reference { reference, is_quiet, source });
            }
            None => {
                push_text(nodes, "$");
                self.at = start + 1;
            }
        }
        Ok(())
    }

    /// A reference at `$`, and whether it is a quiet one; `None` if it is only a sign.
    pub(super) fn reference(&mut self) -> Result<Option<(Reference, bool)>, Error> {
        let line = self.line();
        self.at += 1;
        let is_quiet = self.take("!");
        let is_braced = self.take("{");
        let Some(name) = self.name() else { return Ok(None) };
        let mut steps = Vec::new();
        loop {
            let rest = self.rest();
            let mut after_dot = rest.strip_prefix('.').unwrap_or_default().chars();
            if after_dot.next().is_some_and(|c| c.is_ascii_alphabetic() || c == '_') {
                self.at += 1;
                let name = self.name().unwrap_or_default();
                steps.push(match self.take("(") {
                    true => Step::Method(name, self.arguments()?),
                    false => Step::Property(name),
                });
            } else if rest.starts_with('[') {
                self.at += 1;
                let index = self.expression()?;
                self.skip_space();
                if !self.take("]") {
                    return Err(self.fault("an index is not closed with `]`"));
                }
                steps.push(Step::Index(index));
            } else {
                break;
            }
        }
        if is_braced && !self.take("}") {
            return Err(self.fault(format!("`${{{name}` is not closed with `}}`")));
        }
        Ok(Some((Reference { name, steps, line }, is_quiet)))
    }

    fn arguments(&mut self) -> Result<Vec<Expression>, Error> {
        self.list(")", "the arguments of a method are not closed with `)`")
    }

    /// Expressions with commas between them, up to what closes them.
    pub(super) fn list(&mut self, close: &str, unclosed: &str) -> Result<Vec<Expression>, Error> {
        let mut items = Vec::new();
        loop {
            self.skip_space();
            if self.take(close) {
                return Ok(items);
            }
            if !items.is_empty() && !self.take(",") {
                return Err(self.fault(unclosed));
            }
            items.push(self.expression()?);
        }
    }

    /// A comment, a directive, or a sign without meaning. What ends the block is given back.
    fn hash(&mut self, nodes: &mut Vec<Node>) -> Result<Option<Ending>, Error> {
        let rest = self.rest();
        if rest.starts_with("##") {
            self.at += rest.find('\n').map_or(rest.len(), |at| at + 1);
        } else if rest.starts_with("#*") {
            let end = rest.find("*#").ok_or_else(|| self.fault("a comment is not closed with `*#`"))?;
            self.at += end + 2;
        } else if let Some(raw) = rest.strip_prefix("#[[") {
            let end = raw.find("]]#").ok_or_else(|| self.fault("`#[[` is not closed with `]]#`"))?;
            push_text(nodes, &raw[..end]);
            self.at += end + 6;
        } else {
            return self.directive(nodes);
        }
        Ok(None)
    }

    fn directive(&mut self, nodes: &mut Vec<Node>) -> Result<Option<Ending>, Error> {
        let (start, line) = (self.at, self.line());
        let rest = &self.rest()[1..];
        let is_braced = rest.starts_with('{');
        let word = &rest[usize::from(is_braced)..];
        let word = &word[..word.find(|c: char| !c.is_ascii_alphabetic()).unwrap_or(word.len())];
        if UNSUPPORTED.contains(&word) {
            return Err(self.fault(format!("`#{word}` is not supported")));
        }
        if !["set", "if", "elseif", "else", "end", "foreach", "break", "stop"].contains(&word) {
            push_text(nodes, "#");
            self.at += 1;
            return Ok(None);
        }
        self.at += 1 + usize::from(is_braced) + word.len();
        if is_braced && !self.take("}") {
            return Err(self.fault(format!("`#{{{word}` is not closed with `}}`")));
        }
        match word {
            "set" => {
                let set = self.set()?;
                self.swallow_line(start, nodes);
                nodes.push(set);
            }
            "if" => {
                let node = self.conditional(start, nodes)?;
                nodes.push(node);
            }
            "foreach" => {
                let node = self.foreach(start, line, nodes)?;
                nodes.push(node);
            }
            "break" | "stop" => {
                self.swallow_line(start, nodes);
                nodes.push(if word == "break" { Node::Break } else { Node::Stop });
            }
            // The head of an `#elseif` is read by whoever reads the `#if`.
            "elseif" => {
                trim_line(start, self.text, nodes);
                return Ok(Some(Ending::ElseIf(line)));
            }
            "else" => {
                self.swallow_line(start, nodes);
                return Ok(Some(Ending::Else(line)));
            }
            _ => {
                self.swallow_line(start, nodes);
                return Ok(Some(Ending::End(line)));
            }
        }
        Ok(None)
    }

    /// A directive that has a line to itself leaves no line behind.
    fn swallow_line(&mut self, start: usize, nodes: &mut [Node]) {
        let after = self.rest().trim_start_matches([' ', '\t', '\r']);
        if !is_first_in_line(self.text, start) || !(after.is_empty() || after.starts_with('\n')) {
            return;
        }
        if let Some(Node::Text(text)) = nodes.last_mut() {
            text.truncate(text.trim_end_matches([' ', '\t']).len());
        }
        self.at = self.text.len() - after.len() + usize::from(after.starts_with('\n'));
    }

    fn open(&mut self, what: &str) -> Result<(), Error> {
        self.skip_space();
        if self.take("(") { Ok(()) } else { Err(self.fault(format!("`{what}` needs parentheses"))) }
    }

    fn close(&mut self, what: &str) -> Result<(), Error> {
        self.skip_space();
        if self.take(")") { Ok(()) } else { Err(self.fault(format!("`{what}` is not closed with `)`"))) }
    }

    fn set(&mut self) -> Result<Node, Error> {
        self.open("#set")?;
        self.skip_space();
        let target = match self.rest().starts_with('$') {
            true => self.reference()?.map(|(reference, _)| reference),
            false => None,
        };
        let target = target.ok_or_else(|| self.fault("`#set` needs a variable, as in `#set($x = 1)`"))?;
        self.skip_space();
        if !self.take("=") {
            return Err(self.fault("`#set` needs `=`, as in `#set($x = 1)`"));
        }
        let value = self.expression()?;
        self.close("#set")?;
        Ok(Node::Set { target, value })
    }

    fn condition(&mut self, what: &str) -> Result<Expression, Error> {
        self.open(what)?;
        let condition = self.expression()?;
        self.close(what)?;
        Ok(condition)
    }

    fn conditional(&mut self, start: usize, around: &mut [Node]) -> Result<Node, Error> {
        let line = self.line();
        let mut condition = self.condition("#if")?;
        self.swallow_line(start, around);
        let mut branches = Vec::new();
        loop {
            let (body, end) = self.block()?;
            branches.push((condition, body));
            match end {
                Ending::End(_) => return Ok(Node::If { branches, otherwise: Vec::new() }),
                Ending::ElseIf(_) => {
                    condition = self.condition("#elseif")?;
                    self.swallow_line(self.at, &mut []);
                }
                Ending::Else(_) => {
                    let (otherwise, end) = self.block()?;
                    return match end {
                        Ending::End(_) => Ok(Node::If { branches, otherwise }),
                        Ending::Else(line) | Ending::ElseIf(line) => {
                            Err(Error::new(line, "an `#else` comes after the `#else` of its `#if`"))
                        }
                        Ending::Text => Err(Error::new(line, "this `#if` has no `#end`")),
                    };
                }
                Ending::Text => return Err(Error::new(line, "this `#if` has no `#end`")),
            }
        }
    }

    fn foreach(&mut self, start: usize, line: usize, around: &mut [Node]) -> Result<Node, Error> {
        let usage = "`#foreach` is written as `#foreach($item in $list)`";
        self.open("#foreach")?;
        self.skip_space();
        let name = if self.take("$") { self.name() } else { None };
        let name = name.ok_or_else(|| self.fault(usage))?;
        self.skip_space();
        if !self.take("in") {
            return Err(self.fault(usage));
        }
        let list = self.expression()?;
        self.close("#foreach")?;
        self.swallow_line(start, around);
        match self.block()? {
            (body, Ending::End(_)) => Ok(Node::Foreach { name, list, body, line }),
            (_, Ending::Text) => Err(Error::new(line, "this `#foreach` has no `#end`")),
            (_, Ending::Else(line) | Ending::ElseIf(line)) => {
                Err(Error::new(line, "`#else` stands in a `#foreach`, not in an `#if`"))
            }
        }
    }
}

fn is_first_in_line(text: &str, at: usize) -> bool {
    let before = &text[..at];
    before[before.rfind('\n').map_or(0, |newline| newline + 1)..].trim_matches([' ', '\t']).is_empty()
}

fn trim_line(start: usize, text: &str, nodes: &mut [Node]) {
    if let (true, Some(Node::Text(text))) = (is_first_in_line(text, start), nodes.last_mut()) {
        text.truncate(text.trim_end_matches([' ', '\t']).len());
    }
}

fn push_text(nodes: &mut Vec<Node>, text: &str) {
    match nodes.last_mut() {
        _ if text.is_empty() => {}
        Some(Node::Text(before)) => before.push_str(text),
        _ => nodes.push(Node::Text(text.to_owned())),
    }
}
