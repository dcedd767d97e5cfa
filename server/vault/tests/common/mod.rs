//! What the tests of the vault share: configurations with keys made at run time, a clock that can
//! be set, and a KMS plugin of our own.

#![allow(
    dead_code,
    clippy::unwrap_used,
    clippy::expect_used,
    reason = "helpers of tests, of which each uses some"
)]

pub mod plugin;

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use hanse_seams::{BoxFuture, Clock, Seams};
use hanse_store::{Batch, Committed, Expect, Op, Store};
use hanse_vault::{Configuration, Rules};

/// A key in base64, of as many bytes as wanted.
pub fn secret(seams: &Seams, bytes: usize) -> String {
    let mut key = vec![0; bytes];
    seams.rng.fill(&mut key);
    STANDARD.encode(key)
}

/// A configuration of these rules, in YAML's flow style.
pub fn config(rules: &str) -> String {
    format!(
        "apiVersion: apiserver.config.k8s.io/v1\nkind: EncryptionConfiguration\nresources: {rules}\n"
    )
}

pub fn rules(text: &str, seams: &Seams) -> Rules {
    let config = Configuration::read(Path::new("test"), text.as_bytes(), true);
    Rules::build(&config.unwrap(), seams).unwrap()
}

pub fn names(group: &str, kind: &str) -> Option<String> {
    (group.is_empty() && kind == "Secret").then(|| "secrets".to_owned())
}

pub async fn put(store: &dyn Store, key: &str, value: &str) -> Committed {
    try_put(store, key, value).await.unwrap()
}

pub async fn try_put(
    store: &dyn Store,
    key: &str,
    value: &str,
) -> Result<Committed, hanse_store::CommitError> {
    let op = Op {
        key: Bytes::copy_from_slice(key.as_bytes()),
        expect: Expect::Any,
        put: Some(Bytes::copy_from_slice(value.as_bytes())),
        attachment: None,
    };
    let batch = Batch {
        ops: vec![op],
        ..Batch::default()
    };
    store.commit(batch).await
}

/// The value of a key as a text.
pub async fn got(store: &dyn Store, key: &str) -> Result<String, String> {
    let entry = store
        .get(Bytes::copy_from_slice(key.as_bytes()), None)
        .await;
    let entry = entry.map_err(|error| error.to_string())?;
    let value = entry.ok_or("nothing")?.value;
    Ok(String::from_utf8_lossy(&value).into_owned())
}

/// Whether a word stands in any file below a directory.
pub fn on_disk(directory: &Path, word: &[u8]) -> bool {
    std::fs::read_dir(directory).unwrap().any(|entry| {
        let path = entry.unwrap().path();
        match path.is_dir() {
            true => on_disk(&path, word),
            false => {
                let bytes = std::fs::read(&path).unwrap();
                bytes.windows(word.len()).any(|window| window == word)
            }
        }
    })
}

/// The machine's clock, put forward by what a test says.
pub struct Movable {
    inner: Arc<dyn Clock>,
    seconds: AtomicU64,
}

impl Movable {
    pub fn seams() -> (Seams, Arc<Self>) {
        let real = Seams::real();
        let clock = Arc::new(Self {
            inner: real.clock.clone(),
            seconds: AtomicU64::new(0),
        });
        let seams = Seams {
            clock: clock.clone(),
            ..real
        };
        (seams, clock)
    }

    pub fn forward(&self, seconds: u64) {
        self.seconds.fetch_add(seconds, Ordering::SeqCst);
    }
}

impl Clock for Movable {
    fn monotonic(&self) -> Duration {
        self.inner.monotonic() + Duration::from_secs(self.seconds.load(Ordering::SeqCst))
    }

    fn wall(&self) -> Duration {
        self.inner.wall()
    }

    fn sleep(&self, duration: Duration) -> BoxFuture<()> {
        self.inner.sleep(duration)
    }
}
