//! One resource of a template.

use std::rc::Rc;

use indexmap::IndexMap;

use super::node::Node;

/// One resource, not evaluated yet.
#[derive(Debug, Clone)]
pub(super) struct Resource {
    /// `Type`, for example `AWS::DynamoDB::Table`.
    pub(super) kind: String,
    pub(super) line: usize,
    /// The name of the condition that it is created under.
    pub(super) condition: Option<String>,
    /// A mapping.
    pub(super) properties: Rc<Node>,
    pub(super) metadata: Option<Rc<Node>>,
    /// The logical id of the SAM resource that stands for it, if it does not stand in the template itself.
    pub(super) made_for: Option<String>,
}

impl Resource {
    pub(super) fn is_nested_stack(&self) -> bool {
        NESTED.contains(&self.kind.as_str())
    }
}

/// The kinds of nested stacks.
pub(super) const NESTED: [&str; 2] = ["AWS::Serverless::Application", "AWS::CloudFormation::Stack"];

pub(super) type Resources = IndexMap<String, Resource>;
