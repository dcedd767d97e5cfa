//! The keys and certificates that the server makes for itself on first start, and keeps.
//!
//! Start at [`Pki::ensure`]. Two authorities, each with one purpose: `ca` signs the serving
//! certificate and is what clients trust; `client-ca` signs client certificates (CSRs) and names
//! users. `sa.key` signs service account tokens. The invariant: a private key is written with mode
//! 0600 before anybody could read it, and an existing file is never replaced, except for a serving
//! certificate that has run out or lacks a name. Verification of what clients present happens in
//! `hanse-auth`.

use std::fs;
use std::io::Write;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context, Result};
use rcgen::{
    BasicConstraints, CertificateParams, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair,
    KeyUsagePurpose,
};

const DAY: u64 = 24 * 3600;
/// Life of an authority, in days.
const AUTHORITY_DAYS: u64 = 10 * 365;
/// Life of the serving certificate, in days; it is made anew at start when less than
/// [`SERVING_DAYS_LEFT_MIN`] of it are left.
const SERVING_DAYS: u64 = 365;
const SERVING_DAYS_LEFT_MIN: u64 = 30;
/// Certificates are valid from a little earlier than now: clocks differ.
const BACKDATE_SECONDS: u64 = 300;

/// Everything of the PKI that the running server needs, as PEM.
pub struct Pki {
    /// Authority of the serving certificate; goes into kubeconfigs and `kube-root-ca.crt`.
    pub ca_cert: String,
    /// The serving certificate, with its chain.
    pub serving_cert: String,
    /// Its key.
    pub serving_key: String,
    /// Authority whose certificates name users.
    pub client_ca_cert: String,
    /// Its key: the signer of certificate signing requests.
    pub client_ca_key: String,
    /// Key of service account tokens.
    pub service_account_key: String,
}

impl Pki {
    /// Reads the PKI in `root`, making what is missing. `names` are the host names and addresses
    /// that the serving certificate must cover; `now` is seconds since 1970.
    ///
    /// # Errors
    /// A file that cannot be read, written or understood; the text names it.
    pub fn ensure(root: &Path, names: &[String], now: u64) -> Result<Self> {
        let (ca_cert, ca_key) = authority(root, "ca", "hanse-ca", now)?;
        let (client_ca_cert, client_ca_key) = authority(root, "client-ca", "hanse-client-ca", now)?;
        let (serving_cert, serving_key) = serving(root, &ca_cert, &ca_key, names, now)?;
        let service_account_key = key(&root.join("sa.key"))?;
        Ok(Self {
            ca_cert,
            serving_cert,
            serving_key,
            client_ca_cert,
            client_ca_key,
            service_account_key,
        })
    }
}

/// The authority `NAME.crt`, `NAME.key` in `root`: certificate and key.
fn authority(root: &Path, name: &str, common_name: &str, now: u64) -> Result<(String, String)> {
    let (cert_path, key_path) = pair(root, name);
    let key_pem = key(&key_path)?;
    if let Some(cert) = read(&cert_path)? {
        return Ok((cert, key_pem));
    }
    let mut params = CertificateParams::default();
    params
        .distinguished_name
        .push(DnType::CommonName, common_name);
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    params.key_usages = vec![
        KeyUsagePurpose::KeyCertSign,
        KeyUsagePurpose::DigitalSignature,
        KeyUsagePurpose::CrlSign,
    ];
    set_validity(&mut params, now, AUTHORITY_DAYS);
    let cert = params.self_signed(&KeyPair::from_pem(&key_pem)?)?.pem();
    write_private(&cert_path, cert.as_bytes())?;
    Ok((cert, key_pem))
}

/// The serving certificate `apiserver.crt` and its key, renewed when it is about to run out or
/// does not cover all names.
fn serving(
    root: &Path,
    ca_cert: &str,
    ca_key: &str,
    names: &[String],
    now: u64,
) -> Result<(String, String)> {
    let (cert_path, key_path) = pair(root, "apiserver");
    let key_pem = key(&key_path)?;
    if let Some(cert) = read(&cert_path)?
        && still_serves(&cert, names, now)
    {
        return Ok((cert, key_pem));
    }
    let mut params = CertificateParams::new(names.to_vec())?;
    params.distinguished_name.push(DnType::CommonName, "hanse");
    params.key_usages = vec![
        KeyUsagePurpose::DigitalSignature,
        KeyUsagePurpose::KeyEncipherment,
    ];
    params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
    params.use_authority_key_identifier_extension = true;
    set_validity(&mut params, now, SERVING_DAYS);
    let issuer = Issuer::from_ca_cert_pem(ca_cert, KeyPair::from_pem(ca_key)?)?;
    let own = params
        .signed_by(&KeyPair::from_pem(&key_pem)?, &issuer)?
        .pem();
    let chain = format!("{own}{ca_cert}");
    write_private(&cert_path, chain.as_bytes())?;
    Ok((chain, key_pem))
}

/// Whether a certificate covers every name and has enough days left.
fn still_serves(cert: &str, names: &[String], now: u64) -> bool {
    use x509_parser::prelude::GeneralName;
    let Ok((_, pem)) = x509_parser::pem::parse_x509_pem(cert.as_bytes()) else {
        return false;
    };
    let Ok(x509) = pem.parse_x509() else {
        return false;
    };
    let left = x509.validity().not_after.timestamp() - i64::try_from(now).unwrap_or(i64::MAX);
    if left < (SERVING_DAYS_LEFT_MIN * DAY).cast_signed() {
        return false;
    }
    let Ok(Some(san)) = x509.subject_alternative_name() else {
        return false;
    };
    let covered: Vec<String> = san
        .value
        .general_names
        .iter()
        .filter_map(|name| match name {
            GeneralName::DNSName(dns) => Some((*dns).to_owned()),
            GeneralName::IPAddress(bytes) => ip_text(bytes),
            _ => None,
        })
        .collect();
    names.iter().all(|name| covered.contains(name))
}

fn ip_text(bytes: &[u8]) -> Option<String> {
    if let Ok(v4) = <[u8; 4]>::try_from(bytes) {
        return Some(std::net::Ipv4Addr::from(v4).to_string());
    }
    <[u8; 16]>::try_from(bytes)
        .ok()
        .map(|v6| std::net::Ipv6Addr::from(v6).to_string())
}

fn set_validity(params: &mut CertificateParams, now: u64, days: u64) {
    let epoch = rcgen::date_time_ymd(1970, 1, 1);
    params.not_before = epoch + Duration::from_secs(now.saturating_sub(BACKDATE_SECONDS));
    params.not_after = epoch + Duration::from_secs(now + days * DAY);
}

fn pair(root: &Path, name: &str) -> (PathBuf, PathBuf) {
    (
        root.join(format!("{name}.crt")),
        root.join(format!("{name}.key")),
    )
}

/// An ECDSA P-256 key (PKCS#8, PEM), made when missing.
fn key(path: &Path) -> Result<String> {
    if let Some(pem) = read(path)? {
        KeyPair::from_pem(&pem).with_context(|| format!("{} is no usable key", path.display()))?;
        return Ok(pem);
    }
    let pem = KeyPair::generate_for(&rcgen::PKCS_ECDSA_P256_SHA256)?.serialize_pem();
    write_private(path, pem.as_bytes())?;
    Ok(pem)
}

/// The text of a file, or `None` when there is none.
///
/// # Errors
/// Everything but "not found".
pub fn read(path: &Path) -> Result<Option<String>> {
    match fs::read_to_string(path) {
        Ok(text) => Ok(Some(text)),
        Err(e) if e.kind() == std::io::ErrorKind::NotFound => Ok(None),
        Err(e) => Err(e).with_context(|| format!("cannot read {}", path.display())),
    }
}

/// Writes a file that only its owner can read, all or nothing: through a temporary name.
///
/// # Errors
/// Whatever the file system says; the text names the file.
pub fn write_private(path: &Path, content: &[u8]) -> Result<()> {
    let write = || -> std::io::Result<()> {
        let mut name = path.as_os_str().to_owned();
        name.push(".new");
        let temporary = PathBuf::from(name);
        let _ = fs::remove_file(&temporary);
        let mut file = fs::OpenOptions::new()
            .write(true)
            .create_new(true)
            .mode(0o600)
            .open(&temporary)?;
        file.write_all(content)?;
        file.sync_all()?;
        fs::rename(&temporary, path)
    };
    write().with_context(|| format!("cannot write {}", path.display()))
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    const NOW: u64 = 1_800_000_000;

    fn names() -> Vec<String> {
        ["localhost", "127.0.0.1", "::1", "hub.example.com"]
            .map(str::to_owned)
            .to_vec()
    }

    #[test]
    fn a_second_start_finds_the_same_keys_and_certificates() {
        let dir = tempfile::tempdir().unwrap();
        let first = Pki::ensure(dir.path(), &names(), NOW).unwrap();
        let second = Pki::ensure(dir.path(), &names(), NOW + DAY).unwrap();
        assert_eq!(first.serving_cert, second.serving_cert);
        assert_eq!(first.ca_cert, second.ca_cert);
        assert_eq!(first.service_account_key, second.service_account_key);
        for file in fs::read_dir(dir.path()).unwrap() {
            let file = file.unwrap();
            let mode = file.metadata().unwrap().permissions().mode() & 0o777;
            assert_eq!(mode, 0o600, "{:?}", file.path());
        }
    }

    #[test]
    fn the_serving_certificate_is_renewed_for_a_new_name_and_before_it_runs_out() {
        let dir = tempfile::tempdir().unwrap();
        let first = Pki::ensure(dir.path(), &names(), NOW).unwrap();
        let mut more = names();
        more.push("other.example.com".to_owned());
        let renamed = Pki::ensure(dir.path(), &more, NOW).unwrap();
        assert_ne!(first.serving_cert, renamed.serving_cert);
        let late = Pki::ensure(dir.path(), &more, NOW + (SERVING_DAYS - 10) * DAY).unwrap();
        assert_ne!(renamed.serving_cert, late.serving_cert);
        assert_eq!(first.ca_cert, late.ca_cert);
    }
}
