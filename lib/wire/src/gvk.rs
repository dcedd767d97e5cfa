//! Names of groups, versions, kinds and resources, cheap to clone.
//!
//! [`SmolStr`] keeps up to 23 bytes in place and shares longer ones, so none of these types costs
//! more than a reference count to pass on. Display is what Kubernetes prints in messages.

use std::fmt;

pub use smol_str::SmolStr;

/// `apps/v1`, or `v1` for the core group.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct GroupVersion {
    /// Empty for the core group.
    pub group: SmolStr,
    /// Such as `v1`.
    pub version: SmolStr,
}

impl GroupVersion {
    /// From its two parts.
    pub fn new(group: impl Into<SmolStr>, version: impl Into<SmolStr>) -> Self {
        GroupVersion {
            group: group.into(),
            version: version.into(),
        }
    }

    /// Reads an `apiVersion`. `None` if it has more than one slash.
    pub fn parse(api_version: &str) -> Option<Self> {
        match api_version.split_once('/') {
            None => Some(GroupVersion::new("", api_version)),
            Some((group, version)) if !version.contains('/') => {
                Some(GroupVersion::new(group, version))
            }
            Some(_) => None,
        }
    }

    /// The kind of this name in this group and version.
    pub fn kind(&self, kind: impl Into<SmolStr>) -> GroupVersionKind {
        GroupVersionKind {
            group: self.group.clone(),
            version: self.version.clone(),
            kind: kind.into(),
        }
    }

    /// The resource of this plural name in this group and version.
    pub fn resource(&self, resource: impl Into<SmolStr>) -> GroupVersionResource {
        GroupVersionResource {
            group: self.group.clone(),
            version: self.version.clone(),
            resource: resource.into(),
        }
    }
}

impl fmt::Display for GroupVersion {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if !self.group.is_empty() {
            write!(f, "{}/", self.group)?;
        }
        f.write_str(&self.version)
    }
}

/// A kind in a group and version.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct GroupVersionKind {
    /// Empty for the core group.
    pub group: SmolStr,
    /// Such as `v1`.
    pub version: SmolStr,
    /// Such as `ConfigMap`.
    pub kind: SmolStr,
}

impl GroupVersionKind {
    /// From its three parts.
    pub fn new(
        group: impl Into<SmolStr>,
        version: impl Into<SmolStr>,
        kind: impl Into<SmolStr>,
    ) -> Self {
        GroupVersionKind {
            group: group.into(),
            version: version.into(),
            kind: kind.into(),
        }
    }

    /// Without the kind.
    pub fn group_version(&self) -> GroupVersion {
        GroupVersion {
            group: self.group.clone(),
            version: self.version.clone(),
        }
    }

    /// Without the version.
    pub fn group_kind(&self) -> GroupKind {
        GroupKind {
            group: self.group.clone(),
            kind: self.kind.clone(),
        }
    }

    /// The `apiVersion` of objects of this kind.
    pub fn api_version(&self) -> String {
        self.group_version().to_string()
    }
}

impl fmt::Display for GroupVersionKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}, Kind={}", self.group, self.version, self.kind)
    }
}

/// A kind in a group, whatever the version.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct GroupKind {
    /// Empty for the core group.
    pub group: SmolStr,
    /// Such as `ConfigMap`.
    pub kind: SmolStr,
}

impl GroupKind {
    /// From its two parts.
    pub fn new(group: impl Into<SmolStr>, kind: impl Into<SmolStr>) -> Self {
        GroupKind {
            group: group.into(),
            kind: kind.into(),
        }
    }
}

impl fmt::Display for GroupKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.kind)?;
        if !self.group.is_empty() {
            write!(f, ".{}", self.group)?;
        }
        Ok(())
    }
}

/// A resource in a group, whatever the version: how messages name resources.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct GroupResource {
    /// Empty for the core group.
    pub group: SmolStr,
    /// The plural name, such as `configmaps`.
    pub resource: SmolStr,
}

impl GroupResource {
    /// From its two parts.
    pub fn new(group: impl Into<SmolStr>, resource: impl Into<SmolStr>) -> Self {
        GroupResource {
            group: group.into(),
            resource: resource.into(),
        }
    }

    /// Whether it names nothing.
    pub fn is_empty(&self) -> bool {
        self.group.is_empty() && self.resource.is_empty()
    }
}

impl fmt::Display for GroupResource {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.resource)?;
        if !self.group.is_empty() {
            write!(f, ".{}", self.group)?;
        }
        Ok(())
    }
}

/// A resource in a group and version.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct GroupVersionResource {
    /// Empty for the core group.
    pub group: SmolStr,
    /// Such as `v1`.
    pub version: SmolStr,
    /// The plural name, such as `configmaps`.
    pub resource: SmolStr,
}

impl GroupVersionResource {
    /// From its three parts.
    pub fn new(
        group: impl Into<SmolStr>,
        version: impl Into<SmolStr>,
        resource: impl Into<SmolStr>,
    ) -> Self {
        GroupVersionResource {
            group: group.into(),
            version: version.into(),
            resource: resource.into(),
        }
    }

    /// Without the resource.
    pub fn group_version(&self) -> GroupVersion {
        GroupVersion {
            group: self.group.clone(),
            version: self.version.clone(),
        }
    }

    /// Without the version.
    pub fn group_resource(&self) -> GroupResource {
        GroupResource {
            group: self.group.clone(),
            resource: self.resource.clone(),
        }
    }
}

impl fmt::Display for GroupVersionResource {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{}/{}, Resource={}",
            self.group, self.version, self.resource
        )
    }
}
