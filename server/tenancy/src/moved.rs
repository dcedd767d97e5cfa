//! A subtree that comes back under another path, or in another instance.
//!
//! Start at [`Subtree::see`], which learns from a dump's lines what there is to be renamed, then
//! [`Move::line`], which renames one line. Logical clusters get other ids and objects other uids,
//! derived from where they go, so that the original may stay where it is and an interrupted restore
//! can be begun again. Bindings forget what they were bound to and are bound anew where they come;
//! what lies under an export's identity goes under that of the export of the same path and name
//! there. The invariant: what a tenant wrote is never changed, only what the platform notes.
//! Deliberately elsewhere: asking the server, and the lines' form.

use std::collections::{BTreeMap, BTreeSet};

use hanse_apis::kcp::{annotation, group, label};
use hanse_cache::CLUSTER_ANNOTATION;
use hanse_rules::hash;
use serde_json::{Map, Value};
use sha2::{Digest, Sha256};

/// Groups whose objects name paths, logical clusters and identities.
const PLATFORM: [&str; 4] = [group::CORE, group::TENANCY, group::APIS, "topology.kcp.io"];
/// The group of sites: a site and what hangs on it belong to one hub.
const SITES: &str = "sites.hanse.dev";

/// An export that something in the subtree is bound to, from outside of it.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Wanted {
    /// Path of its workspace.
    pub path: String,
    /// Its name.
    pub name: String,
    /// Its identity where the dump was taken.
    pub identity: String,
}

/// What a dump's lines say of the subtree.
#[derive(Debug, Default)]
pub struct Subtree {
    /// Paths by logical cluster.
    paths: BTreeMap<String, String>,
    /// The logical cluster in which the top workspace stands.
    parent: Option<String>,
    wanted: BTreeSet<Wanted>,
}

fn text<'v>(value: &'v Value, at: &[&str]) -> &'v str {
    let found = at.iter().try_fold(value, |value, name| value.get(name));
    found.and_then(Value::as_str).unwrap_or_default()
}

fn is(line: &Value, group: &str, resource: &str) -> bool {
    line["group"] == group && line["resource"] == resource
}

/// `path` with `to` in place of `from`, when it is `from` or below it.
fn below(path: &str, from: &str, to: &str) -> Option<String> {
    match path.strip_prefix(from)? {
        rest if rest.is_empty() || rest.starts_with(':') => Some(format!("{to}{rest}")),
        _ => None,
    }
}

impl Subtree {
    /// Learns from a line.
    pub fn see(&mut self, line: &Value) {
        let cluster = text(line, &["cluster"]);
        let annotations = &line["object"]["metadata"]["annotations"];
        if is(line, group::CORE, "logicalclusters") {
            let path = text(annotations, &[annotation::PATH]);
            self.paths.insert(cluster.to_owned(), path.to_owned());
        }
        if is(line, group::TENANCY, "workspaces") {
            // The one on top stands last.
            self.parent = Some(cluster.to_owned());
        }
        if is(line, group::APIS, "apibindings") {
            let export = &line["object"]["spec"]["reference"]["export"];
            let bound = line["object"]["status"]["boundResources"].as_array();
            let identity = |one: &Value| text(one, &["schema", "identityHash"]).to_owned();
            let path = text(export, &["path"]);
            for identity in bound.into_iter().flatten().map(identity) {
                if !path.is_empty() && !identity.is_empty() {
                    self.wanted.insert(Wanted {
                        path: path.to_owned(),
                        name: text(export, &["name"]).to_owned(),
                        identity,
                    });
                }
            }
        }
    }

    /// The exports outside of the subtree that have to be where it goes.
    pub fn wanted<'s>(&'s self, from: &'s str) -> impl Iterator<Item = &'s Wanted> {
        let outside = move |one: &&Wanted| below(&one.path, from, "").is_none();
        self.wanted.iter().filter(outside)
    }

    /// The renaming of all of it. `identities` are those of [`Subtree::wanted`], by what they were.
    #[must_use]
    pub fn to(self, place: Place, identities: BTreeMap<String, String>) -> Move {
        let mut to = Move {
            clusters: BTreeMap::new(),
            identities,
            place,
        };
        for cluster in self.paths.into_keys() {
            let id = hash::cluster_id(&to.derived("cluster", &cluster));
            to.clusters.insert(cluster, id);
        }
        if let Some(parent) = self.parent {
            to.clusters.insert(parent, to.place.parent.clone());
        }
        to
    }
}

/// Where a subtree goes.
#[derive(Clone, Debug)]
pub struct Place {
    /// Its path until now.
    pub from: String,
    /// Its path from now on.
    pub to: String,
    /// The logical cluster of the workspace above it.
    pub parent: String,
    /// URL of the server, without a path.
    pub url: String,
    /// The instance's name.
    pub instance: String,
}

/// How everything in a subtree is renamed.
#[derive(Debug)]
pub struct Move {
    clusters: BTreeMap<String, String>,
    identities: BTreeMap<String, String>,
    place: Place,
}

impl Move {
    /// 32 bytes that follow from where the subtree goes and from what something was called.
    fn derived(&self, kind: &str, name: &str) -> [u8; 32] {
        let mut hash = Sha256::new();
        for part in [
            &self.place.instance,
            &self.place.from,
            &self.place.to,
            kind,
            name,
        ] {
            hash.update((part.len() as u64).to_le_bytes());
            hash.update(part);
        }
        hash.finalize().into()
    }

    fn uid(&self, old: &str) -> String {
        let mut bytes = self.derived("uid", old);
        bytes[6] = bytes[6] & 0x0f | 0x40;
        bytes[8] = bytes[8] & 0x3f | 0x80;
        let hex = hash::hex(&bytes[..16]);
        let part = |range: std::ops::Range<usize>| hex.get(range).unwrap_or_default();
        [
            part(0..8),
            part(8..12),
            part(12..16),
            part(16..20),
            part(20..32),
        ]
        .join("-")
    }

    fn path(&self, old: &str) -> Option<String> {
        below(old, &self.place.from, &self.place.to)
    }

    /// Renames a line. False for what is left behind.
    #[must_use]
    pub fn line(&self, line: &mut Value) -> bool {
        let (group, resource) = (text(line, &["group"]), text(line, &["resource"]));
        if group == SITES && matches!(resource, "sites" | "projections" | "manifests") {
            return false;
        }
        let platform = PLATFORM.contains(&group);
        let resource = resource.to_owned();
        let top = resource == "workspaces" && platform && {
            let cluster = text(line, &["cluster"]);
            self.clusters.get(cluster) == Some(&self.place.parent)
        };
        self.rename(line, "cluster", &self.clusters);
        self.rename(line, "identity", &self.identities);
        let cluster = line["cluster"].clone();
        if top {
            let name = self.place.to.rsplit(':').next().unwrap_or_default();
            line["name"] = name.into();
            line["object"]["metadata"]["name"] = name.into();
        }
        let object = &mut line["object"];
        self.metadata(&mut object["metadata"], cluster);
        if platform {
            match resource.as_str() {
                "apibindings" => self.binding(object),
                "logicalclusters" => self.logical_cluster(object),
                "workspaces" => self.workspace(object),
                _ => {}
            }
            self.references(object);
        }
        true
    }

    fn rename(&self, value: &mut Value, field: &str, names: &BTreeMap<String, String>) {
        if let Some(new) = names.get(text(value, &[field])) {
            value[field] = new.as_str().into();
        }
    }

    fn metadata(&self, metadata: &mut Value, cluster: Value) {
        metadata["uid"] = self.uid(text(metadata, &["uid"])).into();
        metadata["annotations"][CLUSTER_ANNOTATION] = cluster;
        let notes = &mut metadata["annotations"];
        self.rename(notes, annotation::WORKSPACE_CLUSTER, &self.clusters);
        self.rename(notes, annotation::SCHEMA_CLUSTER, &self.clusters);
        for key in [annotation::PATH, annotation::TYPE] {
            if let Some(path) = self.path(text(notes, &[key])) {
                notes[key] = path.into();
            }
        }
        let owners = metadata
            .get_mut("ownerReferences")
            .and_then(Value::as_array_mut);
        for owner in owners.into_iter().flatten() {
            owner["uid"] = self.uid(text(owner, &["uid"])).into();
        }
    }

    /// A binding is bound anew where it comes.
    fn binding(&self, binding: &mut Value) {
        binding["status"] = Map::new().into();
        let labels = binding["metadata"]
            .get_mut("labels")
            .and_then(Value::as_object_mut);
        if let Some(labels) = labels {
            labels.retain(|key, _| key != label::EXPORT && !key.starts_with(label::CLAIMED_PREFIX));
        }
    }

    fn logical_cluster(&self, object: &mut Value) {
        let id = text(object, &["metadata", "annotations", CLUSTER_ANNOTATION]).to_owned();
        object["status"]["URL"] = format!("{}/clusters/{id}", self.place.url).into();
        let path = text(object, &["metadata", "annotations", annotation::PATH]).to_owned();
        if let Some(owner) = object["spec"].get_mut("owner") {
            owner["uid"] = self.uid(text(owner, &["uid"])).into();
            owner["name"] = path.rsplit(':').next().unwrap_or_default().into();
            self.rename(owner, "cluster", &self.clusters);
        }
    }

    fn workspace(&self, object: &mut Value) {
        self.rename(&mut object["spec"], "cluster", &self.clusters);
        let url = text(object, &["spec", "URL"]);
        let path = url.split_once("/clusters/").map(|(_, path)| path);
        if let Some(path) = path.and_then(|path| self.path(path)) {
            object["spec"]["URL"] = format!("{}/clusters/{path}", self.place.url).into();
        }
    }

    /// Paths and identities wherever an object of the platform's own refers to others.
    fn references(&self, value: &mut Value) {
        match value {
            Value::Object(members) => {
                for (name, member) in members {
                    match (name.as_str(), member.as_str()) {
                        ("path", Some(path)) => {
                            if let Some(path) = self.path(path) {
                                *member = path.into();
                            }
                        }
                        ("identityHash", Some(identity)) => {
                            if let Some(new) = self.identities.get(identity) {
                                *member = new.as_str().into();
                            }
                        }
                        _ => self.references(member),
                    }
                }
            }
            Value::Array(items) => items.iter_mut().for_each(|item| self.references(item)),
            _ => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use serde_json::{Value, json};

    use super::{Place, Subtree};

    fn lines() -> Vec<Value> {
        let line = |group: &str,
                    resource: &str,
                    identity: &str,
                    cluster: &str,
                    name: &str,
                    rest: Value| {
            let mut object = json!({"metadata": {"name": name, "uid": format!("uid-{name}"),
                "annotations": {"kcp.io/cluster": cluster}}});
            merge(&mut object, rest);
            json!({"group": group, "resource": resource, "identity": identity, "cluster": cluster,
                "namespace": "", "name": name, "object": object})
        };
        vec![
            line(
                "",
                "configmaps",
                "",
                "aaa",
                "owned",
                json!({"data": {"path": "root:org", "c": "aaa"},
                "metadata": {"ownerReferences": [{"uid": "uid-owner", "name": "owner"}]}}),
            ),
            line(
                "example.org",
                "ships",
                "old-identity",
                "aaa",
                "kogge",
                json!({}),
            ),
            line(
                "apis.kcp.io",
                "apibindings",
                "customresources",
                "aaa",
                "ships",
                json!({
                "metadata": {"labels": {"internal.apis.kcp.io/export": "h", "mine": "x"}},
                "spec": {"reference": {"export": {"path": "root:p", "name": "ships"}}},
                "status": {"phase": "Bound",
                    "boundResources": [{"schema": {"identityHash": "old-identity"}}]}}),
            ),
            line(
                "apis.kcp.io",
                "apibindings",
                "customresources",
                "aaa",
                "inner",
                json!({
                "spec": {"reference": {"export": {"path": "root:org:team", "name": "x"}}},
                "status": {"boundResources": [{"schema": {"identityHash": "kept"}}]}}),
            ),
            line(
                "core.kcp.io",
                "logicalclusters",
                "customresources",
                "aaa",
                "cluster",
                json!({
                "metadata": {"annotations": {"kcp.io/path": "root:org"}},
                "spec": {"owner": {"cluster": "root", "name": "org", "uid": "uid-org"}}}),
            ),
            line(
                "tenancy.kcp.io",
                "workspaces",
                "customresources",
                "root",
                "org",
                json!({
                "spec": {"cluster": "aaa", "URL": "https://old:6443/clusters/root:org"}}),
            ),
        ]
    }

    fn merge(into: &mut Value, from: Value) {
        match (into, from) {
            (Value::Object(into), Value::Object(from)) => {
                for (name, value) in from {
                    merge(into.entry(name).or_insert(Value::Null), value);
                }
            }
            (into, from) => *into = from,
        }
    }

    #[test]
    fn everything_of_the_platform_is_renamed_and_nothing_of_the_tenant() {
        let mut subtree = Subtree::default();
        lines().iter().for_each(|line| subtree.see(line));
        let wanted: Vec<_> = subtree.wanted("root:org").cloned().collect();
        assert_eq!(
            (wanted.len(), &*wanted[0].path, &*wanted[0].name),
            (1, "root:p", "ships")
        );
        let place = Place {
            from: "root:org".to_owned(),
            to: "root:x:copy".to_owned(),
            parent: "xxx".to_owned(),
            url: "https://new:6443".to_owned(),
            instance: "me".to_owned(),
        };
        let identities = BTreeMap::from([("old-identity".to_owned(), "new-identity".to_owned())]);
        let to = subtree.to(place, identities);
        let mut moved = lines();
        assert!(moved.iter_mut().all(|line| to.line(line)));
        let [config_map, ship, binding, inner, cluster, workspace] = &moved[..] else {
            panic!("{moved:#?}")
        };
        let id = config_map["cluster"].as_str().unwrap();
        assert_ne!(id, "aaa");
        for line in &moved {
            let annotation = &line["object"]["metadata"]["annotations"]["kcp.io/cluster"];
            assert_eq!(*annotation, line["cluster"]);
            assert_ne!(
                line["object"]["metadata"]["uid"],
                format!("uid-{}", line["name"])
            );
        }
        assert_eq!(
            config_map["object"]["data"],
            json!({"path": "root:org", "c": "aaa"})
        );
        let owner = &config_map["object"]["metadata"]["ownerReferences"][0];
        assert_eq!(owner["uid"], to.uid("uid-owner"));
        assert_eq!(
            (&ship["identity"], &ship["cluster"]),
            (&json!("new-identity"), &json!(id))
        );
        assert_eq!(binding["object"]["status"], json!({}));
        assert_eq!(
            binding["object"]["metadata"]["labels"],
            json!({"mine": "x"})
        );
        assert_eq!(
            binding["object"]["spec"]["reference"]["export"]["path"],
            "root:p"
        );
        assert_eq!(
            inner["object"]["spec"]["reference"]["export"]["path"],
            "root:x:copy:team"
        );
        assert_eq!(
            cluster["object"]["metadata"]["annotations"]["kcp.io/path"],
            "root:x:copy"
        );
        let owner = json!({"cluster": "xxx", "name": "copy", "uid": workspace["object"]["metadata"]["uid"]});
        assert_eq!(cluster["object"]["spec"]["owner"], owner);
        assert_eq!(
            (&workspace["cluster"], &workspace["name"]),
            (&json!("xxx"), &json!("copy"))
        );
        assert_eq!(workspace["object"]["metadata"]["name"], "copy");
        let spec = json!({"cluster": id, "URL": "https://new:6443/clusters/root:x:copy"});
        assert_eq!(workspace["object"]["spec"], spec);
        // The same again, so that it can be begun again.
        let mut again = lines();
        assert!(again.iter_mut().all(|line| to.line(line)));
        assert_eq!(again, moved);
    }
}
