//! Rule 7: the locator stands in the name, a label and an annotation, and each is restored from
//! the others; names of different tenants never meet.

use hanse_apis::sites::{Source, names};
use hanse_client::PatchKind;
use hanse_projection::names::{locator_line, target};
use serde_json::{Value, json};

use super::{INBOX, deployments, namespaces, same, source, under_seeds};

/// Whether an object carries all marks of a locator.
fn marked(object: &Value, of: &Source) -> bool {
    let meta = &object["metadata"];
    let t = target(&[5; 32], of);
    meta["labels"][names::SITE_LABEL] == INBOX
        && meta["labels"][names::LOCATOR_LABEL] == t.locator.as_str()
        && meta["annotations"][names::LOCATOR_ANNOTATION] == locator_line(of).as_str()
}

#[test]
fn a_lost_mark_is_restored_from_the_others() {
    under_seeds(|w| async move {
        let _agent = w.agent();
        w.place("shop", "web", json!({"replicas": 1}), same).await;
        w.wait(5).await;
        let of = source("shop", "web");
        let ns = target(&[5; 32], &of).namespace;
        assert!(marked(&w.below("shop", "web").await.unwrap(), &of));
        let lost = [
            json!({"labels": {names::LOCATOR_LABEL: null}}),
            json!({"labels": {names::SITE_LABEL: null}}),
            json!({"annotations": {names::LOCATOR_ANNOTATION: null}}),
            json!({"labels": {names::LOCATOR_LABEL: null},
                   "annotations": {names::LOCATOR_ANNOTATION: null}}),
            json!({"labels": null, "annotations": null}),
        ];
        for meta in lost {
            let patch = json!({"metadata": meta});
            let site = w.site.api();
            let at = (ns.as_str(), "web", "");
            site.patch(&deployments(), at, PatchKind::Merge, &patch)
                .await
                .unwrap();
            w.wait(10).await;
            let live = w.below("shop", "web").await.unwrap();
            assert!(marked(&live, &of), "{patch} {live}");
        }
    });
}

#[test]
fn a_namespace_that_lost_its_marks_does_not_stay_lost() {
    under_seeds(|w| async move {
        let _agent = w.agent();
        w.place("shop", "web", json!({"replicas": 1}), same).await;
        w.wait(5).await;
        let ns = target(&[5; 32], &source("shop", "web")).namespace;
        let mut before = w.site.api().get(&namespaces(), "", &ns).await.unwrap();
        // What the namespace began with is the site's: taken off, it stays off.
        let labels = before["metadata"]["labels"].as_object_mut().unwrap();
        let level = labels.remove("pod-security.kubernetes.io/enforce");
        assert_eq!(level, Some(json!("baseline")));
        for meta in [json!({"labels": null}), json!({"annotations": null})] {
            let patch = json!({"metadata": meta});
            let site = w.site.api();
            let at = ("", ns.as_str(), "");
            site.patch(&namespaces(), at, PatchKind::Merge, &patch)
                .await
                .unwrap();
            w.wait(10).await;
            let live = site.get(&namespaces(), "", &ns).await.unwrap();
            for member in ["labels", "annotations"] {
                assert_eq!(
                    live["metadata"][member], before["metadata"][member],
                    "{patch}"
                );
            }
        }
    });
}

#[test]
fn equal_names_of_different_workspaces_stand_side_by_side() {
    under_seeds(|w| async move {
        let _agent = w.agent();
        let clusters = ["c1", "c2", "c1shop"];
        for (n, cluster) in clusters.into_iter().enumerate() {
            w.place("shop", "web", json!({"replicas": n}), |spec| {
                spec.source.cluster = cluster.into();
                spec.target = target(&[5; 32], &spec.source);
            })
            .await;
        }
        w.wait(10).await;
        for (n, cluster) in clusters.into_iter().enumerate() {
            let mut of = source("shop", "web");
            of.cluster = cluster.into();
            let t = target(&[5; 32], &of);
            assert!(!t.namespace.contains("shop") && !t.namespace.contains(cluster));
            let site = w.site.api();
            let live = site
                .get(&deployments(), &t.namespace, &t.name)
                .await
                .unwrap();
            assert_eq!(live["spec"]["replicas"], n);
            assert!(marked(&live, &of), "{live}");
        }
    });
}
