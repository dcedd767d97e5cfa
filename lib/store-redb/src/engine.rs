//! The handle: what is shared between the loop, the checkpoints, the readers and the callers, and
//! the contract's methods, which hand over to `commit.rs` and `read.rs`. Opening is in `open.rs`.

use std::collections::VecDeque;
use std::path::PathBuf;
use std::sync::{Arc, OnceLock};

use bytes::Bytes;
use hanse_seams::{BoxFuture, Seams, Worker};
use hanse_store::{
    Batch, CommitError, Committed, Entry, LaneQueue, Limits, LogPage, Observer, Page, Queued,
    Range, ReadError, Retention, Revision, Store, Verified, Version,
};
use parking_lot::Mutex;
use tokio::sync::oneshot;

use crate::checkpoint::{Checkpointer, Timer};
use crate::commit::{self, Loop};
use crate::disk::{Directory, Disk};
use crate::file::File;
use crate::format::Failure;
use crate::limits::{CACHE_BYTES, CHECKPOINT_BYTES, QUEUE_BATCHES};
use crate::log::Part;
use crate::open::{self, Opened};
use crate::overlay::Overlay;
use crate::patient::Patience;
use crate::read::{self, View};
use crate::verify;

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
    /// Bytes of keys and values that are in the log and not yet in redb, beyond which they are
    /// written there; what a start after a crash has to read.
    pub checkpoint_bytes: usize,
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
            checkpoint_bytes: CHECKPOINT_BYTES,
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
    /// A file of the log was written by a later version that this one cannot follow, or is not
    /// whole.
    #[error("{name}: {what}")]
    Segment {
        /// Its name.
        name: String,
        /// What is wrong with it.
        what: String,
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
    /// A commit is missing, between others or after what redb holds.
    #[error("the log is broken: revision {missing} is missing or damaged")]
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
    /// The store is older than what was acknowledged: an older copy was put in place, or the disk
    /// lost what it had promised to keep. Removing the file `acknowledged` accepts the loss.
    #[error(
        "the log ends at revision {found}, but revision {acknowledged} was acknowledged: commits \
         were lost"
    )]
    Lost {
        /// The last revision that anybody was told of.
        acknowledged: Revision,
        /// The last revision in the log.
        found: Revision,
    },
    /// The database cannot be read or written.
    #[error("{0}")]
    Database(String),
}

impl From<Failure> for OpenError {
    fn from(failure: Failure) -> Self {
        match failure {
            Failure::Log(missing) => Self::Broken { missing },
            failure => Self::Database(failure.to_string()),
        }
    }
}

/// What the loop, the checkpoints, the readers and the callers share.
pub(crate) struct Shared {
    pub(crate) limits: Limits,
    pub(crate) checkpoint_bytes: usize,
    pub(crate) seams: Seams,
    pub(crate) disk: Arc<dyn Disk>,
    pub(crate) queue: Mutex<Waiting>,
    pub(crate) timer: Arc<Timer>,
    pub(crate) patience: Arc<Patience>,
    workers: OnceLock<Workers>,
    pub(crate) published: Mutex<Published>,
    /// Dropped last: what is published reads from it.
    pub(crate) file: File,
}

struct Workers {
    commits: Worker,
    checkpoints: Worker,
}

type CommitReply = oneshot::Sender<Result<Committed, CommitError>>;

/// What waits for the loop.
#[derive(Default)]
pub(crate) struct Waiting {
    pub(crate) batches: LaneQueue<CommitReply>,
    pub(crate) compactions: Vec<(Revision, oneshot::Sender<Result<(), ReadError>>)>,
    pub(crate) closing: bool,
    /// The commit loop is no more.
    pub(crate) ended: bool,
    /// Something could not be written, and never will be.
    pub(crate) broken: bool,
    /// Why nothing can be committed any more.
    pub(crate) failed: Option<Arc<str>>,
}

/// What the world has been told.
pub(crate) struct Published {
    pub(crate) revision: Revision,
    pub(crate) floor: Revision,
    /// The sum of the frame that ends with `revision`.
    pub(crate) chain: u32,
    pub(crate) observers: Vec<Arc<dyn Observer>>,
    pub(crate) overlay: Overlay,
    /// The segments, each up to where it is published.
    pub(crate) log: VecDeque<Part>,
}

impl Shared {
    pub(crate) fn wake_commits(&self) {
        if let Some(workers) = self.workers.get() {
            workers.commits.wake();
        }
    }

    pub(crate) fn wake_checkpoint(&self) {
        if let Some(workers) = self.workers.get() {
            workers.checkpoints.wake();
        }
    }

    /// Makes a checkpoint due some time from now.
    pub(crate) fn arm_timer(&self) {
        if let Some(workers) = self.workers.get() {
            self.timer.arm(&self.seams, &workers.checkpoints);
        }
    }

    /// Says why nothing can be written any more, to what waits and all that will come.
    pub(crate) fn fail(&self, why: &Arc<str>) {
        self.queue.lock().broken = true;
        self.refuse_waiting(why);
    }

    /// The commit loop is no more; what is left is to write redb.
    pub(crate) fn end_commits(&self) {
        self.refuse_waiting(&"the commit loop has ended".into());
        self.queue.lock().ended = true;
        self.wake_checkpoint();
    }

    fn refuse_waiting(&self, why: &Arc<str>) {
        let mut waiting = self.queue.lock();
        let why = waiting.failed.get_or_insert_with(|| why.clone()).clone();
        let batches = waiting.batches.take(usize::MAX, usize::MAX);
        let compactions = std::mem::take(&mut waiting.compactions);
        drop(waiting);
        let replies = batches.into_iter().map(|queued| queued.reply).collect();
        commit::refuse(&why, replies, compactions);
    }

    /// No new commits; those that wait are committed, then all is written into redb.
    fn close(&self) {
        self.queue.lock().closing = true;
        self.patience.end();
        self.wake_commits();
    }
}

/// The embedded engine. Closes when it is dropped, after committing what waits.
pub struct RedbStore {
    shared: Arc<Shared>,
    commits: Worker,
    checkpoints: Worker,
}

impl RedbStore {
    /// Opens the store in a directory, making it if there is none. Blocks for the time of reading
    /// a few pages and the last of the log, also after a crash; a store of an earlier format is
    /// brought to this one first.
    pub fn open(config: &Config, seams: &Seams) -> Result<Self, OpenError> {
        open::make_directory(&config.directory)?;
        let disk = Arc::new(Directory(config.directory.clone()));
        Self::open_on(disk, config, seams)
    }

    /// Opens the store on any disk instead of the directory: on one that is simulated.
    ///
    /// # Errors
    /// As for [`RedbStore::open`].
    pub fn open_on(disk: Arc<dyn Disk>, config: &Config, seams: &Seams) -> Result<Self, OpenError> {
        let patience = Arc::new(Patience::default());
        let Opened {
            file,
            note,
            published,
            start,
        } = open::open(&disk, config, seams, &patience)?;
        let replayed = !published.overlay.active.slots.is_empty();
        let patient = disk.is_patient();
        let shared = Arc::new(Shared {
            limits: config.limits,
            checkpoint_bytes: config.checkpoint_bytes,
            seams: seams.clone(),
            disk,
            queue: Mutex::default(),
            timer: Arc::default(),
            patience,
            workers: OnceLock::new(),
            published: Mutex::new(published),
            file,
        });
        let mut turn = Loop::new(shared.clone(), config.retention, note, start);
        let commits = Box::new(move || turn.step());
        let commits = seams.spawner.worker("store-commit", commits);
        let mut turn = Checkpointer::new(shared.clone());
        let checkpoints = Box::new(move || turn.step());
        let checkpoints = seams.spawner.worker("store-checkpoint", checkpoints);
        let workers = Workers {
            commits: commits.clone(),
            checkpoints: checkpoints.clone(),
        };
        if patient {
            shared.patience.begin(commits.clone());
        }
        // Nobody else has set them: this is where the store begins.
        let _ = shared.workers.set(workers);
        if replayed {
            shared.arm_timer();
            shared.wake_checkpoint();
        }
        Ok(Self {
            shared,
            commits,
            checkpoints,
        })
    }

    /// Lets redb itself compare every page of the file in a directory with its checksum. The
    /// store must not be open. `Ok(false)` says that pages were damaged.
    ///
    /// # Errors
    /// As for [`RedbStore::open`].
    pub fn check_pages(config: &Config) -> Result<bool, OpenError> {
        open::check_pages(config)
    }

    /// Commits what waits, closes the files and waits for it. The handle may be used no more:
    /// commits answer `Unavailable`.
    pub async fn close(&self) {
        self.shared.close();
        self.commits.ended().await;
        self.checkpoints.ended().await;
    }

    async fn read<T: Send + 'static>(
        shared: Arc<Shared>,
        read: impl FnOnce(&Shared) -> Result<T, read::Error> + Send + 'static,
    ) -> Result<T, ReadError> {
        let seams = shared.seams.clone();
        let answer = seams.blocking("store-read", move || read(&shared)).await;
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
        read: impl FnOnce(&Shared) -> Result<T, read::Error> + Send + 'static,
    ) -> BoxFuture<Result<T, ReadError>> {
        Box::pin(Self::read(self.shared.clone(), read))
    }
}

impl Drop for RedbStore {
    fn drop(&mut self) {
        self.shared.close();
    }
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
        self.shared.wake_commits();
        Box::pin(async {
            let lost = || CommitError::Unavailable("the commit loop has ended".into());
            answer.await.unwrap_or_else(|_| Err(lost()))
        })
    }

    fn get(&self, key: Bytes, at: Option<Revision>) -> BoxFuture<Result<Option<Entry>, ReadError>> {
        self.reading(move |shared| {
            let view = View::of_key(&shared.published.lock(), &key);
            read::get(&view, key, at)
        })
    }

    fn range(&self, range: Range) -> BoxFuture<Result<Page, ReadError>> {
        self.reading(move |shared| {
            let (start, end) = (&range.start[..], range.end.as_deref());
            let inside = end.is_none_or(|end| start < end);
            // An empty range is none that maps know.
            let (start, end) = if inside {
                (start, end)
            } else {
                (start, Some(start))
            };
            let view = View::of_range(&shared.published.lock(), start, end);
            read::range(view, &range)
        })
    }

    fn log(&self, after: Revision, limit: usize) -> BoxFuture<Result<LogPage, ReadError>> {
        self.reading(move |shared| {
            let view = View::of_log(&shared.published.lock());
            read::log(&view, after, limit)
        })
    }

    fn verify(&self) -> BoxFuture<Result<Verified, ReadError>> {
        self.reading(|shared| {
            let view = View::of_range(&shared.published.lock(), b"", None);
            verify::all(&view).map_err(read::Error::Failed)
        })
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
        self.shared.wake_commits();
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
