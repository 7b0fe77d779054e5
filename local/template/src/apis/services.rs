//! Integrations of the type `AWS`: which action of which service is called, and with what.
//!
//! Addresses are `arn:aws:apigateway:{region}:{service}:action/{operation}` or `…:{service}:path/{path}` (AWS CloudFormation
//! reference, `AWS::ApiGatewayV2::Integration`, `IntegrationUri`).

use super::super::{Fault, properties::Properties};
use super::{Parts, mapping, parameters};
use tidings_local_stack::{Note, Passthrough, Service, ServiceCall, ServiceIntegration, ServiceTarget};

/// The operations that the local services have. Those of DynamoDB are the embedded engine's.
const OPERATIONS: &[(Service, &[&str])] = &[
    (
        Service::DynamoDb,
        &[
            "BatchExecuteStatement",
            "BatchGetItem",
            "BatchWriteItem",
            "DeleteItem",
            "DescribeTable",
            "ExecuteStatement",
            "ExecuteTransaction",
            "GetItem",
            "ListTables",
            "PutItem",
            "Query",
            "Scan",
            "TransactGetItems",
            "TransactWriteItems",
            "UpdateItem",
        ],
    ),
    (Service::EventBridge, &["PutEvents", "TestEventPattern"]),
    (Service::SecretsManager, &["DescribeSecret", "GetSecretValue", "ListSecrets", "PutSecretValue"]),
    (
        Service::Sqs,
        &[
            "ChangeMessageVisibility",
            "ChangeMessageVisibilityBatch",
            "DeleteMessage",
            "DeleteMessageBatch",
            "GetQueueAttributes",
            "GetQueueUrl",
            "ListQueues",
            "PurgeQueue",
            "ReceiveMessage",
            "SendMessage",
            "SendMessageBatch",
        ],
    ),
];

impl Parts<'_> {
    /// Reads an integration, or says why it does not run here.
    pub(super) fn service_integration(
        &self,
        integration: &Properties<'_>,
        timeout_ms: u64,
        notes: &mut Vec<Note>,
    ) -> Result<Result<ServiceIntegration, String>, Fault> {
        // What is wrong with the templates is told whether or not the service runs here.
        let request = mapping::templates(integration, "RequestTemplates")?;
        let responses = mapping::responses(integration)?;
        let parameters = parameters::read(integration, notes)?;
        let passthrough = passthrough(integration)?;
        let call = match integration.has("IntegrationUri").then(|| integration.required_text("IntegrationUri")) {
            None => return Err(integration.fault("IntegrationUri", "is missing")),
            Some(Ok(uri)) => self.call(&uri),
            // What cannot be resolved is in another stack.
            Some(Err(fault)) => Err(fault.text),
        };
        let call = match call {
            Ok(call) => call,
            Err(reason) => return Ok(Err(reason)),
        };
        if call.service != Service::Lambda && !integration.has("CredentialsArn") {
            let text = format!(
                "`{}` has no `CredentialsArn`, so API Gateway has no role to call the service with on AWS",
                integration.logical_id()
            );
            notes.push(integration.note(integration.line, text));
        }
        Ok(Ok(ServiceIntegration { call, timeout_ms, parameters, request, passthrough, responses }))
    }

    /// What an address calls, or why that does not run here.
    fn call(&self, uri: &str) -> Result<ServiceCall, String> {
        let parts: Vec<_> = uri.splitn(6, ':').collect();
        let ["arn", _, "apigateway", _, service, target] = parts.as_slice() else {
            return match uri.contains(":function:") {
                true => self.lambda(uri),
                false => Err(format!(
                    "`{uri}` is no address of a service; write `arn:aws:apigateway:REGION:SERVICE:action/OPERATION`"
                )),
            };
        };
        // A subdomain may stand before the service.
        let service = service.rsplit('.').next().unwrap_or(service);
        if service == "lambda" {
            return self.lambda(uri);
        }
        if target.contains("stageVariables.") {
            return Err("stage variables in the address of a service are not emulated".to_owned());
        }
        match target.split_once('/') {
            Some(("action", action)) => self.action(service, action),
            Some(("path", path)) => self.path(service, path),
            _ => Err(format!("`{target}` is neither `action/OPERATION` nor `path/PATH`")),
        }
    }

    fn action(&self, service: &str, action: &str) -> Result<ServiceCall, String> {
        let (action, query) = with_query(action, '&');
        let known = service_called(service)
            .and_then(|known| OPERATIONS.iter().find(|(other, _)| *other == known))
            .filter(|(_, operations)| operations.contains(&action));
        match known {
            Some((service, _)) => {
                Ok(ServiceCall { service: *service, target: ServiceTarget::Action(action.to_owned()), query })
            }
            None => Err(format!("it calls `{action}` of {}, which does not run locally", name_of(service))),
        }
    }

    fn path(&self, service: &str, path: &str) -> Result<ServiceCall, String> {
        let Some(known) = service_called(service) else {
            return Err(format!("it calls {}, which does not run locally", name_of(service)));
        };
        let (path, query) = with_query(path.trim_start_matches('/'), '?');
        let queue = path.rsplit('/').next().filter(|queue| !queue.is_empty());
        if let (Service::Sqs, Some(queue)) = (known, queue)
            && !self.queues.values().any(|other| other.name == queue)
        {
            return Err(format!("it sends to the queue `{queue}`, which is no queue of this template"));
        }
        Ok(ServiceCall { service: known, target: ServiceTarget::Path(path.to_owned()), query })
    }

    fn lambda(&self, uri: &str) -> Result<ServiceCall, String> {
        let target = ServiceTarget::Action(self.function(uri)?);
        Ok(ServiceCall { service: Service::Lambda, target, query: Vec::new() })
    }
}

fn service_called(name: &str) -> Option<Service> {
    match name {
        "dynamodb" => Some(Service::DynamoDb),
        "events" => Some(Service::EventBridge),
        "secretsmanager" => Some(Service::SecretsManager),
        "sqs" => Some(Service::Sqs),
        _ => None,
    }
}

/// What people call a service.
fn name_of(service: &str) -> String {
    let name = match service {
        "dynamodb" => "DynamoDB",
        "events" => "EventBridge",
        "execute-api" => "API Gateway",
        "firehose" => "Data Firehose",
        "kinesis" => "Kinesis",
        "s3" => "S3",
        "secretsmanager" => "Secrets Manager",
        "sns" => "SNS",
        "sqs" => "SQS",
        "states" => "Step Functions",
        other => return format!("`{other}`"),
    };
    name.to_owned()
}

/// An action or path without the parameters behind it.
fn with_query(target: &str, sign: char) -> (&str, Vec<(String, String)>) {
    let Some((target, query)) = target.split_once(sign) else { return (target, Vec::new()) };
    let pairs = query.split('&').filter(|pair| !pair.is_empty());
    let pairs = pairs.map(|pair| pair.split_once('=').unwrap_or((pair, "")));
    (target, pairs.map(|(name, value)| (name.to_owned(), value.to_owned())).collect())
}

fn passthrough(integration: &Properties<'_>) -> Result<Passthrough, Fault> {
    match integration.text("PassthroughBehavior")?.as_deref() {
        None | Some("WHEN_NO_MATCH") => Ok(Passthrough::WhenNoMatch),
        Some("WHEN_NO_TEMPLATES") => Ok(Passthrough::WhenNoTemplates),
        Some("NEVER") => Ok(Passthrough::Never),
        Some(other) => {
            let words = format!("must be `WHEN_NO_MATCH`, `WHEN_NO_TEMPLATES` or `NEVER`, not `{other}`");
            Err(integration.fault("PassthroughBehavior", words))
        }
    }
}
