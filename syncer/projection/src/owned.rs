//! What of a live object is ours: drift and conflict, read from managedFields (rule 2).
//!
//! After each apply the syncer keeps a digest of the part that its field manager owns: the set of
//! fields and their values. While the digest is the same there is nothing to do. When it is not,
//! either a field of ours is gone or changed without an owner (*drift*: applied again), or another
//! manager took it (*conflict*: left alone and shown); server-side apply without force tells the
//! two apart, and [`conflicts`] reads its answer.
//!
//! Invariant: what other managers add beside our fields never changes the digest.

use serde_json::{Map, Value};
use sha2::{Digest, Sha256};

use crate::path;

/// Deepest field set that is walked; deeper levels count as leaves.
const DEPTH_MAX: usize = 128;

/// The fields that a manager owns by apply, as Kubernetes' FieldsV1 tree.
#[must_use]
pub fn fields<'a>(live: &'a Value, manager: &str) -> Option<&'a Value> {
    live["metadata"]["managedFields"]
        .as_array()?
        .iter()
        .find_map(|entry| {
            (entry["manager"] == manager
                && entry["operation"] == "Apply"
                && entry.get("subresource").is_none_or(|s| s == ""))
            .then(|| entry.get("fieldsV1"))
            .flatten()
        })
}

/// The digest of what is ours in a live object. `disputed` are the fields of the last conflict:
/// their values and holders count too, so that the end of a conflict is noticed.
#[must_use]
pub fn digest(live: &Value, manager: &str, disputed: &[String]) -> [u8; 16] {
    let mut hash = Sha256::new();
    match fields(live, manager) {
        Some(owned) => walk(&mut hash, live, owned, 0),
        None => hash.update(b"none"),
    }
    for field in disputed {
        hash.update(field.as_bytes());
        leaf(&mut hash, path::find(live, field));
        for entry in live["metadata"]["managedFields"]
            .as_array()
            .into_iter()
            .flatten()
        {
            if entry.get("subresource").is_none_or(|s| s == "") {
                hash.update(entry["manager"].to_string().as_bytes());
                hash.update(entry["fieldsV1"].to_string().as_bytes());
            }
        }
    }
    let mut out = [0u8; 16];
    out.copy_from_slice(&hash.finalize()[..16]);
    out
}

fn leaf(hash: &mut Sha256, value: Option<&Value>) {
    match value {
        Some(value) => {
            let text = value.to_string();
            hash.update((text.len() as u64).to_be_bytes());
            hash.update(text.as_bytes());
        }
        None => hash.update(u64::MAX.to_be_bytes()),
    }
}

fn walk(hash: &mut Sha256, value: &Value, fields: &Value, depth: usize) {
    let Some(fields) = fields.as_object() else {
        return leaf(hash, Some(value));
    };
    for (step, inner) in fields {
        hash.update((step.len() as u64).to_be_bytes());
        hash.update(step.as_bytes());
        if step == "." {
            continue;
        }
        let child = child(value, step);
        let below = inner.as_object().is_some_and(|m| !m.is_empty());
        match child {
            Some(child) if below && depth < DEPTH_MAX => walk(hash, child, inner, depth + 1),
            // An element that is owned by its presence alone ("." and nothing else).
            other => leaf(hash, other),
        }
    }
}

fn child<'a>(value: &'a Value, step: &str) -> Option<&'a Value> {
    let (kind, rest) = step.split_once(':')?;
    match kind {
        "f" => value.get(rest),
        "i" => value.get(rest.parse::<usize>().ok()?),
        "v" => {
            let wanted: Value = serde_json::from_str(rest).ok()?;
            value.as_array()?.iter().find(|v| **v == wanted)
        }
        "k" => {
            let keys: Map<String, Value> = serde_json::from_str(rest).ok()?;
            value.as_array()?.iter().find(|v| path::has_keys(v, &keys))
        }
        _ => None,
    }
}

/// One field that another manager holds.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Conflict {
    /// The field, as Kubernetes writes it.
    pub field: String,
    /// The manager that holds it.
    pub manager: String,
}

/// Reads the conflicts out of a Status: causes of type FieldManagerConflict, whose message names
/// the manager in quotes. Empty when the Status is about something else.
#[must_use]
pub fn conflicts(status: &Value) -> Vec<Conflict> {
    let causes = status["details"]["causes"].as_array();
    let mut out: Vec<Conflict> = causes
        .into_iter()
        .flatten()
        .filter(|c| c["reason"] == "FieldManagerConflict")
        .filter_map(|c| {
            let message = c["message"].as_str().unwrap_or_default();
            Some(Conflict {
                field: c["field"].as_str()?.to_owned(),
                manager: message.split('"').nth(1).unwrap_or_default().to_owned(),
            })
        })
        .collect();
    out.sort();
    out.dedup();
    out
}

/// The intent without the fields that others hold: what is applied so that a conflict holds back
/// only its fields. `None` when a field cannot be taken out, or when the object's identity would
/// go with it.
#[must_use]
pub fn without(intent: &Value, conflicts: &[Conflict]) -> Option<Value> {
    let mut rest = intent.clone();
    for conflict in conflicts {
        if !path::remove(&mut rest, &conflict.field) {
            return None;
        }
    }
    (rest["metadata"]["name"] == intent["metadata"]["name"] && rest["kind"] == intent["kind"])
        .then_some(rest)
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn live() -> Value {
        json!({
            "metadata": {
                "labels": {"a": "1", "other": "x"},
                "managedFields": [
                    {"manager": "hanse-syncer", "operation": "Apply", "fieldsV1": {
                        "f:metadata": {"f:labels": {"f:a": {}}},
                        "f:spec": {
                            "f:replicas": {},
                            "f:list": {"k:{\"name\":\"c\"}": {".": {}, "f:image": {}}},
                            "f:set": {"v:\"p\"": {}},
                        },
                    }},
                    {"manager": "kcm", "operation": "Update", "subresource": "status",
                     "fieldsV1": {"f:status": {}}},
                ],
            },
            "spec": {
                "replicas": 2, "list": [{"name": "b", "image": "0"}, {"name": "c", "image": "1"}],
                "set": ["p", "q"],
            },
            "status": {"ready": 1},
        })
    }

    fn changed(change: impl FnOnce(&mut Value)) -> bool {
        let mut after = live();
        change(&mut after);
        digest(&live(), "hanse-syncer", &[]) != digest(&after, "hanse-syncer", &[])
    }

    #[test]
    fn only_what_is_ours_counts() {
        assert!(!changed(|o| o["metadata"]["labels"]["other"] = json!("y")));
        assert!(!changed(|o| o["status"] = json!({"ready": 2})));
        assert!(!changed(|o| o["spec"]["list"][0]["image"] = json!("9")));
        assert!(!changed(|o| o["spec"]["set"] = json!(["r", "p"])));
        assert!(changed(|o| o["spec"]["replicas"] = json!(3)));
        assert!(changed(|o| o["spec"]["list"][1]["image"] = json!("9")));
        assert!(changed(|o| o["spec"]["set"] = json!(["q"])));
        assert!(changed(|o| {
            o["metadata"]["labels"].as_object_mut().unwrap().remove("a");
        }));
        assert!(changed(|o| {
            let fields = &mut o["metadata"]["managedFields"][0]["fieldsV1"]["f:spec"];
            fields.as_object_mut().unwrap().remove("f:replicas");
        }));
    }

    #[test]
    fn the_end_of_a_conflict_is_seen() {
        let disputed = vec![".spec.limit".to_owned()];
        let before = digest(&live(), "hanse-syncer", &disputed);
        let mut after = live();
        after["spec"]["limit"] = json!(1);
        assert_ne!(before, digest(&after, "hanse-syncer", &disputed));
    }

    #[test]
    fn conflicts_are_read_and_held_back() {
        let status = json!({"details": {"causes": [
            {"reason": "FieldManagerConflict", "field": ".spec.replicas",
             "message": "conflict with \"kubectl-scale\" using apps/v1"},
            {"reason": "FieldValueInvalid", "field": "spec.x", "message": "no"},
        ]}});
        let found = conflicts(&status);
        assert_eq!(found.len(), 1);
        assert_eq!(found[0].manager, "kubectl-scale");
        let intent = json!({
            "kind": "Deployment", "metadata": {"name": "web"},
            "spec": {"replicas": 2, "paused": true},
        });
        let rest = without(&intent, &found).unwrap();
        assert_eq!(rest["spec"], json!({"paused": true}));
        let identity = vec![Conflict {
            field: ".metadata.name".into(),
            manager: "x".into(),
        }];
        assert_eq!(without(&intent, &identity), None);
    }
}
