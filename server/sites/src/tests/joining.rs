//! Joining and forgetting a site.

use hanse_apis::sites::names;
use hanse_auth::token::unverified_cluster;
use rcgen::{CertificateParams, KeyPair};
use serde_json::{Value, json};

use super::{HOME, everything, play};

fn request(user: &str, cluster_uid: &str) -> Value {
    let key = KeyPair::generate().unwrap();
    let params = CertificateParams::default();
    let pem = params.serialize_request(&key).unwrap().pem().unwrap();
    json!({
        "apiVersion": "certificates.k8s.io/v1", "kind": "CertificateSigningRequest",
        "metadata": {"name": hanse_projection::content_hash(&json!(pem)),
                     "annotations": {names::CLUSTER_UID_ANNOTATION: cluster_uid}},
        "spec": {"request": hanse_wire::base64::encode(pem.as_bytes()), "username": user,
                 "signerName": names::SIGNER, "usages": ["client auth"]},
    })
}

#[test]
fn a_token_joins_one_cluster_once() {
    play(|w| async move {
        let ids = w.sites.ids.clone();
        let of = w.sites.tenancy.view().resources().clone();
        let site = json!({
            "apiVersion": "sites.hanse.dev/v1alpha1", "kind": "Site",
            "metadata": {"name": "edge"}, "spec": {},
        });
        w.create(HOME, &ids.sites, site).await;
        let secret = |name: &str, site: &str| {
            json!({
                "apiVersion": "v1", "kind": "Secret", "type": names::JOIN_SECRET_TYPE,
                "metadata": {"name": name, "namespace": "default",
                             "annotations": {names::SITE_ANNOTATION: site}},
            })
        };
        w.create(HOME, &of.secrets, secret("join", "edge")).await;
        w.create(HOME, &of.secrets, secret("wrong", "nowhere"))
            .await;
        w.wait(3).await;
        let wrong = w.get(&of.secrets, HOME, "default", "wrong").unwrap();
        assert!(wrong.annotation(crate::join::ERROR_ANNOTATION).is_some());
        let join = w.get(&of.secrets, HOME, "default", "join").unwrap();
        let packed = join.text(&["data", "kubeconfig"]).unwrap().into_owned();
        let config: Value =
            serde_json::from_slice(&hanse_wire::base64::decode(&packed).unwrap()).unwrap();
        let token = config["users"][0]["user"]["token"].as_str().unwrap();
        let inbox = unverified_cluster(token).unwrap();
        let account = w
            .list(&of.service_accounts, &inbox)
            .iter()
            .filter_map(|a| a["metadata"]["name"].as_str().map(str::to_owned))
            .find(|n| n.starts_with("bootstrap-"))
            .unwrap();
        let user = format!("system:serviceaccount:default:{account}");
        let ask = |user: String, uid: &'static str| {
            let (w, ids, inbox) = (&w, &ids, &inbox);
            async move {
                let value = request(&user, uid);
                let name = value["metadata"]["name"].as_str().unwrap().to_owned();
                w.create(inbox, &ids.requests, value).await;
                w.wait(1).await;
                w.get(&ids.requests, inbox, "", &name).unwrap().value()["status"].clone()
            }
        };
        let granted = ask(user.clone(), "uid-1").await;
        assert_eq!(granted["conditions"][0]["type"], "Approved", "{granted}");
        let pem = granted["certificate"].as_str().unwrap();
        let pem = String::from_utf8(hanse_wire::base64::decode(pem).unwrap()).unwrap();
        let (_, pem) = x509_parser::pem::parse_x509_pem(pem.as_bytes()).unwrap();
        let certificate = pem.parse_x509().unwrap();
        let subject = certificate.subject().to_string();
        assert!(
            subject.contains(&format!("CN=system:hanse:site:{inbox}")),
            "{subject}"
        );
        let again = ask(user, "uid-1").await;
        assert_eq!(
            again["conditions"][0]["type"], "Denied",
            "a token is good once"
        );
        let syncer = format!("system:hanse:site:{inbox}");
        let renewal = ask(syncer.clone(), "uid-1").await;
        assert_eq!(renewal["conditions"][0]["type"], "Approved");
        let other = ask(syncer, "uid-2").await;
        let why = other["conditions"][0]["message"].as_str().unwrap();
        assert!(why.contains("joined by cluster uid-1"), "{why}");
        let stranger = ask("somebody".into(), "uid-1").await;
        assert_eq!(stranger["conditions"][0]["type"], "Denied");
    });
}

#[test]
fn forgetting_a_site_frees_everything() {
    play(|w| async move {
        let a = w.site("a", json!({})).await;
        w.placement("p", json!({"objects": everything()})).await;
        let of = w.deployment("web", 1).await;
        assert_eq!(w.manifests(&a).len(), 1);
        let site = w.get(&w.sites.ids.sites, HOME, "", "a").unwrap();
        w.delete(&site).await;
        w.wait(3).await;
        assert!(w.get(&w.sites.ids.sites, HOME, "", "a").is_none());
        assert!(w.manifests(&a).is_empty());
        let bindings = w
            .sites
            .tenancy
            .view()
            .resources()
            .cluster_role_bindings
            .clone();
        assert!(w.list(&bindings, &a).is_empty(), "nobody gets in any more");
        let web = w.get(&of, HOME, "default", "web").unwrap();
        w.delete(&web).await;
        w.wait(1).await;
        assert!(w.get(&of, HOME, "default", "web").is_none());
    });
}
