//! Whether a table that is there already is the one of the template.

use std::collections::{BTreeMap, BTreeSet};

use aws_sdk_dynamodb::types::{KeySchemaElement, TableDescription};
use serde_json::Value;

/// Attributes with what they are in a key, `HASH` or `RANGE`.
type Keys = BTreeSet<(String, String)>;

/// Whether a table has the keys and at least the indexes of a `CreateTable` request.
pub(super) fn is_of(table: &TableDescription, create: &Value) -> bool {
    let mut indexes = BTreeMap::new();
    for index in table.global_secondary_indexes() {
        indexes.insert(index.index_name().unwrap_or_default().to_owned(), described(index.key_schema()));
    }
    for index in table.local_secondary_indexes() {
        indexes.insert(index.index_name().unwrap_or_default().to_owned(), described(index.key_schema()));
    }
    let wanted = ["GlobalSecondaryIndexes", "LocalSecondaryIndexes"].into_iter();
    let mut wanted = wanted.filter_map(|kind| create[kind].as_array()).flatten();
    described(table.key_schema()) == asked_for(create)
        && wanted.all(|index| indexes.get(index["IndexName"].as_str().unwrap_or_default()) == Some(&asked_for(index)))
}

fn described(schema: &[KeySchemaElement]) -> Keys {
    schema.iter().map(|key| (key.attribute_name.clone(), key.key_type.as_str().to_owned())).collect()
}

fn asked_for(table_or_index: &Value) -> Keys {
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    let schema = table_or_index["KeySchema"].as_array().into_iter().flatten();
    schema.map(|key| (text(&key["AttributeName"]), text(&key["KeyType"]))).collect()
}
