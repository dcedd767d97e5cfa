//! What differs by nature between two runs, put out of sight on both sides: uids, times,
//! versions, generated names, ids of logical clusters, hashes, ports.
//!
//! Start at [`Mask::value`]. Ids that both sides have under different names (a workspace's
//! cluster) are replaced by one name, so that it still counts *where* they stand.

use std::sync::LazyLock;

use regex::{Captures, Regex};
use serde_json::{Map, Value};

/// Managers under which servers and their controllers write their own objects.
const SERVER_MANAGERS: [&str; 12] = [
    "kube-apiserver",
    "kube-controller-manager",
    "kube-scheduler",
    "clusterrole-aggregation-controller",
    "apibinding-reconciler-locks",
    "hanse",
    "kcp",
    "kcp-apibinding",
    "kwok",
    "root",
    "unknown",
    "validatingadmissionpolicy-status",
];

/// Texts that differ, and what they become. The first match of the list wins at each place.
static TEXTS: LazyLock<Vec<(Regex, &'static str)>> = LazyLock::new(|| {
    let texts = [
        (
            r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d+)?(Z|\+00:00)",
            "{time}",
        ),
        (
            r"[A-Z][a-z]{2}, \d\d [A-Z][a-z]{2} \d{4} \d\d:\d\d:\d\d GMT",
            "{time}",
        ),
        (
            r"[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}",
            "{uid}",
        ),
        (r"(\d+\.\d+\.\d+\.\d+|localhost|\[::1\]):\d+", "{host}"),
        (r"\b([0-9a-f]{64}|[0-9A-F]{128})\b", "{hash}"),
        (r"(internal\.apis\.kcp\.io/)(\w{20,45})", "$1{hash}"),
        (r"\b[0-9A-Za-z]{30,45}\b", "{hash}"),
        (r#"(resourceVersion\\*":\\*")\d+"#, "$1{version}"),
        (r"(in record )\(\d+\)", "$1{version}"),
        (r"(resource ?version: )\d+( \(\d+\))?", "$1{version}"),
        (r"(current: |uid: |ResourceVersion: )\d+", "$1{version}"),
        (r"\beyJ[\w.-]{40,}", "{token}"),
        (r"\bgen-[a-z0-9]{5}\b", "gen-{name}"),
        (r"((tenancy|topology)\.kcp\.io-)[a-z0-9]{5}\b", "$1{name}"),
    ];
    // A pattern that does not compile would mask nothing and show as differences.
    texts
        .iter()
        .filter_map(|(text, to)| Some((Regex::new(text).ok()?, *to)))
        .collect()
});

/// `7m31s`, as tables show ages.
static AGE: LazyLock<Option<Regex>> =
    LazyLock::new(|| Regex::new(r"^(\d+[smhdy]|\d+m\d+s|\d+h\d+m|\d+d\d+h|\d+y\d+d)$").ok());

/// A name that stands for two: what was recorded, and what it is here.
#[derive(Clone, Debug)]
pub struct Alias {
    pub recorded: String,
    pub actual: String,
}

/// What to put out of sight.
#[derive(Clone, Debug, Default)]
pub struct Mask {
    /// Ids that were recorded under another name.
    pub aliases: Vec<Alias>,
    /// A prefix that stands before the paths of this server and not in the recording.
    pub prefix: String,
    /// The annotation with the logical cluster is put aside where it was not recorded.
    pub ignore_cluster: bool,
}

/// The annotation with the logical cluster as objects have it that messages quote, in the order of
/// a Go struct or of the alphabet, and as YAML has it, alone and with others.
static QUOTED_CLUSTER: LazyLock<Vec<Regex>> = LazyLock::new(|| {
    let texts = [
        r#",\\*"annotations\\*":\{\\*"kcp\.io/cluster\\*":\\*"[a-z0-9]+\\*"\}"#,
        r#"\\*"annotations\\*":\{\\*"kcp\.io/cluster\\*":\\*"[a-z0-9]+\\*"\},"#,
        r"annotations:\[kcp\.io/cluster:[a-z0-9]+\] ",
        r"(?m)^  annotations:\n    kcp\.io/cluster: \S+\n(  \w|\w)",
        r"(?m)^    kcp\.io/cluster: \S+\n",
    ];
    texts
        .iter()
        .filter_map(|text| Regex::new(text).ok())
        .collect()
});

impl Mask {
    /// A recorded text with the ids of this server.
    pub fn to_actual(&self, text: &str) -> String {
        let mut text = text.to_owned();
        for alias in &self.aliases {
            text = text.replace(&alias.recorded, &alias.actual);
        }
        text
    }

    /// A text of either side without what differs.
    pub fn text(&self, text: &str) -> String {
        let mut text = text.to_owned();
        for alias in &self.aliases {
            let both = format!("{{{}}}", alias.recorded);
            text = text.replace(&alias.actual, &both);
            if alias.recorded != alias.actual {
                text = text.replace(&alias.recorded, &both);
                text = text.replace(&format!("{{{both}}}"), &both);
            }
        }
        if !self.prefix.is_empty() {
            text = text.replace(&self.prefix, "");
        }
        if self.ignore_cluster {
            for quoted in QUOTED_CLUSTER.iter() {
                text = quoted.replace_all(&text, "$1").into_owned();
            }
        }
        for (pattern, to) in TEXTS.iter() {
            text = pattern
                .replace_all(&text, |found: &Captures<'_>| {
                    let whole = &found[0];
                    // Long names of kinds have no digit, hashes of that length have.
                    if *to == "{hash}" && !whole.contains(|c: char| c.is_ascii_digit()) {
                        return whole.to_owned();
                    }
                    let first = found.get(1).map_or("", |group| group.as_str());
                    to.replace("$1", first)
                })
                .into_owned();
        }
        text
    }

    /// A document of either side without what differs. `recorded` is the other document, when
    /// this is the answer: what the recorder left out of it is left out here as well.
    pub fn value(&self, value: &mut Value, recorded: &Value) {
        match value {
            Value::String(text) => {
                let age = AGE.as_ref().is_some_and(|age| age.is_match(text));
                *text = if age {
                    "{age}".to_owned()
                } else {
                    self.text(text)
                };
            }
            Value::Array(list) => {
                let empty = Vec::new();
                let others = recorded.as_array().unwrap_or(&empty);
                for (index, item) in list.iter_mut().enumerate() {
                    self.value(item, others.get(index).unwrap_or(&Value::Null));
                }
            }
            Value::Object(object) => self.object(object, recorded),
            Value::Null | Value::Bool(_) | Value::Number(_) => {}
        }
    }

    fn object(&self, object: &mut Map<String, Value>, recorded: &Value) {
        drop_server_managed(object);
        // Descriptions were removed from the recordings of schemas.
        if object.get("description").is_some_and(Value::is_string)
            && recorded.get("description").is_none()
        {
            object.remove("description");
        }
        if self.ignore_cluster && recorded.pointer("/annotations/kcp.io~1cluster").is_none() {
            drop_annotation(object, "kcp.io/cluster");
        }
        // What `/version` answers.
        let version = object.contains_key("gitVersion");
        let entries = std::mem::take(object);
        for (key, mut value) in entries {
            match (&*key, &mut value) {
                ("uid" | "UID", Value::String(uid)) if !uid.is_empty() => *uid = "{uid}".to_owned(),
                ("resourceVersion", Value::String(version)) if !version.is_empty() => {
                    *version = "{version}".to_owned();
                }
                ("ca.crt", Value::String(pem)) => *pem = "{certificate}".to_owned(),
                (_, Value::String(text)) if version => *text = "{version}".to_owned(),
                // Rules are collected from an unordered set.
                ("resourceRules" | "nonResourceRules", Value::Array(rules)) => {
                    rules.sort_by_cached_key(Value::to_string);
                }
                ("continue", Value::String(token)) if !token.is_empty() => {
                    *token = "{continue}".to_owned();
                }
                _ => self.value(&mut value, recorded.get(&key).unwrap_or(&Value::Null)),
            }
            object.insert(self.text(&key), value);
        }
        if let Some(Value::String(prefix)) = object.get("generateName").cloned()
            && let Some(Value::String(name)) = object.get_mut("name")
            && name.starts_with(&*prefix)
        {
            *name = format!("{prefix}{{name}}");
        }
    }
}

/// Leaves of managedFields what clients own.
fn drop_server_managed(object: &mut Map<String, Value>) {
    let Some(Value::Array(entries)) = object.get_mut("managedFields") else {
        return;
    };
    entries.retain(|entry| {
        let manager = entry
            .get("manager")
            .and_then(Value::as_str)
            .unwrap_or_default();
        !SERVER_MANAGERS.contains(&manager)
    });
    if entries.is_empty() {
        object.remove("managedFields");
    }
}

fn drop_annotation(metadata: &mut Map<String, Value>, name: &str) {
    let Some(Value::Object(annotations)) = metadata.get_mut("annotations") else {
        return;
    };
    annotations.remove(name);
    if annotations.is_empty() {
        metadata.remove("annotations");
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn masked(mask: &Mask, mut value: Value) -> Value {
        mask.value(&mut value, &Value::Null);
        value
    }

    #[test]
    fn every_pattern_compiles() {
        assert_eq!(TEXTS.len(), 14);
        assert!(AGE.is_some());
        assert_eq!(QUOTED_CLUSTER.len(), 5);
    }

    #[test]
    fn what_differs_by_nature_is_out_of_sight() {
        let object = json!({"metadata": {
            "uid": "7454f0a4-977c-402f-bad7-e1dd1d7a6a65", "resourceVersion": "313",
            "creationTimestamp": "2026-11-21T02:47:04Z", "generateName": "a-", "name": "a-x7k2p",
        }});
        let expected = json!({"metadata": {
            "uid": "{uid}", "resourceVersion": "{version}", "creationTimestamp": "{time}",
            "generateName": "a-", "name": "a-{name}",
        }});
        assert_eq!(masked(&Mask::default(), object), expected);
        let text = "too old resource version: 1 (755) at https://127.0.0.1:6443/api";
        let expected = "too old resource version: {version} at https://{host}/api";
        assert_eq!(Mask::default().text(text), expected);
        let text = r#"{\"resourceVersion\":\"323\",\"a\":1}"#;
        assert_eq!(Mask::default().text(text), text.replace("323", "{version}"));
        for name in ["validatingadmissionpolicybindings", "Sat, 7 Nov 2026"] {
            assert_eq!(Mask::default().text(name), name);
        }
        assert_eq!(
            Mask::default().text("Sat, 21 Nov 2026 02:42:01 GMT"),
            "{time}"
        );
    }

    #[test]
    fn both_names_of_a_cluster_become_one() {
        let alias = Alias {
            recorded: "comvstj97u2e6i24".into(),
            actual: "abc".into(),
        };
        let mask = Mask {
            aliases: vec![alias],
            ..Mask::default()
        };
        assert_eq!(
            mask.text("/clusters/abc"),
            mask.text("/clusters/comvstj97u2e6i24")
        );
        assert_eq!(
            mask.to_actual("/clusters/comvstj97u2e6i24/api"),
            "/clusters/abc/api"
        );
    }

    #[test]
    fn the_servers_own_fields_are_aside_and_the_clients_are_not() {
        let object = json!({"managedFields": [{"manager": "kcp"}, {"manager": "kubectl"}]});
        let expected = json!({"managedFields": [{"manager": "kubectl"}]});
        assert_eq!(masked(&Mask::default(), object), expected);
        let own = json!({"managedFields": [{"manager": "hanse"}]});
        assert_eq!(masked(&Mask::default(), own), json!({}));
    }

    #[test]
    fn the_cluster_annotation_is_aside_where_it_was_not_recorded() {
        let mask = Mask {
            ignore_cluster: true,
            ..Mask::default()
        };
        let object = json!({"annotations": {"kcp.io/cluster": "abc"}, "name": "a"});
        assert_eq!(masked(&mask, object), json!({"name": "a"}));
        let quoted = r#"{\"a\":1,\"annotations\":{\"kcp.io/cluster\":\"x1\"}}"#;
        assert_eq!(mask.text(quoted), r#"{\"a\":1}"#);
        let sorted = r#"{"annotations":{"kcp.io/cluster":"x1"},"name":"a"}"#;
        assert_eq!(mask.text(sorted), r#"{"name":"a"}"#);
        let yaml = "  annotations:\n    kcp.io/cluster: x1\n  name: a\n";
        assert_eq!(mask.text(yaml), "  name: a\n");
        let yaml = "  annotations:\n    kcp.io/cluster: x1\n    n: \"1\"\n";
        assert_eq!(mask.text(yaml), "  annotations:\n    n: \"1\"\n");
    }
}
