//! The rules of `spec.conversion`.

use base64::Engine as _;
use hanse_cel::Url;

use super::options::Options;
use super::render;
use super::types::{Conversion, Definition, Service};
use crate::field::{BadValue, Error, ErrorList, Path};
use crate::names;

const ACCEPTED: &[&str] = &["v1", "v1beta1"];

/// Whether one of the versions of ConversionReview is one that the server speaks.
pub fn has_accepted(versions: &[String]) -> bool {
    versions.iter().any(|v| ACCEPTED.contains(&v.as_str()))
}

/// Everything wrong with a conversion.
pub fn validate(value: &Conversion, options: &Options, path: &Path, errors: &mut ErrorList) {
    let at = path.child("strategy");
    if value.strategy.is_empty() {
        errors.push(Error::required(&at, ""));
    } else if !["None", "Webhook"].contains(&value.strategy.as_str()) {
        let supported = ["None", "Webhook"];
        errors.push(Error::not_supported(
            &at,
            value.strategy.as_str(),
            &supported,
        ));
    }
    let config_path = path.child("webhookClientConfig");
    let versions_path = path.child("conversionReviewVersions");
    if value.strategy != "Webhook" {
        let detail = "should not be set when strategy is not set to Webhook";
        if value.client_config.is_some() {
            errors.push(Error::forbidden(&config_path, detail));
        }
        if !value.review_versions.is_empty() {
            errors.push(Error::forbidden(&versions_path, detail));
        }
        return;
    }
    match &value.client_config {
        None => {
            let detail = "required when strategy is set to Webhook";
            errors.push(Error::required(&config_path, detail));
        }
        Some(config) => {
            match (&config.url, &config.service) {
                (Some(url), None) => webhook_url(url, &config_path.child("url"), errors),
                (None, Some(s)) => webhook_service(s, &config_path.child("service"), errors),
                _ => {
                    let detail = "exactly one of url or service is required";
                    errors.push(Error::required(&config_path, detail));
                }
            }
            if !options.allow_bad_ca_bundle
                && let Some(why) = ca_bundle_error(&config.ca_bundle)
            {
                let text = hanse_json::go::json_string(&config.ca_bundle);
                let at = config_path.child("caBundle");
                errors.push(Error::invalid(&at, BadValue::Json(text), why));
            }
        }
    }
    review_versions(&value.review_versions, options, &versions_path, errors);
}

fn review_versions(versions: &[String], options: &Options, path: &Path, errors: &mut ErrorList) {
    if versions.is_empty() {
        return errors.push(Error::required(path, ""));
    }
    for (i, version) in versions.iter().enumerate() {
        let at = path.index(i);
        if versions.iter().take(i).any(|other| other == version) {
            errors.push(Error::invalid(&at, version.as_str(), "duplicate version"));
            continue;
        }
        for complaint in names::is_dns1035_label(version) {
            errors.push(Error::invalid(&at, version.as_str(), complaint));
        }
    }
    if options.recognized_review_version && !has_accepted(versions) {
        let detail = format!("must include at least one of {}", ACCEPTED.join(", "));
        errors.push(Error::invalid(
            path,
            BadValue::Json(render::texts(versions)),
            detail,
        ));
    }
}

/// A URL that a webhook is called at.
fn webhook_url(text: &str, path: &Path, errors: &mut ErrorList) {
    let form = "; desired format: https://host[/path]";
    let url = match Url::parse(text) {
        Ok(url) => url,
        Err(why) => {
            let detail = format!("url must be a valid URL: {why}{form}");
            return errors.push(Error::required(path, detail));
        }
    };
    if url.scheme != "https" {
        let detail = format!("'https' is the only allowed URL scheme{form}");
        errors.push(Error::invalid(path, url.scheme.as_str(), detail));
    }
    if url.host.is_empty() {
        errors.push(Error::invalid(
            path,
            "",
            format!("host must be specified{form}"),
        ));
    }
    if let Some(user) = &url.user {
        let detail = "user information is not permitted in the URL";
        errors.push(Error::invalid(path, user.as_str(), detail));
    }
    if !url.fragment.is_empty() {
        let detail = "fragments are not permitted in the URL";
        errors.push(Error::invalid(path, url.fragment.as_str(), detail));
    }
    if !url.query.is_empty() {
        let detail = "query parameters are not permitted in the URL";
        errors.push(Error::invalid(path, url.query.as_str(), detail));
    }
}

fn webhook_service(service: &Service, path: &Path, errors: &mut ErrorList) {
    // Kubernetes hands name and namespace over in the wrong order here, and so names the other.
    if service.namespace.is_empty() {
        errors.push(Error::required(&path.child("name"), ""));
    }
    if service.name.is_empty() {
        errors.push(Error::required(&path.child("namespace"), ""));
    }
    let complaints = names::is_valid_port_number(service.port);
    if !complaints.is_empty() {
        let detail = format!("port is not valid: {}", complaints.join(", "));
        errors.push(Error::invalid(&path.child("port"), service.port, detail));
    }
    let at = path.child("path");
    let text = match service.path.as_deref() {
        None | Some("" | "/") => return,
        Some(text) => text,
    };
    if text == "//" {
        return errors.push(Error::invalid(&at, text, "segment[0] may not be empty"));
    }
    if !text.starts_with('/') {
        errors.push(Error::invalid(&at, text, "must start with a '/'"));
    }
    let below = text.char_indices().nth(1).map_or("", |(i, _)| &text[i..]);
    let below = below.strip_suffix('/').unwrap_or(below);
    for (i, step) in below.split('/').enumerate() {
        if step.is_empty() {
            let detail = format!("segment[{i}] may not be empty");
            errors.push(Error::invalid(&at, text, detail));
        }
        let complaints = if step.is_empty() {
            vec![]
        } else {
            names::is_dns1123_subdomain(step)
        };
        for complaint in complaints {
            errors.push(Error::invalid(
                &at,
                text,
                format!("segment[{i}]: {complaint}"),
            ));
        }
    }
}

/// Whether a bundle that is no bundle is let be: nobody was served with it yet, or it was there.
pub fn allows_bad_ca_bundle(old: &Definition) -> bool {
    let config = old
        .spec
        .conversion
        .as_ref()
        .and_then(|c| c.client_config.as_ref());
    !old.established || config.is_some_and(|c| ca_bundle_error(&c.ca_bundle).is_some())
}

/// Why a bundle holds no certificate. Only its outer form is looked at: whether each certificate
/// parses shows when the webhook is called.
fn ca_bundle_error(base64: &str) -> Option<String> {
    if base64.is_empty() {
        return None;
    }
    let no_pem =
        || Some("unable to load root certificates: unable to parse bytes as PEM block".into());
    let Ok(bytes) = base64::engine::general_purpose::STANDARD.decode(base64) else {
        return no_pem();
    };
    let text = String::from_utf8_lossy(&bytes);
    let body = text
        .split_once("-----BEGIN CERTIFICATE-----")
        .and_then(|(_, rest)| rest.split_once("-----END CERTIFICATE-----"))
        .map(|(body, _)| body.split_whitespace().collect::<String>());
    let is_der = |body: String| {
        let der = base64::engine::general_purpose::STANDARD.decode(body);
        // A certificate is an ASN.1 SEQUENCE.
        der.is_ok_and(|der| der.first() == Some(&0x30))
    };
    if body.is_some_and(is_der) {
        None
    } else {
        no_pem()
    }
}
