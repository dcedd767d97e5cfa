//! From a tenant's object to its sites, and back: the function in the middle.
//!
//! Start at [`reconcile`]. Whatever wakes it (the object, its Placement, a Manifest's status, a
//! Site that fell silent), it looks at all of it and answers the writes that bring it right, in
//! the order in which they must become true: the finalizer on the object, the site in the
//! Projection, the Manifest in the inbox; and backwards when something leaves.

use std::sync::Arc;

use hanse_apis::sites::{
    self, API_VERSION, ApplyError, Assignment, ManifestSpec, ProjectionSpec, ProjectionStatus,
    Source, names,
};
use hanse_cache::{ClusterName, DocumentError, Object, ObjectKey};
use hanse_projection::aggregate::{Of, Told};
use hanse_projection::expr::Fuel;
use hanse_projection::names::object_name;
use hanse_projection::{Rule, line};
use hanse_tenancy::Draft;
use serde_json::{Value, json};

use crate::gate::Gate;
use crate::going::{Decision, SiteRef, Wanted, share, site_ref, wanted};
use crate::intent::{Intent, OVERRIDE_FAILED};
use crate::limits::{MANIFEST_BYTES_MAX, SOON};
use crate::picture::Picture;
use crate::placement::Failed;
use crate::run::{Key, Sites};
use crate::status::{self, Part};
use crate::turn::{Turn, annotate, hold, let_go};
use crate::{inbox, placement};

/// Looks at one object of a tenant.
///
/// # Errors
/// A tree that is no object.
pub fn reconcile(sites: &Sites, key: &ObjectKey) -> Result<Turn, DocumentError> {
    let view = sites.tenancy.view();
    let object = view.hub().get(key);
    let source = source(key, object.as_ref());
    let name = object_name(&source);
    let projection = view.get(&sites.ids.projections, &key.cluster, "", &name);
    let rule = sites.rule(key);
    let picture = Picture::live(sites);
    let placed = object.as_ref().filter(|o| !o.is_deleting());
    let choice = placed.map(|object| placement::of_object(&picture, object));
    let mut choice = choice.unwrap_or_default();
    let wanted = match placed {
        Some(object) => match wanted(&picture, object, &rule, &choice) {
            Decision::Sites(wanted) => Some(wanted),
            Decision::Nowhere => None,
            // What stands stays as it is until the Placement is decided.
            Decision::Open => return Ok(Turn::default()),
        },
        None => None,
    };
    let mut work = Work {
        sites,
        turn: Turn::default(),
        old: projection
            .as_ref()
            .and_then(|p| serde_json::from_slice(p.raw(&["spec"])?).ok())
            .unwrap_or_default(),
        projection,
        object,
        source,
        name,
        rule,
        parts: Vec::new(),
        told: Told::default(),
        told_up: Vec::new(),
        failed: Vec::new(),
    };
    let assigned = match &wanted {
        Some(wanted) => work.send(wanted)?,
        None => work.withdraw_all()?,
    };
    let object = work.object.clone().filter(|o| !o.is_deleting());
    choice.failures.append(&mut work.failed);
    let mut turn = work.finish(wanted.as_ref(), assigned)?;
    let moved = !turn.writes.is_empty();
    turn.wake
        .extend(sites.follow(key, object.as_ref(), &choice, moved));
    turn.wake.extend(sites.note_failures(key, &choice.failures));
    Ok(turn)
}

/// Identity of an object.
#[must_use]
pub fn source(key: &ObjectKey, object: Option<&Object>) -> Source {
    let text = |path: &[&str]| {
        object
            .and_then(|o| o.text(path))
            .unwrap_or_default()
            .into_owned()
    };
    let version = text(&["apiVersion"]);
    let generation = object.and_then(|o| o.raw(&["metadata", "generation"]));
    let generation = generation.and_then(|raw| std::str::from_utf8(raw).ok()?.parse().ok());
    Source {
        cluster: key.cluster.to_string(),
        group: key.resource.group().to_owned(),
        version: version.rsplit('/').next().unwrap_or_default().to_owned(),
        resource: key.resource.resource().to_owned(),
        kind: text(&["kind"]),
        namespace: key.namespace.to_string(),
        name: key.name.to_string(),
        uid: object.map(Object::uid).unwrap_or_default().to_owned(),
        // Kinds without generations are told apart by the hash alone.
        generation: generation.unwrap_or(1),
        identity: key.resource.identity().to_owned(),
    }
}

/// One turn at one object.
pub struct Work<'a> {
    pub(crate) sites: &'a Sites,
    pub(crate) turn: Turn,
    old: ProjectionSpec,
    projection: Option<Object>,
    pub(crate) object: Option<Object>,
    pub(crate) source: Source,
    pub(crate) name: String,
    rule: Arc<Rule>,
    pub(crate) parts: Vec<Part>,
    /// What expressions may cost on the way down, and those that failed.
    told: Told,
    /// What could not be brought up.
    pub(crate) told_up: Vec<String>,
    /// Overrides that failed.
    failed: Vec<Failed>,
}

impl Work<'_> {
    fn manifest(&self, inbox: &str) -> Option<Object> {
        self.sites
            .tenancy
            .view()
            .get(&self.sites.ids.manifests, inbox, "", &self.name)
    }

    /// Sends the object to its sites and takes it from all others; answers the assignments, which
    /// include the sites that it is still leaving. Manifest writes wait in the turn until the
    /// object and its Projection stand before them.
    fn send(&mut self, wanted: &Wanted) -> Result<Vec<Assignment>, DocumentError> {
        let Some(value) = self.object.as_ref().map(Object::value) else {
            return Ok(Vec::new());
        };
        self.told.fuel = Fuel::for_sites(wanted.sites.len());
        let shares = share(&self.source, &self.rule, wanted, &value);
        let mut assigned = Vec::new();
        let mut gate = Gate::of(wanted, self.sites.seconds());
        for (wave, site, place) in gate.order(wanted) {
            let share = shares.as_ref().map(|(path, of)| (path.as_str(), of[site]));
            assigned.push(Assignment {
                site: site.clone(),
                cluster: place.inbox.clone(),
                replicas: share.map(|(_, n)| n),
            });
            let open = gate.opens(wave);
            let part = self.deliver((&value, wanted.listed, open), site, place, share)?;
            if gate.is_there() {
                let well = self.is_well(&value, &part);
                gate.passed(&part, well);
            }
            self.parts.push(part);
        }
        if let Some(delay) = gate.again {
            self.turn.again_in(delay);
        }
        let leaving: Vec<Assignment> = self
            .old
            .sites
            .iter()
            .filter(|a| !assigned.iter().any(|b| b.cluster == a.cluster))
            .cloned()
            .collect();
        let graceful = wanted.purge.values().any(|mode| mode == "Graceful");
        let settled = graceful && self.is_settled(&value);
        for assignment in leaving {
            let name_is_taken = assigned.iter().any(|b| b.site == assignment.site);
            let stays = match wanted.purge.get(&assignment.site).map(String::as_str) {
                Some("Never") => true,
                Some(_) => !settled,
                None => false,
            };
            let left = stays && !name_is_taken && self.leave(&assignment);
            let there = left || self.withdraw(&assignment)?;
            if there && !name_is_taken {
                assigned.push(assignment);
            }
        }
        assigned.sort_by(|a, b| a.site.cmp(&b.site));
        Ok(assigned)
    }

    /// Puts what one site shall have into its inbox, and reads what became of it.
    fn deliver(
        &mut self,
        (value, listed, open): (&Value, bool, bool),
        site: &str,
        place: &SiteRef,
        share: Option<(&str, i64)>,
    ) -> Result<Part, DocumentError> {
        let mut part = Part::new(site, place);
        let Some(key) = inbox::name_key(self.sites, &place.inbox) else {
            self.turn.again_in(SOON);
            return Ok(part);
        };
        let rule = Arc::clone(&self.rule);
        let intent = Intent {
            sites: self.sites,
            object: value,
            source: &self.source,
            rule: &rule,
            site,
            place,
            share,
            listed,
        };
        let spec = match intent.of(&key, &mut self.told.fuel) {
            Ok(spec) => spec,
            Err(error) => {
                self.keep_what_stands(&mut part, place, *error);
                return Ok(part);
            }
        };
        let cluster = ClusterName::from(place.inbox.as_str());
        let Some(found) = self.manifest(&place.inbox) else {
            if !open {
                part.wait();
                return Ok(part);
            }
            let manifest = self.new_manifest(&spec);
            if manifest.to_string().len() > MANIFEST_BYTES_MAX {
                part.refuse(self.too_large(site));
                return Ok(part);
            }
            let draft = Draft::new(&self.sites.ids.manifests, manifest);
            self.turn
                .create(self.sites.tenancy.maker(), &cluster, draft)?;
            return Ok(part);
        };
        let mut manifest = found.value();
        part.read(&manifest, &spec.hash, self.source.generation);
        if found.is_deleting() {
            // What was sent there before is still going; its end wakes us again. Where removals
            // are held back, nothing has begun: the Manifest is made again around the object.
            if place.parked {
                self.turn.writes.push(hanse_tenancy::Maker::delete(&found));
            }
            part.state = "Removing".into();
            return Ok(part);
        }
        let same = |old: &ManifestSpec| old.hash == spec.hash && old.target == spec.target;
        let old: ManifestSpec = sites::read(&manifest, "spec").unwrap_or_default();
        if same(&old) && old.source.uid == spec.source.uid {
            return Ok(part);
        }
        if !open {
            part.wait();
            return Ok(part);
        }
        sites::write(&mut manifest, "spec", &spec);
        let generation = manifest["metadata"]["generation"].as_i64().unwrap_or(1);
        manifest["metadata"]["generation"] = (generation + 1).into();
        if manifest.to_string().len() > MANIFEST_BYTES_MAX {
            part.refuse(self.too_large(site));
            return Ok(part);
        }
        self.turn
            .update(self.sites.tenancy.maker(), &found, &manifest)?;
        Ok(part)
    }

    /// What is not sent anew is said, and what was sent before is still looked at.
    fn keep_what_stands(&mut self, part: &mut Part, place: &SiteRef, error: ApplyError) {
        if let Some(found) = self.manifest(&place.inbox) {
            part.read(&found.value(), "", self.source.generation);
        }
        if let (OVERRIDE_FAILED, Some(rules)) = (error.reason.as_str(), &place.rules) {
            self.failed.push(Failed {
                placement: rules.placement.clone(),
                kind: "OverridesApplied",
                message: error.message.clone(),
            });
        }
        let told = ["TransformFailed", "RuleInvalid", OVERRIDE_FAILED];
        if told.contains(&error.reason.as_str()) {
            let said = format!("{}: {}", part.site, error.message);
            self.told.errors.push(said);
        }
        let refusal = self.refusal(&part.site, &error.reason, error.message);
        part.refuse(refusal);
    }

    fn too_large(&self, site: &str) -> ApplyError {
        let message = "the object and its envelope are larger than 1 MiB";
        self.refusal(site, "TooLarge", message.into())
    }

    /// What is said of an object that is not sent, since when it is so.
    fn refusal(&self, site: &str, reason: &str, message: String) -> ApplyError {
        let told = self.told();
        let known = told.sites.iter().find(|d| d.site == site);
        let known = known.and_then(|d| d.error.as_ref());
        let since = known
            .filter(|e| e.reason == reason)
            .map(|e| e.since.clone());
        ApplyError {
            reason: reason.into(),
            message,
            since: since.unwrap_or_else(|| self.sites.now()),
            ..ApplyError::default()
        }
    }

    /// What the Projection says now.
    pub(crate) fn told(&self) -> ProjectionStatus {
        let raw = self.projection.as_ref().and_then(|p| p.raw(&["status"]));
        raw.and_then(|raw| serde_json::from_slice(raw).ok())
            .unwrap_or_default()
    }

    fn new_manifest(&self, spec: &ManifestSpec) -> Value {
        json!({
            "apiVersion": API_VERSION, "kind": "Manifest",
            "metadata": {
                "name": self.name, "generation": 1, "finalizers": [names::MANIFEST_FINALIZER],
                "labels": {
                    names::SOURCE_CLUSTER_LABEL: self.source.cluster,
                    names::OBJECT_LABEL: self.name,
                },
            },
            "spec": spec,
        })
    }

    /// Whether the object is healthy, as wished, at all sites where it shall be.
    fn is_settled(&self, value: &Value) -> bool {
        !self.parts.is_empty() && self.parts.iter().all(|part| self.is_well(value, part))
    }

    /// Whether the object is healthy, as wished, at a site.
    fn is_well(&self, value: &Value, part: &Part) -> bool {
        let of = Of {
            group: &self.source.group,
            resource: &self.source.resource,
            generation: self.source.generation,
            object: value,
            rule: Some(&self.rule),
        };
        let mut told = Told {
            fuel: Fuel::for_sites(1),
            ..Told::default()
        };
        let mut part = part.clone();
        part.raise(&of, &mut told);
        part.is_well(&of, &mut told)
    }

    /// Leaves the object at a site as it is, for now or for good. Answers whether it is there.
    fn leave(&mut self, at: &Assignment) -> bool {
        let Some(manifest) = self.manifest(&at.cluster).filter(|m| !m.is_deleting()) else {
            return false;
        };
        let site = self.sites.site_of_inbox(&at.cluster);
        let place = site.map(|site| site_ref(&site, None)).unwrap_or_default();
        let mut part = Part::new(&at.site, &place);
        part.read(&manifest.value(), "", self.source.generation);
        part.state = "Left".into();
        part.counts = false;
        self.parts.push(part);
        true
    }

    /// Takes the object from a site. Answers whether it is still there: not when its Manifest is
    /// gone, and not when the site is Lost and the deletion stands durably in its inbox.
    fn withdraw(&mut self, from: &Assignment) -> Result<bool, DocumentError> {
        let Some(manifest) = self.manifest(&from.cluster) else {
            return Ok(false);
        };
        let site = self.sites.site_of_inbox(&from.cluster);
        let place = site.as_ref().map(|site| site_ref(site, None));
        if !manifest.is_deleting() {
            self.turn.delete(self.sites.tenancy.maker(), &manifest)?;
        }
        let promised = place.as_ref().is_some_and(|p| p.lost && p.tombstones);
        // The promise counts only once it is written.
        if promised && manifest.is_deleting() {
            return Ok(false);
        }
        let mut part = Part::new(&from.site, &place.unwrap_or_default());
        part.read(&manifest.value(), "", self.source.generation);
        part.state = "Removing".into();
        part.counts = false;
        self.parts.push(part);
        Ok(true)
    }

    fn withdraw_all(&mut self) -> Result<Vec<Assignment>, DocumentError> {
        let mut left = Vec::new();
        for assignment in self.old.sites.clone() {
            if self.withdraw(&assignment)? {
                left.push(assignment);
            }
        }
        Ok(left)
    }

    /// Writes the Projection and the object around the Manifests.
    fn finish(
        mut self,
        wanted: Option<&Wanted>,
        assigned: Vec<Assignment>,
    ) -> Result<Turn, DocumentError> {
        let manifests = std::mem::take(&mut self.turn.writes);
        let rule = Arc::clone(&self.rule);
        let value = self.object.as_ref().map(Object::value).unwrap_or_default();
        let source = self.source.clone();
        let of = Of {
            group: &source.group,
            resource: &source.resource,
            generation: source.generation,
            object: &value,
            rule: Some(&rule),
        };
        let mut up = Told {
            fuel: Fuel::for_sites(self.parts.len()),
            ..Told::default()
        };
        for part in &mut self.parts {
            part.raise(&of, &mut up);
        }
        let status = status::combine(&self.parts, &of, &mut up);
        let stays = wanted.is_some() || !assigned.is_empty();
        self.bring_born(&rule, wanted.is_some())?;
        let born = std::mem::take(&mut self.turn.writes);
        up.errors.append(&mut self.told_up);
        let summary = status::summarize(
            self.sites,
            &self.parts,
            (&of, wanted.map_or("", |w| &w.placement)),
            self.projection.as_ref(),
            (&self.told.errors, &mut up),
        );
        if stays {
            self.bring_object(status.filter(|_| wanted.is_some()), Some(&summary))?;
            self.bring_projection(wanted, assigned, &summary)?;
            self.turn.writes.extend(manifests);
            self.turn.writes.extend(born);
            self.events(&summary)?;
        } else {
            self.turn.writes.extend(manifests);
            self.turn.writes.extend(born);
            if let Some(projection) = self.projection.clone() {
                self.turn
                    .writes
                    .push(hanse_tenancy::Maker::delete(&projection));
            }
            self.bring_object(None, None)?;
        }
        Ok(self.turn)
    }

    fn bring_projection(
        &mut self,
        wanted: Option<&Wanted>,
        assigned: Vec<Assignment>,
        summary: &ProjectionStatus,
    ) -> Result<(), DocumentError> {
        // Kind and version survive the object; only its name is known afterwards.
        let mut source = match self.object {
            Some(_) => self.source.clone(),
            None => self.old.object.clone(),
        };
        source.generation = 0;
        let spec = ProjectionSpec {
            object: source,
            placement: wanted.map_or(self.old.placement.clone(), |w| w.placement.clone()),
            placement_cluster: wanted.map_or(self.old.placement_cluster.clone(), |w| {
                w.placement_cluster.clone()
            }),
            sites: assigned,
        };
        let maker = self.sites.tenancy.maker();
        let Some(found) = self.projection.clone() else {
            let mut value = json!({
                "apiVersion": API_VERSION, "kind": "Projection",
                // Whoever empties the workspace waits for us: the list of sites is needed last.
                "metadata": {
                    "name": self.name, "generation": 1, "finalizers": [names::SOURCE_FINALIZER],
                },
                "spec": spec,
            });
            sites::write(&mut value, "status", summary);
            let cluster = ClusterName::from(self.source.cluster.as_str());
            let draft = Draft::new(&self.sites.ids.projections, value);
            let home = match spec.placement_cluster.as_str() {
                "" => cluster.clone(),
                above => ClusterName::from(above),
            };
            let name = Arc::from(spec.placement.as_str());
            self.turn.wake.push(Key::Count(home, name));
            return self.turn.create(maker, &cluster, draft);
        };
        let mut value = found.value();
        if spec != self.old {
            let generation = value["metadata"]["generation"].as_i64().unwrap_or(1);
            value["metadata"]["generation"] = (generation + 1).into();
            sites::write(&mut value, "spec", &spec);
        }
        sites::write(&mut value, "status", summary);
        self.turn.update(maker, &found, &value)
    }

    /// Finalizer, status line and status of the tenant's object.
    fn bring_object(
        &mut self,
        status: Option<Value>,
        summary: Option<&ProjectionStatus>,
    ) -> Result<(), DocumentError> {
        let Some(object) = self.object.clone() else {
            return Ok(());
        };
        let mut value = object.value();
        match summary {
            Some(summary) => {
                // Nothing can be added to what is going, nor need it be: it stands there, or the
                // tenant took it off and the Manifests' deletions are the tombstones.
                if !object.is_deleting() {
                    hold(&mut value, names::SOURCE_FINALIZER);
                }
                annotate(
                    &mut value,
                    names::STATUS_ANNOTATION,
                    Some(&line::line(summary)),
                );
            }
            None => {
                let was = value["metadata"]["finalizers"]
                    .as_array()
                    .is_some_and(|f| f.iter().any(|f| f == names::SOURCE_FINALIZER));
                if !was {
                    return Ok(());
                }
                let_go(&mut value, names::SOURCE_FINALIZER);
                annotate(&mut value, names::STATUS_ANNOTATION, None);
                if status::travels(self.sites, &object) {
                    // Nobody reports it any more, so nothing is known.
                    value.as_object_mut().map(|m| m.remove("status"));
                }
            }
        }
        if let Some(status) = status {
            status::bring_up(self.sites, &object, &mut value, status);
        }
        let maker = self.sites.tenancy.maker();
        match summary {
            Some(_) => self.turn.update(maker, &object, &value),
            None => self.turn.release(maker, &object, &value),
        }
    }
}
