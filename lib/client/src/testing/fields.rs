//! Field ownership of the fake server: enough of server-side apply to test appliers.
//!
//! Every list is atomic and every map granular; that is less than Kubernetes does, and the same
//! in all that matters here: who owns a field, who loses it, and who conflicts.

use std::collections::BTreeSet;

use serde_json::{Map, Value, json};

/// A field as the steps that lead to it.
pub type Field = Vec<String>;

/// The leaves of an object, without its identity and what the server owns.
pub fn leaves(object: &Value) -> BTreeSet<Field> {
    let mut out = BTreeSet::new();
    for (key, value) in object.as_object().into_iter().flatten() {
        match key.as_str() {
            "apiVersion" | "kind" | "status" => {}
            "metadata" => {
                for part in ["labels", "annotations", "finalizers", "ownerReferences"] {
                    if let Some(value) = value.get(part) {
                        walk(value, &mut vec!["metadata".into(), part.into()], &mut out);
                    }
                }
            }
            _ => walk(value, &mut vec![key.clone()], &mut out),
        }
    }
    out
}

fn walk(value: &Value, at: &mut Field, out: &mut BTreeSet<Field>) {
    match value {
        Value::Object(map) if !map.is_empty() => {
            for (key, inner) in map {
                at.push(key.clone());
                walk(inner, at, out);
                at.pop();
            }
        }
        _ => {
            out.insert(at.clone());
        }
    }
}

/// The value of a field.
pub fn value<'a>(object: &'a Value, field: &[String]) -> Option<&'a Value> {
    field.iter().try_fold(object, |at, step| at.get(step))
}

fn set(object: &mut Value, field: &[String], new: Value) {
    let Some((last, parents)) = field.split_last() else {
        return;
    };
    let mut at = object;
    for step in parents {
        if !at.get(step).is_some_and(Value::is_object) {
            at[step.as_str()] = json!({});
        }
        at = &mut at[step.as_str()];
    }
    at[last.as_str()] = new;
}

fn unset(object: &mut Value, field: &[String]) {
    let Some((last, parents)) = field.split_last() else {
        return;
    };
    let mut at = object;
    for step in parents {
        match at.get_mut(step) {
            Some(next) => at = next,
            None => return,
        }
    }
    if let Some(map) = at.as_object_mut() {
        map.remove(last);
    }
}

/// One manager's part of an object.
#[derive(Clone, Debug)]
pub struct Owner {
    manager: String,
    operation: String,
    fields: BTreeSet<Field>,
}

/// Reads managedFields.
pub fn owners(object: &Value) -> Vec<Owner> {
    let entries = object["metadata"]["managedFields"].as_array();
    entries
        .into_iter()
        .flatten()
        .map(|e| {
            let mut fields = BTreeSet::new();
            read(&e["fieldsV1"], &mut Vec::new(), &mut fields);
            Owner {
                manager: e["manager"].as_str().unwrap_or_default().to_owned(),
                operation: e["operation"].as_str().unwrap_or_default().to_owned(),
                fields,
            }
        })
        .collect()
}

fn read(tree: &Value, at: &mut Field, out: &mut BTreeSet<Field>) {
    match tree.as_object() {
        Some(map) if !map.is_empty() => {
            for (key, inner) in map {
                at.push(key.strip_prefix("f:").unwrap_or(key).to_owned());
                read(inner, at, out);
                at.pop();
            }
        }
        _ if !at.is_empty() => {
            out.insert(at.clone());
        }
        _ => {}
    }
}

fn store(object: &mut Value, owners: &[Owner]) {
    let entries: Vec<Value> = owners
        .iter()
        .filter(|o| !o.fields.is_empty())
        .map(|o| {
            let mut tree = json!({});
            for field in &o.fields {
                let steps: Field = field.iter().map(|s| format!("f:{s}")).collect();
                set(&mut tree, &steps, json!({}));
            }
            json!({"manager": o.manager, "operation": o.operation, "fieldsV1": tree})
        })
        .collect();
    if !entries.is_empty() {
        object["metadata"]["managedFields"] = Value::Array(entries);
    } else if let Some(meta) = object["metadata"].as_object_mut() {
        meta.remove("managedFields");
    }
}

/// Applies a configuration; the causes of a conflict when others hold its fields.
pub fn apply(
    live: Option<&Value>,
    config: &Value,
    manager: &str,
    force: bool,
) -> Result<Value, Vec<Value>> {
    let wanted = leaves(config);
    let Some(live) = live else {
        let mut object = config.clone();
        let owner = Owner {
            manager: manager.into(),
            operation: "Apply".into(),
            fields: wanted,
        };
        store(&mut object, &[owner]);
        return Ok(object);
    };
    let mut all = owners(live);
    let ours = |o: &Owner| o.manager == manager && o.operation == "Apply";
    let differs = |f: &Field| value(live, f).is_some_and(|v| Some(v) != value(config, f));
    let mut causes = Vec::new();
    for owner in all.iter().filter(|o| !ours(o)) {
        for field in owner.fields.intersection(&wanted).filter(|f| differs(f)) {
            causes.push(json!({
                "reason": "FieldManagerConflict", "field": format!(".{}", field.join(".")),
                "message": format!("conflict with \"{}\" using v1", owner.manager),
            }));
        }
    }
    if !causes.is_empty() && !force {
        return Err(causes);
    }
    let mut object = live.clone();
    let before: BTreeSet<Field> = all
        .iter()
        .filter(|o| ours(o))
        .flat_map(|o| o.fields.clone())
        .collect();
    for owner in all.iter_mut().filter(|o| !ours(o)) {
        owner.fields.retain(|f| !(wanted.contains(f) && differs(f)));
    }
    all.retain(|o| !ours(o));
    for field in before.difference(&wanted) {
        if !all.iter().any(|o| o.fields.contains(field)) {
            unset(&mut object, field);
        }
    }
    for field in &wanted {
        if let Some(new) = value(config, field) {
            set(&mut object, field, new.clone());
        }
    }
    all.insert(
        0,
        Owner {
            manager: manager.into(),
            operation: "Apply".into(),
            fields: wanted,
        },
    );
    store(&mut object, &all);
    Ok(object)
}

/// Books an ordinary write: what it changed is the writer's now, what it removed nobody's.
pub fn update(live: Option<&Value>, new: &mut Value, manager: &str) {
    let after = leaves(new);
    let before = live.map(leaves).unwrap_or_default();
    let mut all = live.map(owners).unwrap_or_default();
    let changed: BTreeSet<Field> = after
        .iter()
        .filter(|f| live.and_then(|l| value(l, f)) != value(new, f))
        .cloned()
        .collect();
    for owner in &mut all {
        owner
            .fields
            .retain(|f| !changed.contains(f) && (after.contains(f) || !before.contains(f)));
    }
    let writer = all
        .iter_mut()
        .find(|o| o.manager == manager && o.operation == "Update");
    match writer {
        Some(owner) => owner.fields.extend(changed),
        None => all.push(Owner {
            manager: manager.into(),
            operation: "Update".into(),
            fields: changed,
        }),
    }
    store(new, &all);
}

/// Applies a JSON merge patch (RFC 7386).
pub fn merge(target: &mut Value, patch: &Value) {
    let Some(patch) = patch.as_object() else {
        *target = patch.clone();
        return;
    };
    if !target.is_object() {
        *target = Value::Object(Map::new());
    }
    let Some(map) = target.as_object_mut() else {
        return;
    };
    for (key, value) in patch {
        if value.is_null() {
            map.remove(key);
        } else {
            merge(map.entry(key.clone()).or_insert(Value::Null), value);
        }
    }
}

/// The operations `add` and `replace` of RFC 6902 on members of objects; others do nothing.
pub fn add(target: &mut Value, operation: &Value) {
    let path = operation["path"].as_str().unwrap_or_default();
    let steps: Field = path.split('/').skip(1).map(str::to_owned).collect();
    if matches!(operation["op"].as_str(), Some("add" | "replace")) {
        set(target, &steps, operation["value"].clone());
    }
}
