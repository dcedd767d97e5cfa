//! What lies on disk, and the checks of it when it is opened.
//!
//! | table | key | value |
//! |---|---|---|
//! | `log` | version | [`Record`]: one write, with the version that its key had before |
//! | `head` | key | the version that wrote its value |
//! | `marks` | revision | when it was committed, and the bytes written up to it |
//! | `meta` | name | numbers: format, oldest reader, revision, floor, swept, bytes |
//!
//! A value exists once, in `log`, also when it lives for ever: compaction takes away records that
//! a later one has replaced, and deletions. Every record carries a checksum over itself and its
//! version, which is compared whenever it is read. The invariant: for every key in `head` its
//! record is in `log`; every commit above the floor has its records there; numbers in the log have
//! no gap.

use bytes::Bytes;
use hanse_store::{Previous, Revision, Version};
use redb::{ReadableTable, TableDefinition};

use crate::engine::OpenError;

pub(crate) const LOG: TableDefinition<'static, u64, &[u8]> = TableDefinition::new("log");
pub(crate) const HEAD: TableDefinition<'static, &[u8], u64> = TableDefinition::new("head");
pub(crate) const MARKS: TableDefinition<'static, u64, (u64, u64)> = TableDefinition::new("marks");
pub(crate) const META: TableDefinition<'static, &str, u64> = TableDefinition::new("meta");

/// What this version writes.
pub(crate) const FORMAT: u64 = 2;
/// The oldest version of this engine that can read what this one writes.
pub(crate) const OLDEST_READER: u64 = 2;
/// The oldest format that this version reads: before it, records had no checksum.
const OLDEST_READ: u64 = 2;

pub(crate) const META_FORMAT: &str = "format";
pub(crate) const META_OLDEST_READER: &str = "oldest-reader";
pub(crate) const META_REVISION: &str = "revision";
pub(crate) const META_FLOOR: &str = "floor";
/// Up to which version compaction has taken away what it can.
pub(crate) const META_SWEPT: &str = "swept";
pub(crate) const META_BYTES: &str = "bytes";

/// The first byte of every record.
const RECORD: u8 = 2;
const DELETED: u8 = 1;
/// Where the checksum stands in the header, behind all that it covers of it.
const SUM: usize = 1 + 1 + 8 + 8 + 2;
const HEADER: usize = SUM + 4;

/// One write of the log, borrowed from its bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Record<'a> {
    /// The version that wrote the key's value before; 0 when it had none.
    pub(crate) previous: u64,
    /// When it was committed, in milliseconds since 1970.
    pub(crate) wall_millis: u64,
    /// The key.
    pub(crate) key: &'a [u8],
    /// The value; `None` for a deletion.
    pub(crate) value: Option<&'a [u8]>,
}

impl<'a> Record<'a> {
    pub(crate) fn write(&self, version: u64, out: &mut Vec<u8>) {
        out.clear();
        out.push(RECORD);
        out.push(if self.value.is_none() { DELETED } else { 0 });
        out.extend_from_slice(&self.previous.to_le_bytes());
        out.extend_from_slice(&self.wall_millis.to_le_bytes());
        // Keys are at most `MAX_KEY_BYTES` long, which fits.
        out.extend_from_slice(&(self.key.len() as u16).to_le_bytes());
        out.extend_from_slice(&[0; 4]);
        out.extend_from_slice(self.key);
        out.extend_from_slice(self.value.unwrap_or(&[]));
        let sum = checksum(version, &out[..SUM], &out[HEADER..]);
        out[SUM..HEADER].copy_from_slice(&sum);
    }

    /// `None` for bytes that were not written under this version, or not as they are now.
    pub(crate) fn read(version: u64, bytes: &'a [u8]) -> Option<Self> {
        let (header, rest) = bytes.split_at_checked(HEADER)?;
        if header[SUM..] != checksum(version, &header[..SUM], rest) {
            return None;
        }
        let number = |at: usize| header[at..at + 8].try_into().ok().map(u64::from_le_bytes);
        let length = usize::from(u16::from_le_bytes([header[18], header[19]]));
        let (key, value) = rest.split_at_checked(length)?;
        let value = match (header[0], header[1]) {
            (RECORD, 0) => Some(value),
            (RECORD, DELETED) if value.is_empty() => None,
            _ => return None,
        };
        Some(Self {
            previous: number(2)?,
            wall_millis: number(10)?,
            key,
            value,
        })
    }

    pub(crate) fn bytes(&self) -> u64 {
        (HEADER + self.key.len() + self.value.map_or(0, <[u8]>::len)) as u64
    }
}

/// Over the version as well, so that a record which lies in another's place is found.
fn checksum(version: u64, header: &[u8], rest: &[u8]) -> [u8; 4] {
    let mut sum = crc32fast::Hasher::new();
    sum.update(&version.to_le_bytes());
    sum.update(header);
    sum.update(rest);
    sum.finalize().to_le_bytes()
}

/// Anything that went wrong below.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Failure {
    #[error("redb: {0}")]
    Redb(#[from] redb::Error),
    #[error("the record of version {0} is missing or damaged")]
    Record(u64),
    #[error("{0}")]
    Refused(String),
    #[error("the value of {key} at version {version} is missing or damaged")]
    Value { key: String, version: u64 },
}

macro_rules! from_redb {
    ($($error:ident),*) => {
        $(impl From<redb::$error> for Failure {
            fn from(error: redb::$error) -> Self {
                Self::Redb(error.into())
            }
        })*
    };
}
from_redb!(
    StorageError,
    TableError,
    TransactionError,
    CommitError,
    DatabaseError
);
from_redb!(SetDurabilityError);

/// The record of a version that must be there.
pub(crate) fn with_record<T>(
    log: &impl ReadableTable<u64, &'static [u8]>,
    version: u64,
    read: impl FnOnce(Record<'_>) -> T,
) -> Result<T, Failure> {
    let guard = log.get(version)?.ok_or(Failure::Record(version))?;
    let record = Record::read(version, guard.value()).ok_or(Failure::Record(version))?;
    Ok(read(record))
}

/// What a key had before a record, while the record is above the floor.
pub(crate) fn previous(
    log: &impl ReadableTable<u64, &'static [u8]>,
    version: u64,
) -> Result<Option<Previous>, Failure> {
    if version == 0 {
        return Ok(None);
    }
    let value = with_record(log, version, |record| {
        record.value.map(Bytes::copy_from_slice)
    })?;
    // What a key had before is a value: after a deletion a key has nothing before.
    let value = value.ok_or(Failure::Record(version))?;
    Ok(Some(Previous {
        version: Version(version),
        value,
    }))
}

pub(crate) fn number(
    meta: &impl ReadableTable<&'static str, u64>,
    name: &'static str,
) -> Result<u64, Failure> {
    Ok(meta.get(name)?.map_or(0, |guard| guard.value()))
}

/// Refuses a file of a format that this version cannot read.
pub(crate) fn check_format(meta: &impl ReadableTable<&'static str, u64>) -> Result<(), OpenError> {
    let (found, oldest) = (
        number(meta, META_FORMAT)?,
        number(meta, META_OLDEST_READER)?,
    );
    match found {
        0 => Err(OpenError::NoFormat),
        _ if found < OLDEST_READ => Err(OpenError::TooOld {
            found,
            ours: OLDEST_READ,
        }),
        _ if oldest > FORMAT => Err(OpenError::TooNew {
            found,
            oldest,
            ours: FORMAT,
        }),
        _ => Ok(()),
    }
}

/// Walks back over the latest `commits` commits: their numbers have no gap, the last one is the
/// revision that the file states, and each key that they wrote stands in `head` as they left it.
pub(crate) fn check_chain(
    log: &impl ReadableTable<u64, &'static [u8]>,
    head: &impl ReadableTable<&'static [u8], u64>,
    revision: Revision,
    floor: Revision,
    commits: u64,
) -> Result<(), OpenError> {
    let oldest = floor.max(Revision(revision.0.saturating_sub(commits)));
    // The revision whose records were met last, on the way down.
    let mut met: Option<Revision> = None;
    let mut seen = std::collections::BTreeSet::new();
    let start = oldest.end().0 + 1;
    for entry in log.range(start..).map_err(Failure::from)?.rev() {
        let (version, bytes) = entry.map_err(Failure::from)?;
        let version = Version(version.value());
        let record = Record::read(version.0, bytes.value()).ok_or(Failure::Record(version.0))?;
        let expected = met.map_or(revision, |met| Revision(met.0 - 1));
        if met != Some(version.revision()) && version.revision() != expected {
            return Err(OpenError::Broken { missing: expected });
        }
        met = Some(version.revision());
        if seen.insert(record.key.to_vec()) {
            let stands = head
                .get(record.key)
                .map_err(Failure::from)?
                .map(|guard| guard.value());
            if stands != record.value.map(|_| version.0) {
                return Err(OpenError::Head { version });
            }
        }
    }
    match met {
        Some(met) if met != oldest.next() => Err(OpenError::Broken {
            missing: Revision(met.0 - 1),
        }),
        None if oldest < revision => Err(OpenError::Broken { missing: revision }),
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::Record;

    #[test]
    fn records_come_back_and_damaged_ones_do_not() {
        for value in [None, Some(&b""[..]), Some(b"value")] {
            let record = Record {
                previous: 7,
                wall_millis: 9,
                key: b"key",
                value,
            };
            let mut bytes = Vec::new();
            record.write(8, &mut bytes);
            assert_eq!(Record::read(8, &bytes), Some(record));
            assert_eq!(Record::read(9, &bytes), None, "another version's");
            assert_eq!(record.bytes(), bytes.len() as u64);
            for length in 0..super::HEADER + 3 {
                assert_eq!(Record::read(8, &bytes[..length]), None);
            }
            for bit in 0..bytes.len() * 8 {
                bytes[bit / 8] ^= 1 << (bit % 8);
                assert_eq!(Record::read(8, &bytes), None, "bit {bit}");
                bytes[bit / 8] ^= 1 << (bit % 8);
            }
        }
    }
}
