//! From the statuses of many sites to the one status of the tenant's object (rule 12).
//!
//! Worst-of: a counter is the sum over the sites that are heard, a condition is as bad as the
//! worst site's, and a Lost site is Unknown, never good. `observedGeneration` says that a
//! generation is observed only when every site has observed it. Kinds without a row: one site's
//! status is copied; of several only the conditions are combined, the rest stays in the
//! Projection. Invariant: the result is a function of the views, whatever their order.

use std::collections::BTreeMap;

use serde_json::{Map, Value, json};

use crate::contact::Contact;
use crate::kinds::{self, KindRow};
use crate::render::at;

/// What one site says about an object.
#[derive(Clone, Debug)]
pub struct SiteView<'a> {
    /// Name of the Site.
    pub site: &'a str,
    /// How the site is heard.
    pub contact: Contact,
    /// Since when it is Lost, as a time.
    pub lost_since: &'a str,
    /// Generation of the source that stands there (0: none).
    pub applied_generation: i64,
    /// Generation of the object below.
    pub generation: i64,
    /// Whether the current intent stands there.
    pub applied: bool,
    /// Replicas that the object below asks for.
    pub replicas: Option<i64>,
    /// Its status below.
    pub status: &'a Value,
}

/// How an object does at a site.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Health {
    /// As wished.
    Healthy,
    /// On its way.
    Progressing,
    /// It says itself that something is wrong.
    Degraded,
    /// Nothing is known.
    Unknown,
}

impl Health {
    /// The word that stands in objects.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Healthy => "Healthy",
            Self::Progressing => "Progressing",
            Self::Degraded => "Degraded",
            Self::Unknown => "Unknown",
        }
    }
}

/// Conditions whose truth is bad news.
const BAD_WHEN_TRUE: &[&str] = &[
    "ReplicaFailure",
    "Failed",
    "FailureTarget",
    "Degraded",
    "Stalled",
    "Conflicted",
];
/// Conditions that decide about health when a kind has no counters.
const DECISIVE: &[&str] = &["Ready", "Available", "Programmed", "Accepted", "Complete"];

/// The health of an object at one site.
#[must_use]
pub fn health(group: &str, resource: &str, view: &SiteView<'_>) -> Health {
    if view.contact == Contact::Lost {
        return Health::Unknown;
    }
    if !view.applied {
        return Health::Progressing;
    }
    let observed = view.status["observedGeneration"].as_i64();
    if observed.is_some_and(|o| o < view.generation) {
        return Health::Progressing;
    }
    let conditions = view.status["conditions"].as_array();
    let is = |c: &Value, status: &str| c["status"] == status;
    let named = |c: &Value, list: &[&str]| c["type"].as_str().is_some_and(|t| list.contains(&t));
    let any = |list: &[&str], status: &str| {
        conditions.is_some_and(|cs| cs.iter().any(|c| named(c, list) && is(c, status)))
    };
    if any(BAD_WHEN_TRUE, "True") {
        return Health::Degraded;
    }
    if let Some((ready, wanted)) = kinds::row(group, resource).and_then(|r| r.healthy) {
        let wanted = match wanted.strip_prefix("status.") {
            Some(member) => view.status[member].as_i64().unwrap_or(0),
            None => view.replicas.unwrap_or(1),
        };
        let ready = view.status[ready].as_i64().unwrap_or(0);
        return match () {
            () if observed.is_some() && ready >= wanted => Health::Healthy,
            () if any(&["Progressing"], "False") => Health::Degraded,
            () => Health::Progressing,
        };
    }
    if any(DECISIVE, "False") {
        Health::Degraded
    } else if any(DECISIVE, "Unknown") {
        Health::Progressing
    } else {
        Health::Healthy
    }
}

/// The status of the tenant's object, or `None` when the sites say nothing. `generation` is the
/// source's; `now` stamps conditions that no site has dated.
#[must_use]
pub fn aggregate(
    group: &str,
    resource: &str,
    generation: i64,
    views: &[SiteView<'_>],
) -> Option<Value> {
    let mut views: Vec<&SiteView<'_>> = views.iter().collect();
    views.sort_by(|a, b| a.site.cmp(b.site));
    let said = |v: &&&SiteView<'_>| v.status.as_object().is_some_and(|m| !m.is_empty());
    if !views.iter().any(|v| said(&v)) {
        return None;
    }
    let heard: Vec<&SiteView<'_>> = views
        .iter()
        .copied()
        .filter(|v| v.contact != Contact::Lost)
        .collect();
    let row = kinds::row(group, resource).filter(|r| !r.sums.is_empty() || !r.joins.is_empty());
    let mut out = match (row, views.as_slice()) {
        (Some(row), _) => combined(row, &heard),
        (None, [only]) if only.contact != Contact::Lost => {
            only.status.as_object().cloned().unwrap_or_default()
        }
        (None, _) => Map::new(),
    };
    let conditions = conditions(&views);
    if conditions.is_empty() {
        out.remove("conditions");
    } else {
        out.insert("conditions".into(), Value::Array(conditions));
    }
    out.remove("observedGeneration");
    if views
        .iter()
        .any(|v| v.status.get("observedGeneration").is_some())
    {
        let observed = observed_generation(generation, &views);
        if observed > 0 {
            out.insert("observedGeneration".into(), json!(observed));
        }
    }
    (!out.is_empty()).then_some(Value::Object(out))
}

fn combined(row: &KindRow, heard: &[&SiteView<'_>]) -> Map<String, Value> {
    let mut out = Map::new();
    for member in row.sums {
        let values: Vec<i64> = heard
            .iter()
            .filter_map(|v| v.status[*member].as_i64())
            .collect();
        if !values.is_empty() {
            let sum = values.iter().fold(0i64, |a, b| a.saturating_add(*b));
            out.insert((*member).to_owned(), json!(sum));
        }
    }
    for path in row.joins {
        let joined: Vec<Value> = heard
            .iter()
            .filter_map(|v| at(v.status, path)?.as_array())
            .flatten()
            .cloned()
            .collect();
        if joined.is_empty() {
            continue;
        }
        // Today's rows have two steps; a longer path nests further.
        let nested = path
            .rsplit('.')
            .fold(Value::Array(joined), |v, step| json!({ step: v }));
        if let Value::Object(nested) = nested {
            out.extend(nested);
        }
    }
    out
}

/// The newest generation of the source that every site has observed.
fn observed_generation(generation: i64, views: &[&SiteView<'_>]) -> i64 {
    views
        .iter()
        .map(|v| {
            let seen = v.status["observedGeneration"].as_i64().unwrap_or(0) >= v.generation;
            if v.applied && seen && v.contact != Contact::Lost {
                v.applied_generation.min(generation)
            } else {
                v.applied_generation.min(generation) - 1
            }
        })
        .min()
        .unwrap_or(0)
}

fn conditions(views: &[&SiteView<'_>]) -> Vec<Value> {
    let mut by_type: BTreeMap<&str, Vec<(&SiteView<'_>, &Value)>> = BTreeMap::new();
    for view in views {
        for condition in view.status["conditions"].as_array().into_iter().flatten() {
            if let Some(ty) = condition["type"].as_str() {
                by_type.entry(ty).or_default().push((view, condition));
            }
        }
    }
    by_type
        .into_iter()
        .map(|(ty, of)| worst(ty, &of, views))
        .collect()
}

/// 0 is worst: bad news, then no news, then good news.
fn rank(ty: &str, status: &str) -> u8 {
    let bad = if BAD_WHEN_TRUE.contains(&ty) {
        "True"
    } else {
        "False"
    };
    match status {
        s if s == bad => 0,
        "True" | "False" => 2,
        _ => 1,
    }
}

fn worst(ty: &str, of: &[(&SiteView<'_>, &Value)], views: &[&SiteView<'_>]) -> Value {
    let heard = |v: &SiteView<'_>| v.contact != Contact::Lost;
    let known = of
        .iter()
        .filter(|(v, _)| heard(v))
        .min_by_key(|(_, c)| rank(ty, c["status"].as_str().unwrap_or("Unknown")));
    let lost = of.iter().map(|(v, _)| *v).find(|v| !heard(v));
    // A site that does not speak of a condition whose truth is good news is no news; of bad news,
    // silence is good.
    let silent = views
        .iter()
        .find(|v| heard(v) && !of.iter().any(|(o, _)| o.site == v.site))
        .filter(|_| !BAD_WHEN_TRUE.contains(&ty));
    let known_rank = known.map_or(3, |(_, c)| {
        rank(ty, c["status"].as_str().unwrap_or_default())
    });
    let stamp = |c: &Value| c.get("lastTransitionTime").cloned().unwrap_or(Value::Null);
    let mut out = match (known, lost, silent) {
        (_, Some(view), _) if known_rank > 0 => json!({
            "status": "Unknown", "reason": "SiteLost", "lastTransitionTime": view.lost_since,
            "message": format!("{} has been silent since {}", view.site, view.lost_since),
        }),
        (Some((_, c)), _, Some(view)) if known_rank > 1 => json!({
            "status": "Unknown", "reason": "NotReported", "lastTransitionTime": stamp(c),
            "message": format!("{} does not report it yet", view.site),
        }),
        (Some((view, c)), _, _) => {
            let mut one = (*c).clone();
            if views.len() > 1 {
                let message = c["message"].as_str().unwrap_or_default();
                one["message"] = json!(format!("{}: {message}", view.site));
            }
            one
        }
        (None, _, _) => json!({"status": "Unknown", "reason": "NotReported"}),
    };
    out["type"] = json!(ty);
    if let Some(map) = out.as_object_mut() {
        map.retain(|_, v| !v.is_null());
        // Generations below are not generations above.
        map.remove("observedGeneration");
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn view<'a>(site: &'a str, status: &'a Value) -> SiteView<'a> {
        SiteView {
            site,
            contact: Contact::Live,
            lost_since: "2026-11-21T03:00:00Z",
            applied_generation: 4,
            generation: 2,
            applied: true,
            replicas: Some(3),
            status,
        }
    }

    fn deployment(ready: i64, available: &str) -> Value {
        json!({
            "observedGeneration": 2, "replicas": 3, "readyReplicas": ready,
            "availableReplicas": ready,
            "conditions": [{"type": "Available", "status": available, "message": "m",
                            "lastTransitionTime": "2026-11-21T01:00:00Z"}],
        })
    }

    #[test]
    fn counters_add_up_and_the_worst_condition_wins() {
        let (good, bad) = (deployment(3, "True"), deployment(1, "False"));
        let out = aggregate(
            "apps",
            "deployments",
            4,
            &[view("b", &good), view("a", &bad)],
        )
        .unwrap();
        assert_eq!(out["readyReplicas"], 4);
        assert_eq!(out["replicas"], 6);
        assert_eq!(out["observedGeneration"], 4);
        assert_eq!(out["conditions"][0]["status"], "False");
        assert_eq!(out["conditions"][0]["message"], "a: m");
        assert_eq!(
            health("apps", "deployments", &view("b", &good)),
            Health::Healthy
        );
        assert_eq!(
            health("apps", "deployments", &view("a", &bad)),
            Health::Progressing
        );
    }

    #[test]
    fn a_silent_site_never_looks_ready() {
        let good = deployment(3, "True");
        let lost = SiteView {
            contact: Contact::Lost,
            ..view("edge", &good)
        };
        for views in [vec![lost.clone()], vec![lost.clone(), view("dc", &good)]] {
            let out = aggregate("apps", "deployments", 4, &views).unwrap();
            assert_eq!(out["conditions"][0]["status"], "Unknown");
            assert_eq!(out["conditions"][0]["reason"], "SiteLost");
            assert_ne!(out["readyReplicas"], 6);
            assert_eq!(out["observedGeneration"], 3);
        }
        assert_eq!(health("apps", "deployments", &lost), Health::Unknown);
    }

    #[test]
    fn unknown_kinds_are_copied_from_one_and_combined_from_several() {
        let one = json!({"url": "x", "conditions": [{"type": "Ready", "status": "True"}]});
        let out = aggregate("example.com", "things", 1, &[view("a", &one)]).unwrap();
        assert_eq!(out, one);
        let silent = json!({});
        let out = aggregate(
            "example.com",
            "things",
            1,
            &[view("a", &one), view("b", &silent)],
        )
        .unwrap();
        assert_eq!(out["conditions"][0]["status"], "Unknown");
        assert!(out.get("url").is_none());
        assert_eq!(
            aggregate("", "configmaps", 1, &[view("a", &Value::Null)]),
            None
        );
    }

    #[test]
    fn a_generation_is_observed_when_all_have_seen_it() {
        let good = deployment(3, "True");
        let behind = SiteView {
            generation: 3,
            ..view("a", &good)
        };
        let old = SiteView {
            applied: false,
            applied_generation: 2,
            ..view("b", &good)
        };
        let out = aggregate("apps", "deployments", 4, &[view("c", &good), behind]).unwrap();
        assert_eq!(out["observedGeneration"], 3);
        let out = aggregate("apps", "deployments", 4, &[view("c", &good), old]).unwrap();
        assert_eq!(out["observedGeneration"], 1);
    }

    proptest! {
        #[test]
        fn order_does_not_matter(ready in proptest::collection::vec(0i64..4, 1..6), lost in 0usize..6) {
            let statuses: Vec<Value> = ready
                .iter()
                .map(|r| deployment(*r, if *r == 3 { "True" } else { "False" }))
                .collect();
            let names: Vec<String> = (0..ready.len()).map(|i| format!("s{i}")).collect();
            let mut views: Vec<SiteView<'_>> =
                names.iter().zip(&statuses).map(|(n, s)| view(n, s)).collect();
            if let Some(v) = views.get_mut(lost) {
                v.contact = Contact::Lost;
            }
            let a = aggregate("apps", "deployments", 4, &views);
            views.reverse();
            prop_assert_eq!(a, aggregate("apps", "deployments", 4, &views));
        }
    }
}
