//! Everything that a store holds, page by page, without a hub over it: for those who look at a
//! store whole and once, in memory that does not grow with it.
//!
//! Start at [`Stored::next`]. The invariant: all pages show one revision.

use std::collections::BTreeMap;
use std::sync::Arc;

use bytes::Bytes;
use hanse_store::{Range, Revision, Store};

use crate::document;
use crate::hub::{OpenError, value_error};
use crate::limits::STORED_PAGE;
use crate::names::{Names, ObjectKey};
use crate::object::{Body, Object};
use crate::part::{Part, PartHash};

/// Reads a store from its first key to its last.
pub struct Stored {
    store: Arc<dyn Store>,
    at: Revision,
    start: Option<Bytes>,
    prefix: String,
}

impl Stored {
    /// All objects as of now.
    pub fn all(store: Arc<dyn Store>) -> Self {
        Self::below(store, String::new())
    }

    /// All objects of a resource as of now, whatever their identity.
    pub fn of(store: Arc<dyn Store>, group: &str, resource: &str) -> Self {
        Self::below(store, format!("{group}/{resource}/"))
    }

    fn below(store: Arc<dyn Store>, prefix: String) -> Self {
        Self {
            at: store.revision(),
            store,
            start: Some(Bytes::copy_from_slice(prefix.as_bytes())),
            prefix,
        }
    }

    /// The version that all pages show (c * 256 + 255).
    pub fn version(&self) -> u64 {
        self.at.end().0
    }

    /// The next objects in the order of their keys; `None` at the end.
    ///
    /// # Errors
    /// The store cannot be read, or holds a value that cannot; its key is named.
    pub async fn next(&mut self) -> Result<Option<Vec<Object>>, OpenError> {
        let Some(start) = self.start.take() else {
            return Ok(None);
        };
        let range = Range {
            start,
            end: None,
            at: Some(self.at),
            limit: STORED_PAGE,
        };
        let page = self.store.range(range).await?;
        let (names, mut parts) = (Names::default(), BTreeMap::new());
        let mut objects = Vec::with_capacity(page.entries.len());
        let mut inside = true;
        for entry in &page.entries {
            inside = entry.key.starts_with(self.prefix.as_bytes());
            if !inside {
                break;
            }
            let Some(key) = ObjectKey::from_store(&entry.key, &names) else {
                continue;
            };
            let failed = |source| value_error(&entry.key, source);
            let named = document::decode(&entry.value).map_err(failed)?.part;
            if let Some((_, hash)) = named {
                self.fetch(hash, &mut parts).await?;
            }
            let body = Body::new(key, &entry.value, |hash| parts.get(&hash).cloned());
            let body = Arc::new(body.map_err(failed)?);
            objects.push(Object::new(body, entry.version.0));
        }
        if let Some(last) = page.entries.last().filter(|_| page.more && inside) {
            // The place right behind the last key.
            self.start = Some([&last.key[..], b"\0"].concat().into());
        }
        Ok(Some(objects))
    }

    /// Reads a part that no object of the page had before.
    async fn fetch(
        &self,
        hash: PartHash,
        parts: &mut BTreeMap<PartHash, Arc<Part>>,
    ) -> Result<(), OpenError> {
        if parts.contains_key(&hash) {
            return Ok(());
        }
        let key = hash.store_key();
        if let Some(entry) = self.store.get(key.clone(), Some(self.at)).await? {
            let part = Part::from_store(&entry.value).map_err(|error| value_error(&key, error))?;
            parts.insert(hash, Arc::new(part));
        }
        Ok(())
    }
}
