//! No function's environment can outgrow what Lambda takes: names, fixed values and the longest values of parameters are
//! added up as Lambda does it, in JSON.

use std::collections::BTreeMap;

use regex_lite::Regex;
use serde_json::{Map, Value};
use tests::stack::root;
use tidings_local_template::to_json;

/// What Lambda takes for all variables of a function (Lambda Developer Guide, quotas).
const LIMIT: usize = 4_096;
/// What stays free in every function for variables to come.
const RESERVE: usize = 64;

/// The longest of each that AWS has: `aws-us-gov`, `us-isof-south-1`, `amazonaws.com.cn`.
const PARTITION: usize = 10;
const REGION: usize = 15;
const URL_SUFFIX: usize = 16;
const ACCOUNT: usize = 12;
const STACK_NAME: usize = 128;
/// API Gateway's ids.
const API_ID: usize = 10;
/// A double with all its digits: `-2.2250738585072014E-308`.
const NUMBER: usize = 24;

struct Template(Value);

impl Template {
    fn read(text: &str) -> Self {
        Self(to_json(text).unwrap())
    }

    /// The variables of each function, those of `Globals` included.
    fn environments(&self) -> BTreeMap<String, Map<String, Value>> {
        let global = &self.0["Globals"]["Function"]["Environment"]["Variables"];
        let global = global.as_object().cloned().unwrap_or_default();
        let resources = self.0["Resources"].as_object().unwrap().iter();
        let functions = resources.filter(|(_, resource)| resource["Type"] == "AWS::Serverless::Function");
        let with_global = functions.map(|(name, function)| {
            let mut variables = global.clone();
            let own = &function["Properties"]["Environment"]["Variables"];
            variables.extend(own.as_object().cloned().unwrap_or_default());
            (name.clone(), variables)
        });
        with_global.collect()
    }

    /// `{"A":"1","B":"2"}` at its longest.
    fn size(&self, variables: &Map<String, Value>) -> Result<usize, String> {
        let size = |(name, value): (&String, &Value)| match self.longest(value) {
            Ok(Some(value)) => Ok(format!(r#""{name}":"","#).len() + value),
            Ok(None) => Ok(0),
            Err(reason) => Err(format!("{name}: {reason}")),
        };
        let sizes: Result<Vec<_>, _> = variables.iter().map(size).collect();
        // Two braces, and no comma after the last.
        Ok(1 + sizes?.iter().sum::<usize>())
    }

    /// The bytes of a value at its longest; `None` where there is none.
    fn longest(&self, value: &Value) -> Result<Option<usize>, String> {
        if value["Ref"] == "AWS::NoValue" {
            return Ok(None);
        }
        if let Some(name) = value["Ref"].as_str() {
            return self.reference(name).map(Some);
        }
        if let Some([_, one, other]) = value["Fn::If"].as_array().map(Vec::as_slice) {
            return Ok(self.longest(one)?.max(self.longest(other)?));
        }
        if let Some(text) = value["Fn::Sub"].as_str() {
            return self.substituted(text, &Value::Null).map(Some);
        }
        if let Some([text, names]) = value["Fn::Sub"].as_array().map(Vec::as_slice) {
            return self.substituted(text.as_str().ok_or("Fn::Sub has no text")?, names).map(Some);
        }
        match value {
            Value::String(text) => Ok(Some(text.len())),
            Value::Number(_) | Value::Bool(_) => Ok(Some(value.to_string().len())),
            other => Err(format!("the length of {other} is not known here")),
        }
    }

    fn substituted(&self, text: &str, names: &Value) -> Result<usize, String> {
        let mut pieces = text.split("${");
        let mut size = pieces.next().unwrap().len();
        for piece in pieces {
            let (name, literal) = piece.split_once('}').unwrap();
            let value = match names.get(name) {
                Some(value) => self.longest(value)?.unwrap_or_default(),
                None => self.reference(name)?,
            };
            size += value + literal.len();
        }
        Ok(size)
    }

    fn reference(&self, name: &str) -> Result<usize, String> {
        match name {
            "AWS::StackName" => return Ok(STACK_NAME),
            "AWS::Region" => return Ok(REGION),
            "AWS::URLSuffix" => return Ok(URL_SUFFIX),
            _ => {}
        }
        if let Some(parameter) = self.0["Parameters"].get(name) {
            return longest_parameter(parameter).map_err(|reason| format!("the parameter {name} {reason}"));
        }
        let resource = &self.0["Resources"][name];
        match resource["Type"].as_str() {
            Some("AWS::ApiGatewayV2::Api") => Ok(API_ID),
            Some("AWS::DynamoDB::Table") => Ok(generated_name(name, 255)),
            Some("AWS::SQS::Queue") => {
                let host = "https://sqs.".len() + REGION + ".".len() + URL_SUFFIX;
                Ok(host + "/".len() + ACCOUNT + "/".len() + generated_name(name, 80))
            }
            Some("AWS::SecretsManager::Secret") => {
                let name = self.longest(&resource["Properties"]["Name"])?.ok_or("the secret has no name")?;
                let fixed = "arn::secretsmanager:::secret:-AbCdEf".len();
                Ok(fixed + PARTITION + REGION + ACCOUNT + name)
            }
            other => Err(format!("what a reference to {other:?} gives is not known here")),
        }
    }
}

/// A name that CloudFormation makes: stack, logical id and 13 characters by chance.
fn generated_name(logical_id: &str, limit: usize) -> usize {
    (STACK_NAME + "-".len() + logical_id.len() + "-".len() + 13).min(limit)
}

/// The bytes of a parameter's longest value in JSON, or what its declaration lacks.
fn longest_parameter(parameter: &Value) -> Result<usize, &'static str> {
    if let Some(allowed) = parameter["AllowedValues"].as_array() {
        let texts = allowed.iter().map(|value| value.as_str().map_or_else(|| value.to_string(), str::to_owned));
        return Ok(texts.map(|text| text.len()).max().unwrap_or_default());
    }
    if parameter["Type"] == "Number" {
        return Ok(NUMBER);
    }
    let pattern = parameter["AllowedPattern"].as_str().ok_or("has no AllowedPattern")?;
    let length = parameter["MaxLength"].as_u64().ok_or("has no MaxLength")?;
    match bytes_of_a_character(pattern) {
        Some(bytes) => Ok(usize::try_from(length).unwrap() * bytes),
        None => Err("must allow ASCII only, or its MaxLength says nothing of bytes"),
    }
}

/// The most bytes that JSON needs for a character which the pattern takes; `None` if it takes more than ASCII.
fn bytes_of_a_character(pattern: &str) -> Option<usize> {
    let atoms = Regex::new(r"\[(?:\\.|[^\]\\])*\]|\\.|[^(){}|*+?^$]").unwrap();
    let atoms: Vec<_> =
        atoms.find_iter(pattern).map(|atom| Regex::new(&format!("^{}$", atom.as_str())).unwrap()).collect();
    let takes = |text: &str| atoms.iter().any(|atom| atom.is_match(text));
    // A control character becomes six bytes.
    if takes("\u{e9}") || takes("\u{1}") {
        return None;
    }
    Some(if takes("\"") || takes("\\") || takes("\n") { 2 } else { 1 })
}

/// What does not fit, by function.
fn findings(template: &Template) -> Vec<String> {
    let mut environments = template.environments();
    // The default route is to know what the authorizer knows.
    if let Some(authorizer) = environments.get("AuthorizerFunction").cloned()
        && let Some(default) = environments.get_mut("DefaultFunction")
    {
        // Web PubSub's clients say in their handshake who they are, so that it needs nothing of theirs.
        default
            .extend(authorizer.into_iter().filter(|(name, _)| !["WEBPUBSUB_KEY", "RELIABLE"].contains(&name.as_str())));
    }
    let finding = |(name, variables): (&String, &Map<String, Value>)| match template.size(variables) {
        Ok(size) if size + RESERVE <= LIMIT => None,
        Ok(size) => Some(format!("{name} has {size} bytes, {} fit", LIMIT - RESERVE)),
        Err(reason) => Some(format!("{name}: {reason}")),
    };
    environments.iter().filter_map(finding).collect()
}

#[test]
fn every_environment_leaves_room_in_the_4096_bytes_that_lambda_takes() {
    let template = Template::read(&std::fs::read_to_string(root().join("template.yaml")).unwrap());
    assert_eq!(template.environments().len(), 6);
    assert_eq!(findings(&template), [] as [&str; 0]);
}

/// What is found in a template with one function, by the declaration of its one parameter.
fn finding(parameter: &str) -> Vec<String> {
    findings(&Template::read(&format!(
        "Parameters:
  P: {{{parameter}}}
Resources:
  F:
    Type: AWS::Serverless::Function
    Properties: {{Environment: {{Variables: {{A: !If [C, !Sub 'a${{P}}', !Ref AWS::NoValue]}}}}}}"
    )))
}

#[test]
fn an_environment_that_could_grow_too_large_is_found() {
    // `{"A":"a…"}` has ten bytes beside the parameter's.
    let ascii = "Type: String, AllowedPattern: '[a-z]*'";
    assert_eq!(finding(&format!("{ascii}, MaxLength: 4023")), [] as [&str; 0]);
    assert_eq!(finding(&format!("{ascii}, MaxLength: 4024")), ["F has 4033 bytes, 4032 fit"]);
    let quotes = "Type: String, AllowedPattern: '[a-z\"]*'";
    assert_eq!(finding(&format!("{quotes}, MaxLength: 2011")), [] as [&str; 0]);
    assert_eq!(finding(&format!("{quotes}, MaxLength: 2012")), ["F has 4033 bytes, 4032 fit"]);
}

#[test]
fn a_parameter_of_unknown_length_is_found() {
    assert_eq!(finding("Type: String, AllowedPattern: '[a-z]*'"), ["F: A: the parameter P has no MaxLength"]);
    assert_eq!(finding("Type: String, MaxLength: 5"), ["F: A: the parameter P has no AllowedPattern"]);
    for pattern in [r"\S*", "a.*", "[^a]*", "[é]*"] {
        let finding = finding(&format!("Type: String, MaxLength: 5, AllowedPattern: '{pattern}'"));
        assert!(finding[0].contains("must allow ASCII only"), "{pattern}: {finding:?}");
    }
}
