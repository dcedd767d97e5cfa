//! Which claim labels an object must carry now, out of the bindings of its logical cluster.

use hanse_auth::View;
use hanse_auth::versions::ByVersion;
use hanse_cache::Object;
use hanse_rules::claims::{self, BindingClaims, Claim};
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::sync::Arc;

/// Parsed bindings that are kept.
const PARSED_MAX: usize = 2048;

/// Looks up bindings and works out labels.
pub struct Claims {
    view: Arc<View>,
    parsed: ByVersion<BindingClaims>,
}

impl Claims {
    pub(crate) fn new(view: Arc<View>) -> Claims {
        Claims {
            view,
            parsed: ByVersion::new(PARSED_MAX),
        }
    }

    /// The labels with the claim prefix that the object must have, no more and no fewer.
    #[must_use]
    pub fn expected(
        &self,
        cluster: &str,
        group: &str,
        resource: &str,
        identity: &str,
        object: &Value,
    ) -> BTreeMap<String, String> {
        let bindings = self
            .view
            .list_cluster(&self.view.resources().api_bindings, cluster);
        let parse = |o: &Object| self.parsed.get(o.resource_version(), || read(o));
        let parsed = bindings.iter().map(parse).filter(|b| !b.applied.is_empty());
        let bindings: Vec<BindingClaims> = parsed.map(|b| (*b).clone()).collect();
        claims::expected_labels(&bindings, group, resource, identity, object)
    }
}

/// What a binding's status says is in force.
fn read(object: &Object) -> BindingClaims {
    let text = |path: &[&str]| {
        object
            .text(path)
            .map(|t| t.into_owned())
            .unwrap_or_default()
    };
    let raw = object
        .raw(&["status", "appliedPermissionClaims"])
        .unwrap_or(b"[]");
    let list: Value = serde_json::from_slice(raw).unwrap_or_default();
    let applied: Vec<Claim> = claims::of_binding(&json!({"spec": {"permissionClaims": list}}));
    BindingClaims {
        export_cluster: text(&["status", "apiExportClusterName"]),
        export: text(&["spec", "reference", "export", "name"]),
        applied,
    }
}
