//! Warnings that are given below about our objects, and about the Pods that they make.
//!
//! One watch of Events of type Warning. Invariant: bounded and said once: of each object the
//! latest few different ones are kept, however often and for how many Pods they are given; a site
//! that does not let us read Events is worked with all the same.

use std::sync::Arc;

use hanse_apis::sites::BelowEvent;
use hanse_client::{Follow, List, Notice, Resource};
use hanse_projection::expr::cut;
use hanse_projection::limits::EVENTS_MAX;
use serde_json::Value;

use crate::agent::Shared;
use crate::limits::{PAGE_OBJECTS, WARNING_BYTES_MAX};
use crate::table::{Entry, Table};

/// Kinds that workloads make, whose names begin with the workload's.
const MADE: &[&str] = &["Pod", "ReplicaSet", "Job"];

/// Follows the warnings until the agent stops.
pub async fn run(shared: Arc<Shared>) {
    let list = List {
        fields: "type=Warning".into(),
        page: PAGE_OBJECTS,
        ..List::default()
    };
    let events = Resource::new("", "v1", "events");
    let (site, seams) = (shared.site.clone(), shared.seams.clone());
    let mut follow = Follow::new(site, events, list, seams, String::new());
    loop {
        let notice = tokio::select! {
            biased;
            () = shared.stop.wait() => return,
            notice = follow.next() => notice,
        };
        if let Notice::Seen(event) = notice {
            seen(&shared, &event);
        }
    }
}

fn seen(shared: &Shared, event: &Value) {
    let text = |v: &Value| v.as_str().unwrap_or_default().to_owned();
    let about = &event["involvedObject"];
    let (kind, name) = (text(&about["kind"]), text(&about["name"]));
    let namespace = text(&about["namespace"]);
    if event["type"] != "Warning" || name.is_empty() {
        return;
    }
    let times = [
        &event["firstTimestamp"],
        &event["eventTime"],
        &event["metadata"]["creationTimestamp"],
    ];
    let since = times.into_iter().find_map(Value::as_str);
    let warning = BelowEvent {
        reason: cut(&text(&event["reason"]), WARNING_BYTES_MAX / 4),
        message: cut(&text(&event["message"]), WARNING_BYTES_MAX),
        since: since.unwrap_or_default().to_owned(),
        kind,
        name,
    };
    let found = whose(&shared.table.lock(), &namespace, &warning);
    let Some(of) = found else {
        return;
    };
    let news = {
        let mut table = shared.table.lock();
        table.get_mut(&of).is_some_and(|entry| note(entry, warning))
    };
    if news {
        shared.reports.add(of);
    }
}

/// The object that a warning is about: itself, or what made it.
fn whose(table: &Table, namespace: &str, warning: &BelowEvent) -> Option<Arc<str>> {
    let plural = plural(&warning.kind);
    let made = MADE.contains(&warning.kind.as_str());
    let mut best: Option<(usize, &Arc<str>)> = None;
    for (name, entry) in table.iter() {
        let place = &entry.standing.place;
        if *place.namespace != *namespace || entry.standing.removing {
            continue;
        }
        if *place.plural == *plural && *place.name == *warning.name {
            return Some(Arc::clone(name));
        }
        let of = warning.name.strip_prefix(&*place.name);
        let maker = made && MAKERS.contains(&&*place.plural);
        if maker && of.is_some_and(|rest| rest.starts_with('-')) {
            let length = place.name.len();
            if best.is_none_or(|(most, _)| length > most) {
                best = Some((length, name));
            }
        }
    }
    best.map(|(_, name)| Arc::clone(name))
}

/// Kinds that make Pods; a ConfigMap of the same name does not.
const MAKERS: &[&str] = &[
    "deployments",
    "statefulsets",
    "daemonsets",
    "replicasets",
    "jobs",
    "cronjobs",
];

/// The plural of a kind, as nearly all are made.
fn plural(kind: &str) -> String {
    let word = kind.to_lowercase();
    match word.strip_suffix('y') {
        Some(stem) if !stem.ends_with(['a', 'e', 'o', 'u']) => format!("{stem}ies"),
        _ if word.ends_with(['s', 'x']) || word.ends_with("ch") => format!("{word}es"),
        _ => format!("{word}s"),
    }
}

/// Keeps a warning; answers whether it is a new one.
fn note(entry: &mut Entry, warning: BelowEvent) -> bool {
    let known = &mut entry.extra().events;
    let same = |w: &BelowEvent| w.reason == warning.reason && w.message == warning.message;
    if known.iter().any(same) {
        return false;
    }
    known.insert(0, warning);
    known.sort_by(|a, b| b.since.cmp(&a.since));
    known.truncate(EVENTS_MAX);
    true
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn kinds_have_plurals() {
        for (kind, want) in [
            ("Deployment", "deployments"),
            ("Ingress", "ingresses"),
            ("NetworkPolicy", "networkpolicies"),
            ("Gateway", "gateways"),
        ] {
            assert_eq!(plural(kind), want);
        }
    }
}
