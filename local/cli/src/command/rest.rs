//! The REST API of a stack: the one of `tidings dev`, or a deployed one, whose calls are signed.

use std::io::{self, Write as _};
use std::time::Duration;

use bytes::Bytes;
use http::{HeaderValue, Method, Request, StatusCode, header};
use http_body_util::Full;
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};
use serde_json::Value;

use super::Failure;
use super::http::{CallError, call};
use super::identity::{Identity, Named};

/// Where `tidings dev` has the REST API of this project's template, unless told otherwise.
const REST_ENDPOINT: &str = "http://127.0.0.1:3031";

/// Longer than API Gateway takes.
const PATIENCE: Duration = Duration::from_secs(35);

/// What is left as it is in paths and queries: the unreserved characters.
const RESERVED: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'.').remove(b'_').remove(b'~');

/// Where the REST API is, and as whom it is called.
#[derive(Debug, clap::Args)]
pub(super) struct Api {
    #[command(flatten)]
    named: Named,
    /// The REST API; the output RestUrl of a deployed stack [default: the one of `tidings dev`]
    #[arg(long, value_name = "URL", value_parser = http_url, conflicts_with = "stack")]
    endpoint: Option<String>,
    /// A token instead of a signature, where the stack takes tokens
    #[arg(long, env = "TIDINGS_REST_TOKEN", hide_env_values = true)]
    token: Option<String>,
    #[command(flatten)]
    identity: Identity,
    /// Print JSON as the API answers it
    #[arg(long)]
    json: bool,
}

fn http_url(text: &str) -> Result<String, String> {
    let uri: http::Uri = text.parse().map_err(|_| "it is not a URL".to_owned())?;
    match (uri.scheme_str(), uri.host()) {
        (Some("http" | "https"), Some(_)) => Ok(text.trim_end_matches('/').to_owned()),
        _ => Err("it must begin with http:// or https://".to_owned()),
    }
}

/// A name as it stands in a path or a query.
pub(super) fn encoded(name: &str) -> String {
    utf8_percent_encode(name, RESERVED).to_string()
}

/// A path with a query of those parameters that there are.
pub(super) fn target(path: &str, parameters: &[(&str, Option<&str>)]) -> String {
    let given = parameters.iter().filter_map(|(name, value)| Some(format!("{name}={}", encoded((*value)?))));
    let query: Vec<_> = given.collect();
    if query.is_empty() { path.to_owned() } else { format!("{path}?{}", query.join("&")) }
}

impl Api {
    /// Finds the API that is to be called.
    pub(super) async fn open(&self) -> Result<Rest<'_>, Failure> {
        let endpoint = match (&self.endpoint, &self.named.stack) {
            (Some(endpoint), _) => endpoint.clone(),
            (None, Some(stack)) => deployed::url(stack, &self.identity).await?.trim_end_matches('/').to_owned(),
            (None, None) => REST_ENDPOINT.to_owned(),
        };
        Ok(Rest { api: self, endpoint, json: self.json })
    }
}

/// The REST API that is called.
#[derive(Debug)]
pub(super) struct Rest<'a> {
    api: &'a Api,
    endpoint: String,
    /// Whether answers are printed as they come.
    pub(super) json: bool,
}

impl Rest<'_> {
    /// One call; its answer, which is null where there is none.
    pub(super) async fn call(&self, method: Method, target: &str) -> Result<Value, Failure> {
        let url = format!("{}{target}", self.endpoint);
        let mut request = Request::new(Full::<Bytes>::default());
        *request.method_mut() = method;
        *request.uri_mut() = url.parse().map_err(|error| Failure(format!("{url} is not a URL: {error}")))?;
        request.headers_mut().insert(header::ACCEPT, HeaderValue::from_static("application/json"));
        self.authorize(&mut request, &url).await?;
        let (status, body) = self.exchange(request).await?;
        let answer = if body.is_empty() { Ok(Value::Null) } else { serde_json::from_slice(&body) };
        match answer {
            Ok(answer) if status.is_success() => Ok(answer),
            Ok(problem) => Err(self.refused(status, &problem)),
            Err(_) => Err(Failure(format!("{} answers {status}, and not as the REST API does", self.endpoint))),
        }
    }

    async fn exchange(&self, request: Request<Full<Bytes>>) -> Result<(StatusCode, Bytes), Failure> {
        let answer = tokio::time::timeout(PATIENCE, call(request)).await;
        let answer = answer.map_err(|_| Failure(format!("{} does not answer", self.endpoint)))?;
        let (parts, body) = answer.map_err(|error| match error {
            CallError::Unreachable(error) => {
                let hint = if self.endpoint == REST_ENDPOINT { ": is `cargo dev` running?" } else { "" };
                Failure(format!("cannot reach {}{hint} ({})", self.endpoint, tidings::describe(&error)))
            }
            error => Failure(format!("{}: {}", self.endpoint, tidings::describe(&error))),
        })?;
        Ok((parts.status, body))
    }

    /// Adds the token or the signature. What is not encrypted is on this machine, where neither is needed.
    async fn authorize(&self, request: &mut Request<Full<Bytes>>, url: &str) -> Result<(), Failure> {
        let Some(token) = &self.api.token else {
            return if url.starts_with("https:") { deployed::sign(request, &self.api.identity).await } else { Ok(()) };
        };
        let value = HeaderValue::try_from(format!("Bearer {token}"));
        let value = value.map_err(|_| Failure("the token is no token".to_owned()))?;
        request.headers_mut().insert(header::AUTHORIZATION, value);
        Ok(())
    }

    /// What a refusal says: problem details of the API, or a message of API Gateway.
    fn refused(&self, status: StatusCode, problem: &Value) -> Failure {
        let text = |name: &str| problem.get(name).and_then(Value::as_str);
        Failure(match (text("title"), text("detail"), text("message")) {
            (Some(title), Some(detail), _) => format!("{title}: {detail}"),
            (_, _, Some(message)) => format!("{} answers {status}: {message}", self.endpoint),
            _ => format!("{} answers {status}", self.endpoint),
        })
    }
}

/// What only a deployed API needs.
#[cfg(feature = "account")]
mod deployed {
    use aws_credential_types::provider::ProvideCredentials as _;

    use super::super::deployment::Deployment;
    use super::super::http::sign_for;
    use super::{Bytes, Failure, Full, Identity, Request};

    /// Where the API of a stack is.
    pub(super) async fn url(stack: &str, identity: &Identity) -> Result<String, Failure> {
        let deployment = Deployment::find(identity.at(None), stack).await?;
        Ok(deployment.needed_output("RestUrl")?.to_owned())
    }

    /// Signs a call, whose body is empty.
    pub(super) async fn sign(request: &mut Request<Full<Bytes>>, identity: &Identity) -> Result<(), Failure> {
        let config = identity.at(None).config().await;
        let region = config.region().ok_or_else(|| Failure("no region is set; see --region".to_owned()))?;
        let provider = config.credentials_provider().ok_or_else(|| Failure("there are no credentials".to_owned()))?;
        let credentials = provider.provide_credentials().await.map_err(|error| Failure::new(&error))?;
        sign_for(request, b"", ("execute-api", region.as_ref()), credentials)
    }
}

#[cfg(not(feature = "account"))]
mod deployed {
    use super::super::identity::needs_account;
    use super::{Bytes, Failure, Full, Identity, Request};

    pub(super) async fn url(_: &str, _: &Identity) -> Result<String, Failure> {
        Err(needs_account("--stack"))
    }

    pub(super) async fn sign(_: &mut Request<Full<Bytes>>, _: &Identity) -> Result<(), Failure> {
        Err(needs_account("a signed request"))
    }
}

/// Prints a line on standard output.
pub(super) fn print(line: &str) -> Result<(), Failure> {
    let mut stdout = io::stdout();
    let written = writeln!(stdout, "{line}").and_then(|()| stdout.flush());
    written.map_err(|error| Failure(format!("cannot write the answer: {error}")))
}

/// Prints rows under a heading, in columns as wide as they have to be. The heading is bold on a terminal.
pub(super) fn print_table<const N: usize>(heading: [&str; N], rows: &[[String; N]]) -> Result<(), Failure> {
    let width = |column: usize| {
        let cells = rows.iter().map(|row| row[column].chars().count());
        cells.chain([heading[column].chars().count()]).max().unwrap_or_default()
    };
    let widths: [usize; N] = std::array::from_fn(width);
    let line = |cells: [&str; N]| {
        let padded = cells.iter().zip(widths).map(|(cell, width)| format!("{cell:width$}"));
        padded.collect::<Vec<_>>().join("  ").trim_end().to_owned()
    };
    let bold = anstyle::Style::new().bold();
    let mut stdout = anstream::stdout();
    let mut written = writeln!(stdout, "{bold}{}{bold:#}", line(heading));
    for row in rows {
        written = written.and_then(|()| writeln!(stdout, "{}", line(row.each_ref().map(String::as_str))));
    }
    written.and_then(|()| stdout.flush()).map_err(|error| Failure(format!("cannot write the answer: {error}")))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_encoded_whole_and_what_is_not_given_is_left_out() {
        assert_eq!(target("/c", &[("user", None), ("topic", Some("a/b,c d&ü"))]), "/c?topic=a%2Fb%2Cc%20d%26%C3%BC");
        assert_eq!(target("/c", &[("user", None)]), "/c");
    }

    #[test]
    fn an_endpoint_is_a_url_without_a_slash_at_its_end() {
        assert_eq!(http_url("https://abc.example/").unwrap(), "https://abc.example");
        for bad in ["abc.example", "ftp://abc.example", "http://", "ws://a"] {
            assert!(http_url(bad).is_err(), "{bad}");
        }
    }
}
