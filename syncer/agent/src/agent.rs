//! The agent as a whole: what its loops share, how they start and end.
//!
//! Invariant: everything that happens is a turn of one of the queues or a notice of one of the
//! followers, so in a simulation one seed decides every order.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use hanse_client::{Api, Resource};
use hanse_reconcile::{Outcome, Queue, Rate};
use hanse_seams::{Seams, Shutdown, Task};
use parking_lot::Mutex;
use tokio::sync::Notify;

use crate::guard::{self, Guard};
use crate::heartbeat::Facts;
use crate::journal::{Change, Journal, JournalError};
use crate::limits::{APPLIERS, APPLY_PAUSE_MAX, REPORT_PAUSE_MAX, REPORTERS};
use crate::table::{Entry, Standing, Table};
use crate::{apply, below, beside, heartbeat, inbox, inventory, report, token, warnings};

/// What an agent works with.
pub struct Setup {
    /// The inbox: the hub's API, below the inbox's logical cluster.
    pub hub: Api,
    /// The physical cluster's API.
    pub site: Api,
    /// Name of the inbox; it marks everything made below.
    pub inbox: String,
    /// What is remembered over a restart.
    pub journal: Arc<dyn Journal>,
    /// What the heartbeat says about the site.
    pub facts: Facts,
    /// Clock, chance and spawning.
    pub seams: Seams,
}

/// A running agent.
pub struct Agent {
    shared: Arc<Shared>,
}

pub(crate) struct Shared {
    pub hub: Api,
    pub site: Api,
    pub inbox: String,
    pub journal: Arc<dyn Journal>,
    pub facts: Facts,
    pub seams: Seams,
    pub stop: Shutdown,
    pub table: Mutex<Table>,
    /// Objects to be applied or removed below.
    pub work: Queue<Arc<str>>,
    /// Objects whose report may have changed.
    pub reports: Queue<Arc<str>>,
    /// Objects beside which others may have been born.
    pub beside: Queue<Arc<str>>,
    /// Objects whose Pods' tokens are to be renewed in time.
    pub renewals: Queue<Arc<str>>,
    /// What stands between removals and their beginning.
    pub guard: Mutex<Guard>,
    /// Asks for a sign of life before its time.
    pub beat: Notify,
    /// Namespaces below that stand with their marks.
    pub namespaces: Mutex<BTreeSet<String>>,
    /// Resources that are watched below.
    pub watched: Mutex<BTreeMap<Resource, Task>>,
    /// Kinds and namespaces that are watched for what is born there.
    pub beside_watched: Mutex<BTreeMap<(Resource, String), Task>>,
    /// When tokens are to be renewed (monotonic), by namespace below and account.
    pub tokens: Mutex<BTreeMap<(String, String), Duration>>,
    tasks: Mutex<Vec<Task>>,
}

impl Agent {
    /// Starts an agent from what its journal remembers; the hub need not be there.
    ///
    /// # Errors
    /// When the journal cannot be read.
    pub fn start(setup: Setup) -> Result<Self, JournalError> {
        let Setup {
            hub,
            site,
            inbox,
            journal,
            facts,
            seams,
        } = setup;
        let first = Duration::from_millis(200);
        let queue = |max| Queue::new(seams.clone(), Rate { first, max });
        let shared = Arc::new(Shared {
            work: queue(APPLY_PAUSE_MAX),
            reports: queue(REPORT_PAUSE_MAX),
            beside: queue(APPLY_PAUSE_MAX),
            renewals: queue(APPLY_PAUSE_MAX),
            stop: Shutdown::new(),
            guard: Mutex::new(Guard::default()),
            beat: Notify::new(),
            table: Mutex::new(Table::default()),
            namespaces: Mutex::new(BTreeSet::new()),
            watched: Mutex::new(BTreeMap::new()),
            beside_watched: Mutex::new(BTreeMap::new()),
            tokens: Mutex::new(BTreeMap::new()),
            tasks: Mutex::new(Vec::new()),
            hub,
            site,
            inbox,
            journal,
            facts,
            seams,
        });
        shared.recall()?;
        let mut tasks = Vec::new();
        let s = &shared;
        tasks.extend(s.turns(&s.work, APPLIERS, apply::reconcile));
        tasks.extend(s.turns(&s.reports, REPORTERS, report::reconcile));
        tasks.extend(s.turns(&s.beside, REPORTERS, beside::reconcile));
        tasks.extend(s.turns(&s.renewals, 1, token::reconcile));
        tasks.push(s.seams.spawn("inbox", inbox::run(Arc::clone(s))));
        tasks.push(s.seams.spawn("heartbeat", heartbeat::run(Arc::clone(s))));
        tasks.push(s.seams.spawn("inventory", inventory::run(Arc::clone(s))));
        tasks.push(s.seams.spawn("warnings", warnings::run(Arc::clone(s))));
        shared.tasks.lock().extend(tasks);
        below::watch_namespaces(&shared);
        Ok(Self { shared })
    }

    /// Ends the agent; each loop ends at its next pause, nothing is waited for.
    pub fn stop(&self) {
        self.shared.stop.trigger();
        for task in self.shared.tasks.lock().drain(..) {
            task.abort();
        }
        for (_, task) in std::mem::take(&mut *self.shared.watched.lock()) {
            task.abort();
        }
        for (_, task) in std::mem::take(&mut *self.shared.beside_watched.lock()) {
            task.abort();
        }
    }

    /// How many objects the agent keeps.
    #[must_use]
    pub fn objects(&self) -> usize {
        self.shared.table.lock().iter().count()
    }
}

impl Drop for Agent {
    fn drop(&mut self) {
        self.stop();
    }
}

impl Shared {
    /// Works off one of the queues.
    fn turns<F>(
        self: &Arc<Self>,
        queue: &Queue<Arc<str>>,
        workers: usize,
        turn: impl Fn(Arc<Self>, Arc<str>) -> F + Clone + Send + Sync + 'static,
    ) -> Vec<Task>
    where
        F: Future<Output = Outcome> + Send + 'static,
    {
        let shared = Arc::clone(self);
        let turn = move |name| turn(Arc::clone(&shared), name);
        hanse_reconcile::run(&self.seams, queue, workers, &self.stop, turn)
    }

    /// Takes up what the journal remembers; everything is looked at once.
    fn recall(self: &Arc<Self>) -> Result<(), JournalError> {
        let mut resources = BTreeSet::new();
        for (name, bytes) in self.journal.standings()? {
            let standing: Standing = match serde_json::from_slice(&bytes) {
                Ok(standing) => standing,
                Err(error) => {
                    tracing::warn!(name, %error, "a row of the journal cannot be read");
                    continue;
                }
            };
            resources.insert(standing.place.resource());
            if standing.comes_up {
                self.beside.add(Arc::from(name.as_str()));
            }
            if standing.has_access {
                self.renewals.add(Arc::from(name.as_str()));
            }
            self.table.lock().insert(
                &name,
                Entry {
                    standing,
                    ..Entry::default()
                },
            );
            self.work.add(Arc::from(name.as_str()));
        }
        for resource in resources {
            below::watch(self, resource);
        }
        guard::recall(self)?;
        guard::told(self, true);
        Ok(())
    }

    /// Keeps an object's standing; a loss costs one apply, so nobody waits for the disk.
    pub fn remember(&self, name: &str) {
        let Some(standing) = self.table.lock().get(name).map(|e| e.standing.clone()) else {
            return;
        };
        let Ok(bytes) = serde_json::to_vec(&standing) else {
            return;
        };
        if let Err(error) = self.journal.write(&[Change::Standing(name, &bytes)], false) {
            tracing::warn!(name, %error, "standing not kept");
        }
    }

    /// Forgets an object that is over on both sides; not one that has come back meanwhile.
    pub fn forget(&self, name: &str, uid: &str) -> bool {
        let mut table = self.table.lock();
        let over = table
            .get(name)
            .is_some_and(|e| e.standing.removing && e.standing.uid == uid && !e.incoming);
        if !over {
            return false;
        }
        table.remove(name);
        guard::ended(self, name);
        if let Err(error) = self.journal.write(&[Change::Forget(name)], false) {
            tracing::warn!(name, %error, "object not forgotten");
        }
        true
    }

    /// Now, as objects write it.
    pub fn now(&self) -> String {
        self.after(Duration::ZERO)
    }

    /// A moment from now, as objects write it.
    pub fn after(&self, delay: Duration) -> String {
        let at = self.seams.clock.wall() + delay;
        hanse_wire::time::format(i64::try_from(at.as_micros()).unwrap_or(i64::MAX))
    }
}
