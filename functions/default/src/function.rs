//! The function as an application sees it: actions, and `run`.

use std::fmt;
use std::process::ExitCode;
use std::sync::Arc;

use aws_lambda_events::apigw::{ApiGatewayProxyResponse, ApiGatewayWebsocketProxyRequest};
use serde::de::DeserializeOwned;
use tidings::caller::UnknownCaller;
use tidings::function::{BoxError, Load};
use tidings::lambda::{self, response};
use tidings::{Caller, Context};

use crate::actions::{Actions, Reply};
use crate::commands::Commands;
use crate::frame::Frame;
use crate::services::{Error, Services};

/// The function `default`.
pub struct Function<S = ()> {
    load: Load<S>,
    actions: Actions<S>,
}

impl Function<()> {
    /// Without a state of the application's own.
    #[must_use]
    pub fn new() -> Self {
        Self { load: Load::nothing(), actions: Actions::new() }
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
        Self { load: Load::new(load), actions: Actions::new() }
    }

    /// Adds an action. Its body is the frame's fields but `action` and `id`, read into `B`, which is `()` where there are
    /// none; a frame that does not fit is answered with `BadRequest` and never reaches `handler`. `()` acknowledges, a
    /// [`Reply`] answers.
    ///
    /// # Panics
    /// When the name is taken: a mistake of the program, found at its start.
    #[must_use]
    pub fn on<B, R, F>(
        mut self,
        name: &'static str,
        handler: impl Fn(Context<S>, B) -> F + Send + Sync + 'static,
    ) -> Self
    where
        B: DeserializeOwned,
        R: Into<Reply>,
        F: Future<Output = Result<R, tidings::Error>> + Send + 'static,
    {
        self.actions.add(name, handler);
        self
    }

    /// Called with the text of each frame that no protocol and no action knows: what is no JSON, has no `action`, or one that
    /// nobody has added. Answers as an action does; a frame with an `id` gets it back. A command of the protocol with a
    /// mistake in it, such as a `subscribe` without a topic, is answered with its error and does not come here.
    ///
    /// ```no_run
    /// use serde_json::json;
    /// use tidings::{Context, Error};
    /// use tidings_default::{Function, Reply};
    ///
    /// /// `time` is answered with `{"type":"ack","data":"noon"}`.
    /// async fn plain(_: Context, text: String) -> Result<Reply, Error> {
    ///     match text.as_str() {
    ///         "time" => Ok(Reply::with(json!("noon"))),
    ///         _ => Err(Error::bad_request("ask for the `time`")),
    ///     }
    /// }
    ///
    /// fn main() -> std::process::ExitCode {
    ///     Function::new().otherwise(plain).run()
    /// }
    /// ```
    ///
    /// # Panics
    /// When there is one already: a mistake of the program, found at its start.
    #[must_use]
    pub fn otherwise<R, F>(mut self, handler: impl Fn(Context<S>, String) -> F + Send + Sync + 'static) -> Self
    where
        R: Into<Reply>,
        F: Future<Output = Result<R, tidings::Error>> + Send + 'static,
    {
        self.actions.add_otherwise(handler);
        self
    }

    /// What carries out commands without Lambda: in a test, or in a server of one's own.
    ///
    /// # Errors
    /// When the application's state cannot be made.
    pub async fn core(self, services: Services) -> Result<Commands<S>, BoxError> {
        Ok(Commands { services, state: Arc::new(self.load.load().await?), actions: self.actions })
    }

    /// Serves Lambda until it ends the environment. Reads what [`Services::from_env`] does.
    #[must_use]
    pub fn run(self) -> ExitCode {
        lambda::run(self.start(), async |commands, event, _| serve(commands, event).await)
    }

    async fn start(self) -> Result<Commands<S>, BoxError> {
        self.core(Services::from_env().await?).await
    }
}

impl<S> fmt::Debug for Function<S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Function").field("actions", &self.actions).finish_non_exhaustive()
    }
}

async fn serve<S: Send + Sync + 'static>(
    commands: &Commands<S>,
    event: ApiGatewayWebsocketProxyRequest,
) -> Result<ApiGatewayProxyResponse, Error> {
    let id = lambda::connection(&event.request_context).map_err(Error::Event)?;
    let caller = match lambda::caller(&event, id.clone()) {
        Ok(caller) => caller,
        Err(unknown) => {
            if !matches!(unknown, UnknownCaller::Unauthorized) {
                tracing::error!(error = tidings::describe(&unknown), "this connection has no user and no permissions");
            }
            Caller::anonymous(id)
        }
    };
    let context = event.request_context;
    let mut frame = Frame::new(caller, event.body.unwrap_or_default());
    frame.message = context.message_id.unwrap_or_default();
    frame.at = context.request_time_epoch;
    Ok(response(200, commands.handle(frame).await?))
}
