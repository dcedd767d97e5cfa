//! From the statuses of many sites to the one status of the tenant's object (rule 12).
//!
//! Start at [`aggregate`] and [`health`]. Worst-of: a counter is the sum over the sites that are
//! heard, a condition is as bad as the worst site's, and a Lost site is Unknown, never good.
//! `observedGeneration` says that a generation is observed only when every site has observed it.
//! One site's status is copied; of several, members are combined by the kind's row and by its
//! rule, and of kinds without either only the conditions. Invariant: the result is a function of
//! the views, whatever their order.

use std::collections::BTreeMap;

use serde_json::{Map, Value, json};

use crate::contact::Contact;
use crate::expr::Fuel;
use crate::kinds::{self, How, Well};
use crate::render::at;
use crate::rule::Rule;
use crate::steps::Steps;

/// What the statuses belong to.
#[derive(Clone, Copy, Debug)]
pub struct Of<'a> {
    /// API group of the kind.
    pub group: &'a str,
    /// Its plural name.
    pub resource: &'a str,
    /// Generation of the tenant's object.
    pub generation: i64,
    /// The tenant's object.
    pub object: &'a Value,
    /// The rule of the kind.
    pub rule: Option<&'a Rule>,
}

/// What expressions may still cost, and which of them failed.
#[derive(Debug, Default)]
pub struct Told {
    /// What they may still cost.
    pub fuel: Fuel,
    /// What failed.
    pub errors: Vec<String>,
}

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

    /// Reads the word.
    #[must_use]
    pub fn named(word: &str) -> Option<Self> {
        let all = [
            Self::Healthy,
            Self::Progressing,
            Self::Degraded,
            Self::Unknown,
        ];
        all.into_iter().find(|health| health.as_str() == word)
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
pub fn health(of: &Of<'_>, view: &SiteView<'_>, told: &mut Told) -> Health {
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
    if let Some(rule) = of.rule {
        match rule.health(of.object, view.status, &mut told.fuel) {
            Ok(Some(health)) => return health,
            Ok(None) => {}
            Err(error) => {
                told.errors.push(format!("{}: {error}", view.site));
                return Health::Unknown;
            }
        }
    }
    if named(view.status, BAD_WHEN_TRUE).any(|status| status == "True") {
        return Health::Degraded;
    }
    well(of, view)
}

/// Whether a condition's truth is bad news.
#[must_use]
pub fn is_bad_news(condition: &str) -> bool {
    BAD_WHEN_TRUE.contains(&condition)
}

/// The states of the conditions of these types.
fn named<'a>(holder: &'a Value, types: &'a [&'a str]) -> impl Iterator<Item = &'a str> {
    let conditions = holder["conditions"].as_array().into_iter().flatten();
    conditions
        .filter(|c| c["type"].as_str().is_some_and(|t| types.contains(&t)))
        .map(|c| c["status"].as_str().unwrap_or("Unknown"))
}

fn well(of: &Of<'_>, view: &SiteView<'_>) -> Health {
    let status = view.status;
    match kinds::row(of.group, of.resource).map_or(Well::Conditions, |row| row.well) {
        Well::Conditions => {
            let states: Vec<&str> = named(status, DECISIVE).collect();
            match () {
                () if states.contains(&"False") => Health::Degraded,
                () if states.contains(&"Unknown") => Health::Progressing,
                () => Health::Healthy,
            }
        }
        Well::Counts(ready, wanted) => {
            let wanted = match wanted.strip_prefix("status.") {
                Some(member) => status[member].as_i64().unwrap_or(0),
                None => view.replicas.unwrap_or(1),
            };
            let ready = status[ready].as_i64().unwrap_or(0);
            let seen = status["observedGeneration"].is_i64();
            match () {
                () if seen && ready >= wanted => Health::Healthy,
                () if named(status, &["Progressing"]).any(|s| s == "False") => Health::Degraded,
                () => Health::Progressing,
            }
        }
        Well::Word(path, good, bad) => {
            let word = at(status, path).and_then(Value::as_str).unwrap_or_default();
            match () {
                () if good.contains(&word) => Health::Healthy,
                () if bad.contains(&word) => Health::Degraded,
                () => Health::Progressing,
            }
        }
        Well::Present(path, of_type) => {
            let needed = of_type.is_empty() || of.object["spec"]["type"] == *of_type;
            let there =
                at(status, path).is_some_and(|v| v.as_array().is_none_or(|l| !l.is_empty()));
            if there || !needed {
                Health::Healthy
            } else {
                Health::Progressing
            }
        }
        Well::Each(list, types) => {
            let holders: Vec<&Value> = match list {
                "" => vec![status],
                list => status[list].as_array().into_iter().flatten().collect(),
            };
            let states: Vec<Vec<&str>> = holders
                .iter()
                .map(|holder| named(holder, types).collect())
                .collect();
            match () {
                () if states.iter().flatten().any(|s| *s == "False") => Health::Degraded,
                () if states.is_empty()
                    || states
                        .iter()
                        .any(|s| s.len() < types.len() || s.contains(&"Unknown")) =>
                {
                    Health::Progressing
                }
                () => Health::Healthy,
            }
        }
    }
}

/// The status of the tenant's object, or `None` when the sites say nothing.
#[must_use]
pub fn aggregate(of: &Of<'_>, views: &[SiteView<'_>], told: &mut Told) -> Option<Value> {
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
    let mut out = match views.as_slice() {
        [only] if only.contact != Contact::Lost => only.status.clone(),
        _ => by_row(of, &views, &heard),
    };
    by_rule(of, &views, &heard, &mut out, told);
    let Value::Object(mut out) = out else {
        return None;
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
        let observed = observed_generation(of.generation, &views);
        if observed > 0 {
            out.insert("observedGeneration".into(), json!(observed));
        }
    }
    (!out.is_empty()).then_some(Value::Object(out))
}

fn by_row(of: &Of<'_>, views: &[&SiteView<'_>], heard: &[&SiteView<'_>]) -> Value {
    let mut out = Value::Object(Map::new());
    let rows = kinds::row(of.group, of.resource).map_or(&[][..], |row| row.combine);
    for (path, how) in rows {
        let Ok(steps) = Steps::parse(path) else {
            continue;
        };
        if let Some(value) = combine(*how, &steps, views, heard) {
            steps.put(&mut out, &value);
        }
    }
    out
}

/// What the kind's rule says goes before what is known of the kind.
fn by_rule(
    of: &Of<'_>,
    views: &[&SiteView<'_>],
    heard: &[&SiteView<'_>],
    out: &mut Value,
    told: &mut Told,
) {
    let rows = of.rule.map_or(&[][..], Rule::combined);
    if rows.is_empty() {
        return;
    }
    let site = |v: &&SiteView<'_>| {
        json!({
            "site": v.site, "contact": v.contact.as_str(), "applied": v.applied,
            "status": v.status,
        })
    };
    let sites = Value::Array(views.iter().map(site).collect());
    for row in rows {
        let value = match row.how {
            Some(how) => combine(how, &row.path, views, heard),
            None => match row.run(of.object, &sites, &mut told.fuel) {
                Ok(Value::Null) => None,
                Ok(value) => Some(value),
                Err(error) => {
                    told.errors.push(format!("combine: {error}"));
                    None
                }
            },
        };
        match value {
            Some(value) => row.path.put(out, &value),
            None => row.path.cut(out),
        }
    }
}

/// One member, combined over the sites that are heard.
fn combine(
    how: How,
    path: &Steps,
    views: &[&SiteView<'_>],
    heard: &[&SiteView<'_>],
) -> Option<Value> {
    let found = heard.iter().filter_map(|v| path.one(v.status));
    let values: Vec<&Value> = found.filter(|v| !v.is_null()).collect();
    // Whoever is silent tells nothing, so what all must say is not known.
    let whole = values.len() == views.len();
    let first = *values.first()?;
    Some(match how {
        How::Drop => return None,
        How::First => first.clone(),
        How::Same if whole && values.iter().all(|v| *v == first) => first.clone(),
        How::Same => return None,
        How::Last if !whole => return None,
        How::Min => (*values.iter().min_by(|a, b| size(a, b))?).clone(),
        How::Max | How::Last => (*values.iter().max_by(|a, b| size(a, b))?).clone(),
        How::All => Value::Bool(whole && values.iter().all(|v| **v == Value::Bool(true))),
        How::Any => Value::Bool(values.iter().any(|v| **v == Value::Bool(true))),
        How::Sum => sum(&values)?,
        How::Join => {
            let lists = values.iter().filter_map(|v| v.as_array());
            let all: Vec<Value> = lists.flatten().cloned().collect();
            (!all.is_empty()).then_some(Value::Array(all))?
        }
        How::Worst(words) => {
            let said = |word: &&&str| values.iter().any(|v| **v == ***word);
            words.iter().find(said).map(|word| json!(word))?
        }
    })
}

/// Numbers by size; everything else as text, which is right for times.
fn size(a: &Value, b: &Value) -> std::cmp::Ordering {
    match (a.as_f64(), b.as_f64()) {
        (Some(a), Some(b)) => a.total_cmp(&b),
        _ => a.as_str().cmp(&b.as_str()),
    }
}

fn sum(values: &[&Value]) -> Option<Value> {
    let whole: Option<Vec<i64>> = values.iter().map(|v| v.as_i64()).collect();
    if let Some(whole) = whole {
        return Some(json!(whole.iter().fold(0i64, |a, b| a.saturating_add(*b))));
    }
    let numbers: Option<Vec<f64>> = values.iter().map(|v| v.as_f64()).collect();
    numbers.map(|numbers| json!(numbers.iter().sum::<f64>()))
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

    fn of<'a>(group: &'a str, resource: &'a str, generation: i64) -> Of<'a> {
        Of {
            group,
            resource,
            generation,
            object: &Value::Null,
            rule: None,
        }
    }

    fn aggregate(
        group: &str,
        resource: &str,
        generation: i64,
        views: &[SiteView<'_>],
    ) -> Option<Value> {
        super::aggregate(
            &of(group, resource, generation),
            views,
            &mut Told::default(),
        )
    }

    fn health(group: &str, resource: &str, view: &SiteView<'_>) -> Health {
        super::health(&of(group, resource, 4), view, &mut Told::default())
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

    #[test]
    fn every_kind_is_judged_by_what_it_says() {
        let conditions =
            |ty: &str, status: &str| json!({"conditions": [{"type": ty, "status": status}]});
        let parents = |status: &str| {
            json!({"parents": [{"conditions": [
            {"type": "Accepted", "status": status}, {"type": "ResolvedRefs", "status": "True"}]}]})
        };
        let (gateway, balanced) = (
            "gateway.networking.k8s.io",
            json!({"loadBalancer": {"ingress": [{"ip": "1.2.3.4"}]}}),
        );
        let rows: &[(&str, &str, Value, Health)] = &[
            (
                "",
                "persistentvolumeclaims",
                json!({"phase": "Bound"}),
                Health::Healthy,
            ),
            (
                "",
                "persistentvolumeclaims",
                json!({"phase": "Pending"}),
                Health::Progressing,
            ),
            (
                "",
                "persistentvolumeclaims",
                json!({"phase": "Lost"}),
                Health::Degraded,
            ),
            ("", "pods", json!({"phase": "Failed"}), Health::Degraded),
            ("", "services", json!({"loadBalancer": {}}), Health::Healthy),
            (
                "networking.k8s.io",
                "ingresses",
                json!({"loadBalancer": {}}),
                Health::Progressing,
            ),
            ("networking.k8s.io", "ingresses", balanced, Health::Healthy),
            ("batch", "jobs", json!({"active": 1}), Health::Progressing),
            (
                "batch",
                "jobs",
                conditions("Complete", "True"),
                Health::Healthy,
            ),
            (
                "batch",
                "jobs",
                conditions("Failed", "True"),
                Health::Degraded,
            ),
            (gateway, "httproutes", json!({}), Health::Progressing),
            (gateway, "httproutes", parents("True"), Health::Healthy),
            (gateway, "grpcroutes", parents("False"), Health::Degraded),
            (
                "autoscaling",
                "horizontalpodautoscalers",
                conditions("ScalingActive", "False"),
                Health::Degraded,
            ),
            (
                "apiextensions.k8s.io",
                "customresourcedefinitions",
                conditions("Established", "True"),
                Health::Progressing,
            ),
            (
                "policy",
                "poddisruptionbudgets",
                json!({"observedGeneration": 2, "currentHealthy": 1, "desiredHealthy": 2}),
                Health::Progressing,
            ),
            ("", "configmaps", Value::Null, Health::Healthy),
        ];
        for (group, resource, status, want) in rows {
            assert_eq!(
                health(group, resource, &view("a", status)),
                *want,
                "{resource} {status}"
            );
        }
    }

    #[test]
    fn members_are_combined_by_their_kind() {
        let a = json!({"active": 1, "startTime": "2026-11-21T02:00:00Z", "completionTime": "2026-11-21T03:00:00Z"});
        let b = json!({"active": 2, "startTime": "2026-11-21T01:00:00Z"});
        let out = aggregate("batch", "jobs", 1, &[view("a", &a), view("b", &b)]).unwrap();
        assert_eq!(
            out,
            json!({"active": 3, "startTime": "2026-11-21T01:00:00Z"})
        );
        let (a, b) = (json!({"phase": "Bound"}), json!({"phase": "Lost"}));
        let out = aggregate(
            "",
            "persistentvolumeclaims",
            1,
            &[view("a", &a), view("b", &b)],
        );
        assert_eq!(out, Some(json!({"phase": "Lost"})));
        let ip = |ip: &str| json!({"loadBalancer": {"ingress": [{"ip": ip}]}});
        let (a, b) = (ip("1"), ip("2"));
        let out = aggregate("", "services", 1, &[view("a", &a), view("b", &b)]).unwrap();
        assert_eq!(
            out["loadBalancer"]["ingress"],
            json!([{"ip": "1"}, {"ip": "2"}])
        );
    }

    #[test]
    fn a_rule_combines_what_no_row_knows() {
        let spec = json!({"resource": "things", "health": "status.n > 1", "combine": [
            {"path": "n", "how": "Sum"}, {"path": "ok", "how": "All"}, {"path": "v", "how": "Same"},
            {"path": "where", "how": "Expression",
             "expression": "sites.filter(s, s.status.ok).map(s, s.site)"},
            {"path": "bad", "how": "Expression", "expression": "sites[7]"},
        ]});
        let rule = Rule::compile(serde_json::from_value(spec).unwrap(), Default::default());
        let mut of = of("example.com", "things", 1);
        of.rule = Some(&rule);
        let (a, b) = (
            json!({"n": 1, "ok": true, "v": "1"}),
            json!({"n": 2, "ok": false, "v": "1"}),
        );
        let mut told = Told::default();
        let out = super::aggregate(&of, &[view("a", &a), view("b", &b)], &mut told).unwrap();
        assert_eq!(out, json!({"n": 3, "ok": false, "v": "1", "where": ["a"]}));
        assert_eq!(told.errors.len(), 1, "{:?}", told.errors);
        assert!(
            told.errors[0].starts_with("combine: index out of bounds"),
            "{:?}",
            told.errors
        );
        let lost = SiteView {
            contact: Contact::Lost,
            ..view("b", &b)
        };
        let out = super::aggregate(&of, &[view("a", &a), lost], &mut told).unwrap();
        assert_eq!(
            (&out["ok"], out.get("v")),
            (&json!(false), None),
            "silence is not agreement"
        );
        assert_eq!(
            super::health(&of, &view("a", &a), &mut told),
            Health::Progressing
        );
        assert_eq!(
            super::health(&of, &view("b", &b), &mut told),
            Health::Healthy
        );
        let empty = json!({});
        assert_eq!(
            super::health(&of, &view("a", &empty), &mut told),
            Health::Unknown
        );
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
