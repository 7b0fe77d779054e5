//! An application's own `default` function: the toolkit's commands, and one action more.
//!
//! `{"action":"orders.watch","order":42,"id":1}` subscribes the client to that order's topic, so that clients need not
//! know how topics are named. To deploy it, make this the `main.rs` of the function.

use std::time::Duration;

use default::{ActionError, Context, Deps, Router, handle};
use lambda_runtime::{Error, LambdaEvent, run, service_fn, tracing};
use serde::Deserialize;
use serde_json::json;
use tidings::aws::Aws;
use tidings::protocol::{ClientError, ReplyBody};
use tidings::registry::Registry;
use tidings::{Topic, config};

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Watch {
    order: u64,
}

async fn watch(context: Context, body: Watch) -> Result<ReplyBody, ActionError> {
    if body.order == 0 {
        return Err(ClientError::bad_request("`order` is 0; order numbers start at 1").into());
    }
    let topic = Topic::parse(format!("orders/{}", body.order)).map_err(ActionError::internal)?;
    context.subscribe(std::slice::from_ref(&topic)).await?;
    Ok(ReplyBody::AckWith(json!({"topic": topic})))
}

fn router() -> Router {
    Router::new().on("orders.watch", watch)
}

#[tokio::main]
async fn main() -> Result<(), Error> {
    tracing::init_default_subscriber();
    let aws = Aws::from_env()?;
    let table = config::required("TABLE_NAME", "it names the table of connections")?;
    let endpoint = config::required("WEBSOCKET_ENDPOINT", "it is where sockets are closed, as https://…/<stage>")?;
    let deps = Deps {
        registry: Registry::new(aws.dynamodb(), table),
        sockets: aws.management(&endpoint, Duration::from_secs(3)),
        router: router(),
    };
    run(service_fn(|event: LambdaEvent<_>| handle(&deps, event.payload))).await
}
