//! Rule 3: no write without a difference, in either direction.

use hanse_agent::{Change, Journal as _};
use hanse_client::PatchKind;
use serde_json::json;

use super::{deployments, same, under_seeds};

#[test]
fn intents_come_below_statuses_come_up_and_then_it_is_quiet() {
    under_seeds(|w| async move {
        let agent = w.agent();
        let web = w.place("shop", "web", json!({"replicas": 2}), same).await;
        w.place("shop", "db", json!({"replicas": 1}), same).await;
        w.place("bank", "web", json!({"replicas": 3}), same).await;
        w.wait(5).await;
        assert_eq!(agent.objects(), 3);
        let live = w.below("shop", "web").await.unwrap();
        assert_eq!(live["spec"]["replicas"], 2);
        let at = (
            live["metadata"]["namespace"].as_str().unwrap(),
            "web",
            "status",
        );
        let patch = json!({"status": {"readyReplicas": 2}});
        w.site
            .api()
            .patch(&deployments(), at, PatchKind::Merge, &patch)
            .await
            .unwrap();
        w.wait(5).await;
        let status = w.status(&web).await;
        assert_eq!(status["state"], "Applied");
        assert_eq!(status["status"]["readyReplicas"], 2);
        assert_eq!(status["replicas"], 2);
        let (site, hub) = (w.site.writes(), w.hub.writes());
        w.wait(600).await;
        assert_eq!(w.site.writes(), site, "an idle agent writes nothing below");
        let leases = w.hub.writes() - hub;
        assert!(
            (58..=62).contains(&leases),
            "only one lease renewal in ten seconds: {leases}"
        );
    });
}

#[test]
fn a_restart_with_nothing_to_do_writes_nothing() {
    under_seeds(|w| async move {
        let agent = w.agent();
        for name in ["a", "b", "c"] {
            w.place("shop", name, json!({"replicas": 1}), same).await;
        }
        w.wait(5).await;
        agent.stop();
        let (site, journal) = (w.site.writes(), w.journal.clone());
        let _agent = w.agent();
        w.wait(30).await;
        assert_eq!(w.site.writes(), site, "nothing was different below");
        // The cursor was lost, so that everything is told again: still nothing is different.
        journal.write(&[Change::Cursor("")], true).unwrap();
        let _again = w.agent();
        w.wait(30).await;
        assert_eq!(w.site.writes(), site);
    });
}

#[test]
fn the_same_intent_told_again_is_not_applied_again() {
    under_seeds(|w| async move {
        let _agent = w.agent();
        let m = w.place("shop", "web", json!({"replicas": 2}), same).await;
        w.wait(5).await;
        let writes = w.site.writes();
        // The Manifest changes beside its intent.
        let patch = json!({"metadata": {"annotations": {"note": "x"}}});
        let at = ("", m.as_str(), "");
        let hub = w.hub.api();
        hub.patch(&super::manifests(), at, PatchKind::Merge, &patch)
            .await
            .unwrap();
        w.place("shop", "web", json!({"replicas": 2}), same).await;
        w.wait(30).await;
        assert_eq!(w.site.writes(), writes);
    });
}
