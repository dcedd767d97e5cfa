//! Rule 11: whatever cannot be applied says why, on every kind, and clears itself.

use hanse_apis::sites::names;
use hanse_cache::ResourceId;
use serde_json::json;

use super::{HOME, everything, play};

#[test]
fn a_refusal_is_told_on_the_object_in_an_event_and_in_the_projection() {
    play(|w| async move {
        let a = w.site("a", json!({})).await;
        w.placement("p", json!({"objects": everything()})).await;
        let of = w.deployment("web", 1).await;
        let manifest = w
            .sites
            .tenancy
            .view()
            .list_cluster(&w.sites.ids.manifests, &a)[0]
            .clone();
        w.change(&manifest, |m| {
            m["status"] = json!({"state": "Incompatible", "error": {
                "reason": "Incompatible", "message": ".spec.x: field not declared in schema",
                "since": "2026-11-21T00:00:00Z",
            }});
        })
        .await;
        w.wait(1).await;
        let web = w.get(&of, HOME, "default", "web").unwrap();
        assert_eq!(
            web.annotation(names::STATUS_ANNOTATION).unwrap(),
            "0/1 a: Incompatible: .spec.x: field not declared in schema"
        );
        let events = w.list(&w.sites.ids.events, HOME);
        assert_eq!(events.len(), 1);
        assert_eq!(events[0]["reason"], "Incompatible");
        let projection = &w.list(&w.sites.ids.projections, HOME)[0];
        assert_eq!(projection["status"]["conditions"][0]["status"], "False");
        w.sync(&a, 1).await;
        let web = w.get(&of, HOME, "default", "web").unwrap();
        assert_eq!(
            web.annotation(names::STATUS_ANNOTATION).unwrap(),
            "1/1",
            "it clears itself"
        );
    });
}

#[test]
fn a_kind_without_status_says_it_too_and_what_is_too_large_stays_above() {
    play(|w| async move {
        let a = w.site("a", json!({})).await;
        let maps = json!([{"resource": "configmaps"}]);
        w.placement("p", json!({"objects": maps})).await;
        let of = ResourceId::new("", "configmaps", "");
        let map = |size: usize| {
            json!({
                "apiVersion": "v1", "kind": "ConfigMap", "data": {"text": "x".repeat(size)},
                "metadata": {"name": "big", "namespace": "default"},
            })
        };
        w.create(HOME, &of, map(1 << 20)).await;
        w.wait(2).await;
        assert!(w.manifests(&a).is_empty());
        let get = || w.get(&of, HOME, "default", "big").unwrap();
        let said = get()
            .annotation(names::STATUS_ANNOTATION)
            .unwrap()
            .into_owned();
        assert!(said.starts_with("0/1 a: TooLarge: "), "{said}");
        assert!(get().value().get("status").is_none());
        let events = w.list(&w.sites.ids.events, HOME);
        assert_eq!(
            (events.len(), &events[0]["reason"]),
            (1, &json!("TooLarge"))
        );
        let projection = &w.list(&w.sites.ids.projections, HOME)[0];
        let detail = &projection["status"]["sites"][0];
        assert_eq!(detail["state"], "Failed");
        assert!(detail["error"]["since"].is_string());
        let version = w.sites.tenancy.view().hub().version();
        w.wait(60).await;
        assert_eq!(w.sites.tenancy.view().hub().version(), version, "said once");
        w.change(&get(), |o| o["data"] = json!({"text": "small"}))
            .await;
        w.wait(1).await;
        w.sync(&a, 0).await;
        assert_eq!(get().annotation(names::STATUS_ANNOTATION).unwrap(), "1/1");
    });
}

#[test]
fn what_is_outside_of_namespaces_travels_where_the_site_takes_it() {
    play(|w| async move {
        let a = w.site("a", json!({})).await;
        let b = w
            .site("b", json!({"clusterScoped": ["issuers.certs.test"]}))
            .await;
        let issuers = json!([{"group": "certs.test", "resource": "issuers"}]);
        w.placement("p", json!({"objects": issuers})).await;
        let of = ResourceId::new("certs.test", "issuers", "abc");
        let issuer = json!({
            "apiVersion": "certs.test/v1", "kind": "Issuer", "metadata": {"name": "everywhere"},
        });
        w.create(HOME, &of, issuer).await;
        w.wait(2).await;
        assert!(w.manifests(&a).is_empty());
        assert_eq!(w.manifests(&b).len(), 1);
        let projection = &w.list(&w.sites.ids.projections, HOME)[0];
        let detail = projection["status"]["sites"].as_array().unwrap();
        let refused = detail.iter().find(|site| site["site"] == "a").unwrap();
        assert_eq!(refused["error"]["reason"], "NotAccepted");
        let why = refused["error"]["message"].as_str().unwrap();
        assert!(why.contains("takes no issuers.certs.test"), "{why}");
    });
}

#[test]
fn the_line_is_one_line_of_at_most_256_bytes() {
    play(|w| async move {
        let a = w.site("a", json!({})).await;
        w.placement("p", json!({"objects": everything()})).await;
        let of = w.deployment("web", 1).await;
        let view = w.sites.tenancy.view();
        let manifest = view.list_cluster(&w.sites.ids.manifests, &a)[0].clone();
        let message = "é\n".repeat(2000);
        w.change(&manifest, |m| {
            m["status"] = json!({"state": "Failed", "error": {
                "reason": "Rejected", "message": message, "since": "2026-11-21T00:00:00Z",
            }});
        })
        .await;
        w.wait(1).await;
        let web = w.get(&of, HOME, "default", "web").unwrap();
        let line = web.annotation(names::STATUS_ANNOTATION).unwrap();
        assert!(line.len() <= 256 && !line.contains('\n'), "{line}");
        assert!(line.starts_with("0/1 a: Rejected: é "), "{line}");
    });
}
