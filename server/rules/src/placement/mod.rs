//! Placement: which objects, which sites, how much at each; explained and repeatable.
//!
//! Start at [`decide`], which answers for one Placement; [`policy`] says which objects are its own
//! and what its overrides make of them, [`divide`] how replicas are shared. Invariant:
//! deterministic and stable. A decision is a function of the spec, the candidates in any order, the
//! time and the decision before. What was chosen stays while the rules allow it; new sites are
//! ranked by rendezvous hashing over (placement, site), so one that comes or goes moves only what
//! it must. Every site that is looked at gets the rule that chose or rejected it. Deliberately
//! elsewhere: reading Sites and writing decisions (`server/sites`).

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use hanse_apis::sites::{Failover, PlacementSpec, PlacementStatus, SiteDecision, SiteFacts, Taint};
use sha2::{Digest as _, Sha256};

mod divide;
mod failover;
mod filter;
mod overrides;
pub mod policy;
mod select;
#[cfg(test)]
mod tests;

pub use divide::divide;
use failover::Before;
pub use filter::{Rejection, rejection, selected};
use select::{Entry, Selection, select};

/// What a site serves: resources by group. Sites that serve the same share one.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Served(BTreeMap<String, BTreeSet<String>>);

impl Served {
    /// Reads `PLURAL.GROUP/VERSION` lines; versions do not matter here.
    pub fn read<'a>(lines: impl IntoIterator<Item = &'a str>) -> Self {
        let mut out: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
        for line in lines {
            let name = line.split('/').next().unwrap_or_default();
            let (plural, group) = name.split_once('.').unwrap_or((name, ""));
            let group = out.entry(group.to_owned()).or_default();
            group.insert(plural.to_owned());
        }
        Self(out)
    }

    /// Whether a resource is among them.
    #[must_use]
    pub fn contains(&self, group: &str, resource: &str) -> bool {
        self.0.get(group).is_some_and(|g| g.contains(resource))
    }
}

/// What placement knows about a site.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Candidate {
    /// Name of the Site.
    pub name: String,
    /// Where it stands among all, before a placement mixes them; see [`Candidate::named`].
    pub seed: u64,
    /// Its labels.
    pub labels: BTreeMap<String, String>,
    /// Whether a syncer has ever joined.
    pub joined: bool,
    /// Whether new work is refused.
    pub unschedulable: bool,
    /// Whether the Site is being deleted.
    pub leaving: bool,
    /// What its authority says of it.
    pub facts: SiteFacts,
    /// Since when nothing is heard of it, in seconds since 1970, when it is Lost.
    pub lost_since: Option<i64>,
    /// When the evidence of its sovereignty ends, in seconds since 1970.
    pub sovereign_until: Option<i64>,
    /// Its taints.
    pub taints: Vec<Taint>,
    /// What it serves, when its syncer has said it.
    pub resources: Option<Arc<Served>>,
    /// Its free capacity in thousandths.
    pub free: BTreeMap<String, u64>,
}

impl Candidate {
    /// A site of which nothing else is known. A Site made again, with another uid, is another.
    #[must_use]
    pub fn named(name: &str, uid: &str) -> Self {
        Self {
            name: name.to_owned(),
            seed: seed(&["site", uid, name]),
            ..Self::default()
        }
    }
}

fn seed(parts: &[&str]) -> u64 {
    let mut hash = Sha256::new();
    for part in parts {
        hash.update((part.len() as u64).to_be_bytes());
        hash.update(part.as_bytes());
    }
    let digest: [u8; 32] = hash.finalize().into();
    let mut head = [0; 8];
    head.copy_from_slice(&digest[..8]);
    u64::from_be_bytes(head)
}

/// Mixes two seeds; the finalizer of splitmix64, in which every bit of the input moves every bit of
/// the output.
fn rank(placement: u64, site: u64) -> u64 {
    let mut z = placement ^ site.rotate_left(32);
    z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ (z >> 31)
}

/// Everything that a decision depends on, beside the sites.
#[derive(Clone, Copy, Debug)]
pub struct Request<'a> {
    /// What is wished.
    pub spec: &'a PlacementSpec,
    /// The identity under which sites are ranked (logical cluster and name), so that all objects
    /// of one placement stay together.
    pub identity: &'a str,
    /// Now, in seconds since 1970.
    pub now: i64,
    /// The decision before this one, as it stands in the status.
    pub previous: &'a PlacementStatus,
}

/// A decision.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Decision {
    /// Every site with its rule, by name.
    pub sites: Vec<SiteDecision>,
    /// Hash of the rules that decided.
    pub rules: String,
    /// The jurisdictions in which failover stays.
    pub jurisdictions: Vec<String>,
    /// The request to rebalance that has been followed.
    pub rebalanced: String,
    /// The spread that cannot be had, if so.
    pub unmet: Option<String>,
    /// When time alone may change the decision, in seconds since 1970.
    pub again: Option<i64>,
}

impl Decision {
    /// How many sites are chosen.
    #[must_use]
    pub fn chosen(&self) -> usize {
        self.sites.iter().filter(|d| d.chosen).count()
    }

    /// Puts the decision into a status.
    pub fn into_status(self, status: &mut PlacementStatus) {
        status.chosen = i64::try_from(self.chosen()).unwrap_or(i64::MAX);
        status.sites = self.sites;
        status.rules = self.rules;
        status.jurisdictions = self.jurisdictions;
        status.rebalanced = self.rebalanced;
    }
}

/// Decides for every site.
#[must_use]
pub fn decide(request: &Request<'_>, sites: &[&Candidate]) -> Decision {
    let Request { spec, now, .. } = *request;
    let before = Before::of(request);
    let mut rows = Vec::with_capacity(sites.len());
    let mut entries = Vec::with_capacity(sites.len());
    for site in sites.iter().copied() {
        let held = before.held.contains_key(site.name.as_str());
        let rejected = rejection(spec, site, now)
            .or_else(|| failover::rejection(spec, site, now))
            .filter(|r| !(r.keeps && held))
            .or_else(|| before.outside(site).filter(|_| !held));
        match rejected {
            Some(r) => rows.push(row(site, false, r.reason, r.message)),
            None => entries.push(Entry { site, held }),
        }
    }
    let placement = seed(&["placement", request.identity]);
    entries.sort_by_cached_key(|entry| {
        let rank = rank(placement, entry.site.seed);
        let kept = entry.held && !before.anew;
        (!kept, std::cmp::Reverse(rank), &entry.site.name)
    });
    if before.anew {
        // Nobody has a right to stay; what only holds new work off has been heard above.
        entries.iter_mut().for_each(|entry| entry.held = false);
    }
    let selection = select(&entries, limit(spec), &spec.spread.constraints);
    let jurisdictions = match selection.unmet.is_none() || before.is_bound() {
        true => before.stays_in(spec, &entries, &selection.chosen),
        false => Vec::new(),
    };
    rows.extend(judged(
        request,
        &before,
        &entries,
        &selection,
        &jurisdictions,
    ));
    rows.sort_by(|a, b| a.site.cmp(&b.site));
    before.purge(spec, &mut rows);
    Decision {
        jurisdictions,
        sites: rows,
        unmet: selection.unmet,
        again: again(spec, sites, now),
        rules: before.rules,
        rebalanced: spec.rebalance.requested.clone(),
    }
}

/// The rows of the sites that could be chosen.
fn judged(
    request: &Request<'_>,
    before: &Before<'_>,
    entries: &[Entry<'_>],
    selection: &Selection,
    jurisdictions: &[String],
) -> Vec<SiteDecision> {
    let Request { spec, now, .. } = *request;
    let limit = limit(spec);
    let full = selection.chosen.iter().filter(|c| **c).count() >= limit;
    let mut rows = Vec::with_capacity(entries.len());
    for (entry, chosen) in entries.iter().zip(&selection.chosen) {
        // Said at once as the next decision will say it.
        let outside = failover::outside(jurisdictions, entry.site).filter(|_| !chosen);
        if let Some(r) = outside {
            rows.push(row(entry.site, false, r.reason, r.message));
            continue;
        }
        let mut row = match chosen {
            true => row(entry.site, true, "Fits", String::new()),
            false => left_out(spec, entry.site, limit, full, selection.unmet.as_deref()),
        };
        let held = before.held.get(row.site.as_str()).filter(|_| !before.anew);
        row.weight = weight(spec, entry.site, held.copied(), now);
        rows.push(row);
    }
    rows
}

fn limit(spec: &PlacementSpec) -> usize {
    let count = spec.spread.count;
    count.map_or(usize::MAX, |n| usize::try_from(n).unwrap_or_default())
}

fn row(site: &Candidate, chosen: bool, reason: &str, message: String) -> SiteDecision {
    SiteDecision {
        site: site.name.clone(),
        chosen,
        reason: reason.to_owned(),
        message,
        ..SiteDecision::default()
    }
}

/// Why a site that could be chosen is not.
fn left_out(
    spec: &PlacementSpec,
    site: &Candidate,
    limit: usize,
    full: bool,
    unmet: Option<&str>,
) -> SiteDecision {
    let constraints = &spec.spread.constraints;
    let unknown = constraints
        .iter()
        .find(|c| select::values(&c.by, site).is_empty());
    let (reason, message) = match (unknown, unmet) {
        (Some(c), _) => ("FactUnknown", format!("the site's {} is not known", c.by)),
        (None, Some(unmet)) => ("SpreadUnmet", unmet.to_owned()),
        (None, None) if full => ("Enough", format!("{limit} sites rank higher")),
        (None, None) => ("SpreadFull", "its groups would be too many".to_owned()),
    };
    row(site, false, reason, message)
}

/// What a site weighs when replicas are divided. What was free is asked once, when the site is
/// chosen, so that shares do not move with every Pod.
fn weight(
    spec: &PlacementSpec,
    site: &Candidate,
    held: Option<&SiteDecision>,
    now: i64,
) -> Option<i64> {
    if !spec.spread.divides() {
        return None;
    }
    let division = &spec.spread.divide;
    match division.by.as_str() {
        "Weights" => {
            let entry = division
                .weights
                .iter()
                .find(|w| selected(&w.sites, site, now).is_none());
            Some(entry.map_or(0, |w| w.weight))
        }
        "FreeCapacity" => held.and_then(|d| d.weight).or_else(|| {
            let free = site.free.get(division.weighs()).copied().unwrap_or(0);
            Some(i64::try_from(free).unwrap_or(i64::MAX))
        }),
        _ => None,
    }
}

/// When evidence expires on which the decision may rest, or when patience ends.
fn again(spec: &PlacementSpec, sites: &[&Candidate], now: i64) -> Option<i64> {
    let patience = spec.failover.as_ref().map(Failover::grace);
    let ends = |site: &&Candidate| Some(site.lost_since? + patience?);
    let patience = sites.iter().filter_map(ends).filter(|end| *end > now).min();
    let weighs = spec.spread.divide.weights.iter().map(|w| &w.sites);
    let asked = weighs
        .chain([&spec.sites])
        .any(|s| s.facts.sovereignty_level > 0);
    let ends = sites.iter().filter_map(|site| site.sovereign_until);
    let evidence = ends.filter(|until| asked && *until > now).min();
    [patience, evidence].into_iter().flatten().min()
}

/// The wave in which a site gets changes, from 0.
#[must_use]
pub fn wave(spec: &PlacementSpec, site: &Candidate, now: i64) -> usize {
    let waves = &spec.rollout.waves;
    let mine = waves.iter().position(|w| selected(w, site, now).is_none());
    mine.unwrap_or(waves.len())
}

/// The replicas of each chosen site, out of a total.
#[must_use]
pub fn shares(spec: &PlacementSpec, sites: &[SiteDecision], total: i64) -> BTreeMap<String, i64> {
    let weighted = matches!(spec.spread.divide.by.as_str(), "Weights" | "FreeCapacity");
    let weight = |d: &SiteDecision| match weighted {
        true => u64::try_from(d.weight.unwrap_or(0)).unwrap_or(0),
        false => 0,
    };
    let chosen = sites.iter().filter(|d| d.chosen);
    let weights: BTreeMap<String, u64> = chosen.map(|d| (d.site.clone(), weight(d))).collect();
    divide(total, &weights)
}
