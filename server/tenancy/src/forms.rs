//! The stored form of resources: which schema normalises them, which fields are indexed.

use hanse_cache::{Document, DocumentError, ResourceId, SchemaHash};
use hanse_kinds::ResourceDef;
use parking_lot::RwLock;
use serde_json::Value;
use std::collections::BTreeMap;
use std::sync::Arc;

/// Knows how objects of a resource rest in the store. What it does not know is stored without a
/// schema's name: whoever reads it then normalises it first.
#[derive(Default)]
pub struct Forms {
    rows: RwLock<BTreeMap<ResourceId, Arc<ResourceDef>>>,
}

impl Forms {
    /// Knows the rows whose version is the one that is stored.
    #[must_use]
    pub fn new(rows: &[Arc<ResourceDef>]) -> Forms {
        let forms = Forms::default();
        rows.iter().for_each(|row| forms.learn(row));
        forms
    }

    /// Learns the form of a resource, if the row is about the stored version.
    pub fn learn(&self, row: &Arc<ResourceDef>) {
        if row.version == row.storage_version.version && !row.flags.review {
            let storage = &row.storage;
            let id = ResourceId::new(&storage.group, &storage.resource, &storage.identity);
            self.rows.write().insert(id, row.clone());
        }
    }

    /// The row about the stored version of a resource.
    #[must_use]
    pub fn row(&self, resource: &ResourceId) -> Option<Arc<ResourceDef>> {
        self.rows.read().get(resource).cloned()
    }

    /// Encodes an object for the store.
    ///
    /// # Errors
    /// A tree that is no object.
    pub fn document(
        &self,
        resource: &ResourceId,
        value: &Value,
    ) -> Result<Document, DocumentError> {
        match self.row(resource) {
            Some(row) => {
                Document::from_value(value, row.fields(value), SchemaHash::from(row.schema.hash))
            }
            None => Document::from_value(value, [("", ""); 0], SchemaHash::default()),
        }
    }
}
