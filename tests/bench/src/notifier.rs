//! The notifier's program with an audience in front of it and sockets behind it.

use std::ffi::OsString;
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::Result;
use crate::audience::{Audience, TOPIC};
use crate::host::Function;
use crate::setup::Setup;
use crate::sockets::Sockets;

/// As long as Lambda lets a function run.
pub(crate) const LONGEST: Duration = Duration::from_secs(900);

/// The name of the queue whose messages are notifications.
pub(crate) const NOTIFICATION_QUEUE: &str = "notifications";

/// A notifier that runs.
#[derive(Debug)]
pub(crate) struct Notifier {
    pub(crate) function: Function,
}

impl Notifier {
    /// Starts it; it may push so often in a second.
    pub(crate) async fn start(
        setup: &Setup,
        audience: &Audience,
        sockets: &Sockets,
        pushes_per_second: u64,
        more: &[(&str, &str)],
    ) -> Result<Self> {
        Self::start_as(setup, setup.command("notifier")?, audience, sockets, pushes_per_second, more).await
    }

    /// The same with another program.
    pub(crate) async fn start_as(
        setup: &Setup,
        command: Vec<OsString>,
        audience: &Audience,
        sockets: &Sockets,
        pushes_per_second: u64,
        more: &[(&str, &str)],
    ) -> Result<Self> {
        let environment = environment(audience, sockets, pushes_per_second, more);
        let mut function = Function::start(&command, &environment, &setup.log("notifier")).await?;
        function.initialised().await?;
        Ok(Self { function })
    }

    /// Sends one notification to the whole audience; when it began and ended.
    pub(crate) async fn notify(&mut self, members: u64) -> Result<(Instant, Instant)> {
        let begin = Instant::now();
        let (answer, end) = self.function.invoke(notification(), LONGEST).await?;
        let report: Value = serde_json::from_slice(&answer)?;
        if report["delivered"] != members {
            return Err(format!("of {members} members not all were reached: {report}").into());
        }
        Ok((begin, end))
    }
}

pub(crate) fn notification() -> String {
    json!({"id": "bench-00000000", "to": {"topic": TOPIC}, "data": {"status": "shipped", "order": 42}}).to_string()
}

/// What the notifier needs to know.
pub(crate) fn environment(
    audience: &Audience,
    sockets: &Sockets,
    pushes_per_second: u64,
    more: &[(&str, &str)],
) -> Vec<(String, String)> {
    // Nothing is handed on or fails, so nothing is sent to a queue.
    let nowhere = "http://127.0.0.1:9/123456789012/nowhere".to_owned();
    let notifications = format!("http://127.0.0.1:9/123456789012/{NOTIFICATION_QUEUE}");
    let mut environment = vec![
        ("TABLE_NAME".to_owned(), "connections".to_owned()),
        ("WEBSOCKET_ENDPOINT".to_owned(), sockets.endpoint()),
        ("AWS_ENDPOINT_URL_DYNAMODB".to_owned(), audience.endpoint()),
        ("NOTIFICATION_QUEUE_URL".to_owned(), notifications),
        ("FAN_OUT_QUEUE_URL".to_owned(), nowhere.clone()),
        ("DEAD_LETTER_QUEUE_URL".to_owned(), nowhere),
        ("PUSHES_PER_SECOND".to_owned(), pushes_per_second.to_string()),
        ("FAN_OUT_CONCURRENCY".to_owned(), "1".to_owned()),
        // Audiences alone are measured; they have no logs here, unless `more` says so.
        ("HISTORY".to_owned(), "[]".to_owned()),
    ];
    environment.extend(more.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())));
    environment
}
