//! A template as a tree whose nodes know their lines.
//!
//! YAML's short tags are rewritten to the long form (`!Ref X` becomes `{"Ref": "X"}`), aliases and merge keys are
//! followed, and JSON is read as the YAML that it is; nothing after this module knows how the template was written.
//! Aliases share nodes instead of copying them, and the height of the tree is bounded, so that no template can use up
//! memory or the stack.

use std::{borrow::Cow, collections::HashMap, rc::Rc};

use indexmap::IndexMap;
use saphyr_parser::{Event, Parser, ScalarStyle, Tag};

use super::Fault;

/// Most levels of lists and mappings inside each other. Real templates stay under 30.
const MAX_HEIGHT: usize = 100;

/// One value of the template.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Node {
    /// Where the value's key stands, or the value itself in a list; counted from 1.
    pub(super) line: usize,
    pub(super) value: Value,
    /// The line of the file for each line of the text of a block (`|` or `>`).
    pub(super) block: Option<Rc<[usize]>>,
    /// Levels below, 0 for a scalar.
    height: usize,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Value {
    Null,
    /// Text, numbers and booleans. CloudFormation turns one into the other at will, so the text decides; `plain` says
    /// that it stood without quotes, which only JSON output needs.
    Scalar {
        text: String,
        plain: bool,
    },
    List(Vec<Rc<Node>>),
    Map(Map),
}

pub(super) type Map = IndexMap<String, Rc<Node>>;

impl Node {
    fn new(line: usize, value: Value) -> Rc<Self> {
        let height = match &value {
            Value::Null | Value::Scalar { .. } => 0,
            Value::List(items) => 1 + items.iter().map(|item| item.height).max().unwrap_or(0),
            Value::Map(map) => 1 + map.values().map(|item| item.height).max().unwrap_or(0),
        };
        Rc::new(Self { line, value, block: None, height })
    }

    /// Another text in the place of this one.
    pub(super) fn with_text(&self, text: impl Into<String>) -> Rc<Self> {
        let value = Value::Scalar { text: text.into(), plain: false };
        Rc::new(Self { line: self.line, value, block: self.block.clone(), height: 0 })
    }

    pub(super) fn text(line: usize, text: impl Into<String>) -> Rc<Self> {
        Self::new(line, Value::Scalar { text: text.into(), plain: false })
    }

    pub(super) fn list(line: usize, items: Vec<Rc<Self>>) -> Rc<Self> {
        Self::new(line, Value::List(items))
    }

    pub(super) fn map(line: usize, map: Map) -> Rc<Self> {
        Self::new(line, Value::Map(map))
    }

    /// A mapping of one key, which is how every intrinsic looks.
    pub(super) fn call(line: usize, name: &str, argument: Rc<Self>) -> Rc<Self> {
        Self::map(line, Map::from([(name.to_owned(), argument)]))
    }

    pub(super) fn as_text(&self) -> Option<&str> {
        match &self.value {
            Value::Scalar { text, .. } => Some(text),
            _ => None,
        }
    }

    pub(super) fn as_list(&self) -> Option<&[Rc<Self>]> {
        match &self.value {
            Value::List(items) => Some(items),
            _ => None,
        }
    }

    pub(super) fn as_map(&self) -> Option<&Map> {
        match &self.value {
            Value::Map(map) => Some(map),
            _ => None,
        }
    }

    /// The value of a key, if this is a mapping that has it.
    pub(super) fn get(&self, key: &str) -> Option<&Rc<Self>> {
        self.as_map()?.get(key)
    }

    /// The name and argument of an intrinsic function, if this is one.
    pub(super) fn as_intrinsic(&self) -> Option<(&str, &Rc<Self>)> {
        let map = self.as_map()?;
        let (name, argument) = map.first()?;
        (map.len() == 1 && (name == "Ref" || name.starts_with("Fn::"))).then_some((name.as_str(), argument))
    }

    /// The value as JSON, with numbers and booleans where they stood without quotes.
    pub(super) fn to_json(&self) -> serde_json::Value {
        match &self.value {
            Value::Null => serde_json::Value::Null,
            Value::Scalar { text, plain } => plain_json(text).filter(|_| *plain).unwrap_or_else(|| text.clone().into()),
            Value::List(items) => items.iter().map(|item| item.to_json()).collect(),
            Value::Map(map) => map.iter().map(|(key, item)| (key.clone(), item.to_json())).collect(),
        }
    }
}

fn plain_json(text: &str) -> Option<serde_json::Value> {
    match text {
        "true" | "True" | "TRUE" => Some(true.into()),
        "false" | "False" | "FALSE" => Some(false.into()),
        _ => text.parse::<serde_json::Number>().ok().map(Into::into),
    }
}

/// Reads a template's text.
pub(super) fn parse(text: &str) -> Result<Rc<Node>, Fault> {
    let is_json = text.trim_start().starts_with('{');
    let text = if is_json { join_surrogates(text) } else { Cow::Borrowed(text) };
    let mut builder = Builder { source: text.lines().collect(), ..Builder::default() };
    for event in Parser::new_from_str(&text) {
        let (event, span) = event.map_err(|error| {
            let language = if is_json { "JSON" } else { "YAML" };
            // A text that ends too early is at fault in its last line, not in the one after.
            let line = error.marker().line().min(text.lines().count());
            Fault::at(line, format!("this is not valid {language}: {}", error.info()))
        })?;
        builder.accept(event, span.start.line())?;
    }
    builder.root.ok_or_else(|| Fault::nowhere("the template is empty"))
}

/// Rewrites JSON's pairs of UTF-16 escapes to the one escape that YAML has for such a character.
fn join_surrogates(json: &str) -> Cow<'_, str> {
    if !json.contains("\\u") {
        return Cow::Borrowed(json);
    }
    let mut out = String::with_capacity(json.len());
    let mut rest = json;
    while let Some(at) = rest.find('\\') {
        out.push_str(&rest[..at]);
        rest = &rest[at..];
        let (escape, length) = match surrogate_pair(rest) {
            Some(character) => (format!("\\U{:08X}", u32::from(character)), 12),
            // The backslash and what it escapes, so that an escaped backslash is never taken for the start of one.
            None => {
                let length = rest.chars().take(2).map(char::len_utf8).sum();
                (rest[..length].to_owned(), length)
            }
        };
        out.push_str(&escape);
        rest = &rest[length..];
    }
    out.push_str(rest);
    Cow::Owned(out)
}

/// The character of an escape like `\ud83d\ude00`, 12 bytes long, at the start of `text`.
fn surrogate_pair(text: &str) -> Option<char> {
    let unit = |text: &str| u16::from_str_radix(text.strip_prefix("\\u")?, 16).ok();
    let units = [unit(text.get(..6)?)?, unit(text.get(6..12)?)?];
    let character = char::decode_utf16(units).next()?.ok()?;
    (character.len_utf16() == 2).then_some(character)
}

/// Makes a tree of the parser's events, without recursion.
#[derive(Default)]
struct Builder<'a> {
    source: Vec<&'a str>,
    open: Vec<Open>,
    anchors: HashMap<usize, Rc<Node>>,
    root: Option<Rc<Node>>,
}

/// A list or mapping whose end has not come yet.
struct Open {
    line: usize,
    anchor: usize,
    tag: Option<String>,
    content: Content,
}

enum Content {
    List(Vec<Rc<Node>>),
    Map { entries: Map, key: Option<(String, usize)> },
}

impl Builder<'_> {
    fn accept(&mut self, event: Event<'_>, line: usize) -> Result<(), Fault> {
        match event {
            Event::Scalar(text, style, anchor, tag) => {
                // With a tag the parser's place is the tag, else the first line of the text.
                let begin = line + usize::from(tag.is_some());
                let block = match style {
                    ScalarStyle::Literal => Some((begin..).take(text.split('\n').count()).collect()),
                    ScalarStyle::Folded => Some(folded_lines(&self.source, begin, text.split('\n').count())),
                    _ => None,
                };
                let value = scalar(text.into_owned(), style, tag.as_deref());
                let node = Rc::new(Node { line: self.line_of_value(line), value, block, height: 0 });
                self.finish(node, anchor, tag.as_deref().and_then(intrinsic_of))
            }
            Event::Alias(anchor) => match self.anchors.get(&anchor).cloned() {
                Some(node) => self.attach(node, line),
                None => Err(Fault::at(line, "this alias stands inside of its own anchor")),
            },
            Event::SequenceStart(anchor, tag) => self.start(line, anchor, tag.as_deref(), Content::List(Vec::new())),
            Event::MappingStart(anchor, tag) => {
                self.start(line, anchor, tag.as_deref(), Content::Map { entries: Map::new(), key: None })
            }
            Event::SequenceEnd | Event::MappingEnd => match self.open.pop() {
                Some(open) => self.end(open),
                None => Ok(()),
            },
            Event::DocumentStart(_) if self.root.is_some() => {
                Err(Fault::at(line, "a template is one YAML document, and here a second one begins"))
            }
            Event::Nothing | Event::StreamStart | Event::StreamEnd | Event::DocumentStart(_) | Event::DocumentEnd => {
                Ok(())
            }
        }
    }

    /// Messages point to the key, which for a block is the line above its value.
    fn line_of_value(&self, line: usize) -> usize {
        match self.open.last().map(|open| &open.content) {
            Some(Content::Map { key: Some((_, key_line)), .. }) => *key_line,
            _ => line,
        }
    }

    fn start(&mut self, line: usize, anchor: usize, tag: Option<&Tag>, content: Content) -> Result<(), Fault> {
        if self.open.len() >= MAX_HEIGHT {
            return Err(too_deep(line));
        }
        let line = self.line_of_value(line);
        self.open.push(Open { line, anchor, tag: tag.and_then(intrinsic_of), content });
        Ok(())
    }

    fn end(&mut self, open: Open) -> Result<(), Fault> {
        let node = match open.content {
            Content::List(items) => Node::list(open.line, items),
            Content::Map { entries, .. } => Node::map(open.line, follow_merge_keys(entries)),
        };
        self.finish(node, open.anchor, open.tag)
    }

    fn finish(&mut self, node: Rc<Node>, anchor: usize, intrinsic: Option<String>) -> Result<(), Fault> {
        let line = node.line;
        let node = match intrinsic {
            Some(name) => Node::call(line, &name, node),
            None => node,
        };
        if anchor > 0 {
            self.anchors.insert(anchor, Rc::clone(&node));
        }
        self.attach(node, line)
    }

    fn attach(&mut self, node: Rc<Node>, line: usize) -> Result<(), Fault> {
        if node.height > MAX_HEIGHT {
            return Err(too_deep(line));
        }
        match self.open.last_mut().map(|open| &mut open.content) {
            None => self.root = Some(node),
            Some(Content::List(items)) => items.push(node),
            Some(Content::Map { entries, key }) => match key.take() {
                None => *key = Some((key_text(&node)?, line)),
                Some((name, key_line)) => {
                    if let Some(first) = entries.get(&name) {
                        let text = format!("`{name}` stands here a second time, after line {}", first.line);
                        return Err(Fault::at(key_line, text));
                    }
                    entries.insert(name, node);
                }
            },
        }
        Ok(())
    }
}

fn too_deep(line: usize) -> Fault {
    Fault::at(line, format!("this is nested more than {MAX_HEIGHT} levels deep"))
}

fn key_text(node: &Node) -> Result<String, Fault> {
    match &node.value {
        Value::Scalar { text, .. } => Ok(text.clone()),
        Value::Null => Ok("null".to_owned()),
        _ => Err(Fault::at(node.line, "a key must be text")),
    }
}

/// The line of the file where each of the lines of a folded block (`>`) begins. YAML joins lines that are not indented further
/// than the first one, and keeps the line breaks around those that are; of empty lines between joined ones the first is lost.
fn folded_lines(source: &[&str], begin: usize, count: usize) -> Rc<[usize]> {
    let indent = |line: &str| line.len() - line.trim_start_matches(' ').len();
    let of_block = source.iter().enumerate().skip(begin.saturating_sub(1));
    let first = of_block.clone().find(|(_, line)| !line.trim().is_empty()).map_or(0, |(_, line)| indent(line));
    let mut lines = Vec::with_capacity(count);
    let (mut empty, mut before) = (Vec::new(), None);
    for (index, line) in of_block {
        let number = index + 1;
        if line.trim().is_empty() {
            empty.push(number);
            continue;
        }
        if indent(line) < first || lines.len() >= count {
            break;
        }
        let is_kept = line[first..].starts_with([' ', '\t']);
        let is_joined = before == Some(false) && !is_kept;
        if is_joined && empty.is_empty() {
            continue;
        }
        lines.extend(empty.drain(..).skip(usize::from(is_joined)));
        lines.push(number);
        before = Some(is_kept);
    }
    let last = lines.last().map_or(begin, |last| last + 1);
    lines.resize(count, last);
    lines.into()
}

/// Null where YAML says so; everything else keeps its text, so that `012345678901` stays an account number.
fn scalar(text: String, style: ScalarStyle, tag: Option<&Tag>) -> Value {
    let forced = tag.is_some_and(|tag| tag.is_yaml_core_schema() && tag.suffix == "str");
    let plain = style == ScalarStyle::Plain && !forced;
    if plain && matches!(text.as_str(), "" | "~" | "null" | "Null" | "NULL") {
        return Value::Null;
    }
    Value::Scalar { text, plain }
}

/// The long form of a short tag. Tags of YAML itself (`!!str`) are none.
fn intrinsic_of(tag: &Tag) -> Option<String> {
    match (tag.handle.as_str(), tag.suffix.as_str()) {
        ("!", "Ref" | "Condition") => Some(tag.suffix.clone()),
        ("!", name) if !name.is_empty() => Some(format!("Fn::{name}")),
        _ => None,
    }
}

/// Adds what `<<: *anchor` brings, unless the mapping says otherwise itself.
fn follow_merge_keys(mut entries: Map) -> Map {
    let Some(merged) = entries.shift_remove("<<") else { return entries };
    let sources = merged.as_list().unwrap_or(std::slice::from_ref(&merged));
    for (key, node) in sources.iter().filter_map(|source| source.as_map()).flatten() {
        entries.entry(key.clone()).or_insert_with(|| Rc::clone(node));
    }
    entries
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn check(text: &str, expected: serde_json::Value) {
        assert_eq!(parse(text).map(|node| node.to_json()).map_err(|fault| fault.text), Ok(expected), "{text}");
    }

    fn check_fault(text: &str, line: usize, words: &str) {
        let fault = parse(text).expect_err(words);
        assert_eq!(fault.line, Some(line), "{}", fault.text);
        assert!(fault.text.contains(words), "{}", fault.text);
    }

    #[test]
    fn yaml_and_json_give_the_same_tree() {
        check("a: [1, x, '1', true, ~]\nb: {c: 1.5}", json!({"a": [1, "x", "1", true, null], "b": {"c": 1.5}}));
        check(
            r#"{"a": [1, "x", "1", true, null], "b": {"c": 1.5}}"#,
            json!({"a": [1, "x", "1", true, null], "b": {"c": 1.5}}),
        );
    }

    #[test]
    fn text_keeps_what_was_written() {
        check(
            "account: 012345678901\nversion: 2010-09-09\nforced: !!str 5",
            json!({
                "account": "012345678901", "version": "2010-09-09", "forced": "5"
            }),
        );
    }

    #[test]
    fn json_may_be_indented_with_tabs() {
        check("{\n\t\"a\": {\n\t\t\"b\":\t[1,\n\t\t2]\n\t}\n}\n", json!({"a": {"b": [1, 2]}}));
    }

    #[test]
    fn json_escapes_are_read() {
        check(r#"{"a": "\ud83d\ude00 \u00e9 \/ \\ud83d\\ude00 \n"}"#, json!({"a": "😀 é / \\ud83d\\ude00 \n"}));
    }

    #[test]
    fn short_tags_become_long_forms() {
        check("a: !Ref B", json!({"a": {"Ref": "B"}}));
        check("a: !GetAtt B.Arn", json!({"a": {"Fn::GetAtt": "B.Arn"}}));
        check("a: !Join ['', [!Ref B]]", json!({"a": {"Fn::Join": ["", [{"Ref": "B"}]]}}));
        check("a: !Not [!Condition B]", json!({"a": {"Fn::Not": [{"Condition": "B"}]}}));
        check("a: !Base64\n  Fn::Sub: x", json!({"a": {"Fn::Base64": {"Fn::Sub": "x"}}}));
    }

    #[test]
    fn aliases_and_merge_keys_are_followed() {
        check("a: &x {b: 1, c: 2}\nd: *x", json!({"a": {"b": 1, "c": 2}, "d": {"b": 1, "c": 2}}));
        check("a: &x {b: 1, c: 2}\nd:\n  <<: *x\n  c: 3", json!({"a": {"b": 1, "c": 2}, "d": {"b": 1, "c": 3}}));
        check("a: &x !Ref B\nd: [*x]", json!({"a": {"Ref": "B"}, "d": [{"Ref": "B"}]}));
    }

    #[test]
    fn a_value_has_the_line_of_its_key() {
        let root = parse("a:\n  b:\n    - 1\n    - 2\n").unwrap();
        let b = root.get("a").unwrap().get("b").unwrap();
        assert_eq!((b.line, b.as_list().unwrap()[1].line), (2, 4));
    }

    #[test]
    fn the_lines_of_blocks_are_known() {
        let root = parse("a: 1\nb:\n  c: |\n    one\n    two\n  d: x\n  e: !Sub |\n    three\n").unwrap();
        let b = root.get("b").unwrap();
        assert_eq!((b.get("c").unwrap().line, b.get("c").unwrap().block.as_deref()), (3, Some(&[4, 5, 6][..])));
        assert_eq!(b.get("d").unwrap().block, None);
        assert_eq!(b.get("e").unwrap().get("Fn::Sub").unwrap().block.as_deref(), Some(&[8, 9][..]));
    }

    #[test]
    fn the_lines_of_folded_blocks_are_known_however_they_are_joined() {
        let check = |block: &str, text: &str, lines: &[usize]| {
            let root = parse(&format!("a:\n  b: {block}  c: 1\n")).unwrap();
            let b = Rc::clone(root.get("a").unwrap().get("b").unwrap());
            let b = b.get("Fn::Sub").cloned().unwrap_or(b);
            assert_eq!((b.as_text(), b.block.as_deref()), (Some(text), Some(lines)), "{block}");
        };
        check(">\n    one\n    two\n", "one two\n", &[3, 4]);
        check(">-\n    one\n    two\n", "one two", &[3]);
        check(
            ">\n    one\n      deep\n      deeper\n    two\n    three\n",
            "one\n  deep\n  deeper\ntwo three\n",
            &[3, 4, 5, 6, 7],
        );
        check(">\n    one\n\n    two\n\n\n    three\n", "one\ntwo\n\nthree\n", &[3, 5, 7, 8, 9]);
        check(">\n    one\n\n      deep\n    two\n", "one\n\n  deep\ntwo\n", &[3, 4, 5, 6, 7]);
        check("!Sub >\n    one\n      deep\n", "one\n  deep\n", &[3, 4, 5]);
    }

    #[test]
    fn faults_name_their_line() {
        check_fault("a: 1\nb: @x", 2, "not valid YAML");
        check_fault("{\n \"a\": [1,\n", 2, "not valid JSON");
        check_fault("a:\n\tb: 1", 2, "tabs");
        check_fault("a: 1\nb: 2\na: 3", 3, "`a` stands here a second time, after line 1");
        check_fault("a: *b", 1, "unknown anchor");
        check_fault("a: &x\n  b: *x", 2, "inside of its own anchor");
        check_fault("a: 1\n---\nb: 2", 2, "second one begins");
        check_fault("a: {{b}}", 1, "a key must be text");
    }

    #[test]
    fn an_empty_template_is_told() {
        for text in ["", "\n\n", "# only a remark\n"] {
            assert_eq!(parse(text).expect_err("empty"), Fault::nowhere("the template is empty"));
        }
    }

    #[test]
    fn deep_nesting_is_refused_before_it_hurts() {
        check_fault(&"[".repeat(150), 1, "nested more than 100 levels");
        check_fault(&"[".repeat(100_000), 1, "recursion limit");
        check_fault(&"- ".repeat(100_000), 1, "nested more than 100 levels");
        let aliases = (1..10_000).map(|n| format!("a{n}: &a{n} [*a{}]\n", n - 1));
        let text = format!("a0: &a0 [x]\n{}", aliases.collect::<String>());
        check_fault(&text, 101, "nested more than 100 levels");
    }

    #[test]
    fn an_alias_bomb_stays_small() {
        let levels = (1..50).map(|n| format!("a{n}: &a{n} [{}]\n", vec![format!("*a{}", n - 1); 9].join(", ")));
        let text = format!("a0: &a0 [x]\n{}", levels.collect::<String>());
        assert_eq!(parse(&text).unwrap().as_map().unwrap().len(), 50);
    }
}
