//! A Placement decided: which Sites its workspace sees, and which of them it gets.
//!
//! Invariant: a Site on which the Placement's author has no `use` is not mentioned anywhere. The
//! decision is written into the status and read from there, so every object of a Placement follows
//! one decision.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use hanse_apis::sites::{
    self, Condition, GROUP, PlacementStatus, SiteDecision, names, set_condition,
};
use hanse_auth::{Attributes, UserInfo};
use hanse_cache::{ClusterName, DocumentError, Object, ObjectKey};
use hanse_rules::path;
use hanse_rules::placement::policy::{Failure, Policy, Subject};
use hanse_rules::placement::{Candidate, Decision, Request, decide};
use serde_json::Value;

use crate::limits::{ANCESTORS_MAX, DECISIONS_MAX, FAILURES_MAX};
use crate::run::{Key, Sites};
use crate::turn::Turn;

/// What the Placements of a workspace say about an object.
#[derive(Default)]
pub struct Choice {
    /// The one that selects it.
    pub placement: Option<(Object, Arc<Policy>)>,
    /// Those before it whose expressions failed.
    pub failures: Vec<(ObjectKey, Failure)>,
}

/// Expressions that failed, by Placement and object. Every object that a Placement's kinds name is
/// looked at after a start, so this needs no memory of its own.
#[derive(Default)]
pub struct Failures {
    of: BTreeMap<(ClusterName, Arc<str>), BTreeMap<Key, String>>,
}

impl Failures {
    /// Notes what failed for an object now; answers the Placements of which that is news.
    pub fn note(
        &mut self,
        object: &Key,
        told: &str,
        failures: &[(ObjectKey, Failure)],
    ) -> Vec<Key> {
        let mut news = Vec::new();
        for ((cluster, name), objects) in &mut self.of {
            let stays =
                |(key, _): &&(ObjectKey, Failure)| key.cluster == *cluster && key.name == *name;
            if !failures.iter().any(|f| stays(&f)) && objects.remove(object).is_some() {
                news.push(Key::Count(cluster.clone(), Arc::clone(name)));
            }
        }
        for (key, failure) in failures {
            let of = (key.cluster.clone(), Arc::clone(&key.name));
            let message = format!("{}: {} ({told})", failure.field, failure.message);
            let objects = self.of.entry(of).or_default();
            let known = objects.get(object) == Some(&message);
            if known || (objects.len() >= FAILURES_MAX && !objects.contains_key(object)) {
                continue;
            }
            objects.insert(object.clone(), message);
            news.push(Key::Count(key.cluster.clone(), Arc::clone(&key.name)));
        }
        self.of.retain(|_, objects| !objects.is_empty());
        news
    }

    /// What is said of a Placement: the first failure, and how many there are.
    fn told(&self, cluster: &str, name: &str) -> Option<String> {
        let of = (ClusterName::from(cluster), Arc::from(name));
        let objects = self.of.get(&of)?;
        let first = objects.values().next()?;
        Some(match objects.len() {
            1 => first.clone(),
            n => format!("{first}, and {} more objects", n - 1),
        })
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
    let mut value = placement.value();
    let mut status: PlacementStatus = sites::read(&value, "status").unwrap_or_default();
    status.observed_generation = value["metadata"]["generation"].as_i64().unwrap_or(0);
    status.objects = placed(sites, cluster, name);
    let author = author(&placement);
    let seen = match &author {
        Some(author) => visible(sites, cluster, author),
        None => BTreeMap::new(),
    };
    let policy = sites.facts.policy(&placement);
    let decision = decided(sites, &placement, &policy, &seen, &status.sites);
    status.chosen = i64::try_from(decision.chosen()).unwrap_or(0);
    if let Some(moment) = decision.again {
        let seconds = u64::try_from(moment - sites.seconds()).unwrap_or(0);
        turn.again_in(Duration::from_secs(seconds));
    }
    let wanted = policy.spec.spread.count;
    let placed = match (author.is_some(), &decision.unmet) {
        (false, _) => Err((
            "AuthorUnknown",
            "nobody is known to have written the spec".into(),
        )),
        (_, Some(unmet)) => Err(("SpreadUnmet", unmet.clone())),
        _ if seen.is_empty() => Err(("NoSites", "there is no Site that its author may use".into())),
        _ if status.chosen == 0 => Err(("NoneFits", "no Site fits; status.sites says why".into())),
        _ => Ok(match wanted.filter(|n| *n > status.chosen) {
            Some(n) => format!(
                "{} of {n} sites; status.sites says why no more",
                status.chosen
            ),
            None => String::new(),
        }),
    };
    status.sites = decision.sites;
    if status.sites.len() > DECISIONS_MAX {
        status.sites.sort_by_key(|d| !d.chosen);
        status.sites.truncate(DECISIONS_MAX);
    }
    observe(sites, &mut status, "Placed", "Placed", placed);
    let selected = sites.failures.lock().told(cluster, name);
    let selected = match selected {
        Some(message) => Err(("ExpressionFailed", message)),
        None => Ok(String::new()),
    };
    observe(sites, &mut status, "ObjectsSelected", "Selected", selected);
    sites::write(&mut value, "status", &status);
    turn.update(sites.tenancy.maker(), &placement, &value)?;
    Ok(turn)
}

/// The decision about a Placement, with the Sites that its author sees.
fn decided(
    sites: &Sites,
    placement: &Object,
    policy: &Policy,
    seen: &BTreeMap<String, (ClusterName, Object)>,
    previous: &[SiteDecision],
) -> Decision {
    let candidates: Vec<Arc<Candidate>> = seen
        .values()
        .map(|(_, site)| sites.facts.candidate(site))
        .collect();
    let candidates: Vec<&Candidate> = candidates.iter().map(|c| &**c).collect();
    let key = placement.key();
    let below = sites.as_below(&key.cluster, &policy.spec);
    let request = Request {
        spec: &below,
        identity: &format!("{}/{}", key.cluster, key.name),
        now: sites.seconds(),
        previous,
    };
    decide(&request, &candidates)
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

/// How many objects a Placement has placed.
fn placed(sites: &Sites, cluster: &str, name: &str) -> i64 {
    let view = sites.tenancy.view();
    let all = view.list_cluster(&sites.ids.projections, cluster);
    let own = |p: &&Object| p.text(&["spec", "placement"]).is_some_and(|p| p == name);
    i64::try_from(all.iter().filter(own).count()).unwrap_or(i64::MAX)
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
    sites: &Sites,
    cluster: &str,
    user: &UserInfo,
) -> BTreeMap<String, (ClusterName, Object)> {
    let view = sites.tenancy.view();
    let mut out = BTreeMap::new();
    let mut at = Some(ClusterName::from(cluster));
    let mut place = view.canonical_path(cluster);
    for _ in 0..ANCESTORS_MAX {
        if let Some(home) = &at {
            for site in view.list_cluster(&sites.ids.sites, home) {
                let name = site.key().name.to_string();
                let want = Attributes::resource(user, "use", GROUP, "sites", &name);
                let may = sites
                    .tenancy
                    .authorizer()
                    .authorize(&want, Some(home))
                    .allowed;
                if may && !out.contains_key(&name) {
                    out.insert(name, (home.clone(), site));
                }
            }
        }
        let Some(parent) = path::parent(&place).map(str::to_owned) else {
            break;
        };
        at = view.existing_cluster(&parent);
        place = parent;
    }
    out
}

/// The Placement of an object: the first, by name, that selects it and stays; and the Placements
/// whose expressions failed for it.
#[must_use]
pub fn of_object(sites: &Sites, object: &Object) -> Choice {
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
    let mut choice = Choice::default();
    for placement in sites
        .tenancy
        .view()
        .list_cluster(&sites.ids.placements, &key.cluster)
    {
        if placement.is_deleting() {
            continue;
        }
        let policy = sites.facts.policy(&placement);
        match policy.selects(&subject, &|| object.value()) {
            Ok(true) => {
                choice.placement = Some((placement, policy));
                break;
            }
            Ok(false) => {}
            Err(failure) => choice.failures.push((placement.key().clone(), failure)),
        }
    }
    choice
}
