//! What a CRD's status says, as functions: names, conditions, stored versions.
//!
//! Start at [`accept_names`] and [`establish`]; a controller calls them and writes the result.
//! [`prepare_create`] and [`prepare_update`] are what every write does to the status before
//! validation. Times are left to the caller: a changed condition carries none.

use std::collections::BTreeSet;

use serde_json::{Map, Value, json};

use hanse_json::go;

/// The condition of that type.
pub fn condition<'v>(crd: &'v Value, ty: &str) -> Option<&'v Value> {
    let conditions = crd.get("status")?.get("conditions")?.as_array()?;
    conditions
        .iter()
        .find(|c| c.get("type").and_then(Value::as_str) == Some(ty))
}

/// Whether the condition of that type is there and `True`.
pub fn is_true(crd: &Value, ty: &str) -> bool {
    condition(crd, ty)
        .and_then(|c| c.get("status"))
        .and_then(Value::as_str)
        == Some("True")
}

/// Sets a condition; its `lastTransitionTime` becomes `now` when its status changes.
///
/// Answers whether anything but the time differs from before.
pub fn set_condition(
    crd: &mut Value,
    ty: &str,
    status: &str,
    reason: &str,
    message: &str,
    now: &str,
) -> bool {
    let Some(conditions) = conditions_mut(crd) else {
        return false;
    };
    let found = conditions
        .iter_mut()
        .find(|c| c.get("type").and_then(Value::as_str) == Some(ty));
    let fresh = json!({"type": ty, "status": status, "lastTransitionTime": now, "reason": reason,
        "message": message});
    let Some(old) = found else {
        conditions.push(fresh);
        return true;
    };
    let text = |key: &str| old.get(key).and_then(Value::as_str).unwrap_or_default();
    let same_status = text("status") == status;
    if same_status && text("reason") == reason && text("message") == message {
        return false;
    }
    if let Value::Object(map) = old {
        let time = map
            .get("lastTransitionTime")
            .cloned()
            .filter(|t| t.is_string());
        let Value::Object(mut fresh) = fresh else {
            return false;
        };
        if let Some(time) = time.filter(|_| same_status) {
            fresh.insert("lastTransitionTime".into(), time);
        }
        map.extend(fresh);
    }
    true
}

fn conditions_mut(crd: &mut Value) -> Option<&mut Vec<Value>> {
    let status = crd
        .as_object_mut()?
        .entry("status")
        .or_insert_with(|| json!({}));
    let conditions = status
        .as_object_mut()?
        .entry("conditions")
        .or_insert_with(|| json!([]));
    if conditions.is_null() {
        *conditions = json!([]);
    }
    conditions.as_array_mut()
}

/// Names that other CRDs of one group have been accepted with.
#[derive(Clone, Debug, Default)]
pub struct UsedNames {
    resources: BTreeSet<String>,
    kinds: BTreeSet<String>,
}

impl UsedNames {
    /// Adds the accepted names of a CRD; the caller leaves out other groups.
    pub fn add(&mut self, crd: &Value) {
        let Some(names) = crd.get("status").and_then(|s| s.get("acceptedNames")) else {
            return;
        };
        self.resources
            .extend(["plural", "singular"].map(|key| text(names, key)));
        self.resources.extend(texts(names, "shortNames"));
        self.kinds
            .extend(["kind", "listKind"].map(|key| text(names, key)));
    }
}

fn text(value: &Value, key: &str) -> String {
    value
        .get(key)
        .and_then(Value::as_str)
        .unwrap_or_default()
        .to_owned()
}

fn texts(value: &Value, key: &str) -> Vec<String> {
    let items = value
        .get(key)
        .and_then(Value::as_array)
        .into_iter()
        .flatten();
    items.filter_map(Value::as_str).map(str::to_owned).collect()
}

fn in_use(requested: &str, accepted: &str, used: &BTreeSet<String>) -> Option<String> {
    (requested != accepted && used.contains(requested))
        .then(|| format!("{} is already in use", go::quote(requested)))
}

/// Accepts the names of a CRD as far as no other one of its group has them, and sets the
/// conditions `NamesAccepted` and `Established` (the latter to `Installing` at most, see
/// [`establish`]).
///
/// `used` holds the accepted names of the group, this CRD's own included or not. Answers whether
/// anything changed.
pub fn accept_names(crd: &mut Value, used: &UsedNames, now: &str) -> bool {
    let null = Value::Null;
    let requested = crd
        .get("spec")
        .and_then(|s| s.get("names"))
        .unwrap_or(&null)
        .clone();
    let accepted = crd
        .get("status")
        .and_then(|s| s.get("acceptedNames"))
        .unwrap_or(&null)
        .clone();
    let mut names = accepted.as_object().cloned().unwrap_or_default();
    let mut problem: Option<(&str, String)> = None;
    for (key, reason, taken) in [
        ("plural", "PluralConflict", &used.resources),
        ("singular", "SingularConflict", &used.resources),
        ("shortNames", "ShortNamesConflict", &used.resources),
        ("kind", "KindConflict", &used.kinds),
        ("listKind", "ListKindConflict", &used.kinds),
    ] {
        let conflict = if key == "shortNames" {
            short_names_conflict(&requested, &accepted, taken)
        } else {
            in_use(&text(&requested, key), &text(&accepted, key), taken)
        };
        match conflict {
            Some(message) => problem = Some((reason, message)),
            None => copy(&requested, &mut names, key),
        }
    }
    copy(&requested, &mut names, "categories");
    let mut changed = accepted.as_object() != Some(&names);
    if changed && let Some(status) = status_mut(crd) {
        status.insert("acceptedNames".into(), Value::Object(names));
    }
    let good = problem.is_none();
    let (reason, message) = problem.unwrap_or(("NoConflicts", "no conflicts found".to_owned()));
    let status = if good { "True" } else { "False" };
    changed |= set_condition(crd, "NamesAccepted", status, reason, &message, now);
    if condition(crd, "Established").is_none() && !good {
        let message = "not all names are accepted";
        changed |= set_condition(crd, "Established", "False", "NotAccepted", message, now);
    }
    if good && !is_true(crd, "Established") {
        let message = "the initial names have been accepted";
        changed |= set_condition(crd, "Established", "False", "Installing", message, now);
    }
    changed
}

fn status_mut(crd: &mut Value) -> Option<&mut Map<String, Value>> {
    crd.as_object_mut()?
        .entry("status")
        .or_insert_with(|| json!({}))
        .as_object_mut()
}

fn copy(from: &Value, into: &mut Map<String, Value>, key: &str) {
    match from.get(key) {
        Some(value) => {
            into.insert(key.to_owned(), value.clone());
        }
        None => {
            into.remove(key);
        }
    }
}

fn short_names_conflict(
    requested: &Value,
    accepted: &Value,
    taken: &BTreeSet<String>,
) -> Option<String> {
    let ours = texts(accepted, "shortNames");
    let others = texts(requested, "shortNames");
    let mut conflicts: Vec<String> = Vec::new();
    for name in others.iter().filter(|name| !ours.contains(name)) {
        conflicts.extend(in_use(name, "", taken).filter(|text| !conflicts.contains(text)));
    }
    match conflicts.as_slice() {
        [] => None,
        [one] => Some(one.clone()),
        many => Some(format!("[{}]", many.join(", "))),
    }
}

/// Establishes a CRD whose names are accepted; once established it stays so. Answers whether
/// anything changed.
pub fn establish(crd: &mut Value, now: &str) -> bool {
    if !is_true(crd, "NamesAccepted") || is_true(crd, "Established") {
        return false;
    }
    let message = "the initial names have been accepted";
    set_condition(
        crd,
        "Established",
        "True",
        "InitialNamesAccepted",
        message,
        now,
    )
}

/// The status of a new CRD: empty but for the storage version.
pub fn prepare_create(crd: &mut Value) {
    if let Some(map) = crd.as_object_mut() {
        map.insert(
            "status".into(),
            json!({"conditions": [], "acceptedNames": {"plural": "", "kind": ""},
                "storedVersions": []}),
        );
    }
    add_stored_version(crd);
}

/// On a write of the spec the status stays, and a new storage version is remembered in it.
pub fn prepare_update(new: &mut Value, old: &Value) {
    if let Some(map) = new.as_object_mut() {
        match old.get("status") {
            Some(status) => map.insert("status".into(), status.clone()),
            None => map.remove("status"),
        };
    }
    add_stored_version(new);
}

/// The storage version of a CRD, if it has one.
pub fn storage_version(crd: &Value) -> Option<&str> {
    let versions = crd.get("spec")?.get("versions")?.as_array()?;
    let storage = |v: &&Value| v.get("storage").and_then(Value::as_bool) == Some(true);
    versions.iter().find(storage)?.get("name")?.as_str()
}

fn add_stored_version(crd: &mut Value) {
    let Some(version) = storage_version(crd).map(str::to_owned) else {
        return;
    };
    let Some(status) = status_mut(crd) else {
        return;
    };
    let stored = status.entry("storedVersions").or_insert_with(|| json!([]));
    if stored.is_null() {
        *stored = json!([]);
    }
    if let Some(list) = stored.as_array_mut()
        && !list.iter().any(|v| v.as_str() == Some(&version))
    {
        list.push(Value::String(version));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn crd(plural: &str, kind: &str) -> Value {
        json!({"spec": {"names": {"plural": plural, "singular": kind.to_lowercase(),
            "kind": kind, "listKind": format!("{kind}List"), "shortNames": ["s"]},
            "versions": [{"name": "v1", "storage": true}]}})
    }

    #[test]
    fn names_are_accepted_once() {
        let mut first = crd("as", "A");
        prepare_create(&mut first);
        assert_eq!(first["status"]["storedVersions"], json!(["v1"]));
        assert!(accept_names(&mut first, &UsedNames::default(), "t1"));
        assert_eq!(
            condition(&first, "Established").unwrap()["reason"],
            "Installing"
        );
        assert!(establish(&mut first, "t2"));
        assert!(is_true(&first, "Established"));
        assert!(!accept_names(&mut first, &UsedNames::default(), "t3"));

        let mut used = UsedNames::default();
        used.add(&first);
        let mut second = crd("bs", "A");
        accept_names(&mut second, &used, "t");
        let accepted = condition(&second, "NamesAccepted").unwrap();
        assert_eq!(accepted["reason"], "ListKindConflict");
        assert_eq!(accepted["message"], "\"AList\" is already in use");
        assert_eq!(
            condition(&second, "Established").unwrap()["reason"],
            "NotAccepted"
        );
        assert!(!establish(&mut second, "t"));
        assert_eq!(second["status"]["acceptedNames"]["plural"], "bs");
        assert!(
            second["status"]["acceptedNames"]
                .get("shortNames")
                .is_none()
        );
    }

    #[test]
    fn stored_versions_grow() {
        let mut old = crd("as", "A");
        prepare_create(&mut old);
        let mut new = old.clone();
        new["spec"]["versions"] = json!([{"name": "v2", "storage": true}, {"name": "v1"}]);
        new["status"] = json!({});
        prepare_update(&mut new, &old);
        assert_eq!(new["status"]["storedVersions"], json!(["v1", "v2"]));
    }
}
