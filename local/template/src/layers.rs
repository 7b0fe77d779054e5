//! Layers of functions, as far as their content is a folder here.

use std::path::PathBuf;

use super::{Fault, properties::Properties};
use tidings_local_stack::Note;

const KINDS: &[&str] = &["AWS::Serverless::LayerVersion", "AWS::Lambda::LayerVersion"];

/// The folders of a function's layers, in the template's order.
pub(super) fn of(properties: &Properties<'_>, notes: &mut Vec<Note>) -> Result<Vec<PathBuf>, Fault> {
    let scope = properties.scope();
    if scope.shared.functions_elsewhere {
        return Ok(Vec::new());
    }
    let names = match properties.texts("Layers") {
        Err(fault) if fault.is_elsewhere => vec!["a layer that only CloudFormation knows".to_owned()],
        names => names?,
    };
    let mut folders = Vec::new();
    for name in names {
        match folder(properties, &name)? {
            Some(folder) => folders.push(folder),
            None => {
                let id = properties.logical_id();
                let text =
                    format!("`Layers` of `{id}`: {name} is no folder of this template, so the function runs without");
                notes.push(properties.note(properties.line_of("Layers"), text));
            }
        }
    }
    Ok(folders)
}

/// The folder of the layer with this ARN.
fn folder(properties: &Properties<'_>, arn: &str) -> Result<Option<PathBuf>, Fault> {
    let scope = properties.scope();
    let Some((_, name)) = arn.split_once(":layer:") else { return Ok(None) };
    let name = name.split(':').next().unwrap_or(name);
    for found in scope.resources_of(KINDS) {
        let (logical_id, resource) = found?;
        if scope.name_of(logical_id, resource)? != name {
            continue;
        }
        let layer = Properties::of(scope, logical_id, resource);
        let asset = Properties::of_metadata(scope, logical_id, resource).text("aws:asset:path")?;
        let key = if layer.has("Content") { "Content" } else { "ContentUri" };
        let given = layer.value(key)?.and_then(|value| value.as_text().map(str::to_owned));
        let path = asset.or(given).filter(|path| !path.starts_with("s3://"));
        return Ok(path.map(|path| scope.place.folder.join(path).components().collect()));
    }
    Ok(None)
}
