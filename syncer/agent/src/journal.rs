//! The agent's own memory: what shall be, where it stands, and how far the inbox was read.
//!
//! Two rows for each object: its intent (large, written once for each change) and its standing
//! (small, written after each apply). Invariant: an intent is durable before it is acted on; a
//! standing may be lost in a crash, which costs one apply without a difference. On disk this is
//! one redb file, which is consistent after any crash.

use std::collections::BTreeMap;
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use parking_lot::Mutex;
use redb::{
    Database, DatabaseError, Durability, ReadableDatabase, ReadableTable, StorageBackend,
    StorageError, TableDefinition,
};

use crate::limits::JOURNAL_CACHE_BYTES;

/// A journal that cannot be read or written; nothing is acted on until it can.
#[derive(Debug, thiserror::Error)]
pub enum JournalError {
    /// The file is no journal, or no longer one: [`Disk::open_or_begin`] sets it aside.
    #[error("journal: damaged: {0}")]
    Damaged(String),
    /// Anything else: the disk, a lock, a later version.
    #[error("journal: {0}")]
    Failed(String),
}

/// One change of the journal.
pub enum Change<'a> {
    /// The intent of an object.
    Intent(&'a str, &'a [u8]),
    /// The standing of an object.
    Standing(&'a str, &'a [u8]),
    /// An object that is over.
    Forget(&'a str),
    /// How far the inbox was read.
    Cursor(&'a str),
    /// What the guard remembers.
    Guard(&'a [u8]),
}

/// What the agent remembers over a restart.
pub trait Journal: Send + Sync + 'static {
    /// Every standing.
    ///
    /// # Errors
    /// When it cannot be read.
    fn standings(&self) -> Result<Vec<(String, Vec<u8>)>, JournalError>;
    /// One intent.
    ///
    /// # Errors
    /// When it cannot be read.
    fn intent(&self, name: &str) -> Result<Option<Vec<u8>>, JournalError>;
    /// How far the inbox was read; empty when not at all.
    ///
    /// # Errors
    /// When it cannot be read.
    fn cursor(&self) -> Result<String, JournalError>;
    /// What the guard remembers; empty when nothing.
    ///
    /// # Errors
    /// When it cannot be read.
    fn guard(&self) -> Result<Vec<u8>, JournalError>;
    /// Writes changes, all or none; `durable` ones are on disk when this returns.
    ///
    /// # Errors
    /// When it cannot be written.
    fn write(&self, changes: &[Change<'_>], durable: bool) -> Result<(), JournalError>;
}

const INTENTS: TableDefinition<'_, &str, &[u8]> = TableDefinition::new("intents");
const STANDINGS: TableDefinition<'_, &str, &[u8]> = TableDefinition::new("standings");
const META: TableDefinition<'_, &str, &[u8]> = TableDefinition::new("meta");
const CURSOR: &str = "cursor";
const GUARD: &str = "guard";
const FORMAT: &str = "format";
/// Moves when the rows change their meaning.
const FORMAT_NOW: &[u8] = b"1";

/// A journal in one file.
pub struct Disk {
    database: Database,
}

fn failed(error: impl std::fmt::Display) -> JournalError {
    JournalError::Failed(error.to_string())
}

fn unopened(error: DatabaseError) -> JournalError {
    let damaged = match &error {
        DatabaseError::Storage(StorageError::Corrupted(_)) => true,
        DatabaseError::Storage(StorageError::Io(e)) => matches!(
            e.kind(),
            std::io::ErrorKind::InvalidData | std::io::ErrorKind::UnexpectedEof
        ),
        _ => false,
    };
    match damaged {
        true => JournalError::Damaged(error.to_string()),
        false => failed(error),
    }
}

fn builder() -> redb::Builder {
    let mut builder = Database::builder();
    builder.set_cache_size(JOURNAL_CACHE_BYTES);
    builder
}

impl Disk {
    /// Opens the journal, or makes it.
    ///
    /// # Errors
    /// When the file cannot be used, or was written by a later version.
    pub fn open(path: &Path) -> Result<Self, JournalError> {
        // What tenants sent is nobody else's: Secrets may be among it.
        std::fs::OpenOptions::new()
            .write(true)
            .create(true)
            .truncate(false)
            .mode(0o600)
            .open(path)
            .map_err(failed)?;
        Self::over(builder().create(path).map_err(unopened)?)
    }

    /// The same on anything that can hold a file: what a power cut leaves is tested with it.
    ///
    /// # Errors
    /// As [`Disk::open`].
    pub fn open_on(backend: impl StorageBackend) -> Result<Self, JournalError> {
        Self::over(builder().create_with_backend(backend).map_err(unopened)?)
    }

    /// Opens the journal; a damaged one is set aside and a new one begun, because all of it can be
    /// got again: the intents from the hub, the standings from the marks below. Answers where the
    /// damaged one is, if there was one.
    ///
    /// # Errors
    /// As [`Disk::open`], damage apart.
    pub fn open_or_begin(path: &Path) -> Result<(Self, Option<PathBuf>), JournalError> {
        match Self::open(path) {
            Err(JournalError::Damaged(_)) => {
                let aside = path.with_extension("damaged");
                std::fs::rename(path, &aside).map_err(failed)?;
                Ok((Self::open(path)?, Some(aside)))
            }
            other => Ok((other?, None)),
        }
    }

    fn over(database: Database) -> Result<Self, JournalError> {
        let write = database.begin_write().map_err(failed)?;
        {
            write.open_table(INTENTS).map_err(failed)?;
            write.open_table(STANDINGS).map_err(failed)?;
            let mut meta = write.open_table(META).map_err(failed)?;
            let found = meta
                .get(FORMAT)
                .map_err(failed)?
                .map(|v| v.value().to_vec());
            match found {
                None => {
                    meta.insert(FORMAT, FORMAT_NOW).map_err(failed)?;
                }
                Some(format) if format == FORMAT_NOW => {}
                Some(_) => return Err(failed("written by a later version of the syncer")),
            }
        }
        write.commit().map_err(failed)?;
        Ok(Self { database })
    }
}

impl Journal for Disk {
    fn standings(&self) -> Result<Vec<(String, Vec<u8>)>, JournalError> {
        let read = self.database.begin_read().map_err(failed)?;
        let table = read.open_table(STANDINGS).map_err(failed)?;
        let mut out = Vec::new();
        for row in table.iter().map_err(failed)? {
            let (key, value) = row.map_err(failed)?;
            out.push((key.value().to_owned(), value.value().to_vec()));
        }
        Ok(out)
    }

    fn intent(&self, name: &str) -> Result<Option<Vec<u8>>, JournalError> {
        let read = self.database.begin_read().map_err(failed)?;
        let table = read.open_table(INTENTS).map_err(failed)?;
        Ok(table.get(name).map_err(failed)?.map(|v| v.value().to_vec()))
    }

    fn cursor(&self) -> Result<String, JournalError> {
        let read = self.database.begin_read().map_err(failed)?;
        let table = read.open_table(META).map_err(failed)?;
        let row = table.get(CURSOR).map_err(failed)?;
        Ok(row.map_or(String::new(), |v| {
            String::from_utf8_lossy(v.value()).into_owned()
        }))
    }

    fn guard(&self) -> Result<Vec<u8>, JournalError> {
        let read = self.database.begin_read().map_err(failed)?;
        let table = read.open_table(META).map_err(failed)?;
        let row = table.get(GUARD).map_err(failed)?;
        Ok(row.map_or(Vec::new(), |v| v.value().to_vec()))
    }

    fn write(&self, changes: &[Change<'_>], durable: bool) -> Result<(), JournalError> {
        let mut write = self.database.begin_write().map_err(failed)?;
        if !durable {
            write.set_durability(Durability::None).map_err(failed)?;
        }
        {
            let mut intents = write.open_table(INTENTS).map_err(failed)?;
            let mut standings = write.open_table(STANDINGS).map_err(failed)?;
            let mut meta = write.open_table(META).map_err(failed)?;
            for change in changes {
                match change {
                    Change::Intent(name, bytes) => {
                        intents.insert(*name, *bytes).map_err(failed)?;
                    }
                    Change::Standing(name, bytes) => {
                        standings.insert(*name, *bytes).map_err(failed)?;
                    }
                    Change::Forget(name) => {
                        intents.remove(*name).map_err(failed)?;
                        standings.remove(*name).map_err(failed)?;
                    }
                    Change::Cursor(version) => {
                        meta.insert(CURSOR, version.as_bytes()).map_err(failed)?;
                    }
                    Change::Guard(bytes) => {
                        meta.insert(GUARD, *bytes).map_err(failed)?;
                    }
                }
            }
        }
        write.commit().map_err(failed)
    }
}

/// A journal in memory: for tests and the simulator, where it outlives the agent that a crash
/// ends. Cheap to clone; all clones are one.
#[derive(Clone, Default)]
pub struct Memory {
    rows: Arc<Mutex<Rows>>,
}

#[derive(Default)]
struct Rows {
    intents: BTreeMap<String, Vec<u8>>,
    standings: BTreeMap<String, Vec<u8>>,
    cursor: String,
    guard: Vec<u8>,
}

impl Journal for Memory {
    fn standings(&self) -> Result<Vec<(String, Vec<u8>)>, JournalError> {
        Ok(self.rows.lock().standings.clone().into_iter().collect())
    }

    fn intent(&self, name: &str) -> Result<Option<Vec<u8>>, JournalError> {
        Ok(self.rows.lock().intents.get(name).cloned())
    }

    fn cursor(&self) -> Result<String, JournalError> {
        Ok(self.rows.lock().cursor.clone())
    }

    fn guard(&self) -> Result<Vec<u8>, JournalError> {
        Ok(self.rows.lock().guard.clone())
    }

    fn write(&self, changes: &[Change<'_>], _durable: bool) -> Result<(), JournalError> {
        let mut rows = self.rows.lock();
        for change in changes {
            match change {
                Change::Intent(name, bytes) => {
                    rows.intents.insert((*name).to_owned(), bytes.to_vec());
                }
                Change::Standing(name, bytes) => {
                    rows.standings.insert((*name).to_owned(), bytes.to_vec());
                }
                Change::Forget(name) => {
                    rows.intents.remove(*name);
                    rows.standings.remove(*name);
                }
                Change::Cursor(version) => rows.cursor = (*version).to_owned(),
                Change::Guard(bytes) => rows.guard = bytes.to_vec(),
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt as _;

    use super::*;

    fn suite(journal: &dyn Journal) {
        assert_eq!(journal.cursor().unwrap(), "");
        let changes = [
            Change::Intent("a", b"i"),
            Change::Standing("a", b"s"),
            Change::Cursor("7"),
        ];
        journal.write(&changes, true).unwrap();
        journal
            .write(&[Change::Standing("b", b"t")], false)
            .unwrap();
        assert_eq!(journal.intent("a").unwrap().as_deref(), Some(&b"i"[..]));
        assert_eq!(journal.standings().unwrap().len(), 2);
        journal.write(&[Change::Forget("a")], true).unwrap();
        assert_eq!(journal.intent("a").unwrap(), None);
        assert_eq!(
            journal.standings().unwrap(),
            [("b".to_owned(), b"t".to_vec())]
        );
        assert_eq!(journal.cursor().unwrap(), "7");
        assert_eq!(journal.guard().unwrap(), b"");
        journal.write(&[Change::Guard(b"g")], true).unwrap();
        assert_eq!(journal.guard().unwrap(), b"g");
    }

    #[test]
    fn memory_and_disk_keep_the_same() {
        suite(&Memory::default());
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("journal.redb");
        suite(&Disk::open(&path).unwrap());
        let mode = std::fs::metadata(&path).unwrap().permissions().mode();
        assert_eq!(mode & 0o077, 0, "others can read it: {mode:o}");
        let again = Disk::open(&path).unwrap();
        assert_eq!(again.cursor().unwrap(), "7");
        // Whoever opens it twice is told, and nothing is set aside.
        let twice = Disk::open_or_begin(&path);
        assert!(matches!(twice, Err(JournalError::Failed(_))));
    }

    #[test]
    fn what_is_no_journal_is_set_aside() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("journal.redb");
        let (journal, aside) = Disk::open_or_begin(&path).unwrap();
        assert_eq!(aside, None);
        suite(&journal);
        drop(journal);
        let mut bytes = std::fs::read(&path).unwrap();
        bytes[..64].fill(0x5a);
        std::fs::write(&path, &bytes).unwrap();
        let (journal, aside) = Disk::open_or_begin(&path).unwrap();
        assert_eq!(std::fs::read(aside.unwrap()).unwrap(), bytes);
        suite(&journal);
    }
}
