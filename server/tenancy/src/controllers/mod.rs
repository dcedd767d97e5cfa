//! The loop that brings tenancy right after every change: one queue, fair over workspaces.
//!
//! Start with [`Controllers::start`]. An event becomes keys (`route`), a key is looked at through
//! one function from the present to writes (the modules below), and the writes go in one commit
//! with preconditions. Nothing polls: what is left undone waits for the event that changes it.
//! Invariant: a key with nothing to do writes nothing, so every chain of events ends.

mod binding;
mod bound_crd;
mod deletion;
mod export;
mod logical_cluster;
mod rbac;
mod route;
mod workspace;

#[cfg(test)]
pub(crate) use bound_crd::UNUSED_MAX;
pub use route::{Key, Kind};

use crate::tenancy::Tenancy;
use hanse_cache::{CommitError, DocumentError, Object, Write};
use hanse_reconcile::{Counts, Outcome, Queue, Rate};
use hanse_seams::{Shutdown, Task};
use parking_lot::Mutex;
use serde_json::Value;
use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

/// Workers of the queue.
const WORKERS: usize = 4;
/// Events taken at once.
const BATCH: usize = 1024;

/// What a look at a key wants done.
#[derive(Default)]
pub struct Step {
    /// Writes of one commit.
    pub writes: Vec<Write>,
    /// Look again after a while even if nothing changes.
    pub again: Option<Duration>,
}

impl Step {
    /// Nothing to do.
    #[must_use]
    pub fn done() -> Step {
        Step::default()
    }

    /// These writes.
    #[must_use]
    pub fn write(writes: Vec<Write>) -> Step {
        Step {
            writes,
            again: None,
        }
    }
}

/// Why a look at a key failed; it comes back later.
#[derive(Debug, thiserror::Error)]
pub enum StepError {
    /// The store.
    #[error(transparent)]
    Commit(#[from] CommitError),
    /// A tree that is no object.
    #[error(transparent)]
    Document(#[from] DocumentError),
}

/// The reconcilers of tenancy.
#[derive(Clone)]
pub struct Controllers {
    tenancy: Arc<Tenancy>,
    queue: Queue<Key>,
    /// Logical clusters on their way out: any deletion in them is worth a look.
    ending: Arc<Mutex<BTreeSet<Arc<str>>>>,
}

impl Controllers {
    /// Makes the reconcilers; nothing runs yet.
    #[must_use]
    pub fn new(tenancy: Arc<Tenancy>) -> Controllers {
        let queue = Queue::new(tenancy.maker().seams().clone(), Rate::default());
        Controllers {
            tenancy,
            queue,
            ending: Arc::default(),
        }
    }

    /// Answers the figures of the queue.
    pub fn counter(&self) -> impl Fn() -> Counts + Send + use<> {
        let queue = self.queue.clone();
        move || queue.counts()
    }

    /// Looks at everything once, then follows every event until `stop`.
    pub fn start(&self, stop: &Shutdown) -> Vec<Task> {
        let seams = self.tenancy.maker().seams().clone();
        let mut cursor = self
            .tenancy
            .view()
            .hub()
            .subscribe_all(self.tenancy.view().hub().version());
        self.scan();
        let (this, ended) = (self.clone(), stop.clone());
        let feed = seams.spawn("tenancy-events", async move {
            loop {
                let batch = tokio::select! {
                    biased;
                    () = ended.wait() => return,
                    batch = cursor.next_batch(BATCH) => batch,
                };
                match batch {
                    Ok(events) => events.iter().for_each(|event| this.route(event)),
                    Err(error) => {
                        tracing::warn!(%error, "events were missed, looking at everything");
                        let hub = this.tenancy.view().hub();
                        cursor = hub.subscribe_all(hub.version());
                        this.scan();
                    }
                }
            }
        });
        let this = self.clone();
        let mut tasks = hanse_reconcile::run(&seams, &self.queue, WORKERS, stop, move |key| {
            let this = this.clone();
            async move { this.work(key).await }
        });
        tasks.push(feed);
        tasks
    }

    async fn work(&self, key: Key) -> Outcome {
        match self.look(&key).await {
            Ok(Some(delay)) => Outcome::Again(delay),
            Ok(None) => Outcome::Done,
            Err(StepError::Commit(CommitError::Conflict { .. })) => {
                // Somebody was faster; the present is looked at again at once.
                Outcome::Again(Duration::ZERO)
            }
            Err(error) => {
                tracing::warn!(?key, %error, "will be tried again");
                Outcome::Retry
            }
        }
    }

    async fn look(&self, key: &Key) -> Result<Option<Duration>, StepError> {
        let step = match key.kind {
            Kind::Workspace => self.workspace(key)?,
            Kind::LogicalCluster => self.logical_cluster(key)?,
            Kind::Export => self.export(key)?,
            Kind::BindingsOf => self.bindings_of(key),
            Kind::Binding => self.binding(key)?,
            Kind::Unbound => self.waiting(key, false),
            Kind::Leaving => self.waiting(key, true),
            Kind::Secret => self.exports_of(key),
            Kind::BoundCrd => self.bound_crd(key),
            Kind::Labels => self.labels(key)?,
            Kind::SlicesOf => self.slices_of(key),
            Kind::Slice => self.slice(key)?,
            Kind::Partition => self.slices_in(key),
            Kind::Type => self.workspace_type(key)?,
            Kind::BindingsOfRole => self.bindings_of_role(key),
            Kind::Role => self.role(key)?,
            Kind::RoleBinding => self.role_binding(key)?,
            Kind::Aggregation => self.aggregation(key)?,
        };
        if !step.writes.is_empty() {
            self.tenancy.commit(step.writes).await?;
        }
        Ok(step.again)
    }

    /// The write that turns `old` into `value`: nothing if it is the same, the deletion if it is
    /// on its way out and nothing holds it any more.
    fn change(&self, old: &Object, value: &Value) -> Result<Option<Write>, StepError> {
        if *value == old.value() {
            return Ok(None);
        }
        let held = value["metadata"]["finalizers"]
            .as_array()
            .is_some_and(|f| !f.is_empty());
        if old.is_deleting() && !held {
            return Ok(Some(crate::Maker::delete(old)));
        }
        Ok(Some(self.tenancy.maker().update(old, value)?))
    }
}

/// Removes a finalizer from a tree, and the list with the last one.
fn drop_finalizer(value: &mut Value, name: &str) {
    let Some(meta) = value["metadata"].as_object_mut() else {
        return;
    };
    let Some(list) = meta.get_mut("finalizers").and_then(Value::as_array_mut) else {
        return;
    };
    list.retain(|f| f != name);
    if list.is_empty() {
        meta.remove("finalizers");
    }
}

/// Finalizers of an object other than one.
fn other_finalizers(value: &Value, name: &str) -> usize {
    let list = value["metadata"]["finalizers"]
        .as_array()
        .map(Vec::as_slice)
        .unwrap_or_default();
    list.iter().filter(|f| *f != name).count()
}

/// Marks a tree as deleted at `now`.
fn mark_deleted(value: &mut Value, now: &str) {
    value["metadata"]["deletionTimestamp"] = now.into();
    value["metadata"]["deletionGracePeriodSeconds"] = 0.into();
}

/// Strings of a list in a tree.
fn strings(value: &Value) -> Vec<String> {
    let list = value.as_array().map(Vec::as_slice).unwrap_or_default();
    list.iter()
        .filter_map(|v| Some(v.as_str()?.to_owned()))
        .collect()
}
