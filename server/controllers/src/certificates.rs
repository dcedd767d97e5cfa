//! Certificate requests: approved ones for `kubernetes.io/kube-apiserver-client` are signed with
//! the client CA (CSR-04), old ones are removed (CSR-05).

use std::time::Duration;

use hanse_auth::authority::{Authority, CLIENT_SIGNER, Order, Subject};
use hanse_cache::{DocumentError, Object, ObjectKey};
use hanse_json::{Value, get_array, get_i64, get_str, json};
use hanse_wire::{base64, time};

use crate::limits;
use crate::plan::{Plan, World, erase, restate_with};

/// The longest life of a certificate, and that of one whose request does not say.
const LIFETIME_MAX: Duration = Duration::from_secs(365 * 24 * 3_600);

/// Brings a certificate request right.
pub fn reconcile(world: &World<'_>, key: &ObjectKey) -> Result<Plan, DocumentError> {
    let Some(object) = world.hub.get(key).filter(|o| !o.is_deleting()) else {
        return Ok(Plan::done());
    };
    let mut value = object.value();
    let is = |value: &Value, ty: &str| {
        get_array(value, &["status", "conditions"])
            .iter()
            .any(|c| get_str(c, &["type"]) == Some(ty))
    };
    let issued = get_str(&value, &["status", "certificate"]).is_some_and(|c| !c.is_empty());
    let (approved, denied, failed) = (
        is(&value, "Approved"),
        is(&value, "Denied"),
        is(&value, "Failed"),
    );
    let decided = issued || denied || failed;
    let ttl = if decided || approved {
        limits::CSR_DECIDED_TTL
    } else {
        limits::CSR_PENDING_TTL
    };
    let created = get_str(&value, &["metadata", "creationTimestamp"]).and_then(time::parse);
    let age = created.map_or(0, |then| world.now_micros() - then);
    let left = i64::try_from(ttl.as_micros()).unwrap_or(i64::MAX) - age;
    if left <= 0 {
        return Ok(Plan::batches(world.hub, vec![erase(&object)]));
    }
    let wait = Duration::from_micros(u64::try_from(left).unwrap_or(0));
    let signer = get_str(&value, &["spec", "signerName"])
        .unwrap_or_default()
        .to_owned();
    let ours = signer == CLIENT_SIGNER && approved && !decided;
    let Some(authority) = world.config.client_ca.as_ref().filter(|_| ours) else {
        return Ok(Plan::later(wait));
    };
    issue(world, &object, &mut value, authority, &signer)
}

fn issue(
    world: &World<'_>,
    object: &Object,
    value: &mut Value,
    authority: &Authority,
    signer: &str,
) -> Result<Plan, DocumentError> {
    let request = get_str(value, &["spec", "request"]).unwrap_or_default();
    let request = base64::decode(request).unwrap_or_default();
    let seconds =
        get_i64(value, &["spec", "expirationSeconds"]).and_then(|s| u64::try_from(s).ok());
    let lifetime = seconds
        .map_or(LIFETIME_MAX, Duration::from_secs)
        .min(LIFETIME_MAX);
    let request = String::from_utf8_lossy(&request);
    let mut serial = [0; 16];
    world.seams.rng.fill(&mut serial);
    let order = Order {
        request: &request,
        subject: Subject::AsAsked,
        now: world.now_micros().div_euclid(1_000_000),
        seconds: i64::try_from(lifetime.as_secs()).unwrap_or(i64::MAX),
        serial,
    };
    match authority.sign(&order) {
        Ok(pem) => {
            let encoded = base64::encode(pem.as_bytes());
            hanse_json::set(value, &["status", "certificate"], json!(encoded));
        }
        Err(reason) => {
            let now = world.now();
            let mut conditions = get_array(value, &["status", "conditions"]).to_vec();
            conditions.push(json!({
                "type": "Failed", "status": "True", "reason": "SignerValidationFailure",
                "message": reason.to_string(), "lastUpdateTime": now, "lastTransitionTime": now
            }));
            hanse_json::set(value, &["status", "conditions"], Value::Array(conditions));
        }
    }
    let write = restate_with(object, value, &[("spec.signerName", signer)])?;
    Ok(Plan::batches(world.hub, vec![write]))
}
