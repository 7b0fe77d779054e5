//! The toolkit's part of what is deployed under a name: that stack itself, or the one that an application nests.
//!
//! A stack is one of the toolkit when it has the API that clients connect to and the function that notifies, under the ids that
//! they have in the template. Outputs do not tell: an application may pass them on, under names of its own.

use std::collections::VecDeque;

use aws_sdk_cloudformation::Client;
use aws_sdk_cloudformation::types::{ResourceStatus, Stack, StackResourceSummary};

use super::Failure;
use super::account::Account;

/// The type of a nested stack.
const STACK: &str = "AWS::CloudFormation::Stack";
/// What only a stack of the toolkit has.
const MARKS: [(&str, &str); 2] =
    [("WebSocketApi", "AWS::ApiGatewayV2::Api"), ("NotifierFunction", "AWS::Lambda::Function")];

/// A stack with its resources.
#[derive(Debug, Clone)]
pub(super) struct Layer {
    /// The logical ids that lead to it from the stack that was named, each with a slash behind it.
    pub(super) path: String,
    /// What CloudFormation says of it.
    pub(super) stack: Stack,
    /// What is in it, and not what was deleted.
    pub(super) resources: Vec<StackResourceSummary>,
}

/// The toolkit's stack, and those around it.
#[derive(Debug)]
pub(super) struct Deployment {
    /// The stacks that nest it, the outermost first.
    pub(super) around: Vec<Layer>,
    /// The toolkit's.
    pub(super) own: Layer,
}

/// Why there is no such stack.
#[derive(Debug, thiserror::Error)]
pub(super) enum NoDeployment {
    /// CloudFormation does not tell.
    #[error("the stack {name} cannot be read")]
    Unreadable {
        /// The name or ARN.
        name: String,
        /// What CloudFormation says.
        #[source]
        source: Box<dyn std::error::Error + Send + Sync>,
    },
    /// It is none of ours and nests none.
    #[error(
        "the stack {name} is not the toolkit's and nests none that is: there is no WebSocketApi with a NotifierFunction in it"
    )]
    Foreign {
        /// The name that was given.
        name: String,
        /// The stack.
        layer: Box<Layer>,
    },
    /// It nests several.
    #[error("the stack {name} nests {} of the toolkit's stacks; say which: --stack {}", paths.len(), paths.join(" or --stack "))]
    Several {
        /// The name that was given.
        name: String,
        /// What to give instead.
        paths: Vec<String>,
    },
    /// A part of the path is wrong.
    #[error("the stack {name} nests no stack {id}; those that it nests: {there}")]
    NoSuchPart {
        /// The stack that should nest it.
        name: String,
        /// What it should nest.
        id: String,
        /// What it does nest.
        there: String,
    },
}

/// What to do about a stack that cannot be read.
pub(super) const UNREADABLE: &str = "check name, region and profile, and that you may read it";

impl From<NoDeployment> for Failure {
    fn from(error: NoDeployment) -> Self {
        let fix =
            if matches!(error, NoDeployment::Unreadable { .. }) { format!("; {UNREADABLE}") } else { String::new() };
        Self(format!("{}{fix}", tidings::describe(&error)))
    }
}

impl Deployment {
    /// The toolkit's stack of a name, `STACK` or `STACK/ID`.
    pub(super) async fn find(account: Account<'_>, name: &str) -> Result<Self, NoDeployment> {
        let client = Client::new(&account.config().await);
        // The slashes of an ARN belong to it.
        let (name, path) = match name.split_once('/') {
            Some((name, path)) if !name.starts_with("arn:") => (name, path),
            _ => (name, ""),
        };
        let mut around = vec![Layer::read(&client, name, String::new()).await?];
        for id in path.split('/').filter(|id| !id.is_empty()) {
            let next = around[around.len() - 1].part(&client, name, id).await?;
            around.push(next);
        }
        let last = around[around.len() - 1].clone();
        let mut found = search(&client, around).await?;
        match found.len() {
            0 => Err(NoDeployment::Foreign { name: name.to_owned(), layer: Box::new(last) }),
            1 => Ok(found.remove(0)),
            _ => {
                let path = |one: &Self| format!("{name}/{}", one.own.path.trim_end_matches('/'));
                Err(NoDeployment::Several { name: name.to_owned(), paths: found.iter().map(path).collect() })
            }
        }
    }

    /// The physical id of a resource of the toolkit.
    pub(super) fn id(&self, logical: &str) -> Option<&str> {
        let resource = self.own.resources.iter().find(|resource| resource.logical_resource_id() == Some(logical));
        resource.and_then(StackResourceSummary::physical_resource_id)
    }

    /// What the toolkit's stack puts out.
    pub(super) fn output(&self, name: &str) -> Option<&str> {
        self.own.output(name)
    }

    /// The physical id of a resource that a command needs.
    pub(super) fn needed_id(&self, logical: &str) -> Result<&str, Failure> {
        self.id(logical).ok_or_else(|| self.lacks(logical))
    }

    /// An output that a command needs.
    pub(super) fn needed_output(&self, name: &str) -> Result<&str, Failure> {
        self.output(name).ok_or_else(|| self.lacks(&format!("output {name}")))
    }

    fn lacks(&self, what: &str) -> Failure {
        let stack = self.own.stack.stack_name().unwrap_or_default();
        Failure(format!("the stack {stack} has no {what}; `tidings doctor --stack {stack}` says more"))
    }
}

/// Looks into all that the last of these nests, level by level.
async fn search(client: &Client, around: Vec<Layer>) -> Result<Vec<Deployment>, NoDeployment> {
    let mut found = Vec::new();
    let mut open = VecDeque::from([around]);
    while let Some(mut layers) = open.pop_front() {
        let Some(last) = layers.pop() else { continue };
        if last.is_own() {
            found.push(Deployment { around: layers, own: last });
            continue;
        }
        for (id, arn) in last.parts() {
            let part = Layer::read(client, arn, format!("{}{id}/", last.path)).await?;
            open.push_back(layers.iter().chain([&last, &part]).cloned().collect());
        }
    }
    Ok(found)
}

impl Layer {
    /// Reads a stack by its name or ARN.
    pub(super) async fn read(client: &Client, name: &str, path: String) -> Result<Self, NoDeployment> {
        let unreadable = |source| NoDeployment::Unreadable { name: name.to_owned(), source };
        let answer = client.describe_stacks().stack_name(name).send().await;
        let answer = answer.map_err(|error| unreadable(Box::new(error)))?;
        let stack = answer.stacks.unwrap_or_default().into_iter().next();
        let stack = stack.ok_or_else(|| unreadable("there is none".into()))?;
        let resources = resources(client, name).await.map_err(unreadable)?;
        Ok(Self { path, stack, resources })
    }

    /// A value that the stack puts out.
    pub(super) fn output(&self, name: &str) -> Option<&str> {
        let output = self.stack.outputs().iter().find(|output| output.output_key() == Some(name));
        output.and_then(|output| output.output_value())
    }

    fn is_own(&self) -> bool {
        MARKS.iter().all(|(id, kind)| {
            let is_it = |resource: &StackResourceSummary| {
                resource.logical_resource_id() == Some(id) && resource.resource_type() == Some(kind)
            };
            self.resources.iter().any(is_it)
        })
    }

    /// The stacks that it nests: their logical ids and ARNs.
    fn parts(&self) -> impl Iterator<Item = (&str, &str)> {
        let nested = self.resources.iter().filter(|resource| resource.resource_type() == Some(STACK));
        nested.filter_map(|resource| resource.logical_resource_id().zip(resource.physical_resource_id()))
    }

    /// The stack that it nests under a logical id.
    async fn part(&self, client: &Client, name: &str, id: &str) -> Result<Self, NoDeployment> {
        let Some((_, arn)) = self.parts().find(|(there, _)| *there == id) else {
            let there: Vec<_> = self.parts().map(|(id, _)| id).collect();
            let there = if there.is_empty() { "none".to_owned() } else { there.join(", ") };
            let name = format!("{name}/{}", self.path).trim_end_matches('/').to_owned();
            return Err(NoDeployment::NoSuchPart { name, id: id.to_owned(), there });
        };
        Self::read(client, arn, format!("{}{id}/", self.path)).await
    }
}

async fn resources(
    client: &Client,
    name: &str,
) -> Result<Vec<StackResourceSummary>, Box<dyn std::error::Error + Send + Sync>> {
    let (mut resources, mut next) = (Vec::new(), None);
    loop {
        let answer = client.list_stack_resources().stack_name(name).set_next_token(next).send().await?;
        resources.extend(answer.stack_resource_summaries.unwrap_or_default());
        next = answer.next_token;
        if next.is_none() {
            resources.retain(|resource| resource.resource_status() != Some(&ResourceStatus::DeleteComplete));
            return Ok(resources);
        }
    }
}
