//! A stack in AWS.

use std::time::Duration;

use aws_config::SdkConfig;
use aws_sdk_cloudformation::types::StackResourceSummary;
use aws_sdk_dynamodb::types::{TableStatus, TimeToLiveStatus};
use aws_sdk_lambda::types::{LastUpdateStatus, State as FunctionState};
use aws_sdk_sqs::types::QueueAttributeName;
use tidings::describe;
use tokio::time::timeout;
use tokio_tungstenite::connect_async;
use tokio_tungstenite::tungstenite::Error;

use super::super::account::Account;
use super::super::deployment::{Deployment, Layer, NoDeployment, UNREADABLE};
use super::Finding;

/// The routes of the API that clients connect to.
const ROUTES: [&str; 5] = ["$connect", "$disconnect", "$default", "ping//", "//ping"];
/// How long a handshake may take: a cold start is part of it.
const PATIENCE: Duration = Duration::from_secs(15);

const DEPLOY: &str = "deploy again: `sam build && sam deploy`";

/// What is deployed, and clients of what it is deployed on.
struct Deployed {
    own: Layer,
    apis: aws_sdk_apigatewayv2::Client,
    lambda: aws_sdk_lambda::Client,
    dynamodb: aws_sdk_dynamodb::Client,
    sqs: aws_sdk_sqs::Client,
}

pub(super) async fn look(account: Account<'_>, name: &str) -> Vec<Finding> {
    let config = account.config().await;
    let (around, own) = match Deployment::find(account, name).await {
        Ok(Deployment { around, own }) => (around, own),
        // It may be the toolkit's and not be whole: then what is missing is told.
        Err(NoDeployment::Foreign { layer, .. }) => (Vec::new(), *layer),
        Err(error @ NoDeployment::Unreadable { .. }) => {
            return vec![Finding::wrong("stack", describe(&error), UNREADABLE)];
        }
        Err(error) => return vec![Finding::wrong("stack", describe(&error), "`tidings doctor --help` has an example")],
    };
    let mut findings: Vec<_> = around.iter().chain([&own]).map(status).collect();
    let deployed = Deployed::new(own, &config);
    for layer in &around {
        findings.extend(deployed.application(layer).await);
    }
    for resource in &deployed.own.resources {
        findings.extend(deployed.resource(resource).await);
    }
    findings.extend(deployed.missing());
    findings.push(deployed.probe().await);
    findings
}

fn status(layer: &Layer) -> Finding {
    let stack = &layer.stack;
    let check = format!("stack {}", layer.path).trim_end_matches(['/', ' ']).to_owned();
    let status = stack.stack_status().map_or("unknown", |status| status.as_str());
    let says = stack.stack_status_reason().map_or_else(|| status.to_owned(), |reason| format!("{status} ({reason})"));
    let events = "its events tell why: `sam list resources`, or the console of CloudFormation";
    match status {
        "CREATE_COMPLETE" | "UPDATE_COMPLETE" | "IMPORT_COMPLETE" => Finding::ok(check, says),
        "UPDATE_ROLLBACK_COMPLETE" => Finding::note(check, format!("{says}: the last deployment was undone"), events),
        "ROLLBACK_COMPLETE" => {
            Finding::wrong(check, format!("{says}: it was never there"), "`sam delete`, then deploy")
        }
        _ if status.ends_with("IN_PROGRESS") => Finding::note(check, says, "look again when that is over"),
        _ => Finding::wrong(check, says, events),
    }
}

/// A call that AWS did not answer as hoped.
fn unreadable(check: &str, error: &dyn std::error::Error) -> Finding {
    Finding::wrong(check, format!("cannot be read ({})", describe(error)), UNREADABLE)
}

impl Deployed {
    fn new(own: Layer, config: &SdkConfig) -> Self {
        Self {
            own,
            apis: aws_sdk_apigatewayv2::Client::new(config),
            lambda: aws_sdk_lambda::Client::new(config),
            dynamodb: aws_sdk_dynamodb::Client::new(config),
            sqs: aws_sdk_sqs::Client::new(config),
        }
    }

    fn parameter(&self, name: &str) -> Option<&str> {
        let parameter = self.own.stack.parameters().iter().find(|parameter| parameter.parameter_key() == Some(name));
        parameter.and_then(|parameter| parameter.parameter_value())
    }

    /// What in a stack that nests the toolkit's may keep it from working: functions, and what they are invoked by.
    async fn application(&self, layer: &Layer) -> Vec<Finding> {
        let mut findings = Vec::new();
        for resource in &layer.resources {
            let kind = resource.resource_type().unwrap_or_default();
            if ["AWS::Lambda::Function", "AWS::Lambda::EventSourceMapping"].contains(&kind) {
                findings.extend(self.resource_in(layer, resource).await);
            }
        }
        findings
    }

    async fn resource(&self, resource: &StackResourceSummary) -> Vec<Finding> {
        self.resource_in(&self.own, resource).await
    }

    /// What there is to say of one resource; of many kinds, nothing.
    async fn resource_in(&self, layer: &Layer, resource: &StackResourceSummary) -> Vec<Finding> {
        let name = &format!("{}{}", layer.path, resource.logical_resource_id().unwrap_or_default());
        let Some(id) = resource.physical_resource_id() else {
            let status = resource.resource_status().map_or("unknown", |status| status.as_str());
            return vec![Finding::wrong(name, format!("is not there ({status})"), DEPLOY)];
        };
        match resource.resource_type().unwrap_or_default() {
            "AWS::ApiGatewayV2::Api" => self.api(name, id).await,
            "AWS::Lambda::Function" => vec![self.function(name, id).await],
            "AWS::Lambda::EventSourceMapping" => vec![self.mapping(name, id).await],
            "AWS::DynamoDB::Table" => self.table(name, id).await,
            "AWS::SQS::Queue" => vec![self.queue(name, id).await],
            "AWS::Logs::LogGroup" => {
                let days = self.parameter("LogRetentionDays").unwrap_or("an unknown number of");
                vec![Finding::ok(name, format!("{id}, kept for {days} days"))]
            }
            "AWS::SecretsManager::Secret" => vec![Finding::ok(name, "the secret is there")],
            _ => Vec::new(),
        }
    }

    /// What no resource can say: that it is missing.
    fn missing(&self) -> Vec<Finding> {
        let has = |kind| self.own.resources.iter().any(|resource| resource.resource_type() == Some(kind));
        let mut needed = vec![
            ("AWS::ApiGatewayV2::Api", "WebSocket API"),
            ("AWS::Lambda::Function", "functions"),
            ("AWS::DynamoDB::Table", "table"),
            ("AWS::SQS::Queue", "queues"),
        ];
        if self.parameter("Authentication") == Some("hs256") {
            needed.push(("AWS::SecretsManager::Secret", "secret"));
        }
        let missing = needed.into_iter().filter(|(kind, _)| !has(kind));
        missing.map(|(kind, check)| Finding::wrong(check, format!("the stack has no {kind}"), DEPLOY)).collect()
    }

    async fn api(&self, name: &str, id: &str) -> Vec<Finding> {
        let api = match self.apis.get_api().api_id(id).send().await {
            Ok(api) => api,
            Err(error) => return vec![unreadable(name, &error)],
        };
        if api.protocol_type().is_none_or(|protocol| protocol.as_str() != "WEBSOCKET") {
            return vec![Finding::ok(name, format!("{id}, an HTTP API"))];
        }
        vec![self.stages(name, id).await, self.routes(name, id).await]
    }

    async fn stages(&self, name: &str, id: &str) -> Finding {
        let stages = match self.apis.get_stages().api_id(id).send().await {
            Ok(answer) => answer.items.unwrap_or_default(),
            Err(error) => return unreadable(&format!("stage of {name}"), &error),
        };
        let check = format!("stage of {name}");
        match stages.first() {
            None => Finding::wrong(check, "there is none to connect to", DEPLOY),
            Some(stage) if stage.last_deployment_status_message().is_some_and(|said| said.contains("ail")) => {
                Finding::wrong(check, stage.last_deployment_status_message().unwrap_or_default(), DEPLOY)
            }
            Some(stage) => Finding::ok(check, stage.stage_name().unwrap_or_default()),
        }
    }

    /// Each route is there, and those that answer have a response: without one, nothing that the function answers
    /// reaches the client.
    async fn routes(&self, name: &str, id: &str) -> Finding {
        let check = format!("routes of {name}");
        let routes = match self.apis.get_routes().api_id(id).max_results("100").send().await {
            Ok(answer) => answer.items.unwrap_or_default(),
            Err(error) => return unreadable(&check, &error),
        };
        let mut keys = Vec::new();
        for key in ROUTES {
            let Some(route) = routes.iter().find(|route| route.route_key() == Some(key)) else {
                return Finding::wrong(check, format!("{key} is missing"), DEPLOY);
            };
            if route.route_response_selection_expression().is_none() {
                if ["$default", "ping//", "//ping"].contains(&key) {
                    return Finding::wrong(check, format!("{key} does not answer"), DEPLOY);
                }
            } else {
                let responses = self.apis.get_route_responses().api_id(id);
                match responses.route_id(route.route_id().unwrap_or_default()).send().await {
                    Err(error) => return unreadable(&check, &error),
                    Ok(answer) if answer.items().is_empty() => {
                        let says = format!("{key} has no route response, so no reply reaches a client");
                        return Finding::wrong(check, says, DEPLOY);
                    }
                    Ok(_) => {}
                }
            }
            keys.push(key);
        }
        Finding::ok(check, keys.join(", "))
    }

    async fn function(&self, name: &str, id: &str) -> Finding {
        let function = match self.lambda.get_function_configuration().function_name(id).send().await {
            Ok(function) => function,
            Err(error) => return unreadable(name, &error),
        };
        let (state, update) = (function.state(), function.last_update_status());
        let modified = function.last_modified().unwrap_or("at an unknown time");
        if matches!(state, Some(FunctionState::Failed)) || matches!(update, Some(LastUpdateStatus::Failed)) {
            let reason = function.last_update_status_reason().or(function.state_reason()).unwrap_or("no reason given");
            return Finding::wrong(name, format!("its last update failed: {reason}"), DEPLOY);
        }
        match state {
            // An idle function is put aside, and taken out again by its next event.
            Some(FunctionState::Active | FunctionState::Inactive) => Finding::ok(name, format!("updated {modified}")),
            other => {
                let state = other.map_or("unknown", FunctionState::as_str);
                Finding::note(name, format!("its state is {state}"), "look again in a minute")
            }
        }
    }

    async fn mapping(&self, name: &str, id: &str) -> Finding {
        let mapping = match self.lambda.get_event_source_mapping().uuid(id).send().await {
            Ok(mapping) => mapping,
            Err(error) => return unreadable(name, &error),
        };
        let (state, last) = (mapping.state().unwrap_or("unknown"), mapping.last_processing_result());
        let says = format!("{state}{}", last.map(|last| format!(", {last}")).unwrap_or_default());
        match state {
            "Enabled" if last.is_none_or(|last| !last.starts_with("PROBLEM")) => Finding::ok(name, says),
            "Enabled" => Finding::wrong(name, says, "the function's log tells why"),
            "Disabled" => {
                let fix = format!("`aws lambda update-event-source-mapping --uuid {id} --enabled`");
                Finding::wrong(name, format!("{says}: nothing is read from its queue"), fix)
            }
            _ => Finding::note(name, says, "look again in a minute"),
        }
    }

    async fn table(&self, name: &str, id: &str) -> Vec<Finding> {
        let table = match self.dynamodb.describe_table().table_name(id).send().await {
            Ok(answer) => answer.table,
            Err(error) => return vec![unreadable(name, &error)],
        };
        let status = table.as_ref().and_then(|table| table.table_status());
        let is_there = matches!(status, Some(TableStatus::Active | TableStatus::Updating));
        let says = format!("{id}, {}", status.map_or("unknown", TableStatus::as_str));
        let found = if is_there { Finding::ok(name, says) } else { Finding::wrong(name, says, DEPLOY) };
        let mut findings = vec![found, self.time_to_live(name, id).await];
        findings.extend(self.retention(name));
        findings
    }

    /// What becomes of the table with the stack. There is another one for each value, so a change loses durable topics.
    fn retention(&self, name: &str) -> Option<Finding> {
        let retain = self.parameter("RetainTable")?;
        let fate = if retain == "true" { "stays when the stack is deleted" } else { "goes with the stack" };
        let says = format!("{fate} (RetainTable={retain}); changing that begins an empty table");
        Some(Finding::ok(format!("retention of {name}"), says))
    }

    /// Without it, what `$disconnect` missed stays for ever.
    async fn time_to_live(&self, name: &str, id: &str) -> Finding {
        let check = format!("time to live of {name}");
        let settings = match self.dynamodb.describe_time_to_live().table_name(id).send().await {
            Ok(answer) => answer.time_to_live_description,
            Err(error) => return unreadable(&check, &error),
        };
        let attribute = settings.as_ref().and_then(|settings| settings.attribute_name());
        match settings.as_ref().and_then(|settings| settings.time_to_live_status()) {
            Some(TimeToLiveStatus::Enabled | TimeToLiveStatus::Enabling) if attribute == Some("expires_at") => {
                Finding::ok(check, "by expires_at")
            }
            _ => Finding::wrong(check, "not on for expires_at: lost connections would stay for ever", DEPLOY),
        }
    }

    async fn queue(&self, name: &str, url: &str) -> Finding {
        let request = self.sqs.get_queue_attributes().queue_url(url);
        let request = request.attribute_names(QueueAttributeName::ApproximateNumberOfMessages);
        let count = match request.send().await {
            Ok(answer) => {
                let counts = answer.attributes.unwrap_or_default();
                let count = counts.get(&QueueAttributeName::ApproximateNumberOfMessages).cloned();
                count.and_then(|count| count.parse::<u64>().ok()).unwrap_or_default()
            }
            Err(error) => return unreadable(name, &error),
        };
        if count > 0 && self.own.output("DeadLetterQueueUrl") == Some(url) {
            let fix = format!("`tidings dead-letters list --queue-url {url}` shows them");
            return Finding::note(name, format!("{count} messages could not be delivered"), fix);
        }
        Finding::ok(name, format!("{count} messages wait"))
    }

    /// Connects once as a client without a token.
    async fn probe(&self) -> Finding {
        let check = "handshake";
        let Some(url) = self.own.output("WebSocketUrl") else {
            return Finding::wrong(check, "the stack has no output WebSocketUrl", DEPLOY);
        };
        // Fails only if there is one already, which is then the same.
        let _ = rustls::crypto::ring::default_provider().install_default();
        match timeout(PATIENCE, connect_async(url)).await {
            Ok(Ok((mut socket, _))) => {
                // It may be closed already.
                let _ = socket.close(None).await;
                Finding::ok(check, format!("{url} lets clients in without a token (101)"))
            }
            Ok(Err(Error::Http(response))) => match response.status().as_u16() {
                status @ (401 | 403) => Finding::ok(check, format!("{url} refuses clients without a token ({status})")),
                status => {
                    let fix = "the log of ConnectFunction tells why";
                    Finding::wrong(check, format!("{url} answers with status {status}"), fix)
                }
            },
            Ok(Err(error)) => {
                let fix = "check the record of your domain, and your way to the internet";
                Finding::wrong(check, format!("{url} cannot be reached ({})", describe(&error)), fix)
            }
            Err(_) => {
                let says = format!("{url} does not answer in {} s", PATIENCE.as_secs());
                Finding::wrong(check, says, "the log of ConnectFunction tells why")
            }
        }
    }
}
