//! `$input.json` and `$input.path`: JSON paths into the body.

use serde_json::Value;
use serde_json_path::JsonPath;

/// What a path finds in a body; `None` where there is nothing. What may be several things is a list.
pub(super) fn find(body: &Value, path: &str) -> Result<Option<Value>, String> {
    let path = match path.trim() {
        "" => "$".to_owned(),
        path if path.starts_with('$') => path.to_owned(),
        path => format!("$.{path}"),
    };
    match JsonPath::parse(&path) {
        Ok(parsed) => {
            let found = parsed.query(body).all();
            let is_one = !path.contains(['*', '?', ',']) && !path.contains("..") && !path.contains(':');
            Ok(match found.as_slice() {
                [one] if is_one => Some((*one).clone()),
                [] if is_one => None,
                many => Some(many.iter().map(|value| (*value).clone()).collect()),
            })
        }
        // Names that RFC 9535 does not allow without brackets, such as `my-name`, but API Gateway's paths do.
        Err(error) => match names(&path) {
            Some(mut names) => Ok(names.try_fold(body, |value, name| value.get(name)).cloned()),
            None => Err(format!("`{path}` is no JSON path: {}", error.message())),
        },
    }
}

fn names(path: &str) -> Option<impl Iterator<Item = &str>> {
    let names = path.strip_prefix("$.")?;
    (!names.contains(['[', ']', '*', '?', '(', ' ']) && !names.split('.').any(str::is_empty)).then(|| names.split('.'))
}
