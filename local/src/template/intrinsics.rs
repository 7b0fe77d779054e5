//! The intrinsic functions that give values. Conditions are in `evaluate`, `Ref` and `Fn::GetAtt` in `references`.

use std::rc::Rc;

use base64::{Engine as _, prelude::BASE64_STANDARD};

use super::{
    Fault,
    evaluate::{Evaluated, Scope, unsupported},
    node::{Map, Node},
};

impl Scope {
    /// Evaluates one function.
    pub(super) fn call(&self, name: &str, argument: &Rc<Node>, line: usize) -> Evaluated {
        let what = format!("the argument of `{name}`");
        let text = |text: String| Ok(Some(Node::text(line, text)));
        match name {
            "Ref" => self.reference(&self.text(argument, &what)?, line),
            "Fn::GetAtt" => self.get_att(argument, line),
            "Fn::Sub" => text(self.sub(argument)?),
            "Fn::Join" => text(self.join(argument)?),
            "Fn::Split" => self.split(argument),
            "Fn::Select" => self.select(argument),
            "Fn::If" => self.if_else(argument),
            "Fn::FindInMap" => self.find_in_map(argument),
            "Fn::Base64" => text(BASE64_STANDARD.encode(self.text(argument, &what)?)),
            "Fn::Length" => text(self.list(argument, &what)?.len().to_string()),
            "Fn::ToJsonString" => match self.evaluate(argument)? {
                Some(value) => text(value.to_json().to_string()),
                None => Ok(None),
            },
            "Fn::GetAZs" => self.availability_zones(argument, line),
            "Fn::Equals" | "Fn::And" | "Fn::Or" | "Fn::Not" => {
                Err(Fault::at(line, format!("`{name}` makes a condition; name it under `Conditions` and use `Fn::If`")))
            }
            _ => Err(unsupported(name, line)),
        }
    }

    fn sub(&self, argument: &Rc<Node>) -> Result<String, Fault> {
        let none = Map::new();
        let (template, variables) = match argument.as_list() {
            None => (argument, &none),
            Some([template, variables]) => (template, variables.as_map().unwrap_or(&none)),
            Some(_) => return Err(Fault::at(argument.line, "`Fn::Sub` takes a text, or a list of a text and a mapping")),
        };
        let template = template
            .as_text()
            .ok_or_else(|| Fault::at(argument.line, "the text of `Fn::Sub` must stand there as it is"))?;
        self.spend(argument.line, template.len())?;
        let mut out = String::new();
        let mut rest = template;
        while let Some((before, after)) = rest.split_once("${") {
            let Some((name, after)) = after.split_once('}') else { break };
            out.push_str(before);
            match name.strip_prefix('!') {
                Some(literal) => out.push_str(&format!("${{{literal}}}")),
                None => {
                    let value = self.sub_variable(name.trim(), variables, argument.line)?;
                    self.spend(argument.line, value.len())?;
                    out.push_str(&value);
                }
            }
            rest = after;
        }
        Ok(out + rest)
    }

    fn sub_variable(&self, name: &str, variables: &Map, line: usize) -> Result<String, Fault> {
        let what = format!("`${{{name}}}`");
        if let Some(value) = variables.get(name) {
            return self.text(value, &what);
        }
        let value = match name.split_once('.') {
            Some((resource, attribute)) => self.attribute(resource, attribute, line)?,
            None => self.reference(name, line)?,
        };
        let text = value.as_ref().and_then(|value| value.as_text());
        text.map(str::to_owned).ok_or_else(|| Fault::at(line, format!("{what} must be text")))
    }

    fn join(&self, argument: &Rc<Node>) -> Result<String, Fault> {
        let [delimiter, items] = self.two(argument, "`Fn::Join` takes a delimiter and a list")?;
        let delimiter = self.text(&delimiter, "the delimiter of `Fn::Join`")?;
        let mut texts = Vec::new();
        for item in self.list(&items, "what `Fn::Join` joins")? {
            texts.push(self.text(&item, "each value that `Fn::Join` joins")?);
        }
        let joined = texts.join(&delimiter);
        self.spend(argument.line, joined.len())?;
        Ok(joined)
    }

    fn split(&self, argument: &Rc<Node>) -> Evaluated {
        let [delimiter, source] = self.two(argument, "`Fn::Split` takes a delimiter and a text")?;
        let delimiter = self.text(&delimiter, "the delimiter of `Fn::Split`")?;
        let source = self.text(&source, "what `Fn::Split` splits")?;
        if delimiter.is_empty() {
            return Err(Fault::at(argument.line, "the delimiter of `Fn::Split` must not be empty"));
        }
        let parts = source.split(&delimiter).map(|part| Node::text(argument.line, part)).collect();
        Ok(Some(Node::list(argument.line, parts)))
    }

    fn select(&self, argument: &Rc<Node>) -> Evaluated {
        let [index, items] = self.two(argument, "`Fn::Select` takes an index and a list")?;
        let index = self.text(&index, "the index of `Fn::Select`")?;
        let items = self.list(&items, "what `Fn::Select` selects from")?;
        let item = index.trim().parse().ok().and_then(|index: usize| items.get(index));
        item.cloned().map(Some).ok_or_else(|| {
            Fault::at(argument.line, format!("`Fn::Select` finds no item {index} in a list of {}", items.len()))
        })
    }

    fn if_else(&self, argument: &Rc<Node>) -> Evaluated {
        let Some([condition, then, otherwise]) = argument.as_list() else {
            return Err(Fault::at(argument.line, "`Fn::If` takes a condition and two values"));
        };
        let holds = match condition.as_text() {
            Some(name) => self.condition(name, condition.line)?,
            None => self.holds(condition)?,
        };
        self.evaluate(if holds { then } else { otherwise })
    }

    fn find_in_map(&self, argument: &Rc<Node>) -> Evaluated {
        let (keys, options) = match argument.as_list() {
            Some(keys @ [_, _, _]) => (keys, None),
            Some([keys @ .., options]) if keys.len() == 3 => (keys, Some(options)),
            _ => return Err(Fault::at(argument.line, "`Fn::FindInMap` takes a map's name and two keys")),
        };
        let mut found = Some(&self.mappings);
        let mut path = Vec::new();
        for key in keys {
            let key = self.text(key, "a key of `Fn::FindInMap`")?;
            found = found.and_then(|node| node.get(&key));
            path.push(key);
        }
        match (found, options.and_then(|options| options.get("DefaultValue"))) {
            (Some(value), _) => Ok(Some(Rc::clone(value))),
            (None, Some(default)) => self.evaluate(default),
            (None, None) => {
                Err(Fault::at(argument.line, format!("`Mappings` has no value at `{}`", path.join("` > `"))))
            }
        }
    }

    /// Every region has at least three.
    fn availability_zones(&self, argument: &Rc<Node>, line: usize) -> Evaluated {
        let region = match self.text(argument, "the region of `Fn::GetAZs`")? {
            region if region.is_empty() => self.pseudo("AWS::Region"),
            region => region,
        };
        let zones = ["a", "b", "c"].map(|zone| Node::text(line, format!("{region}{zone}")));
        Ok(Some(Node::list(line, zones.to_vec())))
    }

    /// The two arguments of a function.
    fn two(&self, argument: &Rc<Node>, usage: &str) -> Result<[Rc<Node>; 2], Fault> {
        match argument.as_list() {
            Some([first, second]) => Ok([Rc::clone(first), Rc::clone(second)]),
            _ => Err(Fault::at(argument.line, usage)),
        }
    }
}
