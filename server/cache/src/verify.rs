//! Looks at every stored object: is it what its key and its own bytes say, and does memory say the
//! same?
//!
//! Start at [`Hub::verify`]. The store looks at its own form first (`hanse_store::Store::verify`);
//! here every value is taken apart, parsed, and put together again, which must give the same bytes:
//! so the index entry, the places of what is put in, and the canonical form are all compared. Then
//! memory's own indexes and counts are compared with what the objects say. The invariant: writes
//! go on while this looks, and what they change meanwhile is no finding.

use std::collections::BTreeMap;

use bytes::Bytes;
use hanse_json::Limits;
use hanse_store::{Entry, Range, ReadError, Revision, Verified, Version};

use crate::document::{self, Document};
use crate::hub::Hub;
use crate::limits::{FINDINGS_MAX, OPEN_PAGE};
use crate::names::{ObjectKey, ResourceId, Scope};
use crate::object::{Body, CLUSTER_ANNOTATION};
use crate::part::PartHash;
use crate::state::Applied;
use crate::table::ListQuery;

/// What the store was seen to hold.
#[derive(Default)]
struct Seen {
    uids: BTreeMap<String, ObjectKey>,
    counts: BTreeMap<ResourceId, u64>,
    /// Parts, and how many objects refer to each.
    parts: BTreeMap<PartHash, usize>,
}

fn finding(verified: &mut Verified, text: String) {
    if verified.findings.len() < FINDINGS_MAX {
        verified.findings.push(text);
    }
}

impl Hub {
    /// Looks at the store and at every object in it, as of now.
    ///
    /// # Errors
    /// The store cannot be read at all.
    pub async fn verify(&self) -> Result<Verified, ReadError> {
        let mut verified = self.shared.store.verify().await?;
        let revision = self.shared.store.revision();
        let mut seen = Seen::default();
        let mut start = Bytes::new();
        loop {
            let range = Range {
                start,
                end: None,
                at: Some(revision),
                limit: OPEN_PAGE,
            };
            let page = match self.shared.store.range(range).await {
                Ok(page) => page,
                Err(error) => {
                    // What the engine named already goes with it.
                    finding(
                        &mut verified,
                        format!("the rest was not looked at: {error}"),
                    );
                    return Ok(verified);
                }
            };
            for entry in &page.entries {
                if let Err(text) = self.verify_entry(entry, revision, &mut seen) {
                    let key = String::from_utf8_lossy(&entry.key);
                    finding(&mut verified, format!("{key}: {text}"));
                }
            }
            match page.entries.last() {
                Some(last) if page.more => start = [&last.key[..], b"\0"].concat().into(),
                _ => break,
            }
        }
        // Engines that keep no form at rest count nothing themselves.
        verified.keys = verified.keys.max(seen.counts.values().sum());
        self.verify_counts(revision, &seen, &mut verified);
        self.verify_owners(&mut verified);
        Ok(verified)
    }

    fn verify_entry(
        &self,
        entry: &Entry,
        revision: Revision,
        seen: &mut Seen,
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
                Ok(Some(Applied::Part(part, _))) => {
                    seen.parts.entry(part.hash).or_default();
                    Ok(())
                }
                Ok(_) => Ok(()),
                Err(error) => Err(error.to_string()),
            };
        }
        let key = ObjectKey::from_store(&entry.key, &self.shared.names);
        let key = key.ok_or("the key names no object")?;
        key.check().map_err(|error| error.to_string())?;
        *seen.counts.entry(key.resource.clone()).or_default() += 1;
        let parts = document::decode(&entry.value).map_err(|error| error.to_string())?;
        if let Some((_, hash)) = parts.part {
            // Parts stand before all objects, so all of them have been seen.
            let count = seen.parts.get_mut(&hash);
            *count.ok_or("the part that it refers to is not there")? += 1;
        }
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
                if let Some(other) = seen.uids.insert(uid.to_owned(), key.clone()) {
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

    /// Memory holds as many objects of each resource as the store, and counts the references to
    /// each part rightly. Nothing is said when memory no longer reaches back to the revision.
    fn verify_counts(&self, revision: Revision, seen: &Seen, verified: &mut Verified) {
        let mut resources = self.resources();
        resources.extend(seen.counts.keys().cloned());
        resources.sort_unstable();
        resources.dedup();
        let query = ListQuery {
            at: Some(revision.end().0),
            ..ListQuery::default()
        };
        for resource in resources {
            let Ok(page) = self.list(&resource, &Scope::Wildcard, &query) else {
                continue;
            };
            let stored = seen.counts.get(&resource).copied().unwrap_or_default();
            let shown = page.objects.len() as u64;
            if shown != stored {
                let text = format!("{resource}: memory shows {shown} objects, the store {stored}");
                finding(verified, text);
            }
        }
        let state = self.shared.state.read();
        if state.revision != revision {
            return;
        }
        for (hash, stored) in &seen.parts {
            let counted = self.shared.parts.counted(*hash);
            if counted != *stored {
                let key = hash.store_key();
                let name = String::from_utf8_lossy(&key);
                let text =
                    format!("{name}: memory counts {counted} references, there are {stored}");
                finding(verified, text);
            }
        }
    }

    /// Whoever names an owner is found by it.
    fn verify_owners(&self, verified: &mut Verified) {
        for resource in self.resources() {
            let list = self.list(&resource, &Scope::Wildcard, &ListQuery::default());
            let objects = list.into_iter().flat_map(|page| page.objects);
            for object in objects.filter(|object| object.owners().next().is_some()) {
                let state = self.shared.state.read();
                // What was written meanwhile stands in the index under its new version.
                let current = state.get(object.key()) == Some(&object);
                let missing = object
                    .owner_hashes()
                    .filter(|hash| !state.is_owned(*hash, &object))
                    .count();
                if current && missing > 0 {
                    let key = object.key();
                    finding(
                        verified,
                        format!("{key}: the index of owners does not hold it"),
                    );
                }
            }
        }
    }
}
