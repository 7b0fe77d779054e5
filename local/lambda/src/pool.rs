//! The processes of one function: started on demand, kept warm, replaced when they fail or are out of date.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use bytes::Bytes;
use tokio::sync::{Semaphore, watch};

use super::environment::{Environment, InitFailure, Launch};
use super::names::arn;
use super::program::{Fingerprint, Program};
use super::result;
use super::result::Outcome;
use super::runtime_api::{Answer, Event};
use super::script::is_script;
use super::{Invocation, InvokeError};

/// Processes of a function at once, where the template sets no `ReservedConcurrentExecutions`: enough to show what
/// runs side by side, few enough for a laptop.
const DEFAULT_PROCESSES: usize = 10;

/// Events that run or wait at once before more are throttled: the default concurrency of an AWS account.
const ADMITTED: usize = 1000;

/// The longest pause between two attempts to start a function that fails at start.
const LONGEST_PAUSE: Duration = Duration::from_secs(30);

/// One function with its processes.
#[derive(Debug)]
pub(super) struct Pool {
    launch: Launch,
    limit: usize,
    /// One for each process that may work at the same time.
    places: Semaphore,
    admitted: AtomicUsize,
    state: Mutex<State>,
    stop: watch::Sender<bool>,
}

#[derive(Debug)]
struct State {
    program: Installed,
    generation: u64,
    /// The one that was used last is at the end, and is used next.
    idle: Vec<(Environment, Instant)>,
    broken: Option<Broken>,
}

/// What a function's processes run.
#[derive(Debug)]
enum Installed {
    /// Nothing, for the reason given.
    Missing(String),
    /// The program, with its files as they were when it was installed.
    Program(Program, Option<Fingerprint>),
}

/// A function that failed at start; it is left alone for a while.
#[derive(Debug)]
struct Broken {
    failures: u32,
    until: Instant,
    failure: InitFailure,
}

/// Why no process can take an event.
enum NoEnvironment {
    Missing(String),
    Failed {
        failure: InitFailure,
        /// It is the first one of this program, so nobody has been told.
        is_news: bool,
    },
}

impl Pool {
    pub(super) fn new(launch: Launch, missing: String) -> Self {
        let limit = launch.function.reserved_concurrency.unwrap_or(DEFAULT_PROCESSES);
        let state = State { program: Installed::Missing(missing), generation: 0, idle: Vec::new(), broken: None };
        Self {
            launch,
            limit,
            places: Semaphore::new(limit),
            admitted: AtomicUsize::new(0),
            state: Mutex::new(state),
            stop: watch::Sender::new(false),
        }
    }

    pub(super) fn label(&self) -> &str {
        &self.launch.label
    }

    /// The label, and where the template has the function if its code is run as it lies.
    pub(super) fn place(&self) -> String {
        let (label, function) = (self.label(), &self.launch.function);
        match &function.template {
            Some(template) if is_script(function) => format!("{label} ({}:{})", template.display(), function.line),
            _ => label.to_owned(),
        }
    }

    /// Installs a program. Processes of another one end after their event; `false` if this very file runs already.
    pub(super) async fn install(&self, program: Program) -> bool {
        let fingerprint = program.fingerprint();
        let retired = {
            let mut state = self.state();
            if fingerprint.is_some()
                && matches!(&state.program, Installed::Program(old, is) if old.starts_as(&program) && *is == fingerprint)
            {
                return false;
            }
            state.program = Installed::Program(program, fingerprint);
            state.generation += 1;
            state.broken = None;
            std::mem::take(&mut state.idle)
        };
        stop_all(retired).await;
        true
    }

    /// Starts a first process, unless there is one or the function has no program to run. The caller tells of a failure.
    pub(super) async fn warm(&self) -> Result<(), InitFailure> {
        if self.limit == 0 || self.launch.function.is_for_deployment {
            return Ok(());
        }
        let Ok(_place) = self.places.acquire().await else { return Ok(()) };
        if !self.state().idle.is_empty() || *self.stop.borrow() {
            return Ok(());
        }
        match self.start().await {
            Ok(environment) => {
                self.keep(environment).await;
                Ok(())
            }
            Err(NoEnvironment::Missing(_)) => Ok(()),
            Err(NoEnvironment::Failed { failure, .. }) => Err(failure),
        }
    }

    /// Runs one event. A future that is dropped kills the process in the middle.
    pub(super) async fn invoke(&self, payload: Bytes, request_id: String) -> Result<Invocation, InvokeError> {
        let started = Instant::now();
        let _admission = self.admit()?;
        let mut stop = self.stop.subscribe();
        tokio::select! {
            biased;
            _ = stop.wait_for(|stop| *stop) => Err(self.unavailable("it is being stopped".to_owned())),
            invocation = self.serve(payload, request_id, started) => invocation,
        }
    }

    async fn serve(&self, payload: Bytes, request_id: String, started: Instant) -> Result<Invocation, InvokeError> {
        let _place = self.places.acquire().await;
        match self.take().await {
            Ok(environment) => Ok(self.run(environment, request_id, payload, started).await),
            Err(NoEnvironment::Missing(reason)) => Err(self.unavailable(reason)),
            Err(NoEnvironment::Failed { failure, is_news }) => {
                if is_news {
                    self.launch.logs.error(&failure.report(&self.place()));
                }
                Ok(Invocation {
                    request_id,
                    payload: failure.payload,
                    function_error: Some(result::UNHANDLED.to_owned()),
                    duration: started.elapsed(),
                    log: failure.lines.join("\n"),
                })
            }
        }
    }

    async fn run(
        &self,
        mut environment: Environment,
        request_id: String,
        payload: Bytes,
        started: Instant,
    ) -> Invocation {
        let function = &self.launch.function;
        let timeout = Duration::from_secs(function.timeout_seconds);
        let event = Event {
            request_id: request_id.clone(),
            deadline_ms: result::epoch_ms() + timeout.as_millis(),
            function_arn: arn(&function.name),
            trace_id: result::trace_id(),
            payload,
        };
        let outcome = environment.run(event, timeout).await;
        let duration = started.elapsed();
        let log = result::log(&request_id, &environment.take_log(), duration, function.memory_mb);
        match &outcome {
            Outcome::Answered(Answer::Last(_)) | Outcome::Exited(_) | Outcome::TimedOut => environment.stop().await,
            Outcome::Answered(_) => self.keep(environment).await,
        }
        if let Some(trouble) = result::trouble(&outcome, timeout) {
            self.launch.logs.error(&format!("function {} {trouble}", self.label()));
        }
        let answered = matches!(outcome, Outcome::Answered(Answer::Response(_)));
        let payload = result::payload(outcome, &request_id, timeout);
        let function_error = (!answered).then(|| result::UNHANDLED.to_owned());
        Invocation { request_id, payload, function_error, duration, log }
    }

    /// A place among those that run or wait.
    fn admit(&self) -> Result<Admission<'_>, InvokeError> {
        let admission = Admission(&self.admitted);
        let before = self.admitted.fetch_add(1, Ordering::Relaxed);
        if self.limit == 0 || before >= ADMITTED {
            return Err(InvokeError::Throttled { function: self.label().to_owned() });
        }
        Ok(admission)
    }

    async fn take(&self) -> Result<Environment, NoEnvironment> {
        loop {
            let idle = self.state().idle.pop();
            let Some((mut environment, _)) = idle else { return self.start().await };
            // One that ended while it had nothing to do is no news: it is replaced.
            if environment.is_alive() {
                return Ok(environment);
            }
        }
    }

    async fn start(&self) -> Result<Environment, NoEnvironment> {
        let (program, generation) = {
            let state = self.state();
            if let Some(broken) = state.broken.as_ref().filter(|broken| broken.until > Instant::now()) {
                return Err(NoEnvironment::Failed { failure: broken.failure.clone(), is_news: false });
            }
            match &state.program {
                Installed::Missing(reason) => return Err(NoEnvironment::Missing(reason.clone())),
                Installed::Program(program, _) => (program.clone(), state.generation),
            }
        };
        let environment = Environment::start(&self.launch, &program, generation).await;
        environment.map_err(|failure| {
            let is_news = self.record(generation, &failure);
            NoEnvironment::Failed { failure, is_news }
        })
    }

    /// Remembers a failed start, so that the next attempt waits, longer each time; whether it is the program's first.
    fn record(&self, generation: u64, failure: &InitFailure) -> bool {
        let mut state = self.state();
        if state.generation != generation {
            return false;
        }
        let failures = state.broken.as_ref().map_or(0, |broken| broken.failures) + 1;
        let pause = Duration::from_millis(500 << failures.min(6)).min(LONGEST_PAUSE);
        state.broken = Some(Broken { failures, until: Instant::now() + pause, failure: failure.clone() });
        failures == 1
    }

    /// Keeps a process for the next event, unless its program has been replaced meanwhile.
    async fn keep(&self, environment: Environment) {
        let outdated = {
            let mut state = self.state();
            if environment.generation == state.generation {
                state.broken = None;
                state.idle.push((environment, Instant::now()));
                None
            } else {
                Some(environment)
            }
        };
        if let Some(environment) = outdated {
            environment.stop().await;
        }
    }

    /// Ends processes that have been idle for longer than `keep`, except for the last one.
    pub(super) async fn reap(&self, keep: Duration) {
        let surplus: Vec<_> = {
            let mut state = self.state();
            let old = state.idle.iter().take_while(|(_, since)| since.elapsed() > keep).count();
            let spare = state.idle.len().saturating_sub(1);
            state.idle.drain(..old.min(spare)).collect()
        };
        stop_all(surplus).await;
    }

    /// Ends all processes, also those that work on an event, and refuses further events.
    pub(super) async fn stop(&self) {
        self.stop.send_replace(true);
        // Who has all places knows that nobody works any more.
        let _places = self.places.acquire_many(u32::try_from(self.limit).unwrap_or(u32::MAX)).await;
        let idle = std::mem::take(&mut self.state().idle);
        stop_all(idle).await;
    }

    fn unavailable(&self, reason: String) -> InvokeError {
        InvokeError::Unavailable { function: self.label().to_owned(), reason }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Counts an event until it is over.
struct Admission<'a>(&'a AtomicUsize);

impl Drop for Admission<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

async fn stop_all(environments: Vec<(Environment, Instant)>) {
    for (environment, _) in environments {
        environment.stop().await;
    }
}
