//! Pods' way to the workspace's API: short-lived tokens, brought and renewed (rule 9).
//!
//! Start at [`ensure`]. The hub mints a token for a ServiceAccount that the Manifest names; here
//! it is put, with the address, into one Secret for each account of a namespace, which Pods see
//! through a projected volume. Invariant: a token is renewed after four fifths of its life and
//! never outlives it; while the hub is away the last one stays.

use std::sync::Arc;
use std::time::Duration;

use hanse_apis::sites::{Access, ApplyError, ManifestSpec, names};
use hanse_client::{Error, Resource};
use hanse_projection::access::{content, secret_name};
use hanse_reconcile::Outcome;
use serde_json::{Map, Value, json};

use crate::agent::Shared;
use crate::failure::short;
use crate::inbox::manifests;
use crate::limits::TOKEN_RETRY;

/// Annotation on the Secret below: when its token ends.
const EXPIRES: &str = "sites.hanse.dev/expires";

fn secrets() -> Resource {
    Resource::new("", "v1", "secrets")
}

/// Renews the tokens of one object in time.
pub async fn reconcile(shared: Arc<Shared>, name: Arc<str>) -> Outcome {
    let removing = shared.table.lock().get(&name).map(|e| e.standing.removing);
    let intent = shared.journal.intent(&name).ok().flatten();
    let spec = intent.and_then(|bytes| serde_json::from_slice::<ManifestSpec>(&bytes).ok());
    let Some(spec) = spec.filter(|spec| removing == Some(false) && spec.access.is_given()) else {
        return Outcome::Done;
    };
    match ensure(&shared, &name, &spec).await {
        Ok(()) => Outcome::Again(next(&shared, &spec).max(TOKEN_RETRY)),
        Err(error) => {
            tracing::debug!(%name, error.message, "a token was not renewed");
            Outcome::Again(TOKEN_RETRY)
        }
    }
}

/// How long the tokens of an object are good without a look.
fn next(shared: &Shared, spec: &ManifestSpec) -> Duration {
    let now = shared.seams.clock.monotonic();
    let tokens = shared.tokens.lock();
    let due = spec.access.accounts.iter().map(|account| {
        let key = (spec.target.namespace.clone(), account.clone());
        tokens.get(&key).copied().unwrap_or_default()
    });
    due.min().unwrap_or_default().saturating_sub(now)
}

/// Makes sure that the Pods of an object find their tokens.
///
/// # Errors
/// Why there is none, for an account that has none that is still good.
pub async fn ensure(
    shared: &Shared,
    name: &str,
    spec: &ManifestSpec,
) -> Result<(), Box<ApplyError>> {
    for account in &spec.access.accounts {
        let key = (spec.target.namespace.clone(), account.clone());
        let now = shared.seams.clock.monotonic();
        let due = shared.tokens.lock().get(&key).copied();
        if due.is_some_and(|due| now < due) {
            continue;
        }
        let left = match known(shared, &key.0, account).await {
            Ok(left) => left,
            Err(error) => return Err(refused(account, &error)),
        };
        let renewed_at = life(&spec.access) / 5;
        let left = match left {
            Some(left) if left > renewed_at => left,
            old => match renew(shared, name, spec, account).await {
                Ok(left) => left,
                // The old one is good for a while yet.
                Err(_) if old.is_some_and(|left| !left.is_zero()) => continue,
                Err(error) => return Err(refused(account, &error)),
            },
        };
        let due = now + left.saturating_sub(renewed_at);
        shared.tokens.lock().insert(key, due);
    }
    Ok(())
}

fn refused(account: &str, error: &Error) -> Box<ApplyError> {
    Box::new(ApplyError {
        reason: if error.code() == 0 {
            "Unreachable"
        } else {
            "NoToken"
        }
        .into(),
        message: short(&format!("no token for serviceaccounts/{account}: {error}")),
        ..ApplyError::default()
    })
}

fn life(access: &Access) -> Duration {
    Duration::from_secs(u64::try_from(access.seconds).unwrap_or(0))
}

/// How long the token that stands below is still good; `None` when there is none.
async fn known(shared: &Shared, namespace: &str, account: &str) -> Result<Option<Duration>, Error> {
    let found = shared
        .site
        .find(&secrets(), namespace, &secret_name(account))
        .await?;
    let Some(found) = found else {
        return Ok(None);
    };
    let ends = found["metadata"]["annotations"][EXPIRES].as_str();
    Ok(ends.and_then(|text| until(shared, text)))
}

/// How long it is until a moment.
fn until(shared: &Shared, text: &str) -> Option<Duration> {
    let at = u64::try_from(hanse_wire::time::parse(text)?).ok()?;
    Some(Duration::from_micros(at).saturating_sub(shared.seams.clock.wall()))
}

async fn renew(
    shared: &Shared,
    name: &str,
    spec: &ManifestSpec,
    account: &str,
) -> Result<Duration, Error> {
    let audiences = match spec.access.audience.as_str() {
        "" => json!([]),
        audience => json!([audience]),
    };
    let request = json!({
        "apiVersion": "authentication.k8s.io/v1", "kind": "TokenRequest",
        "metadata": {"name": account, "namespace": spec.source.namespace},
        "spec": {"audiences": audiences, "expirationSeconds": spec.access.seconds},
    });
    let path = format!("{}/{name}/token", manifests().path(""));
    let answer = shared.hub.post(&path, &request).await?;
    let token = answer["status"]["token"].as_str();
    let ends = answer["status"]["expirationTimestamp"].as_str();
    let (Some(token), Some(ends)) = (token, ends) else {
        return Err(Error::Malformed("the hub's answer holds no token".into()));
    };
    let mut data = Map::new();
    let content = content(&spec.access, &spec.source.namespace, token);
    for (key, value) in content.as_object().into_iter().flatten() {
        let text = value.as_str().unwrap_or_default();
        let packed = hanse_wire::base64::encode(text.as_bytes());
        data.insert(key.clone(), Value::String(packed));
    }
    let secret = json!({
        "apiVersion": "v1", "kind": "Secret", "type": "Opaque", "data": data,
        "metadata": {
            "name": secret_name(account), "namespace": spec.target.namespace,
            "labels": {names::SITE_LABEL: shared.inbox},
            "annotations": {EXPIRES: ends},
        },
    });
    shared
        .site
        .apply(&secrets(), &secret, names::FIELD_MANAGER, true)
        .await?;
    until(shared, ends).ok_or_else(|| Error::Malformed("the token's end is no time".into()))
}

/// Takes away the tokens that only an object that is gone has needed.
///
/// # Errors
/// The site does not answer.
pub async fn clear(shared: &Shared, name: &str, spec: &ManifestSpec) -> Result<(), Error> {
    let namespace = &spec.target.namespace;
    let others = |account: &str| {
        let of = |other: &str| -> Option<ManifestSpec> {
            let bytes = shared.journal.intent(other).ok().flatten()?;
            serde_json::from_slice(&bytes).ok()
        };
        let table = shared.table.lock();
        let mut near = table.iter().filter(|(other, entry)| {
            let standing = &entry.standing;
            ***other != *name
                && standing.has_access
                && !standing.removing
                && *standing.place.namespace == **namespace
        });
        near.any(|(other, _)| {
            of(other).is_some_and(|spec| spec.access.accounts.iter().any(|a| a == account))
        })
    };
    for account in &spec.access.accounts {
        if others(account) {
            continue;
        }
        let key = (namespace.clone(), account.clone());
        shared.tokens.lock().remove(&key);
        let secret = secret_name(account);
        let found = shared.site.find(&secrets(), namespace, &secret).await?;
        let ours = |s: &Value| s["metadata"]["labels"][names::SITE_LABEL] == *shared.inbox;
        let Some(found) = found.filter(ours) else {
            continue;
        };
        let uid = found["metadata"]["uid"].as_str();
        match shared
            .site
            .delete(&secrets(), namespace, &secret, uid)
            .await
        {
            Err(error) if !error.is_not_found() && !error.is_conflict() => return Err(error),
            _ => {}
        }
    }
    Ok(())
}
