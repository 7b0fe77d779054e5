//! DynamoDB tables, as the input that `CreateTable` takes.

use indexmap::IndexMap;
use serde_json::{Map, Value, json};

use super::{Fault, evaluate::Scope, properties::Properties, resource::Resource};
use tidings_local_stack::Table;

/// Reads all tables, by logical id.
pub(super) fn read(scope: &Scope) -> Result<IndexMap<String, Table>, Fault> {
    scope
        .resources_of(&["AWS::DynamoDB::Table", "AWS::DynamoDB::GlobalTable"])
        .map(|found| {
            let (logical_id, resource) = found?;
            Ok((scope.place.path_of(logical_id), table(scope, logical_id, resource)?))
        })
        .collect()
}

fn table(scope: &Scope, logical_id: &str, resource: &Resource) -> Result<Table, Fault> {
    let properties = Properties::of(scope, logical_id, resource);
    let name = scope.name_of(logical_id, resource)?;
    let is_provisioned = properties.text("BillingMode")?.as_deref() != Some("PAY_PER_REQUEST");
    let throughput = throughput(&properties)?.filter(|_| is_provisioned);

    let mut create = Map::new();
    create.insert("TableName".to_owned(), name.as_str().into());
    create.insert("AttributeDefinitions".to_owned(), rows(&properties, "AttributeDefinitions", "AttributeType")?);
    create.insert("KeySchema".to_owned(), rows(&properties, "KeySchema", "KeyType")?);
    let billing = if throughput.is_some() { "PROVISIONED" } else { "PAY_PER_REQUEST" };
    create.insert("BillingMode".to_owned(), billing.into());
    for key in ["GlobalSecondaryIndexes", "LocalSecondaryIndexes"] {
        let is_provisioned = throughput.is_some() && key == "GlobalSecondaryIndexes";
        let indexes = properties.each(key)?;
        let indexes: Vec<_> = indexes.iter().map(|one| index(one, is_provisioned)).collect::<Result<_, _>>()?;
        if !indexes.is_empty() {
            create.insert(key.to_owned(), indexes.into());
        }
    }
    check_attributes(&properties, &create)?;
    if let Some(throughput) = throughput {
        create.insert("ProvisionedThroughput".to_owned(), throughput);
    }
    if let Some(stream) = properties.inside("StreamSpecification")? {
        let view = stream.required_text("StreamViewType")?;
        let stream = json!({"StreamEnabled": true, "StreamViewType": view});
        create.insert("StreamSpecification".to_owned(), stream);
    }
    Ok(Table { name, create: create.into(), ttl_attribute: ttl_attribute(&properties)? })
}

fn index(properties: &Properties<'_>, is_provisioned: bool) -> Result<Value, Fault> {
    let mut index = Map::new();
    index.insert("IndexName".to_owned(), properties.required_text("IndexName")?.into());
    index.insert("KeySchema".to_owned(), rows(properties, "KeySchema", "KeyType")?);
    if let Some(projection) = properties.inside("Projection")? {
        let mut out = Map::new();
        out.extend(projection.text("ProjectionType")?.map(|kind| ("ProjectionType".to_owned(), kind.into())));
        if projection.has("NonKeyAttributes") {
            out.insert("NonKeyAttributes".to_owned(), projection.texts("NonKeyAttributes")?.into());
        }
        index.insert("Projection".to_owned(), out.into());
    }
    let throughput = throughput(properties)?.filter(|_| is_provisioned);
    index.extend(throughput.map(|throughput| ("ProvisionedThroughput".to_owned(), throughput)));
    Ok(index.into())
}

/// DynamoDB wants a definition for each attribute of a key, and for no other.
fn check_attributes(properties: &Properties<'_>, create: &Map<String, Value>) -> Result<(), Fault> {
    let names = |rows: &Value| -> Vec<String> {
        let rows = rows.as_array().into_iter().flatten();
        rows.filter_map(|row| row["AttributeName"].as_str().map(str::to_owned)).collect()
    };
    let defined = names(&create["AttributeDefinitions"]);
    let indexes = ["GlobalSecondaryIndexes", "LocalSecondaryIndexes"].map(|key| create.get(key));
    let indexes = indexes.into_iter().flatten().flat_map(|indexes| indexes.as_array().into_iter().flatten());
    let used: Vec<_> =
        indexes.flat_map(|index| names(&index["KeySchema"])).chain(names(&create["KeySchema"])).collect();
    if let Some(name) = used.iter().find(|name| !defined.contains(name)) {
        return Err(properties.fault("AttributeDefinitions", format!("lacks `{name}`, which is part of a key")));
    }
    match defined.iter().find(|name| !used.contains(name)) {
        Some(name) => {
            let words = format!("has `{name}`, which is part of no key; DynamoDB refuses the table");
            Err(properties.fault("AttributeDefinitions", words))
        }
        None => Ok(()),
    }
}

/// A list of attributes, each with its name and one more property.
fn rows(properties: &Properties<'_>, key: &str, second: &str) -> Result<Value, Fault> {
    let rows = properties.each(key)?;
    if rows.is_empty() {
        return Err(properties.fault(key, "must be a list with at least one attribute"));
    }
    rows.iter()
        .map(|row| {
            let name = row.required_text("AttributeName")?;
            Ok(json!({"AttributeName": name, second: row.required_text(second)?}))
        })
        .collect()
}

fn throughput(properties: &Properties<'_>) -> Result<Option<Value>, Fault> {
    let Some(throughput) = properties.inside("ProvisionedThroughput")? else { return Ok(None) };
    let units = |key: &str| throughput.number(key, 1..=i64::MAX)?.ok_or_else(|| throughput.fault(key, "is missing"));
    let (read, write) = (units("ReadCapacityUnits")?, units("WriteCapacityUnits")?);
    Ok(Some(json!({"ReadCapacityUnits": read, "WriteCapacityUnits": write})))
}

fn ttl_attribute(properties: &Properties<'_>) -> Result<Option<String>, Fault> {
    match properties.inside("TimeToLiveSpecification")? {
        Some(ttl) if ttl.flag("Enabled")? => ttl.required_text("AttributeName").map(Some),
        _ => Ok(None),
    }
}

#[cfg(test)]
mod tests {
    use super::super::testing::{named, stack_fault_of, stack_of};
    use super::*;

    fn check(kind: &str, properties: &str, expected: Value) {
        let stack = stack_of(&format!("  Table:\n    Type: {kind}\n    Properties: {properties}\n"));
        assert_eq!(stack.tables["Table"].create, expected, "{properties}");
    }

    fn check_fault(kind: &str, properties: &str, text: &str) {
        let fault = stack_fault_of(&format!("  Table:\n    Type: {kind}\n    Properties: {properties}\n"));
        assert_eq!(fault.text, text);
    }

    const TABLE: &str = "AWS::DynamoDB::Table";
    const KEYS: &str = "AttributeDefinitions: [{AttributeName: a, AttributeType: S}], \
                        KeySchema: [{AttributeName: a, KeyType: HASH}]";

    /// The smallest input, with more added to it.
    fn expected(more: Value) -> Value {
        let mut input = json!({
            "TableName": named("<DynamoDB::Table Table>"),
            "BillingMode": "PAY_PER_REQUEST",
            "AttributeDefinitions": [{"AttributeName": "a", "AttributeType": "S"}],
            "KeySchema": [{"AttributeName": "a", "KeyType": "HASH"}],
        });
        for (key, value) in more.as_object().into_iter().flatten() {
            input[key] = value.clone();
        }
        input
    }

    #[test]
    fn only_what_create_table_knows_is_kept() {
        let properties = format!(
            "{{{KEYS}, TableName: !Sub '${{AWS::StackName}}-t', BillingMode: PAY_PER_REQUEST, Tags: [], \
             SSESpecification: {{SSEEnabled: true}}, ContributorInsightsSpecification: {{Enabled: true}}, \
             TimeToLiveSpecification: {{AttributeName: t, Enabled: true}}}}"
        );
        check(TABLE, &properties, expected(json!({"TableName": "tidings-dev-t"})));
        check("AWS::DynamoDB::GlobalTable", &format!("{{{KEYS}, Replicas: []}}"), expected(json!({})));
    }

    #[test]
    fn throughput_is_kept_where_it_counts() {
        let throughput = "ProvisionedThroughput: {ReadCapacityUnits: '5', WriteCapacityUnits: 6}";
        check(
            TABLE,
            &format!("{{{KEYS}, {throughput}}}"),
            expected(json!({
                "BillingMode": "PROVISIONED",
                "ProvisionedThroughput": {"ReadCapacityUnits": 5, "WriteCapacityUnits": 6},
            })),
        );
        check(TABLE, &format!("{{{KEYS}, BillingMode: PAY_PER_REQUEST, {throughput}}}"), expected(json!({})));
    }

    #[test]
    fn indexes_and_streams_are_kept() {
        let index = "{IndexName: i, KeySchema: [{AttributeName: a, KeyType: HASH}], \
                     Projection: {ProjectionType: INCLUDE, NonKeyAttributes: [b]}, \
                     ContributorInsightsSpecification: {Enabled: true}}";
        let properties = format!(
            "{{{KEYS}, GlobalSecondaryIndexes: [{index}], LocalSecondaryIndexes: [{index}], \
             StreamSpecification: {{StreamViewType: KEYS_ONLY}}}}"
        );
        let index = json!([{
            "IndexName": "i",
            "KeySchema": [{"AttributeName": "a", "KeyType": "HASH"}],
            "Projection": {"ProjectionType": "INCLUDE", "NonKeyAttributes": ["b"]},
        }]);
        check(
            TABLE,
            &properties,
            expected(json!({
                "GlobalSecondaryIndexes": index,
                "LocalSecondaryIndexes": index,
                "StreamSpecification": {"StreamEnabled": true, "StreamViewType": "KEYS_ONLY"},
            })),
        );
    }

    #[test]
    fn simple_tables_are_tables() {
        let simple = "AWS::Serverless::SimpleTable";
        let table = |name: &str, kind: &str| {
            expected(json!({
                "AttributeDefinitions": [{"AttributeName": name, "AttributeType": kind}],
                "KeySchema": [{"AttributeName": name, "KeyType": "HASH"}],
            }))
        };
        check(simple, "{}", table("id", "S"));
        check(simple, "{PrimaryKey: {Name: n, Type: Number}}", table("n", "N"));
        check_fault(
            simple,
            "{PrimaryKey: {Name: n, Type: Text}}",
            "`PrimaryKey` of `Table` must have the type `String`, `Number` or `Binary`",
        );
    }

    #[test]
    fn attributes_are_defined_where_keys_need_them_and_nowhere_else() {
        let keys = |definitions: &str| {
            format!("{{AttributeDefinitions: [{definitions}], KeySchema: [{{AttributeName: a, KeyType: HASH}}]}}")
        };
        check_fault(
            TABLE,
            &keys("{AttributeName: b, AttributeType: S}"),
            "`AttributeDefinitions` of `Table` lacks `a`, which is part of a key",
        );
        check_fault(
            TABLE,
            &keys("{AttributeName: a, AttributeType: S}, {AttributeName: b, AttributeType: S}"),
            "`AttributeDefinitions` of `Table` has `b`, which is part of no key; DynamoDB refuses the table",
        );
    }

    #[test]
    fn a_table_without_its_keys_is_told() {
        check_fault(TABLE, "{}", "`AttributeDefinitions` of `Table` must be a list with at least one attribute");
        check_fault(TABLE, "{AttributeDefinitions: [{AttributeName: a}]}", "`AttributeType` of `Table` is missing");
        check_fault(
            TABLE,
            "{AttributeDefinitions: [a]}",
            "`AttributeDefinitions` of `Table` must be a list of mappings",
        );
        check_fault(
            TABLE,
            &format!("{{{KEYS}, ProvisionedThroughput: {{ReadCapacityUnits: 1}}}}"),
            "`WriteCapacityUnits` of `Table` is missing",
        );
    }
}
