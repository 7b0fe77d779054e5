//! Secrets in AWS.

use aws_sdk_secretsmanager::Client;
use aws_sdk_secretsmanager::error::{ProvideErrorMetadata, SdkError};
use aws_sdk_secretsmanager::operation::get_secret_value::GetSecretValueError;

use super::super::Failure;
use super::super::deployment::Deployment;
use super::super::identity::Identity;
use super::Kind;

/// A secret; where a stack is named whose secret has another name, the one that its resources name.
pub(super) async fn secret(
    endpoint: Option<&str>,
    id: &str,
    stack: Option<&str>,
    kind: &Kind,
    identity: &Identity,
) -> Result<Vec<u8>, Failure> {
    let client = Client::new(&identity.at(endpoint).config().await);
    match (read(&client, id).await, stack) {
        (Ok(secret), _) => Ok(secret),
        // A stack that nests the toolkit's, whose parameter `Name` may be another one.
        (Err(error), Some(stack)) if is_missing(&error) && endpoint.is_none() => {
            let deployment = Deployment::find(identity.at(None), stack).await?;
            let missing = || Failure(format!("the stack {stack} {}", kind.missing));
            let id = deployment.id(kind.resource).ok_or_else(missing)?;
            read(&client, id).await.map_err(|error| failure(&error, id))
        }
        (Err(error), _) => Err(failure(&error, id)),
    }
}

async fn read(client: &Client, id: &str) -> Result<Vec<u8>, SdkError<GetSecretValueError>> {
    let value = client.get_secret_value().secret_id(id).send().await?;
    let binary = value.secret_binary.map(aws_sdk_secretsmanager::primitives::Blob::into_inner);
    Ok(value.secret_string.map(String::into_bytes).or(binary).unwrap_or_default())
}

fn is_missing(error: &SdkError<GetSecretValueError>) -> bool {
    error.as_service_error().is_some_and(GetSecretValueError::is_resource_not_found_exception)
}

/// Why there is no secret, in one sentence.
fn failure(error: &SdkError<GetSecretValueError>, id: &str) -> Failure {
    Failure(match error {
        error if is_missing(error) => {
            format!("there is no secret {id}: are the stack, the region and the account right?")
        }
        SdkError::DispatchFailure(_) | SdkError::ConstructionFailure(_) => format!(
            "cannot call Secrets Manager in AWS ({}): are the credentials and the region set, see --profile and --region?",
            tidings::describe(error)
        ),
        _ => match error.as_service_error().and_then(|error| error.message()) {
            Some(message) => message.to_owned(),
            None => tidings::describe(error),
        },
    })
}
