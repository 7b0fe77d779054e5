//! How far a mapping has read its stream, kept between starts. Lambda keeps the same for each mapping.

use std::collections::HashMap;

use tidings_local_services::data::{Change, Store, StoreError};

use super::shards::Start;

/// What is kept for a shard of which nothing was there to be read.
const BEGINNING: &str = "";

/// The places of one mapping, by shard.
#[derive(Debug)]
pub(super) struct Positions {
    store: Store,
    collection: String,
}

impl Positions {
    /// Those of the mapping with this logical id.
    pub(super) fn new(store: &Store, mapping: &str) -> Self {
        Self { store: store.clone(), collection: format!("positions/{mapping}") }
    }

    /// Where to go on, by shard.
    pub(super) fn read(&self) -> Result<HashMap<String, Start>, StoreError> {
        let start = |number: String| if number == BEGINNING { Start::Oldest } else { Start::After(number) };
        Ok(self.store.all(&self.collection)?.into_iter().map(|(shard, number)| (shard, start(number))).collect())
    }

    /// Notes that everything up to this record is done with; `None` where there was none.
    pub(super) fn note(&self, shard: &str, sequence_number: Option<&str>) -> Result<(), StoreError> {
        let value = sequence_number.unwrap_or(BEGINNING).to_owned();
        self.store.write(&[Change::Put { collection: self.collection.clone(), key: shard.to_owned(), value }])
    }
}
