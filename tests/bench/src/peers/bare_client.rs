//! A bare HTTP client: posts the same message to many URLs, unsigned, over as many connections as the notifier uses. What
//! pushing costs at least with hyper.
//!
//! `bench bare-client ENDPOINT`, then on standard input lines `COUNT IN_FLIGHT`; each is answered by a line when it is done.

use std::io::Write;

use bytes::Bytes;
use futures_util::stream::{self, StreamExt};
use http_body_util::{BodyExt, Full};
use hyper::Request;
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::TokioExecutor;

use crate::Result;

/// As long as the message of the notification that the notifier pushes.
const MESSAGE: &str = r#"{"type":"message","id":"bench-00000000","topic":"crowd","at":1795520783000,"ttl":3600,"data":{"status":"shipped","order":42}}"#;

/// Posts as it is told, to its input's end.
pub(crate) async fn run(endpoint: &str) -> Result<()> {
    let mut connector = HttpConnector::new();
    connector.set_nodelay(true);
    let client: Client<_, Full<Bytes>> = Client::builder(TokioExecutor::new()).build(connector);
    for line in std::io::stdin().lines() {
        let line = line?;
        let (count, in_flight) = line.split_once(' ').ok_or("a line is COUNT IN_FLIGHT")?;
        post_all(&client, endpoint, count.parse()?, in_flight.parse()?).await?;
        let mut stdout = std::io::stdout();
        writeln!(stdout, "done")?;
        stdout.flush()?;
    }
    Ok(())
}

async fn post_all(
    client: &Client<HttpConnector, Full<Bytes>>,
    endpoint: &str,
    count: usize,
    in_flight: usize,
) -> Result<()> {
    let posts = (0..count).map(|number| async move {
        let uri = format!("{endpoint}/@connections/member{number:09}%3D");
        let request = Request::post(uri).header("content-type", "application/octet-stream");
        let answer = client.request(request.body(Full::from(MESSAGE))?).await?;
        let status = answer.status();
        answer.into_body().collect().await?;
        if status.is_success() { crate::Result::Ok(()) } else { Err(format!("status {status}").into()) }
    });
    let mut posts = stream::iter(posts).buffer_unordered(in_flight);
    while let Some(outcome) = posts.next().await {
        outcome?;
    }
    Ok(())
}
