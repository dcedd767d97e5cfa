//! The store's log as events: for whoever starts further back than memory reaches.
//!
//! Pages begin at fixed revisions, and the last few stay decoded, so that watchers that come back
//! together share one scan. The invariant: a page holds every event between its two ends.

use std::sync::Arc;

use bytes::Bytes;
use hanse_store::{Change, Previous, Revision, Store};
use parking_lot::Mutex;
use tokio::sync::OnceCell;

use crate::document::DocumentError;
use crate::event::Event;
use crate::limits::{LOG_PAGE, LOG_PAGES};
use crate::names::{Names, ObjectKey};
use crate::object::{Body, Object};
use crate::part::Parts;
use crate::table::ReadError;

/// A stretch of the log, decoded.
pub(crate) struct LogEvents {
    /// The events after the page's beginning, in order.
    pub(crate) events: Vec<Event>,
    /// The version up to which the events are complete.
    pub(crate) end: u64,
}

type Slot = Arc<OnceCell<Arc<LogEvents>>>;

/// Reads the log and remembers the last pages.
#[derive(Default)]
pub(crate) struct History {
    pages: Mutex<Vec<(Revision, Slot)>>,
}

impl History {
    /// Events after a version: at least one commit's, unless the log ends there.
    pub(crate) async fn after(
        &self,
        store: &Arc<dyn Store>,
        (names, parts): (&Names, &Parts),
        version: u64,
    ) -> Result<Arc<LogEvents>, ReadError> {
        let after = hanse_store::Version(version);
        // A version within a commit needs the rest of that commit: start before it.
        let whole = after == after.revision().end();
        let from = if whole {
            after.revision()
        } else {
            Revision(after.revision().0.saturating_sub(1))
        };
        let slot = self.slot(from);
        let page = slot
            .get_or_try_init(|| load(store, (names, parts), from, version))
            .await?
            .clone();
        if page.end <= version {
            // It was read at the end of the log, which may have grown since: read it again.
            self.pages.lock().retain(|(start, _)| *start != from);
        }
        Ok(page)
    }

    fn slot(&self, from: Revision) -> Slot {
        let mut pages = self.pages.lock();
        if let Some((_, slot)) = pages.iter().find(|(start, _)| *start == from) {
            return slot.clone();
        }
        if pages.len() >= LOG_PAGES {
            pages.remove(0);
        }
        let slot = Slot::default();
        pages.push((from, slot.clone()));
        slot
    }
}

async fn load(
    store: &Arc<dyn Store>,
    (names, parts): (&Names, &Parts),
    from: Revision,
    requested: u64,
) -> Result<Arc<LogEvents>, ReadError> {
    let page = store
        .log(from, LOG_PAGE)
        .await
        .map_err(|error| read_error(error, requested))?;
    let end = match page.commits.last() {
        Some(last) => last.revision.end().0,
        None => from.end().0,
    };
    let changes = page.commits.into_iter().flat_map(|commit| commit.changes);
    let mut read = |_: State, key, value: &Bytes, version| object(key, value, version, parts);
    let events = changes.filter_map(|change| decode(change, names, &mut read).transpose());
    let events: Result<Vec<Event>, DocumentError> = events.collect();
    let events = events.map_err(|error| value_error(&error, requested, end))?;
    Ok(Arc::new(LogEvents { events, end }))
}

/// The store's error in the words of the hub.
pub(crate) fn read_error(error: hanse_store::ReadError, requested: u64) -> ReadError {
    match error {
        hanse_store::ReadError::Compacted { floor } => ReadError::TooOld {
            requested,
            oldest: floor.end().0,
        },
        hanse_store::ReadError::Future { current } => ReadError::TooNew {
            requested,
            current: current.end().0,
        },
        hanse_store::ReadError::Unavailable(why) => ReadError::Unavailable(why),
    }
}

/// What a value of the past that cannot be read means to whoever asked from `requested` on.
pub(crate) fn value_error(error: &DocumentError, requested: u64, oldest: u64) -> ReadError {
    match error {
        DocumentError::PartGone => ReadError::TooOld { requested, oldest },
        error => ReadError::Unavailable(error.to_string().into()),
    }
}

/// Which of an event's states is read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum State {
    /// What the write left.
    After,
    /// What was there before it.
    Before,
}

/// Reads a state of an object from its bytes, at a version, or finds that it is there already.
pub(crate) type Read<'r> =
    dyn FnMut(State, ObjectKey, &Bytes, u64) -> Result<Object, DocumentError> + 'r;

/// The event that a change of the log is; `None` for what is no object.
pub(crate) fn decode(
    change: Change,
    names: &Names,
    read: &mut Read<'_>,
) -> Result<Option<Event>, DocumentError> {
    let Some(key) = ObjectKey::from_store(&change.key, names) else {
        return Ok(None);
    };
    let mut before =
        |Previous { version, value }| read(State::Before, key.clone(), &value, version.0);
    let previous = change.previous.map(&mut before).transpose()?;
    let version = change.version.0;
    Ok(match (change.value, previous) {
        (Some(value), previous) => {
            let after = read(State::After, key, &value, version)?;
            Some(Event::put(after, previous))
        }
        (None, Some(last)) => Some(Event::delete(last, version)),
        (None, None) => None,
    })
}

/// A state of an object in memory of its own.
pub(crate) fn object(
    key: ObjectKey,
    value: &Bytes,
    version: u64,
    parts: &Parts,
) -> Result<Object, DocumentError> {
    let body = Body::new(key, value, |hash| parts.get(hash))?;
    Ok(Object::new(Arc::new(body), version))
}
