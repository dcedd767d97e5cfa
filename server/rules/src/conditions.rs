//! Conditions of kcp's kinds: `Ready` first, the rest by name, transition times that move only
//! when the state moves.
//!
//! Works on the `status.conditions` list of a tree inside a write.

use hanse_apis::kcp::conditions::READY;
use serde_json::{Map, Value};

/// How bad a False condition is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Severity {
    /// Only telling.
    Info,
    /// Works, with a flaw.
    Warning,
    /// Does not work.
    Error,
}

impl Severity {
    fn name(self) -> &'static str {
        match self {
            Severity::Info => "Info",
            Severity::Warning => "Warning",
            Severity::Error => "Error",
        }
    }
}

/// What a condition says, without its time.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum State {
    /// It holds.
    True,
    /// It does not, and why.
    False {
        /// How bad that is.
        severity: Severity,
        /// One word for machines.
        reason: &'static str,
        /// A sentence for people.
        message: String,
    },
}

impl State {
    /// A False state.
    #[must_use]
    pub fn no(severity: Severity, reason: &'static str, message: impl Into<String>) -> State {
        State::False {
            severity,
            reason,
            message: message.into(),
        }
    }
}

fn list(object: &mut Value) -> Option<&mut Vec<Value>> {
    let status = object
        .as_object_mut()?
        .entry("status")
        .or_insert_with(|| Map::new().into());
    let conditions = status
        .as_object_mut()?
        .entry("conditions")
        .or_insert_with(|| Value::Array(Vec::new()));
    conditions.as_array_mut()
}

fn same(condition: &Value, state: &State) -> bool {
    let text = |key: &str| {
        condition
            .get(key)
            .and_then(Value::as_str)
            .unwrap_or_default()
    };
    match state {
        State::True => text("status") == "True",
        State::False {
            severity,
            reason,
            message,
        } => {
            text("status") == "False"
                && text("severity") == severity.name()
                && text("reason") == *reason
                && text("message") == message
        }
    }
}

/// Sets a condition of `object` at time `now` (RFC 3339, seconds). True if anything changed.
pub fn set(object: &mut Value, kind: &str, state: &State, now: &str) -> bool {
    let Some(conditions) = list(object) else {
        return false;
    };
    let at = conditions
        .iter()
        .position(|c| c.get("type").and_then(Value::as_str) == Some(kind));
    if at.is_some_and(|at| same(&conditions[at], state)) {
        return false;
    }
    let mut fields = Map::new();
    fields.insert("lastTransitionTime".into(), now.into());
    fields.insert("type".into(), kind.into());
    match state {
        State::True => {
            fields.insert("status".into(), "True".into());
        }
        State::False {
            severity,
            reason,
            message,
        } => {
            fields.insert("status".into(), "False".into());
            fields.insert("severity".into(), severity.name().into());
            fields.insert("reason".into(), (*reason).into());
            if !message.is_empty() {
                fields.insert("message".into(), message.as_str().into());
            }
        }
    }
    match at {
        Some(at) => conditions[at] = fields.into(),
        None => conditions.push(fields.into()),
    }
    conditions.sort_by_key(order);
    true
}

/// Removes a condition. True if it was there.
pub fn remove(object: &mut Value, kind: &str) -> bool {
    let Some(conditions) = list(object) else {
        return false;
    };
    let before = conditions.len();
    conditions.retain(|c| c.get("type").and_then(Value::as_str) != Some(kind));
    before != conditions.len()
}

fn order(condition: &Value) -> (bool, String) {
    let kind = condition
        .get("type")
        .and_then(Value::as_str)
        .unwrap_or_default();
    (kind != READY, kind.to_owned())
}

fn find<'a>(object: &'a Value, kind: &str) -> Option<&'a Value> {
    let conditions = object.get("status")?.get("conditions")?.as_array()?;
    conditions
        .iter()
        .find(|c| c.get("type").and_then(Value::as_str) == Some(kind))
}

/// True if the condition is there and True.
#[must_use]
pub fn is_true(object: &Value, kind: &str) -> bool {
    status(object, kind) == Some("True")
}

/// Status word of a condition, if it is there.
#[must_use]
pub fn status<'a>(object: &'a Value, kind: &str) -> Option<&'a str> {
    find(object, kind)?.get("status")?.as_str()
}

/// Types of the conditions that are False.
#[must_use]
pub fn false_types(object: &Value) -> Vec<&str> {
    let conditions = object.get("status").and_then(|s| s.get("conditions"));
    let conditions = conditions
        .and_then(Value::as_array)
        .map(Vec::as_slice)
        .unwrap_or_default();
    let is_false = |c: &&Value| c.get("status").and_then(Value::as_str) == Some("False");
    conditions
        .iter()
        .filter(is_false)
        .filter_map(|c| c.get("type")?.as_str())
        .collect()
}

/// Mirrors one condition from another object, with its time. True if anything changed.
pub fn mirror(object: &mut Value, source: &Value, kind: &str) -> bool {
    let Some(wanted) = find(source, kind).cloned() else {
        return remove(object, kind);
    };
    if find(object, kind) == Some(&wanted) {
        return false;
    }
    remove(object, kind);
    let Some(conditions) = list(object) else {
        return false;
    };
    conditions.push(wanted);
    conditions.sort_by_key(order);
    true
}

/// Sets `Ready` from the named conditions: the worst False one is copied, else True.
pub fn summarize(object: &mut Value, of: &[&str], now: &str) -> bool {
    let rank = |c: &Value| match c.get("severity").and_then(Value::as_str) {
        Some("Error") => 3,
        Some("Warning") => 2,
        _ => 1,
    };
    let worst = of
        .iter()
        .filter_map(|kind| find(object, kind))
        .filter(|c| c.get("status").and_then(Value::as_str) != Some("True"))
        .max_by_key(|c| rank(c))
        .cloned();
    let Some(worst) = worst else {
        return set(object, READY, &State::True, now);
    };
    let mut wanted = worst;
    wanted["type"] = READY.into();
    let unchanged = find(object, READY).is_some_and(|ready| {
        ["status", "severity", "reason", "message"]
            .iter()
            .all(|k| ready.get(k) == wanted.get(k))
    });
    if unchanged {
        return false;
    }
    wanted["lastTransitionTime"] = now.into();
    remove(object, READY);
    if let Some(conditions) = list(object) {
        conditions.insert(0, wanted);
    }
    true
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn ready_first_then_by_name_and_stable_times() {
        let mut object = json!({});
        assert!(set(&mut object, "B", &State::True, "t1"));
        assert!(set(
            &mut object,
            "A",
            &State::no(Severity::Info, "Why", "so"),
            "t1"
        ));
        assert!(set(&mut object, "Ready", &State::True, "t1"));
        let types: Vec<&str> = object["status"]["conditions"]
            .as_array()
            .unwrap()
            .iter()
            .map(|c| c["type"].as_str().unwrap())
            .collect();
        assert_eq!(types, ["Ready", "A", "B"]);
        assert!(!set(&mut object, "B", &State::True, "t2"));
        assert_eq!(
            object["status"]["conditions"][2]["lastTransitionTime"],
            "t1"
        );
        assert!(set(&mut object, "A", &State::True, "t2"));
        assert_eq!(
            object["status"]["conditions"][1],
            json!({"lastTransitionTime": "t2", "status": "True", "type": "A"})
        );
    }

    #[test]
    fn summary_copies_the_worst() {
        let mut object = json!({});
        set(
            &mut object,
            "A",
            &State::no(Severity::Info, "Slow", "m"),
            "t1",
        );
        set(
            &mut object,
            "B",
            &State::no(Severity::Error, "Broken", "n"),
            "t1",
        );
        assert!(summarize(&mut object, &["A", "B"], "t2"));
        assert_eq!(object["status"]["conditions"][0]["reason"], "Broken");
        assert!(!summarize(&mut object, &["A", "B"], "t3"));
        set(&mut object, "B", &State::True, "t3");
        set(&mut object, "A", &State::True, "t3");
        assert!(summarize(&mut object, &["A", "B"], "t3"));
        assert!(is_true(&object, "Ready"));
        assert_eq!(false_types(&object), Vec::<&str>::new());
    }
}
