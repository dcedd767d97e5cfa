//! What the log holds and redb does not yet: the newest state of each key, in memory.
//!
//! Start at [`Overlay::find`]. Commits go into `active`; a checkpoint freezes it, writes it into
//! redb and then puts the new redb in place of the frozen layer, at once for all readers. The
//! invariant: base, frozen and active together are the store as of the published revision.

use std::collections::BTreeMap;
use std::ops::Bound;
use std::sync::Arc;

use bytes::Bytes;
use hanse_store::{Change, Version};

use crate::format::Base;

/// What a key has since a version; `None` when it was deleted.
#[derive(Clone, Debug)]
pub(crate) struct Slot {
    pub(crate) version: Version,
    pub(crate) value: Option<Bytes>,
}

/// The newest slot of each key that was written since some revision.
#[derive(Default)]
pub(crate) struct Layer {
    pub(crate) slots: BTreeMap<Bytes, Slot>,
    pub(crate) bytes: usize,
}

impl Layer {
    pub(crate) fn put(&mut self, key: Bytes, version: Version, value: Option<Bytes>) {
        let size = |value: &Option<Bytes>| value.as_ref().map_or(0, Bytes::len);
        // What a slot costs beside its bytes.
        let fixed = key.len() + crate::limits::SLOT_BYTES;
        self.bytes += fixed + size(&value);
        if let Some(old) = self.slots.insert(key, Slot { version, value }) {
            self.bytes -= fixed + size(&old.value);
        }
    }
}

/// See the module's own words.
pub(crate) struct Overlay {
    pub(crate) base: Arc<Base>,
    pub(crate) frozen: Option<Arc<Layer>>,
    pub(crate) active: Layer,
}

/// Where a key was found.
pub(crate) enum Hit {
    Memory(Slot),
    /// Only redb can tell.
    Base(Arc<Base>),
}

impl Overlay {
    pub(crate) fn new(base: Base, active: Layer) -> Self {
        Self {
            base: Arc::new(base),
            frozen: None,
            active,
        }
    }

    pub(crate) fn find(&self, key: &[u8]) -> Hit {
        let frozen = || self.frozen.as_ref().and_then(|layer| layer.slots.get(key));
        match self.active.slots.get(key).or_else(frozen) {
            Some(slot) => Hit::Memory(slot.clone()),
            None => Hit::Base(self.base.clone()),
        }
    }

    pub(crate) fn apply(&mut self, changes: &[Change]) {
        for change in changes {
            self.active
                .put(change.key.clone(), change.version, change.value.clone());
        }
    }

    /// The slots of a range, for a reader that goes on without the lock.
    pub(crate) fn slots(&self, start: &[u8], end: Option<&[u8]>) -> BTreeMap<Bytes, Slot> {
        let bounds = (
            Bound::Included(start),
            end.map_or(Bound::Unbounded, Bound::Excluded),
        );
        let layers = self.frozen.as_deref().into_iter().chain([&self.active]);
        layers
            .flat_map(|layer| layer.slots.range::<[u8], _>(bounds))
            .map(|(key, slot)| (key.clone(), slot.clone()))
            .collect()
    }
}
