//! Rule 11: an object that cannot be applied never blocks the next, and its reason clears itself.

use hanse_client::testing::Fake;
use hanse_client::{Error, Refusal};
use serde_json::json;

use super::{World, deployments, same, under_seeds};

#[test]
fn one_that_cannot_be_applied_blocks_nobody_and_clears_itself() {
    under_seeds(|w| async move {
        w.site.intercept(Some(Box::new(|r| {
            let bad = r.method == "PATCH" && r.path.ends_with("/deployments/bad");
            bad.then(|| {
                let body = json!({
                    "reason": "BadRequest",
                    "message": "failed to create typed patch object: .spec.foo: field not declared in schema",
                });
                Error::Refused(Box::new(Refusal::new(400, None, body.to_string().into())))
            })
        })));
        let _agent = w.agent();
        let bad = w.place("a", "bad", json!({"foo": 1}), same).await;
        let mut good = Vec::new();
        for i in 0..20 {
            good.push(
                w.place("a", &format!("good{i}"), json!({"replicas": i}), same)
                    .await,
            );
        }
        w.wait(5).await;
        for name in &good {
            assert_eq!(w.status(name).await["state"], "Applied");
        }
        let status = w.status(&bad).await;
        assert_eq!(status["state"], "Incompatible");
        assert_eq!(status["error"]["fields"], json!([".spec.foo"]));
        assert!(status["error"]["nextTry"].is_string());
        w.site.intercept(None);
        w.wait(600).await;
        assert_eq!(w.status(&bad).await["state"], "Applied");
        assert!(w.status(&bad).await.get("error").is_none());
    });
}

#[test]
fn an_unserved_kind_is_named_and_applied_once_it_is_served() {
    under_seeds(|w| async move {
        let site = Fake::new();
        let w = World {
            site: site.clone(),
            ..w
        };
        let _agent = w.agent();
        let m = w.place("shop", "web", json!({}), same).await;
        w.wait(5).await;
        let status = w.status(&m).await;
        assert_eq!(status["state"], "Incompatible");
        assert_eq!(
            status["error"]["message"],
            "the site does not serve deployments.apps"
        );
        site.serve(deployments(), "Deployment", true);
        w.wait(20).await;
        assert_eq!(
            w.status(&m).await["state"],
            "Applied",
            "without waiting for the next try"
        );
    });
}
