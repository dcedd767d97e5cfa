//! Opening: everything that the store holds, then the tail of its log into the rings.
//!
//! Commits that come while this reads wait in the state and are applied at its end, so that the
//! hub begins without a gap. The invariant: what was loaded is exactly one revision.

use std::sync::Arc;

use bytes::Bytes;
use foldhash::fast::FixedState;
use hanse_store::{Page, Range, Revision, Store};
use hashbrown::HashMap;
use parking_lot::RwLock;
use tokio::sync::watch;

use crate::document::DocumentError;
use crate::history::{self, History};
use crate::hub::{Config, Follower, Hub, OpenError, Shared, value_error};
use crate::limits::{LOG_PAGE, OPEN_COMMITS, OPEN_PAGE};
use crate::names::{Names, ObjectKey};
use crate::object::Object;
use crate::part::Parts;
use crate::state::{After, Applied, State};

impl Hub {
    /// Loads everything that the store holds, fills the rings from the tail of its log, and
    /// follows it from there on.
    pub async fn open(store: Arc<dyn Store>, config: Config) -> Result<Self, OpenError> {
        let parts = Arc::new(Parts::default());
        let shared = Arc::new(Shared {
            store: store.clone(),
            config,
            names: Names::default(),
            parts: Arc::clone(&parts),
            state: RwLock::new(State::new(config, parts)),
            history: History::default(),
            version: watch::Sender::new(0),
        });
        let hub = Self {
            shared: shared.clone(),
        };
        let revision = store.attach(Arc::new(Follower(Arc::downgrade(&shared))));
        hub.load_objects(revision).await?;
        hub.load_events(revision).await?;
        let waiting = {
            let mut state = shared.state.write();
            state.revision = revision;
            // Commits keep coming while these are applied; the lock keeps their order.
            let waiting = state.waiting.take().unwrap_or_default();
            shared.publish(&mut state, &waiting)
        };
        shared.announce(waiting);
        Ok(hub)
    }

    /// Reads the present page by page; while one is taken over the next is on its way.
    async fn load_objects(&self, revision: Revision) -> Result<(), OpenError> {
        let store = &self.shared.store;
        let range = |start| Range {
            start,
            end: None,
            at: Some(revision),
            limit: OPEN_PAGE,
        };
        let mut page = store.range(range(Bytes::new())).await?;
        while let Some(last) = page.entries.last().filter(|_| page.more) {
            // The place right behind the last key.
            let start = [&last.key[..], b"\0"].concat().into();
            let next = store.range(range(start));
            let (next, loaded) = tokio::join!(next, async { self.load_page(page) });
            loaded?;
            page = next?;
        }
        self.load_page(page)
    }

    fn load_page(&self, page: Page) -> Result<(), OpenError> {
        let mut loaded = Vec::with_capacity(page.entries.len());
        for entry in page.entries {
            let decoded = self
                .shared
                .decode(&entry.key, &entry.value, entry.version.0);
            match decoded? {
                // Parts stand before all objects.
                Some(Applied::Part(part, version)) => self.shared.parts.stored(part, version),
                other => loaded.extend(other),
            }
        }
        let mut state = self.shared.state.write();
        for applied in loaded {
            match applied {
                Applied::Put(object) => state.load(object),
                Applied::Position(name, version) => {
                    state.positions.insert(name, version);
                }
                Applied::Part(..) | Applied::Delete(..) | Applied::PartGone(_) => {}
            }
        }
        Ok(())
    }

    async fn load_events(&self, revision: Revision) -> Result<(), OpenError> {
        let store = &self.shared.store;
        // Each commit brings at least one event, so more commits than that would not be kept.
        let commits = OPEN_COMMITS.min(self.shared.config.recent_events as u64);
        let mut from = store
            .floor()
            .max(Revision(revision.0.saturating_sub(commits)));
        let mut replaced = Replaced::default();
        if from > Revision(0) {
            self.shared.state.write().begin_at(from.end().0);
        }
        while from < revision {
            let page = match store.log(from, LOG_PAGE).await {
                Ok(page) => page,
                Err(hanse_store::ReadError::Compacted { floor }) => {
                    // Retention went on while this was reading; what is gone is simply unknown.
                    from = floor;
                    self.shared.state.write().begin_at(from.end().0);
                    continue;
                }
                Err(error) => return Err(error.into()),
            };
            let Some(last) = page.commits.last() else {
                return Ok(());
            };
            from = last.revision;
            let mut after = After::default();
            let mut state = self.shared.state.write();
            let commits = page
                .commits
                .into_iter()
                .filter(|commit| commit.revision <= revision);
            for change in commits.flat_map(|commit| commit.changes) {
                let (key, version) = (change.key.clone(), change.version.0);
                let mut read = |which, key: ObjectKey, value: &Bytes, version| {
                    let present = state.get(&key).cloned();
                    match present.filter(|object| object.resource_version() == version) {
                        Some(object) => Ok(object),
                        None => replaced.find(which, &self.shared.parts, key, value, version),
                    }
                };
                match history::decode(change, &self.shared.names, &mut read) {
                    Ok(Some(event)) => state.load_event(event, &mut after),
                    Ok(None) => {}
                    // The log reaches further back than its parts: the past begins here.
                    Err(DocumentError::PartGone) => state.begin_at(version),
                    Err(source) => return Err(value_error(&key, source)),
                }
            }
            drop(state);
            after.run();
        }
        Ok(())
    }
}

/// States between the tail's begin and the present, by version: what one event left is what the
/// next one of its key replaced, and is in memory once.
struct Replaced(HashMap<u64, Object, FixedState>);

impl Default for Replaced {
    fn default() -> Self {
        Self(HashMap::with_hasher(FixedState::with_seed(4)))
    }
}

impl Replaced {
    fn find(
        &mut self,
        which: history::State,
        parts: &Parts,
        key: ObjectKey,
        value: &Bytes,
        version: u64,
    ) -> Result<Object, DocumentError> {
        match which {
            history::State::Before => match self.0.remove(&version) {
                Some(object) => Ok(object),
                None => history::object(key, value, version, parts),
            },
            history::State::After => {
                let object = history::object(key, value, version, parts)?;
                self.0.insert(version, object.clone());
                Ok(object)
            }
        }
    }
}
