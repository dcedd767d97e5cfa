//! Where the engine's files lie: a directory of the machine, or one that is simulated.
//!
//! Start at [`Disk`]. A file is what redb takes for one ([`StorageBackend`]); the log uses the
//! same. The invariant: nothing else in this crate touches a file system.

use std::fmt;
use std::fs::{self, File, OpenOptions};
use std::io;
use std::path::PathBuf;

use redb::StorageBackend;
use redb::backends::FileBackend;

/// Files under names. A name that was made, taken away or changed is durable after
/// [`Disk::sync`], and what a file holds after its own `sync_data`.
pub trait Disk: fmt::Debug + Send + Sync + 'static {
    /// The names of all files.
    fn names(&self) -> io::Result<Vec<String>>;

    /// A new, empty file; an error when the name is taken.
    fn create(&self, name: &str) -> io::Result<Box<dyn StorageBackend>>;

    /// A file that is there.
    fn open(&self, name: &str) -> io::Result<Box<dyn StorageBackend>>;

    /// Takes the name away; whoever has the file open keeps it.
    fn remove(&self, name: &str) -> io::Result<()>;

    /// Gives a file another name, at once or not at all.
    fn rename(&self, from: &str, to: &str) -> io::Result<()>;

    /// Makes the names durable.
    fn sync(&self) -> io::Result<()>;

    /// Whether a thread may wait for room where there is none. Not where time is simulated.
    fn is_patient(&self) -> bool {
        false
    }
}

/// A directory of the machine.
#[derive(Debug)]
pub(crate) struct Directory(pub(crate) PathBuf);

impl Directory {
    fn backend(&self, name: &str, options: &mut OpenOptions) -> io::Result<FileBackend> {
        let file = options.read(true).write(true).open(self.0.join(name))?;
        FileBackend::new(file).map_err(io::Error::other)
    }
}

impl Disk for Directory {
    fn names(&self) -> io::Result<Vec<String>> {
        let mut names = Vec::new();
        for entry in fs::read_dir(&self.0)? {
            names.extend(entry?.file_name().into_string().ok());
        }
        Ok(names)
    }

    fn create(&self, name: &str) -> io::Result<Box<dyn StorageBackend>> {
        let file = self.backend(name, File::options().create_new(true))?;
        Ok(Box::new(file))
    }

    fn open(&self, name: &str) -> io::Result<Box<dyn StorageBackend>> {
        Ok(Box::new(self.backend(name, &mut File::options())?))
    }

    fn remove(&self, name: &str) -> io::Result<()> {
        fs::remove_file(self.0.join(name))
    }

    fn rename(&self, from: &str, to: &str) -> io::Result<()> {
        fs::rename(self.0.join(from), self.0.join(to))
    }

    fn sync(&self) -> io::Result<()> {
        File::open(&self.0)?.sync_all()
    }

    fn is_patient(&self) -> bool {
        true
    }
}

/// Whether an error says that there is no room, rather than that the disk is broken.
pub(crate) fn is_full(error: &io::Error) -> bool {
    use io::ErrorKind::{FileTooLarge, QuotaExceeded, StorageFull};
    matches!(error.kind(), StorageFull | QuotaExceeded | FileTooLarge)
}
