//! What Kubernetes' own code makes of our configurations and of what we seal: the same.
//!
//! The oracle is the Go program `e2e/oracles/atrest`; its path comes in `HANSE_ORACLE_ATREST`.
//! Without it the tests say so and pass.

#![allow(clippy::unwrap_used, clippy::panic, reason = "helpers of tests")]

mod common;

use std::io::{BufRead, BufReader, Write};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::Arc;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use common::{config, got, names, put, rules, secret};
use hanse_seams::Seams;
use hanse_store::{MemoryStore, Store};
use hanse_vault::{Configuration, Rules, Vault};
use serde_json::{Value, json};

fn program() -> Option<String> {
    let path = std::env::var("HANSE_ORACLE_ATREST").ok();
    if path.is_none() {
        eprintln!("skipped: HANSE_ORACLE_ATREST names no oracle (see e2e/oracles/atrest)");
    }
    path
}

struct Oracle {
    child: Child,
    answers: BufReader<std::process::ChildStdout>,
}

impl Oracle {
    fn start(path: &str, arguments: &[&str]) -> Self {
        let mut command = Command::new(path);
        command
            .args(arguments)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped());
        let mut child = command.spawn().unwrap();
        let answers = BufReader::new(child.stdout.take().unwrap());
        Self { child, answers }
    }

    fn ask(&mut self, question: &Value) -> Value {
        let input = self.child.stdin.as_mut().unwrap();
        writeln!(input, "{question}").unwrap();
        let mut line = String::new();
        self.answers.read_line(&mut line).unwrap();
        serde_json::from_str(&line).unwrap_or_else(|e| panic!("{e} in {line:?} for {question}"))
    }
}

impl Drop for Oracle {
    fn drop(&mut self) {
        drop(self.child.stdin.take());
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// What we seal opens there, and what is sealed there opens here, in the same words where not.
#[tokio::test(flavor = "multi_thread")]
async fn values_travel_both_ways() {
    let Some(path) = program() else { return };
    let seams = Seams::real();
    let directory = tempfile::tempdir().unwrap();
    let socket = directory.path().join("kms.sock");
    let _plugin = Oracle::start(&path, &["plugin", socket.to_str().unwrap()]);
    for _ in 0..200 {
        if socket.exists() {
            break;
        }
        tokio::time::sleep(std::time::Duration::from_millis(50)).await;
    }
    let keyed = |name: &str, bytes| {
        let secret = secret(&seams, bytes);
        format!("{{{name}: {{keys: [{{name: a-key, secret: {secret}}}]}}}}")
    };
    let kms = format!(
        "{{kms: {{apiVersion: v2, name: go, endpoint: 'unix://{}', timeout: 3s}}}}",
        socket.display()
    );
    let providers = [
        keyed("aesgcm", 16),
        keyed("aesgcm", 24),
        keyed("aesgcm", 32),
        keyed("aescbc", 32),
        keyed("aescbc", 16),
        kms,
    ];
    for provider in providers {
        let text = config(&format!(
            "[{{resources: [secrets], providers: [{provider}]}}]"
        ));
        let file = directory.path().join("config.yaml");
        std::fs::write(&file, &text).unwrap();
        let file = file.to_str().unwrap();
        let inner: Arc<dyn Store> = Arc::new(MemoryStore::with_defaults(seams.clock.clone()));
        let vault = Vault::open(Arc::clone(&inner), rules(&text, &seams), names, &seams).await;
        vault.health().unwrap();
        let (mut open, mut seal) = (
            Oracle::start(&path, &["open", file]),
            Oracle::start(&path, &["seal", file]),
        );
        for (place, plain) in [
            ("a", "x".repeat(1000)),
            ("b", "y".to_owned()),
            ("c", "z".repeat(16)),
        ] {
            let key = format!("/secrets//root/default/{place}");
            put(&vault, &key, &plain).await;
            let raw = inner
                .get(key.clone().into(), None)
                .await
                .unwrap()
                .unwrap()
                .value;
            let question = |value: &[u8]| json!({"resource": "secrets", "key": key, "value": STANDARD.encode(value)});
            let theirs = open.ask(&question(&raw));
            let wanted = json!({"value": STANDARD.encode(&plain), "stale": false});
            assert_eq!(theirs, wanted, "{provider}");
            let sealed = seal.ask(&question(plain.as_bytes()));
            let sealed = STANDARD.decode(sealed["value"].as_str().unwrap()).unwrap();
            put_raw(&*inner, &key, &sealed).await;
            assert_eq!(got(&vault, &key).await.unwrap(), plain, "{provider}");
            // A seed of theirs is another, under the same key of the plugin: no reason to rewrite.
            assert!(
                !vault.is_stale(key.clone().into()).await.unwrap(),
                "{provider}"
            );
        }
        vault.close();
    }
}

async fn put_raw(store: &dyn Store, key: &str, value: &[u8]) {
    let op = hanse_store::Op {
        key: bytes::Bytes::copy_from_slice(key.as_bytes()),
        expect: hanse_store::Expect::Any,
        put: Some(bytes::Bytes::copy_from_slice(value)),
        attachment: None,
    };
    let batch = hanse_store::Batch {
        ops: vec![op],
        ..Default::default()
    };
    store.commit(batch).await.unwrap();
}

/// Rules that are wrong in one way each, or in several.
fn wrong(seams: &Seams) -> Vec<String> {
    let good = secret(seams, 32);
    let key = |secret: &str| format!("{{aesgcm: {{keys: [{{name: k, secret: {secret}}}]}}}}");
    let identity = "{identity: {}}";
    let rule = |resources: &str, providers: &str| {
        format!("{{resources: [{resources}], providers: [{providers}]}}")
    };
    let kms = |fields: &str| rule("secrets", &format!("{{kms: {{{fields}}}}}"));
    let mut rules = vec![
        String::new(),
        rule("", identity),
        rule("secrets", ""),
        rule("", ""),
        rule("secrets, secrets", identity),
        rule("secrets, '*.'", identity),
        rule("secrets, '*.*'", identity),
        rule("a.b, '*.b'", identity),
        rule("a.b, a.b, '*.b'", identity),
        rule("Secrets", identity),
        rule("'*'", identity),
        rule("apiserveripinfo", identity),
        rule("serviceipallocations", identity),
        rule("servicenodeportallocations", identity),
        rule("events.events.k8s.io", identity),
        rule("deployments.extensions", identity),
        rule("'secrets.*'", identity),
        rule("secrets", &key(&secret(seams, 17))),
        rule("secrets", &key("no-base64")),
        rule("secrets", &key("''")),
        rule("secrets", "{aesgcm: {keys: []}}"),
        rule("secrets", "{aescbc: {keys: []}}"),
        rule("secrets", "{secretbox: {keys: []}}"),
        rule(
            "secrets",
            &format!("{{aescbc: {{keys: [{{secret: {good}}}]}}}}"),
        ),
        rule(
            "secrets",
            &format!(
                "{{secretbox: {{keys: [{{name: x, secret: {}}}]}}}}",
                secret(seams, 16)
            ),
        ),
        kms("apiVersion: v2, name: x"),
        kms("apiVersion: v2, endpoint: 'unix:///x'"),
        kms("apiVersion: v2, name: 'a:b', endpoint: 'unix:///x'"),
        kms("apiVersion: v2, name: x, endpoint: 'http://x'"),
        kms("apiVersion: v2, name: x, endpoint: 'unix:///x', cachesize: 5"),
        kms("apiVersion: v3, name: x, endpoint: 'unix:///x'"),
        kms("apiVersion: v1, name: x, endpoint: 'unix:///x', cachesize: 0"),
    ];
    let plugin = "{kms: {apiVersion: v2, name: x, endpoint: 'unix:///nowhere'}}";
    rules.push(rule("secrets", &format!("{plugin}, {plugin}")));
    rules.push(format!(
        "{}, {}",
        rule("'*.'", identity),
        rule("secrets", identity)
    ));
    rules.push(format!(
        "{}, {}",
        rule("'*.*'", identity),
        rule("a.b", identity)
    ));
    rules.push(format!(
        "{}, {}",
        rule("'*.b'", identity),
        rule("a.b", identity)
    ));
    rules
}

#[tokio::test(flavor = "multi_thread")]
async fn wrong_configurations_are_told_in_the_same_words() {
    let Some(path) = program() else { return };
    let seams = Seams::real();
    let mut oracle = Oracle::start(&path, &["check"]);
    for rules in wrong(&seams) {
        let text = config(&format!("[{rules}]"));
        let theirs = oracle.ask(&json!({"config": text}));
        let read = Configuration::read(Path::new("FILE"), text.as_bytes(), false);
        let built = read.and_then(|config| Rules::build(&config, &seams));
        let ours = built
            .err()
            .map(|error| error.to_string())
            .unwrap_or_default();
        assert_eq!(
            ours,
            theirs["error"].as_str().unwrap_or_default(),
            "{rules}"
        );
        assert!(!ours.is_empty(), "{rules}");
    }
    // What is right there is right here.
    let right = format!(
        "[{{resources: [secrets, 'a.b'], providers: [{{aesgcm: {{keys: [{{name: k, secret: {}}}]}}}}, {{identity: {{}}}}]}}]",
        secret(&seams, 24)
    );
    let text = config(&right);
    assert!(oracle.ask(&json!({"config": text})).get("error").is_none());
    rules(&text, &seams);
}
