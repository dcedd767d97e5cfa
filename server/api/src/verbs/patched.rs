//! How errors about a patched object read: what was decoded, and why it could not be.
//!
//! Start at [`shown`] and [`check_kind`]. Built-in kinds are patched in the form of their Go
//! types, so what Kubernetes shows of them has the order of Go's fields where the patch left a
//! part alone, and sorted keys where it did not; custom resources are sorted throughout. The
//! invariant: nothing here changes an object.

use hanse_json::{Map, Value, get_str};
use hanse_kinds::{ResourceDef, builtin};

/// Fields of `ObjectMeta`, `ManagedFieldsEntry` and `OwnerReference` in the order of their types.
const METADATA: [&str; 15] = [
    "name",
    "generateName",
    "namespace",
    "selfLink",
    "uid",
    "resourceVersion",
    "generation",
    "creationTimestamp",
    "deletionTimestamp",
    "deletionGracePeriodSeconds",
    "labels",
    "annotations",
    "ownerReferences",
    "finalizers",
    "managedFields",
];
const MANAGED: [&str; 7] = [
    "manager",
    "operation",
    "apiVersion",
    "time",
    "fieldsType",
    "fieldsV1",
    "subresource",
];
const OWNER: [&str; 6] = [
    "apiVersion",
    "kind",
    "name",
    "uid",
    "controller",
    "blockOwnerDeletion",
];

/// The patched document as an error shows it. `touched` says whether the patch has something to
/// say about the metadata.
pub fn shown(def: &ResourceDef, patched: &Value, touched: bool) -> String {
    let mut out = Vec::new();
    match patched.as_object().filter(|_| def.flags.native) {
        Some(object) => write_object(object, &mut out, |key, value, out| match value {
            Value::Object(metadata) if key == "metadata" => {
                write_metadata(metadata, touched, out);
            }
            value => hanse_json::write(value, out),
        }),
        None => hanse_json::write(patched, &mut out),
    }
    String::from_utf8_lossy(&out).into_owned()
}

fn write_metadata(metadata: &Map<String, Value>, touched: bool, out: &mut Vec<u8>) {
    let entry = |key: &str, value: &Value, out: &mut Vec<u8>| match (key, value) {
        ("managedFields", Value::Array(items)) => write_entries(items, &MANAGED, out),
        ("ownerReferences", Value::Array(items)) => write_entries(items, &OWNER, out),
        _ => hanse_json::write(value, out),
    };
    match touched {
        true => write_object(metadata, out, entry),
        false => write_fields(&fields(metadata, &METADATA), out, entry),
    }
}

fn write_entries(items: &[Value], order: &[&str], out: &mut Vec<u8>) {
    out.push(b'[');
    for (at, item) in items.iter().enumerate() {
        if at > 0 {
            out.push(b',');
        }
        match item {
            Value::Object(object) => write_fields(&fields(object, order), out, |_, value, out| {
                hanse_json::write(value, out);
            }),
            item => hanse_json::write(item, out),
        }
    }
    out.push(b']');
}

/// The fields in an order, and after them those that the order does not name.
fn fields<'o>(object: &'o Map<String, Value>, order: &[&str]) -> Vec<(&'o str, &'o Value)> {
    let place = |key: &str| {
        order
            .iter()
            .position(|name| *name == key)
            .unwrap_or(order.len())
    };
    let mut fields: Vec<(&str, &Value)> = object.iter().map(|(k, v)| (k.as_str(), v)).collect();
    fields.sort_by_key(|(key, _)| place(key));
    fields
}

fn write_object(
    object: &Map<String, Value>,
    out: &mut Vec<u8>,
    write: impl Fn(&str, &Value, &mut Vec<u8>),
) {
    write_fields(&fields(object, &[]), out, write);
}

fn write_fields(
    fields: &[(&str, &Value)],
    out: &mut Vec<u8>,
    write: impl Fn(&str, &Value, &mut Vec<u8>),
) {
    out.push(b'{');
    for (at, (key, value)) in fields.iter().enumerate() {
        if at > 0 {
            out.push(b',');
        }
        hanse_json::write(&Value::from(*key), out);
        out.push(b':');
        write(key, value, out);
    }
    out.push(b'}');
}

/// A document as Go prints a map: what a strategic merge patch is shown as.
pub fn printed(value: &Value) -> String {
    match value {
        Value::Null => "<nil>".to_owned(),
        Value::String(text) => text.clone(),
        Value::Bool(_) | Value::Number(_) => hanse_json::to_string(value),
        Value::Array(items) => {
            let items: Vec<String> = items.iter().map(printed).collect();
            format!("[{}]", items.join(" "))
        }
        Value::Object(map) => {
            let entry = |(key, value): (&String, &Value)| format!("{key}:{}", printed(value));
            let entries: Vec<String> = map.iter().map(entry).collect();
            format!("map[{}]", entries.join(" "))
        }
    }
}

/// Whether a patched document is still of its kind; the text of the decoder when it is not.
///
/// # Errors
/// What Kubernetes says of a document of that other kind.
pub fn check_kind(def: &ResourceDef, patched: &Value) -> Result<(), String> {
    let text = |field: &str| get_str(patched, &[field]).unwrap_or_default();
    let (version, kind) = (text("apiVersion"), text("kind"));
    if version == def.api_version() && kind == def.kind {
        return Ok(());
    }
    if !def.flags.native {
        // What kind it says to be is judged with the rest of the object.
        return match kind {
            "" => {
                let whole = String::from_utf8_lossy(&hanse_json::to_vec(patched)).into_owned();
                Err(format!("Object 'Kind' is missing in '{whole}'"))
            }
            _ => Ok(()),
        };
    }
    let other = builtin()
        .iter()
        .find(|other| other.api_version() == version && other.kind == kind && !other.flags.review);
    let Some(other) = other else {
        return Err(format!(
            "no kind \"{kind}\" is registered for version \"{version}\" in scheme \
             \"pkg/runtime/scheme.go:111\""
        ));
    };
    other.schema.decode(&mut patched.clone())?;
    Err(format!(
        "converting ({}.{kind}) to ({}.{}): unknown conversion",
        other.version,
        package(&def.group),
        def.kind
    ))
}

/// The Go package of a group's internal types.
#[must_use]
pub fn package(group: &str) -> &str {
    match group {
        "" | "events.k8s.io" => "core",
        group => group.split('.').next().unwrap_or(group),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use hanse_json::json;

    fn config_maps() -> &'static ResourceDef {
        builtin::find("", "configmaps").unwrap()
    }

    #[test]
    fn untouched_metadata_stands_in_the_order_of_its_type() {
        let object = json!({
            "kind": "Secret", "apiVersion": "v1",
            "metadata": {
                "uid": "u", "name": "a", "finalizers": ["f"],
                "managedFields": [{"apiVersion": "v1", "manager": "m", "time": "t"}],
            },
        });
        let managed = r#""managedFields":[{"manager":"m","apiVersion":"v1","time":"t"}]"#;
        assert_eq!(
            shown(config_maps(), &object, false),
            format!(
                r#"{{"apiVersion":"v1","kind":"Secret","metadata":{{"name":"a","uid":"u","finalizers":["f"],{managed}}}}}"#
            )
        );
        assert_eq!(
            shown(config_maps(), &object, true),
            format!(
                r#"{{"apiVersion":"v1","kind":"Secret","metadata":{{"finalizers":["f"],{managed},"name":"a","uid":"u"}}}}"#
            )
        );
    }

    #[test]
    fn maps_are_printed_as_go_does() {
        let map = json!({"b": [1, "x", null], "a": {"c": true}});
        assert_eq!(printed(&map), "map[a:map[c:true] b:[1 x <nil>]]");
    }

    #[test]
    fn another_kind_is_refused_with_the_words_of_the_decoder() {
        let check = |version: &str, kind: &str, data: Value, expected: &str| {
            let object = json!({"apiVersion": version, "kind": kind, "data": data});
            assert_eq!(check_kind(config_maps(), &object).unwrap_err(), expected);
        };
        let data = json!({"a": "1"});
        check("v1", "Secret", data, "illegal base64 data at input byte 0");
        check(
            "v1",
            "Secret",
            Value::Null,
            "converting (v1.Secret) to (core.ConfigMap): unknown conversion",
        );
        check(
            "v1",
            "Nope",
            Value::Null,
            "no kind \"Nope\" is registered for version \"v1\" in scheme \
             \"pkg/runtime/scheme.go:111\"",
        );
    }
}
