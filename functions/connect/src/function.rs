//! The function as an application sees it: a hook, and `run`.

use std::fmt;
use std::process::ExitCode;
use std::sync::Arc;

use aws_lambda_events::apigw::{ApiGatewayProxyResponse, ApiGatewayWebsocketProxyRequest};
use aws_lambda_events::http::HeaderValue;
use tidings::aws::Aws;
use tidings::config::optional;
use tidings::context::Notifications;
use tidings::function::{BoxError, Load};
use tidings::lambda::{self, response};
use tidings::metrics::Metrics;
use tidings::protocol::Spoken;
use tidings::registry::Registry;
use tidings::{Context, Handshake, Refusal};

use crate::accept::{Connect, Error, Outcome};
use crate::hook::{Hook, Welcome};

/// The function `connect`.
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

    /// Called for each handshake that could be served, before the connection is registered.
    #[must_use]
    pub fn on_connect<F>(mut self, hook: impl Fn(Context<S>, Handshake) -> F + Send + Sync + 'static) -> Self
    where
        F: Future<Output = Result<Welcome, Refusal>> + Send + 'static,
    {
        self.hook = Some(Box::new(move |context, handshake| Box::pin(hook(context, handshake))));
        self
    }

    /// What serves handshakes without Lambda: in a test, or in a server of one's own. The hook notifies through
    /// `notifications`.
    ///
    /// # Errors
    /// When the application's state cannot be made.
    pub async fn core(
        self,
        registry: Registry,
        notifications: Notifications,
        metrics: Metrics,
    ) -> Result<Connect<S>, BoxError> {
        let state = Arc::new(self.load.load().await?);
        let spoken = Spoken::default();
        Ok(Connect { registry, notifications, bus: None, spoken, metrics, state, hook: self.hook })
    }

    /// Serves Lambda until it ends the environment. Reads what [`Aws::registry_from_env`] does, `NOTIFICATION_QUEUE_URL`
    /// for a hook that notifies, `EVENT_BUS_NAME`, the bus that is told of connections, if one is, and `PROTOCOLS`.
    #[must_use]
    pub fn run(self) -> ExitCode {
        lambda::run(self.start(), async |connect, event, _| serve(connect, event).await)
    }

    async fn start(self) -> Result<Connect<S>, BoxError> {
        let aws = Aws::from_env()?;
        let core = self.core(aws.registry_from_env()?, Notifications::from_env(&aws), Metrics::from_env()).await?;
        let core = core.with_protocols(Spoken::from_env()?);
        Ok(core.with_bus(optional("EVENT_BUS_NAME").map(|name| aws.bus(name))))
    }
}

impl<S> fmt::Debug for Function<S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Function").field("has_hook", &self.hook.is_some()).finish_non_exhaustive()
    }
}

async fn serve<S>(
    connect: &Connect<S>,
    event: ApiGatewayWebsocketProxyRequest,
) -> Result<ApiGatewayProxyResponse, Error> {
    let handshake = match lambda::handshake(&event) {
        Ok(handshake) => handshake,
        Err(error) => return Ok(response(400, Some(error.to_string()))),
    };
    let caller = lambda::caller(&event, handshake.connection.clone());
    Ok(match connect.handle(handshake, caller).await? {
        Outcome::Refused(refusal) => response(refusal.status(), Some(refusal.to_string())),
        Outcome::Accepted { subprotocol } => {
            let mut response = response(200, None);
            if let Some(name) = subprotocol {
                response.headers.insert("sec-websocket-protocol", HeaderValue::from_static(name));
            }
            response
        }
    })
}
