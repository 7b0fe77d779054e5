//! Lambda functions, SAM's and CloudFormation's own.

use std::path::PathBuf;

use indexmap::IndexMap;

use super::{Fault, evaluate::Scope, layers, properties::Properties, resource::Resource};
use tidings_local_stack::{self as stack, Asynchronous, Function, Note};

/// Lambda's own limits and defaults.
const TIMEOUT_SECONDS: (std::ops::RangeInclusive<u64>, u64) = (1..=900, 3);
const MEMORY_MB: (std::ops::RangeInclusive<u64>, u64) = (128..=10_240, 128);

/// Reads all functions of a template, by path.
pub(super) fn read(scope: &Scope, notes: &mut Vec<Note>) -> Result<IndexMap<String, Function>, Fault> {
    let kinds = &["AWS::Serverless::Function", "AWS::Lambda::Function"];
    scope
        .resources_of(kinds)
        .map(|found| {
            let (logical_id, resource) = found?;
            Ok((scope.place.path_of(logical_id), function(scope, logical_id, resource, notes)?))
        })
        .collect()
}

fn function(scope: &Scope, logical_id: &str, resource: &Resource, notes: &mut Vec<Note>) -> Result<Function, Fault> {
    let properties = Properties::of(scope, logical_id, resource);
    let metadata = Properties::of_metadata(scope, logical_id, resource);
    let build = metadata.inside("BuildProperties")?;
    let logging = properties.inside("LoggingConfig")?;
    let (mut folder, mut inline) = (None, None);
    match code(&properties, &metadata)? {
        Code::Folder(relative) => folder = Some(scope.place.folder.join(relative).components().collect()),
        Code::Inline(text) => inline = Some(stack::Code(text)),
        // Behind another Invoke API it runs all the same.
        Code::Elsewhere(_) if scope.shared.functions_elsewhere => {}
        Code::Elsewhere(reason) => {
            notes.push(Note::new(resource.line, format!("`{logical_id}` cannot run locally: {reason}")));
        }
    }
    note_events(logical_id, resource, notes);
    let known = Known { is_needed: !scope.shared.functions_elsewhere };
    Ok(Function {
        name: scope.name_of(logical_id, resource)?,
        code: folder,
        inline,
        layers: layers::of(&properties, notes)?,
        runtime: known.or_none(properties.text("Runtime"))?,
        handler: known.or_none(properties.text("Handler"))?,
        build_method: metadata.text("BuildMethod")?,
        binary: build.map(|build| build.text("Binary")).transpose()?.flatten(),
        environment: environment(&properties, known, notes)?,
        timeout_seconds: known.or_none(properties.number("Timeout", TIMEOUT_SECONDS.0))?.unwrap_or(TIMEOUT_SECONDS.1),
        memory_mb: known.or_none(properties.number("MemorySize", MEMORY_MB.0))?.unwrap_or(MEMORY_MB.1),
        json_logs: logging.map(|logging| logging.text("LogFormat")).transpose()?.flatten().as_deref() == Some("JSON"),
        reserved_concurrency: known.or_none(properties.number("ReservedConcurrentExecutions", 0..=usize::MAX))?,
        asynchronous: match properties.inside("EventInvokeConfig")? {
            Some(config) => asynchronous(&config, notes)?,
            None => Asynchronous::default(),
        },
        template: scope.place.file.clone(),
        line: resource.line,
    })
}

/// Whether the values that a function runs with have to be known: behind another Invoke API they are that one's matter.
#[derive(Clone, Copy)]
struct Known {
    is_needed: bool,
}

impl Known {
    /// Nothing instead of a value that only CloudFormation knows, where nobody needs it.
    fn or_none<T>(self, value: Result<Option<T>, Fault>) -> Result<Option<T>, Fault> {
        match value {
            Err(fault) if fault.is_elsewhere && !self.is_needed => Ok(None),
            value => value,
        }
    }
}

enum Code {
    /// Relative to the template's folder.
    Folder(PathBuf),
    /// It stands in the template, and an interpreter can run it.
    Inline(String),
    /// Not on this machine, for the reason given.
    Elsewhere(&'static str),
}

fn code(properties: &Properties<'_>, metadata: &Properties<'_>) -> Result<Code, Fault> {
    // The CDK says so in what it synthesises, where the code itself is only a place in S3.
    if let Some(asset) = metadata.text("aws:asset:path")? {
        return Ok(Code::Folder(asset.into()));
    }
    if properties.text("PackageType")?.as_deref() == Some("Image") || properties.has("ImageUri") {
        return Ok(Code::Elsewhere("its code is a container image"));
    }
    if properties.has("InlineCode") {
        if is_script(properties)? {
            return Ok(Code::Inline(properties.required_text("InlineCode")?));
        }
        return Ok(Code::Elsewhere("its code stands in the template"));
    }
    let key = if properties.has("Code") { "Code" } else { "CodeUri" };
    let value = match properties.value(key) {
        Ok(Some(value)) => value,
        Ok(None) => return Ok(Code::Folder(PathBuf::new())),
        Err(fault) if fault.is_elsewhere => return Ok(Code::Elsewhere("where its code is cannot be told here")),
        Err(fault) => return Err(fault),
    };
    match value.as_text() {
        Some(uri) if uri.starts_with("s3://") => Ok(Code::Elsewhere("its code is in S3")),
        Some(path) => Ok(Code::Folder(path.into())),
        None if value.get("ZipFile").is_some() && is_script(properties)? => {
            let text = value.get("ZipFile").and_then(|text| text.as_text());
            let text = text.ok_or_else(|| properties.fault("Code", "must have text as its `ZipFile`"))?;
            Ok(Code::Inline(text.to_owned()))
        }
        None if value.get("ZipFile").is_some() => Ok(Code::Elsewhere("its code stands in the template")),
        None if value.get("ImageUri").is_some() => Ok(Code::Elsewhere("its code is a container image")),
        None => Ok(Code::Elsewhere("its code is in S3")),
    }
}

/// Whether its runtime runs sources as they are.
fn is_script(properties: &Properties<'_>) -> Result<bool, Fault> {
    let runtime = properties.text("Runtime")?;
    Ok(runtime.is_some_and(|runtime| runtime.starts_with("nodejs") || runtime.starts_with("python3")))
}

fn environment(
    properties: &Properties<'_>,
    known: Known,
    notes: &mut Vec<Note>,
) -> Result<IndexMap<String, String>, Fault> {
    let environment = properties.inside("Environment")?;
    let Some(variables) = environment.map(|environment| environment.inside("Variables")).transpose()?.flatten() else {
        return Ok(IndexMap::new());
    };
    let mut texts = IndexMap::new();
    for name in variables.keys() {
        texts.extend(known.or_none(variables.text(name))?.map(|text| (name.clone(), text)));
    }
    for (name, _) in texts.iter().filter(|(_, text)| text.contains("{{resolve:")) {
        let text = format!("the variable `{name}` has a `{{{{resolve:…}}}}`, which only CloudFormation replaces");
        notes.push(Note::new(variables.line_of(name), text));
    }
    Ok(texts)
}

/// Reads `AWS::Lambda::EventInvokeConfig` into the functions that they are about.
pub(super) fn read_asynchronous(
    scope: &Scope,
    functions: &mut IndexMap<String, Function>,
    notes: &mut Vec<Note>,
) -> Result<(), Fault> {
    for found in scope.resources_of(&["AWS::Lambda::EventInvokeConfig"]) {
        let (logical_id, resource) = found?;
        let properties = Properties::of(scope, logical_id, resource);
        let name = properties.required_text("FunctionName")?;
        let config = asynchronous(&properties, notes)?;
        match find(functions, &name).map(str::to_owned).and_then(|id| functions.get_mut(&id)) {
            Some(function) => function.asynchronous = config,
            None => {
                let text = format!("`{logical_id}` is about `{name}`, which is no function of this template");
                notes.push(Note::new(resource.line, text));
            }
        }
    }
    Ok(())
}

fn asynchronous(properties: &Properties<'_>, notes: &mut Vec<Note>) -> Result<Asynchronous, Fault> {
    let default = Asynchronous::default();
    Ok(Asynchronous {
        maximum_retries: properties.number("MaximumRetryAttempts", 0..=2)?.unwrap_or(default.maximum_retries),
        maximum_age: properties.number("MaximumEventAgeInSeconds", 60..=21_600)?.unwrap_or(default.maximum_age),
        on_failure: on_failure(properties, notes)?,
    })
}

/// The ARN of the queue that is told of failures, by `DestinationConfig`.
pub(super) fn on_failure(properties: &Properties<'_>, notes: &mut Vec<Note>) -> Result<Option<String>, Fault> {
    let Some(destinations) = properties.inside("DestinationConfig")? else { return Ok(None) };
    let mut note = |key: &str, text: &str| {
        notes.push(Note::new(destinations.line_of(key), text.to_owned()));
    };
    if destinations.has("OnSuccess") {
        note("OnSuccess", "`OnSuccess` destinations are not emulated");
    }
    let Some(failure) = destinations.inside("OnFailure")? else { return Ok(None) };
    match failure.text("Destination")? {
        Some(arn) if arn.contains(":sqs:") => Ok(Some(arn)),
        _ => {
            note("OnFailure", "`OnFailure` destinations other than a queue of this template are not emulated");
            Ok(None)
        }
    }
}

/// The logical id of the function that has this name or ARN; a version or alias behind it is ignored.
pub(super) fn find<'a>(functions: &'a IndexMap<String, Function>, name: &str) -> Option<&'a str> {
    let name = name.split_once(":function:").map_or(name, |(_, name)| name);
    let name = name.split(':').next().unwrap_or(name);
    let mut functions = functions.iter();
    let found = functions.find(|(logical_id, function)| function.name == name || *logical_id == name);
    found.map(|(logical_id, _)| logical_id.as_str())
}

/// Events of SAM functions that nothing sends here.
fn note_events(logical_id: &str, resource: &Resource, notes: &mut Vec<Note>) {
    let events = resource.properties.get("Events").and_then(|node| node.as_map());
    for (name, event) in events.into_iter().flatten() {
        let kind = event.get("Type").and_then(|node| node.as_text()).unwrap_or("unknown");
        if matches!(kind, "SQS" | "SNS" | "DynamoDB" | "HttpApi" | "EventBridgeRule" | "CloudWatchEvent" | "Schedule") {
            continue;
        }
        let text = format!(
            "`{logical_id}`: its event `{name}` of the type `{kind}` is not emulated; send such an event with \
             `aws lambda invoke`, as docs/local.md shows"
        );
        notes.push(Note::new(event.line, text));
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::super::testing::{named, stack_fault_of, stack_of};
    use super::*;

    /// The function that has these properties, and what is noted.
    fn read_function(kind: &str, properties: &str) -> (Function, Vec<String>) {
        let mut stack = stack_of(&format!("  Function: {{Type: {kind}, Properties: {properties}}}\n"));
        let notes = stack.notes.iter().map(|note| note.text.clone()).collect();
        (stack.functions.shift_remove("Function").expect("a function"), notes)
    }

    const SAM: &str = "AWS::Serverless::Function";
    const PLAIN: &str = "AWS::Lambda::Function";

    fn check_code(kind: &str, properties: &str, expected: Result<&str, &str>) {
        let (function, notes) = read_function(kind, properties);
        match expected {
            Ok(path) => assert_eq!((function.code, notes), (Some(path.into()), Vec::new()), "{properties}"),
            Err(reason) => {
                assert_eq!(function.code, None, "{properties}");
                assert_eq!(notes, [format!("`Function` cannot run locally: {reason}")]);
            }
        }
    }

    #[test]
    fn code_is_found_from_the_folder_of_the_template() {
        check_code(SAM, "{}", Ok("/project"));
        check_code(SAM, "{CodeUri: functions/a}", Ok("/project/functions/a"));
        check_code(SAM, "{CodeUri: ./functions/a/}", Ok("/project/functions/a"));
        check_code(SAM, "{CodeUri: ../a}", Ok("/project/../a"));
        check_code(SAM, "{CodeUri: /elsewhere/a}", Ok("/elsewhere/a"));
        check_code(SAM, "{CodeUri: 's3://bucket/key'}", Err("its code is in S3"));
        check_code(SAM, "{CodeUri: {Bucket: a, Key: b}}", Err("its code is in S3"));
        check_code(SAM, "{InlineCode: 'x'}", Err("its code stands in the template"));
        check_code(SAM, "{PackageType: Image}", Err("its code is a container image"));
        check_code(PLAIN, "{Code: ./a}", Ok("/project/a"));
        check_code(PLAIN, "{Code: {ZipFile: x}}", Err("its code stands in the template"));
        check_code(PLAIN, "{Code: {ImageUri: x}}", Err("its code is a container image"));
        check_code(PLAIN, "{Code: {S3Bucket: a, S3Key: b}}", Err("its code is in S3"));
    }

    #[test]
    fn what_is_not_given_has_the_default_of_lambda() {
        let (function, _) = read_function(SAM, "{}");
        assert_eq!((function.timeout_seconds, function.memory_mb), (3, 128));
        assert_eq!((function.runtime, function.handler, function.reserved_concurrency), (None, None, None));
        assert_eq!((function.json_logs, function.environment.len()), (false, 0));
        assert_eq!(function.name, named("<Serverless::Function Function>"));
    }

    #[test]
    fn environment_variables_are_text() {
        let (function, notes) = read_function(
            SAM,
            "{Environment: {Variables: {A: 1, B: true, C: 1.50, D: !Ref AWS::NoValue, E: '{{resolve:ssm:/a}}'}}}",
        );
        assert_eq!(json!(function.environment), json!({"A": "1", "B": "true", "C": "1.50", "E": "{{resolve:ssm:/a}}"}));
        assert_eq!(notes, ["the variable `E` has a `{{resolve:…}}`, which only CloudFormation replaces"]);
    }

    #[test]
    fn a_bad_property_is_told() {
        let check = |properties: &str, text: &str| {
            let fault = stack_fault_of(&format!("  Function: {{Type: {SAM}, Properties: {properties}}}\n"));
            assert_eq!(fault.text, text);
            assert!(fault.line.is_some(), "{properties}");
        };
        check("{Timeout: x}", "`Timeout` of `Function` must be a whole number from 1 to 900, not `x`");
        check("{Timeout: 901}", "`Timeout` of `Function` must be a whole number from 1 to 900, not `901`");
        check("{MemorySize: 64}", "`MemorySize` of `Function` must be a whole number from 128 to 10240, not `64`");
        check("{Handler: [a]}", "`Handler` of `Function` must be text");
        check("{Environment: x}", "`Environment` of `Function` must be a mapping");
        check("{Environment: {Variables: {A: {b: c}}}}", "`A` of `Function` must be text");
    }
}
