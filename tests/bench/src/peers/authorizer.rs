//! Lets everybody in, to subscribe to everything: what `connect` is told before it takes a client's topics.

use lambda_runtime::{Error, LambdaEvent, service_fn};
use serde_json::{Value, json};
use tidings::permissions::PERMISSIONS;

/// Runs as a function.
pub(super) async fn run() -> Result<(), Error> {
    lambda_runtime::run(service_fn(async |event: LambdaEvent<Value>| Ok::<_, Error>(allow(&event.payload)))).await
}

fn allow(event: &Value) -> Value {
    let statement = json!({"Action": "execute-api:Invoke", "Effect": "Allow", "Resource": event["methodArn"]});
    json!({
        "principalId": "anonymous",
        "policyDocument": {"Version": "2012-10-17", "Statement": [statement]},
        "context": {PERMISSIONS: "subscribe:**"},
    })
}
