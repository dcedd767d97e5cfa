//! Resources inside of resources: their apiVersion, kind and metadata.
//!
//! Start at [`coerce`] (on decode) and [`validate`]. The invariant: the metadata of an embedded
//! resource is treated as that of a stored one, except that nothing in it is required.

use serde_json::{Map, Value};

use crate::field::{Error, ErrorList, Path};
use crate::limits::UNKNOWN_FIELDS_MAX;
use crate::meta;
use crate::names::{self, NameRule};
use crate::node::Node;
use crate::object_meta;
use crate::trail::Trail;

/// Normalises the metadata of every embedded resource; answers the paths of unknown fields,
/// sorted.
///
/// With `is_root` the value itself is a resource too. With `drop_invalid`, what is ill-typed goes.
///
/// # Errors
/// The first ill-typed field.
pub fn coerce(
    node: &Node,
    value: &mut Value,
    path: &Path,
    is_root: bool,
    drop_invalid: bool,
) -> Result<Vec<String>, Error> {
    let mut unknown = Vec::new();
    if is_root || node.has_embedded {
        let mut walk = Coercion {
            drop_invalid,
            unknown: &mut unknown,
        };
        walk.walk(node, value, &Trail::Start(path), is_root)?;
    }
    unknown.sort();
    Ok(unknown)
}

struct Coercion<'a> {
    drop_invalid: bool,
    unknown: &'a mut Vec<String>,
}

impl Coercion<'_> {
    fn walk(
        &mut self,
        node: &Node,
        value: &mut Value,
        at: &Trail<'_>,
        is_root: bool,
    ) -> Result<(), Error> {
        match value {
            Value::Object(map) => {
                if is_root || node.embedded {
                    self.resource(map, at)?;
                }
                if !node.has_embedded {
                    return Ok(());
                }
                for (key, child) in map.iter_mut() {
                    if let Some(schema) = node.property(key) {
                        self.walk(schema, child, &Trail::Child(at, key), false)?;
                    } else if let Some(schema) = node.additional_schema() {
                        self.walk(schema, child, &Trail::Key(at, key), false)?;
                    }
                }
            }
            Value::Array(items) if node.has_embedded => {
                if let Some(schema) = node.items.as_deref() {
                    for (i, item) in items.iter_mut().enumerate() {
                        self.walk(schema, item, &Trail::Index(at, i), false)?;
                    }
                }
            }
            _ => {}
        }
        Ok(())
    }

    fn resource(&mut self, map: &mut Map<String, Value>, at: &Trail<'_>) -> Result<(), Error> {
        for key in ["apiVersion", "kind"] {
            match map.get(key) {
                Some(v) if !v.is_string() && self.drop_invalid => {
                    map.remove(key);
                }
                Some(v) if !v.is_string() => {
                    return Err(Error::invalid(&at.path().child(key), v, "must be a string"));
                }
                _ => {}
            }
        }
        let Some(metadata) = map.get_mut("metadata") else {
            return Ok(());
        };
        let path = at.path().child("metadata");
        let given = metadata.clone();
        match object_meta::coerce(metadata, self.drop_invalid) {
            Ok(fields) => {
                let room = UNKNOWN_FIELDS_MAX.saturating_sub(self.unknown.len());
                let fields = fields.into_iter().take(room).map(|f| format!("{path}.{f}"));
                self.unknown.extend(fields);
                Ok(())
            }
            // What is no object at all stays for validation to refuse.
            Err(_) if self.drop_invalid => Ok(()),
            Err(why) => Err(Error::invalid(&path, &given, why)),
        }
    }
}

/// Everything wrong with the type and metadata of embedded resources.
///
/// With `is_root` the value itself is a resource too.
pub fn validate(node: &Node, value: &Value, path: &Path, is_root: bool) -> ErrorList {
    let mut errors = ErrorList::new();
    walk_validate(node, value, &Trail::Start(path), is_root, &mut errors);
    errors
}

fn walk_validate(
    node: &Node,
    value: &Value,
    at: &Trail<'_>,
    is_root: bool,
    errors: &mut ErrorList,
) {
    if !is_root && !node.has_embedded {
        return;
    }
    match value {
        Value::Object(map) => {
            if is_root || node.embedded {
                resource(value, &at.path(), errors);
            }
            for (key, child) in map {
                if let Some(schema) = node.property(key) {
                    walk_validate(schema, child, &Trail::Child(at, key), false, errors);
                } else if let Some(schema) = node.additional_schema() {
                    walk_validate(schema, child, &Trail::Key(at, key), false, errors);
                }
            }
        }
        Value::Array(items) => {
            if let Some(schema) = node.items.as_deref() {
                for (i, item) in items.iter().enumerate() {
                    walk_validate(schema, item, &Trail::Index(at, i), false, errors);
                }
            }
        }
        _ => {}
    }
}

fn resource(value: &Value, path: &Path, errors: &mut ErrorList) {
    for key in ["apiVersion", "kind"] {
        if value.get(key).is_none() {
            errors.push(Error::required(&path.child(key), ""));
        }
    }
    for key in ["apiVersion", "kind"] {
        let at = path.child(key);
        match value.get(key) {
            None => {}
            Some(Value::String(text)) if text.is_empty() => {
                errors.push(Error::invalid(&at, "", "must not be empty"));
            }
            Some(Value::String(text)) => {
                if let Some(why) = complaint(key, text) {
                    errors.push(Error::invalid(&at, text.as_str(), why));
                }
            }
            Some(other) => errors.push(Error::invalid(&at, other, "must be a string")),
        }
    }
    let Some(metadata) = value.get("metadata") else {
        return;
    };
    let at = path.child("metadata");
    let mut typed = metadata.clone();
    if let Err(why) = object_meta::coerce(&mut typed, false) {
        return errors.push(Error::invalid(&at, metadata, why));
    }
    if typed.get("name").is_none()
        && let Some(map) = typed.as_object_mut()
    {
        // No name is needed; any other would do.
        map.insert("name".into(), "fakename".into());
    }
    let namespaced = typed.get("namespace").is_some();
    errors.extend(meta::validate_object_meta(
        &typed,
        namespaced,
        NameRule::PathSegment,
        &at,
    ));
}

fn complaint(key: &str, text: &str) -> Option<String> {
    if key == "apiVersion" {
        let bad = text.matches('/').count() > 1;
        return bad.then(|| format!("unexpected GroupVersion string: {text}"));
    }
    let why = names::is_dns1035_label(&text.to_lowercase());
    let text = why.join(",");
    (!why.is_empty()).then(|| format!("may have mixed case, but should otherwise match: {text}"))
}
