//! Rule 6: what the operator says reaches the syncer, what the syncer parks is shown, and what is
//! placed again while it is parked is kept.

use hanse_apis::sites::names;
use serde_json::json;

use super::{HOME, everything, play};

#[test]
fn a_parked_change_is_shown_and_may_be_taken_back() {
    play(|w| async move {
        let spec = json!({"massChange": {"sharePercent": 30, "atLeast": 3}});
        let a = w.site("a", spec).await;
        let lease = || w.get(&w.sites.ids.leases, &a, "default", "syncer").unwrap();
        let said = lease()
            .annotation(names::MASS_CHANGE_ANNOTATION)
            .unwrap()
            .into_owned();
        assert_eq!(said, r#"{"atLeast":3,"sharePercent":30}"#);
        w.placement("p", json!({"objects": everything()})).await;
        w.deployment("web", 1).await;
        w.sync(&a, 1).await;
        let before = w.manifests(&a)[0].clone();
        let placement = w.get(&w.sites.ids.placements, HOME, "", "p").unwrap();
        w.change(&placement, |p| {
            p["spec"]["sites"] = json!({"names": ["elsewhere"]})
        })
        .await;
        w.wait(2).await;
        assert!(w.manifests(&a)[0]["metadata"]["deletionTimestamp"].is_string());
        let what = "8 of 10 objects: 8 deployments.apps";
        w.change(&lease(), |l| {
            l["metadata"]["annotations"][names::PARKED_ANNOTATION] = json!(what);
            l["metadata"]["annotations"][names::PARKED_SINCE_ANNOTATION] =
                json!("2026-11-21T00:00:00Z");
        })
        .await;
        w.wait(2).await;
        let site = w.get(&w.sites.ids.sites, HOME, "", "a").unwrap().value();
        assert_eq!(site["status"]["parked"], what);
        let conditions = site["status"]["conditions"].as_array().unwrap();
        let parked = conditions.iter().find(|c| c["type"] == "Parked").unwrap();
        assert_eq!(
            (&parked["status"], &parked["message"]),
            (&json!("True"), &json!(what))
        );
        // The selector is put right: the Manifest is made again, around what was never touched.
        let placement = w.get(&w.sites.ids.placements, HOME, "", "p").unwrap();
        w.change(&placement, |p| p["spec"]["sites"] = json!({}))
            .await;
        w.wait(2).await;
        let after = w.manifests(&a)[0].clone();
        assert!(after["metadata"].get("deletionTimestamp").is_none());
        assert_ne!(after["metadata"]["uid"], before["metadata"]["uid"]);
        assert_eq!(after["spec"]["hash"], before["spec"]["hash"]);
    });
}
