//! Events (kubernetes-api.md 27): the core view is validated loosely, the new one strictly.

use hanse_json::{Value, get, get_i64, get_object, get_str};
use hanse_schema::field::{Error, ErrorList, Path};
use hanse_schema::names::{is_dns1123_subdomain, is_qualified_name};

use super::{complain, immutable, text};
use crate::events;

const MAX_SHORT: usize = 128;
const MAX_NOTE: usize = 1024;

pub fn validate(event: &Value) -> ErrorList {
    loose(event, "reportingComponent")
}

/// Both rules see the core form; `controller` is the request's name for the reporting component.
fn loose(event: &Value, controller: &str) -> ErrorList {
    let mut errors = ErrorList::new();
    let namespace = text(event, &["metadata", "namespace"]);
    let involved = text(event, &["involvedObject", "namespace"]);
    let is_new = get_str(event, &["eventTime"]).is_some();
    let agrees = match (is_new, involved) {
        (false, "") => matches!(namespace, "" | "default"),
        (false, involved) => namespace == involved,
        (true, "") => matches!(namespace, "default" | "kube-system"),
        (true, _) => true,
    };
    if !agrees {
        let path = Path::new("involvedObject").child("namespace");
        errors.push(Error::invalid(
            &path,
            involved,
            "does not match event.namespace",
        ));
    }
    if is_new {
        reporter(event, controller, &mut errors);
    }
    complain(
        is_dns1123_subdomain(namespace),
        &Path::new("namespace"),
        namespace,
        &mut errors,
    );
    errors
}

fn reporter(event: &Value, controller: &str, errors: &mut ErrorList) {
    let path = Path::new(controller);
    let component = text(event, &["reportingComponent"]);
    if component.is_empty() {
        errors.push(Error::required(&path, ""));
    }
    complain(is_qualified_name(component), &path, component, errors);
    let fields = [
        ("reportingInstance", true, MAX_SHORT),
        ("action", true, MAX_SHORT),
        ("reason", true, MAX_SHORT),
        ("message", false, MAX_NOTE),
    ];
    for (field, required, max) in fields {
        let (path, value) = (Path::new(field), text(event, &[field]));
        if required && value.is_empty() {
            errors.push(Error::required(&path, ""));
        }
        if value.len() > max {
            let why = format!("can have at most {max} characters");
            errors.push(Error::invalid(&path, "", why));
        }
    }
}

fn core_form(event: &Value) -> Value {
    let mut core = event.clone();
    // Cannot fail: see the conversion.
    let _ = events::convert(&mut core, events::NEW, events::CORE);
    core
}

pub fn validate_new(event: &Value) -> ErrorList {
    let event = &core_form(event);
    let mut errors = loose(event, "reportingController");
    series(event, &mut errors);
    let has_time = |field: &str| get_str(event, &[field]).is_some();
    let source = |field: &str| !text(event, &["source", field]).is_empty();
    if !has_time("eventTime") {
        errors.push(Error::required(&Path::new("eventTime"), ""));
    }
    let kind = text(event, &["type"]);
    if !matches!(kind, "Normal" | "Warning") {
        let why = format!("has invalid value: {kind}");
        errors.push(Error::invalid(&Path::new("type"), "", why));
    }
    let count = get_i64(event, &["count"]).unwrap_or_default();
    for (field, is_set) in [
        ("firstTimestamp", has_time("firstTimestamp")),
        ("lastTimestamp", has_time("lastTimestamp")),
        ("count", count != 0),
        ("source", source("component") || source("host")),
    ] {
        if is_set {
            errors.push(Error::invalid(&Path::new(field), "", "needs to be unset"));
        }
    }
    errors
}

fn series(event: &Value, errors: &mut ErrorList) {
    if get_object(event, &["series"]).is_none() {
        return;
    }
    if get_i64(event, &["series", "count"]).unwrap_or_default() < 2 {
        errors.push(Error::invalid(
            &Path::new("series.count"),
            "",
            "should be at least 2",
        ));
    }
    if get_str(event, &["series", "lastObservedTime"]).is_none() {
        errors.push(Error::required(&Path::new("series.lastObservedTime"), ""));
    }
}

pub fn validate_new_update(new: &Value, old: &Value) -> ErrorList {
    let (new, old) = (&core_form(new), &core_form(old));
    let mut errors = loose(new, "reportingController");
    if get(new, &["series"]) != get(old, &["series"]) {
        series(new, &mut errors);
    }
    let fields = [
        ("involvedObject", "involvedObject"),
        ("reason", "reason"),
        ("message", "message"),
        ("source", "source"),
        ("firstTimestamp", "firstTimestamp"),
        ("lastTimestamp", "lastTimestamp"),
        ("count", "count"),
        ("type", "type"),
        ("eventTime", "eventTime"),
        ("action", "action"),
        ("related", "related"),
        ("reportingComponent", "reportingController"),
        ("reportingInstance", "reportingInstance"),
    ];
    for (field, path) in fields {
        immutable(new, old, &[field], &Path::new(path), &mut errors);
    }
    errors
}
