//! The rehearsal: what would change if objects were written, or Sites went.
//!
//! Start at [`Sites::plan`]. Invariant: it looks at one version of the hub and decides and renders
//! with the controllers' own functions over a [`Picture`]; what the asker may not get is counted
//! and not shown. A supposed Placement is the asker's, as a written one would be.

use std::collections::BTreeMap;

use hanse_apis::sites::{
    self, PlacementStatus, PlanStatus, PlannedObject, PlannedPlacement, PlannedSite, SiteDecision,
    Source, names,
};
use hanse_auth::{Attributes, UserInfo};
use hanse_cache::{ClusterName, DocumentError, Object, ObjectKey, Scope};
use hanse_projection::expr::Fuel;
use hanse_projection::names::object_name;
use hanse_projection::{Rule, dress};
use hanse_tenancy::Draft;
use serde_json::Value;

use crate::going::{self, Decision, Wanted};
use crate::inbox;
use crate::intent::Intent;
use crate::limits::{PLAN_TRIES, PLANNED_BYTES, PLANNED_OBJECTS};
use crate::object::source;
use crate::picture::Picture;
use crate::placement::{self, decided};
use crate::run::{Key, Sites};
use crate::turn::annotate;

/// What is asked.
pub struct Question<'a> {
    /// The workspace.
    pub cluster: &'a ClusterName,
    /// Who asks.
    pub user: &'a UserInfo,
    /// Objects of the workspace as they would be.
    pub supposed: &'a [(ObjectKey, Value)],
    /// Sites that would be gone.
    pub without: &'a [String],
}

/// Why there is no answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PlanError {
    /// A supposed object is none.
    NotAnObject,
    /// The hub moves faster than one can look at it: again later.
    Busy,
}

impl From<DocumentError> for PlanError {
    fn from(_: DocumentError) -> Self {
        Self::NotAnObject
    }
}

impl Sites {
    /// Answers what would change.
    ///
    /// # Errors
    /// As [`PlanError`] says.
    pub fn plan(&self, question: &Question<'_>) -> Result<PlanStatus, PlanError> {
        for _ in 0..PLAN_TRIES {
            let version = self.tenancy.view().hub().version();
            let mut rehearsal = Rehearsal {
                question,
                before: Picture::of(self, version),
                after: Picture::of(self, version),
                out: PlanStatus {
                    version: version.to_string(),
                    ..PlanStatus::default()
                },
                bytes: 0,
            };
            rehearsal.suppose()?;
            let placements = rehearsal.decide()?;
            rehearsal.render(&placements);
            if !rehearsal.before.is_torn() && !rehearsal.after.is_torn() {
                return Ok(rehearsal.out);
            }
        }
        Err(PlanError::Busy)
    }
}

struct Rehearsal<'a> {
    question: &'a Question<'a>,
    before: Picture<'a>,
    after: Picture<'a>,
    out: PlanStatus,
    bytes: usize,
}

impl Rehearsal<'_> {
    /// Puts what is supposed over what is there.
    fn suppose(&mut self) -> Result<(), PlanError> {
        for (key, value) in self.question.supposed {
            let old = self.before.find(key);
            let mut value = value.clone();
            if !is_plain(&value["metadata"]) {
                return Err(PlanError::NotAnObject);
            }
            // What the server writes nobody can suppose.
            let status = old.as_ref().map(|o| o.value()["status"].take());
            let map = value.as_object_mut().ok_or(PlanError::NotAnObject)?;
            map.remove("status");
            if let Some(status) = status.filter(|s| !s.is_null()) {
                map.insert("status".into(), status);
            }
            if key.resource == self.after.sites.ids.placements {
                let kept = old.as_ref().filter(|o| o.value()["spec"] == value["spec"]);
                let author = match kept {
                    Some(old) => old.annotation(names::AUTHOR_ANNOTATION).map(String::from),
                    None => Some(self.question.user.owner_annotation()),
                };
                annotate(&mut value, names::AUTHOR_ANNOTATION, author.as_deref());
            }
            let object = supposed(self.after.sites, key, value)?;
            self.after.suppose(key.clone(), Some(object));
        }
        self.after.without(self.question.without.iter().cloned());
        Ok(())
    }

    /// Decides for every Placement that may be concerned; answers all of them.
    fn decide(&mut self) -> Result<Vec<Object>, PlanError> {
        let sites = self.after.sites;
        let mut concerned = Vec::new();
        for placement in self.placements() {
            let policy = self.after.policy(&placement);
            let (mut status, decision) = decided(&self.after, &placement, &policy);
            let key = placement.key().clone();
            let old = self.before.find(&key);
            let old = old.and_then(|o| serde_json::from_slice(o.raw(&["status"])?).ok());
            let old: PlacementStatus = old.unwrap_or_default();
            if old.sites != status.sites {
                let unmet = decision.unmet.unwrap_or_default();
                self.tell_placement(&key, &old.sites, &status.sites, unmet);
            }
            let mut value = placement.value();
            // Only what was decided matters from here on.
            status.conditions = old.conditions;
            sites::write(&mut value, "status", &status);
            let placement = supposed(sites, &key, value)?;
            self.after.suppose(key, Some(placement.clone()));
            concerned.push(placement);
        }
        Ok(concerned)
    }

    /// The Placements that may be concerned: those by which objects of the workspace go, and when
    /// a Site of the workspace changes, those of all workspaces below.
    fn placements(&self) -> Vec<Object> {
        let sites = self.after.sites;
        let view = sites.tenancy.view();
        let here = self.question.cluster;
        let of = &sites.ids.placements;
        let own = |name: &String| self.before.get(&sites.ids.sites, here, "", name).is_some();
        let changed = self.question.supposed.iter();
        let moves = changed
            .map(|(key, _)| key)
            .any(|k| k.resource == sites.ids.sites)
            || self.question.without.iter().any(own);
        let mut out = Vec::new();
        for home in sites.facts.lineage(view, here).iter() {
            let reaches =
                |p: &Object| p.key().cluster == *here || self.after.policy(p).spec.reaches_down();
            out.extend(self.after.list(of, home).into_iter().filter(reaches));
        }
        if moves {
            let below = |p: &Object| {
                let cluster = &p.key().cluster;
                cluster != here && sites.facts.lineage(view, cluster).contains(here)
            };
            let all = self.after.scope(of, &Scope::Wildcard);
            out.extend(all.into_iter().filter(below));
        }
        out.retain(|p| !p.is_deleting());
        out
    }

    fn tell_placement(
        &mut self,
        key: &ObjectKey,
        old: &[SiteDecision],
        new: &[SiteDecision],
        unmet: String,
    ) {
        if !self.may_get(key) {
            self.out.hidden += 1;
            return;
        }
        let gone = old.iter().filter(|o| !new.iter().any(|n| n.site == o.site));
        let gone = gone.filter(|o| o.chosen).map(|o| SiteDecision {
            chosen: false,
            reason: "NotSeen".into(),
            message: "the author does not see the Site any more".into(),
            ..o.clone()
        });
        let differs = |n: &&SiteDecision| !old.contains(n);
        let rows = new.iter().filter(differs).cloned().chain(gone).collect();
        let chosen = old.iter().filter(|o| o.chosen && !new.contains(o));
        self.out.placements.push(PlannedPlacement {
            cluster: key.cluster.to_string(),
            name: key.name.to_string(),
            sites: rows,
            chosen: chosen.map(|o| o.site.clone()).collect(),
            unmet,
        });
    }

    /// Renders every object that the Placements select, or have placed.
    fn render(&mut self, placements: &[Object]) {
        let sites = self.after.sites;
        let mut keys: BTreeMap<Key, ObjectKey> = BTreeMap::new();
        let mut add = |key: &ObjectKey| {
            keys.insert(Key::of(key), key.clone());
        };
        self.question.supposed.iter().for_each(|(key, _)| add(key));
        for placement in placements {
            for object in sites.selected(&self.after, placement) {
                add(object.key());
            }
            for projection in self
                .before
                .list(&sites.ids.projections, &placement.key().cluster)
            {
                let raw = projection.raw(&["spec", "object"]);
                let source = raw.and_then(|raw| serde_json::from_slice::<Source>(raw).ok());
                if let Some(key) = source.and_then(|s| Key::of_source(&s).object()) {
                    add(&key);
                }
            }
            let key = placement.key();
            for key in sites.inherited.lock().all(&key.cluster, &key.name) {
                if let Some(key) = key.object() {
                    add(&key);
                }
            }
        }
        for key in keys.values() {
            self.object(key);
        }
    }

    /// What would become of one object.
    fn object(&mut self, key: &ObjectKey) {
        let object = self.after.find(key).filter(|o| !o.is_deleting());
        let source = source(key, object.as_ref());
        let name = object_name(&source);
        let sites = self.after.sites;
        let projection = self
            .before
            .get(&sites.ids.projections, &key.cluster, "", &name);
        let old: sites::ProjectionSpec = projection
            .as_ref()
            .and_then(|p| serde_json::from_slice(p.raw(&["spec"])?).ok())
            .unwrap_or_default();
        let wanted = object.as_ref().and_then(|object| {
            let rule = self.after.rule(key);
            let choice = placement::of_object(&self.after, object);
            match going::wanted(&self.after, object, &rule, &choice) {
                Decision::Sites(wanted) => Some((wanted, rule)),
                Decision::Nowhere | Decision::Open => None,
            }
        });
        if wanted.is_none() && old.sites.is_empty() {
            return;
        }
        let mut rows = Vec::new();
        if let (Some((wanted, rule)), Some(object)) = (&wanted, &object) {
            let value = object.value();
            let about = About {
                source: &source,
                object: &value,
                rule,
                name: &name,
            };
            rows = self.rows(&about, wanted);
        }
        for assignment in &old.sites {
            if rows.iter().any(|row| row.site == assignment.site) {
                continue;
            }
            let purge = wanted
                .as_ref()
                .and_then(|(w, _)| w.purge.get(&assignment.site));
            let action = match purge.map(String::as_str) {
                Some("Never") => "Leave",
                Some(_) => "DeleteLater",
                None => "Delete",
            };
            rows.push(PlannedSite {
                site: assignment.site.clone(),
                action: action.into(),
                ..PlannedSite::default()
            });
        }
        self.tell_object(key, source, wanted.map(|(w, _)| w), rows);
    }

    /// What each site would get.
    fn rows(&self, about: &About<'_>, wanted: &Wanted) -> Vec<PlannedSite> {
        let sites = self.after.sites;
        let shares = going::share(about.source, about.rule, wanted, about.object);
        let mut fuel = Fuel::for_sites(wanted.sites.len());
        let mut rows = Vec::new();
        for (site, place) in &wanted.sites {
            let share = shares.as_ref().map(|(path, of)| (path.as_str(), of[site]));
            let mut row = PlannedSite {
                site: site.clone(),
                replicas: share.map(|(_, n)| n),
                ..PlannedSite::default()
            };
            let key = inbox::name_key(sites, &place.inbox).unwrap_or_default();
            let intent = Intent {
                sites,
                object: about.object,
                source: about.source,
                rule: about.rule,
                site,
                place,
                share,
                listed: wanted.listed,
            };
            match intent.of(&key, &mut fuel) {
                Ok(spec) => {
                    let found = self
                        .before
                        .get(&sites.ids.manifests, &place.inbox, "", about.name);
                    let there = found.filter(|m| !m.is_deleting());
                    row.action =
                        match there.and_then(|m| Some(m.text(&["spec", "hash"])? == *spec.hash)) {
                            Some(true) => "Keep",
                            Some(false) => "Update",
                            None => "Create",
                        }
                        .into();
                    row.object = dress(&spec.object, &spec.source, &spec.target, &place.inbox);
                }
                Err(refusal) => {
                    row.action = "Refuse".into();
                    row.reason = refusal.reason;
                    row.message = refusal.message;
                }
            }
            rows.push(row);
        }
        rows
    }

    fn tell_object(
        &mut self,
        key: &ObjectKey,
        source: Source,
        wanted: Option<Wanted>,
        mut rows: Vec<PlannedSite>,
    ) {
        if rows.iter().all(|row| row.action == "Keep") {
            self.out.unchanged += 1;
            return;
        }
        if !self.may_get(key) || self.out.objects.len() >= PLANNED_OBJECTS {
            self.out.hidden += 1;
            return;
        }
        for row in &mut rows {
            let size = match row.action.as_str() {
                "Keep" => usize::MAX,
                _ => row.object.to_string().len(),
            };
            match self.bytes.saturating_add(size) {
                sum if sum <= PLANNED_BYTES => self.bytes = sum,
                _ => row.object = Value::Null,
            }
        }
        rows.sort_by(|a, b| a.site.cmp(&b.site));
        self.out.objects.push(PlannedObject {
            object: source,
            placement: wanted.map(|w| w.placement).unwrap_or_default(),
            sites: rows,
        });
    }

    fn may_get(&self, key: &ObjectKey) -> bool {
        let of = &key.resource;
        let mut want = Attributes::resource(
            self.question.user,
            "get",
            of.group(),
            of.resource(),
            &key.name,
        );
        want.namespace = &key.namespace;
        let authorizer = self.after.sites.tenancy.authorizer();
        authorizer.authorize(&want, Some(&key.cluster)).allowed
    }
}

/// An object on its way to its sites.
struct About<'a> {
    source: &'a Source,
    object: &'a Value,
    rule: &'a Rule,
    name: &'a str,
}

/// Whether metadata has the shape that all code relies on; nobody has admitted it.
fn is_plain(metadata: &Value) -> bool {
    let texts = |value: &Value| match value {
        Value::Null => true,
        Value::Object(map) => map.values().all(Value::is_string),
        _ => false,
    };
    metadata.is_object() && texts(&metadata["labels"]) && texts(&metadata["annotations"])
}

/// An object that no store holds.
fn supposed(sites: &Sites, key: &ObjectKey, value: Value) -> Result<Object, DocumentError> {
    let mut draft = Draft::new(&key.resource, value);
    if !key.namespace.is_empty() {
        draft = draft.within(&key.namespace);
    }
    let maker = sites.tenancy.maker();
    let write = maker.create(&key.cluster, draft, &maker.now())?;
    match write.put {
        Some(document) => Object::supposed(key.clone(), &document),
        None => Err(DocumentError::NotAnObject),
    }
}
