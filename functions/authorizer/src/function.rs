//! The function as an application sees it: a hook, and `run`.

use std::fmt;
use std::process::ExitCode;
use std::sync::Arc;

use tidings::function::{BoxError, BoxFuture, Load};
use tidings::{Handshake, Refusal, lambda};

use crate::config::Deps;
use crate::identity::Identity;
use crate::{Authorizer, Hook};

/// The function `authorizer`.
pub struct Function<S = ()> {
    load: Load<S>,
    hook: Option<Hook<S>>,
}

impl Function<()> {
    /// Without a state of the application's own.
    #[must_use]
    pub fn new() -> Self {
        Self { load: Load::nothing(), hook: None }
    }
}

impl Default for Function<()> {
    fn default() -> Self {
        Self::new()
    }
}

impl<S: Send + Sync + 'static> Function<S> {
    /// With a state of the application's own, which `load` makes once in a cold start.
    pub fn with_state<F, E>(load: impl FnOnce() -> F + 'static) -> Self
    where
        F: Future<Output = Result<S, E>> + Send + 'static,
        E: Into<BoxError> + 'static,
    {
        Self { load: Load::new(load), hook: None }
    }

    /// The application's own way to say who a client is, before any token: by an API key, by the cookie of its session.
    /// `None` goes on with tokens. A client that is refused gets 403, or 401 where the refusal says so. A status of 500 and
    /// more says that the hook failed, and that the client may well be a good one: it gets 500, and the function has failed.
    /// API Gateway knows no other status here.
    #[must_use]
    pub fn verify<F>(mut self, hook: impl Fn(Arc<S>, Handshake) -> F + Send + Sync + 'static) -> Self
    where
        F: Future<Output = Result<Option<Identity>, Refusal>> + Send + 'static,
    {
        self.hook = Some(Box::new(move |state, handshake| -> BoxFuture<_> { Box::pin(hook(state, handshake)) }));
        self
    }

    /// What decides without Lambda: in a test, or in a server of one's own.
    ///
    /// # Errors
    /// When the application's state cannot be made.
    pub async fn core(self, deps: Deps) -> Result<Authorizer<S>, BoxError> {
        Ok(Authorizer { deps, state: Arc::new(self.load.load().await?), hook: self.hook })
    }

    /// Serves Lambda until it ends the environment. Reads what [`Deps::from_env`] does.
    #[must_use]
    pub fn run(self) -> ExitCode {
        lambda::run(self.start(), async |authorizer, request, _| authorizer.answer(request).await)
    }

    async fn start(self) -> Result<Authorizer<S>, BoxError> {
        self.core(Deps::from_env()?).await
    }
}

impl<S> fmt::Debug for Function<S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Function").field("has_hook", &self.hook.is_some()).finish_non_exhaustive()
    }
}
