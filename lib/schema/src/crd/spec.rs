//! The rules of a CRD's spec apart from those of its schemas.
//!
//! Start at [`validate`].

use std::collections::BTreeSet;

use super::field_path;
use super::options::{Options, SELECTABLE_FIELDS_MAX};
use super::types::{Column, Names, Scale, Spec, Subresources, Version};
use super::{conversion, render, schema};
use crate::field::{BadValue, Error, ErrorList, Path};
use crate::props::Props;
use crate::{names, structural};
use hanse_json::go;

/// Everything wrong with the spec.
pub fn validate(spec: &Spec, options: &Options, errors: &mut ErrorList) {
    let path = Path::new("spec");
    let mut options = options.clone();
    group(spec, &path, errors);
    if spec.scope.is_empty() {
        errors.push(Error::required(&path.child("scope"), ""));
    } else if !["Cluster", "Namespaced"].contains(&spec.scope.as_str()) {
        let at = path.child("scope");
        let supported = ["Cluster", "Namespaced"];
        errors.push(Error::not_supported(&at, spec.scope.as_str(), &supported));
    }
    if !spec.preserve_unknown_fields {
        options.structural = true;
    }
    missing_schemas(spec, &options, &path, errors);
    if spec.schemas().any(|s| s.any(&|p| p.default.is_some())) {
        options.structural = true;
        if spec.preserve_unknown_fields {
            let at = path.child("preserveUnknownFields");
            let detail = "must be false in order to use defaults in the schema";
            errors.push(Error::invalid(&at, true, detail));
        }
    }
    if spec.schemas().any(|s| s.any(&has_extension)) {
        options.structural = true;
    }
    versions(spec, &options, &path, errors);
    required_names(&spec.names, &path.child("names"), errors);
    validate_names(&spec.names, &path.child("names"), errors);
    shared(spec, &options, &path, errors);
    if let Some(value) = &spec.conversion {
        let at = path.child("conversion");
        if value.strategy != "None" && spec.preserve_unknown_fields {
            let value = BadValue::Json(go::json_string(&value.strategy));
            let detail = "must be None if spec.preserveUnknownFields is true";
            errors.push(Error::invalid(&at.child("strategy"), value, detail));
        }
        conversion::validate(value, &options, &at, errors);
    }
}

/// What stands beside the versions because all of them have it alike.
fn shared(spec: &Spec, options: &Options, path: &Path, errors: &mut ErrorList) {
    if let Some(validation) = &spec.validation {
        let status = |s: &Subresources| s.status;
        let own = spec.versions.iter().filter_map(|v| v.subresources.as_ref());
        let has_status = spec.subresources.iter().chain(own).any(status);
        let first = spec
            .versions
            .first()
            .map(|v| v.name.as_str())
            .unwrap_or_default();
        let unchanged = options.unchanged_schemas.contains(first);
        let at = path.child("validation");
        schema::validate(validation, has_status, options, unchanged, &at, errors);
    }
    subresources(
        spec.subresources.as_ref(),
        &path.child("subresources"),
        errors,
    );
    for (i, column) in spec.columns.iter().enumerate() {
        columns(
            column,
            &path.child("additionalPrinterColumns").index(i),
            errors,
        );
    }
    if !spec.selectable_fields.is_empty() {
        let at = path.child("selectableFields");
        match &spec.validation {
            None => {
                let detail = "may only be set when validations.schema is included";
                errors.push(Error::invalid(&at, "", detail));
            }
            Some(validation) => {
                let schema = validation.schema.as_ref();
                selectable(&spec.selectable_fields, schema, options, "", path, errors);
            }
        }
    }
}

fn group(spec: &Spec, path: &Path, errors: &mut ErrorList) {
    let at = path.child("group");
    if spec.group.is_empty() {
        return errors.push(Error::required(&at, ""));
    }
    let complaints = names::is_dns1123_subdomain(&spec.group);
    if !complaints.is_empty() {
        errors.push(Error::invalid(
            &at,
            spec.group.as_str(),
            complaints.join(","),
        ));
    } else if !spec.group.contains('.') {
        let detail = "should be a domain with at least one dot";
        errors.push(Error::invalid(&at, spec.group.as_str(), detail));
    }
}

fn has_extension(props: &Props) -> bool {
    props.embedded_resource
        || props.preserve_unknown_fields.is_some()
        || props.int_or_string
        || !props.list_map_keys.is_empty()
        || props.list_type.is_some()
        || !props.validations.is_empty()
}

fn missing_schemas(spec: &Spec, options: &Options, path: &Path, errors: &mut ErrorList) {
    if spec.validation.as_ref().is_some_and(|v| v.schema.is_some()) {
        return;
    }
    let missing = |v: &&(usize, &Version)| {
        v.1.schema
            .as_ref()
            .is_none_or(|schema| schema.schema.is_none())
    };
    let listed: Vec<(usize, &Version)> = spec.versions.iter().enumerate().collect();
    for (i, version) in listed.iter().filter(missing) {
        let at = path
            .child("versions")
            .index(*i)
            .child("schema")
            .child("openAPIV3Schema");
        if options.require_schema {
            errors.push(Error::required(&at, ""));
        } else if !spec.preserve_unknown_fields && version.served {
            errors.push(Error::required(
                &at,
                "because otherwise all fields are pruned",
            ));
        }
    }
}

fn versions(spec: &Spec, options: &Options, path: &Path, errors: &mut ErrorList) {
    let at = path.child("versions");
    let mut seen = BTreeSet::new();
    let mut unique = true;
    for (i, version) in spec.versions.iter().enumerate() {
        unique &= seen.insert(version.name.as_str());
        let complaints = names::is_dns1035_label(&version.name);
        if !complaints.is_empty() {
            let path = at.index(i).child("name");
            errors.push(Error::invalid(
                &path,
                version.name.as_str(),
                complaints.join(","),
            ));
        }
        let has_status = spec.subresources_of(version).is_some_and(|s| s.status);
        one_version(version, has_status, options, &at.index(i), errors);
    }
    let all = || match spec.versions.is_empty() && spec.versions_given {
        true => BadValue::Json("[]".to_owned()),
        false => BadValue::Json(render::versions(&spec.versions)),
    };
    if !unique {
        errors.push(Error::invalid(
            &at,
            all(),
            "must contain unique version names",
        ));
    }
    if spec.versions.iter().filter(|v| v.storage).count() != 1 {
        let detail = "must have exactly one version marked as storage version";
        errors.push(Error::invalid(&at, all(), detail));
    }
    // The first version's name is also `spec.version` in the internal layout.
    if let Some(first) = spec.versions.first() {
        let complaints = names::is_dns1035_label(&first.name);
        if !first.name.is_empty() && !complaints.is_empty() {
            let at = path.child("version");
            errors.push(Error::invalid(
                &at,
                first.name.as_str(),
                complaints.join(","),
            ));
        }
    }
}

fn one_version(
    version: &Version,
    has_status: bool,
    options: &Options,
    path: &Path,
    errors: &mut ErrorList,
) {
    if let Some(warning) = &version.deprecation_warning {
        let at = path.child("deprecationWarning");
        for complaint in deprecation_warning(version.deprecated, warning) {
            let value = BadValue::Json(go::json_string(warning));
            errors.push(Error::invalid(&at, value, complaint));
        }
    }
    if let Some(validation) = &version.schema {
        let unchanged = options.unchanged_schemas.contains(&version.name);
        let at = path.child("schema");
        schema::validate(validation, has_status, options, unchanged, &at, errors);
    }
    subresources(
        version.subresources.as_ref(),
        &path.child("subresources"),
        errors,
    );
    for (i, column) in version.columns.iter().enumerate() {
        columns(
            column,
            &path.child("additionalPrinterColumns").index(i),
            errors,
        );
    }
    if version.selectable_fields.is_empty() {
        return;
    }
    match version.schema.as_ref().and_then(|v| v.schema.as_ref()) {
        None => {
            let detail = "may only be set when `version.schema.openAPIV3Schema` is not included";
            errors.push(Error::invalid(&path.child("selectableFields"), "", detail));
        }
        schema => {
            let fields = &version.selectable_fields;
            selectable(fields, schema, options, &version.name, path, errors);
        }
    }
}

fn deprecation_warning(deprecated: bool, warning: &str) -> Vec<String> {
    if !deprecated {
        return vec!["can only be set for deprecated versions".to_owned()];
    }
    let mut complaints = Vec::new();
    if warning.len() > 256 {
        complaints.push("must be <= 256 characters long".to_owned());
    }
    if warning.is_empty() {
        complaints.push("must not be an empty string".to_owned());
    }
    if let Some((i, _)) = warning.char_indices().find(|(_, c)| !go::is_print(*c)) {
        complaints.push(format!(
            "must only contain printable UTF-8 characters; non-printable character found at index {i}"
        ));
    }
    complaints
}

fn required_names(names: &Names, path: &Path, errors: &mut ErrorList) {
    for (key, value) in [
        ("plural", &names.plural),
        ("singular", &names.singular),
        ("kind", &names.kind),
        ("listKind", &names.list_kind),
    ] {
        if value.is_empty() {
            errors.push(Error::required(&path.child(key), ""));
        }
    }
}

/// What names may look like, in spec and status.
pub fn validate_names(names: &Names, path: &Path, errors: &mut ErrorList) {
    let mut check = |at: Path, shown: &str, label: &str, prefix: &str| {
        let complaints = names::is_dns1035_label(label);
        if !complaints.is_empty() {
            errors.push(Error::invalid(
                &at,
                shown,
                format!("{prefix}{}", complaints.join(",")),
            ));
        }
    };
    for (key, value) in [("plural", &names.plural), ("singular", &names.singular)] {
        if !value.is_empty() {
            check(path.child(key), value, value, "");
        }
    }
    let mixed = "may have mixed case, but should otherwise match: ";
    for (key, value) in [("kind", &names.kind), ("listKind", &names.list_kind)] {
        if !value.is_empty() {
            check(path.child(key), value, &value.to_lowercase(), mixed);
        }
    }
    for (i, name) in names.short_names.iter().enumerate() {
        check(path.child("shortNames").index(i), name, name, "");
    }
    if !names.kind.is_empty() && names.kind == names.list_kind {
        let detail = "kind and listKind may not be the same";
        errors.push(Error::invalid(
            &path.child("listKind"),
            names.list_kind.as_str(),
            detail,
        ));
    }
    for (i, category) in names.categories.iter().enumerate() {
        let complaints = names::is_dns1035_label(category);
        if !complaints.is_empty() {
            let at = path.child("categories").index(i);
            errors.push(Error::invalid(&at, category.as_str(), complaints.join(",")));
        }
    }
}

const COLUMN_TYPES: &[&str] = &["boolean", "date", "integer", "number", "string"];
const COLUMN_FORMATS: &[&str] = &[
    "byte",
    "date",
    "date-time",
    "double",
    "float",
    "int32",
    "int64",
    "password",
];

fn columns(column: &Column, path: &Path, errors: &mut ErrorList) {
    if column.name.is_empty() {
        errors.push(Error::required(&path.child("name"), ""));
    }
    let one_of = |list: &[&str]| format!("must be one of {}", list.join(","));
    if column.ty.is_empty() {
        errors.push(Error::required(&path.child("type"), one_of(COLUMN_TYPES)));
    } else if !COLUMN_TYPES.contains(&column.ty.as_str()) {
        let detail = one_of(COLUMN_TYPES);
        errors.push(Error::invalid(
            &path.child("type"),
            column.ty.as_str(),
            detail,
        ));
    }
    if !column.format.is_empty() && !COLUMN_FORMATS.contains(&column.format.as_str()) {
        let detail = one_of(COLUMN_FORMATS);
        errors.push(Error::invalid(
            &path.child("format"),
            column.format.as_str(),
            detail,
        ));
    }
    let at = path.child("JSONPath");
    if column.json_path.is_empty() {
        errors.push(Error::required(&at, ""));
    } else {
        errors.extend(simple_path_error(&column.json_path, &at));
    }
}

/// `.a.b`: what printer columns and the scale subresource may name.
fn simple_path_error(text: &str, path: &Path) -> Option<Error> {
    let detail = "must be a simple json path starting with .";
    (!text.starts_with('.')).then(|| Error::invalid(path, text, detail))
}

fn subresources(value: Option<&Subresources>, path: &Path, errors: &mut ErrorList) {
    let Some(scale) = value.and_then(|s| s.scale.as_ref()) else {
        return;
    };
    let Scale {
        spec_replicas_path,
        status_replicas_path,
        label_selector_path,
    } = scale;
    for (key, text, under) in [
        ("scale.specReplicasPath", spec_replicas_path, "spec"),
        ("scale.statusReplicasPath", status_replicas_path, "status"),
    ] {
        let at = path.child(key);
        if text.is_empty() {
            errors.push(Error::required(&at, ""));
        } else if let Some(error) = simple_path_error(text, &at) {
            errors.push(error);
        } else if !text.starts_with(&format!(".{under}.")) {
            let detail = format!("should be a json path under .{under}");
            errors.push(Error::invalid(&at, text.as_str(), detail));
        }
    }
    let Some(text) = label_selector_path.as_ref().filter(|t| !t.is_empty()) else {
        return;
    };
    let at = path.child("scale.labelSelectorPath");
    if let Some(error) = simple_path_error(text, &at) {
        errors.push(error);
    } else if !text.starts_with(".spec.") && !text.starts_with(".status.") {
        let value = BadValue::Json(go::json_string(text));
        let detail = "should be a json path under either .spec or .status";
        errors.push(Error::invalid(&at, value, detail));
    }
}

fn selectable(
    fields: &[String],
    schema: Option<&Props>,
    options: &Options,
    version: &str,
    parent: &Path,
    errors: &mut ErrorList,
) {
    let Some(schema) = schema else { return };
    let unreadable = structural::convert_error(schema);
    if let Some(why) = &unreadable {
        let at = parent.child("schema.openAPIV3Schema");
        errors.push(Error::invalid(&at, "", why.as_str()));
    }
    let path = parent.child("selectableFields");
    let mut seen = BTreeSet::new();
    for (i, field) in fields.iter().enumerate() {
        let at = path.index(i).child("jsonPath");
        if field.is_empty() {
            errors.push(Error::required(&at, ""));
            continue;
        }
        let (found_path, found) = match field_path::resolve(field, schema, false) {
            // Of such a schema only the form of the path can be judged.
            Ok(_) if unreadable.is_some() => continue,
            Ok(found) => found,
            Err(why) => {
                let detail = format!("is an invalid path: {why}");
                errors.push(Error::invalid(&at, field.as_str(), detail));
                continue;
            }
        };
        let text = found_path.to_string();
        if text.split('.').next() == Some("metadata") {
            let detail = "must not point to fields in metadata";
            errors.push(Error::invalid(&at, field.as_str(), detail));
        }
        if !found.is_some_and(|s| ["string", "boolean", "integer"].contains(&s.ty.as_str())) {
            let detail = "must point to a field of type string, boolean or integer. Enum string \
                          fields and strings with formats are allowed.";
            errors.push(Error::invalid(&at, field.as_str(), detail));
        }
        if !seen.insert(text) {
            errors.push(Error::duplicate(&at, field.as_str()));
        }
    }
    if seen.len() > SELECTABLE_FIELDS_MAX && !options.too_many_selectable.contains(version) {
        let (count, max) = (seen.len() as i64, SELECTABLE_FIELDS_MAX as i64);
        errors.push(Error::too_many(&path, count, max));
    }
}

/// What can never change.
pub fn validate_immutable(new: &Spec, old: &Spec, immutable_names: bool, errors: &mut ErrorList) {
    let path = Path::new("spec");
    let mut check = |at: Path, new: &str, old: &str| {
        if new != old {
            errors.push(Error::invalid(&at, new, "field is immutable"));
        }
    };
    if immutable_names {
        check(path.child("scope"), &new.scope, &old.scope);
        check(
            path.child("names").child("kind"),
            &new.names.kind,
            &old.names.kind,
        );
    }
    check(path.child("group"), &new.group, &old.group);
    check(
        path.child("names").child("plural"),
        &new.names.plural,
        &old.names.plural,
    );
}
