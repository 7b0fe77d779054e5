//! Event source mappings: what Lambda reads for a function, from queues and from the streams of tables.
//!
//! SAM's events of the types `SQS` and `DynamoDB` have become such mappings already (`sam`).

use indexmap::IndexMap;
use serde_json::Value;

use super::{
    Fault,
    evaluate::Scope,
    functions::{find, on_failure},
    properties::Properties,
};
use tidings_local_stack::filter;
use tidings_local_stack::{EventSource, Function, Note, Queue, Source, StreamOptions, Table};

/// What can be read, and for whom.
pub(super) struct Readable<'a> {
    pub(super) functions: &'a IndexMap<String, Function>,
    pub(super) tables: &'a IndexMap<String, Table>,
    pub(super) queues: &'a IndexMap<String, Queue>,
}

/// Lambda's own limit and defaults of the batch size.
const BATCH_SIZE: std::ops::RangeInclusive<usize> = 1..=10_000;
const QUEUE_BATCH: usize = 10;
const STREAM_BATCH: usize = 100;

/// Reads all mappings of a template that can run locally, by path; the others are noted.
pub(super) fn read(
    scope: &Scope,
    readable: &Readable<'_>,
    notes: &mut Vec<Note>,
) -> Result<IndexMap<String, EventSource>, Fault> {
    let mut mappings = IndexMap::new();
    for found in scope.resources_of(&["AWS::Lambda::EventSourceMapping"]) {
        let (logical_id, resource) = found?;
        let properties = Properties::of(scope, logical_id, resource);
        let mut mapping_notes = Vec::new();
        match mapping(&properties, readable, &mut mapping_notes)? {
            Ok(mapping) => {
                mappings.insert(scope.place.path_of(logical_id), mapping);
            }
            Err(reason) => mapping_notes = vec![(resource.line, format!("it is not emulated: {reason}"))],
        }
        notes.extend(mapping_notes.into_iter().map(|(line, text)| Note::new(line, format!("`{logical_id}`: {text}"))));
    }
    Ok(mappings)
}

/// A mapping, or why it is left out.
fn mapping(
    properties: &Properties<'_>,
    readable: &Readable<'_>,
    notes: &mut Vec<(usize, String)>,
) -> Result<Result<EventSource, String>, Fault> {
    if properties.has("Enabled") && !properties.flag("Enabled")? {
        return Ok(Err("it is not enabled".to_owned()));
    }
    let function = properties.required_text("FunctionName")?;
    let Some(function) = find(readable.functions, &function) else {
        return Ok(Err(format!("`{function}` is no function of this template")));
    };
    let Some(arn) = properties.text("EventSourceArn")? else {
        return Ok(Err("only queues and streams of tables are read locally".to_owned()));
    };
    let source = match source(properties, &arn, readable, notes)? {
        Ok(source) => source,
        Err(reason) => return Ok(Err(reason)),
    };
    check_visibility(readable, function, &source, properties)?;
    let default_size = if matches!(source, Source::Queue { .. }) { QUEUE_BATCH } else { STREAM_BATCH };
    Ok(Ok(EventSource {
        function: function.to_owned(),
        source,
        batch_size: properties.number("BatchSize", BATCH_SIZE)?.unwrap_or(default_size),
        batching_window: properties.number("MaximumBatchingWindowInSeconds", 0..=300)?.unwrap_or(0),
        reports_item_failures: properties
            .texts("FunctionResponseTypes")?
            .iter()
            .any(|t| t == "ReportBatchItemFailures"),
        filters: filters(properties, notes)?,
    }))
}

/// Lambda refuses a mapping whose messages would come back while the function still works on them.
fn check_visibility(
    readable: &Readable<'_>,
    function: &str,
    source: &Source,
    properties: &Properties<'_>,
) -> Result<(), Fault> {
    let Source::Queue { name, .. } = source else { return Ok(()) };
    let timeout = readable.functions.get(function).map_or(0, |function| function.timeout_seconds);
    let queue = readable.queues.iter().find(|(_, queue)| queue.name == *name);
    match queue.map(|(id, queue)| (id, queue.settings.visibility_timeout)) {
        Some((id, visibility)) if visibility < timeout => {
            let words = format!(
                "names `{id}`, whose `VisibilityTimeout` is {visibility} s: it must be at least the `Timeout` of \
                 `{function}`, {timeout} s, or Lambda refuses the mapping"
            );
            Err(properties.fault("EventSourceArn", words))
        }
        _ => Ok(()),
    }
}

fn source(
    properties: &Properties<'_>,
    arn: &str,
    readable: &Readable<'_>,
    notes: &mut Vec<(usize, String)>,
) -> Result<Result<Source, String>, Fault> {
    if let Some(queue) = readable.queues.values().find(|queue| queue.arn == arn) {
        let scaling = properties.inside("ScalingConfig")?;
        let maximum = scaling.map(|scaling| scaling.number("MaximumConcurrency", 2..=1000)).transpose()?.flatten();
        return Ok(Ok(Source::Queue { name: queue.name.clone(), arn: arn.to_owned(), maximum_concurrency: maximum }));
    }
    let table = arn.split_once(":table/").and_then(|(_, rest)| rest.split_once("/stream/")).map(|(table, _)| table);
    let Some((id, table)) = table.and_then(|name| readable.tables.iter().find(|(_, table)| table.name == name)) else {
        return Ok(Err(format!("its source `{arn}` is no queue and no table's stream of this template")));
    };
    if table.create.get("StreamSpecification").is_none() {
        let words = format!("names a stream of `{id}`, which has no `StreamSpecification`");
        return Err(properties.fault("EventSourceArn", words));
    }
    if properties.has("TumblingWindowInSeconds") {
        notes.push((properties.line_of("TumblingWindowInSeconds"), "tumbling windows are not emulated".to_owned()));
    }
    let options = stream_options(properties, notes)?;
    Ok(Ok(Source::Table { name: table.name.clone(), arn: arn.to_owned(), options }))
}

fn stream_options(properties: &Properties<'_>, notes: &mut Vec<(usize, String)>) -> Result<StreamOptions, Fault> {
    let from_the_beginning = match properties.required_text("StartingPosition")?.as_str() {
        "TRIM_HORIZON" => true,
        "LATEST" => false,
        other => {
            let words = format!("must be `TRIM_HORIZON` or `LATEST` for a table's stream, not `{other}`");
            return Err(properties.fault("StartingPosition", words));
        }
    };
    // -1 stands for no limit.
    let limit = |key, range| Ok(properties.number(key, range)?.and_then(|number: i64| u64::try_from(number).ok()));
    let mut destination_notes = Vec::new();
    let on_failure = on_failure(properties, &mut destination_notes)?;
    notes.extend(destination_notes.into_iter().map(|note| (note.line, note.text)));
    Ok(StreamOptions {
        from_the_beginning,
        maximum_retries: limit("MaximumRetryAttempts", -1..=10_000)?,
        maximum_age: limit("MaximumRecordAgeInSeconds", -1..=604_800)?,
        bisects: properties.flag("BisectBatchOnFunctionError")?,
        on_failure,
    })
}

fn filters(properties: &Properties<'_>, notes: &mut Vec<(usize, String)>) -> Result<Vec<Value>, Fault> {
    let Some(criteria) = properties.inside("FilterCriteria")? else { return Ok(Vec::new()) };
    let mut patterns = Vec::new();
    for filter in criteria.each("Filters")? {
        let text = filter.required_text("Pattern")?;
        let pattern = serde_json::from_str(&text)
            .map_err(|error| filter.fault("Pattern", format!("must be a pattern in JSON: {error}")))?;
        if let Err(reason) = filter::check(&pattern) {
            let text = format!("every record gets through its filters, because of one that is not emulated: {reason}");
            notes.push((filter.line_of("Pattern"), text));
            return Ok(Vec::new());
        }
        patterns.push(pattern);
    }
    Ok(patterns)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::super::testing::{named, stack_fault_of, stack_of};
    use super::*;
    use tidings_local_stack::Stack;

    const SOURCES: &str = "
  Queue: {Type: AWS::SQS::Queue}
  Dead: {Type: AWS::SQS::Queue}
  Table:
    Type: AWS::DynamoDB::Table
    Properties:
      AttributeDefinitions: [{AttributeName: a, AttributeType: S}]
      KeySchema: [{AttributeName: a, KeyType: HASH}]
      StreamSpecification: {StreamViewType: NEW_IMAGE}
  Still:
    Type: AWS::DynamoDB::Table
    Properties:
      AttributeDefinitions: [{AttributeName: a, AttributeType: S}]
      KeySchema: [{AttributeName: a, KeyType: HASH}]
";

    fn with_event(event: &str) -> String {
        format!(
            "{SOURCES}  F:\n    Type: AWS::Serverless::Function\n    Properties:\n      Events:\n        E: {event}\n"
        )
    }

    fn with_mapping(properties: &str) -> String {
        format!(
            "{SOURCES}  F: {{Type: AWS::Serverless::Function}}\n  M: {{Type: AWS::Lambda::EventSourceMapping, \
             Properties: {properties}}}\n"
        )
    }

    fn notes(stack: &Stack) -> Vec<&str> {
        stack.notes.iter().map(|note| note.text.as_str()).collect()
    }

    #[test]
    fn an_event_of_a_queue_is_a_mapping_with_sams_logical_id() {
        let stack = stack_of(&with_event(
            "{Type: SQS, Properties: {Queue: !GetAtt Queue.Arn, BatchSize: 1, FunctionResponseTypes: \
             [ReportBatchItemFailures], ScalingConfig: {MaximumConcurrency: 5}, MaximumBatchingWindowInSeconds: 2, \
             FilterCriteria: {Filters: [{Pattern: '{\"body\":{\"a\":[1]}}'}]}}}",
        ));
        let mapping = &stack.event_sources["FE"];
        assert_eq!(mapping.function, "F");
        let arn = named("arn:aws:sqs:us-east-1:123456789012:<SQS::Queue Queue>");
        assert_eq!(
            mapping.source,
            Source::Queue { name: named("<SQS::Queue Queue>"), arn, maximum_concurrency: Some(5) }
        );
        assert_eq!((mapping.batch_size, mapping.batching_window, mapping.reports_item_failures), (1, 2, true));
        assert_eq!(mapping.filters, [json!({"body": {"a": [1]}})]);
        assert_eq!(notes(&stack), [""; 0]);
    }

    #[test]
    fn an_event_of_a_table_is_read_with_its_options() {
        let stack = stack_of(&with_event(
            "{Type: DynamoDB, Properties: {Stream: !GetAtt Table.StreamArn, StartingPosition: TRIM_HORIZON, \
             MaximumRetryAttempts: 3, MaximumRecordAgeInSeconds: -1, BisectBatchOnFunctionError: true, \
             DestinationConfig: {OnFailure: {Destination: !GetAtt Dead.Arn}}}}",
        ));
        let options = StreamOptions {
            from_the_beginning: true,
            maximum_retries: Some(3),
            maximum_age: None,
            bisects: true,
            on_failure: Some(named("arn:aws:sqs:us-east-1:123456789012:<SQS::Queue Dead>")),
        };
        let name = named("<DynamoDB::Table Table>");
        let arn = format!("arn:aws:dynamodb:us-east-1:123456789012:table/{name}/stream/2000-01-01T00:00:00.000");
        assert_eq!(stack.event_sources["FE"].source, Source::Table { name, arn, options });
        assert_eq!(stack.event_sources["FE"].batch_size, 100);
    }

    #[test]
    fn a_plain_mapping_is_read_however_it_names_its_function() {
        for function in ["!Ref F", "!GetAtt F.Arn", "!Sub '${F.Arn}:live'"] {
            let stack =
                stack_of(&with_mapping(&format!("{{FunctionName: {function}, EventSourceArn: !GetAtt Queue.Arn}}")));
            assert_eq!(stack.event_sources["M"].function, "F", "{function}");
        }
    }

    #[test]
    fn what_cannot_be_read_is_noted() {
        let check = |properties: &str, note: &str| {
            let stack = stack_of(&with_mapping(properties));
            assert!(stack.event_sources.is_empty(), "{properties}");
            assert_eq!(notes(&stack), [format!("`M`: it is not emulated: {note}")]);
        };
        check("{FunctionName: !Ref F, EventSourceArn: !GetAtt Queue.Arn, Enabled: false}", "it is not enabled");
        check("{FunctionName: other, EventSourceArn: !GetAtt Queue.Arn}", "`other` is no function of this template");
        check("{FunctionName: !Ref F}", "only queues and streams of tables are read locally");
        check(
            "{FunctionName: !Ref F, EventSourceArn: 'arn:aws:kinesis:a:b:stream/c'}",
            "its source `arn:aws:kinesis:a:b:stream/c` is no queue and no table's stream of this template",
        );
        let stack = stack_of(&with_event("{Type: S3, Properties: {Bucket: b}}"));
        let expected = "`F`: its event `E` of the type `S3` is not emulated; send such an event with `aws lambda \
                        invoke`, as docs/local.md shows";
        assert_eq!(notes(&stack), [expected]);
    }

    #[test]
    fn a_filter_that_is_not_emulated_lets_everything_through() {
        let stack = stack_of(&with_mapping(
            "{FunctionName: !Ref F, EventSourceArn: !GetAtt Queue.Arn, FilterCriteria: {Filters: [{Pattern: \
             '{\"a\":[{\"starts\":\"a\"}]}'}]}}",
        ));
        assert!(stack.event_sources["M"].filters.is_empty());
        assert!(notes(&stack)[0].starts_with("`M`: every record gets through its filters"), "{:?}", notes(&stack));
    }

    #[test]
    fn a_visibility_shorter_than_the_function_is_refused_as_lambda_does() {
        let resources = "  Queue: {Type: AWS::SQS::Queue}
  F:
    Type: AWS::Serverless::Function
    Properties: {Timeout: 31, Events: {E: {Type: SQS, Properties: {Queue: !GetAtt Queue.Arn}}}}
";
        let fault = stack_fault_of(resources);
        let expected = "`EventSourceArn` of `FE` names `Queue`, whose `VisibilityTimeout` is 30 s: it must be at least the \
                        `Timeout` of `F`, 31 s, or Lambda refuses the mapping";
        assert_eq!(fault.text, expected);
        assert!(fault.line.is_some());
        assert_eq!(stack_of(&resources.replace("31", "30")).event_sources.len(), 1);
    }

    #[test]
    fn a_wrong_mapping_is_told() {
        let check = |properties: &str, text: &str| {
            assert_eq!(stack_fault_of(&with_mapping(properties)).text, text);
        };
        check(
            "{FunctionName: !Ref F, EventSourceArn: !GetAtt Still.StreamArn, StartingPosition: LATEST}",
            "`EventSourceArn` of `M` names a stream of `Still`, which has no `StreamSpecification`",
        );
        check(
            "{FunctionName: !Ref F, EventSourceArn: !GetAtt Table.StreamArn}",
            "`StartingPosition` of `M` is missing",
        );
        check(
            "{FunctionName: !Ref F, EventSourceArn: !GetAtt Queue.Arn, BatchSize: 0}",
            "`BatchSize` of `M` must be a whole number from 1 to 10000, not `0`",
        );
    }

    #[test]
    fn what_becomes_of_asynchronous_events_is_read_in_both_ways() {
        let stack = stack_of(
            "  Dead: {Type: AWS::SQS::Queue}
  F:
    Type: AWS::Serverless::Function
    Properties:
      EventInvokeConfig:
        MaximumRetryAttempts: 1
        DestinationConfig: {OnFailure: {Type: SQS, Destination: !GetAtt Dead.Arn}}
  G: {Type: AWS::Lambda::Function, Properties: {Code: .}}
  Config:
    Type: AWS::Lambda::EventInvokeConfig
    Properties: {FunctionName: !Ref G, Qualifier: $LATEST, MaximumRetryAttempts: 0, MaximumEventAgeInSeconds: 60}
",
        );
        let sam = &stack.functions["F"].asynchronous;
        assert_eq!((sam.maximum_retries, sam.maximum_age), (1, 21_600));
        assert_eq!(sam.on_failure, Some(named("arn:aws:sqs:us-east-1:123456789012:<SQS::Queue Dead>")));
        let plain = &stack.functions["G"].asynchronous;
        assert_eq!((plain.maximum_retries, plain.maximum_age, &plain.on_failure), (0, 60, &None));
    }
}
