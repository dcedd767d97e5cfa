//! A vault over engines: what lies in them, what comes out, and how keys are changed.

#![allow(clippy::unwrap_used, reason = "helpers of tests")]

mod common;

use std::path::Path;
use std::sync::Arc;

use common::{Movable, config, got, names, on_disk, put, rules, secret, try_put};
use hanse_seams::{Seams, Simulation};
use hanse_store::suite::{self, Opening, Subject};
use hanse_store::{CommitError, Limits, MemoryStore, Range, ReadError, Retention, Revision, Store};
use hanse_store_redb::{Config, RedbStore};
use hanse_vault::{Configuration, Rewritten, Rules, Vault};

const SECRET: &str = "/secrets//root/default/word";
const WORD: &str = "\u{1}mellon-mellon-mellon";

fn aesgcm(keys: &[(&str, &String)]) -> String {
    let keys = keys
        .iter()
        .map(|(name, secret)| format!("{{name: {name}, secret: {secret}}}"));
    format!(
        "{{aesgcm: {{keys: [{}]}}}}",
        keys.collect::<Vec<_>>().join(", ")
    )
}

fn chosen(resources: &str, providers: &str) -> String {
    config(&format!(
        "[{{resources: [{resources}], providers: [{providers}]}}]"
    ))
}

async fn vault(inner: &Arc<dyn Store>, text: &str, seams: &Seams) -> Vault {
    Vault::open(Arc::clone(inner), rules(text, seams), names, seams).await
}

struct Sealed {
    inner: MemoryStore,
    text: String,
    seams: Seams,
}

impl Subject for Sealed {
    fn open(&mut self) -> Opening<'_> {
        Box::pin(async {
            let inner: Arc<dyn Store> = Arc::new(self.inner.reopen());
            Arc::new(vault(&inner, &self.text, &self.seams).await) as Arc<dyn Store>
        })
    }

    fn reopen(&mut self, _: Arc<dyn Store>) -> Opening<'_> {
        self.open()
    }
}

#[test]
fn an_engine_behind_a_vault_passes_the_suite() {
    let simulation = Simulation::new(1);
    let seams = simulation.seams();
    let text = chosen("'*.*'", &aesgcm(&[("one", &secret(&seams, 32))]));
    suite::run_all(64, |limits| {
        // What the suite sees stands in front of the vault, which keeps room for itself.
        let room = limits.max_bytes.min(hanse_vault::limits::SEALING_BYTES);
        let inner = Limits {
            max_bytes: limits.max_bytes + room,
            ..limits
        };
        Sealed {
            inner: MemoryStore::new(seams.clock.clone(), inner, Retention::FOREVER),
            text: text.clone(),
            seams: seams.clone(),
        }
    });
}

#[tokio::test(flavor = "multi_thread")]
async fn the_engines_files_never_hold_the_word() {
    let (seams, directory) = (Seams::real(), tempfile::tempdir().unwrap());
    let key = secret(&seams, 32);
    let text = chosen(
        "secrets",
        &format!("{}, {{identity: {{}}}}", aesgcm(&[("one", &key)])),
    );
    let open = || RedbStore::open(&Config::new(directory.path()), &seams).unwrap();
    let body = "\u{1}{\"apiVersion\":\"v1\",\"data\":{\"a\":\"mellon\"},\"kind\":\"Secret\"}";
    let part = "!part/00";
    {
        let redb = Arc::new(open());
        let inner: Arc<dyn Store> = redb.clone();
        let vault = vault(&inner, &text, &seams).await;
        put(&vault, SECRET, WORD).await;
        put(&vault, SECRET, "\u{1}mellon, once more").await;
        put(&vault, "/secrets//root/default/gone", WORD).await;
        put(&vault, part, body).await;
        put(
            &vault,
            "/configmaps//root/default/plain",
            "\u{1}plain-plain",
        )
        .await;
        assert_eq!(got(&vault, SECRET).await.unwrap(), "\u{1}mellon, once more");
        assert_eq!(got(&vault, part).await.unwrap(), body);
        let raw = got(&*inner, SECRET).await.unwrap();
        assert!(raw.starts_with("k8s:enc:aesgcm:v1:one:"), "{raw}");
        redb.close().await;
    }
    assert!(
        !on_disk(directory.path(), b"mellon"),
        "the word is in a file"
    );
    assert!(
        on_disk(directory.path(), b"plain-plain"),
        "this test finds nothing"
    );
    let redb = Arc::new(open());
    let inner: Arc<dyn Store> = redb.clone();
    let again = vault(&inner, &text, &seams).await;
    assert_eq!(got(&again, SECRET).await.unwrap(), "\u{1}mellon, once more");
    // The log holds what was there before, and both open.
    let page = again.log(Revision(0), 100).await.unwrap();
    let change = &page.commits[1].changes[0];
    assert_eq!(change.value.as_ref().unwrap(), "\u{1}mellon, once more");
    assert_eq!(change.previous.as_ref().unwrap().value, WORD);
    assert!(again.verify().await.unwrap().findings.is_empty());
    redb.close().await;
}

#[test]
fn values_cannot_be_exchanged() {
    let simulation = Simulation::new(2);
    let seams = simulation.seams();
    let done = simulation.run(async move {
        let inner: Arc<dyn Store> = Arc::new(MemoryStore::with_defaults(seams.clock.clone()));
        let text = chosen("secrets", &aesgcm(&[("one", &secret(&seams, 32))]));
        let vault = vault(&inner, &text, &seams).await;
        put(&vault, SECRET, WORD).await;
        let raw = inner.get(SECRET.into(), None).await.unwrap().unwrap().value;
        let op = hanse_store::Op {
            key: "/secrets//other/default/mine".into(),
            expect: hanse_store::Expect::Any,
            put: Some(raw),
            attachment: None,
        };
        let batch = hanse_store::Batch {
            ops: vec![op],
            ..Default::default()
        };
        inner.commit(batch).await.unwrap();
        let moved = got(&vault, "/secrets//other/default/mine")
            .await
            .unwrap_err();
        assert!(moved.contains("message authentication failed"), "{moved}");
        let findings = vault.verify().await.unwrap().findings;
        assert!(
            findings.len() == 1 && findings[0].contains("other/default/mine"),
            "{findings:?}"
        );
    });
    assert!(done.is_some());
}

#[test]
fn keys_are_changed_while_the_old_ones_still_open() {
    let simulation = Simulation::new(3);
    let seams = simulation.seams();
    let done = simulation.run(async move {
        let inner: Arc<dyn Store> = Arc::new(MemoryStore::with_defaults(seams.clock.clone()));
        let (one, two) = (secret(&seams, 32), secret(&seams, 16));
        let plain = chosen("secrets", "{identity: {}}");
        let first = chosen(
            "secrets",
            &format!("{}, {{identity: {{}}}}", aesgcm(&[("one", &one)])),
        );
        let both = chosen("secrets", &aesgcm(&[("two", &two), ("one", &one)]));
        let last = chosen("secrets", &aesgcm(&[("two", &two)]));
        let stale = |vault: &Vault| vault.is_stale(SECRET.into());
        let zero = vault(&inner, &plain, &seams).await;
        put(&zero, SECRET, WORD).await;
        assert_eq!(got(&*inner, SECRET).await.unwrap(), WORD);
        assert!(!stale(&zero).await.unwrap());
        // A kind is chosen: what lies there is plain still, and is written again by a pass.
        let vault_one = vault(&inner, &first, &seams).await;
        assert!(stale(&vault_one).await.unwrap());
        assert_eq!(got(&vault_one, SECRET).await.unwrap(), WORD);
        let pass = vault_one.rewrite(1000).await.unwrap();
        assert_eq!((pass.looked, pass.written, pass.failed), (1, 1, 0));
        assert!(!stale(&vault_one).await.unwrap());
        // A second key becomes the first one; a write brings the value under it.
        let vault_two = vault(&inner, &both, &seams).await;
        assert!(stale(&vault_two).await.unwrap());
        put(&vault_two, SECRET, WORD).await;
        assert!(
            got(&*inner, SECRET)
                .await
                .unwrap()
                .starts_with("k8s:enc:aesgcm:v1:two:")
        );
        assert_eq!(vault_two.rewrite(1000).await.unwrap().written, 0);
        // The old key goes. The present opens, and the past that it sealed is no more.
        let vault_three = vault(&inner, &last, &seams).await;
        assert_eq!(got(&vault_three, SECRET).await.unwrap(), WORD);
        let lost = vault_three.log(Revision(1), 100).await.unwrap_err();
        assert_eq!(lost, ReadError::Compacted { floor: Revision(3) });
        assert!(
            vault_three
                .log(Revision(3), 100)
                .await
                .unwrap()
                .commits
                .is_empty()
        );
        // Whoever forgets a key that is needed is told which.
        let vault_four = vault(&inner, &first, &seams).await;
        let error = got(&vault_four, SECRET).await.unwrap_err();
        assert!(error.contains("no matching key was found"), "{error}");
        // Back to plain.
        let back = format!("{{identity: {{}}}}, {}", aesgcm(&[("two", &two)]));
        let vault_five = vault(&inner, &chosen("secrets", &back), &seams).await;
        assert_eq!(vault_five.rewrite(1000).await.unwrap().written, 1);
        assert_eq!(got(&*inner, SECRET).await.unwrap(), WORD);
        // Without identity nothing plain is believed.
        let error = got(&vault_three, SECRET).await.unwrap_err();
        assert!(error.contains("no matching prefix found"), "{error}");
    });
    assert!(done.is_some());
}

#[test]
fn a_pass_is_no_faster_than_it_may() {
    let simulation = Simulation::new(5);
    let seams = simulation.seams();
    let clock = seams.clock.clone();
    let done = simulation.run(async move {
        let inner: Arc<dyn Store> = Arc::new(MemoryStore::with_defaults(seams.clock.clone()));
        for number in 0..600 {
            put(
                &*inner,
                &format!("/secrets//root/default/{number:03}"),
                "\u{1}x",
            )
            .await;
            put(
                &*inner,
                &format!("/configmaps//root/default/{number:03}"),
                "\u{1}x",
            )
            .await;
        }
        let both = format!(
            "{}, {{identity: {{}}}}",
            aesgcm(&[("one", &secret(&seams, 32))])
        );
        let vault = vault(&inner, &chosen("secrets", &both), &seams).await;
        let began = clock.monotonic();
        let pass = vault.rewrite(100).await.unwrap();
        let wanted = Rewritten {
            looked: 600,
            written: 600,
            failed: 0,
        };
        assert_eq!(pass, wanted);
        let took = clock.monotonic() - began;
        assert!(took.as_secs() == 6, "{took:?}");
    });
    assert!(done.is_some());
}

#[test]
fn rules_are_found_in_their_order() {
    let simulation = Simulation::new(4);
    let seams = simulation.seams();
    let done = simulation.run(async move {
        let inner: Arc<dyn Store> = Arc::new(MemoryStore::with_defaults(seams.clock.clone()));
        let key = |name: &str| aesgcm(&[(name, &secret(&seams, 32))]);
        let text = config(&format!(
            "[{{resources: [events], providers: [{{identity: {{}}}}]}},
              {{resources: [secrets, pandas.bears.example], providers: [{}]}},
              {{resources: ['*.apps'], providers: [{}]}},
              {{resources: ['*.'], providers: [{}]}},
              {{resources: ['*.*'], providers: [{}]}}]",
            key("own"),
            key("apps"),
            key("core"),
            key("all"),
        ));
        let vault = vault(&inner, &text, &seams).await;
        for (key, name) in [
            ("/events//c/n/x", ""),
            ("/secrets//c/n/x", "own"),
            ("bears.example/pandas/0abc/c/n/x", "own"),
            ("bears.example/others/0abc/c/n/x", "all"),
            ("apps/deployments//c/n/x", "apps"),
            ("/configmaps//c/n/x", "core"),
            ("!cursor/one", ""),
        ] {
            put(&vault, key, "12345678").await;
            let raw = got(&*inner, key).await.unwrap();
            let found = raw
                .strip_prefix("k8s:enc:aesgcm:v1:")
                .map_or("", |rest| rest.split(':').next().unwrap_or_default());
            assert_eq!(found, name, "{key}");
            assert_eq!(got(&vault, key).await.unwrap(), "12345678");
        }
        let all = Range {
            limit: 100,
            ..Range::default()
        };
        let page = vault.range(all).await.unwrap();
        assert!(page.entries.iter().all(|entry| entry.value == "12345678"));
    });
    assert!(done.is_some());
    let seams = simulation.seams();
    for (earlier, later, text) in [
        (
            "'*.'",
            "secrets",
            "resource \"secrets\" is masked by earlier rule \"*.\"",
        ),
        (
            "'*.*'",
            "a.b",
            "resource \"a.b\" is masked by earlier rule \"*.*\"",
        ),
        (
            "'*.b'",
            "a.b",
            "resource \"a.b\" is masked by earlier rule \"*.b\"",
        ),
        (
            "'*.*'",
            "'*.'",
            "resource \"*.\" is masked by earlier rule \"*.*\"",
        ),
    ] {
        let rule = |name: &str| format!("{{resources: [{name}], providers: [{{identity: {{}}}}]}}");
        let text_of = config(&format!("[{}, {}]", rule(earlier), rule(later)));
        let read = Configuration::read(Path::new("x"), text_of.as_bytes(), false).unwrap();
        let error = Rules::build(&read, &seams).err().unwrap().to_string();
        assert_eq!(error, format!("error while building transformers: {text}"));
    }
}

// === a plugin ===

fn kms(plugin: &common::plugin::Plugin) -> String {
    let endpoint = plugin.endpoint();
    format!("{{kms: {{apiVersion: v2, name: ours, endpoint: '{endpoint}', timeout: 1s}}}}")
}

#[tokio::test(flavor = "multi_thread")]
async fn a_plugin_wraps_seeds_and_its_keys_change() {
    let (seams, clock) = Movable::seams();
    let directory = tempfile::tempdir().unwrap();
    let mut plugin = common::plugin::Plugin::start(&directory.path().join("kms.sock"), &seams);
    let inner: Arc<dyn Store> = Arc::new(MemoryStore::with_defaults(seams.clock.clone()));
    let text = chosen("secrets", &kms(&plugin));
    let one = vault(&inner, &text, &seams).await;
    one.health().unwrap();
    for number in 0..20 {
        put(&one, &format!("/secrets//c/n/{number}"), WORD).await;
    }
    assert_eq!(got(&one, "/secrets//c/n/7").await.unwrap(), WORD);
    let raw = got(&*inner, "/secrets//c/n/7").await.unwrap();
    assert!(
        raw.starts_with("k8s:enc:kms:v2:ours:") && !raw.contains("mellon"),
        "{raw}"
    );
    // One seed for all of them, and known ones are not asked for.
    let asked = |plugin: &common::plugin::Plugin| {
        let state = plugin.state.lock();
        (state.encrypted, state.decrypted)
    };
    assert_eq!(asked(&plugin), (1, 0));
    // After a restart the seed is asked for once.
    let two = vault(&inner, &text, &seams).await;
    for number in 0..20 {
        assert_eq!(
            got(&two, &format!("/secrets//c/n/{number}")).await.unwrap(),
            WORD
        );
    }
    assert_eq!(asked(&plugin), (2, 1));
    // Another key: what was written is stale, and a pass brings it under the new one.
    assert!(!two.is_stale("/secrets//c/n/7".into()).await.unwrap());
    plugin.rotate("key-2");
    let three = vault(&inner, &text, &seams).await;
    assert!(three.is_stale("/secrets//c/n/7".into()).await.unwrap());
    assert_eq!(three.rewrite(100_000).await.unwrap().written, 20);
    assert!(!three.is_stale("/secrets//c/n/7".into()).await.unwrap());
    // Without the plugin: what is known is read, and written for three minutes.
    plugin.stop().await;
    assert_eq!(got(&three, "/secrets//c/n/7").await.unwrap(), WORD);
    put(&three, "/secrets//c/n/late", WORD).await;
    clock.forward(181);
    let refused = try_put(&three, "/secrets//c/n/too-late", WORD)
        .await
        .unwrap_err();
    assert!(
        matches!(&refused, CommitError::Refused(why) if why.contains("expired")),
        "{refused}"
    );
    put(&three, "/configmaps//c/n/plain", WORD).await;
    let cold = vault(&inner, &text, &seams).await;
    let ill = cold.health().unwrap_err();
    assert!(
        ill.contains("kms-provider-0") && ill.contains("Unavailable"),
        "{ill}"
    );
    let unread = got(&cold, "/secrets//c/n/7").await.unwrap_err();
    assert!(unread.contains("failed to decrypt DEK"), "{unread}");
    // It comes back, and is found by itself.
    plugin.resume();
    for _ in 0..100 {
        if cold.health().is_ok() {
            break;
        }
        tokio::time::sleep(std::time::Duration::from_millis(100)).await;
    }
    cold.health().unwrap();
    assert_eq!(got(&cold, "/secrets//c/n/7").await.unwrap(), WORD);
    put(&cold, "/secrets//c/n/again", WORD).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_ill_plugin_is_named_and_a_silent_one_is_not_waited_for() {
    let seams = Seams::real();
    let directory = tempfile::tempdir().unwrap();
    let plugin = common::plugin::Plugin::start(&directory.path().join("kms.sock"), &seams);
    let inner: Arc<dyn Store> = Arc::new(MemoryStore::with_defaults(seams.clock.clone()));
    let text = chosen("secrets", &kms(&plugin));
    plugin.state.lock().healthz = "locked".to_owned();
    let ill = vault(&inner, &text, &seams).await.health().unwrap_err();
    assert!(
        ill.contains("got unexpected healthz status: locked"),
        "{ill}"
    );
    plugin.state.lock().healthz = "ok".to_owned();
    plugin.state.lock().silent = true;
    let began = seams.clock.monotonic();
    let vault = vault(&inner, &text, &seams).await;
    let took = seams.clock.monotonic() - began;
    assert!(took.as_millis() >= 1000 && took.as_secs() < 5, "{took:?}");
    let ill = vault.health().unwrap_err();
    assert!(ill.contains("DeadlineExceeded"), "{ill}");
    let refused = try_put(&vault, SECRET, WORD).await.unwrap_err();
    assert!(matches!(refused, CommitError::Refused(_)), "{refused}");
}
