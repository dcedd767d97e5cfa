//! A body that was made from a Secret is encrypted at rest where Secrets are.

use std::path::Path;
use std::sync::Arc;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use hanse_cache::ResourceId;
use hanse_seams::Simulation;
use hanse_store::{MemoryStore, Range, Store};
use hanse_vault::{Configuration, Rules, Vault};
use serde_json::json;

use super::{HOME, play_over};

const WORD: &str = "bWVsbG9uLW1lbGxvbi1tZWxsb24=";

/// Everything that the engine holds and has held, as text.
async fn engine(inner: &dyn Store) -> String {
    let all = Range {
        limit: 100_000,
        ..Range::default()
    };
    let mut bytes = Vec::new();
    for entry in inner.range(all).await.unwrap().entries {
        bytes.extend_from_slice(&entry.key);
        bytes.extend_from_slice(&entry.value);
    }
    for commit in inner.log(inner.floor(), 100_000).await.unwrap().commits {
        for change in commit.changes {
            bytes.extend_from_slice(change.value.as_deref().unwrap_or_default());
            let previous = change.previous.map(|previous| previous.value);
            bytes.extend_from_slice(previous.as_deref().unwrap_or_default());
        }
    }
    String::from_utf8_lossy(&bytes).into_owned()
}

#[test]
fn a_secrets_body_is_never_plain_in_the_engine() {
    let machine = Simulation::new(3);
    let seams = machine.seams();
    let mut key = [0; 32];
    seams.rng.fill(&mut key);
    let text = format!(
        "{{apiVersion: apiserver.config.k8s.io/v1, kind: EncryptionConfiguration, resources: \
         [{{resources: [secrets], providers: [{{aesgcm: {{keys: [{{name: one, secret: {}}}]}}}}]}}]}}",
        STANDARD.encode(key)
    );
    let config = Configuration::read(Path::new("x"), text.as_bytes(), false).unwrap();
    let rules = Rules::build(&config, &seams).unwrap();
    let inner: Arc<dyn Store> = Arc::new(MemoryStore::with_defaults(seams.clock.clone()));
    let names = |group: &str, kind: &str| {
        (group.is_empty() && kind == "Secret").then(|| "secrets".to_owned())
    };
    let (front, front_seams) = (Arc::clone(&inner), seams.clone());
    let vault = machine.run(async move { Vault::open(front, rules, names, &front_seams).await });
    play_over(machine, Arc::new(vault.unwrap()), |w| async move {
        let a = w.site("a", json!({})).await;
        let of = json!([{"group": "", "resource": "secrets"}]);
        w.placement("p", json!({"objects": of})).await;
        let secrets = ResourceId::new("", "secrets", "");
        let secret = json!({"apiVersion": "v1", "kind": "Secret", "type": "Opaque",
            "metadata": {"name": "word", "namespace": "default"}, "data": {"word": WORD}});
        w.create(HOME, &secrets, secret).await;
        let plain = json!({"apiVersion": "apps/v1", "kind": "Deployment",
            "metadata": {"name": "web", "namespace": "default", "generation": 1},
            "spec": {"replicas": 1, "note": "plain-plain"}});
        w.create(
            HOME,
            &ResourceId::new("apps", "deployments", "identity"),
            plain,
        )
        .await;
        w.wait(3).await;
        let manifests = w.manifests(&a);
        let shown = serde_json::to_string(&manifests).unwrap();
        assert!(shown.contains(WORD), "the Secret was not placed: {shown}");
        let held = engine(&*inner).await;
        assert!(held.contains("plain-plain"), "this test finds nothing");
        assert!(held.contains("k8s:enc:aesgcm:v1:one:"));
        assert!(
            !held.contains(WORD),
            "the Secret's word is plain in the engine"
        );
    });
}
