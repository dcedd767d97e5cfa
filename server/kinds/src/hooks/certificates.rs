//! CertificateSigningRequests (kubernetes-api.md 38). Who may approve or sign is decided elsewhere.

use hanse_json::go::quote;
use hanse_json::{Value, get, get_array, get_i64, set};
use hanse_schema::field::{BadValue, Error, ErrorList, Path};
use hanse_schema::names::{is_dns1123_label, is_dns1123_subdomain};
use hanse_wire::base64;
use x509_parser::prelude::{FromDer, X509Certificate, X509CertificationRequest};

use super::{as_json, text, texts};
use crate::def::Update;

const USAGES: [&str; 23] = [
    "any",
    "cert sign",
    "client auth",
    "code signing",
    "content commitment",
    "crl sign",
    "data encipherment",
    "decipher only",
    "digital signature",
    "email protection",
    "encipher only",
    "ipsec end system",
    "ipsec tunnel",
    "ipsec user",
    "key agreement",
    "key encipherment",
    "microsoft sgc",
    "netscape sgc",
    "ocsp signing",
    "s/mime",
    "server auth",
    "signing",
    "timestamping",
];
const MIN_SECONDS: i64 = 600;
/// Kinds of keys.
const RSA: &str = "1.2.840.113549.1.1.1";
const ED25519: &str = "1.3.101.112";
const LEGACY: &str = "kubernetes.io/legacy-unknown";

/// The spec never changes; what else does depends on the subresource.
pub fn prepare_update(new: &mut Value, update: Update<'_>) {
    let keep = |new: &mut Value, path: &[&str]| {
        let old = get(update.old, path).cloned();
        match old {
            Some(old) => set(new, path, old),
            None => {
                hanse_json::remove(new, path);
            }
        }
    };
    keep(new, &["spec"]);
    match update.subresource {
        "" => keep(new, &["status"]),
        // Approving touches conditions only.
        "approval" => keep(new, &["status", "certificate"]),
        _ => {}
    }
}

pub fn validate(csr: &Value) -> ErrorList {
    let mut errors = ErrorList::new();
    let path = Path::new("spec");
    if let Err(why) = parse_request(text(csr, &["spec", "request"])) {
        let request = as_json(get(csr, &["spec", "request"]).unwrap_or(&Value::Null));
        errors.push(Error::invalid(&path.child("request"), request, why));
    }
    usages(csr, &path.child("usages"), &mut errors);
    let signer = text(csr, &["spec", "signerName"]);
    let at = path.child("signerName");
    if signer == LEGACY {
        let why = "the legacy signerName is not allowed via this API version";
        errors.push(Error::invalid(&at, signer, why));
    } else {
        signer_name(signer, &at, &mut errors);
    }
    if let Some(seconds) = get_i64(csr, &["spec", "expirationSeconds"]).filter(|n| *n < MIN_SECONDS)
    {
        let why = "may not specify a duration less than 600 seconds (10 minutes)";
        errors.push(Error::invalid(
            &path.child("expirationSeconds"),
            seconds,
            why,
        ));
    }
    conditions(csr, &mut errors);
    errors
}

fn pem_blocks(encoded: &str) -> Vec<x509_parser::pem::Pem> {
    let bytes = base64::decode(encoded).unwrap_or_default();
    x509_parser::pem::Pem::iter_from_buffer(&bytes)
        .filter_map(Result::ok)
        .collect()
}

fn parse_request(encoded: &str) -> Result<(), String> {
    let blocks = pem_blocks(encoded);
    let Some(block) = blocks
        .first()
        .filter(|block| block.label == "CERTIFICATE REQUEST")
    else {
        return Err("PEM block type must be CERTIFICATE REQUEST".to_owned());
    };
    let (_, request) = X509CertificationRequest::from_der(&block.contents)
        .map_err(|err| format!("asn1: syntax error: {err}"))?;
    // Whoever signs checks this as well; refused here, its owner knows at once.
    if request.verify_signature().is_ok() {
        return Ok(());
    }
    // As Go says it, which names the kind of key in its own way.
    let algorithm = request.certification_request_info.subject_pki.algorithm;
    Err(match algorithm.algorithm.to_id_string().as_str() {
        RSA => "crypto/rsa: verification error",
        ED25519 => "x509: Ed25519 verification failure",
        _ => "x509: ECDSA verification failure",
    }
    .to_owned())
}

fn usages(csr: &Value, path: &Path, errors: &mut ErrorList) {
    let usages = texts(csr, &["spec", "usages"]);
    if usages.is_empty() {
        errors.push(Error::required(path, ""));
    }
    for (i, usage) in usages.iter().enumerate() {
        if !USAGES.contains(usage) {
            errors.push(Error::not_supported(&path.index(i), *usage, &USAGES));
        }
    }
    for (i, usage) in usages.iter().enumerate() {
        if usages[..i].contains(usage) {
            errors.push(Error::duplicate(&path.index(i), *usage));
        }
    }
}

fn signer_name(name: &str, path: &Path, errors: &mut ErrorList) {
    if name.is_empty() {
        errors.push(Error::required(path, ""));
        return;
    }
    let Some((domain, rest)) = name.split_once('/').filter(|(_, rest)| !rest.contains('/')) else {
        let why = "must be a fully qualified domain and path of the form \
                   'example.com/signer-name'";
        errors.push(Error::invalid(path, name, why));
        return;
    };
    if domain.len() > 253 {
        errors.push(Error::too_long(path, 253));
    }
    labels(domain, is_dns1123_label, path, errors);
    if !domain.contains('.') {
        let why = "should be a domain with at least two segments separated by dots";
        errors.push(Error::invalid(path, domain, why));
    }
    labels(rest, is_dns1123_subdomain, path, errors);
    if name.len() > 571 {
        errors.push(Error::too_long(path, 571));
    }
}

/// Complaints about the first bad label only.
fn labels(text: &str, check: fn(&str) -> Vec<String>, path: &Path, errors: &mut ErrorList) {
    let bad = text
        .split('.')
        .map(|label| (label, check(label)))
        .find(|(_, why)| !why.is_empty());
    for why in bad.iter().flat_map(|(_, why)| why) {
        let label = quote(bad.as_ref().map_or("", |(label, _)| label));
        errors.push(Error::invalid(
            path,
            text,
            format!("validating label {label}: {why}"),
        ));
    }
}

fn conditions(csr: &Value, errors: &mut ErrorList) {
    let path = Path::new("status").child("conditions");
    let (mut approved, mut denied) = (false, false);
    let mut seen: Vec<&str> = Vec::new();
    for (i, condition) in get_array(csr, &["status", "conditions"]).iter().enumerate() {
        let path_i = path.index(i);
        let (kind, status) = (text(condition, &["type"]), text(condition, &["status"]));
        if kind.is_empty() {
            errors.push(Error::required(&path_i.child("type"), ""));
        }
        let known: &[&str] = match kind {
            "Approved" | "Denied" | "Failed" => &["True"],
            _ => &["False", "True", "Unknown"],
        };
        if status.is_empty() {
            errors.push(Error::required(&path_i.child("status"), ""));
        } else if !known.contains(&status) {
            errors.push(Error::not_supported(&path_i.child("status"), status, known));
        }
        approved |= kind == "Approved";
        denied |= kind == "Denied";
        if matches!(kind, "Approved" | "Denied") && approved && denied {
            let why = "Approved and Denied conditions are mutually exclusive";
            errors.push(Error::invalid(&path, kind, why));
        }
        if seen.contains(&kind) {
            errors.push(Error::duplicate(&path_i.child("type"), kind));
        }
        seen.push(kind);
    }
}

fn certificate(encoded: &str) -> Result<(), String> {
    if encoded.is_empty() {
        return Ok(());
    }
    let blocks = pem_blocks(encoded);
    if blocks.is_empty() {
        return Err("must contain at least one CERTIFICATE PEM block".to_owned());
    }
    for block in &blocks {
        if block.label != "CERTIFICATE" {
            let label = quote(&block.label);
            return Err(format!(
                "only CERTIFICATE PEM blocks are allowed, found {label}"
            ));
        }
        X509Certificate::from_der(&block.contents).map_err(|err| err.to_string())?;
    }
    Ok(())
}

pub fn validate_update(new: &Value, update: Update<'_>) -> ErrorList {
    let mut errors = validate(new);
    let path = Path::new("status").child("conditions");
    let of_kind = |csr, kind: &str| -> Vec<Value> {
        let conditions = get_array(csr, &["status", "conditions"]).iter();
        conditions
            .filter(|c| text(c, &["type"]) == kind)
            .cloned()
            .collect()
    };
    for kind in ["Approved", "Denied", "Failed"] {
        if of_kind(new, kind).len() < of_kind(update.old, kind).len() {
            let why = format!("updates may not remove a condition of type {}", quote(kind));
            errors.push(Error::forbidden(&path, why));
        }
    }
    if update.subresource != "approval" {
        for kind in ["Approved", "Denied"] {
            let (new, old) = (of_kind(new, kind), of_kind(update.old, kind));
            let why = match new.len().cmp(&old.len()) {
                std::cmp::Ordering::Greater => "add",
                std::cmp::Ordering::Equal if new != old => "modify",
                _ => continue,
            };
            let why = format!("updates may not {why} a condition of type {}", quote(kind));
            errors.push(Error::forbidden(&path, why));
        }
    }
    let path = Path::new("status").child("certificate");
    let (issued, before) = (
        text(new, &["status", "certificate"]),
        text(update.old, &["status", "certificate"]),
    );
    if issued != before {
        if let Err(why) = certificate(issued) {
            let value = BadValue::Text("<certificate data>".to_owned());
            errors.push(Error::invalid(&path, value, why));
        }
        if update.subresource != "status" {
            errors.push(Error::forbidden(
                &path,
                "updates may not set certificate content",
            ));
        } else if !before.is_empty() {
            let why = "updates may not modify existing certificate content";
            errors.push(Error::forbidden(&path, why));
        }
    }
    errors
}
