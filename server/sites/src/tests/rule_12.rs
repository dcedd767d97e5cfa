//! Rule 12: status is worst-of and says what is unknown; a silent site never looks ready.

use hanse_apis::sites::names;
use serde_json::json;

use super::{HOME, everything, play};

#[test]
fn deletion_waits_for_the_sites_and_a_tombstone_frees_it_from_a_lost_one() {
    play(|w| async move {
        let quick = json!({"times": {"leaseSeconds": 1, "lateSeconds": 2, "lostSeconds": 4}});
        let (a, b) = (w.site("a", quick.clone()).await, w.site("b", quick).await);
        w.placement("p", json!({"objects": everything()})).await;
        let of = w.deployment("web", 1).await;
        w.sync(&a, 1).await;
        w.sync(&b, 1).await;
        for _ in 0..6 {
            w.renew(&a).await;
            w.wait(1).await;
        }
        let site = |name: &str| w.get(&w.sites.ids.sites, HOME, "", name).unwrap();
        assert_eq!(site("a").text(&["status", "contact"]).unwrap(), "Live");
        assert_eq!(site("b").text(&["status", "contact"]).unwrap(), "Lost");
        let web = w.get(&of, HOME, "default", "web").unwrap();
        let line = web
            .annotation(names::STATUS_ANNOTATION)
            .unwrap()
            .into_owned();
        assert!(line.starts_with("1/2 (1 unknown since "), "{line}");
        assert_eq!(
            web.value()["status"]["readyReplicas"],
            1,
            "silence is not ready"
        );
        w.delete(&web).await;
        w.renew(&a).await;
        w.wait(1).await;
        assert!(
            w.get(&of, HOME, "default", "web").is_some(),
            "site a still has it"
        );
        w.sync(&a, 0).await;
        assert!(
            w.get(&of, HOME, "default", "web").is_none(),
            "b's end is promised"
        );
        assert!(w.list(&w.sites.ids.projections, HOME).is_empty());
        assert_eq!(w.manifests(&b).len(), 1, "the tombstone waits in b's inbox");
        w.sync(&b, 0).await;
        assert!(w.manifests(&b).is_empty());
    });
}

#[test]
fn what_is_placed_nowhere_does_not_look_applied() {
    play(|w| async move {
        w.site("a", json!({})).await;
        let nowhere = json!({"objects": everything(), "sites": {"names": ["elsewhere"]}});
        w.placement("p", nowhere).await;
        let of = w.deployment("web", 1).await;
        let web = w.get(&of, HOME, "default", "web").unwrap();
        let line = web.annotation(names::STATUS_ANNOTATION).unwrap();
        assert_eq!(line, "0/0 NotPlaced: Placement p has chosen no Site");
        let projection = &w.list(&w.sites.ids.projections, HOME)[0];
        for condition in projection["status"]["conditions"].as_array().unwrap() {
            if condition["type"] != "Certain" {
                assert_eq!(condition["status"], "Unknown", "{condition}");
                assert_eq!(condition["reason"], "NotPlaced", "{condition}");
            }
        }
    });
}
