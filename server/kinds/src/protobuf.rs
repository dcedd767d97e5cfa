//! Bodies that clients send in protobuf: which message a built-in kind is, and its fields.
//!
//! The table `data/proto-fields.json` is made by `codegen/`; reading the wire format is
//! `hanse-wire`'s. It is loaded by the first client that sends protobuf.

use std::sync::OnceLock;

use hanse_json::{Limits, Value, parse, set};
use hanse_wire::protobuf::{Messages, open};

const FIELDS: &str = include_str!("../data/proto-fields.json");
const META: &str = "io.k8s.apimachinery.pkg.apis.meta.v1";
/// The one group whose types live in a module of their own.
const CRD_GROUP: &str = "apiextensions.k8s.io";
const CRD_PACKAGE: &str = "io.k8s.apiextensions-apiserver.pkg.apis.apiextensions";
/// Kinds that are registered in every group.
const META_KINDS: [&str; 1] = ["DeleteOptions"];

fn messages() -> &'static Messages {
    static MESSAGES: OnceLock<Messages> = OnceLock::new();
    MESSAGES.get_or_init(|| {
        let table = parse(FIELDS.as_bytes(), &Limits::default());
        Messages::from_json(&table.map(|parsed| parsed.value).unwrap_or_default())
    })
}

/// The message of a kind: Kubernetes names its packages by the first part of the group.
fn message(api_version: &str, kind: &str) -> String {
    if META_KINDS.contains(&kind) {
        return format!("{META}.{kind}");
    }
    let (group, version) = api_version.split_once('/').unwrap_or(("core", api_version));
    if group == CRD_GROUP {
        return format!("{CRD_PACKAGE}.{version}.{kind}");
    }
    let package = group.split('.').next().unwrap_or_default();
    format!("io.k8s.api.{package}.{version}.{kind}")
}

/// The tree of a protobuf body, with its `apiVersion` and `kind`.
///
/// # Errors
/// A text for a 400: damaged bytes, or a kind that is not known in protobuf.
pub fn decode(body: &[u8]) -> Result<Value, String> {
    let envelope = open(body).map_err(|error| error.to_string())?;
    let name = message(&envelope.api_version, &envelope.kind);
    let mut tree = messages()
        .decode(&name, envelope.raw)
        .map_err(|error| error.to_string())?;
    set(&mut tree, &["apiVersion"], envelope.api_version.into());
    set(&mut tree, &["kind"], envelope.kind.into());
    Ok(tree)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_built_in_kind_has_its_message() {
        for def in crate::builtin() {
            let name = message(&def.api_version(), &def.kind);
            assert!(messages().knows(&name), "{name}");
        }
        assert!(messages().knows(&message("v1", "DeleteOptions")));
        assert!(messages().knows(&message("authentication.k8s.io/v1", "TokenRequest")));
    }
}
