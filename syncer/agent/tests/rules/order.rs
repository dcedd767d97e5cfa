//! Kinds come in order and go in the reverse order; what cannot be applied holds nobody back.

use std::sync::{Arc, Mutex};

use hanse_apis::sites::Source;
use hanse_client::{Error, Refusal, Resource};
use serde_json::json;

use super::{World, manifests, same, source, under_seeds};

fn maps() -> Resource {
    Resource::new("", "v1", "configmaps")
}

fn secrets() -> Resource {
    Resource::new("", "v1", "secrets")
}

fn crds() -> Resource {
    Resource::new("apiextensions.k8s.io", "v1", "customresourcedefinitions")
}

fn serve(w: &World) {
    w.site.serve(maps(), "ConfigMap", true);
    w.site.serve(secrets(), "Secret", true);
    w.site.serve(crds(), "CustomResourceDefinition", false);
}

async fn send(w: &World, of: &Resource, kind: &str, namespace: &str, name: &str) -> String {
    let version = match of.group.as_str() {
        "" => "v1".to_owned(),
        group => format!("{group}/v1"),
    };
    let object = json!({"apiVersion": version, "kind": kind, "metadata": {"name": name}});
    let source = Source {
        group: of.group.clone(),
        resource: of.plural.clone(),
        kind: kind.into(),
        ..source(namespace, name)
    };
    w.send(source, object, same).await
}

/// The last parts of the paths of writes to the site, from now on.
fn listen(w: &World, method: &'static str) -> Arc<Mutex<Vec<String>>> {
    let said = Arc::new(Mutex::new(Vec::new()));
    let heard = Arc::clone(&said);
    w.site.intercept(Some(Box::new(move |r| {
        let parts: Vec<&str> = r.path.rsplit('/').take(2).collect();
        if r.method == method && parts.get(1) != Some(&"namespaces") {
            heard
                .lock()
                .unwrap()
                .push(format!("{}/{}", parts[1], parts[0]));
        }
        None
    })));
    said
}

#[test]
fn what_others_need_comes_first_and_goes_last() {
    under_seeds(|w| async move {
        serve(&w);
        let said = listen(&w, "PATCH");
        let mut all = vec![w.place("shop", "web", json!({}), same).await];
        all.push(send(&w, &secrets(), "Secret", "shop", "key").await);
        all.push(send(&w, &maps(), "ConfigMap", "shop", "map").await);
        all.push(send(&w, &crds(), "CustomResourceDefinition", "", "things.x.io").await);
        let agent = w.agent();
        w.wait(5).await;
        let order = std::mem::take(&mut *said.lock().unwrap());
        assert_eq!(order.len(), 4, "{order:?}");
        assert_eq!(order[0], "customresourcedefinitions/things.x.io");
        assert_eq!(order[3], "deployments/web", "{order:?}");
        for name in &all {
            assert_eq!(w.status(name).await["state"], "Applied");
        }
        let said = listen(&w, "DELETE");
        for name in &all {
            let hub = w.hub.api();
            hub.delete(&manifests(), "", name, None).await.unwrap();
        }
        w.wait(30).await;
        let order = std::mem::take(&mut *said.lock().unwrap());
        assert_eq!(order.len(), 4, "{order:?}");
        assert_eq!(order[0], "deployments/web", "{order:?}");
        assert_eq!(
            order[3], "customresourcedefinitions/things.x.io",
            "{order:?}"
        );
        assert_eq!(agent.objects(), 0);
    });
}

#[test]
fn what_cannot_be_applied_holds_nobody_back() {
    under_seeds(|w| async move {
        serve(&w);
        w.site.intercept(Some(Box::new(|r| {
            let bad = r.method == "PATCH" && r.path.ends_with("/configmaps/map");
            let body = json!({"reason": "Invalid", "message": "no"}).to_string();
            bad.then(|| Error::Refused(Box::new(Refusal::new(422, None, body.into()))))
        })));
        let map = send(&w, &maps(), "ConfigMap", "shop", "map").await;
        let web = w.place("shop", "web", json!({}), same).await;
        let _agent = w.agent();
        w.wait(2).await;
        assert_eq!(w.status(&map).await["state"], "Failed");
        assert_eq!(w.status(&web).await["state"], "Applied");
    });
}

#[test]
fn an_end_that_takes_long_is_not_waited_for() {
    under_seeds(|w| async move {
        serve(&w);
        let map = send(&w, &maps(), "ConfigMap", "shop", "map").await;
        let web = w.place("shop", "web", json!({}), same).await;
        let _agent = w.agent();
        w.wait(3).await;
        let live = w.below("shop", "web").await.unwrap();
        let namespace = live["metadata"]["namespace"].as_str().unwrap().to_owned();
        let at = (namespace.as_str(), "web", "");
        let held = json!({"metadata": {"finalizers": ["example.com/slow"]}});
        let site = w.site.api();
        let merge = hanse_client::PatchKind::Merge;
        let deployments = super::deployments();
        site.patch(&deployments, at, merge, &held).await.unwrap();
        for name in [&map, &web] {
            let hub = w.hub.api();
            hub.delete(&manifests(), "", name, None).await.unwrap();
        }
        w.wait(10).await;
        let there = site.find(&maps(), &namespace, "map").await.unwrap();
        assert!(there.is_some(), "the Deployment may still read it");
        w.wait(40).await;
        let there = site.find(&maps(), &namespace, "map").await.unwrap();
        assert!(there.is_none(), "but not for ever");
    });
}
