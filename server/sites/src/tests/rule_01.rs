//! Rule 1: the finalizer is on the source before anything exists in an inbox, and goes when
//! everything below is gone or a tombstone is durable; killed between any two writes, the hub
//! comes to the same end.

use std::collections::BTreeMap;

use hanse_apis::sites::names;
use hanse_cache::{ClusterName, ObjectKey, ResourceId};
use serde_json::{Value, json};

use super::{HOME, World, everything, play};
use crate::run::Key;
use crate::turn::hold;

#[test]
fn what_is_no_longer_placed_is_taken_back() {
    play(|w| async move {
        let a = w.site("a", json!({})).await;
        let b = w.site("b", json!({})).await;
        w.placement(
            "p",
            json!({"objects": everything(), "sites": {"names": ["a"]}}),
        )
        .await;
        let of = w.deployment("web", 1).await;
        w.sync(&a, 1).await;
        assert!(w.manifests(&b).is_empty());
        let p = w.get(&w.sites.ids.placements, HOME, "", "p").unwrap();
        assert_eq!(p.value()["status"]["sites"][1]["reason"], "NotNamed");
        w.change(&p, |p| p["spec"]["sites"]["names"] = json!(["b"]))
            .await;
        w.wait(2).await;
        assert_eq!(w.manifests(&b).len(), 1);
        assert!(w.manifests(&a)[0]["metadata"]["deletionTimestamp"].is_string());
        w.sync(&a, 0).await;
        w.sync(&b, 1).await;
        let projection = &w.list(&w.sites.ids.projections, HOME)[0];
        assert_eq!(projection["spec"]["sites"].as_array().unwrap().len(), 1);
        // The finalizer that somebody takes off comes back while the object is placed.
        let web = w.get(&of, HOME, "default", "web").unwrap();
        w.change(&web, |o| {
            o["metadata"].as_object_mut().unwrap().remove("finalizers");
        })
        .await;
        w.wait(1).await;
        let web = w.get(&of, HOME, "default", "web").unwrap();
        assert!(web.value()["metadata"]["finalizers"].is_array());
        let p = w.get(&w.sites.ids.placements, HOME, "", "p").unwrap();
        w.delete(&p).await;
        w.wait(1).await;
        w.sync(&b, 0).await;
        let web = w.get(&of, HOME, "default", "web").unwrap().value();
        assert!(web["metadata"].get("finalizers").is_none());
        assert!(web.get("status").is_none(), "nobody reports it any more");
    });
}

#[test]
fn a_finalizer_alone_is_no_reason_to_stay() {
    let mut value = json!({"metadata": {}});
    hold(&mut value, "a");
    hold(&mut value, "a");
    assert_eq!(value["metadata"]["finalizers"], json!(["a"]));
    crate::turn::let_go(&mut value, "a");
    assert!(value["metadata"].get("finalizers").is_none());
}

#[test]
fn a_finalizer_that_the_tenant_takes_off_leaves_tombstones() {
    play(|w| async move {
        let a = w.site("a", json!({})).await;
        w.placement("p", json!({"objects": everything()})).await;
        let of = w.deployment("web", 1).await;
        w.sync(&a, 1).await;
        let web = w.get(&of, HOME, "default", "web").unwrap();
        w.delete(&web).await;
        let web = w.get(&of, HOME, "default", "web").unwrap();
        w.change(&web, |o| {
            o["metadata"].as_object_mut().unwrap().remove("finalizers");
        })
        .await;
        w.wait(1).await;
        assert!(w.get(&of, HOME, "default", "web").is_none());
        assert!(w.manifests(&a)[0]["metadata"]["deletionTimestamp"].is_string());
        assert_eq!(
            w.list(&w.sites.ids.projections, HOME).len(),
            1,
            "it is still below"
        );
        w.sync(&a, 0).await;
        assert!(w.manifests(&a).is_empty());
        assert!(w.list(&w.sites.ids.projections, HOME).is_empty());
    });
}

#[test]
fn a_policy_keeps_the_finalizer_until_a_lost_site_answers() {
    play(|w| async move {
        let spec = json!({
            "times": {"leaseSeconds": 1, "lateSeconds": 2, "lostSeconds": 4},
            "lostDeletion": "Wait",
        });
        let a = w.site("a", spec).await;
        w.placement("p", json!({"objects": everything()})).await;
        let of = w.deployment("web", 1).await;
        w.sync(&a, 1).await;
        w.wait(10).await;
        let web = w.get(&of, HOME, "default", "web").unwrap();
        w.delete(&web).await;
        w.wait(60).await;
        assert!(
            w.get(&of, HOME, "default", "web").is_some(),
            "nothing is promised"
        );
        w.sync(&a, 0).await;
        assert!(w.get(&of, HOME, "default", "web").is_none());
    });
}

/// The controllers stopped, so that a test takes their turns, write by write.
struct Driver {
    w: World,
    of: ResourceId,
    inboxes: [String; 2],
    /// Writes until the hub dies.
    left: u64,
    /// Writes so far.
    done: u64,
}

impl Driver {
    fn key(&self) -> ObjectKey {
        let cluster = ClusterName::from(HOME);
        ObjectKey::new(&self.of, &cluster, "default", "web")
    }

    /// Takes turns at the object until nothing is left to do. When the hub dies, the rest of the
    /// turn is lost and the next one decides anew.
    async fn settle(&mut self) {
        for _ in 0..50 {
            let turn = self.w.sites.decide(&Key::of(&self.key())).unwrap();
            if turn.writes.is_empty() {
                return;
            }
            for write in turn.writes {
                self.left = self.left.wrapping_sub(1);
                if self.left == 0 {
                    break;
                }
                self.done += 1;
                self.w.sites.tenancy.commit(vec![write]).await.unwrap();
                self.check();
            }
        }
        panic!("it never comes to an end");
    }

    /// What must hold after every single write.
    fn check(&self) {
        let w = &self.w;
        let object = w.sites.tenancy.view().hub().get(&self.key());
        let held = object.as_ref().is_some_and(|o| {
            let value = o.value();
            let list = value["metadata"]["finalizers"].as_array().cloned();
            list.unwrap_or_default()
                .contains(&json!(names::SOURCE_FINALIZER))
        });
        let projections = w.list(&w.sites.ids.projections, HOME);
        let listed = |inbox: &str| {
            let sites = projections
                .iter()
                .filter_map(|p| p["spec"]["sites"].as_array());
            sites.flatten().any(|s| s["cluster"] == inbox)
        };
        for inbox in &self.inboxes {
            if !w.manifests(inbox).is_empty() {
                assert!(listed(inbox), "a Manifest that no Projection knows");
                assert!(object.is_none() || held, "a Manifest without the finalizer");
            }
        }
    }

    async fn sync(&mut self) {
        for inbox in self.inboxes.clone() {
            self.w.sync(&inbox, 1).await;
        }
        self.settle().await;
    }

    async fn tenant(&mut self, change: impl FnOnce(&mut Value)) {
        let object = self.w.sites.tenancy.view().hub().get(&self.key()).unwrap();
        self.w.change(&object, change).await;
        self.settle().await;
    }

    /// Whether everything is as it should be when only site `at` has the object.
    fn picture(&self) -> BTreeMap<String, Value> {
        let w = &self.w;
        let mut out = BTreeMap::new();
        if let Some(object) = w.sites.tenancy.view().hub().get(&self.key()) {
            let value = object.value();
            out.insert("line".into(), value["metadata"]["annotations"].clone());
            out.insert("finalizers".into(), value["metadata"]["finalizers"].clone());
            out.insert("status".into(), value["status"].clone());
        }
        for (n, inbox) in self.inboxes.iter().enumerate() {
            for m in w.manifests(inbox) {
                let going = m["metadata"].get("deletionTimestamp").is_some();
                let replicas = m["spec"]["object"]["spec"]["replicas"].clone();
                out.insert(format!("manifest {n}"), json!([going, replicas]));
            }
        }
        for p in w.list(&w.sites.ids.projections, HOME) {
            let ready = p["status"]["ready"].clone();
            let sites = p["spec"]["sites"].as_array().map_or(0, Vec::len);
            out.insert("projection".into(), json!([ready, sites]));
        }
        out
    }
}

/// One life of an object: placed at two sites, scaled, moved to one, deleted. The hub dies after
/// so many writes. Answers a picture of each stage and how many writes there were.
async fn life(w: World, dies: u64) -> (Vec<BTreeMap<String, Value>>, u64) {
    let inboxes = [w.site("a", json!({})).await, w.site("b", json!({})).await];
    let spec = json!({"objects": everything(), "spread": {"mode": "Divide"}});
    w.placement("p", spec).await;
    w.stop.trigger();
    w.wait(1).await;
    let of = w.deployment("web", 5).await;
    let mut driver = Driver {
        w,
        of,
        inboxes,
        left: dies,
        done: 0,
    };
    let mut pictures = Vec::new();
    driver.settle().await;
    driver.sync().await;
    pictures.push(driver.picture());
    driver
        .tenant(|o| {
            o["spec"]["replicas"] = json!(8);
            o["metadata"]["generation"] = json!(2);
        })
        .await;
    driver.sync().await;
    pictures.push(driver.picture());
    let w = &driver.w;
    let placement = w.get(&w.sites.ids.placements, HOME, "", "p").unwrap();
    w.change(&placement, |p| p["spec"]["sites"] = json!({"names": ["b"]}))
        .await;
    let turn = w
        .sites
        .decide(&Key::Placement(HOME.into(), "p".into()))
        .unwrap();
    w.sites.tenancy.commit(turn.writes).await.unwrap();
    driver.settle().await;
    driver.sync().await;
    driver.sync().await;
    pictures.push(driver.picture());
    let object = driver
        .w
        .sites
        .tenancy
        .view()
        .hub()
        .get(&driver.key())
        .unwrap();
    driver.w.delete(&object).await;
    driver.settle().await;
    driver.sync().await;
    driver.sync().await;
    pictures.push(driver.picture());
    (pictures, driver.done)
}

#[test]
fn killed_between_any_two_writes_the_hub_comes_to_the_same_end() {
    let run = |dies: u64| {
        let (tell, told) = std::sync::mpsc::channel();
        play(move |w| async move {
            tell.send(life(w, dies).await).unwrap();
        });
        told.recv().unwrap()
    };
    let (want, writes) = run(u64::MAX);
    assert!(writes >= 15, "{writes}");
    assert!(want[3].is_empty(), "nothing is left: {:?}", want[3]);
    for dies in 1..=writes {
        assert_eq!(run(dies).0, want, "killed after write {dies}");
    }
}
