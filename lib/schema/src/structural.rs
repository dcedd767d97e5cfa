//! The rules that make a schema structural, and Kubernetes' words for breaking them.
//!
//! Start at [`validate`]. A structural schema says the shape of every field outside of `allOf`,
//! `anyOf`, `oneOf` and `not`, so that pruning and defaulting know it. [`convert_error`] is the
//! check before: keywords that have no structural meaning at all.

use crate::field::{Error, ErrorList, Path};
use crate::pattern;
use crate::props::{Additional, Items, Props};

#[derive(Clone, Copy, PartialEq, Eq)]
enum Level {
    Root,
    Item,
    Field,
}

/// Why a schema cannot be read as a structural one, if so: the first such reason, as Kubernetes
/// words it.
pub fn convert_error(props: &Props) -> Option<String> {
    let unsupported = [
        (!props.id.is_empty(), "id"),
        (!props.schema_url.is_empty(), "schema"),
        (
            props.reference.as_ref().is_some_and(|r| !r.is_empty()),
            "$ref",
        ),
        (!props.pattern_properties.is_empty(), "patternProperties"),
        (
            props.dependencies.as_ref().is_some_and(|d| !d.is_empty()),
            "dependencies",
        ),
        (props.additional_items.is_some(), "additionalItems"),
        (!props.definitions.is_empty(), "definitions"),
    ];
    if let Some((_, name)) = unsupported.iter().find(|(present, _)| *present) {
        return Some(format!("OpenAPIV3Schema '{name}' is not supported"));
    }
    if props.preserve_unknown_fields == Some(false) {
        let text =
            "internal error: 'x-kubernetes-preserve-unknown-fields' must be true or undefined";
        return Some(text.to_owned());
    }
    if matches!(&props.items, Some(Items::Many(list)) if !list.is_empty()) {
        return Some("OpenAPIV3Schema 'items' must be a schema, but is an array".to_owned());
    }
    props.children().find_map(convert_error)
}

/// Everything that keeps a schema from being structural, sorted by text.
pub fn validate(props: &Props, path: &Path) -> ErrorList {
    let mut errors = ErrorList::new();
    invariants(props, Level::Root, path, &mut errors);
    completeness(props, Some(props), path, path, &mut errors);
    errors.0.sort_by_cached_key(Error::to_string);
    errors
}

fn invariants(props: &Props, level: Level, path: &Path, errors: &mut ErrorList) {
    if props.ty == "array" && props.items.is_none() {
        errors.push(Error::required(&path.child("items"), "must be specified"));
    }
    if let Some(items) = props.item_schema() {
        invariants(items, Level::Item, &path.child("items"), errors);
    }
    for (name, property) in &props.properties {
        invariants(
            property,
            Level::Field,
            &path.child("properties").key(name),
            errors,
        );
    }
    if let Some(additional) = &props.additional_properties {
        let at = path.child("additionalProperties");
        if level == Level::Root {
            errors.push(Error::forbidden(&at, "must not be used at the root"));
        }
        if let Some(schema) = additional.schema() {
            invariants(schema, Level::Field, &at, errors);
        }
    }
    extension_invariants(props, path, errors);
    value_validation(
        props,
        any_of_pattern(props),
        all_of_pattern(props),
        level,
        path,
        errors,
    );
    type_invariants(props, level, path, errors);
    resource_invariants(props, level, path, errors);
}

fn extension_invariants(props: &Props, path: &Path, errors: &mut ErrorList) {
    let detail = "must be false if x-kubernetes-int-or-string is true";
    if props.int_or_string && props.preserve_unknown_fields == Some(true) {
        let at = path.child("x-kubernetes-preserve-unknown-fields");
        errors.push(Error::invalid(&at, true, detail));
    }
    if props.int_or_string && props.embedded_resource {
        let at = path.child("x-kubernetes-embedded-resource");
        errors.push(Error::invalid(&at, true, detail));
    }
}

fn type_invariants(props: &Props, level: Level, path: &Path, errors: &mut ErrorList) {
    let at = path.child("type");
    if props.embedded_resource && props.ty != "object" {
        let detail = "must be object if x-kubernetes-embedded-resource is true";
        errors.push(if props.ty.is_empty() {
            Error::required(&at, detail)
        } else {
            Error::invalid(&at, props.ty.as_str(), detail)
        });
    } else if props.ty.is_empty()
        && !props.int_or_string
        && props.preserve_unknown_fields != Some(true)
    {
        let detail = match level {
            Level::Root => "must not be empty at the root",
            Level::Item => "must not be empty for specified array items",
            Level::Field => "must not be empty for specified object fields",
        };
        errors.push(Error::required(&at, detail));
    }
    if props.embedded_resource && props.additional_properties.is_some() {
        let detail = "must not be used if x-kubernetes-embedded-resource is set";
        errors.push(Error::forbidden(
            &path.child("additionalProperties"),
            detail,
        ));
    }
    if level == Level::Root && !props.ty.is_empty() && props.ty != "object" {
        errors.push(Error::invalid(
            &at,
            props.ty.as_str(),
            "must be object at the root",
        ));
    }
}

fn resource_invariants(props: &Props, level: Level, path: &Path, errors: &mut ErrorList) {
    let is_resource = level == Level::Root || props.embedded_resource;
    for name in ["kind", "apiVersion"] {
        if let Some(property) = props.properties.get(name)
            && is_resource
            && property.ty != "string"
        {
            let at = path.child("properties").key(name).child("type");
            errors.push(Error::invalid(&at, property.ty.as_str(), "must be string"));
        }
    }
    if let Some(metadata) = props.properties.get("metadata") {
        let at = path.child("properties").key("metadata");
        if is_resource && metadata.ty != "object" {
            let value = metadata.ty.as_str();
            errors.push(Error::invalid(&at.child("type"), value, "must be object"));
        }
        if level == Level::Root && !only_names(metadata) {
            let detail = "must not specify anything other than name and generateName, but \
                          metadata is implicitly specified";
            errors.push(Error::forbidden(&at, detail));
        }
    }
    if props.embedded_resource
        && props.preserve_unknown_fields != Some(true)
        && props.properties.is_empty()
    {
        let detail = "must not be empty if x-kubernetes-embedded-resource is true without \
                      x-kubernetes-preserve-unknown-fields";
        errors.push(Error::required(&path.child("properties"), detail));
    }
}

fn only_names(metadata: &Props) -> bool {
    let names_only = metadata
        .properties
        .keys()
        .all(|k| k == "name" || k == "generateName");
    let mut rest = metadata.clone();
    if names_only {
        rest.properties.clear();
    }
    rest.ty.clear();
    rest.default = None;
    rest.example = None;
    rest.external_docs = None;
    rest == Props::default()
}

/// `anyOf: [{type: integer}, {type: string}]`, the one place where junctors may say a type.
fn is_int_or_string(any_of: &[Props]) -> bool {
    let [first, second] = any_of else {
        return false;
    };
    let of = |ty: &str| Props {
        ty: ty.to_owned(),
        ..Props::default()
    };
    *first == of("integer") && *second == of("string")
}

/// Whether the schema says integer or string in junctors, in one of the two ways allowed.
pub fn says_int_or_string(props: &Props) -> bool {
    any_of_pattern(props) || all_of_pattern(props)
}

fn any_of_pattern(props: &Props) -> bool {
    is_int_or_string(&props.any_of)
}

fn all_of_pattern(props: &Props) -> bool {
    props
        .all_of
        .first()
        .is_some_and(|first| is_int_or_string(&first.any_of))
}

fn value_validation(
    props: &Props,
    skip_any_of: bool,
    skip_first_all_of_any_of: bool,
    level: Level,
    path: &Path,
    errors: &mut ErrorList,
) {
    if !skip_any_of {
        for (i, nested) in props.any_of.iter().enumerate() {
            nested_validation(nested, false, level, &path.child("anyOf").index(i), errors);
        }
    }
    for (i, nested) in props.all_of.iter().enumerate() {
        let skip = skip_first_all_of_any_of && i == 0;
        nested_validation(nested, skip, level, &path.child("allOf").index(i), errors);
    }
    for (i, nested) in props.one_of.iter().enumerate() {
        nested_validation(nested, false, level, &path.child("oneOf").index(i), errors);
    }
    if let Some(nested) = &props.not {
        nested_validation(nested, false, level, &path.child("not"), errors);
    }
    if !props.pattern.is_empty()
        && let Err(why) = pattern::compile(&props.pattern)
    {
        let detail = format!("must be a valid regular expression, but isn't: {why}");
        errors.push(Error::invalid(
            &path.child("pattern"),
            props.pattern.as_str(),
            detail,
        ));
    }
}

fn nested_validation(
    props: &Props,
    skip_any_of: bool,
    level: Level,
    path: &Path,
    errors: &mut ErrorList,
) {
    value_validation(props, skip_any_of, false, level, path, errors);
    if let Some(items) = props.item_schema() {
        nested_validation(items, false, level, &path.child("items"), errors);
    }
    for (name, property) in &props.properties {
        let at = path.child("properties").key(name);
        nested_validation(property, false, Level::Field, &at, errors);
    }
    let has_additional = !matches!(
        props.additional_properties,
        None | Some(Additional::Allowed(false))
    );
    let forbidden = [
        (!props.ty.is_empty(), "type", "empty"),
        (has_additional, "additionalProperties", "undefined"),
        (props.default.is_some(), "default", "undefined"),
        (!props.title.is_empty(), "title", "empty"),
        (!props.description.is_empty(), "description", "empty"),
        (props.nullable, "nullable", "false"),
        (
            props.preserve_unknown_fields == Some(true),
            "x-kubernetes-preserve-unknown-fields",
            "false",
        ),
        (
            props.embedded_resource,
            "x-kubernetes-embedded-resource",
            "false",
        ),
        (props.int_or_string, "x-kubernetes-int-or-string", "false"),
        (
            !props.list_map_keys.is_empty(),
            "x-kubernetes-list-map-keys",
            "empty",
        ),
        (
            props.list_type.is_some(),
            "x-kubernetes-list-type",
            "undefined",
        ),
        (
            props.map_type.is_some(),
            "x-kubernetes-map-type",
            "undefined",
        ),
        (
            !props.validations.is_empty(),
            "x-kubernetes-validations",
            "empty",
        ),
    ];
    for (present, keyword, wanted) in forbidden {
        if present {
            let detail = format!("must be {wanted} to be structural");
            errors.push(Error::forbidden(&path.child(keyword), detail));
        }
    }
    if props.properties.contains_key("metadata") {
        let at = path.child("properties").key("metadata");
        errors.push(Error::forbidden(
            &at,
            "must not be specified in a nested context",
        ));
    }
}

/// Every field that a junctor mentions has to be specified outside of it too.
fn completeness(
    validation: &Props,
    structural: Option<&Props>,
    structural_path: &Path,
    validation_path: &Path,
    errors: &mut ErrorList,
) {
    let Some(structural) = structural else {
        let detail = format!("because it is defined in {validation_path}");
        errors.push(Error::required(structural_path, detail));
        return;
    };
    let mut nested = |props: &Props, path: Path| {
        nested_completeness(props, Some(structural), structural_path, &path, errors);
    };
    if let Some(not) = &validation.not {
        nested(not, validation_path.child("not"));
    }
    for (key, list) in [
        ("allOf", &validation.all_of),
        ("anyOf", &validation.any_of),
        ("oneOf", &validation.one_of),
    ] {
        for (i, props) in list.iter().enumerate() {
            nested(props, validation_path.child(key).index(i));
        }
    }
}

fn nested_completeness(
    validation: &Props,
    structural: Option<&Props>,
    structural_path: &Path,
    validation_path: &Path,
    errors: &mut ErrorList,
) {
    completeness(
        validation,
        structural,
        structural_path,
        validation_path,
        errors,
    );
    let Some(structural) = structural else { return };
    if let Some(items) = validation.item_schema() {
        let (at, from) = (
            structural_path.child("items"),
            validation_path.child("items"),
        );
        nested_completeness(items, structural.item_schema(), &at, &from, errors);
    }
    for (name, property) in &validation.properties {
        let at = structural_path.child("properties").key(name);
        let from = validation_path.child("properties").key(name);
        nested_completeness(
            property,
            structural.properties.get(name),
            &at,
            &from,
            errors,
        );
    }
}
