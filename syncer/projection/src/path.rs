//! Field paths as Kubernetes writes them in conflicts: `.spec.containers[name="a"].image`.
//!
//! Names are not quoted there, so `.metadata.labels.app.kubernetes.io/name` can be read in
//! several ways; a path is therefore only ever read against a tree, and the reading that the
//! tree has is taken. Invariant: no path, however odd, makes these functions fail; they answer
//! "not there".

use serde_json::Value;

/// Deepest path that is followed.
const DEPTH_MAX: usize = 64;

/// The value at a path.
#[must_use]
pub fn find<'a>(tree: &'a Value, path: &str) -> Option<&'a Value> {
    let steps = resolve(tree, path, 0)?;
    let mut at = tree;
    for step in steps {
        at = match step {
            Step::Field(name) => at.get(name)?,
            Step::Index(i) => at.get(i)?,
        };
    }
    Some(at)
}

/// Takes the value at a path out of the tree; answers whether it was there. Parents that become
/// empty go with it, because an empty parent would itself be a claim.
pub fn remove(tree: &mut Value, path: &str) -> bool {
    let Some(steps) = resolve(tree, path, 0) else {
        return false;
    };
    cut(tree, &steps)
}

fn cut(tree: &mut Value, steps: &[Step]) -> bool {
    let Some((step, rest)) = steps.split_first() else {
        return false;
    };
    let child = match step {
        Step::Field(name) => tree.get_mut(name.as_str()),
        Step::Index(i) => tree.get_mut(*i),
    };
    let Some(child) = child else {
        return false;
    };
    if !rest.is_empty() {
        let done = cut(child, rest);
        let empty = child.as_object().is_some_and(serde_json::Map::is_empty)
            || child.as_array().is_some_and(Vec::is_empty);
        if !empty {
            return done;
        }
    }
    match (step, tree) {
        (Step::Field(name), Value::Object(map)) => map.remove(name).is_some(),
        (Step::Index(i), Value::Array(list)) => {
            list.remove(*i);
            true
        }
        _ => false,
    }
}

#[derive(Debug)]
enum Step {
    Field(String),
    Index(usize),
}

fn resolve(tree: &Value, path: &str, depth: usize) -> Option<Vec<Step>> {
    if path.is_empty() {
        return Some(Vec::new());
    }
    if depth > DEPTH_MAX {
        return None;
    }
    if let Some(rest) = path.strip_prefix('.') {
        let map = tree.as_object()?;
        for (name, value) in map {
            let Some(tail) = rest.strip_prefix(name.as_str()) else {
                continue;
            };
            if !(tail.is_empty() || tail.starts_with('.') || tail.starts_with('[')) {
                continue;
            }
            if let Some(mut steps) = resolve(value, tail, depth + 1) {
                steps.insert(0, Step::Field(name.clone()));
                return Some(steps);
            }
        }
        return None;
    }
    let list = tree.as_array()?;
    let (element, tail) = element(path)?;
    let index = match element {
        Element::Index(i) => i,
        Element::Value(value) => list.iter().position(|v| *v == value)?,
        Element::Keys(keys) => list.iter().position(|v| has_keys(v, &keys))?,
    };
    let mut steps = resolve(list.get(index)?, tail, depth + 1)?;
    steps.insert(0, Step::Index(index));
    Some(steps)
}

/// Whether a list's element carries these key fields. A key field that the element leaves to its
/// default (a port's protocol) is not held against it.
pub fn has_keys(element: &Value, keys: &serde_json::Map<String, Value>) -> bool {
    let mut found = false;
    for (key, value) in keys {
        match element.get(key) {
            Some(have) if have == value => found = true,
            Some(_) => return false,
            None => {}
        }
    }
    found
}

enum Element {
    Index(usize),
    Value(Value),
    Keys(serde_json::Map<String, Value>),
}

/// Reads `[3]`, `[="value"]` or `[name="a",port=80]` off the front of a path.
fn element(path: &str) -> Option<(Element, &str)> {
    let inner = path.strip_prefix('[')?;
    if let Some(rest) = inner.strip_prefix('=') {
        let (value, rest) = literal(rest)?;
        return Some((Element::Value(value), rest.strip_prefix(']')?));
    }
    let digits = inner.bytes().take_while(u8::is_ascii_digit).count();
    if digits > 0 && inner[digits..].starts_with(']') {
        return Some((
            Element::Index(inner[..digits].parse().ok()?),
            &inner[digits + 1..],
        ));
    }
    let mut keys = serde_json::Map::new();
    let mut rest = inner;
    loop {
        let equals = rest.find('=')?;
        let (value, tail) = literal(&rest[equals + 1..])?;
        keys.insert(rest[..equals].to_owned(), value);
        if let Some(tail) = tail.strip_prefix(',') {
            rest = tail;
        } else {
            return Some((Element::Keys(keys), tail.strip_prefix(']')?));
        }
    }
}

fn literal(text: &str) -> Option<(Value, &str)> {
    let mut stream = serde_json::Deserializer::from_str(text).into_iter::<Value>();
    let value = stream.next()?.ok()?;
    Some((value, &text[stream.byte_offset()..]))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use serde_json::json;

    #[test]
    fn reads_what_kubernetes_writes() {
        let tree = json!({
            "metadata": {"labels": {"app.kubernetes.io/name": "x", "app": "y"}},
            "spec": {"containers": [
                {"name": "a", "image": "1"},
                {"name": "b", "image": "2", "ports": [{"containerPort": 80}]},
            ], "set": ["p", "q"]},
        });
        let at = |p: &str| find(&tree, p).cloned();
        assert_eq!(
            at(".metadata.labels.app.kubernetes.io/name"),
            Some(json!("x"))
        );
        assert_eq!(at(".metadata.labels.app"), Some(json!("y")));
        assert_eq!(at(".spec.containers[name=\"b\"].image"), Some(json!("2")));
        assert_eq!(at(".spec.set[=\"q\"]"), Some(json!("q")));
        assert_eq!(at(".spec.set[0]"), Some(json!("p")));
        let port = ".spec.containers[name=\"b\"].ports[containerPort=80,protocol=\"TCP\"]";
        assert_eq!(at(port), Some(json!({"containerPort": 80})));
        assert_eq!(at(".spec.nothing"), None);
    }

    #[test]
    fn an_emptied_parent_goes_too() {
        let mut tree = json!({"spec": {"a": {"b": 1}, "c": 2}});
        assert!(remove(&mut tree, ".spec.a.b"));
        assert_eq!(tree, json!({"spec": {"c": 2}}));
        assert!(!remove(&mut tree, ".spec.a.b"));
        assert!(remove(&mut tree, ".spec.c"));
        assert_eq!(tree, json!({}));
    }

    proptest! {
        #[test]
        fn odd_paths_are_not_there(path in "[\\.\\[\\]=a-b\"0-9,]{0,20}") {
            let mut tree = json!({"a": {"b": [{"a": 1}, "b"]}});
            let _ = find(&tree, &path);
            remove(&mut tree, &path);
        }
    }
}
