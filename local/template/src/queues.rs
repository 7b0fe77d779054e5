//! SQS queues.

use indexmap::IndexMap;

use super::{Fault, evaluate::Scope, properties::Properties, resource::Resource};
use tidings_local_stack::queue_attributes;
use tidings_local_stack::{Note, Queue, QueueSettings};

/// The properties that are attributes of the same name in the API.
const ATTRIBUTES: [&str; 8] = [
    "FifoQueue",
    "ContentBasedDeduplication",
    "DeduplicationScope",
    "VisibilityTimeout",
    "DelaySeconds",
    "MessageRetentionPeriod",
    "ReceiveMessageWaitTimeSeconds",
    "MaximumMessageSize",
];

/// Reads all queues of a template, by path.
pub(super) fn read(scope: &Scope) -> Result<IndexMap<String, Queue>, Fault> {
    let found = scope.resources_of(&["AWS::SQS::Queue"]).map(|found| {
        let (logical_id, resource) = found?;
        Ok((scope.place.path_of(logical_id), queue(scope, logical_id, resource)?))
    });
    found.collect()
}

/// Notes the queues of a template whose dead-letter queue is in none of the templates.
pub(super) fn note_dead_letters(
    scope: &Scope,
    queues: &IndexMap<String, Queue>,
    notes: &mut Vec<Note>,
) -> Result<(), Fault> {
    for found in scope.resources_of(&["AWS::SQS::Queue"]) {
        let (logical_id, resource) = found?;
        let queue = queues.get(&scope.place.path_of(logical_id));
        let Some(redrive) = queue.and_then(|queue| queue.settings.redrive.as_ref()) else { continue };
        if !queues.values().any(|other| other.arn == redrive.dead_letter_queue) {
            let text = format!(
                "`{logical_id}`: its dead-letter queue `{}` is not in this template, so nothing is moved there",
                redrive.dead_letter_queue
            );
            notes.push(Note::new(resource.line, text));
        }
    }
    Ok(())
}

fn queue(scope: &Scope, logical_id: &str, resource: &Resource) -> Result<Queue, Fault> {
    let properties = Properties::of(scope, logical_id, resource);
    let mut settings = QueueSettings::default();
    let mut set = |key: &str, value: &str| {
        queue_attributes::set(&mut settings, key, value).map_err(|words| properties.fault(key, words))
    };
    for key in ATTRIBUTES {
        if let Some(value) = properties.text(key)? {
            set(key, &value)?;
        }
    }
    if let Some(policy) = properties.value("RedrivePolicy")? {
        set("RedrivePolicy", &policy.to_json().to_string())?;
    }
    let name = scope.name_of(logical_id, resource)?;
    if settings.fifo != name.ends_with(".fifo") {
        let words = "must end with `.fifo` exactly where `FifoQueue` is true";
        return Err(properties.fault("QueueName", words));
    }
    Ok(Queue { name, arn: scope.arn_of(logical_id, resource)?, settings })
}

#[cfg(test)]
mod tests {
    use super::super::testing::{named, stack_fault_of, stack_of};
    use super::*;
    use tidings_local_stack::Redrive;

    #[test]
    fn queues_are_read_with_their_redrive_policy() {
        let stack = stack_of(
            "  Orders:
    Type: AWS::SQS::Queue
    Properties:
      VisibilityTimeout: 45
      DelaySeconds: '5'
      ReceiveMessageWaitTimeSeconds: 20
      KmsMasterKeyId: alias/aws/sqs
      RedrivePolicy: {deadLetterTargetArn: !GetAtt Dead.Arn, maxReceiveCount: 5}
  Dead: {Type: AWS::SQS::Queue, Properties: {QueueName: !Sub '${AWS::StackName}-dead', MessageRetentionPeriod: 1209600}}
",
        );
        let dead_letter_queue = "arn:aws:sqs:us-east-1:123456789012:tidings-dev-dead".to_owned();
        let expected = QueueSettings {
            visibility_timeout: 45,
            delay: 5,
            receive_wait: 20,
            redrive: Some(Redrive { dead_letter_queue: dead_letter_queue.clone(), max_receive_count: 5 }),
            ..QueueSettings::default()
        };
        assert_eq!(stack.queues["Orders"].settings, expected);
        assert_eq!(stack.queues["Orders"].name, named("<SQS::Queue Orders>"));
        assert_eq!(stack.queues["Dead"].arn, dead_letter_queue);
        assert_eq!(stack.queues["Dead"].settings.retention, 1_209_600);
        assert_eq!(stack.notes, []);
    }

    #[test]
    fn a_fifo_queue_is_named_as_one() {
        let parameters = "Parameters: {Fifo: {Type: String, Default: 'true'}}\n";
        for given in ["true", "!Ref Fifo", "!If [HasIt, 'true', !Ref AWS::NoValue]"] {
            let queue = format!("  Q: {{Type: AWS::SQS::Queue, Properties: {{FifoQueue: {given}}}}}\n{parameters}");
            let stack = stack_of(&format!("{queue}Conditions: {{HasIt: !Equals [!Ref Fifo, 'true']}}\n"));
            let name = &stack.queues["Q"].name;
            assert!(name.starts_with("tidings-dev-Q-") && name.ends_with(".fifo"), "{given}: {name}");
            assert!(stack.queues["Q"].settings.fifo, "{given}");
        }
        let fault = stack_fault_of("  Q: {Type: AWS::SQS::Queue, Properties: {QueueName: a.fifo}}\n");
        assert_eq!(fault.text, "`QueueName` of `Q` must end with `.fifo` exactly where `FifoQueue` is true");
    }

    #[test]
    fn a_wrong_queue_is_told() {
        let check = |properties: &str, text: &str| {
            let fault = stack_fault_of(&format!("  Q: {{Type: AWS::SQS::Queue, Properties: {properties}}}\n"));
            assert_eq!(fault.text, text);
        };
        check(
            "{VisibilityTimeout: 43201}",
            "`VisibilityTimeout` of `Q` must be a whole number from 0 to 43200, not `43201`",
        );
        check("{RedrivePolicy: {maxReceiveCount: 1}}", "`RedrivePolicy` of `Q` needs a `deadLetterTargetArn`");
    }

    #[test]
    fn a_dead_letter_queue_elsewhere_is_noted() {
        let policy = "{deadLetterTargetArn: 'arn:aws:sqs:us-east-1:1:other', maxReceiveCount: 1}";
        let stack = stack_of(&format!("  Q: {{Type: AWS::SQS::Queue, Properties: {{RedrivePolicy: {policy}}}}}\n"));
        assert!(stack.notes[0].text.contains("is not in this template"), "{:?}", stack.notes);
    }
}
