//! Where an object goes: the sites of its Placement, and what each of them gets of its replicas.
//!
//! Start at [`wanted`]. Invariant: a function of a [`Picture`], so that what a plan shows and what
//! the controllers do come from the same lines. What one site gets is in `intent.rs`.

use std::collections::BTreeMap;
use std::sync::Arc;

use hanse_apis::sites::{self, PlacementStatus, SiteDecision, SiteSpec, SiteStatus, Source, names};
use hanse_cache::{Object, ObjectKey};
use hanse_projection::render::at;
use hanse_projection::{Rule, kinds};
use hanse_rules::placement::policy::Policy;
use hanse_rules::placement::{Candidate, shares};
use serde_json::Value;

use crate::inbox;
use crate::limits::FOLLOW_DEPTH;
use crate::picture::Picture;
use crate::placement::{self, Choice};

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
    /// What its Placement makes of objects there.
    pub rules: Option<Rules>,
}

/// What a Placement makes of objects at a site.
#[derive(Clone, Debug)]
pub struct Rules {
    /// The Placement, compiled.
    pub policy: Arc<Policy>,
    /// Which it is.
    pub placement: ObjectKey,
    /// The site.
    pub site: Arc<Candidate>,
}

/// What an object shall have.
pub struct Wanted {
    /// Name of the Placement.
    pub placement: String,
    /// Its logical cluster, when it is not the object's.
    pub placement_cluster: String,
    /// Whether the Placement selects the object itself; otherwise it only goes along.
    pub listed: bool,
    /// The decision by which replicas are divided, when they are.
    divided: Option<(Arc<Policy>, Vec<SiteDecision>)>,
    /// The sites.
    pub sites: BTreeMap<String, SiteRef>,
    /// Sites that were chosen before and failed, with what becomes of the object there.
    pub purge: BTreeMap<String, String>,
}

/// What the Placements say about an object.
pub enum Decision {
    /// It goes to these sites.
    Sites(Wanted),
    /// It stays where it is.
    Nowhere,
    /// Its Placement has not been decided.
    Open,
}

/// Where an object goes; `choice` is what the Placements say of it.
#[must_use]
pub fn wanted(picture: &Picture<'_>, object: &Object, rule: &Rule, choice: &Choice) -> Decision {
    let key = object.key();
    let stays = kinds::stays(key.resource.group(), key.resource.resource(), &key.name).is_some()
        || rule.spec.exclude_names.iter().any(|n| **n == *key.name)
        || object.label(names::IGNORE_LABEL).is_some();
    if stays {
        return Decision::Nowhere;
    }
    let mut decision = going(picture, object, choice, FOLLOW_DEPTH);
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
fn going(picture: &Picture<'_>, object: &Object, choice: &Choice, depth: usize) -> Decision {
    match &choice.placement {
        Some((placement, policy)) => decided(picture, object.key(), placement, policy),
        None => followed(picture, object.key(), depth),
    }
}

/// What a Placement has decided.
fn decided(
    picture: &Picture<'_>,
    key: &ObjectKey,
    placement: &Object,
    policy: &Arc<Policy>,
) -> Decision {
    let status = placement
        .raw(&["status"])
        .and_then(|raw| serde_json::from_slice(raw).ok());
    let (Some(author), Some(status)) = (placement::author(placement), status) else {
        return Decision::Open;
    };
    let status: PlacementStatus = status;
    let home = &placement.key().cluster;
    let seen = placement::visible(picture, home, &author);
    let mut sites = BTreeMap::new();
    let mut decision = status.sites;
    let left = decision.iter().filter(|d| !d.purge.is_empty());
    let purge = left.map(|d| (d.site.clone(), d.purge.clone())).collect();
    decision.retain(|d| d.chosen && seen.contains_key(&d.site));
    for row in &decision {
        let Some((_, site)) = seen.get(&row.site) else {
            continue;
        };
        let rules = Rules {
            policy: Arc::clone(policy),
            placement: placement.key().clone(),
            site: picture.candidate(site),
        };
        sites.insert(row.site.clone(), site_ref(site, Some(rules)));
    }
    let above = *home != key.cluster;
    let divides = policy.spec.spread.divides();
    Decision::Sites(Wanted {
        placement: placement.key().name.to_string(),
        placement_cluster: if above {
            home.to_string()
        } else {
            String::new()
        },
        listed: true,
        divided: divides.then(|| (Arc::clone(policy), decision)),
        sites,
        purge,
    })
}

/// An object that no Placement selects goes wherever a placed object goes that needs it, or needs
/// what needs it.
fn followed(picture: &Picture<'_>, key: &ObjectKey, depth: usize) -> Decision {
    let mut out: Option<Wanted> = None;
    let by = match depth {
        0 => Vec::new(),
        _ => picture.sites.followed(key),
    };
    for workload in by {
        let Some(workload) = picture.find(&workload) else {
            continue;
        };
        let choice = placement::of_object(picture, &workload);
        match going(picture, &workload, &choice, depth - 1) {
            Decision::Sites(wanted) => match &mut out {
                Some(out) => {
                    out.sites.extend(wanted.sites);
                    out.purge.extend(wanted.purge);
                }
                None => {
                    out = Some(Wanted {
                        listed: false,
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

/// A Site as objects see it.
#[must_use]
pub fn site_ref(site: &Object, rules: Option<Rules>) -> SiteRef {
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
        rules,
    }
}

/// The share of each site, and the dotted path where it goes, when replicas are divided.
pub type Shares = Option<(String, BTreeMap<String, i64>)>;

/// How the replicas of an object are divided, if they are.
#[must_use]
pub fn share(source: &Source, rule: &Rule, wanted: &Wanted, value: &Value) -> Shares {
    let row = kinds::row(&source.group, &source.resource).and_then(|r| r.replicas);
    let path = match rule.spec.replicas_path.as_str() {
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
