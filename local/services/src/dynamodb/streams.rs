//! Streams as DynamoDB writes them: a write that changes nothing leaves no record.
//!
//! The engine writes one, and what it keeps of a record is what the table's view has. So every stream has both images there, and
//! is trimmed to its view when it is read. An iterator names its stream, as DynamoDB's do.

use std::collections::HashMap;

use serde_json::{Map, Value};

const BOTH: &str = "NEW_AND_OLD_IMAGES";

/// The views of streams, by table.
#[derive(Debug, Default)]
pub(super) struct Streams {
    views: HashMap<String, String>,
}

impl Streams {
    /// Changes a request; the ARN of the stream that it reads, if it does.
    pub(super) fn change_request(&mut self, operation: &str, json: &mut Value) -> Option<String> {
        match operation {
            "CreateTable" | "UpdateTable" => {
                let table = json["TableName"].as_str().map(str::to_owned);
                if let Some(Value::String(view)) =
                    json.get_mut("StreamSpecification").and_then(|it| it.get_mut("StreamViewType"))
                    && is_view(view)
                    && let Some(table) = table
                {
                    self.views.insert(table, std::mem::replace(view, BOTH.to_owned()));
                }
                None
            }
            "GetShardIterator" => json["StreamArn"].as_str().map(str::to_owned),
            "GetRecords" => {
                let (stream, iterator) = json["ShardIterator"].as_str()?.rsplit_once('|')?;
                let (stream, iterator) = (stream.to_owned(), iterator.to_owned());
                json["ShardIterator"] = iterator.into();
                Some(stream)
            }
            _ => None,
        }
    }

    /// Changes an answer; `stream` is the ARN of the stream that was read.
    pub(super) fn change_answer(&self, operation: &str, stream: Option<String>, json: &mut Value) {
        let view_of = |table: &Value| table.as_str().and_then(|table| self.views.get(table)).cloned();
        match operation {
            "CreateTable" | "UpdateTable" | "DeleteTable" | "DescribeTable" => {
                let key = if operation == "DescribeTable" { "Table" } else { "TableDescription" };
                let view = view_of(&json[key]["TableName"]);
                if let (Some(view), Some(specification)) = (view, json[key].get_mut("StreamSpecification")) {
                    specification["StreamViewType"] = view.into();
                }
            }
            "DescribeStream" => {
                if let Some(view) = view_of(&json["StreamDescription"]["TableName"]) {
                    json["StreamDescription"]["StreamViewType"] = view.into();
                }
            }
            "GetShardIterator" => wrap(json, "ShardIterator", stream.as_deref()),
            "GetRecords" => {
                wrap(json, "NextShardIterator", stream.as_deref());
                let table = stream.as_deref().and_then(table_of);
                let view = table.and_then(|table| self.views.get(table)).map_or(BOTH, String::as_str);
                if let Some(Value::Array(records)) = json.get_mut("Records") {
                    records.retain(changes_something);
                    records
                        .iter_mut()
                        .filter_map(|record| record["dynamodb"].as_object_mut())
                        .for_each(|it| trim(it, view));
                }
            }
            _ => {}
        }
    }
}

fn is_view(view: &str) -> bool {
    matches!(view, "KEYS_ONLY" | "NEW_IMAGE" | "OLD_IMAGE" | BOTH)
}

fn table_of(stream: &str) -> Option<&str> {
    stream.split_once(":table/")?.1.split('/').next()
}

fn wrap(json: &mut Value, key: &str, stream: Option<&str>) {
    if let (Some(Value::String(iterator)), Some(stream)) = (json.get_mut(key), stream) {
        *iterator = format!("{stream}|{iterator}");
    }
}

fn changes_something(record: &Value) -> bool {
    let change = &record["dynamodb"];
    record["eventName"] != "MODIFY" || change["OldImage"] != change["NewImage"]
}

/// Leaves of a record what the view has.
fn trim(change: &mut Map<String, Value>, view: &str) {
    for (image, views) in [("OldImage", [BOTH, "OLD_IMAGE"]), ("NewImage", [BOTH, "NEW_IMAGE"])] {
        if !views.contains(&view)
            && let Some(removed) = change.remove(image)
            && let Some(size) = change.get("SizeBytes").and_then(Value::as_u64)
        {
            let left = size.saturating_sub(removed.to_string().len() as u64);
            change.insert("SizeBytes".to_owned(), left.into());
        }
    }
    change.insert("StreamViewType".to_owned(), view.into());
}
