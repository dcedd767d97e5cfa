//! What happened to one object, shared by everybody who wants to know.
//!
//! [`Event`] is the fact; [`WatchEvent`] is the fact as one watcher's selector sees it. An encoded
//! form is made at most once per kind and encoding and kept on the event as long as it is hot:
//! the hub cools events down in order, so that the encodings of the past take no memory.

use std::fmt;
use std::sync::Arc;

use bytes::Bytes;
use parking_lot::Mutex;

use crate::object::Object;
use crate::table::Filter;

/// One write, with the state before and after it. Cheap to clone.
#[derive(Clone)]
pub struct Event(Arc<Inner>);

struct Inner {
    object: Object,
    previous: Option<Object>,
    deleted: bool,
    encoded: Mutex<Encoded>,
}

#[derive(Default)]
struct Encoded {
    cold: bool,
    forms: Vec<((WatchKind, u64), Bytes)>,
}

/// What a watcher is told.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum WatchKind {
    /// The object is there now, and was not before (or was not selected).
    Added,
    /// The object was there and is different now.
    Modified,
    /// The object is gone (or is not selected any more).
    Deleted,
}

impl WatchKind {
    /// The word on the wire.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Added => "ADDED",
            Self::Modified => "MODIFIED",
            Self::Deleted => "DELETED",
        }
    }
}

impl Event {
    pub(crate) fn put(object: Object, previous: Option<Object>) -> Self {
        Self::new(object, previous, false)
    }

    /// The deletion of `last` at `version`.
    pub(crate) fn delete(last: Object, version: u64) -> Self {
        Self::new(last.with_version(version), Some(last), true)
    }

    fn new(object: Object, previous: Option<Object>, deleted: bool) -> Self {
        Self(Arc::new(Inner {
            object,
            previous,
            deleted,
            encoded: Mutex::default(),
        }))
    }

    /// The version of the write.
    pub fn version(&self) -> u64 {
        self.0.object.resource_version()
    }

    /// The state after the write; for a deletion the last state, at the deletion's version.
    pub fn object(&self) -> &Object {
        &self.0.object
    }

    /// The state before the write; `None` for a creation.
    pub fn previous(&self) -> Option<&Object> {
        self.0.previous.as_ref()
    }

    /// Whether the object was deleted.
    pub fn is_delete(&self) -> bool {
        self.0.deleted
    }

    /// What the event is to somebody who selects everything.
    pub fn kind(&self) -> WatchKind {
        match (self.0.deleted, &self.0.previous) {
            (true, _) => WatchKind::Deleted,
            (false, None) => WatchKind::Added,
            (false, Some(_)) => WatchKind::Modified,
        }
    }

    /// The event as somebody sees it who selects by `filter`: an object that begins to match is
    /// added, one that stops matching is deleted, in the state in which it last matched.
    pub fn seen(&self, filter: Option<&Filter>) -> Option<WatchEvent> {
        let Some(filter) = filter else {
            return Some(self.told(self.kind()));
        };
        let before = self
            .0
            .previous
            .as_ref()
            .is_some_and(|object| filter(object));
        let after = !self.0.deleted && filter(&self.0.object);
        match (before, after) {
            (false, false) => None,
            (false, true) => Some(self.told(WatchKind::Added)),
            (true, true) => Some(self.told(WatchKind::Modified)),
            (true, false) => Some(self.told(WatchKind::Deleted)),
        }
    }

    fn told(&self, kind: WatchKind) -> WatchEvent {
        let object = match (kind, self.0.deleted, &self.0.previous) {
            (WatchKind::Deleted, false, Some(last)) => last.with_version(self.version()),
            _ => self.0.object.clone(),
        };
        WatchEvent {
            kind,
            object,
            event: self.clone(),
        }
    }

    /// The same with what only the past keeps alive in other memory.
    pub(crate) fn moved(&self) -> Self {
        match (&self.0.previous, self.0.deleted) {
            (Some(last), true) => Self::delete(last.moved(), self.version()),
            (previous, _) => Self::put(self.0.object.clone(), previous.as_ref().map(Object::moved)),
        }
    }

    /// Bytes that only the memory of the past keeps alive.
    pub(crate) fn weight(&self) -> usize {
        size_of::<Inner>() + 32 + self.0.previous.as_ref().map_or(0, Object::memory)
    }

    /// Drops the encoded forms, and keeps none from now on.
    pub(crate) fn cool(&self) {
        let forms = {
            let mut encoded = self.0.encoded.lock();
            encoded.cold = true;
            std::mem::take(&mut encoded.forms)
        };
        drop(forms);
    }
}

impl fmt::Debug for Event {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Event({} {:?})", self.kind().as_str(), self.0.object)
    }
}

/// An event as one watcher sees it.
#[derive(Clone, Debug)]
pub struct WatchEvent {
    /// What the watcher is told.
    pub kind: WatchKind,
    /// The object as it is told: the new state, or the last selected one when it is gone, at the
    /// event's version.
    pub object: Object,
    /// The fact behind it.
    pub event: Event,
}

impl WatchEvent {
    /// The version after which a watch may be resumed.
    pub fn version(&self) -> u64 {
        self.event.version()
    }

    /// The encoded form of this event in one encoding, made by `make` at most once for all that
    /// see it in the same way. `encoding` names everything that the bytes depend on beside the
    /// event and its kind: media type, form, served version.
    pub fn encoded(&self, encoding: u64, make: impl FnOnce(&Self) -> Bytes) -> Bytes {
        // Made under the lock: whoever wants the same bytes at this moment waits for them
        // instead of making them again.
        let mut encoded = self.event.0.encoded.lock();
        let wanted = (self.kind, encoding);
        if let Some((_, bytes)) = encoded.forms.iter().find(|(form, _)| *form == wanted) {
            return bytes.clone();
        }
        let bytes = make(self);
        if !encoded.cold {
            encoded.forms.push((wanted, bytes.clone()));
        }
        bytes
    }
}
