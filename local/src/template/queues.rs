//! SQS queues.

use indexmap::IndexMap;

use super::{Fault, evaluate::Scope, properties::Properties, resources::Resource};
use crate::sqs::attributes;
use crate::stack::{Note, Queue, QueueSettings};

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

/// Reads all queues, by logical id.
pub(super) fn read(scope: &Scope, notes: &mut Vec<Note>) -> Result<IndexMap<String, Queue>, Fault> {
    let found = scope.resources_of(&["AWS::SQS::Queue"]).map(|found| {
        let (logical_id, resource) = found?;
        Ok((logical_id.to_owned(), queue(scope, logical_id, resource)?))
    });
    let queues: IndexMap<String, Queue> = found.collect::<Result<_, Fault>>()?;
    for (logical_id, queue) in &queues {
        let Some(redrive) = &queue.settings.redrive else { continue };
        if !queues.values().any(|other| other.arn == redrive.dead_letter_queue) {
            let line = scope.resources.get(logical_id).map_or(1, |resource| resource.line);
            let text = format!(
                "`{logical_id}`: its dead-letter queue `{}` is not in this template, so nothing is moved there",
                redrive.dead_letter_queue
            );
            notes.push(Note { line, text });
        }
    }
    Ok(queues)
}

fn queue(scope: &Scope, logical_id: &str, resource: &Resource) -> Result<Queue, Fault> {
    let properties = Properties::of(scope, logical_id, resource);
    let mut settings = QueueSettings::default();
    let mut set = |key: &str, value: &str| {
        attributes::set(&mut settings, key, value).map_err(|words| properties.fault(key, words))
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
    use super::super::testing::{stack_fault_of, stack_of};
    use super::*;
    use crate::stack::Redrive;

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
        assert_eq!(stack.queues["Orders"].name, "Orders");
        assert_eq!(stack.queues["Dead"].arn, dead_letter_queue);
        assert_eq!(stack.queues["Dead"].settings.retention, 1_209_600);
        assert_eq!(stack.notes, []);
    }

    #[test]
    fn a_fifo_queue_is_named_as_one() {
        let stack = stack_of("  Q: {Type: AWS::SQS::Queue, Properties: {FifoQueue: true}}\n");
        assert_eq!(stack.queues["Q"].name, "Q.fifo");
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
