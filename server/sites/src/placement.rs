//! A Placement decided: which Sites its workspace sees, and which of them it gets.
//!
//! Invariant: a Site on which the Placement's author has no `use` is not mentioned anywhere. The
//! decision is written into the status and read from there, so every object of a Placement follows
//! one decision.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use hanse_apis::sites::{self, Condition, GROUP, PlacementStatus, names, set_condition};
use hanse_auth::{Attributes, UserInfo};
use hanse_cache::{ClusterName, DocumentError, Object, ObjectKey};
use hanse_rules::placement::policy::{Policy, Subject};
use hanse_rules::placement::{Candidate, Decision, Request, decide};
use serde_json::Value;

use crate::limits::{DECISIONS_MAX, FAILURES_MAX};
use crate::picture::Picture;
use crate::run::{Key, Sites};
use crate::turn::Turn;

/// The conditions that tell of failing expressions: type, reason when well, reason when not.
const FAILING: [(&str, &str, &str); 2] = [
    ("ObjectsSelected", "Selected", "ExpressionFailed"),
    ("OverridesApplied", "Applied", "OverrideFailed"),
];

/// What the Placements say about an object.
#[derive(Default)]
pub struct Choice {
    /// The one that selects it.
    pub placement: Option<(Object, Arc<Policy>)>,
    /// Those before it whose expressions failed.
    pub failures: Vec<Failed>,
}

/// An expression that failed for an object.
pub struct Failed {
    /// Whose it is.
    pub placement: ObjectKey,
    /// The condition that tells it.
    pub kind: &'static str,
    /// What failed: where the expression stands, and why.
    pub message: String,
}

/// A Placement: its logical cluster and name.
type Which = (ClusterName, Arc<str>);
/// The condition that tells something, and what it tells.
type Told = (&'static str, String);

/// Expressions that failed, by Placement and object. Every object that a Placement's kinds name is
/// looked at after a start, so this needs no memory of its own.
#[derive(Default)]
pub struct Failures {
    of: BTreeMap<Which, BTreeMap<Key, Told>>,
}

impl Failures {
    /// Notes what failed for an object now; answers the Placements of which that is news.
    pub fn note(&mut self, object: &Key, told: &str, failed: &[Failed]) -> Vec<Key> {
        let mut now: BTreeMap<Which, Told> = BTreeMap::new();
        for f in failed {
            let of = (f.placement.cluster.clone(), Arc::clone(&f.placement.name));
            let message = format!("{} ({told})", f.message);
            now.entry(of).or_insert((f.kind, message));
        }
        let mut news = Vec::new();
        for (of, objects) in &mut self.of {
            if !now.contains_key(of) && objects.remove(object).is_some() {
                news.push(Key::Count(of.0.clone(), Arc::clone(&of.1)));
            }
        }
        for (of, row) in now {
            let objects = self.of.entry(of.clone()).or_default();
            let full = objects.len() >= FAILURES_MAX && !objects.contains_key(object);
            if full || objects.get(object) == Some(&row) {
                continue;
            }
            objects.insert(object.clone(), row);
            news.push(Key::Count(of.0, of.1));
        }
        self.of.retain(|_, objects| !objects.is_empty());
        news
    }

    /// What a condition of a Placement says: the first failure, and how many there are.
    fn told(&self, cluster: &str, name: &str, kind: &str) -> Option<String> {
        let objects = self.of.get(&(cluster.into(), Arc::from(name)))?;
        let mut mine = objects.values().filter(|(k, _)| *k == kind);
        let (_, first) = mine.next()?;
        Some(match mine.count() {
            0 => first.clone(),
            more => format!("{first}, and {more} more objects"),
        })
    }
}

/// The objects that Placements of other workspaces have placed.
#[derive(Default)]
pub struct Inherited {
    of: BTreeMap<Which, BTreeSet<Key>>,
    by: BTreeMap<Key, Which>,
}

impl Inherited {
    /// Notes by which Placement above an object is placed, if by one.
    pub fn note(&mut self, object: &Key, by: Option<Which>) {
        let old = match &by {
            Some(by) => self.by.insert(object.clone(), by.clone()),
            None => self.by.remove(object),
        };
        if let Some(old) = old
            && let Some(objects) = self.of.get_mut(&old)
        {
            objects.remove(object);
            if objects.is_empty() {
                self.of.remove(&old);
            }
        }
        if let Some(by) = by {
            self.of.entry(by).or_default().insert(object.clone());
        }
    }

    /// The objects that a Placement has placed below its workspace.
    pub fn all(&self, cluster: &str, name: &str) -> Vec<Key> {
        let objects = self.of.get(&(cluster.into(), Arc::from(name)));
        objects.into_iter().flatten().cloned().collect()
    }

    fn count(&self, cluster: &str, name: &str) -> usize {
        let objects = self.of.get(&(cluster.into(), Arc::from(name)));
        objects.map_or(0, BTreeSet::len)
    }
}

/// Looks at one Placement.
///
/// # Errors
/// A tree that is no object.
pub fn reconcile(sites: &Sites, cluster: &str, name: &str) -> Result<Turn, DocumentError> {
    let mut turn = Turn::default();
    let view = sites.tenancy.view();
    let Some(placement) = view.get(&sites.ids.placements, cluster, "", name) else {
        return Ok(turn);
    };
    if placement.is_deleting() {
        return Ok(turn);
    }
    let picture = Picture::live(sites);
    let policy = picture.policy(&placement);
    let (mut status, decision) = decided(&picture, &placement, &policy);
    if let Some(moment) = decision.again {
        let seconds = u64::try_from(moment - sites.seconds()).unwrap_or(0);
        turn.again_in(Duration::from_secs(seconds));
    }
    let mut value = placement.value();
    status.observed_generation = value["metadata"]["generation"].as_i64().unwrap_or(0);
    status.objects = placed(sites, &placement, &policy);
    let placed = placed_or_not(&placement, &policy, &status, &decision);
    observe(sites, &mut status, "Placed", "Placed", placed);
    for (kind, well, bad) in FAILING {
        let told = sites.failures.lock().told(cluster, name, kind);
        let found = told.map_or(Ok(String::new()), |message| Err((bad, message)));
        observe(sites, &mut status, kind, well, found);
    }
    sites::write(&mut value, "status", &status);
    turn.update(sites.tenancy.maker(), &placement, &value)?;
    Ok(turn)
}

/// Whether there are sites, and if not, why.
fn placed_or_not(
    placement: &Object,
    policy: &Policy,
    status: &PlacementStatus,
    decision: &Decision,
) -> Result<String, (&'static str, String)> {
    let wanted = policy.spec.spread.count;
    match (author(placement).is_some(), &decision.unmet) {
        (false, _) => Err((
            "AuthorUnknown",
            "nobody is known to have written the spec".into(),
        )),
        (_, Some(unmet)) => Err(("SpreadUnmet", unmet.clone())),
        _ if status.sites.is_empty() => {
            Err(("NoSites", "there is no Site that its author may use".into()))
        }
        _ if status.chosen == 0 => Err(("NoneFits", "no Site fits; status.sites says why".into())),
        _ => Ok(match wanted.filter(|n| *n > status.chosen) {
            Some(n) => format!(
                "{} of {n} sites; status.sites says why no more",
                status.chosen
            ),
            None => String::new(),
        }),
    }
}

/// The decision about a Placement, and the status that follows from the one before.
#[must_use]
pub fn decided(
    picture: &Picture<'_>,
    placement: &Object,
    policy: &Policy,
) -> (PlacementStatus, Decision) {
    let raw = placement.raw(&["status"]).unwrap_or(b"{}");
    let mut status: PlacementStatus = serde_json::from_slice(raw).unwrap_or_default();
    let key = placement.key();
    let seen = match author(placement) {
        Some(author) => visible(picture, &key.cluster, &author),
        None => BTreeMap::new(),
    };
    let candidates: Vec<Arc<Candidate>> = seen
        .values()
        .map(|(_, site)| picture.candidate(site))
        .collect();
    let candidates: Vec<&Candidate> = candidates.iter().map(|c| &**c).collect();
    let below = picture.as_below(&key.cluster, &policy.spec);
    let request = Request {
        spec: &below,
        identity: &format!("{}/{}", key.cluster, key.name),
        now: picture.sites.seconds(),
        previous: &status,
    };
    let decision = decide(&request, &candidates);
    decision.clone().into_status(&mut status);
    if status.sites.len() > DECISIONS_MAX {
        status.sites.sort_by_key(|d| !d.chosen);
        status.sites.truncate(DECISIONS_MAX);
    }
    (status, decision)
}

/// Sets a condition: true with a note, or false with reason and message.
fn observe(
    sites: &Sites,
    status: &mut PlacementStatus,
    kind: &str,
    well: &str,
    found: Result<String, (&str, String)>,
) {
    let (state, reason, message) = match found {
        Ok(note) => ("True", well, note),
        Err((reason, message)) => ("False", reason, message),
    };
    let condition = Condition {
        r#type: kind.into(),
        status: state.into(),
        reason: reason.into(),
        message,
        last_transition_time: sites.now(),
        observed_generation: status.observed_generation,
    };
    set_condition(&mut status.conditions, condition);
}

/// How many objects a Placement has placed, in its workspace and, when it reaches down, below.
fn placed(sites: &Sites, placement: &Object, policy: &Policy) -> i64 {
    let view = sites.tenancy.view();
    let key = placement.key();
    let own = |p: &&Object| {
        p.text(&["spec", "placement"])
            .is_some_and(|n| *n == *key.name)
            && p.raw(&["spec", "placementCluster"]).is_none()
    };
    let here = view.list_cluster(&sites.ids.projections, &key.cluster);
    let here = here.iter().filter(own).count();
    let below = match policy.spec.reaches_down() {
        true => sites.inherited.lock().count(&key.cluster, &key.name),
        false => 0,
    };
    i64::try_from(here + below).unwrap_or(i64::MAX)
}

/// Who wrote the spec of a Placement last, as the server noted it.
#[must_use]
pub fn author(placement: &Object) -> Option<UserInfo> {
    let text = placement.annotation(names::AUTHOR_ANNOTATION)?;
    let value: Value = serde_json::from_str(&text).ok()?;
    let list = |v: &Value| -> Vec<String> {
        let items = v.as_array().into_iter().flatten();
        items
            .filter_map(|v| v.as_str().map(str::to_owned))
            .collect()
    };
    let extra = value["extra"].as_object().into_iter().flatten();
    Some(UserInfo {
        name: value["username"].as_str()?.to_owned(),
        uid: value["uid"].as_str().unwrap_or_default().to_owned(),
        groups: list(&value["groups"]),
        extra: extra.map(|(k, v)| (k.clone(), list(v))).collect(),
    })
}

/// The Sites of a workspace and its ancestors that a user may use, by name; a nearer one hides a
/// farther one of the same name.
#[must_use]
pub fn visible(
    picture: &Picture<'_>,
    cluster: &str,
    user: &UserInfo,
) -> BTreeMap<String, (ClusterName, Object)> {
    let sites = picture.sites;
    let authorizer = sites.tenancy.authorizer();
    let mut out = BTreeMap::new();
    for home in sites.facts.lineage(sites.tenancy.view(), cluster).iter() {
        for site in picture.list(&sites.ids.sites, home) {
            let name = site.key().name.to_string();
            let want = Attributes::resource(user, "use", GROUP, "sites", &name);
            if !out.contains_key(&name) && authorizer.authorize(&want, Some(home)).allowed {
                out.insert(name, (home.clone(), site));
            }
        }
    }
    out
}

/// The Placement of an object: the first, by name, of its own workspace that selects it and stays,
/// otherwise of the nearest workspace above whose Placement reaches down; and the Placements whose
/// expressions failed for it.
#[must_use]
pub fn of_object(picture: &Picture<'_>, object: &Object) -> Choice {
    let key = object.key();
    let labels: BTreeMap<String, String> = object
        .labels()
        .map(|(k, v)| (k.to_owned(), v.to_owned()))
        .collect();
    let subject = Subject {
        group: key.resource.group(),
        resource: key.resource.resource(),
        namespace: &key.namespace,
        name: &key.name,
        labels: &labels,
    };
    let sites = picture.sites;
    let mut choice = Choice::default();
    for home in sites
        .facts
        .lineage(sites.tenancy.view(), &key.cluster)
        .iter()
    {
        for placement in picture.list(&sites.ids.placements, home) {
            if placement.is_deleting() {
                continue;
            }
            let policy = picture.policy(&placement);
            if *home != key.cluster && !policy.spec.reaches_down() {
                continue;
            }
            match policy.selects(&subject, &|| object.value()) {
                Ok(true) => {
                    choice.placement = Some((placement, policy));
                    return choice;
                }
                Ok(false) => {}
                Err(failure) => choice.failures.push(Failed {
                    placement: placement.key().clone(),
                    kind: "ObjectsSelected",
                    message: format!("{}: {}", failure.field, failure.message),
                }),
            }
        }
    }
    choice
}
