//! Rules and buses of EventBridge.
//!
//! SAM's events of the types `EventBridgeRule`, `CloudWatchEvent` and `Schedule` have become such rules already (`sam`).

use indexmap::IndexMap;

use super::{Fault, evaluate::Scope, functions::find, properties::Properties, resource::Resource};
use tidings_local_stack::{
    DEFAULT_BUS, Destination, EventBus, Function, Input, Note, Queue, Rule, RuleTarget, Schedule, Topic, filter,
};

/// Who can be a target.
pub(super) struct Reachable<'a> {
    pub(super) functions: &'a IndexMap<String, Function>,
    pub(super) queues: &'a IndexMap<String, Queue>,
    pub(super) topics: &'a IndexMap<String, Topic>,
}

/// Reads all buses of a template, by path.
pub(super) fn read_buses(scope: &Scope) -> Result<IndexMap<String, EventBus>, Fault> {
    let found = scope.resources_of(&["AWS::Events::EventBus"]).map(|found| {
        let (logical_id, resource) = found?;
        let bus = EventBus { name: scope.name_of(logical_id, resource)?, arn: scope.arn_of(logical_id, resource)? };
        Ok((scope.place.path_of(logical_id), bus))
    });
    found.collect()
}

/// Reads all enabled rules of a template, by path; what of them does nothing here is noted.
pub(super) fn read(
    scope: &Scope,
    reachable: &Reachable<'_>,
    notes: &mut Vec<Note>,
) -> Result<IndexMap<String, Rule>, Fault> {
    let mut rules = IndexMap::new();
    for found in scope.resources_of(&["AWS::Events::Rule"]) {
        let (logical_id, resource) = found?;
        let properties = Properties::of(scope, logical_id, resource);
        if !is_enabled(&properties)? {
            notes.push(Note::new(resource.line, format!("`{logical_id}` is disabled, so it does nothing")));
            continue;
        }
        let rule = rule(&properties, resource, reachable, notes)?;
        rules.insert(scope.place.path_of(logical_id), rule);
    }
    Ok(rules)
}

fn is_enabled(properties: &Properties<'_>) -> Result<bool, Fault> {
    match properties.text("State")?.as_deref() {
        None | Some("ENABLED" | "ENABLED_WITH_ALL_CLOUDTRAIL_MANAGEMENT_EVENTS") => Ok(true),
        Some("DISABLED") => Ok(false),
        Some(other) => Err(properties.fault("State", format!("must be `ENABLED` or `DISABLED`, not `{other}`"))),
    }
}

fn rule(
    properties: &Properties<'_>,
    resource: &Resource,
    reachable: &Reachable<'_>,
    notes: &mut Vec<Note>,
) -> Result<Rule, Fault> {
    let (scope, logical_id) = (properties.scope(), properties.logical_id());
    let pattern = pattern(properties)?;
    let schedule = schedule(properties)?;
    if pattern.is_none() && schedule.is_none() {
        return Err(scope.located(Fault::at(
            resource.line,
            format!("the rule `{logical_id}` needs an `EventPattern` or a `ScheduleExpression`"),
        )));
    }
    let bus = bus(properties)?;
    if schedule.is_some() && bus != DEFAULT_BUS {
        return Err(properties.fault("ScheduleExpression", "needs the bus `default`: no other has schedules"));
    }
    let mut targets = Vec::new();
    for target in properties.each("Targets")? {
        targets.extend(self::target(&target, reachable, notes)?);
    }
    Ok(Rule {
        id: scope.place.path_of(logical_id),
        name: scope.name_of(logical_id, resource)?,
        arn: scope.arn_of(logical_id, resource)?,
        bus,
        pattern,
        schedule,
        targets,
    })
}

fn bus(properties: &Properties<'_>) -> Result<String, Fault> {
    let given = properties.text("EventBusName")?.filter(|given| !given.is_empty());
    let given = given.unwrap_or_else(|| DEFAULT_BUS.to_owned());
    Ok(given.split_once(":event-bus/").map_or(given.as_str(), |(_, name)| name).to_owned())
}

fn pattern(properties: &Properties<'_>) -> Result<Option<serde_json::Value>, Fault> {
    let Some(node) = properties.value("EventPattern")? else { return Ok(None) };
    let pattern = match node.as_text() {
        Some(text) => serde_json::from_str(text)
            .map_err(|error| properties.fault("EventPattern", format!("must be a pattern in JSON: {error}")))?,
        None => node.to_json(),
    };
    match filter::check(&pattern) {
        Ok(()) => Ok(Some(pattern)),
        Err(reason) => Err(properties.fault("EventPattern", format!("is no pattern of EventBridge: {reason}"))),
    }
}

fn schedule(properties: &Properties<'_>) -> Result<Option<Schedule>, Fault> {
    let Some(text) = properties.text("ScheduleExpression")? else { return Ok(None) };
    Schedule::parse(&text).map(Some).map_err(|words| properties.fault("ScheduleExpression", words))
}

/// A target that is reached here; another one is noted.
fn target(
    properties: &Properties<'_>,
    reachable: &Reachable<'_>,
    notes: &mut Vec<Note>,
) -> Result<Option<RuleTarget>, Fault> {
    let arn = properties.required_text("Arn")?;
    let id = properties.required_text("Id")?;
    let Some(destination) = destination(properties, &arn, reachable)? else {
        let logical_id = properties.logical_id();
        let text = format!(
            "`{logical_id}`: its target `{id}` is not emulated: `{arn}` is no function, queue or topic of this template"
        );
        notes.push(Note::new(properties.line_of("Arn"), text));
        return Ok(None);
    };
    Ok(Some(RuleTarget { id, destination, input: input(properties)? }))
}

fn destination(
    properties: &Properties<'_>,
    arn: &str,
    reachable: &Reachable<'_>,
) -> Result<Option<Destination>, Fault> {
    if let Some(function) = find(reachable.functions, arn) {
        return Ok(Some(Destination::Function { id: function.to_owned() }));
    }
    if let Some(queue) = reachable.queues.values().find(|queue| queue.arn == arn) {
        let parameters = properties.inside("SqsParameters")?;
        let group = parameters.map(|parameters| parameters.text("MessageGroupId")).transpose()?.flatten();
        return Ok(Some(Destination::Queue { name: queue.name.clone(), arn: arn.to_owned(), group }));
    }
    let topic = reachable.topics.values().find(|topic| topic.arn == arn);
    Ok(topic.map(|topic| Destination::Topic { name: topic.name.clone(), arn: arn.to_owned() }))
}

fn input(properties: &Properties<'_>) -> Result<Input, Fault> {
    let given = ["Input", "InputPath", "InputTransformer"].iter().filter(|key| properties.has(key)).count();
    if given > 1 {
        return Err(
            properties.fault("Input", "stands beside another: one of `Input`, `InputPath` and `InputTransformer`")
        );
    }
    if let Some(text) = properties.text("Input")? {
        return match serde_json::from_str::<serde_json::Value>(&text) {
            Ok(_) => Ok(Input::Text(text)),
            Err(error) => Err(properties.fault("Input", format!("must be JSON: {error}"))),
        };
    }
    if let Some(path) = properties.text("InputPath")? {
        return match path.starts_with('$') {
            true => Ok(Input::Path(path)),
            false => {
                Err(properties.fault("InputPath", format!("must begin with `$`, as `$.detail` does, not `{path}`")))
            }
        };
    }
    let Some(transformer) = properties.inside("InputTransformer")? else { return Ok(Input::Event) };
    let paths = transformer.inside("InputPathsMap")?.map(|paths| paths.all_texts()).transpose()?.unwrap_or_default();
    Ok(Input::Template { paths, template: transformer.required_text("InputTemplate")? })
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::super::testing::{named, stack_fault_of, stack_of};
    use super::*;
    use tidings_local_stack::Stack;

    const AROUND: &str = "
  F: {Type: AWS::Serverless::Function}
  Queue: {Type: AWS::SQS::Queue}
  Bus: {Type: AWS::Events::EventBus, Properties: {Name: shop}}
";

    fn with_rule(properties: &str) -> String {
        format!("{AROUND}  R: {{Type: AWS::Events::Rule, Properties: {properties}}}\n")
    }

    fn with_event(event: &str) -> String {
        format!(
            "{AROUND}  G:\n    Type: AWS::Serverless::Function\n    Properties:\n      Events:\n        E: {event}\n"
        )
    }

    fn notes(stack: &Stack) -> Vec<&str> {
        stack.notes.iter().map(|note| note.text.as_str()).collect()
    }

    fn function(id: &str) -> Destination {
        Destination::Function { id: id.to_owned() }
    }

    #[test]
    fn a_rule_is_read_with_its_pattern_and_targets() {
        let stack = stack_of(&with_rule(
            "{EventBusName: !Ref Bus, EventPattern: {source: [tidings], detail: {n: [{numeric: ['>', 5]}], a: \
             [{exists: false}]}}, Targets: [{Id: f, Arn: !GetAtt F.Arn, InputPath: $.detail}, {Id: q, Arn: !GetAtt \
             Queue.Arn, SqsParameters: {MessageGroupId: g}}]}",
        ));
        let rule = &stack.rules["R"];
        assert_eq!((rule.name.clone(), rule.bus.as_str(), &rule.schedule), (named("<Events::Rule R>"), "shop", &None));
        let pattern =
            json!({"source": ["tidings"], "detail": {"n": [{"numeric": [">", 5]}], "a": [{"exists": false}]}});
        assert_eq!(rule.pattern, Some(pattern));
        let arn = named("arn:aws:sqs:us-east-1:123456789012:<SQS::Queue Queue>");
        let queue = Destination::Queue { name: named("<SQS::Queue Queue>"), arn, group: Some("g".to_owned()) };
        let targets = [
            RuleTarget { id: "f".to_owned(), destination: function("F"), input: Input::Path("$.detail".to_owned()) },
            RuleTarget { id: "q".to_owned(), destination: queue, input: Input::Event },
        ];
        assert_eq!(rule.targets, targets);
        assert_eq!(stack.event_buses["Bus"].arn, "arn:aws:events:us-east-1:123456789012:event-bus/shop");
        assert_eq!(notes(&stack), [""; 0]);
    }

    #[test]
    fn an_input_is_a_constant_or_a_template() {
        let read = |input: &str| {
            let rule = format!("{{EventPattern: {{source: [a]}}, Targets: [{{Id: f, Arn: !GetAtt F.Arn, {input}}}]}}");
            stack_of(&with_rule(&rule)).rules["R"].targets[0].input.clone()
        };
        assert_eq!(read("Input: '{\"a\":1}'"), Input::Text(r#"{"a":1}"#.to_owned()));
        let paths = [("n".to_owned(), "$.detail.n".to_owned())].into_iter().collect();
        assert_eq!(
            read("InputTransformer: {InputPathsMap: {n: $.detail.n}, InputTemplate: '\"<n>\"'}"),
            Input::Template { paths, template: "\"<n>\"".to_owned() }
        );
    }

    #[test]
    fn events_of_sam_are_rules_with_sams_logical_ids() {
        for kind in ["EventBridgeRule", "CloudWatchEvent"] {
            let stack = stack_of(&with_event(&format!(
                "{{Type: {kind}, Properties: {{EventBusName: shop, Pattern: {{source: [a]}}, Input: '1'}}}}"
            )));
            let rule = &stack.rules["GE"];
            assert_eq!((rule.bus.as_str(), &rule.pattern), ("shop", &Some(json!({"source": ["a"]}))), "{kind}");
            let input = Input::Text("1".to_owned());
            let target = RuleTarget { id: "GELambdaTarget".to_owned(), destination: function("G"), input };
            assert_eq!(rule.targets, [target], "{kind}");
            assert_eq!(notes(&stack), [""; 0]);
        }
        let stack = stack_of(&with_event("{Type: Schedule, Properties: {Schedule: rate(2 hours), Name: tick}}"));
        let rule = &stack.rules["GE"];
        assert_eq!((rule.name.as_str(), &rule.schedule), ("tick", &Some(Schedule::parse("rate(2 hours)").unwrap())));
        let stack = stack_of(&with_event("{Type: Schedule, Properties: {Schedule: cron(0 18 ? * MON-FRI *)}}"));
        assert_eq!(stack.rules["GE"].schedule, Some(Schedule::parse("cron(0 18 ? * MON-FRI *)").unwrap()));
        assert_eq!(notes(&stack), [""; 0]);
        let stack = stack_of(&with_event("{Type: Schedule, Properties: {Schedule: rate(2 hours), Enabled: false}}"));
        assert_eq!((stack.rules.len(), notes(&stack)), (0, vec!["`GE` is disabled, so it does nothing"]));
    }

    #[test]
    fn what_does_nothing_here_is_noted() {
        let check = |properties: &str, note: &str| assert_eq!(notes(&stack_of(&with_rule(properties))), [note]);
        check("{State: DISABLED, EventPattern: {source: [a]}}", "`R` is disabled, so it does nothing");
        check(
            "{EventPattern: {source: [a]}, Targets: [{Id: t, Arn: 'arn:aws:sns:a:b:c'}]}",
            "`R`: its target `t` is not emulated: `arn:aws:sns:a:b:c` is no function, queue or topic of this template",
        );
    }

    #[test]
    fn a_wrong_rule_is_told_with_its_line() {
        let line = AROUND.lines().count() + 1;
        let check = |properties: &str, text: &str| {
            let fault = stack_fault_of(&with_rule(properties));
            assert_eq!(fault.text, text);
            assert!(fault.line.is_some_and(|found| found >= line), "{properties}");
        };
        check("{}", "the rule `R` needs an `EventPattern` or a `ScheduleExpression`");
        check("{State: on, EventPattern: {source: [a]}}", "`State` of `R` must be `ENABLED` or `DISABLED`, not `on`");
        check(
            "{EventPattern: {source: tidings}}",
            "`EventPattern` of `R` is no pattern of EventBridge: `\"tidings\"` stands where a list must",
        );
        check(
            "{ScheduleExpression: rate(1 minutes)}",
            "`ScheduleExpression` of `R` must be as `rate(1 minute)`, `rate(5 hours)` or `cron(0 12 * * ? *)`, not `rate(1 \
             minutes)`",
        );
        check(
            "{ScheduleExpression: cron(0 12 * * * *)}",
            "`ScheduleExpression` of `R` is `cron(0 12 * * * *)`: one of day-of-month and day-of-week must be `?`, as in `0 12 * \
             * ? *`",
        );
        check(
            "{EventBusName: shop, ScheduleExpression: rate(1 minute)}",
            "`ScheduleExpression` of `R` needs the bus `default`: no other has schedules",
        );
        let target =
            |rest: &str| format!("{{EventPattern: {{source: [a]}}, Targets: [{{Id: f, Arn: !GetAtt F.Arn, {rest}}}]}}");
        check(&target("InputPath: detail"), "`InputPath` of `R` must begin with `$`, as `$.detail` does, not `detail`");
        check(&target("InputTransformer: {}"), "`InputTemplate` of `R` is missing");
        let both = "`Input` of `R` stands beside another: one of `Input`, `InputPath` and `InputTransformer`";
        check(&target("Input: '1', InputPath: $"), both);
    }
}
