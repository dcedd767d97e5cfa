//! A Placement decided: which Sites its workspace sees, and which of them it gets.
//!
//! Invariant: a Site on which the Placement's author has no `use` is not mentioned anywhere. The
//! decision is written into the status and read from there, so every object of a Placement follows
//! one decision.

use std::collections::BTreeMap;

use hanse_apis::sites::{
    self, Assignment, Condition, GROUP, PlacementSpec, PlacementStatus, SiteSpec, SiteStatus,
    names, set_condition,
};
use hanse_auth::{Attributes, UserInfo};
use hanse_cache::{ClusterName, DocumentError, Object};
use hanse_projection::place::{SiteFacts, place};
use hanse_rules::path;
use serde_json::Value;

use crate::limits::{ANCESTORS_MAX, DECISIONS_MAX};
use crate::run::Sites;
use crate::turn::Turn;

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
    let spec: PlacementSpec = sites::read(&value, "spec").unwrap_or_default();
    let mut status: PlacementStatus = sites::read(&value, "status").unwrap_or_default();
    let (objects, held) = placed(sites, cluster, name);
    let author = author(&placement);
    let seen = match &author {
        Some(author) => visible(sites, cluster, author),
        None => BTreeMap::new(),
    };
    let facts: Vec<SiteFacts> = seen
        .iter()
        .map(|(name, (_, site))| facts(name, site, &held))
        .collect();
    let mut decisions = place(&spec, &format!("{cluster}/{name}"), &facts);
    status.chosen = i64::try_from(decisions.iter().filter(|d| d.chosen).count()).unwrap_or(0);
    if decisions.len() > DECISIONS_MAX {
        decisions.sort_by_key(|d| !d.chosen);
        decisions.truncate(DECISIONS_MAX);
    }
    status.observed_generation = value["metadata"]["generation"].as_i64().unwrap_or(0);
    status.objects = objects;
    status.sites = decisions;
    let (state, reason, message) = match (author.is_some(), status.chosen, facts.len()) {
        (false, ..) => (
            "False",
            "AuthorUnknown",
            "nobody is known to have written the spec",
        ),
        (_, 0, 0) => (
            "False",
            "NoSites",
            "there is no Site that its author may use",
        ),
        (_, 0, _) => ("False", "NoneFits", "no Site fits; status.sites says why"),
        _ => ("True", "Placed", ""),
    };
    set_condition(
        &mut status.conditions,
        Condition {
            r#type: "Placed".into(),
            status: state.into(),
            reason: reason.into(),
            message: message.into(),
            last_transition_time: sites.now(),
            observed_generation: status.observed_generation,
        },
    );
    sites::write(&mut value, "status", &status);
    turn.update(sites.tenancy.maker(), &placement, &value)?;
    Ok(turn)
}

/// How many objects a Placement has placed, and at which sites.
fn placed(sites: &Sites, cluster: &str, name: &str) -> (i64, BTreeMap<String, bool>) {
    let mut held = BTreeMap::new();
    let mut objects = 0;
    for projection in sites
        .tenancy
        .view()
        .list_cluster(&sites.ids.projections, cluster)
    {
        if projection
            .text(&["spec", "placement"])
            .is_none_or(|p| p != name)
        {
            continue;
        }
        objects += 1;
        let raw = projection.raw(&["spec", "sites"]).unwrap_or(b"[]");
        let assigned: Vec<Assignment> = serde_json::from_slice(raw).unwrap_or_default();
        held.extend(assigned.into_iter().map(|a| (a.site, true)));
    }
    (objects, held)
}

fn facts(name: &str, site: &Object, held: &BTreeMap<String, bool>) -> SiteFacts {
    let value = site.value();
    let spec: SiteSpec = sites::read(&value, "spec").unwrap_or_default();
    let status: SiteStatus = sites::read(&value, "status").unwrap_or_default();
    SiteFacts {
        name: name.to_owned(),
        uid: site.uid().to_owned(),
        labels: site
            .labels()
            .map(|(k, v)| (k.to_owned(), v.to_owned()))
            .collect(),
        joined: !status.cluster_uid.is_empty(),
        unschedulable: spec.unschedulable,
        leaving: site.is_deleting(),
        held: held.contains_key(name),
    }
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

/// The Placement of an object: the first, by name, that selects it and stays.
#[must_use]
pub fn of_object(sites: &Sites, object: &Object) -> Option<(Object, PlacementSpec)> {
    let key = object.key();
    let view = sites.tenancy.view();
    let labels: BTreeMap<String, String> = object
        .labels()
        .map(|(k, v)| (k.to_owned(), v.to_owned()))
        .collect();
    for placement in view.list_cluster(&sites.ids.placements, &key.cluster) {
        if placement.is_deleting() {
            continue;
        }
        let spec: PlacementSpec = match placement.raw(&["spec"]) {
            Some(raw) => serde_json::from_slice(raw).unwrap_or_default(),
            None => continue,
        };
        let fits = spec.objects.iter().any(|o| {
            o.group == key.resource.group()
                && o.resource == key.resource.resource()
                && (o.namespaces.is_empty() || o.namespaces.iter().any(|n| **n == *key.namespace))
                && o.selector.matches(&labels)
        });
        if fits {
            return Some((placement, spec));
        }
    }
    None
}
