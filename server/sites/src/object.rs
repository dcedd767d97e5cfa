//! From a tenant's object to its sites, and back: the function in the middle.
//!
//! Start at [`reconcile`]. Whatever wakes it (the object, its Placement, a Manifest's status, a
//! Site that fell silent), it looks at all of it and answers the writes that bring it right, in
//! the order in which they must become true: the finalizer on the object, the site in the
//! Projection, the Manifest in the inbox; and backwards when something leaves.

use std::collections::BTreeMap;
use std::sync::Arc;

use hanse_apis::sites::{
    self, API_VERSION, ApplyError, Assignment, ManifestSpec, ProjectionSpec, ProjectionStatus,
    SiteDecision, SiteSpec, SiteStatus, Source, names,
};
use hanse_cache::{ClusterName, DocumentError, Object, ObjectKey};
use hanse_projection::aggregate::{Of, Told};
use hanse_projection::expr::Fuel;
use hanse_projection::names::object_name;
use hanse_projection::render::at;
use hanse_projection::{Rule, kinds, line};
use hanse_rules::placement::policy::Policy;
use hanse_rules::placement::shares;
use hanse_tenancy::Draft;
use serde_json::{Value, json};

use crate::intent::Intent;
use crate::limits::{FOLLOW_DEPTH, MANIFEST_BYTES_MAX, SOON};
use crate::run::{Key, Sites};
use crate::status::{self, Part};
use crate::turn::{Turn, annotate, hold, let_go};
use crate::{inbox, placement};

/// A Site as a placed object sees it.
#[derive(Clone, Debug, Default)]
pub struct SiteRef {
    /// Its inbox.
    pub inbox: String,
    /// Whether nothing is known of it.
    pub lost: bool,
    /// Since when.
    pub lost_since: String,
    /// Whether the end of objects may be promised while it is lost.
    pub tombstones: bool,
    /// Whether its syncer holds removals back.
    pub parked: bool,
    /// Kinds outside of namespaces that it takes.
    pub cluster_scoped: Vec<String>,
    /// Its labels.
    pub labels: BTreeMap<String, String>,
    /// The workspace of its Site.
    pub home: String,
}

/// What an object shall have.
struct Wanted {
    placement: String,
    /// The decision by which replicas are divided, when they are.
    divided: Option<(Arc<Policy>, Vec<SiteDecision>)>,
    sites: BTreeMap<String, SiteRef>,
}

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
    let placed = object.as_ref().filter(|o| !o.is_deleting());
    let choice = placed.map(|object| placement::of_object(sites, object));
    let choice = choice.unwrap_or_default();
    let wanted = match placed {
        Some(object) => match wanted(sites, object, &rule, &choice) {
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
    };
    let assigned = match &wanted {
        Some(wanted) => work.send(wanted)?,
        None => work.withdraw_all()?,
    };
    let object = work.object.clone().filter(|o| !o.is_deleting());
    let mut turn = work.finish(wanted.as_ref(), assigned)?;
    let moved = !turn.writes.is_empty();
    turn.wake
        .extend(sites.follow(key, object.as_ref(), &choice, moved));
    turn.wake.extend(sites.note_failures(key, &choice.failures));
    Ok(turn)
}

/// Identity of an object.
fn source(key: &ObjectKey, object: Option<&Object>) -> Source {
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

/// What the Placements say about an object.
enum Decision {
    /// It goes to these sites.
    Sites(Wanted),
    /// It stays where it is.
    Nowhere,
    /// Its Placement has not been decided.
    Open,
}

fn wanted(sites: &Sites, object: &Object, rule: &Rule, choice: &placement::Choice) -> Decision {
    let key = object.key();
    let stays = kinds::stays(key.resource.group(), key.resource.resource(), &key.name).is_some()
        || rule.spec.exclude_names.iter().any(|n| **n == *key.name)
        || object.label(names::IGNORE_LABEL).is_some();
    if stays {
        return Decision::Nowhere;
    }
    let mut decision = going(sites, object, choice, FOLLOW_DEPTH);
    // What was born at a site is there already.
    if let Decision::Sites(wanted) = &mut decision
        && let Some(born) = object.annotation(names::BORN_ANNOTATION)
    {
        let home = born.split('/').next().unwrap_or_default();
        wanted.sites.remove(home);
    }
    decision
}

/// Where an object goes by a Placement, or by what needs it.
fn going(sites: &Sites, object: &Object, choice: &placement::Choice, depth: usize) -> Decision {
    match &choice.placement {
        Some((placement, policy)) => decided(sites, placement, policy),
        None => followed(sites, object.key(), depth),
    }
}

/// What a Placement has decided.
fn decided(sites: &Sites, placement: &Object, policy: &Arc<Policy>) -> Decision {
    let status = placement
        .raw(&["status"])
        .and_then(|raw| serde_json::from_slice(raw).ok());
    let (Some(author), Some(status)) = (placement::author(placement), status) else {
        return Decision::Open;
    };
    let mut status: sites::PlacementStatus = status;
    let seen = placement::visible(sites, &placement.key().cluster, &author);
    status
        .sites
        .retain(|d| d.chosen && seen.contains_key(&d.site));
    let chosen = status
        .sites
        .iter()
        .filter_map(|d| Some((d.site.clone(), site_ref(&seen.get(&d.site)?.1))))
        .collect();
    let divides = policy.spec.spread.divides();
    Decision::Sites(Wanted {
        placement: placement.key().name.to_string(),
        divided: divides.then(|| (Arc::clone(policy), status.sites)),
        sites: chosen,
    })
}

/// An object that no Placement selects goes wherever a placed object goes that needs it, or needs
/// what needs it.
fn followed(sites: &Sites, key: &ObjectKey, depth: usize) -> Decision {
    let mut out: Option<Wanted> = None;
    let by = match depth {
        0 => Vec::new(),
        _ => sites.followed(key),
    };
    for workload in by {
        let Some(workload) = sites.tenancy.view().hub().get(&workload) else {
            continue;
        };
        let choice = placement::of_object(sites, &workload);
        match going(sites, &workload, &choice, depth - 1) {
            Decision::Sites(wanted) => match &mut out {
                Some(out) => out.sites.extend(wanted.sites),
                None => {
                    out = Some(Wanted {
                        divided: None,
                        ..wanted
                    });
                }
            },
            Decision::Open => return Decision::Open,
            Decision::Nowhere => {}
        }
    }
    out.map_or(Decision::Nowhere, Decision::Sites)
}

fn site_ref(site: &Object) -> SiteRef {
    let value = site.value();
    let spec: SiteSpec = sites::read(&value, "spec").unwrap_or_default();
    let status: SiteStatus = sites::read(&value, "status").unwrap_or_default();
    SiteRef {
        inbox: inbox::name(site).to_string(),
        lost: status.contact == "Lost",
        lost_since: status.contact_since,
        tombstones: spec.lost_deletion != "Wait",
        parked: !status.parked.is_empty(),
        cluster_scoped: spec.cluster_scoped,
        labels: site
            .labels()
            .map(|(k, v)| (k.to_owned(), v.to_owned()))
            .collect(),
        home: site.key().cluster.to_string(),
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
        let shares = self.shares(wanted, &value);
        let mut assigned = Vec::new();
        for (site, place) in &wanted.sites {
            let share = shares.as_ref().map(|(path, of)| (path.as_str(), of[site]));
            assigned.push(Assignment {
                site: site.clone(),
                cluster: place.inbox.clone(),
                replicas: share.map(|(_, n)| n),
            });
            let part = self.deliver(&value, site, place, share)?;
            self.parts.push(part);
        }
        let leaving: Vec<Assignment> = self
            .old
            .sites
            .iter()
            .filter(|a| !assigned.iter().any(|b| b.cluster == a.cluster))
            .cloned()
            .collect();
        for assignment in leaving {
            let name_is_taken = assigned.iter().any(|b| b.site == assignment.site);
            if self.withdraw(&assignment)? && !name_is_taken {
                assigned.push(assignment);
            }
        }
        assigned.sort_by(|a, b| a.site.cmp(&b.site));
        Ok(assigned)
    }

    fn shares(&self, wanted: &Wanted, value: &Value) -> Option<(String, BTreeMap<String, i64>)> {
        let row = kinds::row(&self.source.group, &self.source.resource).and_then(|r| r.replicas);
        let path = match self.rule.spec.replicas_path.as_str() {
            "" => row?,
            path => path,
        };
        let (policy, decision) = wanted.divided.as_ref()?;
        if wanted.sites.is_empty() {
            return None;
        }
        let total = at(value, path).and_then(Value::as_i64).unwrap_or(1);
        Some((path.to_owned(), shares(&policy.spec, decision, total)))
    }

    /// Puts what one site shall have into its inbox, and reads what became of it.
    fn deliver(
        &mut self,
        value: &Value,
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
        if matches!(error.reason.as_str(), "TransformFailed" | "RuleInvalid") {
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

    /// Takes the object from a site. Answers whether it is still there: not when its Manifest is
    /// gone, and not when the site is Lost and the deletion stands durably in its inbox.
    fn withdraw(&mut self, from: &Assignment) -> Result<bool, DocumentError> {
        let Some(manifest) = self.manifest(&from.cluster) else {
            return Ok(false);
        };
        let site = self.sites.site_of_inbox(&from.cluster);
        let place = site.as_ref().map(site_ref);
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
            self.turn.wake.push(Key::Count(
                cluster.clone(),
                Arc::from(spec.placement.as_str()),
            ));
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
