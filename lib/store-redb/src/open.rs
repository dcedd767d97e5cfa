//! Opening: a new store is made whole before it gets its name, an old one is brought to this
//! format, and one that is there is put together from redb and the end of the log.
//!
//! Start at [`open`]. The invariant: what is opened holds everything that was acknowledged, in an
//! unbroken chain of revisions, or it is refused by name ([`OpenError`]); and nothing on disk is
//! changed before that is known.

use std::os::unix::fs::DirBuilderExt as _;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::Path;
use std::sync::Arc;

use hanse_seams::{Rng, Seams};
use hanse_store::Revision;
use redb::{Database, ReadableDatabase};

use crate::acknowledged::Acknowledged;
use crate::commit::Start;
use crate::disk::{Directory, Disk};
use crate::engine::{Config, OpenError, Published};
use crate::file::File;
use crate::format::{self, Base, Failure, META, PRESENT};
use crate::log::{Writer, make_segment};
use crate::migrate;
use crate::overlay::Overlay;
use crate::patient::{Patience, Patient};
use crate::recover::{self, Recovered};
use crate::segment::{self, HEADER, Header};

/// redb's file.
const DATABASE: &str = "hanse.redb";
/// The same, as long as it is not whole.
const UNFINISHED: &str = "hanse.redb.new";

/// A store that is ready to go on.
pub(crate) struct Opened {
    pub(crate) file: File,
    pub(crate) note: Acknowledged,
    pub(crate) published: Published,
    pub(crate) start: Start,
}

/// What opening works with.
struct Place<'a> {
    disk: &'a Arc<dyn Disk>,
    config: &'a Config,
    seams: &'a Seams,
    patience: &'a Arc<Patience>,
}

/// Makes the directory if it is missing. What is stored is nobody else's: Secrets are among it.
pub(crate) fn make_directory(directory: &Path) -> Result<(), OpenError> {
    let mut builder = std::fs::DirBuilder::new();
    let made = builder.recursive(true).mode(0o700).create(directory);
    made.map_err(|source| OpenError::Io {
        path: directory.to_owned(),
        source,
    })
}

pub(crate) fn open(
    disk: &Arc<dyn Disk>,
    config: &Config,
    seams: &Seams,
    patience: &Arc<Patience>,
) -> Result<Opened, OpenError> {
    let place = Place {
        disk,
        config,
        seams,
        patience,
    };
    let names = disk.names().map_err(|error| place.io("", error))?;
    if !names.iter().any(|name| name == DATABASE) {
        place.make(&names)?;
    }
    let (file, base, recovered) = guarded(config, || {
        let file = File::new(place.database(DATABASE)?);
        let database = file.database()?;
        if place.format(database)? == migrate::FORMAT {
            migrate::run(database, disk, seams)?;
        }
        let base = Base::read(database)?;
        let recovered = recover::log(disk, &base)?;
        Ok((file, base, recovered))
    })?;
    let note = Acknowledged::open(&**disk).map_err(|error| place.io("acknowledged", error))?;
    let (note, acknowledged) = note;
    let found = recovered.revision;
    let acknowledged = acknowledged.max(base.revision);
    if acknowledged > found {
        return Err(OpenError::Lost {
            acknowledged,
            found,
        });
    }
    let (published, start) = place.begin(base, recovered)?;
    Ok(Opened {
        file,
        note,
        published,
        start,
    })
}

/// As [`crate::RedbStore::check_pages`].
pub(crate) fn check_pages(config: &Config) -> Result<bool, OpenError> {
    let disk: Arc<dyn Disk> = Arc::new(Directory(config.directory.clone()));
    let file = disk.open(DATABASE);
    let file = file.map_err(|source| OpenError::Io {
        path: config.directory.join(DATABASE),
        source,
    })?;
    let database = guarded(config, || open_database(config, file, &Arc::default()))?;
    let mut file = File::new(database);
    let database = file.database_mut()?;
    match catch_unwind(AssertUnwindSafe(|| database.check_integrity())) {
        Ok(Ok(whole)) => Ok(whole),
        Ok(Err(redb::DatabaseError::Storage(redb::StorageError::Corrupted(_)))) | Err(_) => {
            Ok(false)
        }
        Ok(Err(error)) => Err(opening(config, error)),
    }
}

/// Where redb's own pages are damaged, it may stop by an assertion rather than by an error: that
/// is an answer too, and no reason to take the process down.
fn guarded<T>(
    config: &Config,
    open: impl FnOnce() -> Result<T, OpenError>,
) -> Result<T, OpenError> {
    catch_unwind(AssertUnwindSafe(open)).unwrap_or_else(|_| {
        let path = config.directory.join(DATABASE);
        let text = format!("{}: its pages are damaged", path.display());
        Err(OpenError::Database(text))
    })
}

fn open_database(
    config: &Config,
    file: Box<dyn redb::StorageBackend>,
    patience: &Arc<Patience>,
) -> Result<Database, OpenError> {
    let mut builder = Database::builder();
    builder.set_cache_size(config.cache_bytes);
    let patience = patience.clone();
    let database = builder.create_with_backend(Patient { file, patience });
    database.map_err(|error| opening(config, error))
}

fn opening(config: &Config, error: redb::DatabaseError) -> OpenError {
    let path = config.directory.join(DATABASE);
    match error {
        redb::DatabaseError::DatabaseAlreadyOpen => OpenError::Locked(path),
        redb::DatabaseError::Storage(redb::StorageError::Io(source)) => {
            OpenError::Io { path, source }
        }
        error => OpenError::Database(format!("{}: {error}", path.display())),
    }
}

/// A salt that no client knows; never 0, which is what a disk says where nothing was written.
pub(crate) fn salt(rng: &dyn Rng) -> u64 {
    rng.u64() | 1
}

impl Place<'_> {
    fn io(&self, name: &str, source: std::io::Error) -> OpenError {
        let path = self.config.directory.join(name);
        OpenError::Io { path, source }
    }

    /// Opens redb's file, which must not be empty: redb would begin a new one in it.
    fn database(&self, name: &str) -> Result<Database, OpenError> {
        let file = self.disk.open(name).map_err(|error| self.io(name, error))?;
        if file.len().map_err(|error| self.io(name, error))? == 0 {
            return Err(OpenError::NoFormat);
        }
        open_database(self.config, file, self.patience)
    }

    fn format(&self, database: &Database) -> Result<u64, OpenError> {
        let read = database.begin_read().map_err(Failure::from)?;
        match read.open_table(META) {
            Ok(meta) => format::check_format(&meta),
            Err(redb::TableError::TableDoesNotExist(_)) => Err(OpenError::NoFormat),
            Err(error) => Err(Failure::from(error).into()),
        }
    }

    /// Makes the files under other names first: a new store that a power cut left unfinished is
    /// not mistaken for a broken one.
    fn make(&self, names: &[String]) -> Result<(), OpenError> {
        let disk = &**self.disk;
        for name in names {
            let segment = segment::revision_of(name).is_some();
            if segment {
                let file = disk.open(name);
                let length = file.and_then(|file| file.len());
                if length.map_err(|error| self.io(name, error))? > HEADER as u64 {
                    return Err(OpenError::Segment {
                        name: name.clone(),
                        what: format!("the log is there, but not {DATABASE}"),
                    });
                }
            }
            if segment || name == UNFINISHED {
                disk.remove(name).map_err(|error| self.io(name, error))?;
            }
        }
        let begins_at = self.config.begins_at;
        let file = disk.create(UNFINISHED);
        let file = file.map_err(|error| self.io(UNFINISHED, error))?;
        let database = open_database(self.config, file, self.patience)?;
        create(&database, begins_at)?;
        drop(database);
        let header = Header {
            salt: salt(&*self.seams.rng),
            first: begins_at.next(),
            wall_millis: self.seams.clock.wall_millis(),
            records: 0,
            chain: 0,
        };
        // The names have to be as durable as the files.
        make_segment(disk, header)
            .and_then(|_| disk.rename(UNFINISHED, DATABASE))
            .and_then(|()| disk.sync())
            .map_err(|error| self.io("", error))
    }

    /// Cuts what was torn, now that all the rest is known to be there.
    fn begin(&self, base: Base, recovered: Recovered) -> Result<(Published, Start), OpenError> {
        let Recovered {
            mut log,
            chain,
            layer,
            revision,
            floor,
            last,
            marks,
            torn,
            leftover,
        } = recovered;
        let missing = || OpenError::Broken {
            missing: revision.next(),
        };
        if leftover.is_some() || torn {
            let cut = || -> std::io::Result<()> {
                if let Some(name) = &leftover {
                    self.disk.remove(name)?;
                    self.disk.sync()?;
                }
                match log.back() {
                    Some((segment, end)) if torn => {
                        segment.file.set_len(*end)?;
                        segment.file.sync_data()
                    }
                    _ => Ok(()),
                }
            };
            cut().map_err(|error| self.io("", error))?;
        }
        log.make_contiguous();
        let end = log.back().cloned().ok_or_else(missing)?;
        let rng = self.seams.rng.clone();
        let start = Start {
            writer: Writer::new(self.disk.clone(), rng, end, chain, last.records),
            revision,
            floor,
            bytes: last.bytes,
            marks,
        };
        let published = Published {
            revision,
            floor,
            chain,
            observers: Vec::new(),
            overlay: Overlay::new(base, layer),
            log,
        };
        Ok((published, start))
    }
}

fn create(database: &Database, begins_at: Revision) -> Result<(), Failure> {
    let mut write = database.begin_write()?;
    write.set_quick_repair(true);
    write.open_table(PRESENT)?;
    {
        let mut meta = write.open_table(META)?;
        meta.insert(format::META_FORMAT, format::FORMAT)?;
        meta.insert(format::META_OLDEST_READER, format::OLDEST_READER)?;
        // What was before is not here: it counts as compacted.
        meta.insert(format::META_REVISION, begins_at.0)?;
        meta.insert(format::META_FLOOR, begins_at.0)?;
        meta.insert(format::META_CHAIN, 0)?;
    }
    write.commit()?;
    Ok(())
}
