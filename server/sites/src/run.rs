//! One queue for all of it, fed by the hub's events.
//!
//! Start at [`Sites::run`]. At a start everything that stands is looked at once; from then on only
//! what an event concerns. Invariant: a turn's writes carry the versions that it read, so a turn
//! on an old picture commits nothing and is taken again.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use hanse_apis::sites::{GROUP, Source, names};
use hanse_auth::authority::Authority;
use hanse_auth::token::Signer;
use hanse_cache::{
    ClusterName, CommitError, DocumentError, Event, Object, ObjectKey, PartRule, ReadError,
    ResourceId, Scope, SparePart,
};
use hanse_reconcile::{Counts, Outcome, Queue, Rate};
use hanse_seams::{Seams, Shutdown};
use hanse_tenancy::Tenancy;
use parking_lot::Mutex;

use crate::compare::Trees;
use crate::facts::Facts;
use crate::follow::Follows;
use crate::ids::Ids;
use crate::limits::{BODIES_KEPT, COUNT_PAUSE, EVENTS, NEWS_SECONDS, WORKERS};
use crate::picture::Picture;
use crate::placement::{Failures, Inherited};
use crate::rules::{self, Ready};
use crate::turn::Turn;
use crate::{certificates, inbox, join, object, placement, site};

/// The bodies of Manifests: kept once for each content, however many sites get it.
pub const PARTS: &[PartRule] = &[PartRule {
    group: GROUP,
    resource: "manifests",
    path: &["spec", "object"],
}];

/// What a turn is about.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Key {
    /// A Site.
    Site(ClusterName, Arc<str>),
    /// A Secret that asks for a bootstrap kubeconfig.
    Join(ClusterName, Arc<str>, Arc<str>),
    /// A certificate request in an inbox.
    Request(ClusterName, Arc<str>),
    /// A Placement's decision.
    Placement(ClusterName, Arc<str>),
    /// A Placement whose count of objects may have changed.
    Count(ClusterName, Arc<str>),
    /// Every Placement: the Sites changed.
    Placements,
    /// Every object that a Placement selects or has placed.
    Spread(ClusterName, Arc<str>),
    /// Every object that is sent to an inbox.
    Inbox(ClusterName),
    /// A ProjectionRule.
    Rule(ClusterName, Arc<str>),
    /// One object of a tenant: group, resource, identity, logical cluster, namespace, name.
    Object([Arc<str>; 6]),
    /// Bodies that no Manifest needs any more.
    Bodies,
}

impl hanse_reconcile::Key for Key {
    fn class(&self) -> Arc<str> {
        match self {
            Self::Site(cluster, _)
            | Self::Join(cluster, ..)
            | Self::Request(cluster, _)
            | Self::Placement(cluster, _)
            | Self::Count(cluster, _)
            | Self::Spread(cluster, _)
            | Self::Rule(cluster, _)
            | Self::Inbox(cluster) => Arc::clone(cluster.as_arc()),
            Self::Object(parts) => Arc::clone(&parts[3]),
            Self::Placements | Self::Bodies => Arc::from(""),
        }
    }
}

impl Key {
    /// The key of an object.
    #[must_use]
    pub fn of(key: &ObjectKey) -> Self {
        let text = |t: &str| Arc::from(t);
        let of = &key.resource;
        Self::Object([
            text(of.group()),
            text(of.resource()),
            text(of.identity()),
            Arc::clone(key.cluster.as_arc()),
            Arc::clone(&key.namespace),
            Arc::clone(&key.name),
        ])
    }

    /// The object that the key is about, if it is about one.
    #[must_use]
    pub fn object(&self) -> Option<ObjectKey> {
        let Self::Object([group, resource, identity, cluster, namespace, name]) = self else {
            return None;
        };
        let of = ResourceId::new(group, resource, identity);
        let cluster = ClusterName::from(&**cluster);
        let (namespace, name) = (Arc::clone(namespace), Arc::clone(name));
        Some(ObjectKey::new(&of, &cluster, namespace, name))
    }

    pub(crate) fn of_source(source: &Source) -> Self {
        let parts = [
            &source.group,
            &source.resource,
            &source.identity,
            &source.cluster,
            &source.namespace,
            &source.name,
        ];
        Self::Object(parts.map(|p| Arc::from(p.as_str())))
    }
}

/// The hub's half of the way to the sites.
pub struct Sites {
    pub(crate) tenancy: Arc<Tenancy>,
    pub(crate) ids: Ids,
    pub(crate) signer: Arc<Signer>,
    pub(crate) audiences: Vec<String>,
    pub(crate) authority: Arc<Authority>,
    queue: Queue<Key>,
    inboxes: Mutex<BTreeMap<ClusterName, (ClusterName, Arc<str>)>>,
    /// Of each inbox the Lease's time, and when it was seen: seconds of the clock that never jumps,
    /// below zero before it began.
    heard: Mutex<BTreeMap<ClusterName, (String, i64)>>,
    /// What the inboxes hold, as hash trees.
    pub(crate) trees: Mutex<Trees>,
    /// Since when a site's tree differs (seconds since 1970).
    pub(crate) differs: Mutex<BTreeMap<ClusterName, i64>>,
    /// What placed objects need.
    pub(crate) follows: Mutex<Follows>,
    /// Sites and Placements, ready to be asked.
    pub(crate) facts: Facts,
    /// Expressions of Placements that failed.
    pub(crate) failures: Mutex<Failures>,
    /// Rules that are ready for use.
    pub(crate) ready: Mutex<Ready>,
    /// Objects that are placed by Placements above their workspace.
    pub(crate) inherited: Mutex<Inherited>,
    /// Logical clusters with Placements that reach down.
    reaching: Mutex<BTreeMap<ClusterName, BTreeSet<Arc<str>>>>,
    /// Bodies that were spare at a moment (monotonic).
    spare: Mutex<Option<(Duration, Vec<SparePart>)>>,
}

impl Sites {
    /// Puts the parts together; `None` before [`crate::bootstrap`] has run. `audiences` are those
    /// that the server's own tokens carry.
    #[must_use]
    pub fn new(
        tenancy: Arc<Tenancy>,
        signer: Arc<Signer>,
        audiences: Vec<String>,
        authority: Arc<Authority>,
    ) -> Option<Arc<Self>> {
        let ids = Ids::of(tenancy.view())?;
        let rate = Rate {
            first: Duration::from_millis(10),
            max: Duration::from_secs(30),
        };
        let queue = Queue::new(tenancy.maker().seams().clone(), rate);
        Some(Arc::new(Self {
            tenancy,
            ids,
            signer,
            audiences,
            authority,
            queue,
            inboxes: Mutex::new(BTreeMap::new()),
            heard: Mutex::new(BTreeMap::new()),
            trees: Mutex::new(Trees::default()),
            differs: Mutex::new(BTreeMap::new()),
            follows: Mutex::new(Follows::default()),
            facts: Facts::default(),
            failures: Mutex::new(Failures::default()),
            ready: Mutex::new(Ready::new()),
            inherited: Mutex::new(Inherited::default()),
            reaching: Mutex::new(BTreeMap::new()),
            spare: Mutex::new(None),
        }))
    }

    /// Answers the figures of the queue.
    pub fn counter(&self) -> impl Fn() -> Counts + Send + use<> {
        let queue = self.queue.clone();
        move || queue.counts()
    }

    /// Works until the flag is raised.
    pub async fn run(self: Arc<Self>, stop: Shutdown) {
        let seams = self.seams().clone();
        let hub = self.tenancy.view().hub().clone();
        let mut cursor = hub.subscribe_all(hub.version());
        self.look_at_everything();
        let work = Arc::clone(&self);
        let tasks = hanse_reconcile::run(&seams, &self.queue, WORKERS, &stop, move |key| {
            let sites = Arc::clone(&work);
            async move { sites.turn(key).await }
        });
        loop {
            let batch = tokio::select! {
                biased;
                () = stop.wait() => break,
                batch = cursor.next_batch(EVENTS) => batch,
            };
            match batch {
                Ok(events) => events.iter().for_each(|e| self.concerns(e)),
                Err(ReadError::TooOld { .. }) => {
                    cursor = hub.subscribe_all(hub.version());
                    self.look_at_everything();
                }
                Err(error) => {
                    tracing::error!(%error, "the hub's events cannot be read");
                    seams.clock.sleep(Duration::from_secs(1)).await;
                }
            }
        }
        for task in tasks {
            task.ended().await;
        }
    }

    pub(crate) fn seams(&self) -> &Seams {
        self.tenancy.maker().seams()
    }

    /// Now, as objects write it.
    pub(crate) fn now(&self) -> String {
        self.tenancy.maker().now()
    }

    /// Now, in seconds since 1970.
    pub(crate) fn seconds(&self) -> i64 {
        i64::try_from(self.seams().clock.wall().as_secs()).unwrap_or(i64::MAX)
    }

    /// A moment as objects write it.
    pub(crate) fn time(&self, seconds: i64) -> String {
        hanse_wire::time::format(seconds.saturating_mul(1_000_000))
    }

    /// Whether a moment that an object tells is too long ago to be news.
    pub(crate) fn is_old(&self, text: &str) -> bool {
        let then = hanse_wire::time::parse(text).map(|micros| micros.div_euclid(1_000_000));
        then.is_some_and(|then| then + NEWS_SECONDS < self.seconds())
    }

    /// Has something looked at.
    pub(crate) fn add(&self, key: Key) {
        self.queue.add(key);
    }

    pub(crate) fn know_inbox(&self, inbox: &ClusterName, cluster: &str, name: &str) {
        let site = (ClusterName::from(cluster), Arc::from(name));
        self.inboxes.lock().insert(inbox.clone(), site);
    }

    /// The Site whose inbox a logical cluster is.
    pub(crate) fn site_of_inbox(&self, inbox: &str) -> Option<Object> {
        let of = ClusterName::from(inbox);
        let (cluster, name) = self.inboxes.lock().get(&of)?.clone();
        self.tenancy
            .view()
            .get(&self.ids.sites, &cluster, "", &name)
    }

    /// When a site was last heard, by the hub's clock: the moment when its Lease was seen to
    /// change. After a start, the Lease's own time, as far as it is not ahead. How long ago that
    /// is, no setting of the clock changes.
    pub(crate) fn last_heard(&self, inbox: &ClusterName, lease: &Object) -> Option<i64> {
        let renewed = lease.text(&["spec", "renewTime"])?.into_owned();
        let passed = self.seams().clock.monotonic().as_secs();
        let (now, passed) = (self.seconds(), i64::try_from(passed).unwrap_or(i64::MAX));
        let mut heard = self.heard.lock();
        let at = match heard.get(inbox) {
            Some((known, at)) if *known == renewed => return Some(now - (passed - at)),
            Some(_) => now,
            None => {
                let said = hanse_wire::time::parse(&renewed);
                said.map_or(now, |micros| micros.div_euclid(1_000_000))
                    .min(now)
            }
        };
        heard.insert(inbox.clone(), (renewed, passed - (now - at)));
        Some(at)
    }

    // === what an event concerns ===

    fn look_at_everything(&self) {
        let view = self.tenancy.view();
        self.plant();
        self.remember_followers();
        self.queue.add(Key::Bodies);
        for site in view.list(&self.ids.sites, &Scope::Wildcard) {
            let key = site.key();
            self.know_inbox(&inbox::name(&site), &key.cluster, &key.name);
            self.queue
                .add(Key::Site(key.cluster.clone(), Arc::clone(&key.name)));
        }
        for resource in [
            &self.ids.placements,
            &self.ids.projections,
            &self.ids.requests,
            &self.ids.rules,
            &view.resources().secrets,
        ] {
            for object in view.list(resource, &Scope::Wildcard) {
                self.look_at(&object, None);
            }
        }
    }

    fn concerns(&self, event: &Event) {
        if event.object().key().resource == self.ids.manifests {
            self.grow(event);
        }
        self.look_at(event.object(), event.previous());
        let key = event.object().key();
        if event.is_delete() && key.resource == self.ids.manifests {
            self.queue.add_after(Key::Bodies, BODIES_KEPT);
        }
        if event.is_delete() && key.resource == self.ids.rules {
            self.rule_changed(event.object());
        }
        if event.is_delete() && key.resource == self.ids.sites {
            self.queue.add(Key::Placements);
        }
        if event.is_delete() && key.resource == self.ids.projections {
            self.note_projection(event.object(), true);
        }
        if event.is_delete() && key.resource == self.ids.placements {
            self.note_reach(event.object(), true);
            self.queue
                .add(Key::Spread(key.cluster.clone(), Arc::clone(&key.name)));
        }
    }

    fn look_at(&self, object: &Object, previous: Option<&Object>) {
        let key = object.key();
        let (of, cluster, name) = (&key.resource, key.cluster.clone(), Arc::clone(&key.name));
        let changed = |path: &[&str]| previous.is_none_or(|p| p.raw(path) != object.raw(path));
        if *of == self.ids.sites {
            self.know_inbox(&inbox::name(object), &cluster, &name);
            self.site_changed(object, previous);
            self.queue.add(Key::Site(cluster, name));
        } else if *of == self.ids.placements {
            self.note_reach(object, false);
            if changed(&["spec"]) || changed(&["status", "sites"]) || object.is_deleting() {
                self.queue
                    .add(Key::Spread(cluster.clone(), Arc::clone(&name)));
            }
            self.queue.add(Key::Placement(cluster, name));
        } else if *of == self.ids.projections {
            self.note_projection(object, false);
            if let Some(source) = source_of(object, &["spec", "object"]) {
                self.queue.add(Key::of_source(&source));
            }
        } else if *of == self.ids.manifests {
            if previous.is_some() && changed(&["spec", "hash"]) {
                self.queue.add_after(Key::Bodies, BODIES_KEPT);
            }
            if let Some(source) = source_of(object, &["spec", "source"]) {
                self.queue.add(Key::of_source(&source));
            }
        } else if *of == self.ids.rules {
            if changed(&["spec"]) {
                self.rule_changed(object);
                self.queue.add(Key::Rule(cluster, name));
            }
        } else if *of == self.ids.leases {
            if *name == *names::LEASE && inbox::is_inbox(&cluster) {
                let site = self.inboxes.lock().get(&cluster).cloned();
                if let Some((cluster, name)) = site {
                    self.queue.add(Key::Site(cluster, name));
                }
            }
        } else if *of == self.tenancy.view().resources().config_maps && inbox::is_inbox(&cluster) {
            let site = self.inboxes.lock().get(&cluster).cloned();
            if let Some((cluster, name)) = site.filter(|_| *key.name == *names::INVENTORY) {
                self.queue.add(Key::Site(cluster, name));
            }
        } else if *of == self.ids.requests {
            if inbox::is_inbox(&cluster) {
                self.queue.add(Key::Request(cluster, name));
            }
        } else {
            let asks = *of == self.tenancy.view().resources().secrets
                && object
                    .text(&["type"])
                    .is_some_and(|t| t == names::JOIN_SECRET_TYPE);
            if asks {
                self.queue
                    .add(Key::Join(cluster.clone(), Arc::clone(&key.namespace), name));
            }
            // Cheap for the many that nobody places: a look at one count.
            let placements = self.tenancy.view().hub();
            let scope = Scope::Cluster(cluster);
            if placements.count(&self.ids.placements, &scope) > 0
                || placements.count(&self.ids.projections, &scope) > 0
                || self.is_reached(&key.cluster)
            {
                self.queue.add(Key::of(key));
                for seeker in self.seekers(key) {
                    self.queue.add(seeker);
                }
            }
        }
    }

    fn site_changed(&self, site: &Object, previous: Option<&Object>) {
        let Some(previous) = previous else {
            self.queue.add(Key::Placements);
            return;
        };
        let same = |path: &[&str]| previous.raw(path) == site.raw(path);
        let contact = |o: &Object| {
            o.text(&["status", "contact"])
                .unwrap_or_default()
                .into_owned()
        };
        let (was, is) = (contact(previous), contact(site));
        if was != is && (was == "Lost" || is == "Lost") {
            self.queue.add(Key::Inbox(inbox::name(site)));
            self.queue.add(Key::Placements);
        }
        let decides = same(&["spec"])
            && same(&["metadata", "labels"])
            && same(&["status", "clusterUid"])
            && same(&["status", "inventory"])
            && previous.is_deleting() == site.is_deleting();
        if !decides {
            self.queue.add(Key::Placements);
        }
    }

    /// Notes whether a Placement reaches down.
    fn note_reach(&self, placement: &Object, gone: bool) {
        let key = placement.key();
        let reaches = !gone && self.facts.policy(placement).spec.reaches_down();
        let mut reaching = self.reaching.lock();
        if reaches {
            let names = reaching.entry(key.cluster.clone()).or_default();
            names.insert(Arc::clone(&key.name));
        } else if let Some(names) = reaching.get_mut(&key.cluster) {
            names.remove(&key.name);
            if names.is_empty() {
                reaching.remove(&key.cluster);
            }
        }
    }

    /// Notes whether a Projection is of a Placement above its workspace.
    fn note_projection(&self, projection: &Object, gone: bool) {
        let Some(source) = source_of(projection, &["spec", "object"]) else {
            return;
        };
        let above = projection.text(&["spec", "placementCluster"]);
        let by = above.filter(|_| !gone).and_then(|cluster| {
            let name = projection.text(&["spec", "placement"])?;
            Some((ClusterName::from(&*cluster), Arc::from(&*name)))
        });
        self.inherited.lock().note(&Key::of_source(&source), by);
    }

    /// Whether a Placement of a workspace above reaches a logical cluster.
    fn is_reached(&self, cluster: &ClusterName) -> bool {
        if self.reaching.lock().is_empty() {
            return false;
        }
        let lineage = self.facts.lineage(self.tenancy.view(), cluster);
        let reaching = self.reaching.lock();
        lineage
            .iter()
            .skip(1)
            .any(|above| reaching.contains_key(above))
    }

    /// Every object that a Placement selects, and every one that it has placed.
    fn spread(&self, cluster: &ClusterName, name: &str) {
        let view = self.tenancy.view();
        for projection in view.list_cluster(&self.ids.projections, cluster) {
            if let Some(source) = source_of(&projection, &["spec", "object"]) {
                self.queue.add(Key::of_source(&source));
            }
        }
        for key in self.inherited.lock().all(cluster, name) {
            self.queue.add(key);
        }
        if let Some(placement) = view.get(&self.ids.placements, cluster, "", name) {
            for object in self.selected(&Picture::live(self), &placement) {
                self.queue.add(Key::of(object.key()));
            }
        }
    }

    /// Every object of the kinds that a Placement names, in its workspace and, when it reaches
    /// down, in those below.
    pub(crate) fn selected(&self, picture: &Picture<'_>, placement: &Object) -> Vec<Object> {
        let view = self.tenancy.view();
        let policy = picture.policy(placement);
        let home = &placement.key().cluster;
        let named = |of: &ResourceId| policy.names(of.group(), of.resource());
        let own = Scope::Cluster(home.clone());
        if !policy.spec.reaches_down() {
            let kinds = view.hub().contents(&own);
            let kinds = kinds.into_iter().filter(|(of, _)| named(of));
            return kinds.flat_map(|(of, _)| picture.scope(&of, &own)).collect();
        }
        let kinds = view.hub().resources().into_iter().filter(named);
        let all = kinds.flat_map(|of| picture.scope(&of, &Scope::Wildcard));
        let below = |object: &Object| {
            let lineage = self.facts.lineage(view, &object.key().cluster);
            lineage.contains(home)
        };
        all.filter(below).collect()
    }

    // === turns ===

    /// Drops the bodies that have been spare for longer than the log reaches back, and notes
    /// those that are spare now.
    async fn sweep(&self) -> Outcome {
        let hub = self.tenancy.view().hub();
        let now = self.seams().clock.monotonic();
        let noted = self.spare.lock().take();
        if let Some((since, spare)) = noted {
            if let Some(wait) = (since + BODIES_KEPT)
                .checked_sub(now)
                .filter(|w| !w.is_zero())
            {
                *self.spare.lock() = Some((since, spare));
                return Outcome::Again(wait);
            }
            match hub.drop_parts(&spare).await {
                Ok(0) => {}
                Ok(dropped) => tracing::debug!(dropped, "bodies that nobody needs"),
                Err(error) => {
                    tracing::warn!(%error, "bodies that nobody needs were not dropped");
                    return Outcome::Retry;
                }
            }
        }
        let spare = hub.spare_parts();
        if spare.is_empty() {
            return Outcome::Done;
        }
        *self.spare.lock() = Some((now, spare));
        Outcome::Again(BODIES_KEPT)
    }

    async fn turn(self: Arc<Self>, key: Key) -> Outcome {
        if key == Key::Bodies {
            return self.sweep().await;
        }
        let turn = match self.decide(&key) {
            Ok(turn) => turn,
            Err(error) => {
                tracing::error!(?key, %error, "a turn cannot be written");
                return Outcome::Retry;
            }
        };
        let Turn {
            writes,
            again,
            wake,
        } = turn;
        let committed = match writes.is_empty() {
            true => Ok(()),
            false => self.tenancy.commit(writes).await.map(|_| ()),
        };
        // Also when nothing was committed: what was noted while deciding is not noted twice.
        for key in wake {
            match key {
                Key::Count(..) => self.queue.add_after(key, COUNT_PAUSE),
                key => self.queue.add(key),
            }
        }
        match committed {
            Ok(()) => {}
            Err(CommitError::Conflict { .. }) => return Outcome::Retry,
            Err(error) => {
                tracing::warn!(?key, %error, "a turn was not committed");
                return Outcome::Retry;
            }
        }
        match again {
            Some(delay) if delay.is_zero() => {
                self.queue.add(key);
                Outcome::Done
            }
            Some(delay) => Outcome::Again(delay),
            None => Outcome::Done,
        }
    }

    /// One turn as a function of what the hub shows.
    ///
    /// # Errors
    /// A tree that is no object.
    pub fn decide(&self, key: &Key) -> Result<Turn, DocumentError> {
        let view = self.tenancy.view();
        match key {
            Key::Site(cluster, name) => site::reconcile(self, cluster, name),
            Key::Join(cluster, namespace, name) => join::reconcile(self, cluster, namespace, name),
            Key::Request(cluster, name) => certificates::reconcile(self, cluster, name),
            Key::Placement(cluster, name) | Key::Count(cluster, name) => {
                placement::reconcile(self, cluster, name)
            }
            Key::Rule(cluster, name) => rules::reconcile(self, cluster, name),
            Key::Object(_) => match key.object() {
                Some(key) => object::reconcile(self, &key),
                None => Ok(Turn::default()),
            },
            Key::Spread(cluster, name) => {
                self.spread(cluster, name);
                Ok(Turn::default())
            }
            Key::Placements => {
                for placement in view.list(&self.ids.placements, &Scope::Wildcard) {
                    let key = placement.key();
                    let name = Arc::clone(&key.name);
                    self.queue
                        .add(Key::Placement(key.cluster.clone(), Arc::clone(&name)));
                    self.queue.add(Key::Spread(key.cluster.clone(), name));
                }
                Ok(Turn::default())
            }
            // Asks the store, so it is no function of the view: see `sweep`.
            Key::Bodies => Ok(Turn::default()),
            Key::Inbox(inbox) => {
                for manifest in view.list_cluster(&self.ids.manifests, inbox) {
                    if let Some(source) = source_of(&manifest, &["spec", "source"]) {
                        self.queue.add(Key::of_source(&source));
                    }
                }
                Ok(Turn::default())
            }
        }
    }
}

fn source_of(object: &Object, path: &[&str]) -> Option<Source> {
    serde_json::from_slice(object.raw(path)?).ok()
}
