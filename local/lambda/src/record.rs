//! Recording: every event of a run as a JSON file, to be replayed by `sam local invoke -e`, `cargo lambda invoke
//! --data-file` or a test.
//!
//! A file is called `0007-default-subscribe.json`: its number in the run, the function and the route, or whatever the
//! event is of. What looks like a token or a password is replaced first, see [`mask`].

mod mask;

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use bytes::Bytes;
use serde_json::Value;
use tracing::warn;

use super::{Invocation, InvokeError, Invoker, Names};

/// Where functions run, and the folder where their events are kept.
#[derive(Debug)]
pub struct Recording {
    invoker: Invoker,
    names: Names,
    folder: PathBuf,
    next: AtomicU64,
}

/// The folder cannot be used.
#[derive(Debug, thiserror::Error)]
#[error("cannot record events in {}; choose another folder with --record", folder.display())]
pub struct RecordError {
    folder: PathBuf,
    source: io::Error,
}

impl Recording {
    /// Records the events of `invoker` in `folder`, which is made if need be. Numbers go on after those that are there.
    ///
    /// # Errors
    /// When the folder cannot be made or read.
    pub fn new(invoker: Invoker, names: Names, folder: &Path) -> Result<Arc<Self>, RecordError> {
        let error = |source| RecordError { folder: folder.to_owned(), source };
        make(folder).map_err(error)?;
        let last = last_number(folder).map_err(error)?;
        Ok(Arc::new(Self { invoker, names, folder: folder.to_owned(), next: AtomicU64::new(last + 1) }))
    }

    pub(super) fn invoker(&self) -> &Invoker {
        &self.invoker
    }

    pub(super) async fn invoke(
        &self,
        function: &str,
        payload: Bytes,
        request_id: String,
    ) -> Result<Invocation, InvokeError> {
        if let Err(error) = self.record(function, &payload).await {
            // The run is worth more than its record.
            warn!(function, error = &error as &dyn std::error::Error, "an event could not be recorded");
        }
        // The invoker within records nothing, but the compiler cannot know that.
        Box::pin(self.invoker.invoke_as(function, payload, request_id)).await
    }

    async fn record(&self, function: &str, payload: &[u8]) -> io::Result<()> {
        let mut event: Value = serde_json::from_slice(payload)?;
        let number = self.next.fetch_add(1, Ordering::Relaxed);
        let name = format!("{number:04}-{}-{}.json", safe(self.names.label(function)), safe(&kind(&event)));
        mask::mask(&mut event);
        let path = self.folder.join(name);
        let mut options = tokio::fs::OpenOptions::new();
        options.write(true).create_new(true);
        #[cfg(unix)]
        options.mode(0o600);
        let mut file = options.open(path).await?;
        tokio::io::AsyncWriteExt::write_all(&mut file, format!("{event:#}\n").as_bytes()).await?;
        tokio::io::AsyncWriteExt::flush(&mut file).await
    }
}

/// Events hold what clients send: nobody else may read them.
fn make(folder: &Path) -> io::Result<()> {
    let mut builder = std::fs::DirBuilder::new();
    builder.recursive(true);
    #[cfg(unix)]
    std::os::unix::fs::DirBuilderExt::mode(&mut builder, 0o700);
    builder.create(folder)
}

/// The highest number of a file that an earlier run left.
fn last_number(folder: &Path) -> io::Result<u64> {
    let mut last = 0;
    for entry in std::fs::read_dir(folder)? {
        let name = entry?.file_name();
        let number = name.to_str().and_then(|name| name.split_once('-')?.0.parse().ok());
        last = last.max(number.unwrap_or(0));
    }
    Ok(last)
}

/// What an event is of: the route of a socket's, the service of another one's.
fn kind(event: &Value) -> String {
    if event["type"] == "REQUEST" {
        return "authorizer".to_owned();
    }
    if let Some(route) = event["requestContext"]["routeKey"].as_str() {
        return route.to_owned();
    }
    let source = event["Records"][0]["eventSource"].as_str().or_else(|| event["Records"][0]["EventSource"].as_str());
    match source.or_else(|| event["source"].as_str()) {
        Some(source) => source.trim_start_matches("aws:").to_owned(),
        None => "invoke".to_owned(),
    }
}

/// A part of a file's name, on any system.
fn safe(part: &str) -> String {
    let characters = part.trim_start_matches('$').chars().take(64);
    let name: String =
        characters.map(|one| if one.is_ascii_alphanumeric() || "._-".contains(one) { one } else { '_' }).collect();
    if name.is_empty() { "_".to_owned() } else { name }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn files_are_named_after_what_the_event_is_of() {
        for (event, expected) in [
            (json!({"type": "REQUEST", "requestContext": {"routeKey": "$connect"}}), "authorizer"),
            (json!({"requestContext": {"routeKey": "$connect"}}), "connect"),
            (json!({"requestContext": {"routeKey": "chat/join now"}}), "chat_join_now"),
            (json!({"requestContext": {"routeKey": ""}}), "_"),
            (json!({"Records": [{"eventSource": "aws:sqs"}]}), "sqs"),
            (json!({"Records": [{"EventSource": "aws:sns"}]}), "sns"),
            (json!({"source": "aws.s3"}), "aws.s3"),
            (json!({"to": "everyone"}), "invoke"),
            (json!([1]), "invoke"),
        ] {
            assert_eq!(safe(&kind(&event)), expected, "{event}");
        }
        assert_eq!(safe("../../etc/passwd"), ".._.._etc_passwd");
    }

    #[test]
    fn numbers_go_on_where_an_earlier_run_ended() {
        let folder = tempfile::tempdir().unwrap();
        let inside = folder.path().join("a/b");
        make(&inside).unwrap();
        assert_eq!(last_number(&inside).unwrap(), 0);
        for name in ["0007-connect-connect.json", "notes.txt", "0003-x-y.json", "x-9.json"] {
            std::fs::write(inside.join(name), "").unwrap();
        }
        assert_eq!(last_number(&inside).unwrap(), 7);
    }
}
