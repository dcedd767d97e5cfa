//! What there is to bring right. One queue holds the keys of all controllers, so that one logical
//! cluster has one turn, whatever keeps it busy.

use std::cmp::Ordering;
use std::sync::Arc;

use hanse_cache::{ClusterName, ObjectKey};

/// A key of one controller.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Key {
    /// A namespace: what it is born with, or its end.
    Namespace(ClusterName, Arc<str>),
    /// A CRD: names, establishment, or its end.
    Crd(ClusterName, Arc<str>),
    /// An object that names owners.
    Dependent(ObjectKey),
    /// What a uid owned that is gone.
    Owned(ClusterName, Arc<str>),
    /// An object being deleted that waits for its dependents, in the foreground or by orphaning.
    Owner(ObjectKey),
    /// The ClusterRoles of a logical cluster that aggregate others.
    Roles(ClusterName),
    /// A Secret that asks for a ServiceAccount's token.
    Token(ObjectKey),
    /// A certificate request.
    Certificate(ObjectKey),
    /// Expired Events, everywhere.
    Expiry,
}

impl Key {
    fn parts(&self) -> (u8, &str, &str, String) {
        match self {
            Key::Namespace(cluster, name) => (0, cluster, name, String::new()),
            Key::Crd(cluster, name) => (1, cluster, name, String::new()),
            Key::Roles(cluster) => (2, cluster, "", String::new()),
            Key::Dependent(key) => (3, &key.cluster, &key.name, key.path_with_resource()),
            Key::Owner(key) => (4, &key.cluster, &key.name, key.path_with_resource()),
            Key::Token(key) => (5, &key.cluster, &key.name, key.path_with_resource()),
            Key::Certificate(key) => (6, &key.cluster, &key.name, key.path_with_resource()),
            Key::Owned(cluster, uid) => (7, cluster, uid, String::new()),
            Key::Expiry => (8, "", "", String::new()),
        }
    }
}

trait Whole {
    fn path_with_resource(&self) -> String;
}

impl Whole for ObjectKey {
    fn path_with_resource(&self) -> String {
        format!("{}/{}", self.resource, self.path())
    }
}

impl Ord for Key {
    fn cmp(&self, other: &Self) -> Ordering {
        self.parts().cmp(&other.parts())
    }
}

impl PartialOrd for Key {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl hanse_reconcile::Key for Key {
    fn class(&self) -> Arc<str> {
        match self {
            Key::Namespace(cluster, _)
            | Key::Crd(cluster, _)
            | Key::Owned(cluster, _)
            | Key::Roles(cluster) => cluster.as_arc().clone(),
            Key::Dependent(key) | Key::Owner(key) | Key::Token(key) | Key::Certificate(key) => {
                key.cluster.as_arc().clone()
            }
            Key::Expiry => Arc::from(""),
        }
    }
}
