//! Ends watches whose ground is gone: their CRD, their binding, their logical cluster.
//!
//! Start at [`Endings::run`], one task for all watches: it follows the three kinds that decide what
//! is served and cuts what a change of theirs concerns. A watch so ended is a stream that closes,
//! as in Kubernetes, after everything that happened before; the client lists again, and is told
//! then what there is instead. The invariant: a change of a CRD that does not touch what is served
//! (labels, conditions) ends nothing.

use hanse_apis::kcp::annotation;
use hanse_apis::kcp::cluster::BOUND_CRDS;
use hanse_cache::{From, Object, ReadError, ResourceId, Scope, WatchEvent, Watcher};
use hanse_seams::Shutdown;
use hanse_tenancy::catalog::bound_resources;

use crate::service::Service;

/// A group and a plural.
type Name = (String, String);

/// The three watches that end others.
pub struct Endings {
    service: Service,
    crds: Watcher,
    bindings: Watcher,
    clusters: Watcher,
}

impl Endings {
    /// Follows from now on.
    #[must_use]
    pub fn new(service: &Service) -> Self {
        let of = service.authorizer.view().resources();
        let follow = |resource: &ResourceId| {
            service
                .hub
                .watch(resource, &Scope::Wildcard, From::Now, None)
        };
        Self {
            crds: follow(&of.crds),
            bindings: follow(&of.api_bindings),
            clusters: follow(&of.logical_clusters),
            service: service.clone(),
        }
    }

    /// Cuts until the server stops.
    pub async fn run(mut self, stop: Shutdown) {
        loop {
            let failed = tokio::select! {
                biased;
                () = stop.wait() => return,
                event = self.crds.next() => event.map(|event| self.crd(&event)),
                event = self.bindings.next() => event.map(|event| self.binding(&event)),
                event = self.clusters.next() => event.map(|event| self.cluster(&event)),
            };
            if let Err(error) = failed {
                self.begin_anew(&error);
            }
        }
    }

    /// What was missed may have concerned any watch.
    fn begin_anew(&mut self, error: &ReadError) {
        tracing::warn!(%error, "all watches are ended: what is served was lost sight of");
        let service = self.service.clone();
        service.hub.cut(|_, _| true);
        *self = Self::new(&service);
    }

    fn crd(&self, event: &WatchEvent) {
        let Some(before) = event.event.previous() else {
            return;
        };
        let after = (!event.event.is_delete()).then(|| event.event.object());
        let part = |object: &Object, path: &[&str]| object.raw(path).map(<[u8]>::to_vec);
        let served = |object: &Object| {
            let names = part(object, &["status", "acceptedNames"]);
            (part(object, &["spec"]), names)
        };
        if after.is_some_and(|after| served(after) == served(before)) {
            return;
        }
        let text = |path: &[&str]| {
            let raw = before.raw(path).unwrap_or(b"\"\"");
            serde_json::from_slice::<String>(raw).unwrap_or_default()
        };
        let name = (text(&["spec", "group"]), text(&["spec", "names", "plural"]));
        let key = before.key();
        // A bound CRD is behind every binding of its schema.
        match key.cluster.as_str() == BOUND_CRDS {
            true => self.service.hub.cut(|resource, _| is(resource, &name)),
            false => self.cut(&key.cluster, &name),
        }
    }

    fn binding(&self, event: &WatchEvent) {
        let bound = |object: Option<&Object>| object.map(bound_resources).unwrap_or_default();
        let after = Some(event.event.object()).filter(|_| !event.event.is_delete());
        let (before, after) = (bound(event.event.previous()), bound(after));
        let cluster = &event.object.key().cluster;
        let gone = before.iter().filter(|one| !after.contains(one));
        // What is newly bound may take the place of what was served under its name.
        let new = after.iter().filter(|one| !before.contains(one));
        for one in gone.chain(new) {
            self.cut(cluster, &(one.group.clone(), one.resource.clone()));
        }
    }

    fn cluster(&self, event: &WatchEvent) {
        let cluster = &event.object.key().cluster;
        let inside = |scope: &Scope| scope.cluster() == Some(cluster);
        if event.event.is_delete() {
            return self.service.hub.cut(|_, scope| inside(scope));
        }
        let before = event.event.previous().is_some_and(is_inactive);
        if is_inactive(event.event.object()) && !before {
            // Watches of everything see it too (kcp-api 3.1).
            let concerned = |scope: &Scope| scope.cluster().is_none() || inside(scope);
            self.service.hub.cut(|_, scope| concerned(scope));
        }
    }

    fn cut(&self, cluster: &str, name: &Name) {
        let inside = |scope: &Scope| scope.cluster().is_some_and(|c| c.as_str() == cluster);
        self.service
            .hub
            .cut(|resource, scope| is(resource, name) && inside(scope));
    }
}

fn is(resource: &ResourceId, name: &Name) -> bool {
    resource.group() == name.0 && resource.resource() == name.1
}

/// Whether a logical cluster was taken offline.
#[must_use]
pub fn is_inactive(object: &Object) -> bool {
    let keys = [annotation::INACTIVE, annotation::INACTIVE_LEGACY];
    keys.iter()
        .any(|key| object.annotation(key).as_deref() == Some("true"))
}
