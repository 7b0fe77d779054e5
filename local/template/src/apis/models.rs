//! Request models: what a route's messages must look like.

use indexmap::IndexMap;
use serde_json::Value;

use super::super::{Fault, evaluate::Scope, properties::Properties};
use tidings_local_stack::Validation;

/// The models that a route's messages are checked against. Validation takes place only with a
/// `ModelSelectionExpression`, says AWS.
pub(super) fn of_route(api_id: &str, route: &Properties<'_>) -> Result<Option<Validation>, Fault> {
    let Some(selection) = route.text("ModelSelectionExpression")? else { return Ok(None) };
    let Some(models) = route.inside("RequestModels")? else { return Ok(None) };
    let mut schemas = IndexMap::new();
    for (key, name) in models.all_texts()? {
        let Some(schema) = schema(route.scope(), api_id, &name)? else {
            return Err(route.fault("RequestModels", format!("names the model `{name}`, which is not of this API")));
        };
        schemas.insert(key, schema);
    }
    Ok(Some(Validation { selection, models: schemas }))
}

/// The schema of the API's model of this name or logical id.
fn schema(scope: &Scope, api_id: &str, name: &str) -> Result<Option<Value>, Fault> {
    for found in scope.resources_of(&["AWS::ApiGatewayV2::Model"]) {
        let (logical_id, resource) = found?;
        let model = Properties::of(scope, logical_id, resource);
        let is_named = logical_id == name || model.text("Name")?.as_deref() == Some(name);
        if !is_named || model.text("ApiId")?.as_deref() != Some(api_id) {
            continue;
        }
        let node = model.value("Schema")?.ok_or_else(|| model.fault("Schema", "is missing"))?;
        let schema = match node.as_text() {
            Some(text) => {
                serde_json::from_str(text).map_err(|error| model.fault("Schema", format!("is no JSON: {error}")))?
            }
            None => node.to_json(),
        };
        tidings_local_stack::schema::Schema::new(&schema)
            .map_err(|reason| model.fault("Schema", format!("is no use: {reason}")))?;
        return Ok(Some(schema));
    }
    Ok(None)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::super::super::testing::{fault_of_resources, stack_of_resources};
    use super::*;

    fn resources(route: &str, schema: &str) -> String {
        format!(
            "
  F: {{Type: AWS::Serverless::Function}}
  Api:
    Type: AWS::Serverless::WebSocketApi
    Properties:
      RouteSelectionExpression: $request.body.a
      Routes: {{chat: {{FunctionArn: !GetAtt F.Arn, {route}}}}}
  Model: {{Type: AWS::ApiGatewayV2::Model, Properties: {{ApiId: !Ref Api, Name: Chat, ContentType: application/json, Schema: {schema}}}}}
"
        )
    }

    fn validation(route: &str, schema: &str) -> Option<Validation> {
        stack_of_resources(&resources(route, schema)).apis["Api"].routes["chat"].validation.clone()
    }

    #[test]
    fn models_are_found_by_name_and_by_reference() {
        let expected = Validation {
            selection: "$request.body.kind".to_owned(),
            models: [("$default".to_owned(), json!({"type": "object", "required": ["text"]}))].into(),
        };
        for name in ["Chat", "!Ref Model"] {
            let route = format!("ModelSelectionExpression: $request.body.kind, RequestModels: {{$default: {name}}}");
            for schema in ["{type: object, required: [text]}", r#"'{"type": "object", "required": ["text"]}'"#] {
                assert_eq!(validation(&route, schema), Some(expected.clone()), "{name} {schema}");
            }
        }
    }

    #[test]
    fn without_a_selection_expression_nothing_is_checked() {
        assert_eq!(validation("RequestModels: {$default: Chat}", "{}"), None);
    }

    #[test]
    fn a_bad_model_is_told() {
        let route = |name: &str| format!("ModelSelectionExpression: $default, RequestModels: {{$default: {name}}}");
        let fault = |name: &str, schema: &str| fault_of_resources(&resources(&route(name), schema)).text;
        assert_eq!(
            fault("Other", "{}"),
            "`RequestModels` of `ApiChatRoute` names the model `Other`, which is not of this API"
        );
        assert!(fault("Chat", "'{'").starts_with("`Schema` of `Model` is no JSON: "));
        assert!(fault("Chat", "{type: 5}").starts_with("`Schema` of `Model` is no use: "));
    }
}
