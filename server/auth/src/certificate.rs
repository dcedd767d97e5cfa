//! Client certificates: verified against the client CA, CN is the user, O are the groups.

use crate::UserInfo;
use hanse_rules::hash;
use rustls_pki_types::{CertificateDer, TrustAnchor, UnixTime};
use sha2::{Digest, Sha256};
use std::time::Duration;
use webpki::{EndEntityCert, KeyUsage};
use x509_parser::prelude::{FromDer, X509Certificate};

/// Extra key that names the credential of a request.
pub const CREDENTIAL_ID: &str = "authentication.kubernetes.io/credential-id";

/// The certificate authorities whose clients are known here.
pub struct ClientCa {
    anchors: Vec<TrustAnchor<'static>>,
}

/// Why a certificate says nothing.
#[derive(Debug, thiserror::Error)]
pub enum CertificateError {
    /// Not signed by a client CA, expired, or not made for clients.
    #[error("x509: {0}")]
    Invalid(String),
    /// Nothing to call the user by.
    #[error("x509: certificate has no common name")]
    Nameless,
}

impl ClientCa {
    /// Takes CA certificates (DER).
    ///
    /// # Errors
    /// A certificate that cannot be read.
    pub fn new(authorities: &[CertificateDer<'_>]) -> Result<ClientCa, CertificateError> {
        let anchor = |der: &CertificateDer<'_>| {
            webpki::anchor_from_trusted_cert(der)
                .map(|anchor| anchor.to_owned())
                .map_err(|e| CertificateError::Invalid(e.to_string()))
        };
        Ok(ClientCa {
            anchors: authorities.iter().map(anchor).collect::<Result<_, _>>()?,
        })
    }

    /// The user whom the chain (leaf first) names at `wall` (time since 1970).
    ///
    /// # Errors
    /// The chain does not lead to a client CA now, or names nobody.
    pub fn user(
        &self,
        chain: &[CertificateDer<'_>],
        wall: Duration,
    ) -> Result<UserInfo, CertificateError> {
        let invalid = |e: &dyn std::fmt::Display| CertificateError::Invalid(e.to_string());
        let Some((leaf, intermediates)) = chain.split_first() else {
            return Err(CertificateError::Invalid("no certificate".to_owned()));
        };
        let end = EndEntityCert::try_from(leaf).map_err(|e| invalid(&e))?;
        end.verify_for_usage(
            webpki::ALL_VERIFICATION_ALGS,
            &self.anchors,
            intermediates,
            UnixTime::since_unix_epoch(wall),
            KeyUsage::client_auth(),
            None,
            None,
        )
        .map_err(|e| invalid(&e))?;
        let (_, parsed) = X509Certificate::from_der(leaf).map_err(|e| invalid(&e))?;
        let subject = parsed.subject();
        let name = subject
            .iter_common_name()
            .next()
            .and_then(|cn| cn.as_str().ok());
        let name = name
            .filter(|n| !n.is_empty())
            .ok_or(CertificateError::Nameless)?;
        let groups = subject.iter_organization().filter_map(|o| o.as_str().ok());
        let mut user = UserInfo {
            name: name.to_owned(),
            groups: groups.map(str::to_owned).collect(),
            ..UserInfo::default()
        };
        let id = format!("X509SHA256={}", hash::hex(&Sha256::digest(leaf)));
        user.extra.insert(CREDENTIAL_ID.to_owned(), vec![id]);
        Ok(user)
    }
}

/// Organisations that a signing request asks for; `spec.request` is base64 of PEM. What cannot be
/// read asks for nothing.
#[must_use]
pub fn requested_groups(request: &str) -> Vec<String> {
    use base64::Engine;
    let Ok(pem) = base64::engine::general_purpose::STANDARD.decode(request) else {
        return Vec::new();
    };
    let Ok((_, pem)) = x509_parser::pem::parse_x509_pem(&pem) else {
        return Vec::new();
    };
    groups_of_request(&pem.contents)
}

/// Organisations that a signing request (DER) asks for.
pub(crate) fn groups_of_request(der: &[u8]) -> Vec<String> {
    let parsed = x509_parser::certification_request::X509CertificationRequest::from_der(der);
    let Ok((_, parsed)) = parsed else {
        return Vec::new();
    };
    let subject = &parsed.certification_request_info.subject;
    subject
        .iter_organization()
        // Whatever kind of string it is: what looks like a group is one here.
        .map(|o| String::from_utf8_lossy(o.as_slice()).into_owned())
        .collect()
}
