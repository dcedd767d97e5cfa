//! A Manifest's body is kept once for each content, and goes when no Manifest needs it.

use serde_json::json;

use super::{HOME, everything, play};

#[test]
fn sites_share_a_body_and_the_last_one_takes_it_along() {
    play(|w| async move {
        let (a, b) = (w.site("a", json!({})).await, w.site("b", json!({})).await);
        w.placement("p", json!({"objects": everything()})).await;
        let of = w.deployment("web", 1).await;
        let bodies = || w.sites.tenancy.view().hub().stats().parts;
        let body = |inbox: &str| w.manifests(inbox)[0]["spec"]["object"].clone();
        assert_eq!(body(&a), body(&b));
        assert_eq!(body(&a)["spec"]["replicas"], 1);
        assert_eq!(bodies(), 1, "one body for two sites");
        w.sync(&a, 1).await;
        w.sync(&b, 1).await;
        assert_eq!(bodies(), 1, "a status is no body");
        let web = w.get(&of, HOME, "default", "web").unwrap();
        w.change(&web, |o| {
            o["spec"]["replicas"] = json!(2);
            o["metadata"]["generation"] = json!(2);
        })
        .await;
        w.wait(5).await;
        assert_eq!(body(&b)["spec"]["replicas"], 2);
        assert_eq!(bodies(), 2, "the log may still need the old one");
        w.wait(7200).await;
        let spare = || w.sites.tenancy.view().hub().spare_parts().len();
        assert_eq!(spare(), 0, "the old one is gone");
        assert_eq!(body(&b)["spec"]["replicas"], 2);
        let web = w.get(&of, HOME, "default", "web").unwrap();
        w.delete(&web).await;
        w.wait(1).await;
        for inbox in [&a, &b] {
            w.renew(inbox).await;
            w.sync(inbox, 0).await;
        }
        assert!(w.get(&of, HOME, "default", "web").is_none());
        w.wait(7200).await;
        assert_eq!(spare(), 0, "and so is the last one");
    });
}
