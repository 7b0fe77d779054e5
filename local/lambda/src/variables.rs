//! The environment variables of a function's process.

use std::net::SocketAddr;

use tidings_local_services::Keys;
use tidings_local_stack::Function;

use super::names::REGION;

/// What a process takes over from the developer's own environment. Nothing else: a function that works only because of
/// a variable in somebody's shell would fail when deployed, and `AWS_*` would lead it to a real account.
const INHERITED: [&str; 18] = [
    "PATH",
    "HOME",
    "USER",
    "LOGNAME",
    "TMPDIR",
    "TEMP",
    "TMP",
    "SystemRoot",
    "LD_LIBRARY_PATH",
    "DYLD_LIBRARY_PATH",
    "SSL_CERT_FILE",
    "SSL_CERT_DIR",
    "RUST_LOG",
    "RUST_BACKTRACE",
    "RUST_LIB_BACKTRACE",
    "LLVM_PROFILE_FILE",
    "NO_COLOR",
    "TERM",
];

/// Where the functions find the services that they use.
#[derive(Debug, Clone)]
pub struct Services {
    /// `AWS_ENDPOINT_URL_DYNAMODB`.
    pub dynamodb: Option<String>,
    /// `AWS_ENDPOINT_URL_SQS`.
    pub sqs: Option<String>,
    /// `AWS_ENDPOINT_URL_SECRETS_MANAGER`.
    pub secrets_manager: Option<String>,
    /// `AWS_ENDPOINT_URL_SNS`.
    pub sns: Option<String>,
    /// `AWS_ENDPOINT_URL_EVENTBRIDGE`.
    pub eventbridge: Option<String>,
    /// `AWS_ENDPOINT_URL_APIGATEWAYMANAGEMENTAPI`, with the stage.
    pub management: Option<String>,
    /// `AWS_REGION`.
    pub region: String,
    /// The credentials of the functions' role.
    pub keys: Keys,
}

impl Default for Services {
    fn default() -> Self {
        Self {
            dynamodb: None,
            sqs: None,
            secrets_manager: None,
            sns: None,
            eventbridge: None,
            management: None,
            region: REGION.to_owned(),
            keys: Keys::local(),
        }
    }
}

/// All variables of one process. The template's come last and win, except for Lambda's reserved ones, which no template
/// can set.
pub(super) fn variables(
    function: &Function,
    services: &Services,
    runtime_api: SocketAddr,
    inherited: impl Fn(&str) -> Option<String>,
) -> Vec<(String, String)> {
    let mut variables: Vec<(String, String)> =
        INHERITED.iter().filter_map(|name| Some(((*name).to_owned(), inherited(name)?))).collect();
    let mut set = |name: &str, value: &str| variables.push((name.to_owned(), value.to_owned()));
    set("LANG", "en_US.UTF-8");
    set("TZ", ":UTC");
    for (name, endpoint) in [
        ("AWS_ENDPOINT_URL_DYNAMODB", &services.dynamodb),
        ("AWS_ENDPOINT_URL_SQS", &services.sqs),
        ("AWS_ENDPOINT_URL_SECRETS_MANAGER", &services.secrets_manager),
        ("AWS_ENDPOINT_URL_SNS", &services.sns),
        ("AWS_ENDPOINT_URL_EVENTBRIDGE", &services.eventbridge),
        ("AWS_ENDPOINT_URL_APIGATEWAYMANAGEMENTAPI", &services.management),
    ] {
        if let Some(endpoint) = endpoint {
            set(name, endpoint);
        }
    }
    for (name, value) in &function.environment {
        set(name, value);
    }
    reserved(function, services, runtime_api, &mut set);
    variables
}

/// Names that Lambda sets itself (Lambda Developer Guide, "Defined runtime environment variables").
fn reserved(function: &Function, services: &Services, runtime_api: SocketAddr, set: &mut impl FnMut(&str, &str)) {
    let name = function.name.as_str();
    let root = function.code.as_deref().map(|code| code.to_string_lossy().into_owned());
    set("AWS_LAMBDA_RUNTIME_API", &runtime_api.to_string());
    set("AWS_LAMBDA_FUNCTION_NAME", name);
    set("AWS_LAMBDA_FUNCTION_VERSION", "$LATEST");
    set("AWS_LAMBDA_FUNCTION_MEMORY_SIZE", &function.memory_mb.to_string());
    set("AWS_LAMBDA_INITIALIZATION_TYPE", "on-demand");
    set("AWS_LAMBDA_LOG_GROUP_NAME", &format!("/aws/lambda/{name}"));
    set("AWS_LAMBDA_LOG_STREAM_NAME", "local/[$LATEST]");
    set("AWS_LAMBDA_LOG_FORMAT", if function.json_logs { "JSON" } else { "Text" });
    set("AWS_REGION", &services.region);
    set("AWS_DEFAULT_REGION", &services.region);
    set("AWS_ACCESS_KEY_ID", &services.keys.access_key_id);
    set("AWS_SECRET_ACCESS_KEY", &services.keys.secret_access_key);
    if let Some(token) = &services.keys.session_token {
        set("AWS_SESSION_TOKEN", token);
    }
    set("_HANDLER", function.handler.as_deref().unwrap_or("bootstrap"));
    set("LAMBDA_TASK_ROOT", root.as_deref().unwrap_or("."));
    set("LAMBDA_RUNTIME_DIR", "/var/runtime");
}

#[cfg(test)]
mod tests {
    use std::collections::HashMap;

    use super::*;

    fn of(function: &Function) -> HashMap<String, String> {
        let shell = |name: &str| (name == "RUST_LOG").then(|| "debug".to_owned());
        let services = Services { dynamodb: Some("http://127.0.0.1:8000".into()), ..Services::default() };
        variables(function, &services, "127.0.0.1:9".parse().unwrap(), shell).into_iter().collect()
    }

    fn function(name: &str, code: Option<&str>) -> Function {
        Function::new(name, code.map(Into::into))
    }

    #[test]
    fn the_template_can_override_an_endpoint_but_no_reserved_name() {
        let mut function = function("f", None);
        function.environment.insert("AWS_ENDPOINT_URL_DYNAMODB".into(), "http://elsewhere".into());
        function.environment.insert("AWS_LAMBDA_FUNCTION_NAME".into(), "forged".into());
        let variables = of(&function);
        assert_eq!(variables["AWS_ENDPOINT_URL_DYNAMODB"], "http://elsewhere");
        assert_eq!(variables["AWS_LAMBDA_FUNCTION_NAME"], "f");
    }

    #[test]
    fn only_named_variables_are_inherited() {
        let variables = of(&function("f", None));
        assert_eq!(variables["RUST_LOG"], "debug");
        assert!(!variables.contains_key("PATH"), "the shell has none");
        assert_eq!(variables["AWS_ACCESS_KEY_ID"], "local");
        assert_eq!(variables["AWS_LAMBDA_RUNTIME_API"], "127.0.0.1:9");
        assert_eq!(variables["AWS_ENDPOINT_URL_DYNAMODB"], "http://127.0.0.1:8000");
    }
}
