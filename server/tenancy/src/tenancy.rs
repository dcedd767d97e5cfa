//! What all of tenancy shares: the shard's own data, and the rooms below.

use crate::bind::Binder;
use crate::objects::Maker;
use hanse_admission::Admission;
use hanse_auth::{Authorizer, View};
use hanse_cache::{CommitError, Committed, Write};
use std::sync::Arc;

/// This shard, as the world sees it.
#[derive(Clone, Debug)]
pub struct ShardConfig {
    /// Its name.
    pub name: String,
    /// Where other shards reach it.
    pub base_url: String,
    /// Where clients reach it.
    pub external_url: String,
    /// Where the virtual workspaces are.
    pub virtual_workspace_url: String,
    /// Authority of its serving certificate (PEM), for `kube-root-ca.crt`.
    pub ca_pem: String,
    /// What comes with it: `workspace-types` for the types `organization` and `team`.
    pub batteries: Vec<String>,
    /// Groups whose members may have a home workspace.
    pub home_creator_groups: Vec<String>,
}

impl ShardConfig {
    /// URL of a logical cluster by id.
    #[must_use]
    pub fn cluster_url(&self, cluster: &str) -> String {
        format!("{}/clusters/{cluster}", self.external_url)
    }

    /// URL of a workspace by path.
    #[must_use]
    pub fn path_url(&self, path: &str) -> String {
        format!("{}/clusters/{path}", self.external_url)
    }

    /// URL of the APIExport view of an export.
    #[must_use]
    pub fn export_url(&self, cluster: &str, export: &str) -> String {
        format!(
            "{}/services/apiexport/{cluster}/{export}",
            self.virtual_workspace_url
        )
    }
}

/// Tenancy of one shard. Cheap to share.
pub struct Tenancy {
    admission: Arc<Admission>,
    shard: ShardConfig,
    maker: Maker,
    binder: Binder,
}

impl Tenancy {
    /// Puts the parts together; nothing runs and nothing is written yet.
    #[must_use]
    pub fn new(admission: Arc<Admission>, shard: ShardConfig, maker: Maker) -> Tenancy {
        let binder = Binder::new(admission.view().clone());
        Tenancy {
            admission,
            shard,
            maker,
            binder,
        }
    }

    /// Admission.
    #[must_use]
    pub fn admission(&self) -> &Arc<Admission> {
        &self.admission
    }

    /// Authorization.
    #[must_use]
    pub fn authorizer(&self) -> &Arc<Authorizer> {
        self.admission.authorizer()
    }

    /// The present.
    #[must_use]
    pub fn view(&self) -> &Arc<View> {
        self.admission.view()
    }

    /// This shard.
    #[must_use]
    pub fn shard(&self) -> &ShardConfig {
        &self.shard
    }

    /// Makes objects.
    #[must_use]
    pub fn maker(&self) -> &Maker {
        &self.maker
    }

    /// Makes offers of exports.
    #[must_use]
    pub fn binder(&self) -> &Binder {
        &self.binder
    }

    /// Commits writes that belong together, in order; more than the store takes at once go in
    /// several commits, so the write that makes them visible must be the last.
    ///
    /// # Errors
    /// That of the hub.
    pub async fn commit(&self, writes: Vec<Write>) -> Result<Option<Committed>, CommitError> {
        let hub = self.view().hub();
        let mut last = None;
        for txn in hanse_cache::split(writes, hub.limits()) {
            last = Some(hub.commit(txn).await?);
        }
        Ok(last)
    }
}
