//! The last revision that anybody was told of, in a small file beside the database.
//!
//! The file is written after each group, when its commits are durable, and never synced: so it may
//! lag behind the database but never runs ahead of it, unless the database lost what a disk or a
//! person took from it. That is the one case it exists for: an older copy put in place, or a disk
//! that lied about an fsync, is found when the store is opened and told by name.

use std::fs::{File, OpenOptions};
use std::io::{self, Read, Seek, SeekFrom, Write};
use std::path::Path;

use hanse_store::Revision;

/// See the module's own words.
pub(crate) struct Acknowledged {
    file: File,
}

/// Tells a whole note from a torn one.
const SEAL: u64 = 0x6861_6e73_655f_6163;

impl Acknowledged {
    /// Opens the note, making it if it is missing, and reads what it says; 0 when it says nothing
    /// that is whole.
    pub(crate) fn open(path: &Path) -> io::Result<(Self, Revision)> {
        let mut options = OpenOptions::new();
        let mut file = options
            .read(true)
            .write(true)
            .create(true)
            .truncate(false)
            .open(path)?;
        let mut note = Vec::with_capacity(16);
        Read::by_ref(&mut file).take(16).read_to_end(&mut note)?;
        Ok((Self { file }, read(&note).unwrap_or_default()))
    }

    /// Notes that everything up to this revision was acknowledged.
    pub(crate) fn note(&mut self, revision: Revision) -> io::Result<()> {
        let mut note = [0; 16];
        note[..8].copy_from_slice(&revision.0.to_le_bytes());
        note[8..].copy_from_slice(&(revision.0 ^ SEAL).to_le_bytes());
        self.file.seek(SeekFrom::Start(0))?;
        self.file.write_all(&note)
    }
}

fn read(note: &[u8]) -> Option<Revision> {
    let revision = u64::from_le_bytes(note.get(..8)?.try_into().ok()?);
    let seal = u64::from_le_bytes(note.get(8..16)?.try_into().ok()?);
    (seal == revision ^ SEAL).then_some(Revision(revision))
}
