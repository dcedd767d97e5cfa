//! What a decision owes to the one before: who stays, who failed, and where others may be.
//!
//! Invariant: while the rules by which sites are chosen are the same, failover stays in the
//! jurisdictions that they first led to, unless the Placement says that it may leave them; nothing
//! but a change of the rules, or a request to rebalance, opens another one.

use std::collections::{BTreeMap, BTreeSet};

use hanse_apis::sites::{PlacementSpec, SiteDecision};
use serde_json::json;
use sha2::{Digest as _, Sha256};

use super::select::Entry;
use super::{Candidate, Rejection, Request};

/// What is kept of the decision before.
pub struct Before<'a> {
    /// The sites that were chosen.
    pub held: BTreeMap<&'a str, &'a SiteDecision>,
    /// Whether the decision is made anew although it is valid.
    pub anew: bool,
    /// Hash of the rules that decide now.
    pub rules: String,
    /// Sites whose objects stand as they were left.
    left: BTreeMap<&'a str, &'a str>,
    /// Where failover stays; empty when it may go anywhere.
    home: Vec<String>,
    /// Whether the rules are those of the decision before.
    same: bool,
}

impl<'a> Before<'a> {
    /// Reads it off a status.
    pub fn of(request: &Request<'a>) -> Self {
        let Request { spec, previous, .. } = *request;
        let rules = rules(spec);
        let same = rules == previous.rules;
        let request = &spec.rebalance.requested;
        let anew = spec.rebalance.policy == "Always"
            || (!request.is_empty() && *request != previous.rebalanced);
        let bound = spec
            .failover
            .as_ref()
            .is_some_and(|f| !f.leave_jurisdiction);
        let home = previous.jurisdictions.iter();
        let rows = previous.sites.iter();
        let left = rows.clone().filter(|d| !d.purge.is_empty());
        Self {
            held: rows
                .filter(|d| d.chosen)
                .map(|d| (d.site.as_str(), d))
                .collect(),
            left: left.map(|d| (d.site.as_str(), d.purge.as_str())).collect(),
            home: home
                .filter(|_| bound && same && !is_asked(spec, anew))
                .cloned()
                .collect(),
            anew,
            rules,
            same,
        }
    }

    /// Whether failover stays somewhere already.
    pub fn is_bound(&self) -> bool {
        !self.home.is_empty()
    }

    /// Why a site may not take over, when it lies where failover may not go.
    pub fn outside(&self, site: &Candidate) -> Option<Rejection> {
        outside(&self.home, site)
    }

    /// The jurisdictions in which the next decisions stay.
    pub fn stays_in(
        &self,
        spec: &PlacementSpec,
        entries: &[Entry<'_>],
        chosen: &[bool],
    ) -> Vec<String> {
        if self.is_bound() || spec.failover.as_ref().is_none_or(|f| f.leave_jurisdiction) {
            return self.home.clone();
        }
        let chosen = entries.iter().zip(chosen).filter(|(_, chosen)| **chosen);
        let all: BTreeSet<&String> = chosen.map(|(e, _)| &e.site.facts.jurisdiction).collect();
        all.into_iter().cloned().collect()
    }

    /// Says what becomes of the objects at sites that were chosen and are not any more. What
    /// leaves because the rules changed is deleted at once; what rebalancing moves, gracefully.
    pub fn purge(&self, spec: &PlacementSpec, rows: &mut [SiteDecision]) {
        let mode = spec.failover.as_ref().map_or("", |f| f.purge.as_str());
        for row in rows.iter_mut().filter(|row| !row.chosen) {
            let was = self.held.contains_key(row.site.as_str());
            let mode = match self.left.get(row.site.as_str()) {
                _ if !self.same => "",
                _ if was && self.anew && row.reason == "Enough" => "Graceful",
                _ if was => mode,
                Some(mode) => mode,
                None => "",
            };
            if mode != "Immediate" {
                mode.clone_into(&mut row.purge);
            }
        }
    }
}

/// Why a site may not take over, when it lies outside of the jurisdictions that are listed.
pub fn outside(home: &[String], site: &Candidate) -> Option<Rejection> {
    let jurisdiction = &site.facts.jurisdiction;
    if home.is_empty() || home.contains(jurisdiction) {
        return None;
    }
    let home = home.join(", ");
    let message = match jurisdiction.as_str() {
        "" => format!("its jurisdiction is not known, and failover stays in {home}"),
        other => format!("it lies in {other}, and failover stays in {home}"),
    };
    Some(Rejection {
        reason: "OutsideJurisdiction",
        message,
        keeps: false,
    })
}

/// Whether a decision made anew was asked for: then other jurisdictions are open again.
fn is_asked(spec: &PlacementSpec, anew: bool) -> bool {
    anew && spec.rebalance.policy != "Always"
}

/// Hash of what decides about sites.
fn rules(spec: &PlacementSpec) -> String {
    let spread = &spec.spread;
    let decisive = json!([
        spec.sites,
        spec.capacity,
        spec.tolerations,
        spread.count,
        spread.constraints,
        spec.failover.as_ref().is_some_and(|f| f.leave_jurisdiction),
    ]);
    let digest: [u8; 32] = Sha256::digest(decisive.to_string().as_bytes()).into();
    digest[..8].iter().map(|b| format!("{b:02x}")).collect()
}

/// Why a site that is silent is not chosen. One that is to be counted on must be heard; one that
/// was chosen is waited for, for as long as failover says.
pub fn rejection(spec: &PlacementSpec, site: &Candidate, now: i64) -> Option<Rejection> {
    let since = site.lost_since?;
    let silent = |message: String, keeps: bool| {
        Some(Rejection {
            reason: "Lost",
            message,
            keeps,
        })
    };
    match &spec.failover {
        Some(failover) if now - since >= failover.grace() => {
            let grace = failover.grace();
            silent(
                format!("the site has been Lost for more than {grace} s"),
                false,
            )
        }
        Some(_) => silent("nothing is heard of the site".into(), true),
        None if spec.spread.count.is_some() => silent("nothing is heard of the site".into(), true),
        None => None,
    }
}
