//! Waves as controllers: a change goes on when the sites before are healthy, stops when they are
//! not, and waits while it is paused.

use serde_json::{Value, json};

use super::{HOME, World, everything, play};

impl World {
    /// The replicas that each inbox has, none where nothing stands.
    fn replicas(&self, inboxes: &[String]) -> Vec<Option<i64>> {
        let of = |inbox: &String| {
            let manifest = self.manifests(inbox).into_iter().next()?;
            manifest["spec"]["object"]["spec"]["replicas"].as_i64()
        };
        inboxes.iter().map(of).collect()
    }

    async fn rollout(&self, change: impl FnOnce(&mut Value)) {
        let placement = self.get(&self.sites.ids.placements, HOME, "", "p").unwrap();
        self.change(&placement, |p| change(&mut p["spec"]["rollout"]))
            .await;
        self.wait(2).await;
    }
}

#[test]
fn a_change_goes_from_wave_to_wave_while_all_is_well() {
    play(|w| async move {
        let mut inboxes = Vec::new();
        for name in ["a", "b", "c"] {
            inboxes.push(w.site(name, json!({})).await);
        }
        let waves = json!([{"names": ["c"]}, {"selector": {"matchLabels": {"site": "a"}}}]);
        let spec = json!({"objects": everything(), "rollout": {"waves": waves}});
        w.placement("p", spec).await;
        let of = w.deployment("web", 2).await;
        assert_eq!(w.replicas(&inboxes), [None, None, Some(2)]);
        w.sync(&inboxes[2], 1).await;
        assert_eq!(
            w.replicas(&inboxes),
            [None, None, Some(2)],
            "not healthy yet"
        );
        let projection = &w.list(&w.sites.ids.projections, HOME)[0];
        let details = projection["status"]["sites"].as_array().unwrap().iter();
        assert_eq!(details.filter(|s| s["state"] == "Waiting").count(), 2);
        w.sync(&inboxes[2], 2).await;
        assert_eq!(w.replicas(&inboxes), [Some(2), None, Some(2)]);
        w.sync(&inboxes[0], 2).await;
        assert_eq!(w.replicas(&inboxes), [Some(2), Some(2), Some(2)]);
        w.sync(&inboxes[1], 2).await;
        // Paused, nobody gets a change; then it begins with the first wave and stops there.
        w.rollout(|r| r["paused"] = json!(true)).await;
        let scale = async |n: i64| {
            let web = w.get(&of, HOME, "default", "web").unwrap();
            w.change(&web, |o| {
                o["spec"]["replicas"] = json!(n);
                o["metadata"]["generation"] = json!(n);
            })
            .await;
            w.wait(2).await;
        };
        scale(3).await;
        assert_eq!(w.replicas(&inboxes), [Some(2), Some(2), Some(2)]);
        w.rollout(|r| r["paused"] = json!(false)).await;
        assert_eq!(w.replicas(&inboxes), [Some(2), Some(2), Some(3)]);
        w.sync(&inboxes[2], 0).await;
        w.wait(60).await;
        assert_eq!(
            w.replicas(&inboxes),
            [Some(2), Some(2), Some(3)],
            "it fails there"
        );
        // Taken back by the tenant, it goes back at the one site that had it.
        scale(2).await;
        assert_eq!(w.replicas(&inboxes), [Some(2), Some(2), Some(2)]);
        // One unhealthy site is put up with, and patience is asked for.
        w.rollout(|r| r["maxUnhealthy"] = json!(1)).await;
        scale(4).await;
        assert_eq!(w.replicas(&inboxes), [Some(4), Some(2), Some(4)]);
    });
}
