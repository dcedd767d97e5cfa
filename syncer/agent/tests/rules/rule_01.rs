//! Rule 1: a Manifest is released when everything below is gone, and wherever either side is
//! killed, it comes to the same end.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use hanse_agent::{Change, Journal, JournalError, Memory};
use hanse_client::{Error, Refusal};
use hanse_projection::names::target;
use hanse_seams::Simulation;
use serde_json::{Value, json};

use super::{World, manifests, namespaces, same, source, under_seeds};

#[test]
fn what_the_site_never_allowed_holds_nobody_and_what_it_allowed_once_does() {
    under_seeds(|w| async move {
        let _agent = w.agent();
        let known = w.place("shop", "known", json!({}), same).await;
        w.wait(5).await;
        w.site.intercept(Some(Box::new(|r| {
            let body = json!({"reason": "Forbidden", "message": "deployments.apps is forbidden"});
            let refusal = || Refusal::new(403, None, body.to_string().into());
            let refused = r.path.contains("/deployments/");
            refused.then(|| Error::Refused(Box::new(refusal())))
        })));
        let unknown = w.place("shop", "unknown", json!({}), same).await;
        w.wait(5).await;
        assert_eq!(w.status(&unknown).await["error"]["reason"], "Forbidden");
        for name in [&known, &unknown] {
            let hub = w.hub.api();
            hub.delete(&manifests(), "", name, None).await.unwrap();
        }
        w.wait(600).await;
        let held = async |name: &str| w.hub.api().find(&manifests(), "", name).await.unwrap();
        assert!(held(&unknown).await.is_none(), "nothing of it is there");
        assert!(held(&known).await.is_some(), "it still stands below");
        w.site.intercept(None);
        w.wait(600).await;
        assert!(held(&known).await.is_none());
    });
}

#[test]
fn deletion_takes_the_object_then_the_namespace_then_releases() {
    under_seeds(|w| async move {
        let _agent = w.agent();
        let web = w.place("shop", "web", json!({}), same).await;
        let db = w.place("shop", "db", json!({}), same).await;
        w.wait(5).await;
        let ns = target(&[5; 32], &source("shop", "web")).namespace;
        w.hub
            .api()
            .delete(&manifests(), "", &web, None)
            .await
            .unwrap();
        w.wait(5).await;
        assert!(w.below("shop", "web").await.is_none());
        assert!(
            w.site
                .api()
                .find(&namespaces(), "", &ns)
                .await
                .unwrap()
                .is_some()
        );
        w.site.cut(true);
        w.hub
            .api()
            .delete(&manifests(), "", &db, None)
            .await
            .unwrap();
        w.wait(60).await;
        assert!(
            w.hub
                .api()
                .find(&manifests(), "", &db)
                .await
                .unwrap()
                .is_some(),
            "held"
        );
        w.site.cut(false);
        w.wait(600).await;
        assert!(
            w.hub
                .api()
                .find(&manifests(), "", &db)
                .await
                .unwrap()
                .is_none()
        );
        assert!(
            w.site
                .api()
                .find(&namespaces(), "", &ns)
                .await
                .unwrap()
                .is_none()
        );
        assert!(w.journal.standings().unwrap().is_empty());
    });
}

/// When and how the process dies.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Death {
    /// Before its n-th write leaves.
    Before(u64),
    /// After its n-th write is done.
    After(u64),
}

/// A process that can die: it counts what it writes, to either server and to its journal.
#[derive(Clone, Default)]
struct Process {
    dead: Arc<AtomicBool>,
    writes: Arc<AtomicU64>,
    deaths: Arc<Vec<Death>>,
}

impl Process {
    /// Counts a write; answers whether it is done.
    fn writes(&self) -> bool {
        if self.dead.load(Ordering::SeqCst) {
            return false;
        }
        let n = self.writes.fetch_add(1, Ordering::SeqCst) + 1;
        let dies = |death: Death| self.deaths.contains(&death);
        if dies(Death::Before(n)) || dies(Death::After(n)) {
            self.dead.store(true, Ordering::SeqCst);
        }
        !dies(Death::Before(n))
    }

    fn watches(&self, w: &World) {
        for fake in [&w.hub, &w.site] {
            let process = self.clone();
            fake.intercept(Some(Box::new(move |r| {
                // The agent's writes, not the test's own, which are posts, deletions and JSON
                // patches of the inbox.
                let ours = !r.path.contains("/manifests")
                    || r.path.ends_with("/status")
                    || r.content_type.contains("merge");
                let counts = r.method != "GET" && !r.path.contains("/leases") && ours;
                let done = match counts {
                    true => process.writes(),
                    // Without its process nobody reads either.
                    false => !ours || !process.dead.load(Ordering::SeqCst),
                };
                (!done).then(|| Error::Unreachable("dead".into()))
            })));
        }
    }
}

/// The journal of such a process.
struct Mortal {
    inner: Memory,
    process: Process,
}

impl Journal for Mortal {
    fn standings(&self) -> Result<Vec<(String, Vec<u8>)>, JournalError> {
        self.inner.standings()
    }
    fn intent(&self, name: &str) -> Result<Option<Vec<u8>>, JournalError> {
        self.inner.intent(name)
    }
    fn cursor(&self) -> Result<String, JournalError> {
        self.inner.cursor()
    }
    fn guard(&self) -> Result<Vec<u8>, JournalError> {
        self.inner.guard()
    }
    fn write(&self, changes: &[Change<'_>], durable: bool) -> Result<(), JournalError> {
        match self.process.writes() {
            true => self.inner.write(changes, durable),
            false => Ok(()),
        }
    }
}

/// One life of two Manifests: made, changed, one deleted. The agent dies as it is told and is
/// started again soon after; answers what stands in the end and how many writes there were.
async fn life(w: World, deaths: Vec<Death>) -> (BTreeMap<String, Value>, u64) {
    let process = Process {
        deaths: Arc::new(deaths),
        ..Process::default()
    };
    process.watches(&w);
    let start = || {
        let journal = Mortal {
            inner: w.journal.clone(),
            process: process.clone(),
        };
        w.agent_with(Arc::new(journal))
    };
    let mut agent = start();
    w.place("shop", "web", json!({"replicas": 1}), same).await;
    let db = w.place("shop", "db", json!({"replicas": 1}), same).await;
    for step in 0..3 {
        // It may die again while it makes up for the last death.
        for _ in 0..3 {
            w.wait(20).await;
            if process.dead.load(Ordering::SeqCst) {
                agent.stop();
                process.dead.store(false, Ordering::SeqCst);
                agent = start();
            }
        }
        w.wait(60).await;
        match step {
            0 => {
                w.place("shop", "web", json!({"replicas": 2}), same).await;
            }
            1 => {
                let hub = w.hub.api();
                hub.delete(&manifests(), "", &db, None).await.unwrap();
            }
            _ => {}
        }
    }
    agent.stop();
    w.hub.intercept(None);
    w.site.intercept(None);
    (w.picture().await, process.writes.load(Ordering::SeqCst))
}

fn lived(deaths: Vec<Death>) -> (BTreeMap<String, Value>, u64) {
    let simulation = Simulation::new(11);
    let seams = simulation.seams();
    let told = deaths.clone();
    simulation
        .run(async move { life(World::new(seams).await, deaths).await })
        .unwrap_or_else(|| panic!("{told:?}: it came to a stop"))
}

#[test]
fn killed_at_any_write_it_comes_to_the_same_end() {
    let (want, writes) = lived(Vec::new());
    assert_eq!(
        want.len(),
        3,
        "one object, its namespace, its manifest: {want:#?}"
    );
    assert!(writes >= 16, "{writes}");
    for n in 1..=writes {
        for death in [Death::Before(n), Death::After(n)] {
            assert_eq!(lived(vec![death]).0, want, "{death:?}");
        }
    }
}

#[test]
fn killed_again_while_it_recovers_it_comes_to_the_same_end() {
    let (want, writes) = lived(Vec::new());
    for n in 1..=writes {
        for later in 1..=2 {
            let deaths = vec![Death::After(n), Death::Before(n + later)];
            assert_eq!(lived(deaths.clone()).0, want, "{deaths:?}");
        }
    }
}

#[test]
fn what_vanished_below_is_released_and_what_is_going_is_waited_for() {
    under_seeds(|w| async move {
        let _agent = w.agent();
        let web = w.place("shop", "web", json!({}), same).await;
        w.wait(5).await;
        let ns = target(&[5; 32], &source("shop", "web")).namespace;
        // A cluster's own finalizer holds the object: the Manifest stays until it is gone.
        let held = json!({"metadata": {"finalizers": ["example.com/held"]}});
        let at = (ns.as_str(), "web", "");
        let site = w.site.api();
        let of = super::deployments();
        let merge = hanse_client::PatchKind::Merge;
        site.patch(&of, at, merge, &held).await.unwrap();
        let hub = w.hub.api();
        hub.delete(&manifests(), "", &web, None).await.unwrap();
        w.wait(60).await;
        let there = hub.find(&manifests(), "", &web).await.unwrap();
        assert!(there.is_some(), "its object is still going");
        let free = json!({"metadata": {"finalizers": null}});
        site.patch(&of, at, merge, &free).await.unwrap();
        w.wait(60).await;
        assert!(hub.find(&manifests(), "", &web).await.unwrap().is_none());
        assert!(site.find(&namespaces(), "", &ns).await.unwrap().is_none());
    });
}
