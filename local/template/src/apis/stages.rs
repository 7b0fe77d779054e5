//! Stages of both kinds of APIs.

use super::super::{Fault, properties::Properties};
use super::{Parts, limits};
use tidings_local_stack::Stage;

/// The longest name of a stage, in characters.
const LONGEST_NAME: usize = 128;

impl Parts<'_> {
    /// The stages of an API, in the template's order.
    pub(super) fn stages(&self, api_id: &str) -> Result<Vec<Stage>, Fault> {
        let mut stages: Vec<Stage> = Vec::new();
        for found in self.of_api(api_id, &["AWS::ApiGatewayV2::Stage"]) {
            let (_, properties) = found?;
            let stage = stage(&properties)?;
            if stages.iter().any(|known| known.name == stage.name) {
                return Err(properties.fault("StageName", format!("repeats the stage `{}` of its API", stage.name)));
            }
            stages.push(stage);
        }
        Ok(stages)
    }
}

fn stage(properties: &Properties<'_>) -> Result<Stage, Fault> {
    let name = properties.required_text("StageName")?;
    let is_allowed = |letter: char| letter.is_ascii_alphanumeric() || matches!(letter, '-' | '_');
    let is_name = name == "$default" || (1..=LONGEST_NAME).contains(&name.len()) && name.chars().all(is_allowed);
    if !is_name {
        let words = format!("must be `$default`, or 1 to {LONGEST_NAME} letters, digits, `-` and `_`, not `{name}`");
        return Err(properties.fault("StageName", words));
    }
    let variables = properties.inside("StageVariables")?.map(|variables| variables.all_texts()).transpose()?;
    Ok(Stage {
        name,
        variables: variables.unwrap_or_default(),
        default_limit: limits::default(properties)?,
        limits: limits::of_routes(properties)?,
    })
}
