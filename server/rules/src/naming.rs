//! Do two custom resources of one group get in each other's way?
//!
//! Within a group, plural, singular and short names share one space, and kind and list kind
//! another. The texts are what kcp writes into the condition of the binding that loses.

use serde_json::Value;

/// Names of one custom resource.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Names {
    /// API group; empty for core.
    pub group: String,
    /// Plural.
    pub plural: String,
    /// Singular.
    pub singular: String,
    /// Kind.
    pub kind: String,
    /// Kind of lists.
    pub list_kind: String,
    /// Short names.
    pub short_names: Vec<String>,
}

impl Names {
    /// Reads `spec.group` and `spec.names` of a CRD or an APIResourceSchema.
    #[must_use]
    pub fn from_spec(spec: &Value) -> Names {
        let names = spec.get("names").unwrap_or(&Value::Null);
        let text =
            |v: &Value, key: &str| v.get(key).and_then(Value::as_str).unwrap_or("").to_owned();
        let short = names.get("shortNames").and_then(Value::as_array);
        Names {
            group: text(spec, "group"),
            plural: text(names, "plural"),
            singular: text(names, "singular"),
            kind: text(names, "kind"),
            list_kind: text(names, "listKind"),
            short_names: short
                .into_iter()
                .flatten()
                .filter_map(|s| Some(s.as_str()?.into()))
                .collect(),
        }
    }

    fn takes_resource(&self, name: &str) -> bool {
        !name.is_empty()
            && (self.plural == name
                || self.singular == name
                || self.short_names.iter().any(|s| s == name))
    }

    fn takes_kind(&self, kind: &str) -> bool {
        !kind.is_empty() && (self.kind == kind || self.list_kind == kind)
    }
}

/// Who has a name already.
#[derive(Clone, Debug)]
pub enum Owner {
    /// Another binding: its name, and `<path>:<export>`.
    Binding(String, String),
    /// A CRD of the logical cluster.
    Crd(String),
}

/// The first conflict of `wanted` with what is there, as the text of the condition.
#[must_use]
pub fn conflict<'a>(
    wanted: &Names,
    taken: impl Iterator<Item = (&'a Names, &'a Owner)>,
) -> Option<String> {
    for (other, owner) in taken {
        if other.group != wanted.group {
            continue;
        }
        if let Some(field) = first_clash(wanted, other) {
            return Some(match owner {
                Owner::Binding(name, export) => format!(
                    "naming conflict with APIBinding {name:?} bound to APIExport {export}: {field}"
                ),
                Owner::Crd(name) => {
                    format!("naming conflict with CustomResourceDefinition {name:?}: {field}")
                }
            });
        }
    }
    None
}

fn first_clash(wanted: &Names, other: &Names) -> Option<String> {
    let text = |field: &str, value: &str| Some(format!("spec.names.{field}={value} is forbidden"));
    if other.takes_resource(&wanted.plural) {
        return text("plural", &wanted.plural);
    }
    if other.takes_resource(&wanted.singular) {
        return text("singular", &wanted.singular);
    }
    let clashing: Vec<&str> = wanted
        .short_names
        .iter()
        .map(String::as_str)
        .filter(|s| other.takes_resource(s))
        .collect();
    if !clashing.is_empty() {
        return Some(format!(
            "spec.names.shortNames=[{}] is forbidden",
            clashing.join(" ")
        ));
    }
    if other.takes_kind(&wanted.kind) {
        return text("kind", &wanted.kind);
    }
    if other.takes_kind(&wanted.list_kind) {
        return text("listKind", &wanted.list_kind);
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn clashes() {
        let make = |plural: &str, kind: &str, short: &[&str]| {
            Names::from_spec(&json!({"group": "g.io", "names": {
                "plural": plural, "singular": kind.to_lowercase(), "kind": kind,
                "listKind": format!("{kind}List"), "shortNames": short}}))
        };
        let there = make("widgets", "Widget", &["wd"]);
        let owner = Owner::Binding("b".into(), "root:p:e".into());
        let check = |wanted: &Names| conflict(wanted, [(&there, &owner)].into_iter());
        assert_eq!(check(&make("gadgets", "Gadget", &["gd"])), None);
        assert_eq!(
            check(&make("widgets", "Other", &[])).unwrap(),
            "naming conflict with APIBinding \"b\" bound to APIExport root:p:e: \
             spec.names.plural=widgets is forbidden"
        );
        let short = check(&make("wd", "Wd", &[])).unwrap();
        assert!(
            short.ends_with("spec.names.plural=wd is forbidden"),
            "{short}"
        );
        let kind = check(&make("ws", "Widget", &[])).unwrap();
        assert!(
            kind.ends_with("spec.names.singular=widget is forbidden"),
            "{kind}"
        );
        let mut other_group = make("widgets", "Widget", &[]);
        other_group.group = "h.io".into();
        assert_eq!(check(&other_group), None);
        let crd = Owner::Crd("widgets.g.io".into());
        let text = conflict(&make("widgets", "W", &[]), [(&there, &crd)].into_iter()).unwrap();
        assert!(
            text.starts_with("naming conflict with CustomResourceDefinition \"widgets.g.io\":")
        );
    }
}
