//! The model of a store: what is durable, the engine before it, and the places at which it dies.
//!
//! Start at [`Disk`], which outlives the server; [`Model`] is the engine of one life. The model
//! keeps the contract of `hanse_store::Store` and nothing more: batches wait, groups take time,
//! reads take time, what is durable is told later, the past is compacted away. A crash may be set
//! ([`Disk::strike`]) before a group is durable, between two commits of it, after it and before
//! anybody is told. The invariant: the order of commits is the order in which they came, lane by
//! lane, and what was answered is on the disk (unless that very bug is planted).

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use hanse_seams::{BoxFuture, Bug, Clock, Seams};
use hanse_store::{
    Attachment, Batch, Commit, CommitError, Committed, Entry, Expect, LaneQueue, Limits, LogPage,
    MemoryStore, Observer, Op, Page, Queued, Range, ReadError, Retention, Revision, Store,
};
use parking_lot::Mutex;
use tokio::sync::{Notify, oneshot};

/// Which kind of engine is modelled.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Nature {
    /// In the process of the server: what it was about to write dies with it.
    Embedded,
    /// Another process that takes a hundred keys at once and a mebibyte: what was asked of it may
    /// still happen after the asker's death.
    Etcd,
    /// As etcd, with one key at once.
    Kine,
}

impl Nature {
    /// All of them.
    pub const ALL: [Self; 3] = [Self::Embedded, Self::Etcd, Self::Kine];

    /// What it takes in one commit.
    #[must_use]
    pub fn limits(self) -> Limits {
        let limits = Limits::default();
        match self {
            Self::Embedded => limits,
            Self::Etcd => Limits {
                max_keys: 100,
                max_bytes: 1 << 20,
            },
            Self::Kine => Limits {
                max_keys: 1,
                max_bytes: 1 << 20,
            },
        }
    }
}

/// Where in a commit the server dies.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Place {
    /// Nothing of the commit is durable.
    Before,
    /// It is durable, and nobody knows.
    Durable,
    /// The observers know, and the committer does not.
    Told,
}

/// A crash to come.
struct Strike {
    /// Commits until then.
    commits: u64,
    place: Place,
    /// Kills; answers whether it is dead already.
    kill: Box<dyn FnOnce() -> bool + Send>,
}

type Reply = oneshot::Sender<Result<Committed, CommitError>>;

/// What outlives the server. Cheap to share.
pub struct Disk {
    nature: Nature,
    memory: MemoryStore,
    journal: Mutex<Vec<Commit>>,
    strike: Mutex<Option<Strike>>,
    /// The engine of natures that live in a process of their own.
    foreign: Mutex<Option<Arc<Engine>>>,
}

/// Writes down every commit as it becomes durable.
struct Journal(std::sync::Weak<Disk>);

impl Observer for Journal {
    fn committed(&self, commits: &[Commit]) {
        if let Some(disk) = self.0.upgrade() {
            disk.journal.lock().extend_from_slice(commits);
        }
    }
}

impl Disk {
    /// An empty disk.
    #[must_use]
    pub fn new(nature: Nature, clock: Arc<dyn Clock>, retention: Retention) -> Arc<Self> {
        let disk = Arc::new(Self {
            nature,
            memory: MemoryStore::new(clock, nature.limits(), retention),
            journal: Mutex::default(),
            strike: Mutex::default(),
            foreign: Mutex::default(),
        });
        disk.memory.attach(Arc::new(Journal(Arc::downgrade(&disk))));
        disk
    }

    /// Everything that ever became durable.
    #[must_use]
    pub fn journal(&self) -> Vec<Commit> {
        self.journal.lock().clone()
    }

    /// How many commits became durable.
    #[must_use]
    pub fn commits(&self) -> usize {
        self.journal.lock().len()
    }

    /// Puts the commits of another disk on this empty one.
    ///
    /// # Errors
    /// The store's, if it is not empty.
    pub async fn replay(&self, journal: &[Commit]) -> Result<(), CommitError> {
        for commit in journal {
            let op = |change: &hanse_store::Change| Op {
                key: change.key.clone(),
                expect: Expect::Any,
                put: change.value.clone(),
                attachment: None,
            };
            let ops = commit.changes.iter().map(op).collect();
            let batch = Batch {
                ops,
                ..Batch::default()
            };
            self.memory.commit(batch).await?;
        }
        Ok(())
    }

    /// From now on lets `kill` be called at a place of the n-th commit; it answers whether the
    /// server is dead already, or only doomed.
    pub fn strike(&self, commits: u64, place: Place, kill: impl FnOnce() -> bool + Send + 'static) {
        *self.strike.lock() = Some(Strike {
            commits,
            place,
            kill: Box::new(kill),
        });
    }

    /// Takes back a crash that has not come.
    pub fn spare(&self) {
        self.strike.lock().take();
    }

    /// Passes a place of a commit, if the server does not die there. The running step of a killed
    /// process ends where it waits next; an engine of another process goes on.
    async fn survive(&self, place: Place) {
        let strike = {
            let mut slot = self.strike.lock();
            if let Some(strike) = slot.as_mut().filter(|_| place == Place::Before) {
                strike.commits = strike.commits.saturating_sub(1);
            }
            slot.take_if(|strike| strike.commits == 0 && strike.place == place)
        };
        let Some(strike) = strike else {
            return;
        };
        let kills_at_once = (strike.kill)();
        if kills_at_once && self.nature == Nature::Embedded {
            std::future::pending::<()>().await;
        }
    }

    /// The store as a server that starts now finds it. `world` are the seams of what survives.
    pub fn open(self: &Arc<Self>, own: &Seams, world: &Seams) -> Arc<Model> {
        let engine = match self.nature {
            Nature::Embedded => Engine::start(self, own),
            Nature::Etcd | Nature::Kine => {
                let mut foreign = self.foreign.lock();
                let engine = foreign.get_or_insert_with(|| Engine::start(self, world));
                engine.observers.lock().clear();
                Arc::clone(engine)
            }
        };
        Arc::new(Model {
            disk: Arc::clone(self),
            engine,
            seams: own.clone(),
        })
    }

    /// The server is gone: nobody listens any more.
    pub fn orphan(&self) {
        if let Some(engine) = &*self.foreign.lock() {
            engine.observers.lock().clear();
        }
    }

    /// Forgets the past of so many commits and more ago.
    pub async fn compact(&self, keep: u64) {
        let to = Revision(self.memory.revision().0.saturating_sub(keep));
        // Compaction of a store in memory has no way to fail.
        let _ = self.memory.compact(to).await;
    }
}

/// Bytes of one group.
const GROUP_BYTES: usize = 4 << 20;

/// The commit loop.
struct Engine {
    queue: Mutex<LaneQueue<Reply>>,
    bell: Notify,
    /// Observers, and up to which revision they were told.
    observers: Mutex<Vec<Arc<dyn Observer>>>,
    told: Mutex<Revision>,
}

/// What a commit of a group carries beside what is stored.
type Carried = VecDeque<(Revision, Vec<Option<Attachment>>)>;

impl Engine {
    fn start(disk: &Arc<Disk>, seams: &Seams) -> Arc<Self> {
        let engine = Arc::new(Self {
            queue: Mutex::default(),
            bell: Notify::new(),
            observers: Mutex::default(),
            told: Mutex::new(disk.memory.revision()),
        });
        let (own, disk, inner) = (Arc::clone(&engine), Arc::clone(disk), seams.clone());
        seams.spawn("store", async move { own.run(&disk, &inner).await });
        engine
    }

    async fn run(&self, disk: &Disk, seams: &Seams) {
        loop {
            let most = usize::try_from(1 + seams.rng.below(6)).unwrap_or(1);
            let group = self.queue.lock().take(most, GROUP_BYTES);
            if group.is_empty() {
                self.bell.notified().await;
                continue;
            }
            self.group(disk, seams, group).await;
        }
    }

    /// Makes a group durable, tells the observers, then the committers.
    async fn group(&self, disk: &Disk, seams: &Seams, group: Vec<Queued<Reply>>) {
        let lies = seams.planted.is(Bug::EarlyAcknowledgement);
        let mut answers = Vec::with_capacity(group.len());
        let mut carried = Carried::new();
        let mut pause = pause(seams);
        for Queued { batch, reply } in group {
            disk.survive(Place::Before).await;
            let mut reply = Some(reply);
            if lies && let Some(reply) = reply.take() {
                // What it will be is known; that it is there is not true yet.
                let _ = reply.send(self.foretell(disk, &batch));
            }
            // The group shares one wait for the platter.
            seams.clock.sleep(std::mem::take(&mut pause)).await;
            let attachments = batch.ops.iter().map(|op| op.attachment.clone()).collect();
            let answer = disk.memory.commit(batch).await;
            if let Ok(committed) = &answer {
                carried.push_back((committed.revision, attachments));
            }
            if let Some(reply) = reply {
                answers.push((reply, answer));
            }
            disk.survive(Place::Durable).await;
        }
        let late = seams.rng.below(3) == 0;
        if late {
            seams.clock.sleep(self::pause(seams)).await;
        }
        self.tell(disk, seams, carried);
        disk.survive(Place::Told).await;
        if late {
            seams
                .clock
                .sleep(Duration::from_micros(seams.rng.below(500)))
                .await;
        }
        for (reply, answer) in answers {
            // Whoever asked may be gone.
            let _ = reply.send(answer);
        }
    }

    /// What a commit would answer if nothing came in between.
    fn foretell(&self, disk: &Disk, batch: &Batch) -> Result<Committed, CommitError> {
        let revision = disk.memory.revision().next();
        let versions = (0..=u8::MAX).zip(&batch.ops);
        Ok(Committed {
            revision,
            versions: versions.map(|(i, _)| Some(revision.version(i))).collect(),
        })
    }

    /// Tells what became durable since the last time. Some of it without what the committer
    /// attached: so it comes from another process.
    fn tell(&self, disk: &Disk, seams: &Seams, mut carried: Carried) {
        let mut told = self.told.lock();
        let journal = disk.journal.lock();
        let from = journal.partition_point(|commit| commit.revision <= *told);
        let mut commits: Vec<Commit> = journal[from..].to_vec();
        drop(journal);
        let Some(last) = commits.last() else {
            return;
        };
        *told = last.revision;
        for commit in &mut commits {
            while carried.front().is_some_and(|(r, _)| *r < commit.revision) {
                carried.pop_front();
            }
            let own = carried.front().filter(|(r, _)| *r == commit.revision);
            let decodes = seams.rng.below(4) == 0;
            for change in &mut commit.changes {
                let place = usize::from(change.version.index());
                let with = own.and_then(|(_, all)| all.get(place).cloned().flatten());
                change.attachment = with.filter(|_| !decodes);
            }
        }
        for observer in self.observers.lock().iter() {
            observer.committed(&commits);
        }
    }
}

/// How long a disk, or the way to another process, takes.
fn pause(seams: &Seams) -> Duration {
    let micros = match seams.rng.below(20) {
        0 => 50_000,
        1..4 => 3_000,
        _ => 300,
    };
    Duration::from_micros(seams.rng.below(micros))
}

/// The store of one life of the server.
pub struct Model {
    disk: Arc<Disk>,
    engine: Arc<Engine>,
    seams: Seams,
}

impl Model {
    /// Does something on the disk after a while.
    fn later<T: Send + 'static>(
        &self,
        work: impl FnOnce(Arc<Disk>) -> BoxFuture<T> + Send + 'static,
    ) -> BoxFuture<T> {
        let (disk, seams) = (Arc::clone(&self.disk), self.seams.clone());
        Box::pin(async move {
            if seams.rng.below(2) == 0 {
                seams.clock.sleep(pause(&seams)).await;
            }
            work(disk).await
        })
    }
}

impl Store for Model {
    fn limits(&self) -> Limits {
        self.disk.nature.limits()
    }

    fn revision(&self) -> Revision {
        self.disk.memory.revision()
    }

    fn floor(&self) -> Revision {
        self.disk.memory.floor()
    }

    fn attach(&self, observer: Arc<dyn Observer>) -> Revision {
        let told = self.engine.told.lock();
        self.engine.observers.lock().push(observer);
        *told
    }

    fn commit(&self, batch: Batch) -> BoxFuture<Result<Committed, CommitError>> {
        if let Err(error) = batch.validate(&self.limits()) {
            return Box::pin(std::future::ready(Err(error)));
        }
        let (sender, receiver) = oneshot::channel();
        self.engine.queue.lock().push(Queued {
            batch,
            reply: sender,
        });
        self.engine.bell.notify_one();
        Box::pin(async move {
            let gone = || Err(CommitError::Unavailable("the store is gone".into()));
            receiver.await.unwrap_or_else(|_| gone())
        })
    }

    fn get(&self, key: Bytes, at: Option<Revision>) -> BoxFuture<Result<Option<Entry>, ReadError>> {
        self.later(move |disk| disk.memory.get(key, at))
    }

    fn range(&self, range: Range) -> BoxFuture<Result<Page, ReadError>> {
        self.later(move |disk| disk.memory.range(range))
    }

    fn log(&self, after: Revision, limit: usize) -> BoxFuture<Result<LogPage, ReadError>> {
        self.later(move |disk| disk.memory.log(after, limit))
    }

    fn compact(&self, to: Revision) -> BoxFuture<Result<(), ReadError>> {
        self.later(move |disk| disk.memory.compact(to))
    }
}
