//! Secrets of a gateway on this machine, or of what behaves as AWS.

use serde_json::{Value, json};

use super::super::Failure;
use super::super::http::{call_local, refused};
use super::Kind;

/// Why there is no secret.
enum Refusal {
    /// There is none of this name.
    Missing,
    /// All else, in one sentence.
    Other(Failure),
}

/// A secret; where the default one is meant, the only one of its kind counts too: an application may give no `Name`.
pub(super) async fn secret(endpoint: &str, id: &str, is_default: bool, kind: &Kind) -> Result<Vec<u8>, Failure> {
    let missing = || {
        Failure(format!(
            "there is no secret {id} at {endpoint}: does it run with `--parameter {}`? Else see --secret-id",
            kind.parameter
        ))
    };
    let failed = |refusal| match refusal {
        Refusal::Missing => missing(),
        Refusal::Other(failure) => failure,
    };
    match read(endpoint, id).await {
        Err(Refusal::Missing) if is_default => {
            let only = only(endpoint, kind.name).await.map_err(failed)?.ok_or_else(missing)?;
            read(endpoint, &only).await.map_err(failed)
        }
        read => read.map_err(failed),
    }
}

async fn read(endpoint: &str, id: &str) -> Result<Vec<u8>, Refusal> {
    let answer = ask(endpoint, "GetSecretValue", &json!({ "SecretId": id })).await?;
    let text = answer["SecretString"].as_str();
    text.map(|text| text.as_bytes().to_vec())
        .ok_or_else(|| Refusal::Other(Failure(format!("the secret {id} is not a text"))))
}

/// The name of the only secret whose name ends so.
async fn only(endpoint: &str, end: &str) -> Result<Option<String>, Refusal> {
    let answer = ask(endpoint, "ListSecrets", &json!({})).await?;
    let secrets = answer["SecretList"].as_array().into_iter().flatten();
    let mut names = secrets.filter_map(|secret| secret["Name"].as_str()).filter(|name| name.ends_with(end));
    Ok(names.next().filter(|_| names.next().is_none()).map(str::to_owned))
}

async fn ask(endpoint: &str, action: &str, input: &Value) -> Result<Value, Refusal> {
    let target = format!("secretsmanager.{action}");
    let headers = [("content-type", "application/x-amz-json-1.1"), ("x-amz-target", target.as_str())];
    let called = call_local(endpoint, "/", ("secretsmanager", &headers), input.to_string()).await;
    let (parts, body) = called.map_err(Refusal::Other)?;
    let answer: Value = serde_json::from_slice(&body).unwrap_or_default();
    match answer["__type"].as_str() {
        _ if parts.status.is_success() => Ok(answer),
        Some(kind) if kind.ends_with("ResourceNotFoundException") => Err(Refusal::Missing),
        _ => Err(Refusal::Other(refused(endpoint, &parts, &answer))),
    }
}
