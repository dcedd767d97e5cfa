//! What can be read: the present by `head`, the past by undoing the log.
//!
//! Every read works on one snapshot of the file, and asks the snapshot, not the loop, what can be
//! read: so compaction beside it changes nothing. These functions block.

use std::collections::BTreeMap;
use std::ops::Bound;

use bytes::Bytes;
use hanse_store::{Change, Commit, Entry, LogPage, Page, Range, ReadError, Revision, Version};
use redb::{Database, ReadOnlyTable, ReadableDatabase};

use crate::format::{self, Failure, HEAD, LOG, META, Record, number, with_record};

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

pub(crate) struct Snapshot {
    pub(crate) log: ReadOnlyTable<u64, &'static [u8]>,
    pub(crate) head: ReadOnlyTable<&'static [u8], u64>,
    pub(crate) revision: Revision,
    pub(crate) floor: Revision,
}

impl Snapshot {
    pub(crate) fn new(database: &Database) -> Result<Self, Error> {
        let read = database.begin_read()?;
        let meta = read.open_table(META)?;
        Ok(Self {
            log: read.open_table(LOG)?,
            head: read.open_table(HEAD)?,
            revision: Revision(number(&meta, format::META_REVISION)?),
            floor: Revision(number(&meta, format::META_FLOOR)?),
        })
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

    fn entry(&self, key: Bytes, version: u64) -> Result<Entry, Error> {
        let value = with_record(&self.log, version, |record| {
            let same = record.key == key;
            record.value.filter(|_| same).map(Bytes::copy_from_slice)
        });
        // Whoever operates this wants to know what it was.
        let damaged = |_| Failure::Value {
            key: String::from_utf8_lossy(&key).into_owned(),
            version,
        };
        let value = value.and_then(|value| value.ok_or(Failure::Record(version)));
        let value = value.map_err(damaged)?;
        Ok(Entry {
            key,
            version: Version(version),
            value,
        })
    }

    /// For each key of the range that changed after `at`, the version that it had then.
    fn undone(
        &self,
        at: Revision,
        wanted: impl Fn(&[u8]) -> bool,
    ) -> Result<BTreeMap<Bytes, Option<u64>>, Error> {
        let mut undone = BTreeMap::new();
        if at == self.revision {
            return Ok(undone);
        }
        for item in self.log.range(at.end().0 + 1..)? {
            let (version, bytes) = item?;
            let record = Record::read(version.value(), bytes.value())
                .ok_or(Failure::Record(version.value()))?;
            if wanted(record.key) && !undone.contains_key(record.key) {
                // The first record after `at` knows what was there at `at`.
                let before = (record.previous > 0).then_some(record.previous);
                undone.insert(Bytes::copy_from_slice(record.key), before);
            }
        }
        Ok(undone)
    }
}

pub(crate) fn get(
    database: &Database,
    key: Bytes,
    at: Option<Revision>,
) -> Result<Option<Entry>, Error> {
    let snapshot = Snapshot::new(database)?;
    let at = snapshot.readable(at)?;
    let mut version = snapshot.head.get(&key[..])?.map(|guard| guard.value());
    if let Some(current) = version {
        let mut current = current;
        while Version(current).revision() > at {
            current = with_record(&snapshot.log, current, |record| record.previous)?;
            if current == 0 {
                break;
            }
        }
        version = (current > 0).then_some(current);
    }
    if version.is_none() && at < snapshot.revision {
        // It has no value now, or had none when its present chain began: it may have been
        // deleted since `at`, which only the log knows.
        version = snapshot
            .undone(at, |other| other == key)?
            .remove(&key)
            .flatten();
    }
    version
        .map(|version| snapshot.entry(key, version))
        .transpose()
}

pub(crate) fn range(database: &Database, range: &Range) -> Result<Page, Error> {
    let snapshot = Snapshot::new(database)?;
    let revision = snapshot.readable(range.at)?;
    let mut page = Page {
        entries: Vec::new(),
        more: false,
        revision,
    };
    if range.end.as_ref().is_some_and(|end| *end <= range.start) {
        return Ok(page);
    }
    let inside =
        |key: &[u8]| *key >= *range.start && range.end.as_ref().is_none_or(|end| *key < **end);
    let mut past = snapshot.undone(revision, inside)?.into_iter().peekable();
    let start = Bound::Included(&range.start[..]);
    let end = range
        .end
        .as_ref()
        .map_or(Bound::Unbounded, |end| Bound::Excluded(&end[..]));
    let mut present = snapshot.head.range::<&[u8]>((start, end))?;
    let mut now = next(&mut present)?;
    loop {
        let order = match (&now, past.peek()) {
            (None, None) => return Ok(page),
            (Some(_), None) => std::cmp::Ordering::Less,
            (None, Some(_)) => std::cmp::Ordering::Greater,
            (Some((key, _)), Some((other, _))) => key.cmp(other),
        };
        let mut found = None;
        if order.is_le() {
            found = std::mem::replace(&mut now, next(&mut present)?);
        }
        if order.is_ge() {
            // Where the past knows a key, it says what was there.
            found = past.next().and_then(|(key, version)| Some((key, version?)));
        }
        if let Some((key, version)) = found {
            if page.entries.len() >= range.limit.max(1) {
                page.more = true;
                return Ok(page);
            }
            page.entries.push(snapshot.entry(key, version)?);
        }
    }
}

fn next(range: &mut redb::Range<'_, &'static [u8], u64>) -> Result<Option<(Bytes, u64)>, Error> {
    let Some(item) = range.next() else {
        return Ok(None);
    };
    let (key, version) = item?;
    Ok(Some((Bytes::copy_from_slice(key.value()), version.value())))
}

pub(crate) fn log(database: &Database, after: Revision, limit: usize) -> Result<LogPage, Error> {
    let snapshot = Snapshot::new(database)?;
    if after < snapshot.floor {
        return Err(Error::Refused(ReadError::Compacted {
            floor: snapshot.floor,
        }));
    }
    let mut page = LogPage {
        commits: Vec::new(),
        more: false,
    };
    for (changes, item) in snapshot.log.range(after.end().0 + 1..)?.enumerate() {
        let (version, bytes) = item?;
        let version = Version(version.value());
        let record = Record::read(version.0, bytes.value()).ok_or(Failure::Record(version.0))?;
        let change = Change {
            version,
            key: Bytes::copy_from_slice(record.key),
            value: record.value.map(Bytes::copy_from_slice),
            previous: format::previous(&snapshot.log, record.previous)?,
            attachment: None,
        };
        match page.commits.last_mut() {
            Some(last) if last.revision == version.revision() => last.changes.push(change),
            _ if changes >= limit.max(1) => {
                page.more = true;
                break;
            }
            _ => page.commits.push(Commit {
                revision: version.revision(),
                wall_millis: record.wall_millis,
                changes: vec![change],
            }),
        }
    }
    Ok(page)
}
