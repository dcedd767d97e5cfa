//! Secrets of type `kubernetes.io/service-account-token`, filled and ended with their account
//! (SA-09). No such Secret is ever made by the server itself (SA-01).

use std::borrow::Cow;

use hanse_auth::token::{Private, Reference};
use hanse_cache::{DocumentError, Object, ObjectKey, ResourceId};
use hanse_json::{Value, get_str, json};
use hanse_wire::base64;

use crate::plan::{Plan, World, delete, restate_with};

const TYPE: &str = "kubernetes.io/service-account-token";
const ACCOUNT: &str = "kubernetes.io/service-account.name";
const ACCOUNT_UID: &str = "kubernetes.io/service-account.uid";

/// Where Secrets are stored.
pub fn secrets() -> ResourceId {
    ResourceId::new("", "secrets", "")
}

/// Is it a Secret that asks for a token?
pub fn is_token(secret: &Object) -> bool {
    secret.field("type") == Some(TYPE)
}

/// The account whose token a Secret asks for.
pub fn account_of(secret: &Object) -> Option<Cow<'_, str>> {
    if is_token(secret) {
        secret.annotation(ACCOUNT)
    } else {
        None
    }
}

/// Brings a token Secret right.
pub fn reconcile(world: &World<'_>, key: &ObjectKey) -> Result<Plan, DocumentError> {
    let Some(secret) = world.hub.get(key).filter(|s| !s.is_deleting()) else {
        return Ok(Plan::done());
    };
    let Some(name) = account_of(&secret).map(Cow::into_owned) else {
        return Ok(Plan::done());
    };
    let accounts = ResourceId::new("", "serviceaccounts", "");
    let account = ObjectKey::new(&accounts, &key.cluster, key.namespace.clone(), name.clone());
    let mut value = secret.value();
    let meant = get_str(&value, &["metadata", "annotations", ACCOUNT_UID]).map(str::to_owned);
    let account = match world.hub.get(&account) {
        Some(account) if meant.as_deref().is_none_or(|uid| uid == account.uid()) => account,
        // A Secret that was never filled waits for its account; a filled one goes with it.
        found => {
            let orphaned = meant.is_some() || found.is_some();
            let write = if orphaned {
                delete(world, &secret, None)?
            } else {
                None
            };
            return Ok(Plan::batches(world.hub, write.into_iter().collect()));
        }
    };
    if !fill(world, &mut value, key, &account) {
        return Ok(Plan::done());
    }
    let write = restate_with(&secret, &value, &[("type", TYPE)])?;
    Ok(Plan::batches(world.hub, vec![write]))
}

/// Writes what is missing; answers whether anything was.
fn fill(world: &World<'_>, value: &mut Value, key: &ObjectKey, account: &Object) -> bool {
    let mut changed = false;
    let mut put = |value: &mut Value, path: &[&str], text: String| {
        if get_str(value, path) != Some(text.as_str()) {
            hanse_json::set(value, path, json!(text));
            changed = true;
        }
    };
    put(
        value,
        &["metadata", "annotations", ACCOUNT_UID],
        account.uid().to_owned(),
    );
    put(
        value,
        &["data", "ca.crt"],
        base64::encode(world.config.root_ca.as_bytes()),
    );
    put(
        value,
        &["data", "namespace"],
        base64::encode(key.namespace.as_bytes()),
    );
    if get_str(value, &["data", "token"]).is_none_or(str::is_empty) {
        let private = Private {
            cluster: key.cluster.to_string(),
            namespace: key.namespace.to_string(),
            serviceaccount: Reference {
                name: account.key().name.to_string(),
                uid: account.uid().to_owned(),
            },
            ..Private::default()
        };
        match world.config.signer.mint_legacy(&private, &key.name) {
            Ok(token) => put(value, &["data", "token"], base64::encode(token.as_bytes())),
            Err(error) => tracing::error!(%error, "a ServiceAccount token cannot be signed"),
        }
    }
    changed
}
