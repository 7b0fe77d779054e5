//! What stands before the embedded engine: names of tables may be ARNs, ARNs are those of the template, and streams are as DynamoDB
//! writes them (`streams`). What needs none of that passes as it is.

use std::io;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};

use axum::Router;
use axum::body::{Body, to_bytes};
use axum::extract::{Request, State};
use axum::http::{HeaderName, HeaderValue, StatusCode, Uri, header};
use axum::response::{IntoResponse as _, Response};
use bytes::Bytes;
use http_body_util::{BodyExt as _, Full};
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::TokioExecutor;
use serde_json::Value;
use tokio::net::TcpListener;
use tokio::sync::oneshot;

use super::streams::Streams;

/// The engine's own beginning of ARNs.
const ENGINE: &str = "arn:aws:dynamodb:dynoxide:000000000000:";
/// DynamoDB takes requests of 16 MB.
const MAX_BODY: usize = 16 * 1024 * 1024;
/// A checksum of the body, which is right no more once the body is another.
const CHECKSUM: HeaderName = HeaderName::from_static("x-amz-crc32");

/// Where the engine is at home, for ARNs.
#[derive(Debug, Clone)]
pub struct Home {
    /// For example `us-east-1`.
    pub region: String,
    /// Twelve digits.
    pub account: String,
}

impl Default for Home {
    fn default() -> Self {
        Self { region: "us-east-1".to_owned(), account: "123456789012".to_owned() }
    }
}

struct Front {
    client: Client<HttpConnector, Full<Bytes>>,
    engine: SocketAddr,
    /// The beginning of ARNs here.
    prefix: String,
    streams: Mutex<Streams>,
}

/// Serves the engine behind `engine` until it is told to stop.
pub(super) async fn serve(
    listener: std::net::TcpListener,
    engine: SocketAddr,
    home: Home,
    stopped: oneshot::Receiver<()>,
) -> io::Result<()> {
    let mut connector = HttpConnector::new();
    connector.set_nodelay(true);
    let front = Front {
        client: Client::builder(TokioExecutor::new()).build(connector),
        engine,
        prefix: format!("arn:aws:dynamodb:{}:{}:", home.region, home.account),
        streams: Mutex::default(),
    };
    let router = Router::new().fallback(call).with_state(Arc::new(front));
    let stopped = async {
        // A dropped sender stops the server as well.
        let _ = stopped.await;
    };
    axum::serve(TcpListener::from_std(listener)?, router).with_graceful_shutdown(stopped).await
}

async fn call(State(front): State<Arc<Front>>, request: Request) -> Response {
    let (mut head, body) = request.into_parts();
    let Ok(mut body) = to_bytes(body, MAX_BODY).await else { return StatusCode::PAYLOAD_TOO_LARGE.into_response() };
    let target = head.headers.get("x-amz-target").and_then(|target| target.to_str().ok()).unwrap_or_default();
    let operation = target.split_once('.').map_or("", |(_, operation)| operation).to_owned();
    let change = front.change_request(&operation, &body);
    if let Some(changed) = &change.body {
        body = Bytes::from(changed.to_string());
    }
    let path = head.uri.path_and_query().map_or("/", |path| path.as_str());
    head.uri = match format!("http://{}{path}", front.engine).parse::<Uri>() {
        Ok(uri) => uri,
        Err(_) => return StatusCode::BAD_REQUEST.into_response(),
    };
    head.headers.remove(header::CONTENT_LENGTH);
    match front.client.request(Request::from_parts(head, Full::new(body))).await {
        Ok(response) => front.answer(&operation, &change, response).await,
        Err(error) => {
            tracing::error!(error = &error as &dyn std::error::Error, "the embedded DynamoDB does not answer");
            StatusCode::SERVICE_UNAVAILABLE.into_response()
        }
    }
}

/// What is done to a request.
#[derive(Default)]
struct Change {
    body: Option<Value>,
    /// The name and the ARN of each table that was named by its ARN.
    arns: Vec<(String, String)>,
    /// The stream that is read.
    stream: Option<String>,
}

impl Front {
    fn change_request(&self, operation: &str, body: &[u8]) -> Change {
        let mut change = Change::default();
        let is_stream = matches!(operation, "CreateTable" | "UpdateTable" | "GetRecords" | "GetShardIterator");
        if !is_stream && !contains(body, b"\"arn:") {
            return change;
        }
        let Ok(mut json) = serde_json::from_slice::<Value>(body) else { return change };
        name_tables(&mut json, &mut change.arns);
        for key in ["StreamArn", "ResourceArn", "ExclusiveStartStreamArn"] {
            if let Some(Value::String(arn)) = json.get_mut(key) {
                *arn = arn.replacen(&self.prefix, ENGINE, 1);
            }
        }
        let mut streams = self.streams.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        change.stream = streams.change_request(operation, &mut json);
        change.body = Some(json);
        change
    }

    async fn answer(&self, operation: &str, change: &Change, response: Response<hyper::body::Incoming>) -> Response {
        let (mut head, body) = response.into_parts();
        let needs_none = change.arns.is_empty() && !tells_of_tables(operation);
        if needs_none && head.status == StatusCode::OK {
            return Response::from_parts(head, Body::new(body));
        }
        let Ok(body) = body.collect().await else { return StatusCode::BAD_GATEWAY.into_response() };
        let text = String::from_utf8_lossy(&body.to_bytes()).replace(ENGINE, &self.prefix);
        let text = match serde_json::from_str::<Value>(&text) {
            Ok(mut json) if head.status == StatusCode::OK => {
                let streams = self.streams.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
                streams.change_answer(
                    operation,
                    change.stream.as_deref().map(|arn| arn.replace(ENGINE, &self.prefix)),
                    &mut json,
                );
                key_by_arn(&mut json, &change.arns);
                json.to_string()
            }
            _ => text,
        };
        head.headers.remove(CHECKSUM);
        head.headers.insert(header::CONTENT_LENGTH, HeaderValue::from(text.len()));
        Response::from_parts(head, Body::from(text))
    }
}

/// The operations whose answers have ARNs or streams in them.
fn tells_of_tables(operation: &str) -> bool {
    let operations = [
        "CreateTable",
        "DeleteTable",
        "DescribeStream",
        "DescribeTable",
        "GetRecords",
        "GetShardIterator",
        "ListStreams",
        "UpdateTable",
    ];
    operations.contains(&operation)
}

fn contains(body: &[u8], part: &[u8]) -> bool {
    body.windows(part.len()).any(|window| window == part)
}

/// The name in a table's ARN.
fn name_in(arn: &str) -> Option<&str> {
    let name = arn.strip_prefix("arn:")?.split_once(":table/")?.1;
    (!name.contains('/')).then_some(name)
}

/// Puts names where tables are named by ARNs; what stands in items stays.
fn name_tables(json: &mut Value, arns: &mut Vec<(String, String)>) {
    name_table(json, arns);
    if let Some(Value::Object(items)) = json.get_mut("RequestItems") {
        let named = std::mem::take(items).into_iter().map(|(key, value)| match name_in(&key) {
            Some(name) => {
                arns.push((name.to_owned(), key.clone()));
                (name.to_owned(), value)
            }
            None => (key, value),
        });
        *items = named.collect();
    }
    for item in json.get_mut("TransactItems").and_then(Value::as_array_mut).into_iter().flatten() {
        item.as_object_mut().into_iter().flatten().for_each(|(_, action)| name_table(action, arns));
    }
}

fn name_table(json: &mut Value, arns: &mut Vec<(String, String)>) {
    if let Some(Value::String(table)) = json.get_mut("TableName")
        && let Some(name) = name_in(table).map(str::to_owned)
    {
        arns.push((name.clone(), std::mem::replace(table, name)));
    }
}

/// What a batch answers by table has the names that the caller gave.
fn key_by_arn(json: &mut Value, arns: &[(String, String)]) {
    for key in ["Responses", "UnprocessedKeys", "UnprocessedItems"] {
        let Some(Value::Object(tables)) = json.get_mut(key) else { continue };
        for (name, arn) in arns {
            if let Some(value) = tables.remove(name) {
                tables.insert(arn.clone(), value);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn arns_become_names_where_a_table_is_named_and_nowhere_else() {
        let arn = "arn:aws:dynamodb:us-east-1:123456789012:table/rows";
        let mut arns = Vec::new();
        let mut json = json!({"TableName": arn, "Item": {"TableName": {"S": arn}}});
        name_tables(&mut json, &mut arns);
        assert_eq!(json, json!({"TableName": "rows", "Item": {"TableName": {"S": arn}}}));
        let mut json = json!({"RequestItems": {arn: {"Keys": []}, "other": {"Keys": []}}});
        name_tables(&mut json, &mut arns);
        assert_eq!(json, json!({"RequestItems": {"rows": {"Keys": []}, "other": {"Keys": []}}}));
        let mut json = json!({"TransactItems": [{"Put": {"TableName": arn, "Item": {"a": {"S": arn}}}}]});
        name_tables(&mut json, &mut arns);
        assert_eq!(json, json!({"TransactItems": [{"Put": {"TableName": "rows", "Item": {"a": {"S": arn}}}}]}));
        assert_eq!(arns, vec![("rows".to_owned(), arn.to_owned()); 3]);
        let mut answer = json!({"Responses": {"rows": [1], "other": []}});
        key_by_arn(&mut answer, &arns[..1]);
        assert_eq!(answer, json!({"Responses": {arn: [1], "other": []}}));
    }
}
