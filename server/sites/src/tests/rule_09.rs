//! Rule 9: anything with a pod template can be given the workspace's address and a token.

use hanse_apis::sites::names;
use serde_json::{Value, json};

use super::{HOME, World, everything, play, things};

impl World {
    fn spec(&self, inbox: &str) -> Value {
        self.manifests(inbox)[0]["spec"].clone()
    }
}

#[test]
fn an_annotation_gives_pods_their_way() {
    play(|w| async move {
        let a = w.site("a", json!({})).await;
        w.placement("p", json!({"objects": everything()})).await;
        let of = w.deployment("web", 1).await;
        assert!(w.spec(&a).get("access").is_none());
        let web = w.get(&of, HOME, "default", "web").unwrap();
        let pods = json!({"spec": {"serviceAccountName": "runner", "containers": [{"name": "c"}]}});
        w.change(&web, |o| {
            o["spec"]["template"] = pods;
            o["metadata"]["annotations"] = json!({names::API_ACCESS_ANNOTATION: "true"});
        })
        .await;
        w.wait(1).await;
        let spec = w.spec(&a);
        assert_eq!(spec["access"]["accounts"], json!(["runner"]));
        assert_eq!(spec["access"]["seconds"], 3600);
        let server = spec["access"]["server"].as_str().unwrap();
        assert!(server.ends_with("/clusters/root"), "{server}");
        let pod = &spec["object"]["spec"]["template"]["spec"];
        assert_eq!(pod["containers"][0]["env"][0]["name"], "KUBECONFIG");
        let source = &pod["volumes"][0]["projected"]["sources"][0]["secret"]["name"];
        assert_eq!(source, "hanse-api.runner");
        assert!(
            !w.spec(&a).to_string().contains("eyJ"),
            "no token is kept here"
        );
    });
}

#[test]
fn a_rule_gives_it_to_any_kind_by_path() {
    play(|w| async move {
        let a = w.site("a", json!({})).await;
        w.rule(json!({
            "group": "example.com", "resource": "things", "podTemplates": ["spec.workers[].template"],
            "apiAccess": {"enabled": true, "audience": "api", "seconds": 900},
        }))
        .await;
        w.placement("p", json!({"objects": things()})).await;
        let worker = json!({"template": {"spec": {"containers": [{"name": "c"}]}}});
        w.thing("one", json!({"spec": {"workers": [worker]}})).await;
        let spec = w.spec(&a);
        let access = &spec["access"];
        assert_eq!(access["accounts"], json!(["default"]));
        assert_eq!(
            (&access["audience"], &access["seconds"]),
            (&json!("api"), &json!(900))
        );
        let pod = &spec["object"]["spec"]["workers"][0]["template"]["spec"];
        assert_eq!(pod["volumes"][0]["name"], "hanse-api");
    });
}
