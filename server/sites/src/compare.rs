//! The hub's half of the hash tree (rule 5): one for each inbox, kept as Manifests change.
//!
//! Start at [`Sites::compare`], which answers a syncer whose cursor the log has forgotten, and at
//! [`Sites::root`], which every sign of life is compared with. Invariant: a tree holds exactly the
//! Manifests of the version up to which events were taken.

use std::collections::BTreeMap;

use hanse_apis::sites::{ComparisonBucket, ComparisonLeaf, ComparisonStatus};
use hanse_cache::{ClusterName, Event, ListQuery, Object, ReadError, Scope};
use hanse_projection::tree::{Leaf, Tree, differing};

use crate::limits::COMPARED;
use crate::run::Sites;

/// The trees of all inboxes.
#[derive(Default)]
pub struct Trees {
    of: BTreeMap<ClusterName, Tree>,
    /// What they hold already.
    version: u64,
}

fn leaf(manifest: &Object) -> Leaf {
    let text = |path: &[&str]| manifest.text(path).unwrap_or_default();
    Leaf::new(
        &manifest.key().name,
        manifest.uid(),
        &text(&["spec", "hash"]),
        manifest.is_deleting(),
        &text(&["status", "digest"]),
    )
}

impl Sites {
    /// Plants the trees anew, out of all that there is.
    pub(crate) fn plant(&self) {
        let hub = self.tenancy.view().hub();
        let all = hub.list(&self.ids.manifests, &Scope::Wildcard, &ListQuery::default());
        let Ok(page) = all else {
            return;
        };
        let mut trees = Trees {
            version: page.version,
            ..Trees::default()
        };
        for manifest in &page.objects {
            let key = manifest.key();
            let tree = trees.of.entry(key.cluster.clone()).or_default();
            tree.add(&key.name, leaf(manifest));
        }
        *self.trees.lock() = trees;
    }

    /// Takes in what happened to a Manifest.
    pub(crate) fn grow(&self, event: &Event) {
        let mut trees = self.trees.lock();
        if event.version() <= trees.version {
            return;
        }
        trees.version = event.version();
        let key = event.object().key();
        let tree = trees.of.entry(key.cluster.clone()).or_default();
        if let Some(previous) = event.previous() {
            tree.remove(&key.name, leaf(previous));
        }
        if !event.is_delete() {
            tree.add(&key.name, leaf(event.object()));
        }
        if *tree == Tree::default() {
            trees.of.remove(&key.cluster);
        }
    }

    /// The root of an inbox's tree.
    pub(crate) fn root(&self, inbox: &ClusterName) -> String {
        let trees = self.trees.lock();
        trees.of.get(inbox).cloned().unwrap_or_default().root()
    }

    /// What an inbox holds in the buckets that differ from these.
    ///
    /// # Errors
    /// The hub cannot read.
    pub fn compare(
        &self,
        inbox: &ClusterName,
        theirs: &[String],
    ) -> Result<ComparisonStatus, ReadError> {
        let hub = self.tenancy.view().hub();
        let scope = Scope::Cluster(inbox.clone());
        let page = hub.list(&self.ids.manifests, &scope, &ListQuery::default())?;
        let mut tree = Tree::default();
        for manifest in &page.objects {
            tree.add(&manifest.key().name, leaf(manifest));
        }
        let leaves = page.objects.iter().map(|m| (&*m.key().name, leaf(m)));
        let rows = differing(leaves, theirs);
        let told: usize = rows.values().map(Vec::len).sum();
        let buckets = rows.into_iter().map(|(bucket, leaves)| ComparisonBucket {
            bucket: i64::try_from(bucket).unwrap_or_default(),
            leaves: leaves
                .into_iter()
                .map(|(name, leaf)| ComparisonLeaf {
                    name: name.to_owned(),
                    digest: leaf.text(),
                })
                .collect(),
        });
        let more = told > COMPARED;
        Ok(ComparisonStatus {
            version: page.version.to_string(),
            root: tree.root(),
            buckets: if more { Vec::new() } else { buckets.collect() },
            more,
        })
    }
}
