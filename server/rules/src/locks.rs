//! The lock table of a logical cluster: which binding or CRD owns a group-resource.
//!
//! It is a JSON map in the annotation `internal.apis.kcp.io/resource-bindings` of the
//! LogicalCluster: `"<resource>.<group>" -> {"n": binding} | {"c": true, "e": expiry}`.

use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// One lock.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Lock {
    /// Name of the APIBinding that owns it.
    #[serde(rename = "n", skip_serializing_if = "String::is_empty")]
    pub binding: String,
    /// True if a CRD owns it.
    #[serde(rename = "c", skip_serializing_if = "std::ops::Not::not")]
    pub crd: bool,
    /// When a CRD's lock ends (RFC 3339), if it does.
    #[serde(rename = "e", skip_serializing_if = "Option::is_none")]
    pub expiry: Option<String>,
}

/// The table.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Locks(BTreeMap<String, Lock>);

/// Key of a group-resource; the core group is nothing after the resource.
#[must_use]
pub fn key(group: &str, resource: &str) -> String {
    if group.is_empty() {
        resource.to_owned()
    } else {
        format!("{resource}.{group}")
    }
}

impl Locks {
    /// Reads the annotation; what cannot be read is an empty table.
    #[must_use]
    pub fn parse(text: &str) -> Locks {
        Locks(serde_json::from_str(text).unwrap_or_default())
    }

    /// Text of the annotation.
    #[must_use]
    pub fn to_text(&self) -> String {
        serde_json::to_string(&self.0).unwrap_or_else(|_| "{}".to_owned())
    }

    /// All locks with their keys, in order.
    pub fn iter(&self) -> impl Iterator<Item = (&String, &Lock)> {
        self.0.iter()
    }

    /// Who owns the key.
    #[must_use]
    pub fn owner(&self, key: &str) -> Option<&Lock> {
        self.0.get(key)
    }

    /// Locks the key for a binding. False if somebody else has it.
    pub fn take(&mut self, key: &str, binding: &str) -> bool {
        match self.0.get(key) {
            Some(lock) => lock.binding == binding,
            None => {
                let lock = Lock {
                    binding: binding.to_owned(),
                    ..Lock::default()
                };
                self.0.insert(key.to_owned(), lock);
                true
            }
        }
    }

    /// Locks the key for a CRD unless a binding has it.
    pub fn take_for_crd(&mut self, key: &str) {
        let lock = self.0.entry(key.to_owned()).or_default();
        if lock.binding.is_empty() {
            *lock = Lock {
                crd: true,
                ..Lock::default()
            };
        }
    }

    /// Keeps only the locks of bindings and CRDs that exist, and CRD locks not yet expired.
    /// True if any was dropped.
    pub fn retain(
        &mut self,
        binding_exists: &dyn Fn(&str) -> bool,
        crd_exists: &dyn Fn(&str) -> bool,
        now: &str,
    ) -> bool {
        let before = self.0.len();
        self.0.retain(|key, lock| {
            if lock.crd {
                crd_exists(key) || lock.expiry.as_deref().is_some_and(|e| e > now)
            } else {
                binding_exists(&lock.binding)
            }
        });
        before != self.0.len()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_is_as_recorded() {
        let mut locks = Locks::default();
        assert!(locks.take(
            &key("topology.kcp.io", "partitions"),
            "topology.kcp.io-9gktq"
        ));
        let text = r#"{"partitions.topology.kcp.io":{"n":"topology.kcp.io-9gktq"}}"#;
        assert_eq!(locks.to_text(), text);
        assert_eq!(Locks::parse(text), locks);
        assert_eq!(Locks::parse("nonsense"), Locks::default());
        assert_eq!(Locks::default().to_text(), "{}");
    }

    #[test]
    fn ownership() {
        let mut locks = Locks::default();
        assert!(locks.take("a.g", "one") && locks.take("a.g", "one"));
        assert!(!locks.take("a.g", "two"));
        locks.take_for_crd("a.g");
        locks.take_for_crd("b.g");
        assert_eq!(locks.owner("a.g").unwrap().binding, "one");
        assert_eq!(locks.to_text(), r#"{"a.g":{"n":"one"},"b.g":{"c":true}}"#);
        assert!(!locks.take("b.g", "one"));
        assert!(locks.retain(&|b| b == "two", &|_| true, "2026"));
        assert_eq!(locks.to_text(), r#"{"b.g":{"c":true}}"#);
        assert!(locks.retain(&|_| false, &|_| false, "2026"));
        let mut expiring = Locks::parse(r#"{"c.g":{"c":true,"e":"2027-01-01T00:00:00Z"}}"#);
        assert!(!expiring.retain(&|_| false, &|_| false, "2026-01-01T00:00:00Z"));
        assert!(expiring.retain(&|_| false, &|_| false, "2028-01-01T00:00:00Z"));
    }
}
