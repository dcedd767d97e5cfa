//! What decisions are made from: the hub as it is, or one version of it with changes supposed.
//!
//! The controllers look at the present ([`Picture::live`]); a plan looks at one version and puts
//! over it what would be written ([`Picture::of`], [`Picture::suppose`]). Invariant: both go
//! through the same functions, so a plan is what the controllers would do. What was read of a
//! version that the hub has forgotten meanwhile is told by [`Picture::is_torn`].

use std::cell::Cell;
use std::collections::BTreeSet;
use std::sync::Arc;

use hanse_cache::{ListQuery, Object, ObjectKey, ResourceId, Scope};
use hanse_rules::placement::Candidate;
use hanse_rules::placement::policy::Policy;

use crate::facts;
use crate::run::Sites;

/// See the module's words.
pub struct Picture<'a> {
    /// The room.
    pub sites: &'a Sites,
    at: Option<u64>,
    supposed: Vec<(ObjectKey, Option<Object>)>,
    without: BTreeSet<String>,
    torn: Cell<bool>,
}

impl<'a> Picture<'a> {
    /// The present.
    #[must_use]
    pub fn live(sites: &'a Sites) -> Self {
        Self {
            sites,
            at: None,
            supposed: Vec::new(),
            without: BTreeSet::new(),
            torn: Cell::new(false),
        }
    }

    /// One version.
    #[must_use]
    pub fn of(sites: &'a Sites, version: u64) -> Self {
        Self {
            at: Some(version),
            ..Self::live(sites)
        }
    }

    /// Whether it is the present, with nothing supposed.
    #[must_use]
    pub fn is_live(&self) -> bool {
        self.at.is_none()
    }

    /// Puts an object over what is there, or its end.
    pub fn suppose(&mut self, key: ObjectKey, object: Option<Object>) {
        self.supposed.retain(|(known, _)| *known != key);
        self.supposed.push((key, object));
    }

    /// Supposes that these Sites are being deleted.
    pub fn without(&mut self, names: impl IntoIterator<Item = String>) {
        self.without.extend(names);
    }

    /// Whether something could not be read as it was.
    #[must_use]
    pub fn is_torn(&self) -> bool {
        self.torn.get()
    }

    /// One object.
    #[must_use]
    pub fn get(
        &self,
        resource: &ResourceId,
        cluster: &str,
        namespace: &str,
        name: &str,
    ) -> Option<Object> {
        self.find(&ObjectKey::new(resource, &cluster.into(), namespace, name))
    }

    /// One object.
    #[must_use]
    pub fn find(&self, key: &ObjectKey) -> Option<Object> {
        if let Some((_, object)) = self.supposed.iter().find(|(known, _)| known == key) {
            return object.clone();
        }
        let hub = self.sites.tenancy.view().hub();
        match self.at {
            None => hub.get(key),
            Some(at) => hub.get_at(key, at).unwrap_or_else(|_| {
                self.torn.set(true);
                None
            }),
        }
    }

    /// All objects of a resource in a logical cluster, by name.
    #[must_use]
    pub fn list(&self, resource: &ResourceId, cluster: &str) -> Vec<Object> {
        self.scope(resource, &Scope::Cluster(cluster.into()))
    }

    /// All objects of a resource in a scope, in the order of their keys.
    #[must_use]
    pub fn scope(&self, resource: &ResourceId, scope: &Scope) -> Vec<Object> {
        let query = ListQuery {
            at: self.at,
            ..ListQuery::default()
        };
        let hub = self.sites.tenancy.view().hub();
        let mut out = match hub.list(resource, scope, &query) {
            Ok(page) => page.objects,
            Err(_) => {
                self.torn.set(true);
                return Vec::new();
            }
        };
        let ours = |key: &ObjectKey| key.resource == *resource && scope.contains(key);
        for (key, object) in self.supposed.iter().filter(|(key, _)| ours(key)) {
            out.retain(|o| o.key() != key);
            out.extend(object.clone());
        }
        if !self.supposed.is_empty() {
            out.sort_by_key(|o| o.key().path());
        }
        out
    }

    /// A Site as a candidate.
    #[must_use]
    pub fn candidate(&self, site: &Object) -> Arc<Candidate> {
        let facts = &self.sites.facts;
        if !self.without.contains(&*site.key().name) {
            return facts.candidate(site);
        }
        Arc::new(Candidate {
            leaving: true,
            ..facts.read(site)
        })
    }

    /// A Placement with its expressions compiled.
    #[must_use]
    pub fn policy(&self, placement: &Object) -> Arc<Policy> {
        match placement.resource_version() {
            0 => Arc::new(facts::compile(placement)),
            _ => self.sites.facts.policy(placement),
        }
    }
}
