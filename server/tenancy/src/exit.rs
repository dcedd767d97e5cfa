//! What belongs together when something leaves an instance.
//!
//! Start at [`scope`] (which logical clusters a dump of a subtree holds), and [`Extent::rank`]
//! (in which order they come back). The order lets a restore run beside controllers: a
//! namespace comes after what is in it, so that nobody fills it first; a LogicalCluster after all
//! of its objects, and its Workspace last, which makes it visible. Deliberately elsewhere: the
//! lines of a dump and the objects themselves (`hanse-cache`).

use std::collections::BTreeSet;

use hanse_apis::kcp::{annotation, cluster, group};
use hanse_cache::{ClusterName, Hub, ListQuery, Object, ObjectKey, ResourceId, Scope};

/// What a dump holds.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Extent {
    /// Everything.
    Instance,
    /// A workspace with all that is below it.
    Subtree {
        /// Their logical clusters.
        clusters: BTreeSet<ClusterName>,
        /// The Workspace by which the subtree hangs in its parent.
        workspace: ObjectKey,
    },
}

impl Extent {
    /// Whether an object belongs to it.
    #[must_use]
    pub fn holds(&self, key: &ObjectKey) -> bool {
        match self {
            Self::Instance => true,
            Self::Subtree {
                clusters,
                workspace,
            } => key == workspace || clusters.contains(&key.cluster),
        }
    }

    /// The place of an object in the order of a restore.
    #[must_use]
    pub fn rank(&self, object: &Object) -> u32 {
        let key = object.key();
        let is_top = matches!(self, Self::Subtree { workspace, .. } if key == workspace);
        match () {
            () if is_top => 4,
            () if is(&key.resource, group::TENANCY, "workspaces") => 3,
            () if is(&key.resource, group::CORE, "logicalclusters") => 2,
            () if is(&key.resource, "", "namespaces") => 1,
            () => 0,
        }
    }
}

fn is(key: &ResourceId, group: &str, resource: &str) -> bool {
    key.group() == group && key.resource() == resource
}

/// All objects of a resource, whatever its identity.
pub(crate) fn all(hub: &Hub, group: &str, resource: &str) -> Vec<Object> {
    let resources = hub
        .resources()
        .into_iter()
        .filter(|id| is(id, group, resource));
    let lists = resources.map(|id| hub.list(&id, &Scope::Wildcard, &ListQuery::default()));
    lists.flatten().flat_map(|page| page.objects).collect()
}

/// The extent of a workspace's path; `*` is the instance. `None` when there is no such workspace,
/// or when it is the root, which is no part of anything.
#[must_use]
pub fn scope(hub: &Hub, path: &str) -> Option<Extent> {
    if path == "*" {
        return Some(Extent::Instance);
    }
    let below = format!("{path}:");
    let (mut clusters, mut top) = (BTreeSet::new(), None);
    for object in all(hub, group::CORE, "logicalclusters") {
        match object.annotation(annotation::PATH).as_deref() {
            Some(own) if own == path => top = Some(object.key().cluster.clone()),
            Some(own) if own.starts_with(&below) => {}
            _ => continue,
        }
        clusters.insert(object.key().cluster.clone());
    }
    let top = top?;
    let workspaces = all(hub, group::TENANCY, "workspaces");
    let hangs = |object: &&Object| {
        object.text(&["spec", "cluster"]).as_deref() == Some(&*top)
            && !clusters.contains(&object.key().cluster)
    };
    let workspace = workspaces.iter().find(hangs)?.key().clone();
    Some(Extent::Subtree {
        clusters,
        workspace,
    })
}

/// The instance's name: the uid of its root. A subtree comes back only into the instance from
/// which it came, since its bindings name exports of this instance by their identities.
#[must_use]
pub fn instance(hub: &Hub) -> Option<String> {
    let roots = all(hub, group::CORE, "logicalclusters");
    let root = roots
        .into_iter()
        .find(|object| &*object.key().cluster == cluster::ROOT)?;
    Some(root.uid().to_owned())
}
