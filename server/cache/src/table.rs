//! One resource: its objects in order, its ring of recent events, and lists as of a version.
//!
//! A list at version X is the present with all later events undone ([`Table::scan`]). The ring has
//! every event of the resource after `floor`, so undoing is exact down to there and refused below.
//! The invariant: `objects` is what the last event of each key in the ring left.

use std::cmp::Ordering;
use std::collections::{BTreeSet, VecDeque};
use std::sync::Arc;

use foldhash::fast::FixedState;
use hashbrown::HashMap;

use crate::event::Event;
use crate::limits::{FILTER_CHUNK, LIST_CHUNK, RING_EVENTS};
use crate::names::{ObjectKey, Scope, interests};
use crate::object::Object;
use crate::order::{Ordered, Place, Stretch, compare_keys};
use crate::watch::Mailbox;

/// Selects objects by whatever of them it looks at. It must not call the hub.
pub type Filter = Arc<dyn Fn(&Object) -> bool + Send + Sync>;

/// What a list is to hold beside its resource and scope.
#[derive(Clone, Default)]
pub struct ListQuery {
    /// Only objects after this place, as [`ObjectKey::path`] names it.
    pub after: Option<String>,
    /// At most this many objects; `None` for all.
    pub limit: Option<usize>,
    /// As of this version; `None` for now.
    pub at: Option<u64>,
    /// Only objects that this selects.
    pub filter: Option<Filter>,
    /// Whether to count what follows the page. Costs a walk over it; ignored with a filter.
    pub count_rest: bool,
}

impl ListQuery {
    /// How many objects are looked at in one turn of the lock.
    pub(crate) fn chunk(&self) -> usize {
        match self.filter {
            Some(_) => FILTER_CHUNK,
            None => LIST_CHUNK,
        }
    }
}

/// Objects in the order of their keys, all as of one version.
#[derive(Clone, Debug)]
pub struct ListPage {
    /// The objects.
    pub objects: Vec<Object>,
    /// The version that was read: what the list's `metadata.resourceVersion` says.
    pub version: u64,
    /// Whether more selected objects follow.
    pub more: bool,
    /// How many follow, if it was asked for and no filter was given.
    pub remaining: Option<u64>,
}

/// Why something cannot be read.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ReadError {
    /// The version is older than what is remembered; read the present and start from there (410).
    #[error("too old resource version: {requested} ({oldest})")]
    TooOld {
        /// What was asked for.
        requested: u64,
        /// The oldest version that can still be read.
        oldest: u64,
    },
    /// The version is not there yet (504, cause ResourceVersionTooLarge).
    #[error("Too large resource version: {requested}, current: {current}")]
    TooNew {
        /// What was asked for.
        requested: u64,
        /// The present version.
        current: u64,
    },
    /// The watch was ended by the server; resume or list again.
    #[error("the watch was ended by the server")]
    Cut,
    /// The store cannot be read.
    #[error("the store is not available: {0}")]
    Unavailable(Arc<str>),
}

/// See the module's own words.
pub(crate) struct Table {
    objects: BTreeSet<Ordered>,
    ring: VecDeque<Event>,
    /// Every event of this resource after this version is in the ring.
    floor: u64,
    watchers: HashMap<u64, Vec<Arc<Mailbox>>, FixedState>,
}

impl Table {
    pub(crate) fn new(floor: u64) -> Self {
        Self {
            objects: BTreeSet::new(),
            ring: VecDeque::new(),
            floor,
            watchers: HashMap::with_hasher(FixedState::with_seed(2)),
        }
    }

    pub(crate) fn floor(&self) -> u64 {
        self.floor
    }

    /// Only for the load: nothing before `floor` is known here.
    pub(crate) fn begin_at(&mut self, floor: u64) {
        self.floor = floor;
    }

    pub(crate) fn len(&self) -> usize {
        self.objects.len()
    }

    /// Whether dropping the table would lose nothing but its floor.
    pub(crate) fn is_idle(&self) -> bool {
        self.objects.is_empty() && self.ring.is_empty() && self.watchers.is_empty()
    }

    pub(crate) fn get(&self, key: &ObjectKey) -> Option<&Object> {
        self.objects
            .get(key as &dyn Place)
            .map(|ordered| &ordered.0)
    }

    /// The objects of a scope after a place, in order.
    pub(crate) fn range<'t>(
        &'t self,
        stretch: &Stretch,
    ) -> impl Iterator<Item = &'t Object> + use<'t> {
        let bounds = stretch.bounds();
        let range = bounds.map(|bounds| self.objects.range::<dyn Place, _>(bounds));
        range.into_iter().flatten().map(|ordered| &ordered.0)
    }

    /// Puts an object in its place and returns what it replaces. Only for what makes no event:
    /// the load.
    pub(crate) fn put(&mut self, object: Object) -> Option<Object> {
        self.objects
            .replace(Ordered(object))
            .map(|ordered| ordered.0)
    }

    pub(crate) fn take(&mut self, key: &ObjectKey) -> Option<Object> {
        self.objects
            .take(key as &dyn Place)
            .map(|ordered| ordered.0)
    }

    /// Adds an event that `put` or `take` has already applied; returns the one that fell off.
    pub(crate) fn remember(&mut self, event: Event) -> Option<Event> {
        self.ring.push_back(event);
        let dropped = (self.ring.len() > RING_EVENTS).then(|| self.ring.pop_front())?;
        self.floor = dropped.as_ref().map_or(self.floor, Event::version);
        self.give_back();
        dropped
    }

    /// Forgets the event of this version if it is the oldest in the ring.
    pub(crate) fn forget(&mut self, version: u64) {
        if self
            .ring
            .front()
            .is_some_and(|event| event.version() == version)
        {
            self.ring.pop_front();
            self.floor = version;
            self.give_back();
        }
    }

    /// Puts another form of an event in its place in the ring, if it is there still.
    pub(crate) fn replace(&mut self, event: Event) -> Option<Event> {
        let version = event.version();
        let place = self.ring.partition_point(|e| e.version() < version);
        let known = self.ring.get_mut(place)?;
        (known.version() == version).then(|| std::mem::replace(known, event))
    }

    /// A ring that was long once does not keep its space for ever.
    fn give_back(&mut self) {
        if self.ring.capacity() > 64 && self.ring.len() < self.ring.capacity() / 4 {
            self.ring.shrink_to(self.ring.len() * 2);
        }
    }

    /// The events after a version, oldest first; `None` when the ring does not reach back so far.
    pub(crate) fn after(&self, version: u64) -> Option<impl Iterator<Item = &Event>> {
        let start = self
            .ring
            .partition_point(|event| event.version() <= version);
        (version >= self.floor).then(|| self.ring.range(start..))
    }

    /// The objects of a stretch as they were at `at`, in order, until `each` answers false.
    /// `None` when the ring does not reach back so far.
    pub(crate) fn scan(
        &self,
        scope: &Scope,
        stretch: &Stretch,
        at: u64,
        mut each: impl FnMut(&Object) -> bool,
    ) -> Option<()> {
        let undone = self.undone(scope, stretch, at)?;
        let mut past = undone.into_iter().peekable();
        let mut present = self.range(stretch).peekable();
        loop {
            let order = match (present.peek(), past.peek()) {
                (None, None) => return Some(()),
                (Some(_), None) => Ordering::Less,
                (None, Some(_)) => Ordering::Greater,
                (Some(now), Some(then)) => compare_keys(now.key(), then.object().key()),
            };
            // Where the past knows a key, it says what was there; the present goes unread.
            let mut object = None;
            if order.is_le() {
                object = present.next();
            }
            if order.is_ge() {
                object = past.next().and_then(Event::previous);
            }
            if let Some(object) = object
                && !each(object)
            {
                return Some(());
            }
        }
    }

    /// One object as it was at `at`; `None` when the ring does not reach back so far.
    pub(crate) fn get_at(&self, key: &ObjectKey, at: u64) -> Option<Option<&Object>> {
        let first = self.after(at)?.find(|event| event.object().key() == key);
        Some(match first {
            Some(event) => event.previous(),
            None => self.get(key),
        })
    }

    /// For each key of the stretch that changed after `at` its first event since, which knows the
    /// state at `at`; in the order of keys.
    fn undone(&self, scope: &Scope, stretch: &Stretch, at: u64) -> Option<Vec<&Event>> {
        let concerned = |event: &&Event| {
            let key = event.object().key();
            scope.contains(key) && !stretch.is_after(key)
        };
        let mut events: Vec<&Event> = self.after(at)?.filter(concerned).collect();
        // A stable sort: of one key's events the first stays first.
        events.sort_by(|left, right| compare_keys(left.object().key(), right.object().key()));
        events.dedup_by(|later, first| later.object().key() == first.object().key());
        Some(events)
    }

    pub(crate) fn join(&mut self, mailbox: Arc<Mailbox>) {
        let interest = mailbox.scope().interest();
        self.watchers.entry(interest).or_default().push(mailbox);
    }

    pub(crate) fn leave(&mut self, mailbox: &Arc<Mailbox>) {
        let interest = mailbox.scope().interest();
        if let Some(watchers) = self.watchers.get_mut(&interest) {
            if let Some(place) = watchers
                .iter()
                .position(|other| Arc::ptr_eq(other, mailbox))
            {
                watchers.swap_remove(place);
            }
            if watchers.is_empty() {
                self.watchers.remove(&interest);
            }
        }
        if self.watchers.is_empty() {
            self.watchers.shrink_to_fit();
        }
    }

    pub(crate) fn watchers(&self) -> impl Iterator<Item = &Arc<Mailbox>> {
        self.watchers.values().flatten()
    }

    /// Hands the event to everybody who wants to know of this object, and to nobody else.
    pub(crate) fn tell(&self, event: &Event, woken: &mut Vec<Arc<Mailbox>>) {
        if self.watchers.is_empty() {
            return;
        }
        let key = event.object().key();
        for interest in interests(key) {
            for mailbox in self.watchers.get(&interest).into_iter().flatten() {
                if mailbox.scope().contains(key) && mailbox.deliver(event) {
                    woken.push(mailbox.clone());
                }
            }
        }
    }
}
