//! What a function says about the records that it could not do (`ReportBatchItemFailures`).

use serde_json::Value;

/// The identifiers of the failed records in a function's response, each one of `known`.
///
/// Nothing, `null`, an empty object, and an empty or absent list mean that all went well.
///
/// # Errors
/// When the response is none that Lambda understands; then the whole batch has failed (Lambda Developer Guide,
/// "Implementing partial batch responses").
pub(super) fn read(response: &[u8], known: &[&str]) -> Result<Vec<String>, String> {
    let fault = |why: String| Err(format!("its response names the failed records wrongly: {why}"));
    if response.trim_ascii().is_empty() {
        return Ok(Vec::new());
    }
    let Ok(response) = serde_json::from_slice::<Value>(response) else {
        return fault("it is not JSON".to_owned());
    };
    let items = match response.get("batchItemFailures") {
        Some(Value::Array(items)) => items,
        None | Some(Value::Null) => return Ok(Vec::new()),
        Some(_) => return fault("batchItemFailures is no list".to_owned()),
    };
    let mut failed = Vec::new();
    for item in items {
        match item["itemIdentifier"].as_str() {
            Some(id) if known.contains(&id) => failed.push(id.to_owned()),
            Some(id) => return fault(format!("itemIdentifier {id:?} is of no record of this batch")),
            None => return fault("an item has no text in itemIdentifier".to_owned()),
        }
    }
    Ok(failed)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(response: &str, expected: Result<&[&str], &str>) {
        let failed = read(response.as_bytes(), &["a", "b"]);
        match expected {
            Ok(ids) => assert_eq!(failed.unwrap(), ids, "{response}"),
            Err(words) => assert!(failed.unwrap_err().ends_with(words), "{response}"),
        }
    }

    #[test]
    fn what_names_no_record_is_a_success() {
        for response in
            ["", " ", "null", "{}", "\"done\"", r#"{"batchItemFailures":[]}"#, r#"{"batchItemFailures":null}"#]
        {
            check(response, Ok(&[]));
        }
    }

    #[test]
    fn named_records_have_failed() {
        check(r#"{"batchItemFailures":[{"itemIdentifier":"b"}]}"#, Ok(&["b"]));
    }

    #[test]
    fn what_is_malformed_fails_the_whole_batch() {
        check("{", Err("it is not JSON"));
        check(r#"{"batchItemFailures":"a"}"#, Err("batchItemFailures is no list"));
        check(r#"{"batchItemFailures":[{"itemIdentifier":"c"}]}"#, Err("is of no record of this batch"));
        check(r#"{"batchItemFailures":[{"itemIdentifier":""}]}"#, Err("is of no record of this batch"));
        check(r#"{"batchItemFailures":[{"itemIdentifier":null}]}"#, Err("has no text in itemIdentifier"));
        check(r#"{"batchItemFailures":[{"id":"a"}]}"#, Err("has no text in itemIdentifier"));
    }
}
