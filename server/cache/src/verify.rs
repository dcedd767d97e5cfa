//! Looks at every stored object: is it what its key and its own bytes say, and does memory say the
//! same?
//!
//! Start at [`Hub::verify`]. The store looks at its own form first (`hanse_store::Store::verify`);
//! here every value is taken apart, parsed, and put together again, which must give the same bytes:
//! so the index entry, the places of what is put in, and the canonical form are all compared. The
//! invariant: writes go on while this looks, and what they change meanwhile is no finding.

use std::collections::BTreeMap;

use bytes::Bytes;
use hanse_json::Limits;
use hanse_store::{Entry, Range, ReadError, Revision, Verified, Version};

use crate::document::{self, Document};
use crate::hub::Hub;
use crate::limits::{FINDINGS_MAX, OPEN_PAGE};
use crate::names::ObjectKey;
use crate::object::{Body, CLUSTER_ANNOTATION};
use crate::part::PartHash;
use crate::state::Applied;

impl Hub {
    /// Looks at the store and at every object in it, as of now.
    ///
    /// # Errors
    /// The store cannot be read at all.
    pub async fn verify(&self) -> Result<Verified, ReadError> {
        let mut verified = self.shared.store.verify().await?;
        let revision = self.shared.store.revision();
        let mut uids = BTreeMap::new();
        let (mut start, mut objects) = (Bytes::new(), 0);
        loop {
            let range = Range {
                start,
                end: None,
                at: Some(revision),
                limit: OPEN_PAGE,
            };
            let page = self.shared.store.range(range).await?;
            for entry in &page.entries {
                objects += u64::from(!entry.key.starts_with(b"!"));
                let Err(text) = self.verify_entry(entry, revision, &mut uids) else {
                    continue;
                };
                if verified.findings.len() < FINDINGS_MAX {
                    let key = String::from_utf8_lossy(&entry.key);
                    verified.findings.push(format!("{key}: {text}"));
                }
            }
            match page.entries.last() {
                Some(last) if page.more => start = [&last.key[..], b"\0"].concat().into(),
                _ => break,
            }
        }
        // Engines that keep no form at rest count nothing themselves.
        verified.keys = verified.keys.max(objects);
        Ok(verified)
    }

    fn verify_entry(
        &self,
        entry: &Entry,
        revision: Revision,
        uids: &mut BTreeMap<String, ObjectKey>,
    ) -> Result<(), String> {
        if entry.key.starts_with(b"!") {
            return match self
                .shared
                .decode(&entry.key, &entry.value, entry.version.0)
            {
                Ok(Some(Applied::Part(part, _)))
                    if PartHash::from_store(&entry.key) != Some(part.hash) =>
                {
                    Err("its bytes have another hash".to_owned())
                }
                Ok(_) => Ok(()),
                Err(error) => Err(error.to_string()),
            };
        }
        let key = ObjectKey::from_store(&entry.key, &self.shared.names);
        let key = key.ok_or("the key names no object")?;
        key.check().map_err(|error| error.to_string())?;
        let parts = document::decode(&entry.value).map_err(|error| error.to_string())?;
        let parsed = hanse_json::parse(parts.json, &Limits::default());
        let parsed = parsed.map_err(|error| format!("its JSON: {error}"))?;
        if !parsed.duplicates.is_empty() {
            return Err(format!("fields twice: {:?}", parsed.duplicates));
        }
        let value = parsed.value;
        let metadata = &value["metadata"];
        if metadata["name"].as_str() != Some(&key.name)
            || metadata["namespace"].as_str().unwrap_or_default() != &*key.namespace
        {
            return Err("its metadata names another object".to_owned());
        }
        if !metadata["resourceVersion"].is_null()
            || !metadata["annotations"][CLUSTER_ANNOTATION].is_null()
        {
            return Err("it holds what only its key and version may say".to_owned());
        }
        let index = document::Entry(parts.entry);
        let again = Document::from_value(&value, index.fields(), index.schema());
        let again = again.map_err(|error| error.to_string())?;
        let again = document::decode(again.value()).map_err(|error| error.to_string())?;
        let same = (again.entry, again.json) == (parts.entry, parts.json)
            && (again.version, again.cluster) == (parts.version, parts.cluster)
            && again.join == parts.join;
        if !same {
            return Err("its index entry or its form is not what its JSON says".to_owned());
        }
        match index.uid() {
            "" => return Err("it has no uid".to_owned()),
            uid => {
                if let Some(other) = uids.insert(uid.to_owned(), key.clone()) {
                    return Err(format!("its uid is also that of {other}"));
                }
            }
        }
        self.verify_memory(&key, entry, revision)
    }

    /// Memory shows the same object, or a later one, or it was deleted since.
    fn verify_memory(
        &self,
        key: &ObjectKey,
        entry: &Entry,
        revision: Revision,
    ) -> Result<(), String> {
        let state = self.shared.state.read();
        let Some(shown) = state.get(key) else {
            let deleted_since = state.revision > revision;
            return if deleted_since {
                Ok(())
            } else {
                Err("memory does not show it".to_owned())
            };
        };
        let version = Version(shown.resource_version());
        let part = |hash| self.shared.parts.get(hash);
        let body = Body::new(key.clone(), &entry.value, part);
        match version == entry.version {
            false if version.revision() > revision => Ok(()),
            false => Err(format!(
                "memory shows it at {version}, the store at {}",
                entry.version
            )),
            true if body.is_ok_and(|body| shown.has_body(&body)) => Ok(()),
            true => Err("memory shows other bytes".to_owned()),
        }
    }
}
