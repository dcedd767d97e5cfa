//! Strategic merge patch: a merge patch in which some lists merge by key, with directives
//! (`$patch`, `$retainKeys`, `$setElementOrder/…`, `$deleteFromPrimitiveList/…`). Which lists merge
//! is a table per kind, [`MergeSchema`]; Kubernetes offers this patch only for kinds it defines.

use std::collections::BTreeMap;

use hanse_json::{Map, Value, get, get_array, get_str};

use super::PatchError;
use crate::limits::DEPTH_MAX;
use crate::path::equal;

const PATCH: &str = "$patch";
const RETAIN_KEYS: &str = "$retainKeys";
const ELEMENT_ORDER: &str = "$setElementOrder/";
const DELETE_PRIMITIVES: &str = "$deleteFromPrimitiveList/";

/// Which fields of a kind merge in which way; only what differs from the default (maps merge,
/// everything else is replaced) is kept.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct MergeSchema {
    fields: BTreeMap<String, MergeField>,
}

/// One field's rule.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
struct MergeField {
    /// A list merges, a map is replaced unless it says `merge` or nothing.
    merge: bool,
    replace: bool,
    /// The field that tells the objects of a merging list apart.
    key: Option<String>,
    below: MergeSchema,
}

static NO_FIELD: MergeField = MergeField {
    merge: false,
    replace: false,
    key: None,
    below: MergeSchema {
        fields: BTreeMap::new(),
    },
};

impl MergeSchema {
    /// Reads the rules out of an OpenAPI schema (`x-kubernetes-patch-strategy`,
    /// `x-kubernetes-patch-merge-key`), following `$ref` into `components`. A type inside itself
    /// is followed once.
    pub fn compile(root: &Value, components: &Map<String, Value>) -> MergeSchema {
        let mut schema = level(root, components, &mut Vec::new());
        let mut meta = MergeSchema::default();
        meta.add("ownerReferences", true, Some("uid"));
        meta.add("finalizers", true, None);
        let field = schema.fields.entry("metadata".to_owned()).or_default();
        field.below = meta;
        schema
    }

    fn add(&mut self, name: &str, merge: bool, key: Option<&str>) {
        let field = MergeField {
            merge,
            key: key.map(str::to_owned),
            ..MergeField::default()
        };
        self.fields.insert(name.to_owned(), field);
    }

    /// Reads the compact form that [`MergeSchema::to_json`] writes.
    pub fn from_json(value: &Value) -> MergeSchema {
        let mut schema = MergeSchema::default();
        let Value::Object(fields) = value else {
            return schema;
        };
        for (name, rule) in fields {
            let strategy = get_str(rule, &["s"]).unwrap_or_default();
            let field = MergeField {
                merge: strategy == "merge",
                replace: strategy == "replace",
                key: get_str(rule, &["k"]).map(str::to_owned),
                below: get(rule, &["f"])
                    .map(MergeSchema::from_json)
                    .unwrap_or_default(),
            };
            schema.fields.insert(name.clone(), field);
        }
        schema
    }

    /// A compact form for checked-in tables: per field `s` strategy, `k` merge key, `f` fields.
    pub fn to_json(&self) -> Value {
        let mut out = Map::new();
        for (name, field) in &self.fields {
            let mut rule = Map::new();
            if field.merge {
                rule.insert("s".into(), Value::String("merge".into()));
            } else if field.replace {
                rule.insert("s".into(), Value::String("replace".into()));
            }
            if let Some(key) = &field.key {
                rule.insert("k".into(), Value::String(key.clone()));
            }
            if !field.below.fields.is_empty() {
                rule.insert("f".into(), field.below.to_json());
            }
            out.insert(name.clone(), Value::Object(rule));
        }
        Value::Object(out)
    }

    fn field(&self, name: &str) -> &MergeField {
        self.fields.get(name).unwrap_or(&NO_FIELD)
    }
}

fn level<'c>(
    schema: &'c Value,
    components: &'c Map<String, Value>,
    stack: &mut Vec<&'c str>,
) -> MergeSchema {
    let mut out = MergeSchema::default();
    if stack.len() > DEPTH_MAX {
        return out;
    }
    if let Some(name) = reference(schema) {
        if stack.contains(&name) {
            return out;
        }
        stack.push(name);
        if let Some(target) = components.get(name) {
            out = level(target, components, stack);
        }
        stack.pop();
        return out;
    }
    if let Some(items) = get(schema, &["items"]) {
        return level(items, components, stack);
    }
    let Some(Value::Object(properties)) = get(schema, &["properties"]) else {
        return out;
    };
    for (name, property) in properties {
        let strategy = get_str(property, &["x-kubernetes-patch-strategy"]).unwrap_or_default();
        let field = MergeField {
            merge: strategy.split(',').any(|s| s == "merge"),
            replace: strategy.split(',').any(|s| s == "replace"),
            key: get_str(property, &["x-kubernetes-patch-merge-key"]).map(str::to_owned),
            below: level(property, components, stack),
        };
        if field != NO_FIELD {
            out.fields.insert(name.clone(), field);
        }
    }
    out
}

fn reference(schema: &Value) -> Option<&str> {
    let direct = get_str(schema, &["$ref"]);
    let wrapped = match get_array(schema, &["allOf"]) {
        [single] => get_str(single, &["$ref"]),
        _ => None,
    };
    direct.or(wrapped)?.rsplit('/').next()
}

/// The patched document. Directives never appear in the result.
pub fn strategic_merge(
    document: &Value,
    patch: &Value,
    schema: &MergeSchema,
) -> Result<Value, PatchError> {
    let Value::Object(changes) = patch else {
        return Err(PatchError::Malformed(
            "a strategic merge patch must be an object".to_owned(),
        ));
    };
    let original = match document {
        Value::Object(fields) => fields.clone(),
        _ => Map::new(),
    };
    merge_map(original, changes, schema).map(Value::Object)
}

fn malformed<T>(text: impl Into<String>) -> Result<T, PatchError> {
    Err(PatchError::Malformed(text.into()))
}

fn merge_map(
    mut original: Map<String, Value>,
    patch: &Map<String, Value>,
    schema: &MergeSchema,
) -> Result<Map<String, Value>, PatchError> {
    match patch.get(PATCH) {
        None => {}
        Some(Value::String(word)) => match word.as_str() {
            "replace" => return Ok(without_directives(patch)),
            "delete" => return Ok(Map::new()),
            other => return malformed(format!("unknown patch type: {other} in map")),
        },
        Some(other) => return malformed(format!("unknown patch type: {other} in map")),
    }
    retain_keys(&mut original, patch)?;
    let ordered = merge_ordered(&mut original, patch, schema)?;
    for (name, change) in patch {
        if let Some(list) = name.strip_prefix(DELETE_PRIMITIVES) {
            delete_primitives(&mut original, list, change)?;
            continue;
        }
        if name.starts_with('$') && is_directive(name) || ordered.contains(&name.as_str()) {
            continue;
        }
        merge_field(&mut original, name, change, schema.field(name))?;
    }
    Ok(original)
}

fn is_directive(name: &str) -> bool {
    name == PATCH || name == RETAIN_KEYS || name.starts_with(ELEMENT_ORDER)
}

fn merge_field(
    original: &mut Map<String, Value>,
    name: &str,
    change: &Value,
    field: &MergeField,
) -> Result<(), PatchError> {
    if change.is_null() {
        original.remove(name);
        return Ok(());
    }
    let merged = match (original.remove(name), change) {
        (Some(Value::Object(before)), Value::Object(after)) if !field.replace => {
            Value::Object(merge_map(before, after, &field.below)?)
        }
        (Some(Value::Array(before)), Value::Array(after)) if field.merge => {
            Value::Array(merge_list(before, after, field)?)
        }
        _ => match clean(change) {
            Some(value) => value,
            None => return Ok(()),
        },
    };
    original.insert(name.to_owned(), merged);
    Ok(())
}

/// `$retainKeys`: all other keys of the original go; the patch may only set keys that it names.
fn retain_keys(
    original: &mut Map<String, Value>,
    patch: &Map<String, Value>,
) -> Result<(), PatchError> {
    let Some(directive) = patch.get(RETAIN_KEYS) else {
        return Ok(());
    };
    let Value::Array(names) = directive else {
        return malformed("invalid patch format of retainKeys");
    };
    let keep: Vec<&str> = names.iter().filter_map(Value::as_str).collect();
    let covers = |name: &str| {
        let field = name
            .strip_prefix(DELETE_PRIMITIVES)
            .or(name.strip_prefix(ELEMENT_ORDER));
        keep.contains(&field.unwrap_or(name))
    };
    for (name, value) in patch {
        if name == RETAIN_KEYS || name == PATCH || value.is_null() {
            continue;
        }
        if !covers(name) {
            return Err(PatchError::Unprocessable(
                "patch contains fields not present in retainKeys list".to_owned(),
            ));
        }
    }
    original.retain(|name, _| keep.contains(&name.as_str()));
    Ok(())
}

/// Handles every `$setElementOrder/LIST`; returns the lists that are settled by it.
fn merge_ordered<'p>(
    original: &mut Map<String, Value>,
    patch: &'p Map<String, Value>,
    schema: &MergeSchema,
) -> Result<Vec<&'p str>, PatchError> {
    let mut settled = Vec::new();
    for (directive, order) in patch {
        let Some(name) = directive.strip_prefix(ELEMENT_ORDER) else {
            continue;
        };
        let Value::Array(order) = order else {
            return malformed("invalid patch format of setElementOrder list");
        };
        let field = schema.field(name);
        settled.push(name);
        if let Some(Value::Array(changes)) = patch.get(name) {
            check_order(changes, order, field.key.as_deref())?;
        }
        let before = match original.get(name) {
            Some(Value::Array(items)) => Some(items.clone()),
            _ => None,
        };
        let (base, merged) = match (before, patch.get(name)) {
            (None, None) => continue,
            (Some(before), None) => (before.clone(), before),
            (_, Some(Value::Null)) => {
                original.remove(name);
                continue;
            }
            (None, Some(change)) => match clean(change) {
                Some(Value::Array(items)) => (vec![], items),
                Some(_) => return malformed(format!("{name} must be a list")),
                None => continue,
            },
            (Some(before), Some(Value::Array(after))) if field.merge => {
                let merged = merge_list(before.clone(), after, field)?;
                (before, merged)
            }
            (Some(before), Some(Value::Array(after))) => (before, after.clone()),
            (Some(_), Some(_)) => return malformed(format!("{name} must be a list")),
        };
        let items = arrange(merged, order, &base, field.key.as_deref());
        original.insert(name.to_owned(), Value::Array(items));
    }
    Ok(settled)
}

/// The items of a patch list must stand in the order that `$setElementOrder` names.
fn check_order(changes: &[Value], order: &[Value], key: Option<&str>) -> Result<(), PatchError> {
    let known = |item: &Value| match key {
        Some(key) => item.get(key).cloned(),
        None => Some(item.clone()),
    };
    let mut expected = order.iter().map(known);
    let deletes = |item: &&Value| item.get(PATCH).and_then(Value::as_str) == Some("delete");
    for item in changes.iter().filter(|item| !deletes(item)) {
        let id = known(item);
        if order.is_empty() || expected.any(|other| other == id) {
            continue;
        }
        let print = |list: &[Value]| hanse_json::to_string(&Value::Array(list.to_vec()));
        return malformed(format!(
            "The order in patch list:\n{}\n doesn't match $setElementOrder list:\n{}\n",
            print(changes),
            print(order)
        ));
    }
    Ok(())
}

fn delete_primitives(
    original: &mut Map<String, Value>,
    name: &str,
    gone: &Value,
) -> Result<(), PatchError> {
    let Value::Array(gone) = gone else {
        return malformed("invalid patch format of primitive list");
    };
    if let Some(Value::Array(items)) = original.get_mut(name) {
        items.retain(|item| !gone.iter().any(|g| equal(g, item)));
    }
    Ok(())
}

fn merge_list(
    original: Vec<Value>,
    patch: &[Value],
    field: &MergeField,
) -> Result<Vec<Value>, PatchError> {
    if original.iter().chain(patch).any(Value::is_array) {
        return Err(PatchError::Unprocessable(
            "lists of lists are not supported".to_owned(),
        ));
    }
    if !original.iter().chain(patch).any(Value::is_object) {
        let base = original.clone();
        let mut merged: Vec<Value> = Vec::with_capacity(original.len() + patch.len());
        for item in original.iter().chain(patch) {
            if !merged.iter().any(|m| equal(m, item)) {
                merged.push(item.clone());
            }
        }
        return Ok(arrange(merged, patch, &base, None));
    }
    let Some(key) = field.key.as_deref() else {
        return malformed("cannot merge lists without merge key");
    };
    let (mut merged, changes) = match apply_special(original, patch, key)? {
        Special::Whole(items) => {
            let order = items.clone();
            return Ok(arrange(items, &order, &[], Some(key)));
        }
        Special::Merge(rest, changes) => (rest, changes),
    };
    // An item that is deleted and given again by one patch has lost its old place.
    let base = merged.clone();
    for change in &changes {
        let Value::Object(fields) = change else {
            return malformed(format!("expected a map in a list merged by {key}"));
        };
        let Some(id) = fields.get(key) else {
            return malformed(format!(
                "map: {} does not contain declared merge key: {key}",
                hanse_json::to_string(change)
            ));
        };
        let found = merged
            .iter_mut()
            .find(|item| item.get(key).is_some_and(|k| equal(k, id)));
        match found {
            Some(Value::Object(before)) => {
                *before = merge_map(std::mem::take(before), fields, &field.below)?;
            }
            _ => merged.extend(clean(change)),
        }
    }
    Ok(arrange(merged, &changes, &base, Some(key)))
}

/// What the directives in a list leave to do.
enum Special {
    /// Nothing: this is the list.
    Whole(Vec<Value>),
    /// Merge the second list into the first.
    Merge(Vec<Value>, Vec<Value>),
}

/// Items that are directives: `$patch: delete` takes an item out, `$patch: replace` makes the rest
/// of the patch the whole list.
fn apply_special(
    mut original: Vec<Value>,
    patch: &[Value],
    key: &str,
) -> Result<Special, PatchError> {
    let mut rest = Vec::with_capacity(patch.len());
    let mut replace = false;
    for item in patch {
        match item
            .get(PATCH)
            .map(|word| word.as_str().unwrap_or_default())
        {
            None => rest.push(item.clone()),
            Some("replace") => replace = true,
            Some("delete") => {
                let Some(id) = item.get(key) else {
                    return malformed(format!(
                        "delete patch type with no merge key defined: {key}"
                    ));
                };
                original.retain(|o| !o.get(key).is_some_and(|k| equal(k, id)));
            }
            Some("merge") => {
                return malformed("merging lists cannot yet be specified in the patch");
            }
            Some(other) => return malformed(format!("unknown patch type found: {other} in list")),
        }
    }
    if replace {
        return Ok(Special::Whole(rest.iter().filter_map(clean).collect()));
    }
    Ok(Special::Merge(original, rest))
}

/// Brings a merged list in order: items named in `order` in that order, the others in the order of
/// the original, interleaved so that pairs known to the original keep their order.
fn arrange(merged: Vec<Value>, order: &[Value], base: &[Value], key: Option<&str>) -> Vec<Value> {
    let place = |list: &[Value], item: &Value| {
        list.iter().position(|other| match key {
            Some(key) => match (other.get(key), item.get(key)) {
                (Some(a), Some(b)) => equal(a, b),
                _ => false,
            },
            None => equal(other, item),
        })
    };
    let (mut named, mut others): (Vec<Value>, Vec<Value>) = merged
        .into_iter()
        .partition(|item| place(order, item).is_some());
    named.sort_by_key(|item| place(order, item));
    others.sort_by_key(|item| place(base, item).unwrap_or(usize::MAX));
    let mut out = Vec::with_capacity(named.len() + others.len());
    let (mut named, mut others) = (named.into_iter().peekable(), others.into_iter().peekable());
    loop {
        let take_other = match (others.peek(), named.peek()) {
            (None, None) => return out,
            (Some(_), None) => true,
            (None, Some(_)) => false,
            (Some(other), Some(name)) => match (place(base, other), place(base, name)) {
                (Some(a), Some(b)) => a < b,
                _ => false,
            },
        };
        out.extend(if take_other {
            others.next()
        } else {
            named.next()
        });
    }
}

/// A value taken over whole from a patch: without nulls in maps and without directives. A map that
/// is itself a `$patch` directive has nothing to direct here and is dropped: `None`.
fn clean(value: &Value) -> Option<Value> {
    match value {
        Value::Object(fields) => {
            if fields.contains_key(PATCH) {
                return None;
            }
            Some(Value::Object(without_directives(fields)))
        }
        Value::Array(items) => Some(Value::Array(items.iter().filter_map(clean).collect())),
        other => Some(other.clone()),
    }
}

fn without_directives(fields: &Map<String, Value>) -> Map<String, Value> {
    fields
        .iter()
        .filter(|(name, value)| {
            !value.is_null() && !is_directive(name) && !name.starts_with(DELETE_PRIMITIVES)
        })
        .filter_map(|(name, value)| clean(value).map(|v| (name.clone(), v)))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use hanse_json::json;

    fn schema() -> MergeSchema {
        MergeSchema::from_json(&json!({
            "list": {"s": "merge", "k": "name", "f": {"inner": {"s": "merge", "k": "id"}}},
            "set": {"s": "merge"},
            "whole": {"s": "replace"},
            "metadata": {"f": {"finalizers": {"s": "merge"}}}
        }))
    }

    fn check(original: Value, patch: Value, expected: Value) {
        let result = strategic_merge(&original, &patch, &schema()).expect("patch applies");
        assert_eq!(result, expected, "{original} + {patch}");
    }

    #[test]
    fn maps_and_lists() {
        check(
            json!({"a": {"b": 1}}),
            json!({"a": {"c": 2}}),
            json!({"a": {"b": 1, "c": 2}}),
        );
        check(
            json!({"a": {"b": 1}}),
            json!({"a": {"b": null}}),
            json!({"a": {}}),
        );
        check(
            json!({"whole": {"b": 1}}),
            json!({"whole": {"c": 2}}),
            json!({"whole": {"c": 2}}),
        );
        check(
            json!({}),
            json!({"a": {"b": null, "c": 1}}),
            json!({"a": {"c": 1}}),
        );
        check(json!({"x": [1, 2]}), json!({"x": [3]}), json!({"x": [3]}));
        check(
            json!({"set": ["a", "b"]}),
            json!({"set": ["c", "a"]}),
            json!({"set": ["c", "a", "b"]}),
        );
        check(
            json!({"list": [{"name": "a", "v": 1}, {"name": "b", "v": 1}]}),
            json!({"list": [{"name": "b", "v": 2}, {"name": "c", "v": 3}]}),
            json!({"list": [{"name": "a", "v": 1}, {"name": "b", "v": 2}, {"name": "c", "v": 3}]}),
        );
    }

    #[test]
    fn what_is_deleted_and_given_again_has_lost_its_place() {
        check(
            json!({"list": [{"name": "a"}, {"name": "b", "v": 1}, {"name": "c"}]}),
            json!({"list": [{"$patch": "delete", "name": "b"}, {"name": "b", "v": 2}]}),
            json!({"list": [{"name": "b", "v": 2}, {"name": "a"}, {"name": "c"}]}),
        );
    }

    #[test]
    fn directives() {
        check(
            json!({"list": [{"name": "a"}, {"name": "b"}]}),
            json!({"list": [{"name": "a", "$patch": "delete"}]}),
            json!({"list": [{"name": "b"}]}),
        );
        check(
            json!({"list": [{"name": "a"}, {"name": "b"}]}),
            json!({"list": [{"$patch": "replace"}, {"name": "c"}]}),
            json!({"list": [{"name": "c"}]}),
        );
        check(
            json!({"a": {"b": 1}}),
            json!({"a": {"$patch": "replace", "c": 1}}),
            json!({"a": {"c": 1}}),
        );
        check(
            json!({"a": {"b": 1, "c": 1}}),
            json!({"a": {"$retainKeys": ["c"], "c": 2}}),
            json!({"a": {"c": 2}}),
        );
        check(
            json!({"set": ["a", "b", "c"]}),
            json!({"$deleteFromPrimitiveList/set": ["b"]}),
            json!({"set": ["a", "c"]}),
        );
        check(
            json!({"list": [{"name": "a"}, {"name": "b"}, {"name": "z"}]}),
            json!({"$setElementOrder/list": [{"name": "b"}, {"name": "a"}], "list": [{"name": "b", "v": 1}]}),
            json!({"list": [{"name": "b", "v": 1}, {"name": "a"}, {"name": "z"}]}),
        );
    }

    #[test]
    fn errors() {
        let fail = |original: Value, patch: Value| {
            strategic_merge(&original, &patch, &schema())
                .expect_err("must fail")
                .to_string()
        };
        assert_eq!(
            fail(
                json!({"list": [{"name": "a"}]}),
                json!({"list": [{"v": 1}]})
            ),
            "map: {\"v\":1} does not contain declared merge key: name"
        );
        assert_eq!(
            fail(json!({"a": {"b": 1}}), json!({"a": {"$patch": "nope"}})),
            "unknown patch type: nope in map"
        );
        assert_eq!(
            fail(
                json!({"a": {"b": 1}}),
                json!({"a": {"$retainKeys": ["c"], "d": 2}})
            ),
            "patch contains fields not present in retainKeys list"
        );
    }

    #[test]
    fn table_round_trip() {
        assert_eq!(MergeSchema::from_json(&schema().to_json()), schema());
    }
}
