//! Keys that a plugin wraps: KMS v2, as Kubernetes speaks it.
//!
//! Start at [`Kms`]. The plugin holds a key that never leaves it. Here a random seed is made and
//! handed to it once, to be sealed; every value is sealed with a key of its own that is derived
//! from the seed, and carries the sealed seed. When the plugin's status names another key, a new
//! seed is made. So writing never waits for the plugin, and reading only for seeds that have not
//! been seen. The invariant: values are sealed only while the last good status of the plugin is
//! young (`KMS_SEALING`), so that a rotation of its key is never overlooked for longer.

mod envelope;
mod grpc;
mod proto;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use hanse_seams::{Seams, Shutdown};
use parking_lot::Mutex;
use sha2::{Digest, Sha256};

use crate::cipher::{SEED, Seed};
use crate::limits::{KMS_POLL, KMS_POLL_UNHEALTHY, KMS_SEALING, KMS_SEEDS};
use envelope::{Envelope, Source};
use grpc::Channel;

/// Why a value does not open.
#[derive(Clone, Debug)]
pub(crate) enum Error {
    /// The plugin does not answer, or refuses.
    Plugin(String),
    /// The bytes are not what was sealed.
    Damaged(String),
}

/// What values are sealed with now.
struct Sealing {
    seed: Arc<Seed>,
    envelope: Envelope,
    /// On the monotonic clock: after this, nothing is sealed with it.
    until: Duration,
}

/// A seed that was opened, and when it was used last.
struct Known {
    seed: Arc<Seed>,
    used: u64,
}

#[derive(Default)]
struct Seeds {
    known: BTreeMap<[u8; 32], Known>,
    uses: u64,
}

/// A plugin. See the module's own words.
pub(crate) struct Kms {
    name: String,
    channel: Channel,
    seams: Seams,
    sealing: Mutex<Option<Sealing>>,
    seeds: Mutex<Seeds>,
    health: Mutex<Result<(), String>>,
}

impl Kms {
    /// A plugin behind a socket. Nothing is asked of it yet.
    pub(crate) fn new(name: &str, endpoint: &str, timeout: Duration, seams: &Seams) -> Self {
        Self {
            name: name.to_owned(),
            channel: Channel::new(endpoint, timeout, seams.clone()),
            seams: seams.clone(),
            sealing: Mutex::new(None),
            seeds: Mutex::default(),
            health: Mutex::new(Err("it has not been asked yet".to_owned())),
        }
    }

    /// What the last look at the plugin said.
    pub(crate) fn health(&self) -> Result<(), String> {
        self.health.lock().clone()
    }

    /// Asks for the status for ever, until `stop`; calls `rotated` when the plugin's key changed.
    pub(crate) async fn watch(self: Arc<Self>, stop: Shutdown, rotated: impl Fn() + Send + Sync) {
        loop {
            let pause = match self.health() {
                Ok(()) => KMS_POLL,
                Err(_) => KMS_POLL_UNHEALTHY,
            };
            tokio::select! {
                biased;
                () = stop.wait() => return,
                () = self.seams.clock.sleep(pause) => {}
            }
            if self.look().await {
                rotated();
            }
        }
    }

    /// Asks for the status once, and makes a new seed when the plugin's key is another. Answers
    /// whether it is one that replaces an older.
    pub(crate) async fn look(&self) -> bool {
        let looked = self.status().await;
        if let Err(why) = &looked {
            tracing::warn!(
                plugin = self.name,
                why,
                "kms plugin failed health check probe"
            );
        }
        let (rotated, health) = match looked {
            Ok(rotated) => (rotated, Ok(())),
            Err(why) => (false, Err(why)),
        };
        *self.health.lock() = health;
        rotated
    }

    async fn status(&self) -> Result<bool, String> {
        let name = &self.name;
        // The time begins before the plugin is asked: what it says may be old when it comes.
        let until = self.seams.clock.monotonic() + KMS_SEALING;
        let status = self.channel.status().await.map_err(|why| {
            format!(
                "failed to perform status section of the healthz check for KMS Provider {name}, \
                 error: {why}"
            )
        })?;
        let mut wrong = Vec::new();
        if status.healthz != "ok" {
            wrong.push(format!("got unexpected healthz status: {}", status.healthz));
        }
        if !matches!(status.version.as_str(), "v2" | "v2beta1") {
            let version = &status.version;
            wrong.push(format!("expected KMSv2 API version v2, got {version}"));
        }
        let rotated = match envelope::check_key_id(&status.key_id) {
            Err(why) => {
                wrong.push(format!("got invalid KMSv2 KeyID: {why}"));
                false
            }
            Ok(()) => self
                .renew(&status.key_id, until)
                .await
                .unwrap_or_else(|why| {
                    wrong.push(why);
                    false
                }),
        };
        match wrong.is_empty() {
            true => Ok(rotated),
            false => Err(format!(
                "kmsv2 Provider {name} is not healthy, error: {}",
                wrong.join(", ")
            )),
        }
    }

    /// Goes on with the present seed while the key is the same, else makes a new one.
    async fn renew(&self, key_id: &str, until: Duration) -> Result<bool, String> {
        let replaces = {
            let mut sealing = self.sealing.lock();
            match &mut *sealing {
                Some(now) if now.envelope.source.key_id == key_id => {
                    now.until = until;
                    return Ok(false);
                }
                before => before.is_some(),
            }
        };
        let mut bytes = [0; SEED];
        self.seams.rng.fill(&mut bytes);
        let failed = |why: String| format!("failed to rotate DEK, error: {why}");
        let uid = self.seams.rng.uuid_v4();
        let source = self.channel.encrypt(&bytes, &uid).await;
        let source = source.map_err(|why| failed(format!("failed to encrypt DEK: {why}")))?;
        if source.key_id != key_id {
            return Err(failed(
                "the plugin encrypted with another key than it states".into(),
            ));
        }
        let envelope = Envelope::new(source).map_err(failed)?;
        let seed = Seed::derived(&bytes).ok_or_else(|| failed("a seed too short".into()))?;
        let seed = Arc::new(seed);
        self.remember(envelope.source.hash(), &seed);
        *self.sealing.lock() = Some(Sealing {
            seed,
            envelope,
            until,
        });
        tracing::info!(plugin = self.name, replaces, "a new seed is sealed with");
        Ok(replaces)
    }

    /// Appends the sealed value, without the provider's prefix. Never waits.
    pub(crate) fn seal(&self, place: &[u8], plain: &[u8], out: &mut Vec<u8>) -> Result<(), String> {
        let sealing = self.sealing.lock();
        let Some(sealing) = &*sealing else {
            let why = self.health().err().unwrap_or_default();
            return Err(format!("no key of KMS Provider {}: {why}", self.name));
        };
        let now = self.seams.clock.monotonic();
        if now > sealing.until {
            let age = (now - sealing.until).as_secs();
            return Err(format!(
                "encryptedDEKSource of KMS Provider {} expired {age}s ago",
                self.name
            ));
        }
        let mut body = Vec::with_capacity(plain.len() + 128);
        let sealed = sealing.seed.seal(&*self.seams.rng, place, plain, &mut body);
        sealed.map_err(str::to_owned)?;
        sealing.envelope.write(&body, out);
        Ok(())
    }

    /// The plain value; asks the plugin for seeds that are not known.
    pub(crate) async fn open(&self, place: &[u8], sealed: &[u8]) -> Result<Vec<u8>, Error> {
        let (source, body) = envelope::read(sealed).map_err(Error::Damaged)?;
        let hash = source.hash();
        let seed = match self.known(&hash) {
            Some(seed) => seed,
            None => self.ask(&source, hash).await?,
        };
        let plain = seed.open(place, body);
        plain.map_err(|why| Error::Damaged(why.to_owned()))
    }

    async fn ask(&self, source: &Source, hash: [u8; 32]) -> Result<Arc<Seed>, Error> {
        let uid = self.seams.rng.uuid_v4();
        let bytes = self.channel.decrypt(source, &uid).await;
        let bytes =
            bytes.map_err(|why| Error::Plugin(format!("failed to decrypt DEK, error: {why}")))?;
        let seed = match source.derived {
            true => Seed::derived(&bytes),
            false => Seed::key(&bytes),
        };
        let seed =
            seed.ok_or_else(|| Error::Damaged("the opened DEK has no key's length".into()))?;
        let seed = Arc::new(seed);
        self.remember(hash, &seed);
        Ok(seed)
    }

    /// Whether a value would be sealed in another way now.
    pub(crate) fn is_stale(&self, sealed: &[u8]) -> bool {
        let sealing = self.sealing.lock();
        let (Some(now), Ok((source, _))) = (&*sealing, envelope::read(sealed)) else {
            return false;
        };
        now.envelope.source.key_id != source.key_id || !source.derived
    }

    fn known(&self, hash: &[u8; 32]) -> Option<Arc<Seed>> {
        let mut seeds = self.seeds.lock();
        seeds.uses += 1;
        let uses = seeds.uses;
        let known = seeds.known.get_mut(hash)?;
        known.used = uses;
        Some(Arc::clone(&known.seed))
    }

    fn remember(&self, hash: [u8; 32], seed: &Arc<Seed>) {
        let mut seeds = self.seeds.lock();
        if seeds.known.len() >= KMS_SEEDS {
            let mut uses: Vec<u64> = seeds.known.values().map(|known| known.used).collect();
            uses.sort_unstable();
            let middle = uses.get(uses.len() / 2).copied().unwrap_or_default();
            seeds.known.retain(|_, known| known.used > middle);
        }
        seeds.uses += 1;
        let (seed, used) = (Arc::clone(seed), seeds.uses);
        seeds.known.insert(hash, Known { seed, used });
    }
}

/// SHA-256 over parts, each with its length before it.
fn digest<'a>(parts: impl IntoIterator<Item = &'a [u8]>) -> [u8; 32] {
    let mut hash = Sha256::new();
    for part in parts {
        hash.update((part.len() as u64).to_le_bytes());
        hash.update(part);
    }
    hash.finalize().into()
}
