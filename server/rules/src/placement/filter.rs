//! Whether a site may be chosen at all: the rules that reject it, in their order.
//!
//! Invariant: the first rule that rejects is the one that is named, so an explanation is stable.
//! Rules that only hold new work off say so by [`Rejection::keeps`].

use hanse_apis::sites::quantity::{self, thousandths};
use hanse_apis::sites::{FactSelector, PlacementSpec, SiteSelector, Taint, Toleration};

use super::Candidate;

/// Why a site is not chosen.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rejection {
    /// One CamelCase word.
    pub reason: &'static str,
    /// A sentence.
    pub message: String,
    /// Whether a site that holds the objects already may go on.
    pub keeps: bool,
}

fn reject(reason: &'static str, message: impl Into<String>) -> Option<Rejection> {
    Some(Rejection {
        reason,
        message: message.into(),
        keeps: false,
    })
}

fn hold_off(reason: &'static str, message: impl Into<String>) -> Option<Rejection> {
    let rejection = reject(reason, message)?;
    Some(Rejection {
        keeps: true,
        ..rejection
    })
}

/// The first rule that rejects a site. `now` is in seconds since 1970.
#[must_use]
pub fn rejection(spec: &PlacementSpec, site: &Candidate, now: i64) -> Option<Rejection> {
    if site.leaving {
        return reject("Leaving", "the site is being deleted");
    }
    selected(&spec.sites, site, now)
        .or_else(|| joined(site))
        .or_else(|| serves(spec, site))
        .or_else(|| tolerated(spec, site))
        .or_else(|| match site.unschedulable {
            true => hold_off("Unschedulable", "the site takes no new work"),
            false => None,
        })
        .or_else(|| has_room(spec, site))
}

/// The first part of a selector that a site does not satisfy.
#[must_use]
pub fn selected(selector: &SiteSelector, site: &Candidate, now: i64) -> Option<Rejection> {
    if !selector.names.is_empty() && !selector.names.contains(&site.name) {
        return reject("NotNamed", "spec.sites.names does not list the site");
    }
    if !selector.selector.matches(&site.labels) {
        let message = "the site's labels do not match spec.sites.selector";
        return reject("LabelsDiffer", message);
    }
    facts(&selector.facts, site, now)
}

fn facts(wanted: &FactSelector, site: &Candidate, now: i64) -> Option<Rejection> {
    let facts = &site.facts;
    let rows = [
        ("provider", &wanted.providers, &facts.provider),
        ("jurisdiction", &wanted.jurisdictions, &facts.jurisdiction),
        ("operator", &wanted.operators, &facts.operator),
        ("region", &wanted.regions, &facts.region),
    ];
    for (fact, listed, value) in rows {
        if !listed.is_empty() && !listed.contains(value) {
            return match value.as_str() {
                "" => reject("FactUnknown", format!("the site's {fact} is not known")),
                value => reject("FactDiffers", format!("the site's {fact} is {value}")),
            };
        }
    }
    if !wanted.zones.is_empty() && !facts.zones.iter().any(|z| wanted.zones.contains(z)) {
        return match facts.zones.is_empty() {
            true => reject("FactUnknown", "the site's zones are not known"),
            false => reject(
                "FactDiffers",
                format!("the site's zones are {}", facts.zones.join(", ")),
            ),
        };
    }
    let level = wanted.sovereignty_level;
    let sovereignty = &facts.sovereignty;
    if level > sovereignty.level {
        let message = format!("level {} of {level} is evident", sovereignty.level);
        return reject("SovereigntyLow", message);
    }
    if level > 0 && site.sovereign_until.is_some_and(|until| until <= now) {
        let message = format!("the evidence expired at {}", sovereignty.expires);
        return reject("SovereigntyExpired", message);
    }
    None
}

fn joined(site: &Candidate) -> Option<Rejection> {
    if site.joined {
        return None;
    }
    reject("NotJoined", "no syncer has joined the site yet")
}

/// Whether the site serves the kinds. Of a site whose syncer has not said what it serves nothing
/// is known, and nothing is held against it.
fn serves(spec: &PlacementSpec, site: &Candidate) -> Option<Rejection> {
    let served = site.resources.as_ref()?;
    let missing = spec
        .objects
        .iter()
        .find(|o| !served.contains(&o.group, &o.resource))?;
    let kind = match missing.group.as_str() {
        "" => missing.resource.clone(),
        group => format!("{}.{group}", missing.resource),
    };
    // What is there stays: discovery may be wrong for a while, an end below is not undone.
    hold_off("KindNotServed", format!("the site does not serve {kind}"))
}

fn tolerated(spec: &PlacementSpec, site: &Candidate) -> Option<Rejection> {
    let taint = site
        .taints
        .iter()
        .find(|taint| !spec.tolerations.iter().any(|t| tolerates(t, taint)))?;
    let mut text = taint.key.clone();
    if !taint.value.is_empty() {
        text.push('=');
        text.push_str(&taint.value);
    }
    let message = format!("the taint {text}:{} is not tolerated", taint.effect);
    // Of several taints the one that is worst counts.
    let evicts = |taint: &Taint| {
        taint.effect == "NoExecute" && !spec.tolerations.iter().any(|t| tolerates(t, taint))
    };
    match site.taints.iter().any(evicts) {
        true => reject("Tainted", message),
        false => hold_off("Tainted", message),
    }
}

fn tolerates(toleration: &Toleration, taint: &Taint) -> bool {
    let exists = toleration.operator == "Exists";
    let key = match toleration.key.as_str() {
        "" => exists,
        key => key == taint.key,
    };
    key && (exists || toleration.value == taint.value)
        && (toleration.effect.is_empty() || toleration.effect == taint.effect)
}

fn has_room(spec: &PlacementSpec, site: &Candidate) -> Option<Rejection> {
    for (resource, wanted) in &spec.capacity {
        let Some(free) = site.free.get(resource) else {
            let message = format!("how much {resource} is free at the site is not known");
            return hold_off("CapacityUnknown", message);
        };
        if thousandths(wanted).is_none_or(|wanted| wanted > *free) {
            let free = quantity::text(*free);
            let message = format!("{free} of {wanted} {resource} are free");
            return hold_off("CapacityShort", message);
        }
    }
    None
}
