//! The simulator: the server's own code in one thread, from one seed.
//!
//! Start at [`run`]. A seed chooses the engine that is modelled, what tenants want, how often and
//! where the server dies, and every turn of the scheduler. Real are the service (from the request
//! on), the cache, tenancy, the controllers and the sites; simulated are the clock, chance, the
//! scheduler and what lies below the store's contract (`disk.rs`). Sockets, TLS and the files of
//! the embedded engine are proven elsewhere (`e2e/tests`, the suites of `lib/store-redb`).
//!
//! What must hold, whatever happens: histories are linearizable and watches exact
//! (`hanse_history`); what a story demands on its way; and once nothing happens any more, nothing
//! is left behind, `verify` finds nothing, and everything is as if nothing had gone wrong: the same
//! wishes without faults lead to the same end (`check.rs`). The invariant: the same seed does the
//! same, in any process; [`Report::trace`] says so in one number.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use anyhow::{Context, Result, anyhow, ensure};
use hanse_history::{History, Judged, View};
use hanse_seams::{Bug, Rng, Seams, Shutdown, Simulation};
use hanse_store::{Commit, Retention};
use parking_lot::Mutex;

mod check;
mod client;
mod disk;
mod load;
mod server;
mod stories;

pub use disk::Nature;
pub use server::Keys;

use client::Client;
use disk::{Disk, Place};
use load::{Follower, Load};
use server::Server;
use stories::{STORIES, STORY_TIME_MAX, Wish};

/// The seed of the shard that all runs begin with, like no seed of a run.
const BASE_SEED: u64 = u64::MAX - 6;
/// Without a write for so long, nothing happens any more.
const QUIET: Duration = Duration::from_secs(120);
/// Longer than anything is kept that nobody needs any more.
const KEPT: Duration = Duration::from_secs(45 * 60);
/// Rest must come within this, or something writes for ever.
const REST_TIME_MAX: Duration = Duration::from_secs(3_600);
/// How long a watch may take to tell what happened.
const WATCH_TIME_MAX: Duration = Duration::from_secs(600);

/// A shard at rest with the workspaces `left` and `right`, for many runs to begin with.
pub struct Base {
    nature: Nature,
    journal: Vec<Commit>,
    clusters: Vec<String>,
}

/// What happened in a run.
#[derive(Clone, Debug, Default)]
pub struct Report {
    /// A hash over every turn of the scheduler and every commit.
    pub trace: u64,
    /// What the history checker judged.
    pub judged: Judged,
    /// Lives of the server.
    pub lives: u64,
    /// Commits.
    pub commits: usize,
    /// Stories that were told.
    pub stories: usize,
}

/// What a seed chooses.
struct Plan {
    nature: Nature,
    stories: Vec<(usize, Wish)>,
    crashes: u64,
    recent_events: usize,
    keeps: u64,
    writers: u64,
}

impl Plan {
    fn of(seed: u64) -> Self {
        let chance = Simulation::new(seed ^ 0x51_6d_75_1a);
        let below = |bound: u64| chance.below(bound);
        let nature = Nature::ALL[usize::try_from(below(3)).unwrap_or(0)];
        let count = 3 + below(3);
        let stories = (0..count).map(|number| {
            let story = usize::try_from(below(STORIES.len() as u64)).unwrap_or(0);
            let side = ["root:left", "root:right"][usize::from(below(2) == 0)];
            let wish = Wish {
                number,
                variant: below(4),
                side,
            };
            (story, wish)
        });
        Self {
            nature,
            stories: stories.collect(),
            crashes: below(6),
            recent_events: [60, 400, 50_000][usize::try_from(below(3)).unwrap_or(0)],
            keeps: [40, 400, 100_000][usize::try_from(below(3)).unwrap_or(0)],
            writers: 1 + below(3),
        }
    }
}

/// The engine that a seed chooses.
#[must_use]
pub fn nature_of(seed: u64) -> Nature {
    Plan::of(seed).nature
}

impl Base {
    /// Makes it, without faults.
    ///
    /// # Errors
    /// Even that does not work.
    pub fn make(nature: Nature, keys: &Keys) -> Result<Self> {
        let machine = Simulation::new(BASE_SEED);
        let seams = machine.seams();
        let disk = Disk::new(nature, Arc::clone(&seams.clock), Retention::default());
        let server = Server::new(&machine, Arc::clone(&disk), keys.clone(), 50_000);
        let clusters = machine.run(async move {
            ensure!(server.serve().await?, "the first life ended by itself");
            let client = Client::new(&server);
            let mut clusters = Vec::new();
            for name in ["left", "right"] {
                clusters.push(stories::workspace(&client, "root", name).await?);
            }
            rest(&server).await?;
            Ok::<_, anyhow::Error>(clusters)
        });
        Ok(Self {
            nature,
            journal: disk.journal(),
            clusters: clusters.context("the base waits for what never comes")??,
        })
    }
}

/// Waits until nothing is written any more.
async fn rest(server: &Server) -> Result<()> {
    let seams = server.world();
    let end = seams.clock.monotonic() + REST_TIME_MAX;
    // Positions of cursors are notes of the server to itself.
    let written = || {
        let journal = server.disk().journal();
        let told = |commit: &&Commit| commit.changes.iter().any(|c| !c.key.starts_with(b"!"));
        journal.iter().filter(told).count()
    };
    loop {
        let before = written();
        seams.clock.sleep(QUIET).await;
        if written() == before {
            return Ok(());
        }
        ensure!(
            seams.clock.monotonic() < end,
            "something writes for ever: {:?}",
            last_keys(server)
        );
    }
}

fn last_keys(server: &Server) -> Vec<String> {
    let journal = server.disk().journal();
    let keys = journal.iter().rev().flat_map(|commit| &commit.changes);
    let shown = keys.map(|change| String::from_utf8_lossy(&change.key).into_owned());
    shown.take(6).collect()
}

/// Runs a seed over a base of its nature, with a bug planted or without, and judges it.
///
/// # Errors
/// What does not hold.
pub fn run(seed: u64, base: &Base, keys: &Keys, bug: Option<Bug>) -> Result<Report> {
    let plan = Plan::of(seed);
    ensure!(plan.nature == base.nature, "a base of another engine");
    let (report, faulty) = play(seed, base, keys, bug, &plan, plan.crashes)?;
    let (_, calm) = play(seed ^ 0xca_1a, base, keys, None, &plan, 0).context("without faults")?;
    let found = check::difference(&faulty, &calm);
    ensure!(
        found.is_empty(),
        "{} objects are other than without faults: {}",
        found.len(),
        found.iter().take(3).cloned().collect::<Vec<_>>().join("\n")
    );
    Ok(report)
}

type End = BTreeMap<String, String>;

/// One run, to its rest.
fn play(
    seed: u64,
    base: &Base,
    keys: &Keys,
    bug: Option<Bug>,
    plan: &Plan,
    crashes: u64,
) -> Result<(Report, End)> {
    let machine = Simulation::new(seed).with_bug(bug);
    let seams = machine.seams();
    let disk = Disk::new(base.nature, Arc::clone(&seams.clock), Retention::default());
    let server = Server::new(
        &machine,
        Arc::clone(&disk),
        keys.clone(),
        plan.recent_events,
    );
    let judge = Arc::new(Mutex::new(None));
    let (own, told) = (server.clone(), Arc::clone(&judge));
    let load = Load::new(&server, base.clusters.clone());
    let wishes = plan.stories.clone();
    let (journal, keeps, writers) = (base.journal.clone(), plan.keeps, plan.writers);
    let story = async move {
        own.disk().replay(&journal).await?;
        let begun = own.disk().commits();
        ensure!(own.serve().await?, "the first life ended by itself");
        let run = Run {
            server: own,
            load,
            begun,
        };
        let outcome = run.tell(&wishes, crashes, keeps, writers).await?;
        *told.lock() = Some(outcome);
        Ok::<_, anyhow::Error>(())
    };
    let ended = machine.run(story);
    ended.context("everybody waits for what never comes")??;
    let (judged, end) = judge.lock().take().context("no verdict")?;
    let report = Report {
        trace: trace(&machine, &disk),
        judged,
        lives: server.lives(),
        commits: disk.commits(),
        stories: plan.stories.len(),
    };
    // Whatever still runs would keep the machine, and the machine it.
    server.kill();
    machine.kill();
    Ok((report, end))
}

/// Turns of the scheduler and commits, in one number. Values are left out: some hold what keys
/// signed, and no seed makes keys.
fn trace(machine: &Simulation, disk: &Disk) -> u64 {
    let mut hash = machine.trace();
    let mut mix = |number: u64| {
        hash = (hash ^ number)
            .wrapping_mul(0x0100_0000_01b3)
            .rotate_left(23);
    };
    for change in disk.journal().iter().flat_map(|commit| &commit.changes) {
        mix(change.version.0);
        change.key.iter().for_each(|byte| mix(u64::from(*byte)));
        mix(change.value.as_ref().map_or(1, |value| value.len() as u64));
    }
    hash
}

/// A run under way.
struct Run {
    server: Server,
    load: Arc<Load>,
    begun: usize,
}

/// What came of the tasks of a run: how many are left, and the first thing that went wrong.
#[derive(Default)]
struct Outcomes {
    left: u64,
    wrong: Option<anyhow::Error>,
}

type Shared = Arc<Mutex<Outcomes>>;

/// Runs something beside the rest and notes how it ended.
fn spawn(
    seams: &Seams,
    name: &'static str,
    shared: &Shared,
    work: impl Future<Output = Result<()>> + Send + 'static,
) {
    shared.lock().left += 1;
    let shared = Arc::clone(shared);
    seams.spawn(name, async move {
        let ended = work.await;
        let mut outcomes = shared.lock();
        outcomes.left -= 1;
        if let Err(error) = ended {
            outcomes.wrong.get_or_insert(error);
        }
    });
}

async fn join(seams: &Seams, shared: &Shared) -> Result<()> {
    loop {
        {
            let mut outcomes = shared.lock();
            if let Some(error) = outcomes.wrong.take() {
                return Err(error);
            }
            if outcomes.left == 0 {
                return Ok(());
            }
        }
        seams.clock.sleep(Duration::from_millis(50)).await;
    }
}

impl Run {
    async fn tell(
        self,
        wishes: &[(usize, Wish)],
        crashes: u64,
        keeps: u64,
        writers: u64,
    ) -> Result<(Judged, End)> {
        let seams = self.server.world();
        let hub = self.server.hub().context("the first life is over")?;
        let version = hub.version();
        drop(hub);
        let goal = Arc::new(AtomicU64::new(0));
        let watching = Shared::default();
        let watched: Arc<Mutex<Vec<hanse_history::Watch>>> = Arc::default();
        for mut follower in self.followers(version) {
            let (goal, watched) = (Arc::clone(&goal), Arc::clone(&watched));
            spawn(&seams, "watcher", &watching, async move {
                let until = || goal.load(Ordering::Acquire);
                follower.run(until, WATCH_TIME_MAX).await?;
                watched.lock().extend(follower.take());
                Ok(())
            });
        }
        let working = Shared::default();
        let stop = Shutdown::new();
        for _ in 0..writers {
            let work = Arc::clone(&self.load).work(20, stop.clone());
            spawn(&seams, "writer", &working, work);
        }
        for (story, wish) in wishes {
            let story = &STORIES[*story];
            let told = (story.tell)(Client::new(&self.server), *wish);
            let (inner, name, wish) = (seams.clone(), story.name, *wish);
            spawn(&seams, "story", &working, async move {
                let pause = Duration::from_millis(inner.rng.below(8_000));
                inner.clock.sleep(pause).await;
                let told = inner.timeout(STORY_TIME_MAX, told).await;
                let told = told.unwrap_or_else(|| Err(anyhow!("never ends")));
                told.with_context(|| format!("the story {name} {wish:?}"))
            });
        }
        let faults = Shared::default();
        let healing = Shared::default();
        let (server, inner) = (self.server.clone(), seams.clone());
        server.stumbles(crashes);
        spawn(&seams, "faults", &faults, async move {
            misfortune(&server, &inner, crashes, keeps).await;
            Ok(())
        });
        let (server, inner, peace) = (self.server.clone(), seams.clone(), stop.clone());
        spawn(&seams, "healer", &healing, async move {
            heal(&server, &inner, &peace).await
        });
        join(&seams, &faults).await?;
        self.server.stumbles(0);
        stop.trigger();
        join(&seams, &healing).await?;
        join(&seams, &working).await?;
        // Whoever failed meanwhile has said so; the rest is quiet.
        let last = self.load.close().await?;
        rest(&self.server).await?;
        // Some of what is not needed any more is kept for half an hour.
        seams.clock.sleep(KEPT).await;
        rest(&self.server).await?;
        goal.store(last, Ordering::Release);
        join(&seams, &watching).await?;
        let hub = self.server.hub().context("nobody serves in the end")?;
        check::at_rest(&hub).await?;
        let watches = std::mem::take(&mut *watched.lock());
        let judged = self.judge(version, watches)?;
        Ok((judged, check::end(&hub)?))
    }

    /// Watches of all kinds from a version on.
    fn followers(&self, version: u64) -> Vec<Follower> {
        let cluster = self.load.clusters.first().cloned();
        let everything = View::default();
        let views = [
            everything.clone(),
            View {
                cluster: cluster.clone(),
                ..View::default()
            },
            View {
                rest: Some((3, 1)),
                ..View::default()
            },
            View {
                cluster,
                rest: Some((3, 0)),
                ..View::default()
            },
            View {
                name: Some("shared-1".to_owned()),
                ..View::default()
            },
            everything,
        ];
        let habits = [
            (0, false),
            (40, true),
            (0, true),
            (0, false),
            (200, false),
            (2_000, true),
        ];
        let both = views.into_iter().zip(habits);
        both.map(|(view, habit)| Follower::new(&self.server, view, version, habit))
            .collect()
    }

    fn judge(&self, version: u64, watches: Vec<hanse_history::Watch>) -> Result<Judged> {
        let journal = self.server.disk().journal();
        ensure!(journal.len() > self.begun, "nothing was written");
        let history = History {
            before: BTreeMap::new(),
            version,
            first_value: 0,
            ops: self.load.take(),
            log: self.load.log(&journal)?,
            watches,
        };
        history.check()
    }
}

/// Kills the server so many times, at a moment or at a place of a commit, and lets the past be
/// compacted away now and then.
async fn misfortune(server: &Server, seams: &Seams, crashes: u64, keeps: u64) {
    for _ in 0..crashes {
        if seams.rng.below(3) == 0 {
            server.disk().compact(keeps).await;
        }
        match seams.rng.below(4) {
            0 => {
                let pause = Duration::from_micros(seams.rng.below(2_000_000));
                seams.clock.sleep(pause).await;
                server.kill();
            }
            _ => strike(server, seams).await,
        }
        while server.hub().is_none() {
            seams.clock.sleep(Duration::from_millis(20)).await;
        }
    }
}

/// Starts the server again whenever it has died, until there is peace.
async fn heal(server: &Server, seams: &Seams, peace: &Shutdown) -> Result<()> {
    loop {
        if server.lives_now() {
            if peace.is_triggered() {
                return Ok(());
            }
            seams.clock.sleep(Duration::from_millis(5)).await;
            continue;
        }
        let down = Duration::from_millis(seams.rng.below(1_500));
        seams.clock.sleep(down).await;
        // Some lives end while they begin.
        while !begin(server, seams).await? {}
    }
}

/// Starts the server; false when it died on the way.
async fn begin(server: &Server, seams: &Seams) -> Result<bool> {
    if seams.rng.below(5) == 0 {
        let (doomed, inner) = (server.clone(), seams.clone());
        seams.spawn("doom", async move {
            let pause = Duration::from_micros(inner.rng.below(20_000));
            inner.clock.sleep(pause).await;
            if doomed.hub().is_none() {
                doomed.kill();
            }
        });
    }
    server.serve().await
}

/// Lets the server die at one of the next commits, or at the latest in a while.
async fn strike(server: &Server, seams: &Seams) {
    let places = [Place::Before, Place::Durable, Place::Told];
    let place = places[usize::try_from(seams.rng.below(3)).unwrap_or(0)];
    let lag = match seams.rng.below(3) {
        0 => Some(Duration::from_micros(seams.rng.below(2_000))),
        _ => None,
    };
    let (doomed, world) = (server.clone(), seams.clone());
    server
        .disk()
        .strike(1 + seams.rng.below(40), place, move || {
            let Some(lag) = lag else {
                doomed.kill();
                return true;
            };
            let (later, inner) = (doomed.clone(), world.clone());
            world.spawn("doom", async move {
                inner.clock.sleep(lag).await;
                later.kill();
            });
            false
        });
    let end = seams.clock.monotonic() + Duration::from_secs(4);
    while server.lives_now() {
        if seams.clock.monotonic() > end {
            server.kill();
        }
        seams.clock.sleep(Duration::from_millis(5)).await;
    }
}

/// All names of stories, for those who list them.
#[must_use]
pub fn stories() -> BTreeSet<&'static str> {
    STORIES.iter().map(|story| story.name).collect()
}
