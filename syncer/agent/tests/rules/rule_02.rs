//! Rule 2: server-side apply without force; drift is repaired, a conflict is shown, nothing that
//! is not ours is taken, a fight is given up.

use hanse_apis::sites::ManifestSpec;
use hanse_client::PatchKind;
use hanse_projection::names::target;
use serde_json::json;

use super::{deployments, manifests, same, source, under_seeds};

#[test]
fn a_conflict_holds_back_only_its_field_and_is_shown() {
    under_seeds(|w| async move {
        let _agent = w.agent();
        let m = w
            .place("shop", "web", json!({"replicas": 2, "paused": false}), same)
            .await;
        w.wait(5).await;
        let ns = target(&[5; 32], &source("shop", "web")).namespace;
        let at = (ns.as_str(), "web", "");
        let scale = json!({"spec": {"replicas": 9}});
        w.site
            .api()
            .patch(&deployments(), at, PatchKind::Merge, &scale)
            .await
            .unwrap();
        w.wait(5).await;
        let status = w.status(&m).await;
        assert_eq!(status["state"], "Conflict", "{status}");
        assert_eq!(status["error"]["manager"], "test");
        assert_eq!(status["error"]["fields"], json!([".spec.replicas"]));
        w.place("shop", "web", json!({"replicas": 2, "paused": true}), same)
            .await;
        w.wait(5).await;
        let live = w.below("shop", "web").await.unwrap();
        assert_eq!(live["spec"], json!({"replicas": 9, "paused": true}));
        let writes = w.site.writes();
        w.wait(300).await;
        assert_eq!(w.site.writes(), writes, "a conflict is not fought");
        let back = json!({"spec": {"replicas": 2}});
        w.site
            .api()
            .patch(&deployments(), at, PatchKind::Merge, &back)
            .await
            .unwrap();
        w.wait(5).await;
        assert_eq!(
            w.status(&m).await["state"],
            "Applied",
            "the end of a conflict is seen"
        );
        let force = |s: &mut ManifestSpec| {
            s.force = vec![".spec.replicas".into()];
            s.hash.push('f');
        };
        w.site
            .api()
            .patch(&deployments(), at, PatchKind::Merge, &scale)
            .await
            .unwrap();
        w.place("shop", "web", json!({"replicas": 4, "paused": true}), force)
            .await;
        w.wait(5).await;
        assert_eq!(w.below("shop", "web").await.unwrap()["spec"]["replicas"], 4);
    });
}

#[test]
fn what_is_not_ours_is_never_taken_or_deleted() {
    under_seeds(|w| async move {
        let ns = target(&[5; 32], &source("shop", "web")).namespace;
        let first = w.place("shop", "db", json!({}), same).await;
        let _agent = w.agent();
        w.wait(5).await;
        assert_eq!(w.status(&first).await["state"], "Applied");
        let theirs = json!({
            "apiVersion": "apps/v1", "kind": "Deployment", "spec": {"replicas": 7},
            "metadata": {"name": "web", "namespace": ns},
        });
        w.site.api().create(&deployments(), &theirs).await.unwrap();
        let m = w.place("shop", "web", json!({"replicas": 1}), same).await;
        w.wait(5).await;
        let status = w.status(&m).await;
        assert_eq!(
            (&status["state"], &status["error"]["reason"]),
            (&json!("Failed"), &json!("NotOurs"))
        );
        w.hub
            .api()
            .delete(&manifests(), "", &m, None)
            .await
            .unwrap();
        w.wait(5).await;
        assert!(
            w.hub
                .api()
                .find(&manifests(), "", &m)
                .await
                .unwrap()
                .is_none(),
            "released"
        );
        assert_eq!(
            w.below("shop", "web").await.unwrap()["spec"]["replicas"],
            7,
            "left alone"
        );
        let adopt = |s: &mut ManifestSpec| s.adopt = true;
        let m = w.place("shop", "web", json!({"paused": true}), adopt).await;
        w.wait(5).await;
        assert_eq!(w.status(&m).await["state"], "Applied");
        assert_eq!(
            w.below("shop", "web").await.unwrap()["spec"]["paused"],
            true
        );
    });
}

#[test]
fn a_fight_is_given_up() {
    under_seeds(|w| async move {
        let _agent = w.agent();
        let m = w.place("shop", "web", json!({}), same).await;
        w.wait(5).await;
        let ns = target(&[5; 32], &source("shop", "web")).namespace;
        for _ in 0..6 {
            let _ = w.site.api().delete(&deployments(), &ns, "web", None).await;
            w.wait(5).await;
        }
        assert!(w.below("shop", "web").await.is_none(), "given up");
        assert_eq!(w.status(&m).await["error"]["reason"], "Fight");
        w.wait(700).await;
        assert!(
            w.below("shop", "web").await.is_some(),
            "and taken up again later"
        );
    });
}
