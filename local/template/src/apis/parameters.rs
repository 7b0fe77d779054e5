//! `RequestParameters` of an integration: what goes into the request to the service beside its body (API Gateway Developer
//! Guide, "Set up data mapping for WebSocket APIs").

use super::super::{Fault, properties::Properties};
use tidings_local_stack::{Note, ParameterPlace, ParameterValue, RequestParameter};

const USAGE: &str = "`'text'`, `route.request.body.PATH`, `route.request.header.NAME`, `route.request.querystring.NAME`, \
                     `stageVariables.NAME` or `context.NAME`";

/// Reads all of them; API Gateway refuses others when they are deployed ("Invalid mapping expression specified").
pub(super) fn read(integration: &Properties<'_>, notes: &mut Vec<Note>) -> Result<Vec<RequestParameter>, Fault> {
    let Some(given) = integration.inside("RequestParameters")? else { return Ok(Vec::new()) };
    let mut parameters = Vec::new();
    for (key, value) in given.all_texts()? {
        let Some((place, name)) = destination(&key) else {
            let words = "must be `integration.request.header.NAME`, `integration.request.querystring.NAME` or \
                         `integration.request.path.NAME`";
            return Err(given.fault(&key, words));
        };
        if value.starts_with("route.request.multivalue") {
            let text = format!("`{key}` of `{}`: of several values the last one counts locally", given.logical_id());
            notes.push(given.note(given.line_of(&key), text));
        }
        let value = source(&value).ok_or_else(|| given.fault(&key, format!("must be {USAGE}, not `{value}`")))?;
        parameters.push(RequestParameter { place, name: name.to_owned(), value });
    }
    Ok(parameters)
}

fn destination(key: &str) -> Option<(ParameterPlace, &str)> {
    let (place, name) = key.strip_prefix("integration.request.")?.split_once('.')?;
    let place = match place {
        "header" => ParameterPlace::Header,
        "querystring" => ParameterPlace::Query,
        "path" => ParameterPlace::Path,
        _ => return None,
    };
    (!name.is_empty()).then_some((place, name))
}

fn source(value: &str) -> Option<ParameterValue> {
    if let Some(text) = value.strip_prefix('\'') {
        return text.strip_suffix('\'').map(|text| ParameterValue::Static(text.to_owned()));
    }
    type Make = fn(String) -> ParameterValue;
    let sources: [(&str, Make); 7] = [
        ("route.request.body.", ParameterValue::Body),
        ("route.request.header.", ParameterValue::Header),
        ("route.request.multivalueheader.", ParameterValue::Header),
        ("route.request.querystring.", ParameterValue::Query),
        ("route.request.multivaluequerystring.", ParameterValue::Query),
        ("stageVariables.", ParameterValue::StageVariable),
        ("context.", ParameterValue::Context),
    ];
    let found = sources.iter().find_map(|(prefix, make)| Some((value.strip_prefix(prefix)?, make)));
    found.filter(|(name, _)| !name.is_empty()).map(|(name, make)| make(name.to_owned()))
}
