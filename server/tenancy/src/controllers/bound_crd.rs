//! Bound CRDs that nobody uses any more: they go half an hour after they were made.
//!
//! Used is one that a binding lists, or that an accepted claim may need: claims name a group,
//! resource and identity, and the CRD of any schema of that group and resource counts.

use super::{Controllers, Key, Step};
use crate::catalog::bound_resources;
use hanse_cache::Object;
use serde_json::Value;
use std::time::Duration;

/// How long a bound CRD stays at least: whoever binds it anew soon finds it there.
pub(crate) const UNUSED_MAX: Duration = Duration::from_secs(30 * 60);

impl Controllers {
    pub(super) fn bound_crd(&self, key: &Key) -> Step {
        let view = self.tenancy.view();
        let of = view.resources();
        let Some(crd) = view.get(&of.crds, &key.cluster, "", &key.name) else {
            return Step::done();
        };
        let now = self.tenancy.maker().seams().clock.wall();
        let made = crd.text(&["metadata", "creationTimestamp"]);
        let made = made.and_then(|text| hanse_wire::time::parse(&text));
        let made = Duration::from_micros(made.and_then(|t| u64::try_from(t).ok()).unwrap_or(0));
        let left = (made + UNUSED_MAX).saturating_sub(now);
        if self.is_used(&crd) {
            return Step::done();
        }
        if !left.is_zero() {
            return Step {
                again: Some(left),
                ..Step::default()
            };
        }
        Step::write(vec![crate::Maker::delete(&crd)])
    }

    fn is_used(&self, crd: &Object) -> bool {
        let text = |path: &[&str]| crd.text(path).unwrap_or_default().into_owned();
        let group = text(&["spec", "group"]);
        let plural = text(&["spec", "names", "plural"]);
        let uid = &*crd.key().name;
        let claimed = |binding: &Object| {
            let raw = binding.raw(&["status", "appliedPermissionClaims"]);
            let claims: Vec<Value> =
                serde_json::from_slice(raw.unwrap_or(b"[]")).unwrap_or_default();
            let ours = |claim: &Value| {
                claim["resource"] == *plural
                    && claim["group"].as_str().unwrap_or_default() == group
                    && claim["identityHash"]
                        .as_str()
                        .is_some_and(|hash| !hash.is_empty())
            };
            claims.iter().any(ours)
        };
        let bindings = self.tenancy.view().resources().api_bindings.clone();
        self.any(&bindings, |binding| {
            bound_resources(binding).iter().any(|b| b.uid == uid) || claimed(binding)
        })
    }
}
