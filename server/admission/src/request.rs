//! What admission is asked.

use hanse_auth::UserInfo;
use hanse_wire::gvk::GroupResource;
use hanse_wire::status::Status;
use serde_json::{Map, Value};
use std::fmt::Display;

/// What a request does to an object.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Operation {
    /// POST, or a PUT or apply that creates.
    Create,
    /// PUT, PATCH.
    Update,
    /// DELETE, also of each object of a collection.
    Delete,
}

/// One write on its way in.
#[derive(Debug)]
pub struct Request<'a> {
    /// What it does.
    pub operation: Operation,
    /// Logical cluster.
    pub cluster: &'a str,
    /// API group; empty for core.
    pub group: &'a str,
    /// Version in which the object is written.
    pub version: &'a str,
    /// Plural.
    pub resource: &'a str,
    /// Subresource; empty if none.
    pub subresource: &'a str,
    /// Kind.
    pub kind: &'a str,
    /// Identity of the export that provides the resource; empty if none does.
    pub identity: &'a str,
    /// Namespace; empty for cluster-scoped ones.
    pub namespace: &'a str,
    /// Name of the object; empty for a create that has none yet.
    pub name: &'a str,
    /// Who writes.
    pub user: &'a UserInfo,
    /// Nothing is stored.
    pub dry_run: bool,
    /// What it shall be; none for deletions.
    pub object: Option<&'a mut Value>,
    /// What it is; none for creations.
    pub old: Option<&'a Value>,
}

impl Request<'_> {
    /// True for requests on this resource itself or one of its subresources.
    #[must_use]
    pub fn is(&self, group: &str, resource: &str) -> bool {
        self.group == group && self.resource == resource
    }

    /// The refusal of a plugin.
    #[must_use]
    pub fn forbidden(&self, why: impl Display) -> Box<Status> {
        Status::forbidden(&self.group_resource(), self.name, &why.to_string())
    }

    /// Group and resource.
    #[must_use]
    pub fn group_resource(&self) -> GroupResource {
        GroupResource::new(self.group, self.resource)
    }

    /// The object, to look at.
    #[must_use]
    pub fn new_object(&self) -> &Value {
        self.object.as_deref().unwrap_or(&Value::Null)
    }

    /// The object as it was, to look at.
    #[must_use]
    pub fn old_object(&self) -> &Value {
        self.old.unwrap_or(&Value::Null)
    }

    /// True if the writer is in `system:masters`.
    #[must_use]
    pub fn is_master(&self) -> bool {
        self.user.is_master()
    }

    /// Annotations of the object, made if there are none.
    pub(crate) fn annotations_mut(&mut self) -> Option<&mut Map<String, Value>> {
        metadata_map(self.object.as_deref_mut()?, "annotations")
    }
}

/// A map in the metadata of an object, made if it is not there.
pub(crate) fn metadata_map<'a>(
    object: &'a mut Value,
    key: &str,
) -> Option<&'a mut Map<String, Value>> {
    let empty = || Value::Object(Map::new());
    let meta = object
        .as_object_mut()?
        .entry("metadata")
        .or_insert_with(empty);
    let map = meta.as_object_mut()?.entry(key).or_insert_with(empty);
    if map.is_null() {
        *map = empty();
    }
    map.as_object_mut()
}

/// The string at a path of an object; empty if there is none.
pub(crate) fn text<'a>(object: &'a Value, path: &[&str]) -> &'a str {
    let found = path.iter().try_fold(object, |value, key| value.get(key));
    found.and_then(Value::as_str).unwrap_or_default()
}

/// The list at a path of an object; empty if there is none.
pub(crate) fn list<'a>(object: &'a Value, path: &[&str]) -> &'a [Value] {
    let found = path.iter().try_fold(object, |value, key| value.get(key));
    found
        .and_then(Value::as_array)
        .map(Vec::as_slice)
        .unwrap_or_default()
}

/// The strings of the list at a path, as a set.
pub(crate) fn set<'a>(object: &'a Value, path: &[&str]) -> std::collections::BTreeSet<&'a str> {
    list(object, path)
        .iter()
        .filter_map(Value::as_str)
        .collect()
}

/// An annotation of an object; empty if there is none.
pub(crate) fn annotation<'a>(object: &'a Value, key: &str) -> &'a str {
    text(object, &["metadata", "annotations", key])
}
