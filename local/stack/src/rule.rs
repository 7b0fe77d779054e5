//! Rules of EventBridge: which events or times they wait for, and what they send where.

use indexmap::IndexMap;
use serde_json::Value;

use crate::schedule::Schedule;

/// The bus that every account has.
pub const DEFAULT_BUS: &str = "default";

/// A bus of the template's own.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EventBus {
    /// `Name`, or what CloudFormation would make.
    pub name: String,
    /// What `!GetAtt Bus.Arn` resolves to.
    pub arn: String,
}

/// A rule that is enabled. It waits for events or for times, or for both.
#[derive(Debug, Clone, PartialEq)]
pub struct Rule {
    /// Its logical id, by which log lines and tests name it; of a nested stack a path.
    pub id: String,
    /// `Name`, or what CloudFormation would make.
    pub name: String,
    /// Its ARN, which events of its schedule name.
    pub arn: String,
    /// The name of the bus whose events it looks at.
    pub bus: String,
    /// What an event must match; see [`filter`](crate::filter).
    pub pattern: Option<Value>,
    /// `ScheduleExpression`: when it fires by itself.
    pub schedule: Option<Schedule>,
    /// Where it sends what it waits for.
    pub targets: Vec<RuleTarget>,
}

/// A target of a rule.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RuleTarget {
    /// `Id`, unique in its rule.
    pub id: String,
    /// Who it is.
    pub destination: Destination,
    /// What it gets.
    pub input: Input,
}

/// Who gets what a rule sends.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Destination {
    /// A function of the stack, which nobody waits for.
    Function {
        /// Its logical id.
        id: String,
    },
    /// A queue of the stack.
    Queue {
        /// Its name.
        name: String,
        /// Its ARN.
        arn: String,
        /// `SqsParameters: MessageGroupId`, which a FIFO queue needs.
        group: Option<String>,
    },
    /// A topic of the stack.
    Topic {
        /// Its name.
        name: String,
        /// Its ARN.
        arn: String,
    },
}

/// What a target gets of an event.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Input {
    /// All of it.
    Event,
    /// `Input`: always this text.
    Text(String),
    /// `InputPath`: the part at a path, such as `$.detail`.
    Path(String),
    /// `InputTransformer`: a text with values of the event in it.
    Template {
        /// `InputPathsMap`: paths by the names that the template has in angle brackets.
        paths: IndexMap<String, String>,
        /// `InputTemplate`.
        template: String,
    },
}
