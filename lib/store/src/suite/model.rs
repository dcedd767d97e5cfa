//! The model: every state after every commit, kept for ever and looked up plainly.

use std::collections::BTreeMap;

use bytes::Bytes;

use super::fail;
use crate::{Batch, Change, CommitError, Entry, Page, Previous, Range, Revision, Version};

/// Keys with the versions that wrote their values.
pub(super) type State = BTreeMap<Bytes, (Version, Bytes)>;

/// What a store is, without a thought for time or space.
#[derive(Default)]
pub(super) struct Model {
    /// The state after each commit; `states[0]` is the empty store.
    states: Vec<State>,
    /// What each commit changed; `commits[0]` is empty.
    commits: Vec<Vec<Change>>,
    pub(super) floor: Revision,
}

impl Model {
    pub(super) fn new() -> Self {
        Self {
            states: vec![State::new()],
            commits: vec![Vec::new()],
            floor: Revision(0),
        }
    }

    pub(super) fn revision(&self) -> Revision {
        Revision(self.states.len() as u64 - 1)
    }

    fn state(&self, at: Revision) -> &State {
        let state = usize::try_from(at.0)
            .ok()
            .and_then(|at| self.states.get(at));
        state.unwrap_or_else(|| fail("the suite looked beyond its own model"))
    }

    pub(super) fn present(&self) -> &State {
        self.state(self.revision())
    }

    /// Does what a commit should do, and says what it should answer.
    pub(super) fn commit(&mut self, batch: &Batch) -> Result<Vec<Option<Version>>, CommitError> {
        let present = self.present().clone();
        let current = |key: &[u8]| Ok::<_, CommitError>(present.get(key).map(|entry| entry.0));
        if let Some(conflict) = batch.conflict(current)? {
            return Err(conflict);
        }
        let revision = self.revision().next();
        let (mut state, mut changes, mut versions) = (present.clone(), Vec::new(), Vec::new());
        for (index, op) in (0..=u8::MAX).zip(&batch.ops) {
            let version = revision.version(index);
            let before = match &op.put {
                Some(value) => state.insert(op.key.clone(), (version, value.clone())),
                None => state.remove(&op.key),
            };
            let previous = before.map(|(version, value)| Previous { version, value });
            if op.put.is_none() && previous.is_none() {
                versions.push(None);
                continue;
            }
            versions.push(Some(version));
            let (key, value) = (op.key.clone(), op.put.clone());
            changes.push(Change {
                version,
                key,
                value,
                previous,
                attachment: None,
            });
        }
        if !changes.is_empty() {
            self.states.push(state);
            self.commits.push(changes);
        }
        Ok(versions)
    }

    /// What a range should answer for a revision that can be read.
    pub(super) fn range(&self, range: &Range) -> Page {
        let revision = range.at.unwrap_or(self.revision());
        let inside =
            |key: &Bytes| *key >= range.start && range.end.as_ref().is_none_or(|end| key < end);
        let matching = self.state(revision).iter().filter(|(key, _)| inside(key));
        let entries = matching.map(|(key, (version, value))| Entry {
            key: key.clone(),
            version: *version,
            value: value.clone(),
        });
        let mut entries: Vec<Entry> = entries.collect();
        let more = entries.len() > range.limit;
        entries.truncate(range.limit);
        Page {
            entries,
            more,
            revision,
        }
    }

    /// The changes of all commits after a revision.
    pub(super) fn changes(&self, after: Revision) -> Vec<(Revision, Vec<Change>)> {
        let later = self.commits.iter().enumerate().skip(after.0 as usize + 1);
        later
            .map(|(revision, changes)| (Revision(revision as u64), changes.clone()))
            .collect()
    }
}
