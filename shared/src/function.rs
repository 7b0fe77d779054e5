//! What the builders of functions have in common: an application's state, and hooks.

use std::convert::Infallible;
use std::fmt;
use std::pin::Pin;

/// Any error, with its cause.
pub type BoxError = Box<dyn std::error::Error + Send + Sync>;
/// A future in a box: one more layer of `async` would take the compiler of an application to its limit of depth.
pub type BoxFuture<T> = Pin<Box<dyn Future<Output = T> + Send>>;

/// Makes an application's state, once in a cold start.
pub struct Load<S>(Box<dyn FnOnce() -> BoxFuture<Result<S, BoxError>>>);

impl<S> Load<S> {
    /// By this function.
    pub fn new<F, E>(load: impl FnOnce() -> F + 'static) -> Self
    where
        F: Future<Output = Result<S, E>> + Send + 'static,
        E: Into<BoxError> + 'static,
    {
        Self(Box::new(|| {
            let loading = load();
            Box::pin(async { loading.await.map_err(Into::into) })
        }))
    }

    /// Makes it.
    ///
    /// # Errors
    /// With what the function says.
    pub async fn load(self) -> Result<S, BoxError> {
        (self.0)().await
    }
}

impl Load<()> {
    /// There is none.
    #[must_use]
    pub fn nothing() -> Self {
        Self::new(async || Ok::<_, Infallible>(()))
    }
}

impl<S> fmt::Debug for Load<S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Load")
    }
}

/// A function's own failure, which Lambda is told by kind and text.
pub trait Failure: std::error::Error {
    /// Its stable kind, Lambda's `errorType`.
    fn kind(&self) -> &'static str;
}

/// Nothing fails.
impl Failure for Infallible {
    fn kind(&self) -> &'static str {
        match *self {}
    }
}
