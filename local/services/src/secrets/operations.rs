//! The API's calls. Messages are those of AWS.

use serde_json::{Value as Json, json};
use uuid::Uuid;

use super::{CURRENT, Secret, Secrets, Value, Version, now};

/// The largest value, in bytes.
const LARGEST: usize = 65_536;

/// Why a call fails: the error's name and one sentence.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Refusal {
    pub code: &'static str,
    pub message: String,
}

type Answer = Result<Json, Refusal>;

/// Carries out a call.
pub(crate) fn call(secrets: &Secrets, action: &str, input: &Json) -> Answer {
    match action {
        "GetSecretValue" => with(secrets, input, |secret| get(secret, input)),
        "PutSecretValue" => with(secrets, input, |secret| {
            let answer = put(secret, input)?;
            secrets.write(secret).map_err(|error| {
                refusal("InternalServiceError", format!("The data folder cannot be written: {error}"))
            })?;
            Ok(answer)
        }),
        "DescribeSecret" => with(secrets, input, |secret| Ok(describe(secret))),
        "ListSecrets" => Ok(json!({"SecretList": secrets.lock().values().map(describe).collect::<Vec<_>>()})),
        _ => Err(refusal("UnknownOperationException", format!("{action} is not served here"))),
    }
}

fn refusal(code: &'static str, message: impl Into<String>) -> Refusal {
    Refusal { code, message: message.into() }
}

fn invalid(message: &str) -> Refusal {
    refusal("InvalidParameterException", message)
}

/// Does something with the secret of this name or ARN.
fn with(secrets: &Secrets, input: &Json, work: impl FnOnce(&mut Secret) -> Answer) -> Answer {
    let id =
        input["SecretId"].as_str().ok_or_else(|| invalid("You must provide a value for the SecretId parameter."))?;
    let mut secrets = secrets.lock();
    let secret = secrets.values_mut().find(|secret| secret.name == id || secret.arn == id);
    let missing = "Secrets Manager can't find the specified secret.";
    work(secret.ok_or_else(|| refusal("ResourceNotFoundException", missing))?)
}

fn get(secret: &Secret, input: &Json) -> Answer {
    let (id, stage) = (input["VersionId"].as_str(), input["VersionStage"].as_str());
    let found = match (id, stage) {
        (Some(id), _) => secret.history.versions.get_key_value(id),
        (None, stage) => {
            secret.with_stage(stage.unwrap_or(CURRENT)).and_then(|id| secret.history.versions.get_key_value(id))
        }
    };
    let found =
        found.filter(|(_, version)| stage.is_none_or(|stage| version.stages.iter().any(|other| other == stage)));
    let Some((id, version)) = found else {
        let what = match id {
            Some(id) => format!("VersionId: {id}"),
            None => format!("staging label: {}", stage.unwrap_or(CURRENT)),
        };
        let text = format!("Secrets Manager can't find the specified secret value for {what}");
        return Err(refusal("ResourceNotFoundException", text));
    };
    let mut answer = json!({
        "ARN": secret.arn,
        "Name": secret.name,
        "VersionId": id,
        "VersionStages": version.stages,
        "CreatedDate": version.created,
    });
    match &version.value {
        Value::Text(text) => answer["SecretString"] = text.as_str().into(),
        Value::Binary(text) => answer["SecretBinary"] = text.as_str().into(),
    }
    Ok(answer)
}

fn put(secret: &mut Secret, input: &Json) -> Answer {
    let value = match (input["SecretString"].as_str(), input["SecretBinary"].as_str()) {
        (Some(text), None) => Value::Text(text.to_owned()),
        (None, Some(bytes)) => Value::Binary(bytes.to_owned()),
        _ => return Err(invalid("You must provide either SecretString or SecretBinary.")),
    };
    let (Value::Text(text) | Value::Binary(text)) = &value;
    if text.is_empty() || text.len() > LARGEST {
        return Err(invalid("A secret value must have 1 to 65536 bytes."));
    }
    let id = input["ClientRequestToken"].as_str().map_or_else(|| Uuid::new_v4().to_string(), str::to_owned);
    if secret.history.versions.get(&id).is_some_and(|version| version.value != value) {
        let text = "A version with this ClientRequestToken exists with another value.";
        return Err(refusal("ResourceExistsException", text));
    }
    let stages = match input["VersionStages"].as_array() {
        Some(stages) => stages.iter().filter_map(|stage| stage.as_str().map(str::to_owned)).collect(),
        None => vec![CURRENT.to_owned()],
    };
    secret.put(id.clone(), value, stages);
    let stages = secret.history.versions.get(&id).map(|version| version.stages.clone()).unwrap_or_default();
    Ok(json!({"ARN": secret.arn, "Name": secret.name, "VersionId": id, "VersionStages": stages}))
}

fn describe(secret: &Secret) -> Json {
    let stages = |(id, version): (&String, &Version)| (id.clone(), json!(version.stages));
    let mut answer = json!({
        "ARN": secret.arn,
        "Name": secret.name,
        "CreatedDate": secret.history.created,
        "LastChangedDate": secret.history.changed,
        "LastAccessedDate": now(),
        "VersionIdsToStages": secret.history.versions.iter().map(stages).collect::<serde_json::Map<_, _>>(),
    });
    if let Some(description) = &secret.description {
        answer["Description"] = description.as_str().into();
    }
    answer
}

#[cfg(test)]
mod tests {
    use super::*;
    use tidings_local_stack::{self as stack, GeneratedSecret, SecretValue};

    fn secrets(value: SecretValue) -> Secrets {
        let arn = "arn:aws:secretsmanager:us-east-1:123456789012:secret:s/tokens".to_owned();
        Secrets::new([&stack::Secret { name: "s/tokens".into(), arn, description: Some("d".into()), value }])
    }

    fn text(secrets: &Secrets, stage: &str) -> Option<String> {
        let input = json!({"SecretId": "s/tokens", "VersionStage": stage});
        Some(call(secrets, "GetSecretValue", &input).ok()?["SecretString"].as_str()?.to_owned())
    }

    fn put(secrets: &Secrets, value: &str) -> Json {
        let input = json!({"SecretId": "s/tokens", "SecretString": value});
        super::call(secrets, "PutSecretValue", &input).unwrap()
    }

    #[test]
    fn a_secret_is_found_by_its_name_and_its_arn_and_stays_the_same() {
        let secrets = secrets(SecretValue::Generated(GeneratedSecret::default()));
        let get = |id: &str| call(&secrets, "GetSecretValue", &json!({"SecretId": id}));
        let by_name = get("s/tokens").unwrap();
        assert_eq!(get(by_name["ARN"].as_str().unwrap()).unwrap(), by_name);
        assert_eq!(by_name["VersionStages"], json!(["AWSCURRENT"]));
        assert_eq!(by_name["SecretString"].as_str().unwrap().len(), 32);
        assert_eq!(get("other").unwrap_err().code, "ResourceNotFoundException");
    }

    #[test]
    fn a_new_value_makes_the_one_before_the_previous_and_forgets_the_oldest() {
        let secrets = secrets(SecretValue::Text("one".into()));
        assert_eq!((text(&secrets, "AWSCURRENT").as_deref(), text(&secrets, "AWSPREVIOUS")), (Some("one"), None));
        put(&secrets, "two");
        put(&secrets, "three");
        assert_eq!(text(&secrets, "AWSCURRENT").as_deref(), Some("three"));
        assert_eq!(text(&secrets, "AWSPREVIOUS").as_deref(), Some("two"));
        let described = call(&secrets, "DescribeSecret", &json!({"SecretId": "s/tokens"})).unwrap();
        assert_eq!(described["VersionIdsToStages"].as_object().unwrap().len(), 2, "{described}");
        assert!(!described.to_string().contains("three"), "no value: {described}");
        assert_eq!(call(&secrets, "ListSecrets", &json!({})).unwrap()["SecretList"][0]["Name"], "s/tokens");
    }

    #[test]
    fn what_was_generated_and_put_is_there_at_the_next_start() {
        let folder = tempfile::tempdir().unwrap();
        let store = crate::data::Store::open(&folder.path().join("store")).unwrap();
        let template = |name: &str| stack::Secret {
            name: name.to_owned(),
            arn: format!("arn:aws:secretsmanager:us-east-1:123456789012:secret:{name}"),
            description: None,
            value: SecretValue::Generated(GeneratedSecret::default()),
        };
        let both = [template("s/tokens"), template("s/other")];
        let first = Secrets::kept(&both, &store).unwrap();
        let generated = first.text("s/other").unwrap();
        put(&first, "mine");
        let again = Secrets::kept(&both, &store).unwrap();
        assert_eq!(text(&again, "AWSCURRENT").as_deref(), Some("mine"));
        assert_eq!(again.text("s/other"), Some(generated));
    }

    #[test]
    fn a_request_token_makes_a_put_that_can_be_repeated() {
        let secrets = secrets(SecretValue::None);
        assert_eq!(text(&secrets, "AWSCURRENT"), None);
        let put = |value: &str| {
            let token = "11111111-1111-1111-1111-111111111111";
            let input = json!({"SecretId": "s/tokens", "SecretString": value, "ClientRequestToken": token});
            call(&secrets, "PutSecretValue", &input)
        };
        assert_eq!(put("a"), put("a"));
        assert_eq!(put("b").unwrap_err().code, "ResourceExistsException");
        assert_eq!(text(&secrets, "AWSPREVIOUS"), None);
    }

    #[test]
    fn what_is_wrong_is_told() {
        let secrets = secrets(SecretValue::Text("one".into()));
        for (action, input, code) in [
            ("GetSecretValue", json!({}), "InvalidParameterException"),
            ("PutSecretValue", json!({"SecretId": "s/tokens"}), "InvalidParameterException"),
            ("PutSecretValue", json!({"SecretId": "s/tokens", "SecretString": ""}), "InvalidParameterException"),
            ("RotateSecret", json!({"SecretId": "s/tokens"}), "UnknownOperationException"),
        ] {
            assert_eq!(call(&secrets, action, &input).unwrap_err().code, code, "{action} {input}");
        }
    }
}
