//! The last revision that anybody was told of, in a small file beside the others.
//!
//! The file is written after each group, when its commits are durable, and never synced: so it may
//! lag behind the log but never runs ahead of it, unless the log lost what a disk or a person took
//! from it. That is the one case it exists for: an older copy put in place, a log that was cut, or
//! a disk that lied about an fsync, is found when the store is opened and told by name.

use std::io;

use hanse_store::Revision;
use redb::StorageBackend;

use crate::disk::Disk;

/// The name of the file.
const NAME: &str = "acknowledged";

/// Tells a whole note from a torn one.
const SEAL: u64 = 0x6861_6e73_655f_6163;

/// See the module's own words.
pub(crate) struct Acknowledged {
    file: Box<dyn StorageBackend>,
}

impl Acknowledged {
    /// Opens the note, making it if it is missing, and reads what it says; 0 when it says nothing
    /// that is whole.
    pub(crate) fn open(disk: &dyn Disk) -> io::Result<(Self, Revision)> {
        let file = match disk.open(NAME) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => disk.create(NAME)?,
            file => file?,
        };
        let mut note = [0; 16];
        let mut said = Revision::default();
        if file.len()? >= 16 {
            file.read(0, &mut note)?;
            said = read(&note).unwrap_or_default();
        }
        Ok((Self { file }, said))
    }

    /// Notes that everything up to this revision was acknowledged.
    pub(crate) fn note(&self, revision: Revision) -> io::Result<()> {
        let mut note = [0; 16];
        note[..8].copy_from_slice(&revision.0.to_le_bytes());
        note[8..].copy_from_slice(&(revision.0 ^ SEAL).to_le_bytes());
        self.file.write(0, &note)
    }
}

fn read(note: &[u8]) -> Option<Revision> {
    let revision = u64::from_le_bytes(note.get(..8)?.try_into().ok()?);
    let seal = u64::from_le_bytes(note.get(8..16)?.try_into().ok()?);
    (seal == revision ^ SEAL).then_some(Revision(revision))
}
