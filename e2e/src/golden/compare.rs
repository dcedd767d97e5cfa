//! Two JSON documents, field by field. Lists of named objects are compared by name, so that one
//! missing object is one difference and not as many as follow it.

use std::collections::BTreeMap;
use std::fmt;

use serde_json::Value;

/// Characters of a value that a message shows.
const SHOWN_MAX: usize = 300;

/// One place where an answer is not as recorded.
#[derive(Clone, Debug, PartialEq)]
pub struct Difference {
    /// Where, such as `metadata.labels.app` or `items[default/web].spec`.
    pub path: String,
    /// What was recorded; `None` when there was nothing.
    pub expected: Option<Value>,
    /// What came; `None` when nothing did.
    pub actual: Option<Value>,
}

impl Difference {
    /// A difference between two values that are both there.
    pub fn new(path: &str, expected: Value, actual: Value) -> Difference {
        Difference {
            path: path.to_owned(),
            expected: Some(expected),
            actual: Some(actual),
        }
    }
}

impl fmt::Display for Difference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let show = |value: &Option<Value>| match value {
            None => "nothing".to_owned(),
            Some(value) => value.to_string().chars().take(SHOWN_MAX).collect(),
        };
        write!(
            f,
            "{}: expected {}, got {}",
            self.path,
            show(&self.expected),
            show(&self.actual)
        )
    }
}

/// Adds every difference below `path`. What was recorded as removed is equal to anything.
pub fn compare(path: &str, expected: &Value, actual: &Value, found: &mut Vec<Difference>) {
    match (expected, actual) {
        (Value::String(text), _) if removed(text) => {}
        (Value::Object(expected), Value::Object(actual)) => {
            for (key, value) in expected {
                let path = join(path, key);
                match actual.get(key) {
                    Some(other) => compare(&path, value, other, found),
                    None => missing(path, value, found),
                }
            }
            for (key, value) in actual
                .iter()
                .filter(|(key, _)| !expected.contains_key(*key))
            {
                extra(join(path, key), value, found);
            }
        }
        (Value::Array(expected), Value::Array(actual)) => {
            let both = match (by_name(expected), by_name(actual)) {
                (Some(expected), Some(actual)) => Some((expected, actual)),
                // A list without names and an empty one differ in each name.
                (Some(expected), None) if actual.is_empty() => Some((expected, Named::new())),
                (None, Some(actual)) if expected.is_empty() => Some((Named::new(), actual)),
                _ => None,
            };
            match both {
                Some((expected, actual)) => named(path, &expected, &actual, found),
                None => listed(path, expected, actual, found),
            }
        }
        (Value::Number(a), Value::Number(b)) if a.as_f64() == b.as_f64() => {}
        (expected, actual) if expected == actual => {}
        (expected, actual) => {
            found.push(Difference::new(path, expected.clone(), actual.clone()));
        }
    }
}

fn listed(path: &str, expected: &[Value], actual: &[Value], found: &mut Vec<Difference>) {
    for (index, value) in expected.iter().enumerate() {
        let path = format!("{path}[{index}]");
        match actual.get(index) {
            Some(other) => compare(&path, value, other, found),
            None => missing(path, value, found),
        }
    }
    for (index, value) in actual.iter().enumerate().skip(expected.len()) {
        extra(format!("{path}[{index}]"), value, found);
    }
}

fn named(path: &str, expected: &Named<'_>, actual: &Named<'_>, found: &mut Vec<Difference>) {
    for (name, (place, value)) in expected {
        let path = format!("{path}[{name}]");
        match actual.get(name) {
            Some((_, other)) => compare(&path, value, other, found),
            None => missing(format!("{path} at {place}"), value, found),
        }
    }
    for (name, (place, value)) in actual
        .iter()
        .filter(|(name, _)| !expected.contains_key(*name))
    {
        extra(format!("{path}[{name}] at {place}"), value, found);
    }
    // With the same names on both sides the order counts.
    let order = |of: &Named<'_>| {
        let mut names: Vec<(usize, String)> = of
            .iter()
            .map(|(name, (place, _))| (*place, name.clone()))
            .collect();
        names.sort();
        names
            .into_iter()
            .map(|(_, name)| Value::String(name))
            .collect::<Vec<_>>()
    };
    let (expected, actual) = (order(expected), order(actual));
    if expected.len() == actual.len() && expected != actual {
        let same = expected.iter().all(|name| actual.contains(name));
        if same {
            found.push(Difference::new(
                &format!("{path} order"),
                expected.into(),
                actual.into(),
            ));
        }
    }
}

type Named<'a> = BTreeMap<String, (usize, &'a Value)>;

/// Leaves of all lists of named things what both sides have.
pub fn keep_common(expected: &mut Value, actual: &mut Value) {
    match (expected, actual) {
        (Value::Object(expected), Value::Object(actual)) => {
            for (key, value) in expected {
                if let Some(other) = actual.get_mut(key) {
                    keep_common(value, other);
                }
            }
        }
        (Value::Array(expected), Value::Array(actual)) => {
            let names = |list: &[Value]| -> Option<Vec<String>> {
                let named = by_name(list)?;
                let mut names: Vec<_> = named.into_iter().map(|(k, (at, _))| (at, k)).collect();
                names.sort_unstable();
                Some(names.into_iter().map(|(_, name)| name).collect())
            };
            let (Some(left), Some(right)) = (names(expected), names(actual)) else {
                let both = expected.iter_mut().zip(actual);
                return both.for_each(|(expected, actual)| keep_common(expected, actual));
            };
            let retain = |list: &mut Vec<Value>, own: &[String], other: &[String]| {
                let mut own = own.iter();
                list.retain(|_| own.next().is_some_and(|name| other.contains(name)));
            };
            retain(expected, &left, &right);
            retain(actual, &right, &left);
            for (value, name) in expected
                .iter_mut()
                .zip(left.iter().filter(|n| right.contains(n)))
            {
                let at = right
                    .iter()
                    .filter(|n| left.contains(n))
                    .position(|n| n == name);
                if let Some(other) = at.and_then(|at| actual.get_mut(at)) {
                    keep_common(value, other);
                }
            }
        }
        _ => {}
    }
}

/// The elements by the name of the object that each is or holds, where all have one of their own.
/// Texts are their own names.
fn by_name(list: &[Value]) -> Option<Named<'_>> {
    if list.is_empty() {
        return None;
    }
    let mut named = BTreeMap::new();
    for (place, value) in list.iter().enumerate() {
        if let Value::String(text) = value {
            if named.insert(text.clone(), (place, value)).is_some() {
                return None;
            }
            continue;
        }
        let object = value.get("object").unwrap_or(value);
        let metadata = object.get("metadata");
        let name = match metadata.and_then(|metadata| metadata.get("name")?.as_str()) {
            Some(name) => {
                let namespace = metadata.and_then(|metadata| metadata.get("namespace")?.as_str());
                namespace.map_or_else(|| name.to_owned(), |space| format!("{space}/{name}"))
            }
            // Discovery lists resources, versions and groups by other names.
            None => ["resource", "subresource", "groupVersion", "name", "version"]
                .into_iter()
                .find_map(|key| value.get(key)?.as_str())?
                .to_owned(),
        };
        if named.insert(name, (place, value)).is_some() {
            return None;
        }
    }
    Some(named)
}

fn missing(path: String, value: &Value, found: &mut Vec<Difference>) {
    if !value
        .as_str()
        .is_some_and(|text| text.contains("<removed>"))
    {
        found.push(Difference {
            path,
            expected: Some(value.clone()),
            actual: None,
        });
    }
}

/// What the recorder put in the place of secrets.
fn removed(text: &str) -> bool {
    text.contains("<removed>") || text == "<token>"
}

fn extra(path: String, value: &Value, found: &mut Vec<Difference>) {
    found.push(Difference {
        path,
        expected: None,
        actual: Some(value.clone()),
    });
}

fn join(path: &str, key: &str) -> String {
    match path {
        "" => key.to_owned(),
        path => format!("{path}.{key}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn paths(expected: Value, actual: Value) -> Vec<String> {
        let mut found = Vec::new();
        compare("", &expected, &actual, &mut found);
        found
            .into_iter()
            .map(|difference| difference.path)
            .collect()
    }

    #[test]
    fn each_field_is_named() {
        let expected = json!({"a": 1, "b": {"c": "x", "d": 2.0}, "e": [1, 2]});
        assert!(paths(expected.clone(), expected.clone()).is_empty());
        let actual = json!({"a": 2, "b": {"d": 2, "f": null}, "e": [1, 3, 4]});
        assert_eq!(paths(expected, actual), ["a", "b.c", "b.f", "e[1]", "e[2]"]);
    }

    #[test]
    fn named_objects_are_compared_by_name() {
        let object = |name: &str, x: i32| json!({"metadata": {"name": name}, "x": x});
        let expected = json!([object("a", 1), object("b", 2), object("c", 3)]);
        let actual = json!([object("b", 2), object("c", 4)]);
        assert_eq!(paths(expected.clone(), actual), ["[a] at 0", "[c].x"]);
        let swapped = json!([object("b", 2), object("a", 1), object("c", 3)]);
        assert_eq!(paths(expected, swapped), [" order"]);
    }

    #[test]
    fn texts_are_compared_as_a_set_and_then_in_order() {
        assert_eq!(
            paths(json!(["a", "b"]), json!(["b", "c"])),
            ["[a] at 0", "[c] at 1"]
        );
        assert_eq!(paths(json!(["a", "b"]), json!(["b", "a"])), [" order"]);
        assert_eq!(paths(json!(["a"]), json!([])), ["[a] at 0"]);
    }

    #[test]
    fn only_what_both_have_is_common() {
        let list = |names: &[&str]| {
            let items: Vec<Value> = names
                .iter()
                .map(|n| json!({"name": n, "verbs": names}))
                .collect();
            json!({"items": items, "kind": "List"})
        };
        let (mut left, mut right) = (list(&["a", "b", "c"]), list(&["c", "x", "b"]));
        keep_common(&mut left, &mut right);
        let of = |names: &[&str], verbs: &[&str]| {
            let items: Vec<Value> = names
                .iter()
                .map(|n| json!({"name": n, "verbs": verbs}))
                .collect();
            json!({"items": items, "kind": "List"})
        };
        assert_eq!(left, of(&["b", "c"], &["b", "c"]));
        assert_eq!(right, of(&["c", "b"], &["c", "b"]));
    }

    #[test]
    fn what_was_removed_is_equal_to_anything() {
        assert!(paths(json!({"token": "<removed>"}), json!({"token": "abc"})).is_empty());
        assert!(paths(json!({"token": "<removed>"}), json!({})).is_empty());
    }
}
