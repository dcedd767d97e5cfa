//! Signs the certificates of syncers with the hub's client CA.
//!
//! Invariant: the subject is ours to say; of a request only the public key is taken. A request
//! that is not signed by its own key is refused.

use hanse_apis::sites::names;
use rcgen::{
    CertificateSigningRequestParams, DistinguishedName, DnType, ExtendedKeyUsagePurpose, IsCa,
    Issuer, KeyPair, KeyUsagePurpose, SerialNumber,
};
use rustls_pki_types::CertificateSigningRequestDer;

/// How far clocks may be apart: a certificate is good from this long before it was made.
const BACKDATE_SECONDS: i64 = 300;

/// The CA for client certificates.
pub struct Authority {
    issuer: Issuer<'static, KeyPair>,
    certificate: String,
}

/// Why nothing is signed.
#[derive(Debug, thiserror::Error)]
pub enum AuthorityError {
    /// Certificate or key of the CA cannot be used.
    #[error("client CA: {0}")]
    Ca(String),
    /// The request cannot be read, or does not prove that its sender has the key.
    #[error("certificate request: {0}")]
    Request(String),
}

impl Authority {
    /// Takes certificate and key of the CA (PEM).
    ///
    /// # Errors
    /// [`AuthorityError::Ca`].
    pub fn from_pem(certificate: &str, key: &str) -> Result<Self, AuthorityError> {
        let bad = |e: rcgen::Error| AuthorityError::Ca(e.to_string());
        let key = KeyPair::from_pem(key).map_err(bad)?;
        let issuer = Issuer::from_ca_cert_pem(certificate, key).map_err(bad)?;
        Ok(Self {
            issuer,
            certificate: certificate.to_owned(),
        })
    }

    /// The CA's certificate (PEM).
    #[must_use]
    pub fn certificate(&self) -> &str {
        &self.certificate
    }

    /// Signs a request (PEM) for the syncer of an inbox, from `now` (seconds since 1970) for
    /// `seconds`.
    ///
    /// # Errors
    /// [`AuthorityError::Request`].
    pub fn sign(
        &self,
        request: &str,
        inbox: &str,
        now: i64,
        seconds: i64,
        serial: [u8; 16],
    ) -> Result<String, AuthorityError> {
        let bad = |e: &dyn std::fmt::Display| AuthorityError::Request(e.to_string());
        let (_, pem) = x509_parser::pem::parse_x509_pem(request.as_bytes()).map_err(|e| bad(&e))?;
        let der = CertificateSigningRequestDer::from(pem.contents);
        // Reading checks the request's own signature.
        let mut wanted = CertificateSigningRequestParams::from_der(&der).map_err(|e| bad(&e))?;
        let mut name = DistinguishedName::new();
        name.push(
            DnType::OrganizationName,
            format!("{}{inbox}", names::SYNCER_GROUP),
        );
        name.push(DnType::CommonName, format!("{}{inbox}", names::SYNCER_USER));
        let params = &mut wanted.params;
        params.distinguished_name = name;
        params.subject_alt_names.clear();
        params.custom_extensions.clear();
        params.is_ca = IsCa::NoCa;
        params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ClientAuth];
        params.serial_number = Some(SerialNumber::from_slice(&serial));
        let moment = |at: i64| {
            x509_parser::time::ASN1Time::from_timestamp(at)
                .map(|t| t.to_datetime())
                .map_err(|e| bad(&e))
        };
        params.not_before = moment(now - BACKDATE_SECONDS)?;
        params.not_after = moment(now + seconds)?;
        let signed = wanted.signed_by(&self.issuer).map_err(|e| bad(&e))?;
        Ok(signed.pem())
    }
}
