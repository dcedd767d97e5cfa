//! What the server itself sets in an object that is about to be written, and what it takes back
//! from clients: the part of Kubernetes' strategies that is the same for every kind.
//!
//! Start at [`for_create`] and [`for_update`]; what only one kind needs are rows of `hanse-kinds`.
//! Pure functions over trees. The invariant: after them, every system field of the object is the
//! server's, whatever the client sent (CRU-02, CRU-36, META-04, META-18).

use hanse_json::{Map, Value, entry_object, get, get_i64, get_object};
use hanse_kinds::ResourceDef;

/// System fields that a client may send and that have no effect on creation.
const DISCARDED_ON_CREATE: [&str; 2] = ["selfLink", "resourceVersion"];
/// System fields of what is being deleted: nothing is born so, and nobody comes to own them.
const DELETION: [&str; 2] = ["deletionTimestamp", "deletionGracePeriodSeconds"];
/// System fields that an update takes from the stored object when the client leaves them out.
const KEPT_WHEN_OMITTED: [&str; 2] = ["uid", "creationTimestamp"];
/// System fields that an update always takes from the stored object.
const KEPT: [&str; 2] = ["generation", "selfLink"];
/// Fields that are dropped when empty, as Go's encoder does.
const OMITTED_WHEN_EMPTY: [&str; 7] = [
    "labels",
    "annotations",
    "finalizers",
    "ownerReferences",
    "managedFields",
    "generateName",
    "namespace",
];

/// Which part of an object a write addresses.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Part {
    /// The object, without its status where that is a subresource.
    Main,
    /// The status only.
    Status,
}

/// What these functions need to know of a kind.
#[derive(Clone, Copy, Debug)]
pub struct Traits {
    /// The kind has the subresource `status`.
    pub status: bool,
    /// The kind counts generations.
    pub generation: bool,
    /// Writes of the status may change labels and annotations.
    pub status_writes_metadata: bool,
}

impl Traits {
    /// Those of a kind.
    #[must_use]
    pub fn of(def: &ResourceDef) -> Self {
        Self {
            status: def.has_status(),
            generation: def.flags.generation,
            status_writes_metadata: def.flags.status_metadata,
        }
    }
}

/// Takes from a new object what only one that is being deleted has.
pub fn revive(object: &mut Value) {
    if let Some(meta) = object.get_mut("metadata").and_then(Value::as_object_mut) {
        meta.retain(|field, _| !DELETION.contains(&field.as_str()));
    }
}

/// Sets the system fields of a new object. What a client says of the generation of a kind that
/// does not count it stays.
pub fn for_create(object: &mut Value, traits: Traits, uid: &str, now: &str) {
    if traits.status
        && let Some(fields) = object.as_object_mut()
    {
        fields.remove("status");
    }
    let meta = entry_object(object, &["metadata"]);
    for field in DISCARDED_ON_CREATE.into_iter().chain(DELETION) {
        meta.remove(field);
    }
    meta.insert("uid".to_owned(), uid.into());
    meta.insert("creationTimestamp".to_owned(), now.into());
    if traits.generation {
        meta.insert("generation".to_owned(), 1.into());
    }
    drop_empty(meta);
}

/// Makes `new` what an update of one part of `old` may turn it into.
pub fn for_update(new: &mut Value, old: &Value, part: Part, traits: Traits) {
    match part {
        Part::Main if traits.status => copy_field(new, old, "status"),
        Part::Main => {}
        Part::Status => only_status(new, old, traits.status_writes_metadata),
    }
    let old_meta = get_object(old, &["metadata"]);
    let meta = entry_object(new, &["metadata"]);
    for field in KEPT_WHEN_OMITTED {
        let given = meta.get(field).is_some_and(|value| !is_empty(value));
        if !given {
            carry(meta, old_meta, field);
        }
    }
    for field in KEPT {
        carry(meta, old_meta, field);
    }
    let deleting = old_meta.is_some_and(|meta| meta.contains_key("deletionTimestamp"));
    for field in DELETION {
        // A client that leaves them out of a deleting object does not bring it back; one that
        // sends them for a living object gets the validation's "field is immutable".
        if deleting && meta.get(field).is_none_or(Value::is_null) {
            carry(meta, old_meta, field);
        }
    }
    drop_empty(meta);
}

/// Counts the generation up, when the kind does and something that it stands for has changed.
pub fn bump_generation(new: &mut Value, old: &Value, def: &ResourceDef) {
    if !def.flags.generation || !def.changes_generation(new, old) {
        return;
    }
    let next = get_i64(old, &["metadata", "generation"]).unwrap_or(0) + 1;
    entry_object(new, &["metadata"]).insert("generation".to_owned(), next.into());
}

/// Everything of `old` but the status, which is `new`'s.
fn only_status(new: &mut Value, old: &Value, metadata_too: bool) {
    let mut result = old.clone();
    copy_field(&mut result, new, "status");
    let own: &[&str] = if metadata_too {
        &["managedFields", "resourceVersion", "labels", "annotations"]
    } else {
        &["managedFields", "resourceVersion"]
    };
    let new_meta = get_object(new, &["metadata"]).cloned().unwrap_or_default();
    let meta = entry_object(&mut result, &["metadata"]);
    for field in own {
        match new_meta.get(*field) {
            Some(value) => meta.insert((*field).to_owned(), value.clone()),
            None => meta.remove(*field),
        };
    }
    // A different uid must still be seen as the failed precondition that it is.
    if let Some(uid) = new_meta.get("uid").filter(|uid| !is_empty(uid)) {
        meta.insert("uid".to_owned(), uid.clone());
    }
    *new = result;
}

fn copy_field(to: &mut Value, from: &Value, field: &str) {
    let Some(fields) = to.as_object_mut() else {
        return;
    };
    match get(from, &[field]) {
        Some(value) => fields.insert(field.to_owned(), value.clone()),
        None => fields.remove(field),
    };
}

fn carry(meta: &mut Map<String, Value>, old: Option<&Map<String, Value>>, field: &str) {
    match old.and_then(|old| old.get(field)) {
        Some(value) => meta.insert(field.to_owned(), value.clone()),
        None => meta.remove(field),
    };
}

fn drop_empty(meta: &mut Map<String, Value>) {
    meta.retain(|field, value| {
        !(value.is_null() || OMITTED_WHEN_EMPTY.contains(&field.as_str()) && is_empty(value))
    });
}

fn is_empty(value: &Value) -> bool {
    match value {
        Value::Null => true,
        Value::String(text) => text.is_empty(),
        Value::Array(items) => items.is_empty(),
        Value::Object(fields) => fields.is_empty(),
        Value::Bool(_) | Value::Number(_) => false,
    }
}

/// Whether an object is on its way out and nothing holds it any more.
#[must_use]
pub fn is_released(object: &Value) -> bool {
    let deleting = get(object, &["metadata", "deletionTimestamp"]).is_some_and(|t| !t.is_null());
    let held = hanse_json::get_array(object, &["metadata", "finalizers"]);
    deleting && held.is_empty()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    const CR: Traits = Traits {
        status: true,
        generation: true,
        status_writes_metadata: false,
    };

    fn stored() -> Value {
        json!({
            "apiVersion": "x/v1", "kind": "X",
            "metadata": {"name": "a", "uid": "u1", "creationTimestamp": "t", "generation": 4,
                "labels": {"l": "1"}, "resourceVersion": "7"},
            "spec": {"a": 1}, "status": {"s": 1},
        })
    }

    #[test]
    fn creation_takes_nothing_from_the_client_that_is_the_servers() {
        let mut object = json!({
            "metadata": {"name": "a", "uid": "mine", "creationTimestamp": null, "selfLink": "/x",
                "generation": 9, "deletionTimestamp": "t", "labels": {}, "annotations": null},
            "spec": {}, "status": {"x": 1},
        });
        for_create(&mut object, CR, "u1", "now");
        let expected = json!({
            "metadata": {"name": "a", "uid": "u1", "creationTimestamp": "now", "generation": 1},
            "spec": {},
        });
        assert_eq!(object, expected);
    }

    #[test]
    fn an_update_of_the_main_part_keeps_the_status() {
        let old = stored();
        let mut new = json!({
            "apiVersion": "x/v1", "kind": "X", "metadata": {"name": "a", "labels": {"l": "2"}},
            "spec": {"a": 1}, "status": {"s": 2},
        });
        for_update(&mut new, &old, Part::Main, CR);
        assert_eq!(new["status"], json!({"s": 1}));
        assert_eq!(new["metadata"]["generation"], 4);
        assert_eq!(new["metadata"]["uid"], "u1");
        assert_eq!(new["metadata"]["labels"], json!({"l": "2"}));
    }

    #[test]
    fn an_update_of_the_status_changes_nothing_else() {
        let old = stored();
        let mut new = json!({
            "metadata": {"name": "a", "labels": {"l": "2"}, "resourceVersion": "7"},
            "spec": {"a": 2}, "status": {"s": 2},
        });
        for_update(&mut new, &old, Part::Status, CR);
        let mut expected = stored();
        expected["status"] = json!({"s": 2});
        assert_eq!(new, expected);
    }

    #[test]
    fn a_deleting_object_cannot_be_brought_back_by_leaving_the_mark_out() {
        let mut old = stored();
        old["metadata"]["deletionTimestamp"] = json!("t2");
        old["metadata"]["finalizers"] = json!(["a/b"]);
        let mut new = stored();
        for_update(&mut new, &old, Part::Main, CR);
        assert_eq!(new["metadata"]["deletionTimestamp"], "t2");
        assert!(is_released(&new));
        assert!(!is_released(&old));
    }
}
