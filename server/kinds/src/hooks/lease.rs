//! Leases (kubernetes-api.md 29).

use hanse_json::{Value, get_i64, get_str};
use hanse_schema::field::{Error, ErrorList, Path};
use hanse_schema::names::is_qualified_name;

use super::{complain, text};

pub fn validate(lease: &Value) -> ErrorList {
    let mut errors = ErrorList::new();
    let path = Path::new("spec");
    if let Some(seconds) = get_i64(lease, &["spec", "leaseDurationSeconds"]).filter(|n| *n <= 0) {
        let path = path.child("leaseDurationSeconds");
        errors.push(Error::invalid(&path, seconds, "must be greater than 0"));
    }
    if let Some(count) = get_i64(lease, &["spec", "leaseTransitions"]).filter(|n| *n < 0) {
        let path = path.child("leaseTransitions");
        errors.push(Error::invalid(
            &path,
            count,
            "must be greater than or equal to 0",
        ));
    }
    if let Some(strategy) = get_str(lease, &["spec", "strategy"]) {
        // Upstream names the field twice in this path.
        let path = path.child("strategy").child("strategy");
        if strategy.contains('/') {
            complain(is_qualified_name(strategy), &path, strategy, &mut errors);
        } else if strategy != "OldestEmulationVersion" {
            errors.push(Error::not_supported(
                &path,
                strategy,
                &["OldestEmulationVersion"],
            ));
        }
    }
    let holder = text(lease, &["spec", "preferredHolder"]);
    if !holder.is_empty() && text(lease, &["spec", "strategy"]).is_empty() {
        let why = "may only be specified if `strategy` is defined";
        errors.push(Error::forbidden(&path.child("preferredHolder"), why));
    }
    errors
}
