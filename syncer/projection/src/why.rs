//! Why an object is not well: the chain from the request to its health, the first broken link on
//! top.
//!
//! Start at [`chain`], which looks at what a tenant may read and at nothing else, and at [`first`].
//! Invariant: a link says only what stands in an object; where that is not enough it says what is
//! not known. Ages are derived from `now`.

use hanse_apis::sites::{
    self, ObjectSelector, PlacementSpec, PlacementStatus, ProjectionRuleSpec, ProjectionRuleStatus,
    ProjectionSpec, ProjectionStatus, SiteDetail, names,
};
use serde_json::Value;

use crate::expr::{Expression, Fuel, cut};
use crate::kinds;
use crate::references::references;

/// Longest text of one link, in bytes.
const TEXT_BYTES_MAX: usize = 1024;
/// Sites that one link names.
const SITES_NAMED: usize = 5;

/// Everything that a tenant may read about an object.
#[derive(Clone, Debug, Default)]
pub struct Facts {
    /// API group of the kind.
    pub group: String,
    /// Its plural name.
    pub resource: String,
    /// Namespace of the object; empty for one without.
    pub namespace: String,
    /// Its name.
    pub name: String,
    /// The object; `None` when there is none.
    pub object: Option<Value>,
    /// Why the object cannot be read, when it is another reason than that there is none.
    pub unreadable: String,
    /// Its Projection.
    pub projection: Option<Value>,
    /// The Placements of its workspace.
    pub placements: Vec<Value>,
    /// The ProjectionRules of its workspace.
    pub rules: Vec<Value>,
    /// The Sites that may be read, of its workspace and those above.
    pub sites: Vec<Value>,
    /// What the object names and its workspace does not have: plural, name.
    pub missing: Vec<(String, String)>,
    /// The object's Events of type Warning: reason, message, newest first.
    pub warnings: Vec<(String, String)>,
    /// Now, in microseconds since 1970.
    pub now: i64,
    /// How long ago a moment of microseconds was, in words.
    pub ago: Option<fn(i64) -> String>,
}

/// A link of the chain.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Stage {
    /// The object as it was asked for.
    Request,
    /// Whether objects like it may travel.
    Policy,
    /// Which sites.
    Placement,
    /// What each of them shall have.
    Render,
    /// Whether it stands there.
    Apply,
    /// Whether it is well there.
    Health,
}

impl Stage {
    /// The word for it.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Request => "request",
            Self::Policy => "policy",
            Self::Placement => "placement",
            Self::Render => "render",
            Self::Apply => "apply",
            Self::Health => "health",
        }
    }
}

/// How a link is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum State {
    /// It holds.
    Holds,
    /// It is broken here.
    Broken,
    /// It is not reached, because an earlier one is broken.
    Open,
}

/// One link.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Link {
    /// Which one.
    pub stage: Stage,
    /// How it is.
    pub state: State,
    /// What it says.
    pub text: String,
}

/// What a look at a link finds: that it holds with a word about it, or what broke it.
type Look = Result<String, String>;
type Looker = fn(&Facts) -> Look;

/// The whole chain, in its order.
#[must_use]
pub fn chain(facts: &Facts) -> Vec<Link> {
    let looks: [(Stage, Looker); 6] = [
        (Stage::Request, request),
        (Stage::Policy, policy),
        (Stage::Placement, placement),
        (Stage::Render, render),
        (Stage::Apply, apply),
        (Stage::Health, health),
    ];
    let mut broken = false;
    let mut out = Vec::new();
    for (stage, look) in looks {
        // What comes after the decision about sites can be told beside an earlier break.
        let (state, text) = match look(facts) {
            _ if broken && facts.projection.is_none() => (State::Open, String::new()),
            Ok(text) if !broken => (State::Holds, text),
            Ok(text) => (State::Open, text),
            Err(text) => (State::Broken, text),
        };
        broken |= state == State::Broken;
        let text: String = text
            .chars()
            .map(|c| if c.is_control() { ' ' } else { c })
            .collect();
        let text = cut(&text, TEXT_BYTES_MAX);
        out.push(Link { stage, state, text });
    }
    out
}

/// The first broken link.
#[must_use]
pub fn first(chain: &[Link]) -> Option<&Link> {
    chain.iter().find(|link| link.state == State::Broken)
}

impl Facts {
    fn since(&self, text: &str) -> String {
        let then = parse(text);
        match (then, self.ago) {
            (Some(then), Some(ago)) => ago(self.now - then),
            _ => text.to_owned(),
        }
    }

    fn spec(&self) -> ProjectionSpec {
        let read = |p: &Value| sites::read(p, "spec").unwrap_or_default();
        self.projection.as_ref().map(read).unwrap_or_default()
    }

    fn status(&self) -> ProjectionStatus {
        let read = |p: &Value| sites::read(p, "status").unwrap_or_default();
        self.projection.as_ref().map(read).unwrap_or_default()
    }

    fn kind(&self) -> String {
        match self.group.as_str() {
            "" => self.resource.clone(),
            group => format!("{}.{group}", self.resource),
        }
    }
}

/// Microseconds since 1970 of `2026-11-21T03:00:00Z`, or nothing.
fn parse(text: &str) -> Option<i64> {
    let number = |range: std::ops::Range<usize>| text.get(range)?.parse::<i64>().ok();
    let (year, month, day) = (number(0..4)?, number(5..7)?, number(8..10)?);
    let (hour, minute, second) = (number(11..13)?, number(14..16)?, number(17..19)?);
    // Days from the civil calendar, with years that begin in March.
    let (y, m) = if month <= 2 {
        (year - 1, month + 9)
    } else {
        (year, month - 3)
    };
    let (era, yoe) = (y.div_euclid(400), y.rem_euclid(400));
    let doy = (153 * m + 2) / 5 + day - 1;
    let days = era * 146_097 + yoe * 365 + yoe / 4 - yoe / 100 + doy - 719_468;
    Some((days * 86_400 + hour * 3600 + minute * 60 + second) * 1_000_000)
}

fn request(facts: &Facts) -> Look {
    if !facts.unreadable.is_empty() {
        return Err(facts.unreadable.clone());
    }
    let place = match facts.namespace.as_str() {
        "" => String::new(),
        namespace => format!(" in namespace {namespace}"),
    };
    let Some(object) = &facts.object else {
        let kind = facts.kind();
        return Err(format!(
            "there is no {kind} {:?}{place} in this workspace",
            facts.name
        ));
    };
    let meta = &object["metadata"];
    if let Some(since) = meta["deletionTimestamp"].as_str() {
        return Err(deletion(facts, meta, since));
    }
    let generation = meta["generation"].as_i64().unwrap_or(1);
    Ok(format!("stands here{place}, generation {generation}"))
}

/// What holds up the end of an object.
fn deletion(facts: &Facts, meta: &Value, since: &str) -> String {
    let ago = facts.since(since);
    let held = meta["finalizers"].as_array().into_iter().flatten();
    let held: Vec<&str> = held.filter_map(Value::as_str).collect();
    let others: Vec<&str> = held
        .iter()
        .copied()
        .filter(|f| *f != names::SOURCE_FINALIZER)
        .collect();
    let mut text = format!("it is being deleted since {ago}");
    if !others.is_empty() {
        text.push_str(&format!("; held by the finalizers {}", others.join(", ")));
    }
    if held.contains(&names::SOURCE_FINALIZER) {
        let status = facts.status();
        let parts: Vec<String> = status.sites.iter().map(|s| leaving(facts, s)).collect();
        text.push_str("; still at ");
        text.push_str(&parts.join("; "));
    }
    text
}

fn leaving(facts: &Facts, site: &SiteDetail) -> String {
    let why = match (&site.error, site.certainty.as_str()) {
        (_, "Lost") => ", which is silent".to_owned(),
        (Some(e), _) => format!(
            ": {}: {} (for {})",
            e.reason,
            e.message,
            facts.since(&e.since)
        ),
        (None, _) => String::new(),
    };
    format!("site {}{why}", site.site)
}

fn policy(facts: &Facts) -> Look {
    let ignore = names::IGNORE_LABEL;
    let labels = |o: &Value| o["metadata"]["labels"].get(ignore).is_some();
    if facts.object.as_ref().is_some_and(labels) {
        return Err(format!("its label {ignore} keeps it here"));
    }
    if let Some(why) = kinds::stays(&facts.group, &facts.resource, &facts.name) {
        return Err(format!("{} never travel: {why}", facts.kind()));
    }
    let mut said = String::new();
    for rule in &facts.rules {
        let spec: ProjectionRuleSpec = sites::read(rule, "spec").unwrap_or_default();
        if spec.group != facts.group || spec.resource != facts.resource {
            continue;
        }
        let name = rule["metadata"]["name"].as_str().unwrap_or_default();
        if spec.exclude_names.contains(&facts.name) {
            return Err(format!(
                "projectionrule/{name} excludes it: spec.excludeNames"
            ));
        }
        let status: ProjectionRuleStatus = sites::read(rule, "status").unwrap_or_default();
        let bad = status
            .conditions
            .iter()
            .find(|c| c.r#type == "Valid" && c.status == "False");
        if let Some(bad) = bad {
            return Err(format!(
                "projectionrule/{name} cannot be used: {}",
                bad.message
            ));
        }
        said = format!("projectionrule/{name} says how it travels");
    }
    Ok(said)
}

fn placement(facts: &Facts) -> Look {
    let spec = facts.spec();
    let Some(placement) = chosen(facts, &spec) else {
        if facts.projection.is_some() && !spec.sites.is_empty() {
            return Ok(format!("sent by placement/{}", spec.placement));
        }
        return Err(not_selected(facts));
    };
    let name = placement["metadata"]["name"].as_str().unwrap_or_default();
    let status: PlacementStatus = sites::read(placement, "status").unwrap_or_default();
    let placed = status.conditions.iter().find(|c| c.r#type == "Placed");
    let Some(placed) = placed else {
        return Err(format!("placement/{name} is not decided yet"));
    };
    let seen = status.sites.len();
    if placed.status != "True" {
        let mut text = format!("placement/{name}: {}: {}", placed.reason, placed.message);
        for decision in status.sites.iter().take(SITES_NAMED) {
            text.push_str(&format!("; {}: {}", decision.site, decision.reason));
            if !decision.message.is_empty() {
                text.push_str(&format!(" ({})", decision.message));
            }
        }
        return Err(text);
    }
    let chosen: Vec<&str> = status
        .sites
        .iter()
        .filter(|d| d.chosen)
        .map(|d| d.site.as_str())
        .take(SITES_NAMED)
        .collect();
    Ok(format!(
        "placement/{name} chose {} of {seen}: {}",
        status.chosen,
        chosen.join(", ")
    ))
}

/// The Placement that decides about the object: the one that placed it, or the first that selects
/// it.
fn chosen<'a>(facts: &'a Facts, spec: &ProjectionSpec) -> Option<&'a Value> {
    let of = |p: &&Value| p["metadata"]["name"].as_str() == Some(&spec.placement);
    let placed = facts.placements.iter().find(of);
    let mut sorted: Vec<&Value> = facts.placements.iter().collect();
    sorted.sort_by_key(|p| p["metadata"]["name"].as_str());
    let selects = |p: &Value| misses(facts, p).is_ok();
    placed.or_else(|| sorted.into_iter().find(|p| selects(p)))
}

/// What keeps a Placement from selecting the object, nearest miss first.
fn misses(facts: &Facts, placement: &Value) -> Result<(), (usize, String)> {
    let spec: PlacementSpec = sites::read(placement, "spec").unwrap_or_default();
    let labels = facts.object.as_ref().map(|o| &o["metadata"]["labels"]);
    let labels = labels.and_then(Value::as_object).into_iter().flatten();
    let labels = labels
        .map(|(k, v)| (k.clone(), v.as_str().unwrap_or_default().to_owned()))
        .collect();
    let miss = |o: &ObjectSelector| {
        if o.group != facts.group || o.resource != facts.resource {
            return Some((0, format!("does not name {}", facts.kind())));
        }
        if !o.namespaces.is_empty() && !o.namespaces.contains(&facts.namespace) {
            return Some((
                1,
                format!("does not name the namespace {}", facts.namespace),
            ));
        }
        if !o.names.is_empty() && !o.names.contains(&facts.name) {
            return Some((2, format!("does not name {:?}", facts.name)));
        }
        if !o.selector.matches(&labels) {
            return Some((3, "asks for other labels".to_owned()));
        }
        expression(&o.expression, facts.object.as_ref()).map(|why| (4, why))
    };
    let all: Vec<Option<(usize, String)>> = spec.objects.iter().map(miss).collect();
    match all.iter().any(Option::is_none) {
        true => Ok(()),
        false => Err(all
            .into_iter()
            .flatten()
            .max_by_key(|(near, _)| *near)
            .unwrap_or((0, "selects nothing".into()))),
    }
}

/// Why an expression does not select the object.
fn expression(text: &str, object: Option<&Value>) -> Option<String> {
    if text.is_empty() {
        return None;
    }
    let made = Expression::compile(text, &["object"]);
    let said = made.and_then(|e| {
        e.run(
            &[object.unwrap_or(&Value::Null)],
            &mut Fuel::default(),
            true,
        )
    });
    match said {
        Ok(Value::Bool(true)) => None,
        Ok(_) => Some(format!("asks for {text:?}, which is not true of it")),
        Err(error) => Some(format!("asks for {text:?}, which fails: {error}")),
    }
}

fn not_selected(facts: &Facts) -> String {
    if facts.placements.is_empty() {
        return "there is no Placement in this workspace".into();
    }
    let mut near: Vec<(usize, String)> = Vec::new();
    for placement in &facts.placements {
        let name = placement["metadata"]["name"].as_str().unwrap_or_default();
        if let Err((how, why)) = misses(facts, placement) {
            near.push((how, format!("placement/{name} {why}")));
        }
    }
    near.sort_by(|a, b| b.0.cmp(&a.0).then_with(|| a.1.cmp(&b.1)));
    let near: Vec<String> = near.into_iter().take(SITES_NAMED).map(|(_, t)| t).collect();
    format!("no Placement selects it: {}", near.join("; "))
}

/// Errors of the hub's own half, which never leave it.
const RENDERED: &[&str] = &["TransformFailed", "RuleInvalid", "NotAccepted", "TooLarge"];

fn is_of_render(site: &SiteDetail) -> bool {
    let reason = site.error.as_ref().map(|e| e.reason.as_str());
    reason.is_some_and(|reason| RENDERED.contains(&reason))
}

fn failures(facts: &Facts, of: impl Fn(&SiteDetail) -> bool) -> Option<String> {
    let status = facts.status();
    let mut parts = Vec::new();
    for site in status.sites.iter().filter(|s| of(s)).take(SITES_NAMED) {
        let Some(e) = &site.error else {
            continue;
        };
        let mut text = format!("{}: {}: {}", site.site, e.reason, e.message);
        if !e.since.is_empty() {
            text.push_str(&format!(" (for {}", facts.since(&e.since)));
            if !e.next_try.is_empty() {
                text.push_str(&format!(", next try {}", e.next_try));
            }
            text.push(')');
        }
        parts.push(text);
    }
    (!parts.is_empty()).then(|| parts.join("; "))
}

fn render(facts: &Facts) -> Look {
    if let Some(said) = failures(facts, is_of_render) {
        return Err(said);
    }
    let status = facts.status();
    let failed = status
        .conditions
        .iter()
        .find(|c| c.r#type == "Rendered" && c.status == "False");
    match failed {
        Some(failed) => Err(failed.message.clone()),
        None => Ok(String::new()),
    }
}

fn apply(facts: &Facts) -> Look {
    if let Some(said) = failures(facts, |s| s.error.is_some() && !is_of_render(s)) {
        return Err(said);
    }
    if !facts.missing.is_empty() {
        let all: Vec<String> = facts
            .missing
            .iter()
            .map(|(resource, name)| format!("{resource}/{name}"))
            .collect();
        let are = if all.len() > 1 { "are" } else { "is" };
        return Err(format!(
            "{} {are} named by it and not in this workspace",
            all.join(", ")
        ));
    }
    let status = facts.status();
    if status.unknown > 0 {
        let lost: Vec<&str> = lost(&status).collect();
        let since = facts.since(&status.unknown_since);
        let lost = lost.join(", ");
        return Err(format!(
            "{lost}: silent for {since}; what stands there is not known"
        ));
    }
    let pending = status.sites.iter().filter(|s| s.state == "Pending");
    let pending: Vec<String> = pending
        .take(SITES_NAMED)
        .map(|s| {
            format!(
                "{}: sent, and its syncer has not said anything{}",
                s.site,
                heard(facts, s)
            )
        })
        .collect();
    if !pending.is_empty() {
        return Err(pending.join("; "));
    }
    let total = facts.spec().sites.len();
    Ok(format!("stands at {} of {total}", status.applied))
}

fn lost(status: &ProjectionStatus) -> impl Iterator<Item = &str> {
    let lost = status.sites.iter().filter(|s| s.certainty == "Lost");
    lost.map(|s| s.site.as_str()).take(SITES_NAMED)
}

/// How a site is heard, when its Site may be read.
fn heard(facts: &Facts, site: &SiteDetail) -> String {
    let of = |s: &&Value| s["metadata"]["name"].as_str() == Some(&site.site);
    let contact = facts.sites.iter().find(of).map(|s| &s["status"]["contact"]);
    match contact.and_then(Value::as_str) {
        Some("") | None => String::new(),
        Some(contact) => format!(" (the site is {contact})"),
    }
}

fn health(facts: &Facts) -> Look {
    let status = facts.status();
    let mapped = status
        .conditions
        .iter()
        .find(|c| c.r#type == "Mapped" && c.status == "False");
    if let Some(mapped) = mapped {
        return Err(format!(
            "its status cannot be brought up: {}",
            mapped.message
        ));
    }
    let bad = |s: &&SiteDetail| s.health == "Degraded" || s.health == "Progressing";
    let mut ill: Vec<&SiteDetail> = status.sites.iter().filter(bad).collect();
    ill.sort_by_key(|s| s.health.as_str() != "Degraded");
    let parts: Vec<String> = ill
        .iter()
        .take(SITES_NAMED)
        .map(|s| format!("{}: {}", s.site, ailment(facts, s)))
        .collect();
    match parts.is_empty() {
        true => Ok(format!("{} ready", status.ready)),
        false => Err(parts.join("; ")),
    }
}

/// What an object says of itself at a site: its worst condition, its counters, its warnings.
fn ailment(facts: &Facts, site: &SiteDetail) -> String {
    let mut said = vec![site.health.clone()];
    let conditions = site.status["conditions"].as_array().into_iter().flatten();
    let bad = conditions.filter(|c| {
        let ty = c["type"].as_str().unwrap_or_default();
        let worst = if crate::aggregate::is_bad_news(ty) {
            "True"
        } else {
            "False"
        };
        c["status"] == worst
    });
    for condition in bad.take(2) {
        let text = |key: &str| condition[key].as_str().unwrap_or_default();
        said.push(format!(
            "{} ({}): {}",
            text("type"),
            text("reason"),
            text("message")
        ));
    }
    for (path, word) in [
        ("phase", "phase"),
        ("readyReplicas", "ready"),
        ("replicas", "of"),
    ] {
        match &site.status[path] {
            Value::String(text) => said.push(format!("{word} {text}")),
            Value::Number(n) => said.push(format!("{word} {n}")),
            _ => {}
        }
    }
    let own = format!("{}: ", site.site);
    let warning = facts.warnings.iter().find(|(_, m)| m.starts_with(&own));
    if let Some((reason, message)) = warning {
        said.push(format!("{reason}: {}", message.trim_start_matches(&own)));
    }
    said.join(", ")
}

/// What an object names in its own namespace, to be looked for: plural, name.
#[must_use]
pub fn named(object: &Value, group: &str, resource: &str) -> Vec<(String, String)> {
    let all = references(object, group, resource, &[]).into_iter();
    let core = all.filter(|(group, ..)| group.is_empty());
    core.map(|(_, resource, name)| (resource, name)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn times_are_read_without_a_calendar() {
        assert_eq!(parse("1970-01-01T00:00:01Z"), Some(1_000_000));
        assert_eq!(parse("2026-11-21T03:00:00Z"), Some(1_795_230_000_000_000));
        assert_eq!(parse("soon"), None);
    }

    #[test]
    fn the_first_broken_link_comes_before_what_follows_from_it() {
        let mut facts = Facts {
            group: "apps".into(),
            resource: "deployments".into(),
            namespace: "default".into(),
            name: "web".into(),
            ..Facts::default()
        };
        let says = |facts: &Facts| {
            let chain = chain(facts);
            first(&chain).map(|l| (l.stage, l.text.clone()))
        };
        let (stage, text) = says(&facts).unwrap();
        assert_eq!(stage, Stage::Request);
        assert!(
            text.starts_with("there is no deployments.apps \"web\""),
            "{text}"
        );
        facts.object = Some(json!({"metadata": {"name": "web", "labels": {"app": "web"}}}));
        assert_eq!(says(&facts).unwrap().0, Stage::Placement);
        facts.placements = vec![json!({
            "metadata": {"name": "p"},
            "spec": {"objects": [{"resource": "configmaps"}, {"group": "apps", "resource": "deployments",
                     "selector": {"matchLabels": {"app": "db"}}}]},
        })];
        let text = says(&facts).unwrap().1;
        assert_eq!(
            text,
            "no Placement selects it: placement/p asks for other labels"
        );
        facts.projection = Some(json!({
            "spec": {"placement": "gone", "sites": [{"site": "a"}]},
            "status": {"ready": "0/1", "sites": [{"site": "a", "state": "Failed", "error": {
                "reason": "Rejected", "message": "no"}}]},
        }));
        assert_eq!(
            says(&facts).unwrap(),
            (Stage::Apply, "a: Rejected: no".into())
        );
        facts.projection = Some(json!({
            "spec": {"placement": "gone", "sites": [{"site": "a"}]},
            "status": {"ready": "1/1", "applied": 1, "sites": [{"site": "a", "state": "Applied",
                       "health": "Healthy", "certainty": "Live"}]},
        }));
        assert_eq!(says(&facts), None);
    }
}
