//! How a syncer gets its credentials: a certificate request in its inbox, approved by the hub.
//!
//! The first request is made with a bootstrap token, later ones with the certificate that is
//! about to end. Invariant: the key exists (and should be kept by the caller) before it is asked
//! for, and the request is named after it, so that asking again after a crash finds the answer
//! instead of using up a second token.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use hanse_apis::sites::names;
use hanse_client::{Api, Error, Resource};
use hanse_projection::content_hash;
use hanse_seams::Seams;
use rcgen::{CertificateParams, DistinguishedName, DnType, KeyPair};
use serde_json::{Value, json};
use x509_parser::pem::parse_x509_pem;

use crate::limits::{JOIN_LOOK, JOIN_WAIT};

/// Why a syncer did not get a certificate.
#[derive(Debug, thiserror::Error)]
pub enum JoinError {
    /// The hub refused; asking again with the same token is useless.
    #[error("the hub refused: {0}")]
    Denied(String),
    /// Nobody approved in time; asking again goes on waiting.
    #[error("the request has not been approved yet")]
    Waiting,
    /// The hub could not be asked.
    #[error("the hub cannot be asked: {0}")]
    Hub(#[from] Error),
    /// The key or a certificate cannot be used.
    #[error("credentials: {0}")]
    Credentials(String),
}

/// A key and, once the hub has agreed, its certificate.
#[derive(Clone, Default)]
pub struct Identity {
    /// The private key (PEM).
    pub key: String,
    /// The certificate chain (PEM); empty before the hub has agreed.
    pub certificate: String,
}

impl Identity {
    /// A new key (ECDSA P-256) without a certificate.
    ///
    /// # Errors
    /// [`JoinError::Credentials`] when the machine has no randomness.
    pub fn generate() -> Result<Self, JoinError> {
        let key = KeyPair::generate().map_err(|e| JoinError::Credentials(e.to_string()))?;
        Ok(Self {
            key: key.serialize_pem(),
            certificate: String::new(),
        })
    }
}

fn requests() -> Resource {
    Resource::new("certificates.k8s.io", "v1", "certificatesigningrequests")
}

/// Asks for the first certificate, with a bootstrap token.
///
/// # Errors
/// As [`JoinError`] says.
pub async fn join(
    hub: &Api,
    seams: &Seams,
    inbox: &str,
    cluster_uid: &str,
    identity: &Identity,
) -> Result<Identity, JoinError> {
    request(hub, seams, inbox, cluster_uid, identity).await
}

/// Asks for the next certificate, with the one that is about to end.
///
/// # Errors
/// As [`JoinError`] says.
pub async fn renew(
    hub: &Api,
    seams: &Seams,
    inbox: &str,
    cluster_uid: &str,
) -> Result<Identity, JoinError> {
    request(hub, seams, inbox, cluster_uid, &Identity::generate()?).await
}

async fn request(
    hub: &Api,
    seams: &Seams,
    inbox: &str,
    cluster_uid: &str,
    identity: &Identity,
) -> Result<Identity, JoinError> {
    let pem = signing_request(inbox, &identity.key)?;
    let name = format!("syncer-{}", content_hash(&json!(public(&identity.key)?)));
    let object = json!({
        "apiVersion": "certificates.k8s.io/v1", "kind": "CertificateSigningRequest",
        "metadata": {"name": name, "annotations": {names::CLUSTER_UID_ANNOTATION: cluster_uid}},
        "spec": {
            "request": STANDARD.encode(pem), "signerName": names::SIGNER,
            "usages": ["client auth", "digital signature"],
        },
    });
    match hub.create(&requests(), &object).await {
        Err(error) if !error.is_already_exists() => return Err(error.into()),
        _ => {}
    }
    let end = seams.clock.monotonic() + JOIN_WAIT;
    while seams.clock.monotonic() < end {
        let asked = hub.get(&requests(), "", &name).await?;
        if let Some(certificate) = answer(&asked)? {
            return Ok(Identity {
                key: identity.key.clone(),
                certificate,
            });
        }
        seams.clock.sleep(JOIN_LOOK).await;
    }
    Err(JoinError::Waiting)
}

/// The certificate, when the request is answered.
fn answer(asked: &Value) -> Result<Option<String>, JoinError> {
    let status = &asked["status"];
    for condition in status["conditions"].as_array().into_iter().flatten() {
        if condition["type"] == "Denied" || condition["type"] == "Failed" {
            let why = condition["message"].as_str().unwrap_or_default();
            return Err(JoinError::Denied(why.to_owned()));
        }
    }
    let Some(packed) = status["certificate"].as_str().filter(|c| !c.is_empty()) else {
        return Ok(None);
    };
    let bytes = STANDARD
        .decode(packed)
        .map_err(|e| JoinError::Credentials(e.to_string()))?;
    String::from_utf8(bytes)
        .map(Some)
        .map_err(|e| JoinError::Credentials(e.to_string()))
}

fn signing_request(inbox: &str, key: &str) -> Result<String, JoinError> {
    let bad = |e: rcgen::Error| JoinError::Credentials(e.to_string());
    let key = KeyPair::from_pem(key).map_err(bad)?;
    let mut name = DistinguishedName::new();
    name.push(
        DnType::OrganizationName,
        format!("{}{inbox}", names::SYNCER_GROUP),
    );
    name.push(DnType::CommonName, format!("{}{inbox}", names::SYNCER_USER));
    let mut params = CertificateParams::default();
    params.distinguished_name = name;
    params
        .serialize_request(&key)
        .and_then(|r| r.pem())
        .map_err(bad)
}

fn public(key: &str) -> Result<String, JoinError> {
    let key = KeyPair::from_pem(key).map_err(|e| JoinError::Credentials(e.to_string()))?;
    Ok(key.public_key_pem())
}

/// From when until when a certificate (the first of a PEM chain) is good, in seconds since 1970.
///
/// # Errors
/// [`JoinError::Credentials`] when it is none.
pub fn lifetime(certificate: &str) -> Result<(i64, i64), JoinError> {
    let bad = |e: &dyn std::fmt::Display| JoinError::Credentials(e.to_string());
    let (_, pem) = parse_x509_pem(certificate.as_bytes()).map_err(|e| bad(&e))?;
    let parsed = pem.parse_x509().map_err(|e| bad(&e))?;
    let validity = parsed.validity();
    Ok((
        validity.not_before.timestamp(),
        validity.not_after.timestamp(),
    ))
}

#[cfg(test)]
mod tests {
    use super::*;
    use hanse_client::testing::Fake;
    use hanse_seams::Simulation;
    use std::time::Duration;

    #[test]
    fn asking_again_with_the_same_key_finds_the_answer() {
        let simulation = Simulation::new(4);
        let seams = simulation.seams();
        let done = simulation.run(async move {
            let fake = Fake::new();
            fake.serve(requests(), "CertificateSigningRequest", false);
            let api = fake.api();
            let me = Identity::generate().unwrap();
            let first = seams
                .timeout(
                    Duration::from_secs(5),
                    join(&api, &seams, "site-a", "uid", &me),
                )
                .await;
            assert!(first.is_none());
            let list = api.list(&requests(), &Default::default()).await.unwrap();
            assert_eq!(list.items.len(), 1);
            let name = list.items[0]["metadata"]["name"]
                .as_str()
                .unwrap()
                .to_owned();
            let status = json!({"status": {"certificate": STANDARD.encode("CERT")}});
            let at = ("", name.as_str(), "status");
            api.patch(&requests(), at, hanse_client::PatchKind::Merge, &status)
                .await
                .unwrap();
            let got = join(&api, &seams, "site-a", "uid", &me).await.unwrap();
            assert_eq!(got.certificate, "CERT");
            assert_eq!(got.key, me.key);
            api.list(&requests(), &Default::default())
                .await
                .unwrap()
                .items
                .len()
        });
        assert_eq!(done, Some(1));
    }

    #[test]
    fn a_denial_is_told() {
        let asked = json!({"status": {"conditions": [{"type": "Denied", "message": "used"}]}});
        assert!(matches!(answer(&asked), Err(JoinError::Denied(m)) if m == "used"));
    }
}
