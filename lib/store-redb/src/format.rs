//! What lies in redb, the present, and the checks of it.
//!
//! | table | key | value |
//! |---|---|---|
//! | `present` | key | the version that wrote its value, 8 bytes; a sum, 4 bytes; the value |
//! | `meta` | name | numbers: format, oldest reader, revision, floor, chain |
//!
//! The present is as of `revision`; what came later stands in the log alone (`segment.rs`). The
//! sum covers key, version and value and is compared whenever the value is read. `chain` is the
//! sum of the frame that ended with `revision`: a log that has another one there is not this
//! store's.

use bytes::Bytes;
use hanse_store::{Revision, Version};
use redb::{Database, ReadOnlyTable, ReadableDatabase, ReadableTable, TableDefinition};

use crate::engine::OpenError;

pub(crate) const PRESENT: TableDefinition<'static, &[u8], &[u8]> = TableDefinition::new("present");
pub(crate) const META: TableDefinition<'static, &str, u64> = TableDefinition::new("meta");

/// What this version writes.
pub(crate) const FORMAT: u64 = crate::segment::FORMAT as u64;
/// The oldest version of this engine that can read what this one writes.
pub(crate) const OLDEST_READER: u64 = crate::segment::OLDEST_READER as u64;

pub(crate) const META_FORMAT: &str = "format";
pub(crate) const META_OLDEST_READER: &str = "oldest-reader";
pub(crate) const META_REVISION: &str = "revision";
pub(crate) const META_FLOOR: &str = "floor";
pub(crate) const META_CHAIN: &str = "chain";

/// Bytes before a value.
const VALUE: usize = 12;

/// Anything that went wrong below.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Failure {
    #[error("redb: {0}")]
    Redb(#[from] redb::Error),
    #[error("{0}")]
    Io(std::io::Error),
    #[error("the log is missing or damaged at revision {0}")]
    Log(Revision),
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

fn sum(key: &[u8], version: Version, value: &[u8]) -> [u8; 4] {
    let mut sum = crc32fast::Hasher::new();
    sum.update(&version.0.to_le_bytes());
    sum.update(key);
    sum.update(value);
    sum.finalize().to_le_bytes()
}

/// Puts a value of the present together.
pub(crate) fn write_value(key: &[u8], version: Version, value: &[u8], out: &mut Vec<u8>) {
    out.clear();
    out.extend_from_slice(&version.0.to_le_bytes());
    out.extend_from_slice(&sum(key, version, value));
    out.extend_from_slice(value);
}

/// Takes a value of the present apart; an error names its key.
pub(crate) fn read_value<'a>(key: &[u8], bytes: &'a [u8]) -> Result<(Version, &'a [u8]), Failure> {
    let version = bytes
        .first_chunk()
        .map_or(0, |eight| u64::from_le_bytes(*eight));
    let damaged = || Failure::Value {
        key: String::from_utf8_lossy(key).into_owned(),
        version,
    };
    let (head, value) = bytes.split_at_checked(VALUE).ok_or_else(damaged)?;
    match head[8..] == sum(key, Version(version), value) {
        true => Ok((Version(version), value)),
        false => Err(damaged()),
    }
}

/// redb as one checkpoint left it.
pub(crate) struct Base {
    pub(crate) present: ReadOnlyTable<&'static [u8], &'static [u8]>,
    pub(crate) revision: Revision,
    pub(crate) floor: Revision,
    pub(crate) chain: u32,
}

impl Base {
    pub(crate) fn read(database: &Database) -> Result<Self, Failure> {
        let read = database.begin_read()?;
        let meta = read.open_table(META)?;
        Ok(Self {
            present: read.open_table(PRESENT)?,
            revision: Revision(number(&meta, META_REVISION)?),
            floor: Revision(number(&meta, META_FLOOR)?),
            chain: u32::try_from(number(&meta, META_CHAIN)?).unwrap_or(u32::MAX),
        })
    }

    pub(crate) fn get(&self, key: &[u8]) -> Result<Option<(Version, Bytes)>, Failure> {
        let Some(guard) = self.present.get(key)? else {
            return Ok(None);
        };
        let (version, value) = read_value(key, guard.value())?;
        Ok(Some((version, Bytes::copy_from_slice(value))))
    }
}

pub(crate) fn number(
    meta: &impl ReadableTable<&'static str, u64>,
    name: &'static str,
) -> Result<u64, Failure> {
    Ok(meta.get(name)?.map_or(0, |guard| guard.value()))
}

/// Refuses a file of a format that this version cannot read; the format otherwise.
pub(crate) fn check_format(meta: &impl ReadableTable<&'static str, u64>) -> Result<u64, OpenError> {
    let (found, oldest) = (
        number(meta, META_FORMAT)?,
        number(meta, META_OLDEST_READER)?,
    );
    match found {
        0 => Err(OpenError::NoFormat),
        _ if found < crate::migrate::FORMAT => Err(OpenError::TooOld {
            found,
            ours: crate::migrate::FORMAT,
        }),
        _ if oldest > FORMAT => Err(OpenError::TooNew {
            found,
            oldest,
            ours: FORMAT,
        }),
        _ => Ok(found),
    }
}

#[cfg(test)]
mod tests {
    use hanse_store::Version;

    use super::{read_value, write_value};

    #[test]
    fn values_come_back_and_damaged_ones_are_named() {
        let mut bytes = Vec::new();
        write_value(b"key", Version(8), b"value", &mut bytes);
        let (version, value) = read_value(b"key", &bytes).unwrap();
        assert_eq!((version, value), (Version(8), &b"value"[..]));
        assert!(read_value(b"other", &bytes).is_err(), "another key's");
        for length in 0..bytes.len() {
            assert!(read_value(b"key", &bytes[..length]).is_err());
        }
        for bit in 0..bytes.len() * 8 {
            bytes[bit / 8] ^= 1 << (bit % 8);
            let error = read_value(b"key", &bytes).unwrap_err().to_string();
            assert!(error.contains("the value of key at version"), "{error}");
            bytes[bit / 8] ^= 1 << (bit % 8);
        }
    }
}
