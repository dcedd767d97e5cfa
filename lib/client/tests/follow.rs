//! A follower is told everything exactly in order, whatever happens to the line.

use std::collections::BTreeMap;
use std::time::Duration;

use hanse_client::testing::Fake;
use hanse_client::{Follow, List, Notice, Resource};
use hanse_seams::Simulation;
use serde_json::json;

fn maps() -> Resource {
    Resource::new("", "v1", "configmaps")
}

fn server() -> Fake {
    let fake = Fake::new();
    fake.serve(maps(), "ConfigMap", true);
    fake
}

fn map(name: &str, value: u64) -> serde_json::Value {
    json!({
        "apiVersion": "v1", "kind": "ConfigMap", "data": {"v": value.to_string()},
        "metadata": {"name": name, "namespace": "n", "labels": {"a": "b"}},
    })
}

/// Keeps a copy by following, as every consumer does.
fn tell(copy: &mut BTreeMap<String, String>, seen: &mut Vec<String>, notice: Notice) {
    let name = |o: &serde_json::Value| o["metadata"]["name"].to_string();
    match notice {
        Notice::Restart => seen.clear(),
        Notice::Seen(o) => {
            seen.push(name(&o));
            copy.insert(name(&o), o["data"]["v"].to_string());
        }
        Notice::Gone(o) => {
            copy.remove(&name(&o));
        }
        Notice::Complete => copy.retain(|name, _| seen.contains(name)),
        Notice::Quiet | Notice::Broken(_) => {}
    }
}

#[test]
fn a_copy_converges_over_cuts_and_forgotten_logs() {
    for seed in 0..30 {
        let simulation = Simulation::new(seed);
        let seams = simulation.seams();
        let fake = server();
        let done = simulation.run(async move {
            let api = fake.api();
            let ns = json!({"metadata": {"name": "n"}});
            api.create(&Resource::new("", "v1", "namespaces"), &ns)
                .await
                .unwrap();
            let list = List {
                labels: "a=b".into(),
                ..List::default()
            };
            let mut follow = Follow::new(api.clone(), maps(), list, seams.clone(), String::new());
            let mut truth = BTreeMap::new();
            let (mut copy, mut seen) = (BTreeMap::new(), Vec::new());
            for round in 0..60u64 {
                let name = format!("m{}", seams.rng.below(5));
                match seams.rng.below(8) {
                    0 => fake.cut(true),
                    1 => fake.cut(false),
                    2 => fake.forget(),
                    3 => {
                        if api.delete(&maps(), "n", &name, None).await.is_ok() {
                            truth.remove(&format!("{name:?}"));
                        }
                    }
                    _ => {
                        let object = map(&name, round);
                        if api.apply(&maps(), &object, "t", true).await.is_ok() {
                            truth.insert(format!("{name:?}"), format!("\"{round}\""));
                        }
                    }
                }
                let wait = Duration::from_millis(seams.rng.below(300));
                while let Some(notice) = seams.timeout(wait, follow.next()).await {
                    tell(&mut copy, &mut seen, notice);
                }
            }
            fake.cut(false);
            while let Some(notice) = seams.timeout(Duration::from_secs(60), follow.next()).await {
                tell(&mut copy, &mut seen, notice);
            }
            assert_eq!(copy, truth, "seed {seed}");
            true
        });
        assert_eq!(done, Some(true), "seed {seed} came to a stop");
    }
}
