//! What the hub remembers, all of it under one lock that is never held over I/O.
//!
//! Start at [`State::apply`]: one write becomes one event in its resource's table and ring, in the
//! memory of all recent events, in the index of owners and with the watchers concerned. The
//! invariant: every event of any resource after `recent_floor` is in `recent`, in order, and
//! nothing in memory is newer than `revision` says once the lock is free.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;

use foldhash::fast::FixedState;
use hanse_store::{Commit, Revision};
use hashbrown::HashMap;

use crate::event::Event;
use crate::hub::{Config, Stats, Usage};
use crate::limits::{HOT_BYTES, HOT_EVENTS, SETTLE_EVENTS};
use crate::names::{ObjectKey, ResourceId, Scope};
use crate::object::{Object, owner_hash};
use crate::order::Stretch;
use crate::part::{Part, PartHash, Parts};
use crate::table::Table;
use crate::watch::Mailbox;

/// One write of a commit, decoded.
pub(crate) enum Applied {
    Put(Object),
    Delete(ObjectKey, u64),
    /// A saved cursor: remembered, and no event.
    Position(String, u64),
    /// A part that objects share, with its row's version: kept, and no event.
    Part(Part, u64),
    /// The end of such a row.
    PartGone(PartHash),
}

/// What is done after the lock is free: waking, and dropping what memory no longer needs.
#[derive(Default)]
pub(crate) struct After {
    pub(crate) woken: Vec<Arc<Mailbox>>,
    dropped: Vec<Event>,
    replaced: Vec<Object>,
    cooled: Vec<Event>,
}

impl After {
    pub(crate) fn run(self) {
        self.woken.iter().for_each(|mailbox| mailbox.wake());
        self.cooled.iter().for_each(Event::cool);
        drop((self.dropped, self.replaced));
    }
}

/// See the module's own words.
pub(crate) struct State {
    config: Config,
    parts: Arc<Parts>,
    pub(crate) revision: Revision,
    tables: HashMap<ResourceId, Table, FixedState>,
    /// Bytes that all objects take.
    object_bytes: usize,
    /// The floor of a table that does not exist yet.
    new_floor: u64,
    /// Dependents by the hash of (cluster, owner's uid) and their own version, which is unique.
    owners: BTreeMap<(u64, u64), Object>,
    recent: VecDeque<Event>,
    recent_floor: u64,
    recent_bytes: usize,
    hot: VecDeque<Event>,
    hot_bytes: usize,
    pub(crate) positions: BTreeMap<String, u64>,
    /// Commits that came while the hub was loading; `None` once it is open.
    pub(crate) waiting: Option<Vec<Commit>>,
}

impl State {
    pub(crate) fn new(config: Config, parts: Arc<Parts>) -> Self {
        Self {
            config,
            parts,
            revision: Revision::default(),
            tables: HashMap::with_hasher(FixedState::with_seed(3)),
            object_bytes: 0,
            new_floor: 0,
            owners: BTreeMap::new(),
            recent: VecDeque::new(),
            recent_floor: 0,
            recent_bytes: 0,
            hot: VecDeque::new(),
            hot_bytes: 0,
            positions: BTreeMap::new(),
            waiting: Some(Vec::new()),
        }
    }

    /// The version that stands after everything that is here.
    pub(crate) fn version(&self) -> u64 {
        self.revision.end().0
    }

    /// How many objects there are.
    pub(crate) fn objects(&self) -> usize {
        self.tables.values().map(Table::len).sum()
    }

    /// Bytes that all objects take.
    pub(crate) fn object_bytes(&self) -> usize {
        self.object_bytes
    }

    pub(crate) fn get(&self, key: &ObjectKey) -> Option<&Object> {
        self.tables.get(&key.resource)?.get(key)
    }

    pub(crate) fn table(&self, resource: &ResourceId) -> Option<&Table> {
        self.tables.get(resource)
    }

    pub(crate) fn new_floor(&self) -> u64 {
        self.new_floor
    }

    fn table_mut(&mut self, resource: &ResourceId) -> &mut Table {
        let floor = self.new_floor;
        self.tables
            .entry_ref(resource)
            .or_insert_with(|| Table::new(floor))
    }

    /// Everything before this version is unknown here; only for the load.
    pub(crate) fn begin_at(&mut self, floor: u64) {
        self.new_floor = floor;
        self.recent_floor = floor;
        for table in self.tables.values_mut() {
            table.begin_at(floor);
        }
    }

    /// Takes over an object of the load, which makes no event.
    pub(crate) fn load(&mut self, object: Object) {
        self.count(None, Some(&object));
        for hash in object.owner_hashes() {
            self.owners
                .insert((hash, object.resource_version()), object.clone());
        }
        let resource = object.key().resource.clone();
        self.table_mut(&resource).put(object);
    }

    /// Takes over an event of the log's tail, whose effect was loaded already.
    pub(crate) fn load_event(&mut self, event: Event, after: &mut After) {
        let resource = event.object().key().resource.clone();
        self.remember(&resource, event, after);
    }

    /// Applies one write and tells everybody concerned.
    pub(crate) fn apply(&mut self, applied: Applied, after: &mut After) {
        let (resource, event) = match applied {
            Applied::Position(name, version) => {
                self.positions.insert(name, version);
                return;
            }
            Applied::Part(part, version) => return self.parts.stored(part, version),
            Applied::PartGone(hash) => return self.parts.gone(hash),
            Applied::Put(object) => {
                let resource = object.key().resource.clone();
                let previous = self.table_mut(&resource).put(object.clone());
                self.count(previous.as_ref(), Some(&object));
                self.reown(previous.as_ref(), Some(&object));
                (resource, Event::put(object, previous))
            }
            Applied::Delete(key, version) => {
                let Some(last) = self.table_mut(&key.resource).take(&key) else {
                    return;
                };
                self.reown(Some(&last), None);
                self.count(Some(&last), None);
                // What is old lies among its neighbours of then, which may all be gone soon: its
                // memory is given back, and what the past keeps is put beside the rest of it.
                let last = match last.resource_version() <= self.recent_floor {
                    true => last.moved(),
                    false => last,
                };
                (key.resource, Event::delete(last, version))
            }
        };
        if let Some(table) = self.tables.get(&resource) {
            table.tell(&event, &mut after.woken);
        }
        self.heat(event.clone(), after);
        self.remember(&resource, event, after);
    }

    /// Counts the parts and the bytes of what came and of what went.
    fn count(&mut self, old: Option<&Object>, new: Option<&Object>) {
        self.object_bytes += new.map_or(0, Object::memory);
        self.object_bytes -= old.map_or(0, Object::memory).min(self.object_bytes);
        for (object, change) in [(new, 1), (old, -1)] {
            if let Some(hash) = object.and_then(Object::part) {
                self.parts.count(hash, change);
            }
        }
    }

    fn reown(&mut self, old: Option<&Object>, new: Option<&Object>) {
        if let Some(object) = old {
            for hash in object.owner_hashes() {
                self.owners.remove(&(hash, object.resource_version()));
            }
        }
        if let Some(object) = new {
            for hash in object.owner_hashes() {
                self.owners
                    .insert((hash, object.resource_version()), object.clone());
            }
        }
    }

    fn remember(&mut self, resource: &ResourceId, event: Event, after: &mut After) {
        self.recent_bytes += event.weight();
        self.recent.push_back(event.clone());
        after
            .dropped
            .extend(self.table_mut(resource).remember(event));
        while self.recent.len() > self.config.recent_events
            || self.recent_bytes > self.config.recent_bytes
        {
            let Some(oldest) = self.recent.pop_front() else {
                break;
            };
            self.recent_floor = oldest.version();
            self.recent_bytes = self.recent_bytes.saturating_sub(oldest.weight());
            let resource = &oldest.object().key().resource;
            if let Some(table) = self.tables.get_mut(resource) {
                table.forget(oldest.version());
                self.tidy(&oldest.object().key().resource.clone());
            }
            after.dropped.push(oldest);
        }
    }

    /// Puts the same state in another form in its place, in the present and in the recent past.
    pub(crate) fn replace(&mut self, object: Object, after: &mut After) {
        let version = object.resource_version();
        let Some(table) = self.tables.get_mut(&object.key().resource) else {
            return;
        };
        let now = table.get(object.key()).map(Object::resource_version);
        if now != Some(version) {
            return;
        }
        let old = table.put(object.clone());
        let place = self.recent.partition_point(|e| e.version() < version);
        if let Some(known) = self.recent.get_mut(place)
            && known.version() == version
        {
            let event = Event::put(object.clone(), known.previous().cloned());
            after.dropped.extend(table.replace(event.clone()));
            after.dropped.push(std::mem::replace(known, event));
        }
        self.count(old.as_ref(), Some(&object));
        self.reown(old.as_ref(), Some(&object));
        after.replaced.extend(old);
    }

    /// Moves some of the past into memory of its own: what it is made of lay among much that is
    /// gone. Takes the place to begin at; answers the next, or `None` at the end.
    pub(crate) fn settle(&mut self, from: usize, after: &mut After) -> Option<usize> {
        after.cooled.extend(self.hot.drain(..));
        self.hot_bytes = 0;
        let to = self.recent.len().min(from + SETTLE_EVENTS);
        for known in self.recent.range_mut(from.min(to)..to) {
            let event = known.moved();
            let resource = &event.object().key().resource;
            if let Some(table) = self.tables.get_mut(resource) {
                after.dropped.extend(table.replace(event.clone()));
            }
            after.dropped.push(std::mem::replace(known, event));
        }
        (to < self.recent.len()).then_some(to)
    }

    /// An event just published may keep its encoded forms, until newer ones need the room.
    fn heat(&mut self, event: Event, after: &mut After) {
        self.hot_bytes += event.object().json_len();
        self.hot.push_back(event);
        while self.hot.len() > HOT_EVENTS || self.hot_bytes > HOT_BYTES {
            let Some(oldest) = self.hot.pop_front() else {
                break;
            };
            self.hot_bytes = self.hot_bytes.saturating_sub(oldest.object().json_len());
            after.cooled.push(oldest);
        }
    }

    /// Drops a table that holds nothing any more. What it knew of its past goes into the floor
    /// that a new one begins with.
    fn tidy(&mut self, resource: &ResourceId) {
        if let Some(table) = self.tables.get(resource)
            && table.is_idle()
        {
            self.new_floor = self.new_floor.max(table.floor());
            self.tables.remove(resource);
        }
    }

    pub(crate) fn by_owner(&self, cluster: &str, uid: &str) -> Vec<ObjectKey> {
        let dependents = self.owned(cluster, uid, 0);
        dependents.map(|object| object.key().clone()).collect()
    }

    /// Whether the index of owners holds an object under a hash.
    pub(crate) fn is_owned(&self, hash: u64, object: &Object) -> bool {
        self.owners.get(&(hash, object.resource_version())) == Some(object)
    }

    /// Makes the index forget a dependent: damage for a test to find.
    #[cfg(test)]
    pub(crate) fn disown(&mut self, object: &Object) {
        self.reown(Some(object), None);
    }

    /// Objects that name an owner, in the order of their versions, from behind one on.
    pub(crate) fn owned<'s>(
        &'s self,
        cluster: &'s str,
        uid: &'s str,
        after: u64,
    ) -> impl Iterator<Item = &'s Object> {
        let hash = owner_hash(cluster, uid);
        let from = (hash, after.saturating_add(1));
        let dependents = self.owners.range(from..=(hash, u64::MAX));
        dependents.map(|(_, object)| object).filter(move |object| {
            *object.key().cluster == *cluster && object.owners().any(|owner| owner == uid)
        })
    }

    /// Up to `max` events after a version, and the version up to which they are complete; `None`
    /// when memory does not reach back so far.
    pub(crate) fn recent_after(&self, version: u64, max: usize) -> Option<(Vec<Event>, u64)> {
        if version < self.recent_floor {
            return None;
        }
        let start = self
            .recent
            .partition_point(|event| event.version() <= version);
        let events: Vec<Event> = self.recent.range(start..).take(max).cloned().collect();
        let complete = start + events.len() == self.recent.len();
        let end = match events.last() {
            Some(last) if !complete => last.version(),
            _ => self.version().max(version),
        };
        Some((events, end))
    }

    pub(crate) fn join(&mut self, resource: &ResourceId, mailbox: Arc<Mailbox>) {
        self.table_mut(resource).join(mailbox);
    }

    pub(crate) fn leave(&mut self, resource: &ResourceId, mailbox: &Arc<Mailbox>) {
        if let Some(table) = self.tables.get_mut(resource) {
            table.leave(mailbox);
        }
        self.tidy(resource);
    }

    /// All resources that have objects, in order.
    pub(crate) fn resources(&self) -> Vec<ResourceId> {
        let with = self.tables.iter().filter(|(_, table)| table.len() > 0);
        let mut resources: Vec<ResourceId> = with.map(|(resource, _)| resource.clone()).collect();
        resources.sort_unstable();
        resources
    }

    /// The resources of which a scope has objects, in order, with their counts.
    pub(crate) fn contents(&self, scope: &Scope) -> Vec<(ResourceId, usize)> {
        let stretch = Stretch::new(scope, None);
        let counts = self
            .tables
            .iter()
            .map(|(name, table)| (name, table.range(&stretch).count()));
        let mut contents: Vec<(ResourceId, usize)> = counts
            .filter(|(_, count)| *count > 0)
            .map(|(name, n)| (name.clone(), n))
            .collect();
        contents.sort_unstable();
        contents
    }

    /// What a scope holds, by resource, in order.
    pub(crate) fn usage(&self, scope: &Scope) -> Vec<Usage> {
        let stretch = Stretch::new(scope, None);
        let mut usage = Vec::new();
        for (resource, table) in &self.tables {
            let mut found = Usage {
                resource: resource.clone(),
                objects: 0,
                stored_bytes: 0,
                memory_bytes: 0,
            };
            for object in table.range(&stretch) {
                found.objects += 1;
                found.stored_bytes += object.json_len();
                found.memory_bytes += object.memory();
            }
            if found.objects > 0 {
                usage.push(found);
            }
        }
        usage.sort_unstable_by(|a, b| a.resource.cmp(&b.resource));
        usage
    }

    pub(crate) fn stats(&self) -> Stats {
        let tables = self.tables.values();
        let (parts, part_bytes) = self.parts.size();
        Stats {
            parts,
            part_bytes,
            resources: self.tables.len(),
            objects: self.objects(),
            object_bytes: self.object_bytes,
            watchers: tables.map(|table| table.watchers().count()).sum(),
            recent_events: self.recent.len(),
            recent_bytes: self.recent_bytes,
        }
    }

    pub(crate) fn cut(&self, matches: &dyn Fn(&ResourceId, &Scope) -> bool) {
        for (resource, table) in &self.tables {
            for mailbox in table.watchers() {
                if matches(resource, mailbox.scope()) {
                    mailbox.cut(self.version());
                }
            }
        }
    }
}
