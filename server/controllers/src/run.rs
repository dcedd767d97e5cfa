//! Feeds the queue, works on it, notes how far it got. Start at [`start`].

use std::sync::Arc;

use hanse_auth::authority::Authority;
use hanse_auth::token::Signer;
use hanse_cache::{ClusterName, CommitError, Hub, ReadError, ResourceId};
use hanse_reconcile::{Counts, Outcome, Queue, Rate};
use hanse_seams::{Bug, Seams, Shutdown, Task};
use sha2::{Digest, Sha256};

use crate::key::Key;
use crate::plan::{Plan, World};
use crate::{certificates, crds, expiry, feed, garbage, limits, namespaces, roles, tokens};

/// Where the objects of an owner's kind are.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Owner {
    /// Their storage.
    pub resource: ResourceId,
    /// Whether they live in namespaces.
    pub namespaced: bool,
}

/// Which kinds a logical cluster serves.
pub trait Kinds: Send + Sync + 'static {
    /// Where `kind` of `api_version` is stored in a logical cluster; `None` when nobody serves it
    /// there (now: it may still come).
    fn find(&self, cluster: &ClusterName, api_version: &str, kind: &str) -> Option<Owner>;
}

/// What the controllers need of the server.
#[derive(Clone)]
pub struct Config {
    /// PEM of the CA that signs serving certificates: the `ca.crt` of every namespace.
    pub root_ca: Arc<str>,
    /// Certificate and key (PEM) of the CA that signs client certificates, if this server has them.
    pub client_ca: Option<Arc<Authority>>,
    /// Signs ServiceAccount tokens.
    pub signer: Arc<Signer>,
    /// Which kinds exist where.
    pub kinds: Arc<dyn Kinds>,
}

/// Keys that are always in the queue: the sweep for expired Events, which every start adds.
const STANDING_KEYS: usize = 1;

/// The name of the position. Where the root CA is another one, everything is looked at again.
fn position_name(config: &Config) -> String {
    let digest = Sha256::digest(config.root_ca.as_bytes());
    let digest = digest
        .iter()
        .take(8)
        .fold(0, |sum, byte| sum << 8 | u64::from(*byte));
    format!("controllers/{digest:016x}")
}

/// Controllers that run.
pub struct Started {
    /// Their tasks.
    pub tasks: Vec<Task>,
    queue: Queue<Key>,
}

impl Started {
    /// Answers the figures of their queue.
    pub fn counter(&self) -> impl Fn() -> Counts + Send + 'static {
        let queue = self.queue.clone();
        move || queue.counts()
    }
}

/// Starts all controllers; they run until `stop`.
pub fn start(hub: &Hub, seams: &Seams, config: Config, stop: &Shutdown) -> Started {
    let queue = Queue::new(seams.clone(), Rate::default());
    let work = {
        let (hub, seams, config) = (hub.clone(), seams.clone(), config.clone());
        move |key: Key| {
            let (hub, seams, config) = (hub.clone(), seams.clone(), config.clone());
            async move {
                turn(
                    &World {
                        hub: &hub,
                        config: &config,
                        seams: &seams,
                    },
                    &key,
                )
                .await
            }
        }
    };
    let mut tasks = hanse_reconcile::run(seams, &queue, limits::WORKERS, stop, work);
    let counted = queue.clone();
    let (hub, stop, own) = (hub.clone(), stop.clone(), seams.clone());
    tasks.push(seams.spawn("controllers-feed", async move {
        let mut reader = Reader {
            hub,
            queue,
            position: position_name(&config),
            config,
            seams: own,
            unsaved: false,
        };
        let read = reader.run();
        tokio::select! {
            biased;
            () = stop.wait() => {}
            () = read => {}
        }
    }));
    let queue = counted;
    Started { tasks, queue }
}

struct Reader {
    hub: Hub,
    queue: Queue<Key>,
    config: Config,
    seams: Seams,
    position: String,
    /// Whether events were read that the saved position does not know of.
    unsaved: bool,
}

impl Reader {
    async fn run(&mut self) {
        let clock = self.seams.clock.clone();
        let start = match self.hub.saved_position(&self.position) {
            Some(_) if self.seams.planted.is(Bug::SkippedReplay) => self.hub.version(),
            Some(position) => position,
            None => self.scan(),
        };
        self.queue.add(Key::Expiry);
        let mut cursor = self.hub.subscribe_all(start);
        loop {
            let next = tokio::select! {
                biased;
                next = cursor.next_batch(limits::EVENTS_PER_READ) => Some(next),
                () = clock.sleep(limits::POSITION_SAVE) => None,
            };
            match next {
                Some(Ok(events)) => {
                    self.unsaved = true;
                    let world = World {
                        hub: &self.hub,
                        config: &self.config,
                        seams: &self.seams,
                    };
                    for event in &events {
                        feed::keys(&world, event, &mut |key, pause| {
                            self.queue.add_after(key, pause);
                        });
                    }
                }
                Some(Err(ReadError::TooOld { .. } | ReadError::TooNew { .. })) => {
                    let seen = self.scan();
                    cursor = self.hub.subscribe_all(seen);
                }
                Some(Err(error)) => {
                    tracing::warn!(%error, "controllers cannot read the event log");
                    clock.sleep(limits::POSITION_SAVE).await;
                }
                None => {
                    // All that was read is done: a restart need not look at it again.
                    if self.unsaved && self.queue.len() <= STANDING_KEYS {
                        match cursor.save(&self.position).await {
                            Ok(()) => self.unsaved = false,
                            Err(error) => tracing::warn!(%error, "position not saved"),
                        }
                    }
                }
            }
        }
    }

    /// Looks at everything there is; answers the version that was seen.
    fn scan(&mut self) -> u64 {
        self.unsaved = true;
        let version = self.hub.version();
        feed::everything(&self.hub, &mut |key, _| self.queue.add(key));
        version
    }
}

async fn turn(world: &World<'_>, key: &Key) -> Outcome {
    let plan = match decide(world, key) {
        Ok(plan) => plan,
        Err(error) => {
            tracing::error!(?key, %error, "an object of the server's own making cannot be encoded");
            return Outcome::Retry;
        }
    };
    for txn in plan.txns {
        match world.hub.commit(txn).await {
            Ok(_) => {}
            // Someone was quicker; what they wrote decides anew.
            Err(CommitError::Conflict { .. }) => return Outcome::Again(std::time::Duration::ZERO),
            Err(error) => {
                tracing::warn!(?key, %error, "a controller's write failed");
                return Outcome::Retry;
            }
        }
    }
    plan.again.map_or(Outcome::Done, Outcome::Again)
}

fn decide(world: &World<'_>, key: &Key) -> Result<Plan, hanse_cache::DocumentError> {
    match key {
        Key::Namespace(cluster, name) => namespaces::reconcile(world, cluster, name),
        Key::Crd(cluster, name) => crds::reconcile(world, cluster, name),
        Key::Dependent(key) => garbage::dependent(world, key),
        Key::Owned(cluster, uid) => garbage::left_behind(world, cluster, uid),
        Key::Owner(key) => garbage::owner(world, key),
        Key::Roles(cluster) => roles::reconcile(world, cluster),
        Key::Token(key) => tokens::reconcile(world, key),
        Key::Certificate(key) => certificates::reconcile(world, key),
        Key::Expiry => expiry::sweep(world),
    }
}
