//! Idle bodies, small: what the objects of a resource have in common is in memory once.
//!
//! A workspace is born with eleven objects that differ from those of its neighbours by names, uids
//! and times. Start at [`Packer::turn`]: a body that has lain still for a while is replaced by what
//! is left of it when a *pattern*, a few bodies of the same resource, is taken as known (LZ4 with a
//! dictionary). The index entry stays as it is, so that selecting opens nothing. Whoever reads a
//! packed body opens it without knowing, and it stays open until the next pass closes it again:
//! what is read often is opened once a pass. The invariant: a packed body gives back exactly the
//! bytes that it was made of, which is tried before it takes their place. Deliberately elsewhere:
//! when passes run (whoever owns the [`Packer`]), and anything at rest in the store.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, OnceLock};

use lz4_flex::block::{compress_with_dict, decompress_with_dict};

use crate::hub::Hub;
use crate::limits::{
    PACK_BYTES_MAX, PACK_BYTES_SOON, PACK_LOOKS, PACK_LOOKS_MAX, PACK_OBJECTS, PACK_OPENED_SOON,
    PACK_PATTERNS, PATTERN_BYTES, PATTERN_OBJECTS,
};
use crate::names::{ResourceId, Scope};
use crate::object::Object;
use crate::order::Stretch;
use crate::state::After;

/// Bodies that are known to both sides.
pub(crate) struct Pattern {
    bytes: Box<[u8]>,
    /// How many bodies have been opened since it was made.
    opened: AtomicUsize,
}

impl Pattern {
    fn new(bytes: Vec<u8>) -> Self {
        Self {
            bytes: bytes.into_boxed_slice(),
            opened: AtomicUsize::new(0),
        }
    }

    /// What is known of one object: the pattern, and what stands beside its body anyway.
    fn with(&self, beside: [&[u8]; 2]) -> Vec<u8> {
        [&self.bytes, beside[0], beside[1]].concat()
    }
}

/// How a packed body is opened.
pub(crate) struct Packed {
    pattern: Arc<Pattern>,
    length: u32,
    open: OnceLock<Box<[u8]>>,
}

impl Packed {
    /// Packs a body; `None` when that saves too little. `beside` is known when it is opened.
    pub(crate) fn new(
        pattern: &Arc<Pattern>,
        beside: [&[u8]; 2],
        body: &[u8],
    ) -> Option<(Self, Vec<u8>)> {
        let small = compress_with_dict(body, &pattern.with(beside));
        if small.len() + size_of::<Self>() > body.len() / 2 {
            return None;
        }
        let packed = Self {
            pattern: Arc::clone(pattern),
            length: u32::try_from(body.len()).ok()?,
            open: OnceLock::new(),
        };
        let same = packed.unpack(beside, &small) == body;
        same.then_some((packed, small))
    }

    /// Bytes of the body.
    pub(crate) fn len(&self) -> usize {
        self.length as usize
    }

    pub(crate) fn is_open(&self) -> bool {
        self.open.get().is_some()
    }

    /// The body, which stays open.
    pub(crate) fn open(&self, beside: [&[u8]; 2], small: &[u8]) -> &[u8] {
        self.open.get_or_init(|| {
            self.pattern.opened.fetch_add(1, Ordering::Relaxed);
            self.unpack(beside, small).into()
        })
    }

    /// A copy of the body, unless it is open anyway.
    pub(crate) fn copied(&self, beside: [&[u8]; 2], small: &[u8]) -> Cow<'_, [u8]> {
        match self.open.get() {
            Some(open) => Cow::Borrowed(open),
            None => Cow::Owned(self.unpack(beside, small)),
        }
    }

    fn unpack(&self, beside: [&[u8]; 2], small: &[u8]) -> Vec<u8> {
        let known = self.pattern.with(beside);
        let open = decompress_with_dict(small, self.len(), &known).ok();
        // It was tried when it was packed: only broken memory is of another length.
        let open = open.filter(|open| open.len() == self.len());
        open.unwrap_or_else(|| vec![b' '; self.len()])
    }
}

impl Clone for Packed {
    /// The same, closed.
    fn clone(&self) -> Self {
        Self {
            pattern: Arc::clone(&self.pattern),
            length: self.length,
            open: OnceLock::new(),
        }
    }
}

/// What is known of one resource between passes.
#[derive(Default)]
struct Kept {
    /// The last is in use; bodies that were packed with the others stay so.
    patterns: Vec<Arc<Pattern>>,
    /// The version up to which all was tried.
    until: u64,
    /// How often bodies had been opened when they were closed last.
    opened: usize,
}

/// The pass that is going on.
struct Pass {
    /// What is left of it, from the end.
    resources: Vec<ResourceId>,
    after: Option<String>,
    cutoff: u64,
    /// Whether bodies of the resource were opened since the last pass.
    opened: bool,
}

/// Packs what lies still in a hub, in passes of short turns. There should be one for a hub.
pub struct Packer {
    hub: Hub,
    kept: BTreeMap<ResourceId, Kept>,
    pass: Option<Pass>,
    /// Up to this version everything was tried.
    until: u64,
    /// The version at the last look.
    seen: u64,
    /// Looks since the last pass.
    looks: usize,
    /// Bytes of all objects after the last pass.
    bytes: usize,
    /// Objects that there were at most since names were tidied last.
    most: usize,
}

impl Packer {
    /// Nothing is done yet.
    #[must_use]
    pub fn new(hub: &Hub) -> Self {
        Self {
            hub: hub.clone(),
            kept: BTreeMap::new(),
            pass: None,
            until: 0,
            seen: 0,
            looks: 0,
            bytes: 0,
            most: 0,
        }
    }

    /// Whether a pass is to begin, when it is asked every second: soon after much was written,
    /// opened or deleted, else twice a minute, and never where nothing happens.
    pub fn is_due(&mut self) -> bool {
        let (version, bytes, objects) = self.hub.extent();
        self.most = self.most.max(objects);
        let cutoff = std::mem::replace(&mut self.seen, version);
        self.looks += 1;
        let opened: usize = self.kept.values().map(|k| k.opened_now() - k.opened).sum();
        let much = bytes >= self.bytes + PACK_BYTES_SOON
            || objects < self.most / 2
            || opened >= PACK_OPENED_SOON;
        (much || self.looks >= PACK_LOOKS_MAX) && self.begin(cutoff)
    }

    /// Begins a pass over everything that was written up to a version or opened since the last
    /// pass. False when there is nothing of the kind.
    pub(crate) fn begin(&mut self, cutoff: u64) -> bool {
        self.looks = 0;
        let mut opened = self.kept.values().map(|k| k.opened_now() - k.opened);
        if cutoff <= self.until && opened.all(|count| count == 0) {
            return false;
        }
        let mut resources = self.hub.resources();
        self.kept.retain(|r, _| resources.binary_search(r).is_ok());
        resources.reverse();
        self.until = self.until.max(cutoff);
        self.pass = Some(Pass {
            resources,
            after: None,
            cutoff,
            opened: false,
        });
        true
    }

    /// After a pass: once half of all is gone, names of what was deleted go, and what the past
    /// keeps of it is moved out of the memory that can be given back then.
    fn end(&mut self) {
        let (_, bytes, objects) = self.hub.extent();
        self.bytes = bytes;
        self.most = self.most.max(objects);
        if objects < self.most / 2 {
            self.hub.shared.names.tidy();
            self.hub.settle();
            self.most = objects;
        }
    }

    /// A short piece of the pass: how many bodies it made small; `None` when the pass is over.
    pub fn turn(&mut self) -> Option<usize> {
        let pass = self.pass.as_mut()?;
        let Some(resource) = pass.resources.last() else {
            self.pass = None;
            self.end();
            return None;
        };
        let mut kept = self.kept.remove(resource).unwrap_or_default();
        if pass.after.is_none() {
            let opened = kept.opened_now();
            pass.opened = std::mem::replace(&mut kept.opened, opened) != opened;
        }
        let (from, cutoff, opened) = (kept.until, pass.cutoff, pass.opened);
        let wanted = |object: &Object| {
            let version = object.resource_version();
            (version > from && version <= cutoff) || (opened && object.is_open())
        };
        let (found, after) = self.hub.still(resource, pass.after.as_deref(), wanted);
        pass.after = after;
        let small = kept.pack(&found);
        let done = small.len();
        self.hub.replace(small);
        if !kept.patterns.is_empty() {
            // Without a pattern they are too few, and wait for more of their kind.
            if pass.after.is_none() {
                kept.until = from.max(cutoff);
            }
            self.kept.insert(resource.clone(), kept);
        }
        if pass.after.is_none() {
            pass.resources.pop();
        }
        Some(done)
    }
}

impl Kept {
    fn opened_now(&self) -> usize {
        let opened = |pattern: &Arc<Pattern>| pattern.opened.load(Ordering::Relaxed);
        self.patterns.iter().map(opened).sum()
    }

    fn pack(&mut self, found: &[Object]) -> Vec<Object> {
        let (open, plain): (Vec<&Object>, Vec<&Object>) =
            found.iter().partition(|object| object.is_open());
        let mut small: Vec<Object> = open.into_iter().map(Object::closed).collect();
        if self.patterns.is_empty() {
            self.learn(&plain);
        }
        let mut packed = self.pack_plain(&plain);
        // What came since the pattern was made may be of another sort.
        if packed.len() < plain.len() / 2 && self.learn(&plain) {
            packed = self.pack_plain(&plain);
        }
        small.extend(packed);
        small
    }

    fn pack_plain(&self, plain: &[&Object]) -> Vec<Object> {
        let Some(pattern) = self.patterns.last() else {
            return Vec::new();
        };
        let small = plain.iter().filter(|o| o.json_len() <= PACK_BYTES_MAX);
        small.filter_map(|o| o.packed(pattern)).collect()
    }

    /// Makes a pattern of bodies that are unlike those already in it. False when there are too few
    /// to be worth one, or were too many patterns.
    fn learn(&mut self, plain: &[&Object]) -> bool {
        if plain.len() < PATTERN_OBJECTS || self.patterns.len() >= PACK_PATTERNS {
            return false;
        }
        let mut pattern = Arc::new(Pattern::new(Vec::new()));
        for object in plain {
            let (body, length) = (object.plain(), pattern.bytes.len());
            if length + body.len() > PATTERN_BYTES {
                continue;
            }
            let saves = |small: Object| object.memory() - small.memory() > body.len() / 3 * 2;
            if !object.packed(&pattern).is_some_and(saves) {
                pattern = Arc::new(Pattern::new([&pattern.bytes, body].concat()));
            }
        }
        let made = !pattern.bytes.is_empty();
        self.patterns.extend(made.then_some(pattern));
        made
    }
}

impl Hub {
    /// The present version, the bytes of all objects, and their number.
    fn extent(&self) -> (u64, usize, usize) {
        let state = self.shared.state.read();
        (state.version(), state.object_bytes(), state.objects())
    }

    /// Some objects of a resource behind a place that are wanted, and the place to go on from.
    fn still(
        &self,
        resource: &ResourceId,
        after: Option<&str>,
        wanted: impl Fn(&Object) -> bool,
    ) -> (Vec<Object>, Option<String>) {
        let state = self.shared.state.read();
        let stretch = Stretch::new(&Scope::Wildcard, after);
        let mut found = Vec::new();
        let Some(table) = state.table(resource) else {
            return (found, None);
        };
        let (mut looked, mut last) = (0, None);
        for object in table.range(&stretch) {
            if looked >= PACK_LOOKS || found.len() >= PACK_OBJECTS {
                return (found, last.map(|last: &Object| last.key().path()));
            }
            (looked, last) = (looked + 1, Some(object));
            if wanted(object) {
                found.push(object.clone());
            }
        }
        (found, None)
    }

    /// Moves the past into memory of its own, in turns of the lock.
    fn settle(&self) {
        let mut from = Some(0);
        while let Some(place) = from {
            let mut after = After::default();
            from = self.shared.state.write().settle(place, &mut after);
            after.run();
        }
    }

    /// Puts the same states in smaller form in the place of those that are there.
    fn replace(&self, small: Vec<Object>) {
        let mut gone = After::default();
        let mut state = self.shared.state.write();
        for object in small {
            state.replace(object, &mut gone);
        }
        drop(state);
        gone.run();
    }
}
