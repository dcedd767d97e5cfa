//! What the room needs in `root`: its schemas, its export, who may bind it, the type of inboxes.
//!
//! Runs at every start after the shard's own bootstrap. A store that an older server made is
//! brought up to date: schemas are named by their content, so new ones are added beside the old,
//! the export names them and all bindings follow; roles get the rules that they lack. Everything
//! else that exists is left alone.

use hanse_apis::kcp::conditions as condition;
use hanse_apis::kcp::{cluster, group};
use hanse_apis::sites::kinds;
use hanse_cache::{ClusterName, CommitError, Object, ResourceId};
use hanse_rules::conditions::{self, State};
use hanse_rules::hash;
use hanse_tenancy::{Draft, Tenancy, exports, objects, restore, workspace_types};
use serde_json::Value;

use crate::turn::Turn;

/// Bytes of an identity before encoding.
const IDENTITY_BYTES: usize = 32;

fn internal(error: impl std::fmt::Display) -> CommitError {
    CommitError::Unavailable(error.to_string().into())
}

/// Makes sure that the first objects are there.
///
/// # Errors
/// The store refuses.
pub async fn bootstrap(tenancy: &Tenancy) -> Result<(), CommitError> {
    let root = ClusterName::from(cluster::ROOT);
    let of = tenancy.view().resources().clone();
    let mut turn = Turn::default();
    for kind in kinds::KINDS {
        let draft = Draft::new(&of.api_resource_schemas, first(kind.api_resource_schema()));
        ensure(tenancy, &mut turn, &root, draft)?;
    }
    for row in kinds::root_rbac() {
        let resource = match row["kind"].as_str() {
            Some("ClusterRole") => &of.cluster_roles,
            _ => &of.cluster_role_bindings,
        };
        let draft = Draft::new(resource, row);
        let Some(found) = find(tenancy, resource, "", draft.name()) else {
            ensure(tenancy, &mut turn, &root, draft)?;
            continue;
        };
        let mut value = found.value();
        if restore(&mut value, &draft.value) {
            turn.update(tenancy.maker(), &found, &value)
                .map_err(internal)?;
        }
    }
    export(tenancy, &mut turn, &root)?;
    tenancy.commit(turn.writes).await?;
    let mut turn = Turn::default();
    if let Some(export) = find(tenancy, &of.api_exports, "", kinds::api_export_name()) {
        let draft = objects::endpoint_slice(&of, &export, cluster::ROOT);
        ensure(tenancy, &mut turn, &root, draft)?;
    }
    if let Some(ids) = tenancy.view().tenancy() {
        let mut value = first(kinds::inbox_type());
        let name = value["metadata"]["name"]
            .as_str()
            .unwrap_or_default()
            .to_owned();
        let now = tenancy.maker().now();
        workspace_types::set_urls(&mut value, tenancy.shard(), cluster::ROOT, &name, &now);
        ensure(
            tenancy,
            &mut turn,
            &root,
            Draft::new(&ids.workspace_types, value),
        )?;
    }
    tenancy.commit(turn.writes).await?;
    Ok(())
}

fn first(mut row: Value) -> Value {
    row["metadata"]["generation"] = 1.into();
    row
}

fn find(tenancy: &Tenancy, resource: &ResourceId, namespace: &str, name: &str) -> Option<Object> {
    tenancy.view().get(resource, cluster::ROOT, namespace, name)
}

fn ensure(
    tenancy: &Tenancy,
    turn: &mut Turn,
    root: &ClusterName,
    draft: Draft,
) -> Result<(), CommitError> {
    if find(tenancy, &draft.resource, &draft.namespace, draft.name()).is_some() {
        return Ok(());
    }
    turn.create(tenancy.maker(), root, draft).map_err(internal)
}

/// The export with its identity.
fn export(tenancy: &Tenancy, turn: &mut Turn, root: &ClusterName) -> Result<(), CommitError> {
    let of = tenancy.view().resources();
    let mut row = first(kinds::api_export());
    let name = kinds::api_export_name();
    if let Some(found) = find(tenancy, &of.api_exports, "", name) {
        let mut value = found.value();
        if value["spec"]["resources"] != row["spec"]["resources"] {
            value["spec"]["resources"] = row["spec"]["resources"].take();
            let generation = value["metadata"]["generation"].as_i64().unwrap_or(1);
            value["metadata"]["generation"] = (generation + 1).into();
            turn.update(tenancy.maker(), &found, &value)
                .map_err(internal)?;
        }
        return Ok(());
    }
    let mut bytes = [0; IDENTITY_BYTES];
    tenancy.maker().seams().rng.fill(&mut bytes);
    let fresh = exports::identity_text(&bytes);
    let secret = objects::identity_secret(of, name, &fresh);
    let key = match find(tenancy, &of.secrets, &secret.namespace, name) {
        Some(found) => {
            let packed = found
                .text(&["data", "key"])
                .unwrap_or_default()
                .into_owned();
            hanse_wire::base64::decode(&packed).map_err(|e| internal(format!("{e:?}")))?
        }
        None => {
            turn.create(tenancy.maker(), root, secret)
                .map_err(internal)?;
            fresh.into_bytes()
        }
    };
    row["status"]["identityHash"] = hash::identity_hash(&key).into();
    let now = tenancy.maker().now();
    conditions::set(&mut row, condition::IDENTITY_VALID, &State::True, &now);
    debug_assert_eq!(row["apiVersion"], format!("{}/v1alpha2", group::APIS));
    turn.create(tenancy.maker(), root, Draft::new(&of.api_exports, row))
        .map_err(internal)
}
