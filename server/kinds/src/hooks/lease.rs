//! Leases (kubernetes-api.md 29).

use hanse_json::{Value, get_i64};
use hanse_schema::field::{Error, ErrorList, Path};

/// What belongs to coordinated leader election, which is off, is not kept.
pub fn prepare(lease: &mut Value) {
    if let Some(spec) = lease.get_mut("spec").and_then(Value::as_object_mut) {
        spec.remove("strategy");
        spec.remove("preferredHolder");
    }
}

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
    errors
}
