//! Home workspaces: `GET .../workspaces/~` in `root` makes one and shows it.
//!
//! There is no Workspace object behind it, only a logical cluster whose id follows from the user's
//! name; what the client gets is made up from that.

use crate::birth::Plan;
use crate::tenancy::Tenancy;
use hanse_apis::kcp::{ACCESS_NOT_PERMITTED, cluster, group, phase};
use hanse_auth::{Attributes, UserInfo};
use hanse_cache::{ClusterName, CommitError, Object};
use hanse_rules::hash;
use hanse_rules::types::TypeRef;
use hanse_wire::gvk::GroupResource;
use hanse_wire::status::{Result, Status};
use serde_json::{Value, json};

/// Name in the URL that stands for the caller's own workspace.
pub const HOME_NAME: &str = "~";
/// How long a home may take to become ready before that is an error.
const PATIENCE_MICROS: i64 = 60_000_000;
/// Seconds until a client asks again.
const RETRY_SECONDS: u32 = 1;

impl Tenancy {
    /// The home workspace of a user, made on the first call.
    ///
    /// # Errors
    /// 403 without the permission to create it, 429 while it is not ready, 500 if the type
    /// `root:home` is broken or the store refuses.
    pub async fn home(&self, user: &UserInfo) -> Result<Value> {
        let id = ClusterName::from(hash::home_cluster_id(&user.name));
        if self.view().logical_cluster(&id).is_none() {
            self.make_home(user, &id).await?;
        }
        let waits = || Status::too_many_requests("Creating the home workspace", RETRY_SECONDS);
        let object = self.view().logical_cluster(&id).ok_or_else(waits)?;
        if let Some(shown) = shown(&object) {
            return Ok(shown);
        }
        let made = object.text(&["metadata", "creationTimestamp"]);
        let made = made.and_then(|text| hanse_wire::time::parse(&text));
        let now = self.maker().seams().clock.wall().as_micros();
        let age = i64::try_from(now).unwrap_or(i64::MAX) - made.unwrap_or_default();
        Err(match age > PATIENCE_MICROS {
            true => Status::internal("home workspace is not ready after a minute"),
            false => waits(),
        })
    }

    async fn make_home(&self, user: &UserInfo, id: &ClusterName) -> Result<()> {
        let want = Attributes::resource(user, "create", group::TENANCY, "workspaces", HOME_NAME);
        if !self
            .authorizer()
            .authorize(&want, Some(cluster::ROOT))
            .allowed
        {
            let resource = GroupResource::new(group::TENANCY, "workspaces");
            return Err(Status::forbidden(
                &resource,
                HOME_NAME,
                ACCESS_NOT_PERMITTED,
            ));
        }
        let home = TypeRef {
            path: cluster::ROOT.to_owned(),
            name: "home".to_owned(),
        };
        let missing = || Status::internal("workspacetypes.tenancy.kcp.io \"root:home\" not found");
        let home = self.view().workspace_type(&home).ok_or_else(missing)?;
        let plan = Plan {
            cluster: id.clone(),
            path: format!("user:{}", user.name),
            types: self.view().resolve_type(home).map_err(Status::internal)?,
            owner: Some(user.owner_annotation()),
            required_groups: None,
            spec_owner: None,
        };
        let now = self.maker().now();
        let newborn = self.newborn(&plan, &now).map_err(Status::internal)?;
        match self.commit(newborn.writes).await {
            // Two first calls at once: both are fine with whoever came first.
            Ok(_) | Err(CommitError::Conflict { .. }) => Ok(()),
            Err(error) => Err(Status::internal(error)),
        }
    }
}

/// The Workspace that a ready home looks like.
fn shown(object: &Object) -> Option<Value> {
    let value = object.value();
    if value["status"]["phase"] != phase::READY {
        return None;
    }
    let mut status = json!({"phase": value["status"]["phase"]});
    for field in ["conditions", "initializers"] {
        if let Some(list) = value["status"].get(field) {
            status[field] = list.clone();
        }
    }
    Some(json!({
        "apiVersion": "tenancy.kcp.io/v1alpha1", "kind": "Workspace",
        "metadata": {
            "name": cluster::OBJECT_NAME,
            "creationTimestamp": value["metadata"]["creationTimestamp"],
        },
        "spec": {"URL": value["status"]["URL"], "cluster": &*object.key().cluster},
        "status": status,
    }))
}
