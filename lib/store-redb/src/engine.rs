//! The handle: opening and closing, what is shared between the loop, the readers and the callers,
//! and the contract's methods, which hand over to `commit.rs` and `read.rs`.

use std::os::unix::fs::DirBuilderExt as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use bytes::Bytes;
use hanse_seams::{BoxFuture, Seams, Worker};
use hanse_store::{
    Batch, CommitError, Committed, Entry, LaneQueue, Limits, LogPage, Observer, Page, Queued,
    Range, ReadError, Retention, Revision, Store, Verified, Version,
};
use parking_lot::Mutex;
use redb::{Database, ReadableDatabase, ReadableTable};
use tokio::sync::oneshot;

use crate::acknowledged::Acknowledged;
use crate::commit::Loop;
use crate::file::File;
use crate::format::{self, Failure};
use crate::limits::{CACHE_BYTES, CHECKED_COMMITS, QUEUE_BATCHES};
use crate::{read, verify};

/// How a store is opened.
#[derive(Clone, Debug)]
pub struct Config {
    /// The directory that holds the store's files; made if it is missing.
    pub directory: PathBuf,
    /// What a commit may hold.
    pub limits: Limits,
    /// How much of the past is kept.
    pub retention: Retention,
    /// Bytes of redb's page cache.
    pub cache_bytes: usize,
    /// The revision at which a new store begins: after a restore, numbers go on where the old
    /// store's ended. A store that exists is not changed by it.
    pub begins_at: Revision,
}

impl Config {
    /// The usual limits, retention and cache.
    pub fn new(directory: impl Into<PathBuf>) -> Self {
        Self {
            directory: directory.into(),
            limits: Limits::default(),
            retention: Retention::default(),
            cache_bytes: CACHE_BYTES,
            begins_at: Revision::default(),
        }
    }
}

/// Why a store could not be opened.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// The directory or a file in it cannot be used.
    #[error("{path}: {source}")]
    Io {
        /// Which one.
        path: PathBuf,
        /// What the system says.
        #[source]
        source: std::io::Error,
    },
    /// Another process has the store open.
    #[error("{0} is open in another process")]
    Locked(PathBuf),
    /// The file is a database, but none of ours.
    #[error("the database states no format: it was not written by this program")]
    NoFormat,
    /// The file was written by a later version that this one cannot follow.
    #[error(
        "the database has format {found}, readable from {oldest} on; this program reads {ours}"
    )]
    TooNew {
        /// The file's format.
        found: u64,
        /// The oldest reader that it allows.
        oldest: u64,
        /// What this program reads.
        ours: u64,
    },
    /// The file was written by an earlier version whose records cannot be checked.
    #[error("the database has format {found}; this program reads {ours} and later")]
    TooOld {
        /// The file's format.
        found: u64,
        /// The oldest that this program reads.
        ours: u64,
    },
    /// A commit is missing between others.
    #[error("the log is broken: revision {missing} is missing")]
    Broken {
        /// Which one.
        missing: Revision,
    },
    /// A key's present value is not what the log says it is.
    #[error("the head is broken: it does not show version {version}")]
    Head {
        /// The write that is not shown.
        version: Version,
    },
    /// The database is older than what was acknowledged: an older copy was put in place, or the
    /// disk lost what it had promised to keep. Removing the file `acknowledged` accepts the loss.
    #[error(
        "the database ends at revision {found}, but revision {acknowledged} was acknowledged: \
         commits were lost"
    )]
    Lost {
        /// The last revision that anybody was told of.
        acknowledged: Revision,
        /// The last revision in the database.
        found: Revision,
    },
    /// The database cannot be read or written.
    #[error("{0}")]
    Database(String),
}

impl From<Failure> for OpenError {
    fn from(failure: Failure) -> Self {
        Self::Database(failure.to_string())
    }
}

/// What the loop, the readers and the callers share.
pub(crate) struct Shared {
    pub(crate) file: File,
    pub(crate) limits: Limits,
    pub(crate) queue: Mutex<Waiting>,
    pub(crate) published: Mutex<Published>,
}

type CommitReply = oneshot::Sender<Result<Committed, CommitError>>;

/// What waits for the loop.
#[derive(Default)]
pub(crate) struct Waiting {
    pub(crate) batches: LaneQueue<CommitReply>,
    pub(crate) compactions: Vec<(Revision, oneshot::Sender<Result<(), ReadError>>)>,
    pub(crate) closing: bool,
    /// Why nothing can be committed any more.
    pub(crate) failed: Option<Arc<str>>,
}

/// What the world has been told.
#[derive(Default)]
pub(crate) struct Published {
    pub(crate) revision: Revision,
    pub(crate) floor: Revision,
    pub(crate) observers: Vec<Arc<dyn Observer>>,
}

/// The embedded engine. Closes when it is dropped, after committing what waits.
pub struct RedbStore {
    shared: Arc<Shared>,
    worker: Worker,
    seams: Seams,
}

impl RedbStore {
    /// Opens the store in a directory, making it if there is none. Blocks for the time of reading
    /// a few pages, also after a crash.
    pub fn open(config: &Config, seams: &Seams) -> Result<Self, OpenError> {
        let directory = &config.directory;
        // What is stored is nobody else's: Secrets are among it.
        std::fs::DirBuilder::new()
            .recursive(true)
            .mode(0o700)
            .create(directory)
            .map_err(|source| io(directory, source))?;
        let path = directory.join("hanse.redb");
        if !path.exists() {
            make(directory, &path, config)?;
        }
        let (database, start) = open_file(config, &path)?;
        let note = directory.join("acknowledged");
        let (note, acknowledged) = Acknowledged::open(&note).map_err(|source| io(&note, source))?;
        if acknowledged > start.revision {
            let found = start.revision;
            return Err(OpenError::Lost {
                acknowledged,
                found,
            });
        }
        Ok(Self::start(config, seams, database, start, Some(note)))
    }

    /// Opens the store over any storage instead of the directory: for disks that are simulated.
    /// Without a second file, what was acknowledged is not noted.
    pub fn open_on(
        storage: impl redb::StorageBackend,
        config: &Config,
        seams: &Seams,
    ) -> Result<Self, OpenError> {
        let database = builder(config).create_with_backend(storage);
        let database = database.map_err(|error| opening(&config.directory, error))?;
        let start = prepare(&database)?;
        Ok(Self::start(config, seams, database, start, None))
    }

    fn start(
        config: &Config,
        seams: &Seams,
        database: Database,
        start: Start,
        note: Option<Acknowledged>,
    ) -> Self {
        let published = Published {
            revision: start.revision,
            floor: start.floor,
            observers: Vec::new(),
        };
        let shared = Arc::new(Shared {
            file: File::new(database),
            limits: config.limits,
            queue: Mutex::default(),
            published: Mutex::new(published),
        });
        let clock = seams.clock.clone();
        let mut turn = Loop::new(shared.clone(), clock, config.retention, note, start);
        let worker = seams
            .spawner
            .worker("store-commit", Box::new(move || turn.step()));
        Self {
            shared,
            worker,
            seams: seams.clone(),
        }
    }

    /// Lets redb itself compare every page of the file in a directory with its checksum. The
    /// store must not be open. `Ok(false)` says that pages were damaged.
    ///
    /// # Errors
    /// As for [`RedbStore::open`].
    pub fn check_pages(config: &Config) -> Result<bool, OpenError> {
        let path = config.directory.join("hanse.redb");
        let (database, _) = open_file(config, &path)?;
        let mut file = File::new(database);
        let database = file
            .database_mut()
            .map_err(|failure| OpenError::Database(failure.to_string()))?;
        let check = std::panic::AssertUnwindSafe(|| database.check_integrity());
        match std::panic::catch_unwind(check) {
            Ok(Ok(whole)) => Ok(whole),
            Ok(Err(redb::DatabaseError::Storage(redb::StorageError::Corrupted(_)))) | Err(_) => {
                Ok(false)
            }
            Ok(Err(error)) => Err(opening(&path, error)),
        }
    }

    /// Commits what waits, closes the files and waits for it. The handle may be used no more:
    /// commits answer `Unavailable`.
    pub async fn close(&self) {
        self.shared.queue.lock().closing = true;
        self.worker.wake();
        self.worker.ended().await;
    }

    async fn read<T: Send + 'static>(
        seams: Seams,
        shared: Arc<Shared>,
        read: impl FnOnce(&Database) -> Result<T, read::Error> + Send + 'static,
    ) -> Result<T, ReadError> {
        let answer = seams
            .blocking("store-read", move || read(shared.file.database()?))
            .await;
        match answer {
            Some(Ok(value)) => Ok(value),
            Some(Err(read::Error::Refused(error))) => Err(error),
            Some(Err(read::Error::Failed(failure))) => {
                Err(ReadError::Unavailable(failure.to_string().into()))
            }
            None => Err(ReadError::Unavailable("the read was interrupted".into())),
        }
    }

    fn reading<T: Send + 'static>(
        &self,
        read: impl FnOnce(&Database) -> Result<T, read::Error> + Send + 'static,
    ) -> BoxFuture<Result<T, ReadError>> {
        Box::pin(Self::read(self.seams.clone(), self.shared.clone(), read))
    }
}

impl Drop for RedbStore {
    fn drop(&mut self) {
        self.shared.queue.lock().closing = true;
        self.worker.wake();
    }
}

fn io(path: &Path, source: std::io::Error) -> OpenError {
    OpenError::Io {
        path: path.to_owned(),
        source,
    }
}

/// Makes the file under another name first: a new one that a power cut left unfinished is not
/// mistaken for a broken one.
fn make(directory: &Path, path: &Path, config: &Config) -> Result<(), OpenError> {
    let unfinished = directory.join("hanse.redb.new");
    match std::fs::remove_file(&unfinished) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
            return Err(io(&unfinished, error));
        }
        _ => {}
    }
    let database = builder(config).create(&unfinished);
    let database = database.map_err(|error| opening(&unfinished, error))?;
    create(&database, config.begins_at)?;
    drop(database);
    std::fs::rename(&unfinished, path).map_err(|source| io(path, source))?;
    // The name has to be as durable as the file.
    let named = std::fs::File::open(directory).and_then(|directory| directory.sync_all());
    named.map_err(|source| io(directory, source))
}

/// Opens the file. Where its own pages are damaged, redb may stop by an assertion rather than by
/// an error: that is an answer too, and no reason to take the process down.
fn open_file(config: &Config, path: &Path) -> Result<(Database, Start), OpenError> {
    let open = || {
        let database = builder(config).open(path);
        let database = database.map_err(|error| opening(path, error))?;
        let start = prepare(&database)?;
        Ok((database, start))
    };
    std::panic::catch_unwind(open).unwrap_or_else(|_| {
        let text = format!("{}: its pages are damaged", path.display());
        Err(OpenError::Database(text))
    })
}

fn builder(config: &Config) -> redb::Builder {
    let mut builder = Database::builder();
    builder.set_cache_size(config.cache_bytes);
    builder
}

fn opening(path: &Path, error: redb::DatabaseError) -> OpenError {
    match error {
        redb::DatabaseError::DatabaseAlreadyOpen => OpenError::Locked(path.to_owned()),
        redb::DatabaseError::Storage(redb::StorageError::Io(source)) => io(path, source),
        error => OpenError::Database(format!("{}: {error}", path.display())),
    }
}

/// Where the loop begins.
#[derive(Debug, Default)]
pub(crate) struct Start {
    pub(crate) revision: Revision,
    pub(crate) floor: Revision,
    pub(crate) swept: u64,
    pub(crate) bytes: u64,
    pub(crate) marks: Vec<(u64, u64, u64)>,
}

/// Writes a new file's first page, or checks an old one.
fn prepare(database: &Database) -> Result<Start, OpenError> {
    let read = database.begin_read().map_err(Failure::from)?;
    let meta = match read.open_table(format::META) {
        Ok(meta) => meta,
        Err(redb::TableError::TableDoesNotExist(_)) => {
            drop(read);
            return Ok(create(database, Revision::default())?);
        }
        Err(error) => return Err(Failure::from(error).into()),
    };
    format::check_format(&meta)?;
    let log = read.open_table(format::LOG).map_err(Failure::from)?;
    let head = read.open_table(format::HEAD).map_err(Failure::from)?;
    let revision = Revision(format::number(&meta, format::META_REVISION)?);
    let floor = Revision(format::number(&meta, format::META_FLOOR)?);
    format::check_chain(&log, &head, revision, floor, CHECKED_COMMITS)?;
    Ok(Start {
        revision,
        floor,
        swept: format::number(&meta, format::META_SWEPT)?,
        bytes: format::number(&meta, format::META_BYTES)?,
        marks: marks(&read)?,
    })
}

fn marks(read: &redb::ReadTransaction) -> Result<Vec<(u64, u64, u64)>, Failure> {
    let table = read.open_table(format::MARKS)?;
    let mut marks = Vec::new();
    for entry in table.iter()? {
        let (revision, mark) = entry?;
        let (wall_millis, bytes) = mark.value();
        marks.push((revision.value(), wall_millis, bytes));
    }
    Ok(marks)
}

fn create(database: &Database, begins_at: Revision) -> Result<Start, Failure> {
    let mut write = database.begin_write()?;
    write.set_quick_repair(true);
    write.open_table(format::LOG)?;
    write.open_table(format::HEAD)?;
    write.open_table(format::MARKS)?;
    let mut meta = write.open_table(format::META)?;
    meta.insert(format::META_FORMAT, format::FORMAT)?;
    meta.insert(format::META_OLDEST_READER, format::OLDEST_READER)?;
    // What was before is not here: it counts as compacted, and swept.
    let swept = if begins_at == Revision::default() {
        0
    } else {
        begins_at.end().0
    };
    meta.insert(format::META_REVISION, begins_at.0)?;
    meta.insert(format::META_FLOOR, begins_at.0)?;
    meta.insert(format::META_SWEPT, swept)?;
    drop(meta);
    write.commit()?;
    Ok(Start {
        revision: begins_at,
        floor: begins_at,
        swept,
        ..Start::default()
    })
}

impl Store for RedbStore {
    fn limits(&self) -> Limits {
        self.shared.limits
    }

    fn revision(&self) -> Revision {
        self.shared.published.lock().revision
    }

    fn floor(&self) -> Revision {
        self.shared.published.lock().floor
    }

    fn failure(&self) -> Option<Arc<str>> {
        self.shared.queue.lock().failed.clone()
    }

    fn attach(&self, observer: Arc<dyn Observer>) -> Revision {
        let mut published = self.shared.published.lock();
        published.observers.push(observer);
        published.revision
    }

    fn commit(&self, batch: Batch) -> BoxFuture<Result<Committed, CommitError>> {
        if let Err(error) = batch.validate(&self.shared.limits) {
            return Box::pin(std::future::ready(Err(error)));
        }
        let (reply, answer) = oneshot::channel();
        {
            let mut waiting = self.shared.queue.lock();
            let refused = match &waiting.failed {
                Some(why) => Some(why.clone()),
                None if waiting.closing => Some("the store is closed".into()),
                None if waiting.batches.len() >= QUEUE_BATCHES => {
                    Some("too many commits are waiting".into())
                }
                None => None,
            };
            if let Some(why) = refused {
                return Box::pin(std::future::ready(Err(CommitError::Unavailable(why))));
            }
            waiting.batches.push(Queued { batch, reply });
        }
        self.worker.wake();
        Box::pin(async {
            let lost = || CommitError::Unavailable("the commit loop has ended".into());
            answer.await.unwrap_or_else(|_| Err(lost()))
        })
    }

    fn get(&self, key: Bytes, at: Option<Revision>) -> BoxFuture<Result<Option<Entry>, ReadError>> {
        self.reading(move |database| read::get(database, key, at))
    }

    fn range(&self, range: Range) -> BoxFuture<Result<Page, ReadError>> {
        self.reading(move |database| read::range(database, &range))
    }

    fn log(&self, after: Revision, limit: usize) -> BoxFuture<Result<LogPage, ReadError>> {
        self.reading(move |database| read::log(database, after, limit))
    }

    fn verify(&self) -> BoxFuture<Result<Verified, ReadError>> {
        self.reading(|database| verify::all(database).map_err(read::Error::Failed))
    }

    fn compact(&self, to: Revision) -> BoxFuture<Result<(), ReadError>> {
        let (reply, answer) = oneshot::channel();
        {
            let mut waiting = self.shared.queue.lock();
            if let Some(why) = &waiting.failed {
                let refused = Err(ReadError::Unavailable(why.clone()));
                return Box::pin(std::future::ready(refused));
            }
            waiting.compactions.push((to, reply));
        }
        self.worker.wake();
        Box::pin(async {
            let lost = || ReadError::Unavailable("the commit loop has ended".into());
            answer.await.unwrap_or_else(|_| Err(lost()))
        })
    }
}

impl std::fmt::Debug for RedbStore {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("RedbStore")
            .field("revision", &self.revision())
            .finish_non_exhaustive()
    }
}
