//! An invocation under observation: an event at its start and one at its end, whatever the end is.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Instant;

use tidings_local_observe::{Event, Invocation, Observer, Outcome, Status, Text, Trigger, milliseconds};

use crate::invocation::{self, InvokeError};

/// Records the end of an invocation; one that is dropped before has been abandoned.
#[derive(Debug)]
pub(crate) struct Watch {
    observer: Observer,
    started: Instant,
    /// Taken by the end.
    invocation: Option<Invocation>,
}

impl Watch {
    /// Records the start.
    pub(crate) fn start(observer: &Observer, function: &str, payload: &[u8]) -> Self {
        static LAST: AtomicU64 = AtomicU64::new(0);
        let invocation = observer.is_on().then(|| {
            let Trigger { event, connection, route } = Trigger::of(payload);
            let id = LAST.fetch_add(1, Ordering::Relaxed) + 1;
            Invocation {
                id,
                function: function.to_owned(),
                connection,
                event,
                route,
                bytes: payload.len(),
                outcome: None,
            }
        });
        if let Some(invocation) = &invocation {
            observer.begin();
            observer.record(|| Event::Invocation(invocation.clone()));
        }
        Self { observer: observer.clone(), started: Instant::now(), invocation }
    }

    /// Records the end.
    pub(crate) fn end(mut self, result: &Result<invocation::Invocation, InvokeError>) {
        let text = |bytes: &[u8]| Text::of(&String::from_utf8_lossy(bytes));
        match result {
            Ok(invocation) => {
                let status = if invocation.function_error.is_some() { Status::Failed } else { Status::Ok };
                let log = Text::of(&invocation.log);
                self.finish(status, invocation.request_id.clone(), || text(&invocation.payload), log);
            }
            Err(error) => self.finish(Status::Refused, String::new(), || Text::of(&error.to_string()), Text::of("")),
        }
    }

    fn finish(&mut self, status: Status, request_id: String, answer: impl FnOnce() -> Text, log: Text) {
        let Some(mut invocation) = self.invocation.take() else { return };
        let duration_ms = milliseconds(self.started);
        invocation.outcome = Some(Outcome { status, duration_ms, request_id, answer: answer(), log });
        self.observer.record(|| Event::Invocation(invocation));
        self.observer.finish();
    }
}

impl Drop for Watch {
    fn drop(&mut self) {
        self.finish(Status::Abandoned, String::new(), || Text::of(""), Text::of(""));
    }
}
