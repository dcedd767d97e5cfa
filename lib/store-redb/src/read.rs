//! What can be read: the present from redb and the overlay, the past by undoing the log.
//!
//! Every read works on one [`View`], taken under the lock at once and read without it: so commits
//! and compaction beside it change nothing. These functions block.

use std::collections::BTreeMap;
use std::ops::Bound;
use std::sync::Arc;

use bytes::Bytes;
use hanse_store::{
    Change, Commit, Entry, LogPage, Page, Previous, Range, ReadError, Revision, Version,
};

use crate::engine::Published;
use crate::format::{Base, Failure, read_value};
use crate::log::{Frames, Part};
use crate::overlay::{Hit, Slot};
use crate::segment::{Record, Records};

/// A read that failed, or that the contract refuses.
#[derive(Debug)]
pub(crate) enum Error {
    Refused(ReadError),
    Failed(Failure),
}

impl<E: Into<Failure>> From<E> for Error {
    fn from(error: E) -> Self {
        Self::Failed(error.into())
    }
}

/// The store as of one moment.
pub(crate) struct View {
    pub(crate) base: Arc<Base>,
    /// What the overlay says of the keys that are wanted.
    pub(crate) slots: BTreeMap<Bytes, Slot>,
    pub(crate) log: Vec<Part>,
    pub(crate) revision: Revision,
    pub(crate) floor: Revision,
}

type Value = (Version, Bytes);

impl View {
    /// With the overlay of a range of keys.
    pub(crate) fn of_range(published: &Published, start: &[u8], end: Option<&[u8]>) -> Self {
        Self::new(published, published.overlay.slots(start, end))
    }

    /// With the overlay of one key.
    pub(crate) fn of_key(published: &Published, key: &Bytes) -> Self {
        let slots = match published.overlay.find(key) {
            Hit::Memory(slot) => BTreeMap::from([(key.clone(), slot)]),
            Hit::Base(_) => BTreeMap::new(),
        };
        Self::new(published, slots)
    }

    /// With none of the overlay.
    pub(crate) fn of_log(published: &Published) -> Self {
        Self::new(published, BTreeMap::new())
    }

    fn new(published: &Published, slots: BTreeMap<Bytes, Slot>) -> Self {
        Self {
            base: published.overlay.base.clone(),
            slots,
            log: published.log.iter().cloned().collect(),
            revision: published.revision,
            floor: published.floor,
        }
    }

    fn readable(&self, at: Option<Revision>) -> Result<Revision, Error> {
        let refused = match at {
            None => return Ok(self.revision),
            Some(at) if at < self.floor => ReadError::Compacted { floor: self.floor },
            Some(at) if at > self.revision => ReadError::Future {
                current: self.revision,
            },
            Some(at) => return Ok(at),
        };
        Err(Error::Refused(refused))
    }

    /// Shows every record after a revision, in order.
    pub(crate) fn records<E: From<Failure>>(
        &self,
        after: Revision,
        mut show: impl FnMut(Record<'_>) -> Result<bool, E>,
    ) -> Result<(), E> {
        if after >= self.revision {
            return Ok(());
        }
        let mut frames = Frames::after(&self.log, after);
        if frames.expected > after.next() {
            return Err(Failure::Log(after.next()).into());
        }
        while let Some((frame, body)) = frames.next()? {
            for record in Records::new(&frame, body) {
                let record = record.ok_or(Failure::Log(frame.first))?;
                if record.version.revision() > after && !show(record)? {
                    return Ok(());
                }
            }
        }
        match frames.expected == self.revision.next() {
            true => Ok(()),
            false => Err(Failure::Log(frames.expected).into()),
        }
    }

    /// For each key of the range that changed after `at` what it had then. Where more than
    /// `limit` keys had something, only the first of them are there: no reader gets further.
    fn undone(&self, at: Revision, range: &Range) -> Result<BTreeMap<Bytes, Option<Value>>, Error> {
        let mut undone: BTreeMap<Bytes, Option<Value>> = BTreeMap::new();
        let (mut values, mut end) = (0, range.end.clone());
        self.records(at, |record| -> Result<bool, Error> {
            let inside =
                *record.key >= *range.start && end.as_ref().is_none_or(|end| *record.key < **end);
            if !inside || undone.contains_key(record.key) {
                return Ok(true);
            }
            // The first record after `at` knows what was there at `at`.
            let before = record.previous;
            let before = before.map(|(version, value)| (version, Bytes::copy_from_slice(value)));
            values += usize::from(before.is_some());
            undone.insert(Bytes::copy_from_slice(record.key), before);
            while values > range.limit.max(1).saturating_add(1) {
                let Some((key, value)) = undone.pop_last() else {
                    break;
                };
                values -= usize::from(value.is_some());
                end = Some(key);
            }
            Ok(true)
        })?;
        Ok(undone)
    }
}

pub(crate) fn get(view: &View, key: Bytes, at: Option<Revision>) -> Result<Option<Entry>, Error> {
    let at = view.readable(at)?;
    let range = Range {
        end: Some([&key[..], b"\0"].concat().into()),
        start: key.clone(),
        at: None,
        limit: 1,
    };
    let undone = view.undone(at, &range)?.remove(&key);
    let found = match (undone, view.slots.get(&key)) {
        (Some(before), _) => before,
        (None, Some(slot)) => slot.value.clone().map(|value| (slot.version, value)),
        (None, None) => view.base.get(&key)?,
    };
    Ok(found.map(|(version, value)| Entry {
        key,
        version,
        value,
    }))
}

pub(crate) fn range(view: View, range: &Range) -> Result<Page, Error> {
    let revision = view.readable(range.at)?;
    let mut page = Page {
        entries: Vec::new(),
        more: false,
        revision,
    };
    if range.end.as_ref().is_some_and(|end| *end <= range.start) {
        return Ok(page);
    }
    // What the log says of the past stands before what the overlay says of the present, and that
    // before what redb says.
    let undone = view.undone(revision, range)?;
    let slots = view.slots.into_iter();
    let mut above: BTreeMap<Bytes, Option<Value>> = slots
        .map(|(key, slot)| (key, slot.value.map(|value| (slot.version, value))))
        .collect();
    above.extend(undone);
    let mut above = above.into_iter().peekable();
    let start = Bound::Included(&range.start[..]);
    let end = range
        .end
        .as_ref()
        .map_or(Bound::Unbounded, |end| Bound::Excluded(&end[..]));
    let mut below = view.base.present.range::<&[u8]>((start, end))?;
    let mut now = next(&mut below)?;
    loop {
        let order = match (&now, above.peek()) {
            (None, None) => return Ok(page),
            (Some(_), None) => std::cmp::Ordering::Less,
            (None, Some(_)) => std::cmp::Ordering::Greater,
            (Some((key, _)), Some((other, _))) => key.cmp(other),
        };
        let mut found = None;
        if order.is_le() {
            found = std::mem::replace(&mut now, next(&mut below)?);
        }
        if order.is_ge() {
            found = above.next().and_then(|(key, value)| Some((key, value?)));
        }
        if let Some((key, (version, value))) = found {
            if page.entries.len() >= range.limit.max(1) {
                page.more = true;
                return Ok(page);
            }
            page.entries.push(Entry {
                key,
                version,
                value,
            });
        }
    }
}

type Rows<'t> = redb::Range<'t, &'static [u8], &'static [u8]>;

fn next(rows: &mut Rows<'_>) -> Result<Option<(Bytes, Value)>, Failure> {
    let Some(item) = rows.next() else {
        return Ok(None);
    };
    let (key, bytes) = item?;
    let (version, value) = read_value(key.value(), bytes.value())?;
    let value = (version, Bytes::copy_from_slice(value));
    Ok(Some((Bytes::copy_from_slice(key.value()), value)))
}

pub(crate) fn log(view: &View, after: Revision, limit: usize) -> Result<LogPage, Error> {
    if after < view.floor {
        return Err(Error::Refused(ReadError::Compacted { floor: view.floor }));
    }
    let mut page = LogPage {
        commits: Vec::new(),
        more: false,
    };
    let mut changes = 0;
    view.records(after, |record| -> Result<bool, Error> {
        let version = record.version;
        let revision = version.revision();
        let begins = page
            .commits
            .last()
            .is_none_or(|last| last.revision != revision);
        if begins && changes >= limit.max(1) {
            page.more = true;
            return Ok(false);
        }
        changes += 1;
        let previous = record.previous.map(|(version, value)| Previous {
            version,
            value: Bytes::copy_from_slice(value),
        });
        let change = Change {
            version,
            key: Bytes::copy_from_slice(record.key),
            value: record.value.map(Bytes::copy_from_slice),
            previous,
            attachment: None,
        };
        match page.commits.last_mut() {
            Some(last) if !begins => last.changes.push(change),
            _ => page.commits.push(Commit {
                revision,
                wall_millis: record.wall_millis,
                changes: vec![change],
            }),
        }
        Ok(true)
    })?;
    Ok(page)
}
