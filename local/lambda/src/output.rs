//! What a process writes to its standard output and standard error.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::io::{AsyncBufReadExt, AsyncRead, BufReader};
use tokio::process::Child;
use tokio::sync::{mpsc, oneshot};

use super::logs::Logs;

/// How much is kept for `X-Amz-Log-Result`: 4 KB, as Lambda returns.
const KEPT_BYTES: usize = 4096;

/// How long a reader may need for what is in its pipe already. A process that never stops writing is not waited for.
const DRAIN_LIMIT: Duration = Duration::from_millis(200);

/// Reads both pipes of a process, shows each line under the function's name and keeps the last ones.
#[derive(Debug)]
pub(super) struct Output {
    kept: Arc<Mutex<Kept>>,
    readers: Vec<mpsc::Sender<oneshot::Sender<()>>>,
}

impl Output {
    pub(super) fn of(child: &mut Child, function: &Arc<str>, logs: &Arc<Logs>) -> Self {
        let kept = Arc::default();
        let mut output = Self { kept, readers: Vec::new() };
        if let Some(pipe) = child.stdout.take() {
            output.read(pipe, function, logs);
        }
        if let Some(pipe) = child.stderr.take() {
            output.read(pipe, function, logs);
        }
        output
    }

    fn read(&mut self, pipe: impl AsyncRead + Unpin + Send + 'static, function: &Arc<str>, logs: &Arc<Logs>) {
        let (sender, drains) = mpsc::channel(1);
        self.readers.push(sender);
        let (function, logs, kept) = (Arc::clone(function), Arc::clone(logs), Arc::clone(&self.kept));
        tokio::spawn(read(pipe, drains, move |line| {
            logs.function_line(&function, line);
            lock(&kept).push(line);
        }));
    }

    /// Waits until the lines that the process has written so far are shown. It wrote them before it answered, so they
    /// are in the pipes now.
    pub(super) async fn drain(&self) {
        let drained = async {
            for reader in &self.readers {
                let (done, drained) = oneshot::channel();
                // A reader that has met the end of its pipe has shown everything.
                if reader.send(done).await.is_ok() {
                    let _ = drained.await;
                }
            }
        };
        let _ = tokio::time::timeout(DRAIN_LIMIT, drained).await;
    }

    /// The last lines, at most 4 KB, and forgets them.
    pub(super) fn take(&self) -> String {
        std::mem::take(&mut *lock(&self.kept)).text()
    }
}

fn lock(kept: &Mutex<Kept>) -> MutexGuard<'_, Kept> {
    kept.lock().unwrap_or_else(PoisonError::into_inner)
}

async fn read(
    pipe: impl AsyncRead + Unpin,
    mut drains: mpsc::Receiver<oneshot::Sender<()>>,
    mut show: impl FnMut(&str),
) {
    let mut pipe = BufReader::new(pipe);
    let mut line = Vec::new();
    let mut watched = true;
    loop {
        // What is in the pipe comes first: a drain is answered only when a read would have to wait.
        tokio::select! {
            biased;
            read = pipe.read_until(b'\n', &mut line) => {
                let ended = read.map_or(true, |length| length == 0);
                let text = String::from_utf8_lossy(&line);
                let text = text.trim_end_matches(['\r', '\n']);
                if !text.is_empty() {
                    show(text);
                }
                line.clear();
                if ended {
                    return;
                }
            }
            drain = drains.recv(), if watched => match drain {
                Some(done) => { let _ = done.send(()); }
                None => watched = false,
            },
        }
    }
}

#[derive(Debug, Default)]
struct Kept {
    lines: VecDeque<String>,
    bytes: usize,
}

impl Kept {
    fn push(&mut self, line: &str) {
        self.bytes += line.len() + 1;
        self.lines.push_back(line.to_owned());
        while self.bytes > KEPT_BYTES && self.lines.len() > 1 {
            self.bytes -= self.lines.pop_front().map_or(0, |line| line.len() + 1);
        }
    }

    fn text(self) -> String {
        let mut text = String::with_capacity(self.bytes);
        for line in self.lines {
            text.push_str(&line);
            text.push('\n');
        }
        text
    }
}
