//! Certificate requests: approved ones for `kubernetes.io/kube-apiserver-client` are signed with
//! the client CA (CSR-04), old ones are removed (CSR-05).

use std::time::Duration;

use hanse_cache::{DocumentError, Object, ObjectKey};
use hanse_json::{Value, get_array, get_i64, get_str, json};
use hanse_wire::{base64, time};
use rcgen::{
    CertificateSigningRequestParams, ExtendedKeyUsagePurpose, Issuer, KeyPair, KeyUsagePurpose,
};

use crate::limits;
use crate::plan::{Plan, World, erase, restate_with};

/// The signer that this server is.
pub const CLIENT_SIGNER: &str = "kubernetes.io/kube-apiserver-client";
const MASTERS: &str = "system:masters";
/// Certificates start a little in the past, for clocks that are behind.
const BACKDATE: Duration = Duration::from_secs(300);
const DEFAULT_LIFETIME: Duration = Duration::from_secs(365 * 24 * 3_600);

/// A CA that signs client certificates.
pub struct Authority {
    issuer: Issuer<'static, KeyPair>,
}

impl Authority {
    /// Reads the CA's certificate and key.
    ///
    /// # Errors
    /// The text of what is wrong with the PEM.
    pub fn from_pem(certificate: &str, key: &str) -> Result<Authority, String> {
        let key = KeyPair::from_pem(key).map_err(|error| error.to_string())?;
        let issuer =
            Issuer::from_ca_cert_pem(certificate, key).map_err(|error| error.to_string())?;
        Ok(Authority { issuer })
    }

    /// Signs a PKCS#10 request (PEM) for client authentication.
    ///
    /// # Errors
    /// What is wrong with the request; it becomes the reason of the `Failed` condition.
    pub fn sign(
        &self,
        request: &str,
        now_micros: i64,
        lifetime: Duration,
    ) -> Result<String, String> {
        let mut params = CertificateSigningRequestParams::from_pem(request)
            .map_err(|error| error.to_string())?;
        let organisations = organisations(&params.params);
        if organisations.iter().any(|o| o == MASTERS) {
            return Err(format!(
                "use of {CLIENT_SIGNER} signer with {MASTERS} group is not allowed"
            ));
        }
        let second = now_micros.div_euclid(1_000_000);
        let date = |seconds: i64| {
            rcgen::date_time_ymd(1970, 1, 1)
                + Duration::from_secs(u64::try_from(seconds).unwrap_or(0))
        };
        let seconds = |d: Duration| i64::try_from(d.as_secs()).unwrap_or(i64::MAX / 4);
        params.params.not_before = date(second - seconds(BACKDATE));
        params.params.not_after = date(second.saturating_add(seconds(lifetime)));
        params.params.is_ca = rcgen::IsCa::ExplicitNoCa;
        params.params.key_usages = vec![
            KeyUsagePurpose::DigitalSignature,
            KeyUsagePurpose::KeyEncipherment,
        ];
        params.params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ClientAuth];
        let signed = params
            .signed_by(&self.issuer)
            .map_err(|error| error.to_string())?;
        Ok(signed.pem())
    }
}

impl std::fmt::Debug for Authority {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Authority")
    }
}

fn organisations(params: &rcgen::CertificateParams) -> Vec<String> {
    let name = &params.distinguished_name;
    name.iter()
        .filter(|(ty, _)| matches!(ty, rcgen::DnType::OrganizationName))
        .map(|(_, value)| match value {
            rcgen::DnValue::Utf8String(text) => text.clone(),
            rcgen::DnValue::PrintableString(text) => text.to_string(),
            other => format!("{other:?}"),
        })
        .collect()
}

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
        .map_or(DEFAULT_LIFETIME, Duration::from_secs)
        .min(DEFAULT_LIFETIME);
    let request = String::from_utf8_lossy(&request);
    match authority.sign(&request, world.now_micros(), lifetime) {
        Ok(pem) => {
            let encoded = base64::encode(pem.as_bytes());
            hanse_json::set(value, &["status", "certificate"], json!(encoded));
        }
        Err(reason) => {
            let now = world.now();
            let mut conditions = get_array(value, &["status", "conditions"]).to_vec();
            conditions.push(json!({
                "type": "Failed", "status": "True", "reason": "SignerValidationFailure",
                "message": reason, "lastUpdateTime": now, "lastTransitionTime": now
            }));
            hanse_json::set(value, &["status", "conditions"], Value::Array(conditions));
        }
    }
    let write = restate_with(object, value, &[("spec.signerName", signer)])?;
    Ok(Plan::batches(world.hub, vec![write]))
}
