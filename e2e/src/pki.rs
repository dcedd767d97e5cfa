//! Certificates for the physical clusters that tests start: made at run time, never kept.

use std::path::{Path, PathBuf};

use anyhow::Result;
use rcgen::{
    BasicConstraints, CertificateParams, DistinguishedName, DnType, ExtendedKeyUsagePurpose, IsCa,
    Issuer, KeyPair, KeyUsagePurpose, SanType,
};

/// A certificate authority and the directory into which it issues.
pub struct Authority {
    dir: PathBuf,
    issuer: Issuer<'static, KeyPair>,
    /// The authority's own certificate.
    pub pem: String,
}

/// A certificate and its key, as text.
pub struct Pair {
    pub certificate_pem: String,
    pub key_pem: String,
}

impl Authority {
    /// A new authority; its certificate is written to `ca.crt` in the directory.
    pub fn new(dir: &Path) -> Result<Authority> {
        let mut params = CertificateParams::default();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.key_usages = vec![
            KeyUsagePurpose::KeyCertSign,
            KeyUsagePurpose::DigitalSignature,
        ];
        params.distinguished_name = name("hanse-e2e-ca", None);
        let key = KeyPair::generate()?;
        let pem = params.self_signed(&key)?.pem();
        std::fs::write(dir.join("ca.crt"), &pem)?;
        Ok(Authority {
            dir: dir.to_path_buf(),
            issuer: Issuer::new(params, key),
            pem,
        })
    }

    /// A serving certificate for the loopback address, written as `<file>.crt` and `<file>.key`.
    pub fn serving(&self, file: &str) -> Result<Pair> {
        let mut params = CertificateParams::new(vec![
            "localhost".to_owned(),
            "kubernetes".to_owned(),
            "kubernetes.default.svc".to_owned(),
        ])?;
        let loopback = std::net::IpAddr::from([127, 0, 0, 1]);
        params.subject_alt_names.push(SanType::IpAddress(loopback));
        params.distinguished_name = name("kube-apiserver", None);
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
        self.issue(params, file)
    }

    /// A client certificate for a user in a group.
    pub fn client(&self, file: &str, user: &str, group: &str) -> Result<Pair> {
        let mut params = CertificateParams::default();
        params.distinguished_name = name(user, Some(group));
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ClientAuth];
        self.issue(params, file)
    }

    fn issue(&self, params: CertificateParams, file: &str) -> Result<Pair> {
        let key = KeyPair::generate()?;
        let certificate = params.signed_by(&key, &self.issuer)?;
        let pair = Pair {
            certificate_pem: certificate.pem(),
            key_pem: key.serialize_pem(),
        };
        std::fs::write(self.dir.join(format!("{file}.crt")), &pair.certificate_pem)?;
        std::fs::write(self.dir.join(format!("{file}.key")), &pair.key_pem)?;
        Ok(pair)
    }
}

fn name(common: &str, organisation: Option<&str>) -> DistinguishedName {
    let mut name = DistinguishedName::new();
    name.push(DnType::CommonName, common);
    if let Some(organisation) = organisation {
        name.push(DnType::OrganizationName, organisation);
    }
    name
}
