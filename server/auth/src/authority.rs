//! The client CA: signs the certificates by which clients are known.
//!
//! Start with [`Authority::sign`]. Whoever asks proves to have the key: a request that is not
//! signed by it is refused. Invariants: no certificate names a master, whatever was asked for and
//! by whomever it was approved; and what a certificate may be used for is ours to say, not the
//! request's. Both halves of the server that sign (requests of users, syncers) do it here.

use hanse_apis::kcp::user;
use rcgen::{
    CertificateParams, CertificateSigningRequestParams, DistinguishedName, DnType,
    ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair, KeyUsagePurpose, SerialNumber,
};
use rustls_pki_types::CertificateSigningRequestDer;

use crate::certificate;

/// How far clocks may be apart: a certificate is good from this long before it was made.
const BACKDATE_SECONDS: i64 = 300;
/// The signer that the server is for users' requests.
pub const CLIENT_SIGNER: &str = "kubernetes.io/kube-apiserver-client";

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
    /// The request asks for what nobody gets by certificate.
    #[error(
        "use of {CLIENT_SIGNER} signer with {} group is not allowed",
        user::MASTERS
    )]
    Master,
}

/// Whom a certificate names.
#[derive(Clone, Copy, Debug)]
pub enum Subject<'s> {
    /// Whom the request names, with its alternative names.
    AsAsked,
    /// This user in this group, and nothing else of the request.
    Named {
        /// The group.
        organization: &'s str,
        /// The user.
        name: &'s str,
    },
}

/// A certificate that is wanted.
#[derive(Clone, Copy, Debug)]
pub struct Order<'o> {
    /// PKCS#10 as PEM.
    pub request: &'o str,
    /// Whom it shall name.
    pub subject: Subject<'o>,
    /// Now, in seconds since 1970.
    pub now: i64,
    /// How long it is good for from now on.
    pub seconds: i64,
    /// Its serial number: fresh random bytes.
    pub serial: [u8; 16],
}

impl std::fmt::Debug for Authority {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Authority")
    }
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

    /// Signs a certificate for client authentication; answers it as PEM.
    ///
    /// # Errors
    /// [`AuthorityError::Request`] and [`AuthorityError::Master`].
    pub fn sign(&self, order: &Order<'_>) -> Result<String, AuthorityError> {
        let bad = |e: &dyn std::fmt::Display| AuthorityError::Request(e.to_string());
        let pem = x509_parser::pem::parse_x509_pem(order.request.as_bytes());
        let (_, pem) = pem.map_err(|e| bad(&e))?;
        let groups = certificate::groups_of_request(&pem.contents);
        if groups.iter().any(|group| group == user::MASTERS) {
            return Err(AuthorityError::Master);
        }
        let der = CertificateSigningRequestDer::from(pem.contents);
        // Reading checks the request's own signature.
        let mut wanted = CertificateSigningRequestParams::from_der(&der).map_err(|e| bad(&e))?;
        let params = &mut wanted.params;
        if let Subject::Named { organization, name } = order.subject {
            params.distinguished_name = named(organization, name);
            params.subject_alt_names.clear();
        }
        bound(params);
        let mut serial = order.serial;
        // A serial number is positive.
        serial[0] &= 0x7f;
        params.serial_number = Some(SerialNumber::from_slice(&serial));
        let moment = |at: i64| {
            x509_parser::time::ASN1Time::from_timestamp(at)
                .map(|t| t.to_datetime())
                .map_err(|e| bad(&e))
        };
        params.not_before = moment(order.now - BACKDATE_SECONDS)?;
        params.not_after = moment(order.now.saturating_add(order.seconds))?;
        let signed = wanted.signed_by(&self.issuer).map_err(|e| bad(&e))?;
        Ok(signed.pem())
    }
}

fn named(organization: &str, name: &str) -> DistinguishedName {
    let mut subject = DistinguishedName::new();
    subject.push(DnType::OrganizationName, organization);
    subject.push(DnType::CommonName, name);
    subject
}

/// What it may be used for: to be a client.
fn bound(params: &mut CertificateParams) {
    params.custom_extensions.clear();
    params.is_ca = IsCa::ExplicitNoCa;
    params.key_usages = vec![
        KeyUsagePurpose::DigitalSignature,
        KeyUsagePurpose::KeyEncipherment,
    ];
    params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ClientAuth];
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::certificate::ClientCa;
    use rustls_pki_types::CertificateDer;
    use rustls_pki_types::pem::PemObject;
    use std::time::Duration;

    const NOW: i64 = 1_790_000_000;

    fn authority() -> Authority {
        let mut params = CertificateParams::new(vec![]).unwrap();
        params.is_ca = IsCa::Ca(rcgen::BasicConstraints::Unconstrained);
        let key = KeyPair::generate().unwrap();
        let ca = params.self_signed(&key).unwrap();
        Authority::from_pem(&ca.pem(), &key.serialize_pem()).unwrap()
    }

    fn request(organization: rcgen::DnValue) -> rcgen::CertificateSigningRequest {
        let mut params = CertificateParams::new(vec!["evil.example.com".to_owned()]).unwrap();
        params.distinguished_name.push(DnType::CommonName, "ann");
        params
            .distinguished_name
            .push(DnType::OrganizationName, organization);
        params
            .serialize_request(&KeyPair::generate().unwrap())
            .unwrap()
    }

    fn order<'o>(request: &'o str, subject: Subject<'o>) -> Order<'o> {
        Order {
            request,
            subject,
            now: NOW,
            seconds: 3_600,
            serial: [7; 16],
        }
    }

    #[test]
    fn certificates_name_their_subject_for_their_time() {
        let authority = authority();
        let asked = request("team".into()).pem().unwrap();
        let syncer = Subject::Named {
            organization: "g",
            name: "u",
        };
        let ca = CertificateDer::from_pem_slice(authority.certificate().as_bytes()).unwrap();
        let ca = ClientCa::new(&[ca]).unwrap();
        for (subject, name, group) in [(Subject::AsAsked, "ann", "team"), (syncer, "u", "g")] {
            let pem = authority.sign(&order(&asked, subject)).unwrap();
            let leaf = CertificateDer::from_pem_slice(pem.as_bytes()).unwrap();
            let at = |seconds: i64| {
                let wall = Duration::from_secs(u64::try_from(NOW + seconds).unwrap());
                ca.user(std::slice::from_ref(&leaf), wall)
            };
            let user = at(0).unwrap();
            assert_eq!(
                (user.name.as_str(), &user.groups),
                (name, &vec![group.to_owned()])
            );
            assert!(at(-299).is_ok() && at(-301).is_err());
            assert!(at(3_599).is_ok() && at(3_601).is_err());
        }
    }

    #[test]
    fn masters_are_refused_in_every_spelling() {
        let authority = authority();
        let printable = rcgen::string::PrintableString::try_from("system:masters".to_owned());
        let values = [
            rcgen::DnValue::Utf8String("system:masters".to_owned()),
            rcgen::DnValue::PrintableString(printable.unwrap()),
            rcgen::DnValue::TeletexString("system:masters".try_into().unwrap()),
            rcgen::DnValue::Ia5String("system:masters".try_into().unwrap()),
        ];
        for value in values {
            let asked = request(value).pem().unwrap();
            let refused = authority
                .sign(&order(&asked, Subject::AsAsked))
                .unwrap_err();
            assert_eq!(
                refused.to_string(),
                "use of kubernetes.io/kube-apiserver-client signer with system:masters group is \
                 not allowed"
            );
        }
    }

    #[test]
    fn a_request_that_its_key_did_not_sign_is_refused() {
        let authority = authority();
        let mut der = request("team".into()).der().to_vec();
        // The name is signed, too: another one is not what the key's owner asked for.
        let at = der.windows(3).position(|w| w == b"ann").unwrap();
        der[at..at + 3].copy_from_slice(b"bob");
        use base64::Engine;
        let text = base64::engine::general_purpose::STANDARD.encode(&der);
        let lines: Vec<&str> = text
            .as_bytes()
            .chunks(64)
            .map(|line| std::str::from_utf8(line).unwrap())
            .collect();
        let (begin, end) = (
            "-----BEGIN CERTIFICATE REQUEST-----",
            "-----END CERTIFICATE REQUEST-----",
        );
        let pem = format!("{begin}\n{}\n{end}\n", lines.join("\n"));
        let refused = authority.sign(&order(&pem, Subject::AsAsked)).unwrap_err();
        assert!(matches!(refused, AuthorityError::Request(_)), "{refused}");
        assert!(authority.sign(&order("nothing", Subject::AsAsked)).is_err());
    }
}
