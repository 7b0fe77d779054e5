//! Topics of SNS and who is subscribed to them: resources of their own, and subscriptions that stand in a topic.

use indexmap::IndexMap;

use super::{
    Fault, evaluate::Scope, event_rules::Reachable, functions::find, properties::Properties, resource::Resource,
};
use tidings_local_stack::{FilterPolicy, FilterScope, Note, Subscriber, Subscription, Topic};

/// Reads all topics of a template, by path.
pub(super) fn read(scope: &Scope) -> Result<IndexMap<String, Topic>, Fault> {
    let found = scope.resources_of(&["AWS::SNS::Topic"]).map(|found| {
        let (logical_id, resource) = found?;
        Ok((scope.place.path_of(logical_id), topic(scope, logical_id, resource)?))
    });
    found.collect()
}

fn topic(scope: &Scope, logical_id: &str, resource: &Resource) -> Result<Topic, Fault> {
    let properties = Properties::of(scope, logical_id, resource);
    let (name, fifo) = (scope.name_of(logical_id, resource)?, properties.flag("FifoTopic")?);
    if fifo != name.ends_with(".fifo") {
        return Err(properties.fault("TopicName", "must end with `.fifo` exactly where `FifoTopic` is true"));
    }
    let content_based_deduplication = properties.flag("ContentBasedDeduplication")?;
    if content_based_deduplication && !fifo {
        return Err(properties.fault("ContentBasedDeduplication", "needs `FifoTopic: true`"));
    }
    Ok(Topic { name, arn: scope.arn_of(logical_id, resource)?, fifo, content_based_deduplication })
}

/// Reads all subscriptions of a template, by path; of those that nobody gets here is noted that they do nothing.
pub(super) fn read_subscriptions(
    scope: &Scope,
    topics: &IndexMap<String, Topic>,
    reachable: &Reachable<'_>,
    notes: &mut Vec<Note>,
) -> Result<IndexMap<String, Subscription>, Fault> {
    let mut subscriptions = IndexMap::new();
    for found in scope.resources_of(&["AWS::SNS::Topic"]) {
        let (logical_id, resource) = found?;
        let arn = scope.arn_of(logical_id, resource)?;
        for (index, inside) in Properties::of(scope, logical_id, resource).each("Subscription")?.iter().enumerate() {
            let id = format!("{}/{}", scope.place.path_of(logical_id), index + 1);
            let read = subscription(inside, id.clone(), &arn, reachable, notes)?;
            subscriptions.extend(read.map(|subscription| (id, subscription)));
        }
    }
    for found in scope.resources_of(&["AWS::SNS::Subscription"]) {
        let (logical_id, resource) = found?;
        let properties = Properties::of(scope, logical_id, resource);
        let arn = known(&properties, "TopicArn")?;
        let Some(arn) = arn.clone().filter(|arn| topics.values().any(|topic| topic.arn == *arn)) else {
            let arn = arn.as_deref().unwrap_or("what only AWS knows");
            let text = format!("`{logical_id}`: `{arn}` is no topic of this template, so nothing comes");
            notes.push(Note::new(properties.line_of("TopicArn"), text));
            continue;
        };
        let id = scope.place.path_of(logical_id);
        let read = subscription(&properties, id.clone(), &arn, reachable, notes)?;
        subscriptions.extend(read.map(|subscription| (id, subscription)));
    }
    Ok(subscriptions)
}

fn subscription(
    properties: &Properties<'_>,
    id: String,
    topic: &str,
    reachable: &Reachable<'_>,
    notes: &mut Vec<Note>,
) -> Result<Option<Subscription>, Fault> {
    let filter = filter(properties)?;
    let raw = properties.flag("RawMessageDelivery")?;
    let Some(subscriber) = subscriber(properties, reachable, notes)? else { return Ok(None) };
    let logical_id = properties.logical_id();
    if raw && matches!(subscriber, Subscriber::Function { .. }) {
        return Err(properties.fault("RawMessageDelivery", "is for queues: remove it, a function gets the envelope"));
    }
    if topic.ends_with(".fifo") && matches!(subscriber, Subscriber::Function { .. }) {
        return Err(
            properties.fault("Endpoint", "is a function, and a FIFO topic has only queues: put a queue before it")
        );
    }
    if !topic.ends_with(".fifo") && matches!(&subscriber, Subscriber::Queue { name, .. } if name.ends_with(".fifo")) {
        return Err(properties.fault("Endpoint", "is a FIFO queue, which needs a topic with `FifoTopic: true`"));
    }
    if properties.has("RedrivePolicy") {
        let text = format!(
            "`RedrivePolicy` of `{logical_id}` is not emulated; a function's failures go to its `OnFailure` queue"
        );
        notes.push(Note::new(properties.line_of("RedrivePolicy"), text));
    }
    Ok(Some(Subscription { id, topic: topic.to_owned(), subscriber, raw, filter }))
}

/// A subscriber that is reached here; another one is noted.
fn subscriber(
    properties: &Properties<'_>,
    reachable: &Reachable<'_>,
    notes: &mut Vec<Note>,
) -> Result<Option<Subscriber>, Fault> {
    let protocol = properties.required_text("Protocol")?;
    let kind = match protocol.as_str() {
        "lambda" => "function",
        "sqs" => "queue",
        other => {
            let text = format!(
                "`{}`: subscribers by `{other}` are not emulated, so nothing goes there",
                properties.logical_id()
            );
            notes.push(Note::new(properties.line_of("Protocol"), text));
            return Ok(None);
        }
    };
    let endpoint = known(properties, "Endpoint")?.unwrap_or_else(|| "what only AWS knows".to_owned());
    let queue = || reachable.queues.values().find(|queue| queue.arn == endpoint);
    let found = match kind {
        "function" => find(reachable.functions, &endpoint).map(|id| Subscriber::Function { id: id.to_owned() }),
        _ => queue().map(|queue| Subscriber::Queue { name: queue.name.clone(), arn: endpoint.clone() }),
    };
    if found.is_none() {
        let logical_id = properties.logical_id();
        let text = format!("`{logical_id}`: `{endpoint}` is no {kind} of this template, so nothing goes there");
        notes.push(Note::new(properties.line_of("Endpoint"), text));
    }
    Ok(found)
}

/// A text that has to be there, and that perhaps only AWS knows, as one that is imported.
fn known(properties: &Properties<'_>, key: &str) -> Result<Option<String>, Fault> {
    match properties.required_text(key) {
        Err(fault) if fault.is_elsewhere => Ok(None),
        text => text.map(Some),
    }
}

fn filter(properties: &Properties<'_>) -> Result<Option<FilterPolicy>, Fault> {
    let scope = match properties.text("FilterPolicyScope")?.as_deref() {
        None | Some("MessageAttributes") => FilterScope::Attributes,
        Some("MessageBody") => FilterScope::Body,
        Some(other) => {
            let words = format!("must be `MessageAttributes` or `MessageBody`, not `{other}`");
            return Err(properties.fault("FilterPolicyScope", words));
        }
    };
    let Some(node) = properties.value("FilterPolicy")? else { return Ok(None) };
    let pattern = match node.as_text() {
        Some(text) => serde_json::from_str(text)
            .map_err(|error| properties.fault("FilterPolicy", format!("must be a policy in JSON: {error}")))?,
        None => node.to_json(),
    };
    // An empty one is how a policy is taken away.
    if pattern.as_object().is_some_and(serde_json::Map::is_empty) {
        return Ok(None);
    }
    let policy = FilterPolicy::new(scope, pattern);
    policy.map(Some).map_err(|why| properties.fault("FilterPolicy", format!("is no filter policy of SNS: {why}")))
}

#[cfg(test)]
mod tests {
    use serde_json::{Map, json};

    use super::super::testing::{named, stack_fault_of, stack_of};
    use super::*;

    const AROUND: &str = "
  F: {Type: AWS::Serverless::Function}
  Queue: {Type: AWS::SQS::Queue}
  Ordered: {Type: AWS::SQS::Queue, Properties: {FifoQueue: true}}
  News: {Type: AWS::SNS::Topic, Properties: {TopicName: news}}
  Line: {Type: AWS::SNS::Topic, Properties: {FifoTopic: true, ContentBasedDeduplication: true}}
";

    fn with(resources: &str) -> String {
        format!("{AROUND}{resources}\n")
    }

    fn queue() -> Subscriber {
        let name = named("<SQS::Queue Queue>");
        Subscriber::Queue { arn: format!("arn:aws:sqs:us-east-1:123456789012:{name}"), name }
    }

    const NEWS: &str = "arn:aws:sns:us-east-1:123456789012:news";

    #[test]
    fn topics_and_their_subscriptions_are_read_in_every_spelling() {
        let stack = stack_of(&with(
            "  S: {Type: AWS::SNS::Subscription, Properties: {TopicArn: !Ref News, Protocol: sqs, Endpoint: !GetAtt \
             Queue.Arn, RawMessageDelivery: true, FilterPolicyScope: MessageBody, FilterPolicy: {a: {b: [1]}}}}
  Inline: {Type: AWS::SNS::Topic, Properties: {Subscription: [{Protocol: lambda, Endpoint: !GetAtt F.Arn}]}}
  G:
    Type: AWS::Serverless::Function
    Properties: {Events: {E: {Type: SNS, Properties: {Topic: !Ref News, FilterPolicy: {kind: [a]}}}}}",
        ));
        assert_eq!(stack.topics["News"].arn, NEWS);
        assert!(stack.topics["Line"].fifo && stack.topics["Line"].content_based_deduplication);
        let own = &stack.subscriptions["S"];
        assert_eq!((own.topic.as_str(), own.raw, &own.subscriber), (NEWS, true, &queue()));
        let filter = own.filter.as_ref().unwrap();
        assert!(filter.lets_through(&Map::new(), r#"{"a":{"b":1}}"#) && !filter.lets_through(&Map::new(), "{}"));
        let inline = &stack.subscriptions["Inline/1"];
        assert_eq!(
            (&inline.topic, &inline.subscriber),
            (&stack.topics["Inline"].arn, &Subscriber::Function { id: "F".into() })
        );
        let sam = &stack.subscriptions["GE"];
        assert_eq!((sam.topic.as_str(), &sam.subscriber), (NEWS, &Subscriber::Function { id: "G".into() }));
        let attributes = |kind: &str| Map::from_iter([("kind".to_owned(), json!(kind))]);
        let filter = sam.filter.as_ref().unwrap();
        assert!(filter.lets_through(&attributes("a"), "") && !filter.lets_through(&attributes("b"), ""));
        assert_eq!(stack.notes, []);
    }

    #[test]
    fn a_subscription_of_sam_by_a_queue_has_a_queue_and_a_mapping() {
        let event = "{E: {Type: SNS, Properties: {Topic: !Ref News, SqsSubscription: SQS}}}";
        let function = |given: &str| {
            let events = event.replace("SQS}", &format!("{given}}}"));
            with(&format!("  G: {{Type: AWS::Serverless::Function, Properties: {{Events: {events}}}}}"))
        };
        let stack = stack_of(&function("true"));
        let Subscriber::Queue { name, .. } = &stack.subscriptions["GE"].subscriber else { panic!("{stack:?}") };
        assert_eq!((name, stack.event_sources.len()), (&stack.queues["GEQueue"].name, 1));
        let stack = stack_of(&function("{QueueArn: !GetAtt Queue.Arn, QueueUrl: !Ref Queue, BatchSize: 5}"));
        assert_eq!(
            (&stack.subscriptions["GE"].subscriber, stack.event_sources["GEEventSourceMapping"].batch_size),
            (&queue(), 5)
        );
    }

    #[test]
    fn a_rule_may_have_a_topic_as_its_target() {
        let stack = stack_of(&with(
            "  R: {Type: AWS::Events::Rule, Properties: {EventPattern: {source: [a]}, Targets: [{Id: t, Arn: !Ref News}]}}",
        ));
        let expected = tidings_local_stack::Destination::Topic { name: "news".into(), arn: NEWS.into() };
        assert_eq!(stack.rules["R"].targets[0].destination, expected);
    }

    #[test]
    fn what_nobody_gets_here_is_noted_with_its_line() {
        let line = with("").lines().count();
        let check = |properties: &str, note: &str| {
            let stack = stack_of(&with(&format!("  S: {{Type: AWS::SNS::Subscription, Properties: {properties}}}")));
            let notes: Vec<_> = stack.notes.iter().map(|note| note.text.as_str()).collect();
            assert_eq!(notes, [note]);
            assert!(stack.notes[0].line >= line);
        };
        check(
            "{TopicArn: !ImportValue Theirs, Protocol: lambda, Endpoint: !GetAtt F.Arn}",
            "`S`: `what only AWS knows` is no topic of this template, so nothing comes",
        );
        check(
            "{TopicArn: !Ref News, Protocol: email, Endpoint: a@b.c}",
            "`S`: subscribers by `email` are not emulated, so nothing goes there",
        );
        check(
            "{TopicArn: !Ref News, Protocol: sqs, Endpoint: 'arn:aws:sqs:a:b:c'}",
            "`S`: `arn:aws:sqs:a:b:c` is no queue of this template, so nothing goes there",
        );
        check(
            "{TopicArn: 'arn:x', Protocol: lambda, Endpoint: !GetAtt F.Arn}",
            "`S`: `arn:x` is no topic of this template, so nothing comes",
        );
    }

    #[test]
    fn what_sns_refuses_is_told_with_its_line() {
        let line = AROUND.lines().count() + 1;
        let check = |resource: &str, text: &str| {
            let fault = stack_fault_of(&with(resource));
            assert_eq!(fault.text, text);
            assert!(fault.line.is_some_and(|found| found >= line), "{resource}");
        };
        let subscription = |rest: &str| format!("  S: {{Type: AWS::SNS::Subscription, Properties: {{{rest}}}}}");
        let to_function = "TopicArn: !Ref News, Protocol: lambda, Endpoint: !GetAtt F.Arn";
        check(
            &subscription(&format!("{to_function}, FilterPolicy: {{a: b}}")),
            "`FilterPolicy` of `S` is no filter policy of SNS: `\"b\"` stands where a list must",
        );
        check(
            &subscription(&format!("{to_function}, FilterPolicyScope: Body")),
            "`FilterPolicyScope` of `S` must be `MessageAttributes` or `MessageBody`, not `Body`",
        );
        check(
            &subscription(&format!("{to_function}, RawMessageDelivery: true")),
            "`RawMessageDelivery` of `S` is for queues: remove it, a function gets the envelope",
        );
        check(
            &subscription("TopicArn: !Ref Line, Protocol: lambda, Endpoint: !GetAtt F.Arn"),
            "`Endpoint` of `S` is a function, and a FIFO topic has only queues: put a queue before it",
        );
        check(
            &subscription("TopicArn: !Ref News, Protocol: sqs, Endpoint: !GetAtt Ordered.Arn"),
            "`Endpoint` of `S` is a FIFO queue, which needs a topic with `FifoTopic: true`",
        );
        check(
            "  T: {Type: AWS::SNS::Topic, Properties: {TopicName: a.fifo}}",
            "`TopicName` of `T` must end with `.fifo` exactly where `FifoTopic` is true",
        );
    }
}
