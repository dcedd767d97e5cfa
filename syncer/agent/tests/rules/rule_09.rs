//! Rule 9: Pods find the workspace's address and a token that is renewed before it ends.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use hanse_apis::sites::{Access, ManifestSpec};
use hanse_client::{Error, Refusal, Resource};
use hanse_projection::access::secret_name;
use hanse_projection::names::target;
use serde_json::{Value, json};

use super::{World, manifests, source, under_seeds};

fn secrets() -> Resource {
    Resource::new("", "v1", "secrets")
}

fn access(s: &mut ManifestSpec) {
    s.access = Access {
        server: "https://hub/clusters/c1".into(),
        authority: "PEM".into(),
        accounts: vec!["runner".into()],
        audience: "workspace".into(),
        seconds: 600,
    };
}

/// Answers TokenRequests as the hub does; `refuse` makes it refuse them.
fn mint(w: &World, name: &str, refuse: &Arc<Mutex<bool>>) {
    let path = format!("{}/{name}/token", manifests().path(""));
    let seams = w.seams.clone();
    let refuse = Arc::clone(refuse);
    w.hub.answer(&path, Box::new(move |request| {
        if *refuse.lock().unwrap() {
            let body = json!({"reason": "NotFound", "message": "serviceaccounts \"runner\" not found"});
            let body = body.to_string().into();
            return Err(Error::Refused(Box::new(Refusal::new(404, None, body))));
        }
        assert_eq!(request["metadata"]["name"], "runner");
        assert_eq!(request["spec"]["audiences"], json!(["workspace"]));
        let seconds = request["spec"]["expirationSeconds"].as_u64().unwrap();
        let ends = seams.clock.wall() + Duration::from_secs(seconds);
        let ends = hanse_wire::time::format(i64::try_from(ends.as_micros()).unwrap());
        Ok(json!({"status": {"token": format!("t{ends}"), "expirationTimestamp": ends}}))
    }));
}

async fn token(w: &World) -> Option<String> {
    let namespace = target(&[5; 32], &source("shop", "web")).namespace;
    let site = w.site.api();
    let found = site
        .find(&secrets(), &namespace, &secret_name("runner"))
        .await
        .unwrap()?;
    let packed = |key: &str| -> String {
        let text = found["data"][key].as_str().unwrap();
        String::from_utf8(hanse_wire::base64::decode(text).unwrap()).unwrap()
    };
    let config: Value = serde_json::from_str(&packed("kubeconfig")).unwrap();
    let server = &config["clusters"][0]["cluster"]["server"];
    assert_eq!(server, "https://hub/clusters/c1");
    assert_eq!(packed("ca.crt"), "PEM");
    Some(packed("token"))
}

#[test]
fn tokens_are_brought_renewed_and_taken_away() {
    under_seeds(|w| async move {
        w.site.serve(secrets(), "Secret", true);
        let m = w.place("shop", "web", json!({}), access).await;
        let refuse = Arc::new(Mutex::new(false));
        mint(&w, &m, &refuse);
        let agent = w.agent();
        w.wait(3).await;
        let first = token(&w).await.unwrap();
        assert_eq!(w.status(&m).await["state"], "Applied");
        w.wait(400).await;
        assert_eq!(token(&w).await.unwrap(), first, "it is good for long");
        w.wait(120).await;
        let second = token(&w).await.unwrap();
        assert_ne!(second, first, "renewed after four fifths");
        // A restart does not ask for another, and an absent hub takes nothing away.
        drop(agent);
        w.hub.cut(true);
        let _agent = w.agent();
        w.wait(550).await;
        assert_eq!(token(&w).await.unwrap(), second);
        w.hub.cut(false);
        w.wait(60).await;
        assert_ne!(token(&w).await.unwrap(), second);
        w.hub
            .api()
            .delete(&manifests(), "", &m, None)
            .await
            .unwrap();
        w.wait(20).await;
        assert!(token(&w).await.is_none());
    });
}

#[test]
fn without_a_token_the_cause_is_told() {
    under_seeds(|w| async move {
        w.site.serve(secrets(), "Secret", true);
        let m = w.place("shop", "web", json!({}), access).await;
        let refuse = Arc::new(Mutex::new(true));
        mint(&w, &m, &refuse);
        let _agent = w.agent();
        w.wait(3).await;
        let status = w.status(&m).await;
        assert_eq!(status["error"]["reason"], "NoToken", "{status}");
        let message = status["error"]["message"].as_str().unwrap();
        assert!(message.contains("serviceaccounts/runner"), "{message}");
        *refuse.lock().unwrap() = false;
        w.wait(60).await;
        assert_eq!(w.status(&m).await["state"], "Applied");
    });
}
