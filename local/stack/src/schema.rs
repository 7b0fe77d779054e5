//! JSON schemas of draft 4, as the models of an API are written in. The reader of templates refuses one that cannot be used, and
//! the gateway checks messages with it.

use boon::{Compiler, Draft, SchemaIndex, Schemas};
use serde_json::Value;

/// Where the one schema of a compiler is; nothing is ever read from there.
const PLACE: &str = "urn:tidings:model";

/// A schema that messages can be checked against.
pub struct Schema {
    schemas: Schemas,
    index: SchemaIndex,
}

impl std::fmt::Debug for Schema {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.debug_struct("Schema").finish_non_exhaustive()
    }
}

impl Schema {
    /// Compiles a schema.
    ///
    /// # Errors
    /// When it is no schema of draft 4, or refers to another one; the text says where.
    pub fn new(schema: &Value) -> Result<Self, String> {
        let mut compiler = Compiler::new();
        compiler.set_default_draft(Draft::V4);
        compiler.add_resource(PLACE, schema.clone()).map_err(|error| error.to_string())?;
        let mut schemas = Schemas::new();
        let index = compiler.compile(PLACE, &mut schemas).map_err(|error| error.to_string())?;
        Ok(Self { schemas, index })
    }

    /// Whether a value matches it.
    #[must_use]
    pub fn accepts(&self, value: &Value) -> bool {
        self.schemas.validate(value, self.index).is_ok()
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_schema_is_checked_and_never_fetched() {
        assert_eq!(check(&json!({"required": ["text"]})), Ok(()));
        assert!(check(&json!({"type": "text"})).is_err());
        assert!(check(&json!({"$ref": "http://127.0.0.1:1/other.json"})).is_err());
        assert!(check(&json!({"$ref": "file:///etc/hostname"})).is_err());
    }

    fn check(schema: &Value) -> Result<(), String> {
        Schema::new(schema).map(drop)
    }
}
