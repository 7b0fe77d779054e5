//! Secrets of Secrets Manager.

use indexmap::IndexMap;

use super::{Fault, evaluate::Scope, properties::Properties, resource::Resource};
use tidings_local_stack::{GeneratedSecret, Secret, SecretTemplate, SecretValue};

/// Reads all secrets, by logical id.
pub(super) fn read(scope: &Scope) -> Result<IndexMap<String, Secret>, Fault> {
    let found = scope.resources_of(&["AWS::SecretsManager::Secret"]).map(|found| {
        let (logical_id, resource) = found?;
        Ok((scope.place.path_of(logical_id), secret(scope, logical_id, resource)?))
    });
    found.collect()
}

fn secret(scope: &Scope, logical_id: &str, resource: &Resource) -> Result<Secret, Fault> {
    let properties = Properties::of(scope, logical_id, resource);
    let generated = properties.inside("GenerateSecretString")?;
    let value = match (properties.text("SecretString")?, generated) {
        (Some(_), Some(_)) => {
            return Err(properties.fault("SecretString", "and `GenerateSecretString` cannot be there together"));
        }
        (Some(text), None) => SecretValue::Text(text),
        (None, Some(rules)) => SecretValue::Generated(rules_of(&rules)?),
        (None, None) => SecretValue::None,
    };
    Ok(Secret {
        name: scope.name_of(logical_id, resource)?,
        arn: scope.arn_of(logical_id, resource)?,
        description: properties.text("Description")?,
        value,
    })
}

fn rules_of(properties: &Properties<'_>) -> Result<GeneratedSecret, Fault> {
    let default = GeneratedSecret::default();
    let rules = GeneratedSecret {
        length: properties.number("PasswordLength", 1..=4_096)?.unwrap_or(default.length),
        lowercase: !properties.flag("ExcludeLowercase")?,
        uppercase: !properties.flag("ExcludeUppercase")?,
        digits: !properties.flag("ExcludeNumbers")?,
        punctuation: !properties.flag("ExcludePunctuation")?,
        space: properties.flag("IncludeSpace")?,
        excluded: properties.text("ExcludeCharacters")?.unwrap_or_default(),
        require_each_kind: !properties.has("RequireEachIncludedType") || properties.flag("RequireEachIncludedType")?,
        template: template(properties)?,
    };
    if rules.kinds().is_empty() {
        return Err(properties.fault("GenerateSecretString", "leaves no character to choose from"));
    }
    Ok(rules)
}

fn template(properties: &Properties<'_>) -> Result<Option<SecretTemplate>, Fault> {
    match (properties.text("SecretStringTemplate")?, properties.text("GenerateStringKey")?) {
        (None, None) => Ok(None),
        (Some(template), Some(key)) => match serde_json::from_str(&template) {
            Ok(object) => Ok(Some(SecretTemplate { object, key })),
            Err(_) => Err(properties.fault("SecretStringTemplate", "must be a JSON object as text")),
        },
        _ => Err(properties.fault("SecretStringTemplate", "and `GenerateStringKey` belong together")),
    }
}

#[cfg(test)]
mod tests {
    use super::super::testing::{stack_fault_of, stack_of};
    use super::*;

    fn value_of(properties: &str) -> SecretValue {
        let stack = stack_of(&format!("  S: {{Type: AWS::SecretsManager::Secret, Properties: {properties}}}\n"));
        stack.secrets["S"].value.clone()
    }

    #[test]
    fn secrets_are_read_with_how_they_are_made() {
        let stack = stack_of(
            "  Tokens:
    Type: AWS::SecretsManager::Secret
    Properties:
      Name: !Sub ${AWS::StackName}/tokens
      Description: d
      GenerateSecretString: {PasswordLength: 64, ExcludePunctuation: true}
",
        );
        let secret = &stack.secrets["Tokens"];
        assert_eq!(secret.name, "tidings-dev/tokens");
        assert_eq!(secret.arn, "arn:aws:secretsmanager:us-east-1:123456789012:secret:tidings-dev/tokens");
        let rules = GeneratedSecret { length: 64, punctuation: false, ..GeneratedSecret::default() };
        assert_eq!(secret.value, SecretValue::Generated(rules));
        assert_eq!(value_of("{SecretString: fixed}"), SecretValue::Text("fixed".into()));
        assert_eq!(value_of("{}"), SecretValue::None);
        let template = serde_json::json!({"u": 1}).as_object().unwrap().clone();
        let rules = GeneratedSecret {
            template: Some(SecretTemplate { object: template, key: "p".into() }),
            ..GeneratedSecret::default()
        };
        let templated = "{GenerateSecretString: {SecretStringTemplate: '{\"u\": 1}', GenerateStringKey: p}}";
        assert_eq!(value_of(templated), SecretValue::Generated(rules));
    }

    #[test]
    fn a_wrong_secret_is_told() {
        let check = |properties: &str, text: &str| {
            let resource = format!("  S: {{Type: AWS::SecretsManager::Secret, Properties: {properties}}}\n");
            assert_eq!(stack_fault_of(&resource).text, text);
        };
        check(
            "{SecretString: a, GenerateSecretString: {}}",
            "`SecretString` of `S` and `GenerateSecretString` cannot be there together",
        );
        check(
            "{GenerateSecretString: {PasswordLength: 0}}",
            "`PasswordLength` of `S` must be a whole number from 1 to 4096, not `0`",
        );
        check(
            "{GenerateSecretString: {SecretStringTemplate: '{}'}}",
            "`SecretStringTemplate` of `S` and `GenerateStringKey` belong together",
        );
        let none = "{GenerateSecretString: {ExcludeLowercase: true, ExcludeUppercase: true, ExcludeNumbers: true, \
                    ExcludePunctuation: true}}";
        check(none, "`GenerateSecretString` of `S` leaves no character to choose from");
    }
}
