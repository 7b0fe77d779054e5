//! The function as an application sees it: a hook, and `run`.

use std::fmt;
use std::process::ExitCode;
use std::sync::Arc;

use aws_lambda_events::apigw::{ApiGatewayProxyResponse, ApiGatewayWebsocketProxyRequest};
use tidings::aws::Aws;
use tidings::config::optional;
use tidings::context::Notifications;
use tidings::function::{BoxError, Load};
use tidings::lambda::{self, response};
use tidings::metrics::Metrics;
use tidings::registry::Registry;
use tidings::{Caller, Context};

use crate::forget::{Disconnect, Error};
use crate::hook::{Hook, Reason};

/// The function `disconnect`.
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

    /// Called once for each connection that has ended and was registered. API Gateway may forget to say so: then nobody
    /// is told.
    #[must_use]
    pub fn on_disconnect<F>(mut self, hook: impl Fn(Context<S>, Reason) -> F + Send + Sync + 'static) -> Self
    where
        F: Future<Output = Result<(), tidings::Error>> + Send + 'static,
    {
        self.hook = Some(Box::new(move |context, reason| Box::pin(hook(context, reason))));
        self
    }

    /// What forgets connections without Lambda: in a test, or in a server of one's own. The hook notifies through
    /// `notifications`.
    ///
    /// # Errors
    /// When the application's state cannot be made.
    pub async fn core(
        self,
        registry: Registry,
        notifications: Notifications,
        metrics: Metrics,
    ) -> Result<Disconnect<S>, BoxError> {
        let state = Arc::new(self.load.load().await?);
        Ok(Disconnect { registry, notifications, bus: None, metrics, state, hook: self.hook })
    }

    /// Serves Lambda until it ends the environment. Reads what [`Aws::registry_from_env`] does, `NOTIFICATION_QUEUE_URL`
    /// for a hook that notifies, and `EVENT_BUS_NAME`, the bus that is told of connections, if one is.
    #[must_use]
    pub fn run(self) -> ExitCode {
        lambda::run(self.start(), async |disconnect, event, _| serve(disconnect, &event).await)
    }

    async fn start(self) -> Result<Disconnect<S>, BoxError> {
        let aws = Aws::from_env()?;
        let core = self.core(aws.registry_from_env()?, Notifications::from_env(&aws), Metrics::from_env()).await?;
        Ok(core.with_bus(optional("EVENT_BUS_NAME").map(|name| aws.bus(name))))
    }
}

impl<S> fmt::Debug for Function<S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Function").field("has_hook", &self.hook.is_some()).finish_non_exhaustive()
    }
}

async fn serve<S>(
    disconnect: &Disconnect<S>,
    event: &ApiGatewayWebsocketProxyRequest,
) -> Result<ApiGatewayProxyResponse, Error> {
    let context = &event.request_context;
    let id = match lambda::connection(context) {
        Ok(id) => id,
        Err(error) => {
            tracing::warn!(%error, "ignored a $disconnect without a connection");
            return Ok(response(200, None));
        }
    };
    let caller = lambda::caller(event, id.clone()).unwrap_or_else(|_| Caller::anonymous(id));
    let reason = Reason {
        status: context.disconnect_status_code.and_then(|status| u16::try_from(status).ok()),
        text: context.disconnect_reason.clone(),
        connected_at: context.connected_at,
        at: context.request_time_epoch,
    };
    disconnect.handle(caller, reason).await?;
    Ok(response(200, None))
}
