//! What is kept between starts, where `--data` names a folder.

use std::path::{Path, PathBuf};

use tidings_local_services::data::{DataFolder, Store, StoreError};
use tidings_local_services::secrets::Secrets;
use tidings_local_services::sqs::{Place, Sqs};
use tidings_local_stack::Stack;

use crate::DevError;

/// The data folder, if there is one.
#[derive(Debug)]
pub(crate) struct Kept(Option<DataFolder>);

impl Kept {
    pub(crate) fn open(folder: Option<&Path>) -> Result<Self, DevError> {
        Ok(Self(folder.map(DataFolder::open).transpose()?))
    }

    /// The file of the DynamoDB engine.
    pub(crate) fn dynamodb(&self) -> Option<PathBuf> {
        self.0.as_ref().map(DataFolder::dynamodb)
    }

    /// Where readers of streams note how far they are.
    pub(crate) fn store(&self) -> Option<&Store> {
        self.0.as_ref().map(DataFolder::store)
    }

    pub(crate) fn queues(&self, place: Place, stack: &Stack) -> Result<Sqs, StoreError> {
        let queues = stack.queues.values();
        match self.store() {
            Some(store) => Sqs::kept(place, queues, store),
            None => Ok(Sqs::new(place, queues)),
        }
    }

    pub(crate) fn secrets(&self, stack: &Stack) -> Result<Secrets, StoreError> {
        let secrets = stack.secrets.values();
        match self.store() {
            Some(store) => Secrets::kept(secrets, store),
            None => Ok(Secrets::new(secrets)),
        }
    }
}
