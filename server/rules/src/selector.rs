//! The LabelSelector of objects (`matchLabels`, `matchExpressions`, kcp's `matchAll`), as a
//! predicate over labels.
//!
//! The text form of the query string is part of the wire and lives there.

use serde_json::Value;

/// True if the selector (a JSON object) matches the labels. An absent or empty selector matches
/// everything; a malformed one nothing.
#[must_use]
pub fn matches<'a>(selector: Option<&Value>, label: &dyn Fn(&str) -> Option<&'a str>) -> bool {
    let Some(selector) = selector else {
        return true;
    };
    let Some(selector) = selector.as_object() else {
        return selector.is_null();
    };
    if selector.get("matchAll").and_then(Value::as_bool) == Some(true) {
        return true;
    }
    let labels = selector.get("matchLabels").and_then(Value::as_object);
    let expressions = selector.get("matchExpressions").and_then(Value::as_array);
    labels
        .into_iter()
        .flatten()
        .all(|(key, value)| label(key) == value.as_str())
        && expressions
            .into_iter()
            .flatten()
            .all(|e| expression_matches(e, label))
}

fn expression_matches<'a>(expression: &Value, label: &dyn Fn(&str) -> Option<&'a str>) -> bool {
    let text = |key: &str| {
        expression
            .get(key)
            .and_then(Value::as_str)
            .unwrap_or_default()
    };
    let found = label(text("key"));
    let values = expression.get("values").and_then(Value::as_array);
    let listed = |v: &str| values.into_iter().flatten().any(|e| e.as_str() == Some(v));
    match text("operator") {
        "In" => found.is_some_and(listed),
        "NotIn" => !found.is_some_and(listed),
        "Exists" => found.is_some(),
        "DoesNotExist" => found.is_none(),
        _ => false,
    }
}

/// The selector as the query string spells it, requirements in the order of their keys.
#[must_use]
pub fn to_text(selector: &Value) -> String {
    let mut parts: Vec<(String, String)> = Vec::new();
    let labels = selector.get("matchLabels").and_then(Value::as_object);
    for (key, value) in labels.into_iter().flatten() {
        let value = value.as_str().unwrap_or_default();
        parts.push((key.clone(), format!("{key}={value}")));
    }
    let expressions = selector.get("matchExpressions").and_then(Value::as_array);
    for expression in expressions.into_iter().flatten() {
        let key = expression["key"].as_str().unwrap_or_default();
        let values = expression["values"].as_array().into_iter().flatten();
        let mut values: Vec<&str> = values.filter_map(Value::as_str).collect();
        values.sort_unstable();
        let values = values.join(",");
        let text = match expression["operator"].as_str().unwrap_or_default() {
            "In" => format!("{key} in ({values})"),
            "NotIn" => format!("{key} notin ({values})"),
            "DoesNotExist" => format!("!{key}"),
            _ => key.to_owned(),
        };
        parts.push((key.to_owned(), text));
    }
    parts.sort();
    let texts: Vec<String> = parts.into_iter().map(|(_, text)| text).collect();
    texts.join(",")
}

/// Looks labels up in the metadata of an object tree.
pub fn label_of<'a>(object: &'a Value) -> impl Fn(&str) -> Option<&'a str> {
    let labels = object.get("metadata").and_then(|m| m.get("labels"));
    move |key| labels?.get(key)?.as_str()
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn texts() {
        let selector = json!({"matchLabels": {"b": "1"}, "matchExpressions": [
            {"key": "c", "operator": "NotIn", "values": ["y", "x"]},
            {"key": "a", "operator": "DoesNotExist"},
            {"key": "d", "operator": "Exists"}]});
        assert_eq!(to_text(&selector), "!a,b=1,c notin (x,y),d");
        assert_eq!(to_text(&json!({})), "");
    }

    #[test]
    fn operators() {
        let object = json!({"metadata": {"labels": {"a": "1", "b": "2"}}});
        let label = label_of(&object);
        let check = |selector: Value| matches(Some(&selector), &label);
        assert!(matches(None, &label) && check(json!({})) && check(json!({"matchAll": true})));
        assert!(check(json!({"matchLabels": {"a": "1"}})));
        assert!(!check(json!({"matchLabels": {"a": "1", "c": "x"}})));
        for (operator, key, values, expected) in [
            ("In", "a", json!(["1", "9"]), true),
            ("In", "c", json!(["1"]), false),
            ("NotIn", "c", json!(["1"]), true),
            ("NotIn", "a", json!(["1"]), false),
            ("Exists", "b", json!([]), true),
            ("DoesNotExist", "b", json!([]), false),
            ("Near", "b", json!([]), false),
        ] {
            let e = json!({"key": key, "operator": operator, "values": values});
            assert_eq!(
                check(json!({"matchExpressions": [e]})),
                expected,
                "{operator} {key}"
            );
        }
        assert!(!check(json!("x")));
    }
}
