//! The vault: a store that seals what goes into another store and opens what comes out.
//!
//! Start at [`Vault::open`]. Sealing happens on the caller's task before a batch is handed over,
//! without waiting, so batches keep their order; opening happens when something is read. Observers
//! of this process get what was written without opening it again: the plain value travels beside
//! the sealed one. The invariant: everything that the inner store is given of a chosen kind is
//! sealed, and is bound to its key.
//!
//! Values of the past whose key the configuration no longer names are gone, as after a compaction:
//! watches from there get 410 and list again. Values of the present are an error that says so.

use std::sync::Arc;

use arc_swap::ArcSwap;
use bytes::Bytes;
use hanse_seams::{BoxFuture, Seams, Shutdown};
use hanse_store::{
    Attachment, Batch, Commit, CommitError, Committed, Entry, Limits, LogPage, Observer, Page,
    Range, ReadError, Revision, Store, Verified,
};
use tokio::sync::watch;

use crate::SEALED;
use crate::limits::SEALING_BYTES;
use crate::rules::{Provider, Rules, Unopened, is_stale, open};

/// Under this prefix lie parts that objects share; what they were made from, their content tells.
const PARTS: &[u8] = b"!part/";

/// The most findings of one verification.
const FINDINGS_MAX: usize = 1000;

/// The plural of a kind of a group, where it is known: a shared part says only its kind.
pub type Names = fn(group: &str, kind: &str) -> Option<String>;

/// See the module's own words. Cheap to clone.
#[derive(Clone)]
pub struct Vault {
    pub(crate) shared: Arc<Shared>,
}

pub(crate) struct Shared {
    pub(crate) inner: Arc<dyn Store>,
    pub(crate) rules: ArcSwap<Rules>,
    pub(crate) names: Names,
    pub(crate) seams: Seams,
    /// Counts the changes of what values are sealed with.
    pub(crate) changed: watch::Sender<u64>,
    /// Ends what watches the plugins of the present rules.
    pub(crate) watching: parking_lot::Mutex<Shutdown>,
}

/// The plain form of what was sealed, and what else the committer attached.
struct Plain {
    value: Bytes,
    attachment: Option<Attachment>,
}

impl Vault {
    /// Puts rules before a store, and asks the plugins that they name for their first status.
    /// A plugin that is not there yet is asked again; until then what it sealed cannot be read.
    pub async fn open(inner: Arc<dyn Store>, rules: Rules, names: Names, seams: &Seams) -> Self {
        let vault = Self {
            shared: Arc::new(Shared {
                inner,
                rules: ArcSwap::from_pointee(rules),
                names,
                seams: seams.clone(),
                changed: watch::Sender::new(0),
                watching: parking_lot::Mutex::new(Shutdown::new()),
            }),
        };
        for plugin in vault.shared.rules.load_full().plugins() {
            plugin.look().await;
        }
        vault.watch_plugins();
        vault
    }

    /// Asks the present plugins for their status from now on, and no longer those before them.
    pub(crate) fn watch_plugins(&self) {
        let stop = Shutdown::new();
        std::mem::replace(&mut *self.shared.watching.lock(), stop.clone()).trigger();
        for plugin in self.shared.rules.load().plugins() {
            let (plugin, changed) = (Arc::clone(plugin), self.shared.changed.clone());
            let rotated = move || changed.send_modify(|count| *count += 1);
            let watch = plugin.watch(stop.clone(), rotated);
            self.shared.seams.spawn("kms-status", watch);
        }
    }

    /// Stops asking plugins: the vault is not used any more.
    pub fn close(&self) {
        self.shared.watching.lock().trigger();
    }

    /// Whether all plugins are well; else what the others say. What `/readyz` asks.
    ///
    /// # Errors
    /// The plugins that are not well, each with its reason.
    pub fn health(&self) -> Result<(), String> {
        self.shared.rules.load().health()
    }
}

// === which rules a value has ===

/// The group and resource that a key or, for a part, its plain value names.
fn resource_of(key: &[u8], plain: &[u8], names: Names) -> Option<(String, String)> {
    if key.starts_with(PARTS) {
        // Behind the format byte stands the object's JSON.
        let text = |name: &str| hanse_json::scan::find_str(plain.get(1..)?, &[name]);
        let (version, kind) = (text("apiVersion")?, text("kind")?);
        let group = version.split_once('/').map_or("", |(group, _)| group);
        let resource = names(group, &kind).unwrap_or_else(|| plural(&kind));
        return Some((group.to_owned(), resource));
    }
    let (group, resource) = key_resource(key)?;
    Some((group.to_owned(), resource.to_owned()))
}

/// The group and resource that an object's key names; `None` for what is no object.
fn key_resource(key: &[u8]) -> Option<(&str, &str)> {
    let key = std::str::from_utf8(key).ok()?;
    let mut parts = key.split('/');
    let (group, resource) = (parts.next()?, parts.next().unwrap_or_default());
    (!key.starts_with('!')).then_some((group, resource))
}

/// Kubernetes' guess at the resource of a kind.
fn plural(kind: &str) -> String {
    let kind = kind.to_lowercase();
    match kind.as_bytes() {
        [.., b's'] => format!("{kind}es"),
        [rest @ .., b'y'] => format!("{}ies", String::from_utf8_lossy(rest)),
        _ => format!("{kind}s"),
    }
}

impl Shared {
    fn seal(&self, key: &[u8], plain: &[u8]) -> Result<Option<Bytes>, String> {
        let rules = self.rules.load();
        let Some((group, resource)) = resource_of(key, plain, self.names) else {
            return Ok(None);
        };
        rules.seal(rules.of(&group, &resource), key, plain)
    }

    /// The providers that may have sealed a value.
    pub(crate) fn providers(&self, key: &[u8], value: &[u8]) -> Vec<Arc<Provider>> {
        let rules = self.rules.load();
        if key.starts_with(PARTS) {
            // What a sealed part was made from is inside.
            return match value.starts_with(SEALED) {
                true => rules.all(),
                false => Vec::new(),
            };
        }
        key_resource(key).map_or(Vec::new(), |(group, name)| rules.of(group, name).to_vec())
    }

    /// The plain value, or the text that names what does not open.
    pub(crate) async fn opened(&self, key: &[u8], value: &Bytes) -> Result<Bytes, Unopened> {
        if key.starts_with(b"!") && !key.starts_with(PARTS) {
            return Ok(value.clone());
        }
        let opened = open(&self.providers(key, value), key, value).await;
        opened.map_err(|error| {
            let key = String::from_utf8_lossy(key);
            match error {
                Unopened::NoKey(why) => Unopened::NoKey(format!("{key}: {why}")),
                Unopened::Damaged(why) => Unopened::Damaged(format!("{key}: {why}")),
                Unopened::Unavailable(why) => Unopened::Unavailable(format!("{key}: {why}")),
            }
        })
    }

    /// Whether a value lies in another form than it would get now.
    pub(crate) fn is_stale(&self, key: &[u8], value: &[u8], plain: &[u8]) -> bool {
        let rules = self.rules.load();
        resource_of(key, plain, self.names)
            .is_some_and(|(group, resource)| is_stale(rules.of(&group, &resource), value))
    }

    async fn open_entries(&self, entries: &mut [Entry], past: bool) -> Result<(), ReadError> {
        for entry in entries {
            let opened = self.opened(&entry.key, &entry.value).await;
            entry.value = opened.map_err(|error| self.read_error(error, past))?;
        }
        Ok(())
    }

    fn read_error(&self, error: Unopened, past: bool) -> ReadError {
        match error {
            Unopened::NoKey(_) if past => ReadError::Compacted {
                floor: self.inner.revision(),
            },
            error => ReadError::Unavailable(error.to_string().into()),
        }
    }

    async fn open_commit(&self, commit: &mut Commit) -> Result<(), Unopened> {
        for change in &mut commit.changes {
            if let Some(value) = &mut change.value {
                *value = self.opened(&change.key, value).await?;
            }
            if let Some(previous) = &mut change.previous {
                previous.value = self.opened(&change.key, &previous.value).await?;
            }
        }
        Ok(())
    }

    /// Opens whole commits. Those whose key is gone end the page, or are skipped as compacted.
    async fn open_log(&self, mut page: LogPage) -> Result<LogPage, ReadError> {
        let mut lost = None;
        for (place, commit) in page.commits.iter_mut().enumerate() {
            match self.open_commit(commit).await {
                Ok(()) => {}
                Err(Unopened::NoKey(_)) if place == 0 || lost.is_some() => {
                    lost = Some(commit.revision);
                }
                Err(Unopened::NoKey(_)) => {
                    page.commits.truncate(place);
                    page.more = true;
                    return Ok(page);
                }
                Err(error) => return Err(self.read_error(error, false)),
            }
        }
        match lost {
            Some(floor) => Err(ReadError::Compacted { floor }),
            None => Ok(page),
        }
    }

    /// Names every value that does not open.
    async fn verify(&self) -> Result<Verified, ReadError> {
        let mut verified = self.inner.verify().await?;
        let revision = self.inner.revision();
        let mut start = Bytes::new();
        loop {
            let range = Range {
                start,
                end: None,
                at: Some(revision),
                limit: crate::limits::REWRITE_PAGE,
            };
            let page = self.inner.range(range).await?;
            for entry in &page.entries {
                if let Err(why) = self.opened(&entry.key, &entry.value).await
                    && verified.findings.len() < FINDINGS_MAX
                {
                    verified.findings.push(why.to_string());
                }
            }
            match page.entries.last() {
                Some(last) if page.more => start = [&last.key[..], b"\0"].concat().into(),
                _ => return Ok(verified),
            }
        }
    }
}

// === the store ===

/// Hands commits on with plain values.
struct Opened(Arc<dyn Observer>);

impl Observer for Opened {
    fn committed(&self, commits: &[Commit]) {
        let changes = commits.iter().flat_map(|commit| &commit.changes);
        let mut attached = changes.filter_map(|change| change.attachment.as_ref());
        if !attached.any(|any| any.is::<Plain>()) {
            return self.0.committed(commits);
        }
        let mut commits = commits.to_vec();
        let changes = commits.iter_mut().flat_map(|commit| &mut commit.changes);
        for change in changes {
            let attached = change.attachment.take();
            match attached
                .as_ref()
                .and_then(|any| any.downcast_ref::<Plain>())
            {
                Some(plain) => {
                    change.value = Some(plain.value.clone());
                    change.attachment = plain.attachment.clone();
                }
                None => change.attachment = attached,
            }
        }
        self.0.committed(&commits);
    }
}

impl Store for Vault {
    fn limits(&self) -> Limits {
        let Limits {
            max_keys,
            max_bytes,
        } = self.shared.inner.limits();
        let room = SEALING_BYTES.min(max_bytes / 2);
        Limits {
            max_keys,
            max_bytes: max_bytes - room,
        }
    }

    fn revision(&self) -> Revision {
        self.shared.inner.revision()
    }

    fn floor(&self) -> Revision {
        self.shared.inner.floor()
    }

    fn failure(&self) -> Option<Arc<str>> {
        self.shared.inner.failure()
    }

    fn attach(&self, observer: Arc<dyn Observer>) -> Revision {
        self.shared.inner.attach(Arc::new(Opened(observer)))
    }

    fn commit(&self, mut batch: Batch) -> BoxFuture<Result<Committed, CommitError>> {
        if let Err(error) = batch.validate(&self.limits()) {
            return Box::pin(std::future::ready(Err(error)));
        }
        for op in &mut batch.ops {
            let Some(plain) = &op.put else { continue };
            match self.shared.seal(&op.key, plain) {
                Ok(None) => {}
                Ok(Some(sealed)) => {
                    let (value, attachment) = (plain.clone(), op.attachment.take());
                    op.attachment = Some(Arc::new(Plain { value, attachment }));
                    op.put = Some(sealed);
                }
                Err(why) => {
                    let refused = CommitError::Refused(why.into());
                    return Box::pin(std::future::ready(Err(refused)));
                }
            }
        }
        self.shared.inner.commit(batch)
    }

    fn get(&self, key: Bytes, at: Option<Revision>) -> BoxFuture<Result<Option<Entry>, ReadError>> {
        let shared = Arc::clone(&self.shared);
        Box::pin(async move {
            let mut found = shared.inner.get(key, at).await?;
            shared
                .open_entries(found.as_mut_slice(), at.is_some())
                .await?;
            Ok(found)
        })
    }

    fn range(&self, range: Range) -> BoxFuture<Result<Page, ReadError>> {
        let shared = Arc::clone(&self.shared);
        Box::pin(async move {
            let latest = shared.inner.revision();
            let past = range.at.is_some_and(|at| at < latest);
            let mut page = shared.inner.range(range).await?;
            shared.open_entries(&mut page.entries, past).await?;
            Ok(page)
        })
    }

    fn log(&self, after: Revision, limit: usize) -> BoxFuture<Result<LogPage, ReadError>> {
        let shared = Arc::clone(&self.shared);
        Box::pin(async move {
            let page = shared.inner.log(after, limit).await?;
            shared.open_log(page).await
        })
    }

    fn verify(&self) -> BoxFuture<Result<Verified, ReadError>> {
        let shared = Arc::clone(&self.shared);
        Box::pin(async move { shared.verify().await })
    }

    fn is_stale(&self, key: Bytes) -> BoxFuture<Result<bool, ReadError>> {
        let shared = Arc::clone(&self.shared);
        Box::pin(async move {
            // Of kinds that were not chosen there is nothing to read for it.
            let chosen = |(group, name)| !shared.rules.load().of(group, name).is_empty();
            if !key.starts_with(PARTS) && !key_resource(&key).is_some_and(chosen) {
                return Ok(false);
            }
            let Some(entry) = shared.inner.get(key, None).await? else {
                return Ok(false);
            };
            let plain = shared.opened(&entry.key, &entry.value).await;
            let plain = plain.map_err(|error| shared.read_error(error, false))?;
            Ok(shared.is_stale(&entry.key, &entry.value, &plain))
        })
    }

    fn compact(&self, to: Revision) -> BoxFuture<Result<(), ReadError>> {
        self.shared.inner.compact(to)
    }
}

impl std::fmt::Debug for Vault {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Vault")
    }
}
