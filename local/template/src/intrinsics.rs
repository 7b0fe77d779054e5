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
            "Fn::Sub" => Ok(Some(self.sub(argument)?)),
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

    fn sub(&self, argument: &Rc<Node>) -> Result<Rc<Node>, Fault> {
        let none = Map::new();
        let (template, variables) = match argument.as_list() {
            None => (argument, &none),
            Some([template, variables]) => (template, variables.as_map().unwrap_or(&none)),
            Some(_) => {
                return Err(Fault::at(argument.line, "`Fn::Sub` takes a text, or a list of a text and a mapping"));
            }
        };
        let text = template
            .as_text()
            .ok_or_else(|| Fault::at(argument.line, "the text of `Fn::Sub` must stand there as it is"))?;
        self.spend(argument.line, text.len())?;
        let mut out = String::new();
        let mut rest = text;
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
        Ok(template.with_text(out + rest))
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
        let [delimiter, items] = two(argument, "`Fn::Join` takes a delimiter and a list")?;
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
        let [delimiter, source] = two(argument, "`Fn::Split` takes a delimiter and a text")?;
        let delimiter = self.text(&delimiter, "the delimiter of `Fn::Split`")?;
        let source = self.text(&source, "what `Fn::Split` splits")?;
        if delimiter.is_empty() {
            return Err(Fault::at(argument.line, "the delimiter of `Fn::Split` must not be empty"));
        }
        let parts = source.split(&delimiter).map(|part| Node::text(argument.line, part)).collect();
        Ok(Some(Node::list(argument.line, parts)))
    }

    fn select(&self, argument: &Rc<Node>) -> Evaluated {
        let [index, items] = two(argument, "`Fn::Select` takes an index and a list")?;
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
}

/// The two arguments of a function.
fn two(argument: &Node, usage: &str) -> Result<[Rc<Node>; 2], Fault> {
    match argument.as_list() {
        Some([first, second]) => Ok([Rc::clone(first), Rc::clone(second)]),
        _ => Err(Fault::at(argument.line, usage)),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::super::testing::{check, check_fault, named};

    #[test]
    fn ref_gives_parameters_and_pseudo_parameters() {
        check("!Ref Stage", json!("dev"));
        check("{Ref: Stage}", json!("dev"));
        check("!Ref Zones", json!(["a", "b"]));
        check("!Ref AWS::Region", json!("us-east-1"));
        check("!Ref AWS::AccountId", json!("123456789012"));
        check("!Ref AWS::StackName", json!("tidings-dev"));
        check("!Ref AWS::Partition", json!("aws"));
        check("!Ref AWS::URLSuffix", json!("amazonaws.com"));
        check("!Ref AWS::NotificationARNs", json!([]));
        check(
            "!Ref AWS::StackId",
            json!(
                "arn:aws:cloudformation:us-east-1:123456789012:stack/tidings-dev/00000000-0000-0000-0000-000000000000"
            ),
        );
    }

    #[test]
    fn no_value_leaves_its_place_empty() {
        check("{a: !Ref AWS::NoValue, b: [1, !Ref AWS::NoValue, 2]}", json!({"b": [1, 2]}));
        check("{a: !If [Never, 1, !Ref AWS::NoValue]}", json!({}));
    }

    #[test]
    fn sub_fills_in_what_it_names() {
        check("!Sub 'a-${Stage}-b'", json!("a-dev-b"));
        check(
            "!Sub '${Queue.Arn}/${Queue}'",
            named("arn:aws:sqs:us-east-1:123456789012:<SQS::Queue Queue>/http://127.0.0.1:3030/123456789012/<SQS::Queue Queue>").into(),
        );
        check("!Sub '${AWS::Region}${AWS::Region}'", json!("us-east-1us-east-1"));
        check("!Sub ['${x}-${Stage}', {x: !Ref AWS::Region}]", json!("us-east-1-dev"));
        check("Fn::Sub: ['${Stage}', {Stage: own}]", json!("own"));
        check("!Sub '${!Literal} $ {x} $x ${'", json!("${Literal} $ {x} $x ${"));
        check_fault("!Sub '${Nothing}'", "`Nothing` is neither a parameter nor a resource");
        check_fault("!Sub '${Nothing.Arn}'", "no resource `Nothing`");
        check_fault("!Sub '${Zones}'", "`${Zones}` must be text");
        check_fault("!Sub [a, {}, b]", "takes a text, or a list of a text and a mapping");
    }

    #[test]
    fn join_split_and_select_take_lists_apart_and_together() {
        check("!Join ['-', [a, !Ref Stage, 1]]", json!("a-dev-1"));
        check("!Join ['', !Ref Zones]", json!("ab"));
        check("!Join [',', !Split ['|', 'a|b|c']]", json!("a,b,c"));
        check("!Join [',', [a, !Ref AWS::NoValue, b]]", json!("a,b"));
        check("!Split [',', 'a,,b']", json!(["a", "", "b"]));
        check("!Select [1, [a, b]]", json!("b"));
        check("!Select ['0', !Ref Zones]", json!("a"));
        check_fault("!Select [2, [a, b]]", "no item 2 in a list of 2");
        check_fault("!Select [x, [a, b]]", "no item x");
        check_fault("!Split ['', x]", "must not be empty");
        check_fault("!Join ['-', x]", "must be a list");
        check_fault("!Join [x]", "takes a delimiter and a list");
        check_fault("!Join ['-', [[a]]]", "must be text");
    }

    #[test]
    fn if_chooses_by_conditions() {
        check("!If [Always, a, b]", json!("a"));
        check("!If [Never, a, b]", json!("b"));
        check("Fn::If: [Never, a, !If [Always, c, d]]", json!("c"));
        check_fault("!If [Nowhere, a, b]", "there is no condition `Nowhere`");
        check_fault("!If [Always, a]", "takes a condition and two values");
        check_fault("!Equals [a, b]", "makes a condition");
    }

    #[test]
    fn if_does_not_look_at_what_it_leaves_out() {
        check("!If [Always, a, !ImportValue x]", json!("a"));
    }

    #[test]
    fn find_in_map_looks_values_up() {
        check("!FindInMap [Sizes, dev, memory]", json!(256));
        check("!FindInMap [Sizes, !Ref Stage, zones]", json!(["x", "y"]));
        check("!FindInMap [Sizes, prod, memory, {DefaultValue: !Ref Stage}]", json!("dev"));
        check_fault("!FindInMap [Sizes, prod, memory]", "no value at `Sizes` > `prod` > `memory`");
        check_fault("!FindInMap [Sizes, prod]", "takes a map's name and two keys");
    }

    #[test]
    fn the_small_functions_work() {
        check("!Base64 abc", json!("YWJj"));
        check("Fn::Base64: !Sub '${Stage}'", json!("ZGV2"));
        check("!Length [a, b, c]", json!("3"));
        check("Fn::Length: !Ref Zones", json!("2"));
        check(
            "Fn::ToJsonString: {a: 1, b: !Ref Stage, c: '1', d: true}",
            json!(r#"{"a":1,"b":"dev","c":"1","d":true}"#),
        );
        check("!GetAZs ''", json!(["us-east-1a", "us-east-1b", "us-east-1c"]));
        check("!GetAZs eu-west-1", json!(["eu-west-1a", "eu-west-1b", "eu-west-1c"]));
    }

    #[test]
    fn what_is_not_supported_is_named() {
        check_fault("!ImportValue x", "`Fn::ImportValue` cannot be resolved locally");
        check_fault("!Cidr [x, 1, 1]", "`Fn::Cidr` cannot be resolved locally");
        check_fault("!Transform {Name: AWS::Include}", "`Fn::Transform` cannot be resolved locally");
        check_fault("{a: 1, Fn::Transform: {}}", "`Fn::Transform` cannot be resolved locally");
        check_fault("!Frobnicate x", "there is no intrinsic function `Fn::Frobnicate`");
    }
}
