//! The rules of the schema of a CRD version beyond being structural.
//!
//! Start at [`validate`]. Errors of the schema come before errors of its rules in CEL.

use super::options::Options;
use super::rules::{Costs, Judge, RuleScope};
use super::types::Validation;
use super::{defaults, field_path, render};
use crate::field::{BadValue, Error, ErrorList, Path};
use crate::props::{Additional, Items, Props, Rule};
use crate::{prune, structural};

/// Types that a schema may ask for.
pub const TYPES: &[&str] = &["array", "boolean", "integer", "number", "object", "string"];
const REASONS: &[&str] = &[
    "FieldValueDuplicate",
    "FieldValueForbidden",
    "FieldValueInvalid",
    "FieldValueRequired",
];

const ALLOWED_AT_ROOT: &str = "[Description Type Format Title Maximum ExclusiveMaximum Minimum \
    ExclusiveMinimum MaxLength MinLength Pattern MaxItems MinItems UniqueItems MultipleOf \
    Required Items Properties ExternalDocs Example XPreserveUnknownFields XValidations]";

/// Everything wrong with the schema of a version (or with the one that all versions share).
pub fn validate(
    validation: &Validation,
    has_status: bool,
    options: &Options,
    unchanged: bool,
    path: &Path,
    errors: &mut ErrorList,
) {
    let Some(schema) = &validation.schema else {
        return;
    };
    let at = path.child("openAPIV3Schema");
    let before = errors.len();
    if has_status {
        errors.extend(root_error(schema, path));
    }
    if schema.nullable {
        let detail = "nullable cannot be true at the root";
        errors.push(Error::forbidden(
            &path.child("openAPIV3Schema.nullable"),
            detail,
        ));
    }
    let mut unreadable = None;
    let mut judge_rules = false;
    if options.structural {
        unreadable = structural::convert_error(schema);
        if unreadable.is_none() {
            let mut found = structural::validate(schema, &at);
            if found.is_empty() {
                found =
                    defaults::validate(schema, &validation.source, &at, options.pruned_defaults);
                judge_rules = found.is_empty();
            }
            errors.extend(found);
        }
    }
    let mut found = Found {
        costs: Costs::new(!unchanged),
        ..Found::default()
    };
    // Types of schemas that are not structural cannot be declared.
    let rules = judge_rules.then(|| RuleScope::root(&validation.source));
    let place = Place {
        is_root: true,
        rules,
        ..Place::default()
    };
    walk(schema, &at, &place, options, &mut found);
    errors.extend(found.schema);
    errors.extend(found.rules);
    if let Some(why) = unreadable.filter(|_| errors.len() == before) {
        errors.push(Error::invalid(&at, "", why));
    }
    found.costs.report(&at, errors);
}

/// With the status subresource only keywords may stand at the root that leave `status` apart.
fn root_error(p: &Props, path: &Path) -> Option<Error> {
    let before_type = !p.id.is_empty() || !p.schema_url.is_empty() || p.reference.is_some();
    let others = p.nullable
        || p.default.is_some()
        || !p.enumeration.is_empty()
        || p.max_properties.is_some()
        || p.min_properties.is_some()
        || !p.all_of.is_empty()
        || !p.one_of.is_empty()
        || !p.any_of.is_empty()
        || p.not.is_some()
        || p.additional_properties.is_some()
        || !p.pattern_properties.is_empty()
        || p.dependencies.is_some()
        || p.additional_items.is_some()
        || !p.definitions.is_empty()
        || p.embedded_resource
        || p.int_or_string
        || !p.list_map_keys.is_empty()
        || p.list_type.is_some()
        || p.map_type.is_some();
    if !before_type && !p.ty.is_empty() && p.ty != "object" {
        let detail = "only \"object\" is allowed as the type at the root of the schema if the \
                      status subresource is enabled";
        let at = path.child("openAPIV3Schema.type");
        return Some(Error::invalid(&at, p.ty.as_str(), detail));
    }
    (before_type || others).then(|| {
        let detail = format!(
            "only {ALLOWED_AT_ROOT} fields are allowed at the root of the schema if the status \
             subresource is enabled"
        );
        let value = BadValue::Json(render::props(p));
        Error::invalid(&path.child("openAPIV3Schema"), value, detail)
    })
}

/// What the place of a schema in the whole forbids.
#[derive(Clone, Debug, Default)]
struct Place<'s> {
    is_root: bool,
    /// In the apiVersion, kind or metadata of a resource.
    inside_meta: bool,
    /// Why there may be no default.
    no_defaults: Option<String>,
    /// The outermost place around that has no counterpart in the old object.
    uncorrelatable: Option<Path>,
    /// `None` where rules are not looked at: in junctors and broken schemas.
    rules: Option<RuleScope<'s>>,
}

impl<'s> Place<'s> {
    /// The place of a child outside of junctors; `key` leads to it in the JSON of the schema.
    fn below(&self, parent: &Props, key: &str, name: Option<&str>) -> Place<'s> {
        let rules = self
            .rules
            .as_ref()
            .map(|scope| scope.below(parent, key, name));
        Place {
            is_root: false,
            rules,
            ..self.clone()
        }
    }

    fn in_junctor(&self) -> Place<'s> {
        Place {
            is_root: false,
            rules: None,
            ..self.clone()
        }
    }

    fn uncorrelated(mut self, path: &Path) -> Place<'s> {
        self.uncorrelatable.get_or_insert_with(|| path.clone());
        self
    }
}

#[derive(Default)]
struct Found {
    schema: ErrorList,
    rules: ErrorList,
    costs: Costs,
}

fn walk(props: &Props, path: &Path, place: &Place<'_>, options: &Options, found: &mut Found) {
    let before = found.schema.len();
    keywords(props, path, place, options, &mut found.schema);
    children(props, path, place, options, found);
    extensions(props, path, options, &mut found.schema);
    for (i, rule) in props.validations.iter().enumerate() {
        let at = path.child("x-kubernetes-validations").index(i);
        rule_texts(props, rule, &at, &mut found.schema);
    }
    // Rules on a broken schema only give errors that go away with it.
    if let Some(scope) = &place.rules
        && !props.validations.is_empty()
        && found.schema.len() == before
    {
        let is_resource = place.is_root || props.embedded_resource;
        let uncorrelatable = place.uncorrelatable.as_ref();
        let judge = Judge {
            scope,
            is_resource,
            uncorrelatable,
            options,
        };
        judge.rules(props, path, &mut found.costs, &mut found.rules);
    }
}

fn keywords(p: &Props, path: &Path, place: &Place<'_>, options: &Options, errors: &mut ErrorList) {
    if options.valid_types && !p.ty.is_empty() && !TYPES.contains(&p.ty.as_str()) {
        errors.push(Error::not_supported(
            &path.child("type"),
            p.ty.as_str(),
            TYPES,
        ));
    }
    if p.default.is_some()
        && let Some(reason) = &place.no_defaults
    {
        let detail = format!("must not be set {reason}");
        errors.push(Error::forbidden(&path.child("default"), detail));
    }
    for (present, keyword) in [
        (!p.id.is_empty(), "id"),
        (p.additional_items.is_some(), "additionalItems"),
        (!p.pattern_properties.is_empty(), "patternProperties"),
        (!p.definitions.is_empty(), "definitions"),
        (p.dependencies.is_some(), "dependencies"),
        (p.reference.is_some(), "$ref"),
    ] {
        if present {
            let detail = format!("{keyword} is not supported");
            errors.push(Error::forbidden(&path.child(keyword), detail));
        }
    }
    if p.ty == "null" {
        let detail = "type cannot be set to null, use nullable as an alternative";
        errors.push(Error::forbidden(&path.child("type"), detail));
    }
    if matches!(&p.items, Some(Items::Many(list)) if !list.is_empty()) {
        let detail = "items must be a schema object and not an array";
        errors.push(Error::forbidden(&path.child("items"), detail));
    }
    if place.inside_meta && p.embedded_resource {
        let detail = "must not be used inside of resource meta";
        errors.push(Error::forbidden(
            &path.child("x-kubernetes-embedded-resource"),
            detail,
        ));
    }
    if p.unique_items {
        let detail =
            "uniqueItems cannot be set to true since the runtime complexity becomes quadratic";
        errors.push(Error::forbidden(&path.child("uniqueItems"), detail));
    }
    if !p.properties.is_empty()
        && matches!(
            p.additional_properties,
            Some(Additional::Allowed(false) | Additional::Schema(_))
        )
    {
        let detail = "additionalProperties and properties are mutual exclusive";
        errors.push(Error::forbidden(
            &path.child("additionalProperties"),
            detail,
        ));
    }
}

fn children(p: &Props, path: &Path, place: &Place<'_>, options: &Options, found: &mut Found) {
    if let Some(schema) = p
        .additional_properties
        .as_ref()
        .and_then(Additional::schema)
    {
        let mut below = place.below(p, "additionalProperties", None);
        if place.inside_meta {
            let reason = "inside additionalProperties applying to object metadata";
            below.no_defaults = Some(reason.to_owned());
        }
        walk(
            schema,
            &path.child("additionalProperties"),
            &below,
            options,
            found,
        );
    }
    for (name, schema) in &p.properties {
        let mut below = place.below(p, "properties", Some(name));
        if p.map_type
            .as_deref()
            .is_some_and(|t| t != "granular" && t != "atomic")
        {
            below = below.uncorrelated(path);
        }
        if (place.is_root || p.embedded_resource) && prune::is_meta_field(name) {
            below.inside_meta = true;
            if place.is_root {
                below.no_defaults = Some(format!("in top-level {name}"));
            }
        }
        walk(
            schema,
            &path.child("properties").key(name),
            &below,
            options,
            found,
        );
    }
    let below = place.in_junctor();
    if let Some(not) = &p.not {
        walk(not, &path.child("not"), &below, options, found);
    }
    for (key, list) in [
        ("allOf", &p.all_of),
        ("oneOf", &p.one_of),
        ("anyOf", &p.any_of),
    ] {
        for (i, schema) in list.iter().enumerate() {
            walk(schema, &path.child(key).index(i), &below, options, found);
        }
    }
    for (name, schema) in &p.definitions {
        walk(
            schema,
            &path.child("definitions").key(name),
            &below,
            options,
            found,
        );
    }
    let mut below = place.below(p, "items", None);
    if p.list_type.as_deref() != Some("map") {
        below = below.uncorrelated(path);
    }
    match &p.items {
        Some(Items::One(schema)) => walk(schema, &path.child("items"), &below, options, found),
        Some(Items::Many(list)) => {
            for (i, schema) in list.iter().enumerate() {
                walk(
                    schema,
                    &path.child("items").index(i),
                    &below,
                    options,
                    found,
                );
            }
        }
        None => {}
    }
}

/// Whether the items of a set are objects or lists that are not compared as a whole.
pub fn has_non_atomic_set(p: &Props) -> bool {
    p.list_type.as_deref() == Some("set") && p.item_schema().is_some_and(|i| !is_atomic(i))
}

fn is_atomic(item: &Props) -> bool {
    match item.ty.as_str() {
        "array" => item.list_type.as_deref().is_none_or(|t| t == "atomic"),
        "object" => item.map_type.as_deref() == Some("atomic"),
        _ => true,
    }
}

fn text_or_null(text: Option<&String>) -> BadValue {
    text.map_or(BadValue::null(), |t| {
        BadValue::Json(hanse_json::go::json_string(t))
    })
}

fn extensions(p: &Props, path: &Path, options: &Options, errors: &mut ErrorList) {
    if p.preserve_unknown_fields == Some(false) {
        let at = path.child("x-kubernetes-preserve-unknown-fields");
        errors.push(Error::invalid(&at, false, "must be true or undefined"));
    }
    let wrong_type = |wanted: &str, keyword: &str| {
        let detail = format!("must be {wanted} if {keyword} is specified");
        let at = path.child("type");
        if p.ty.is_empty() {
            Error::required(&at, detail)
        } else {
            Error::invalid(&at, p.ty.as_str(), detail)
        }
    };
    if let Some(map_type) = &p.map_type {
        let keyword = "x-kubernetes-map-type";
        if p.ty != "object" {
            errors.push(wrong_type("object", keyword));
        }
        let supported = ["atomic", "granular"];
        if !supported.contains(&map_type.as_str()) {
            let at = path.child(keyword);
            errors.push(Error::not_supported(&at, map_type.as_str(), &supported));
        }
    }
    let keyword = "x-kubernetes-list-type";
    if p.list_type.is_some() && p.ty != "array" {
        errors.push(wrong_type("array", keyword));
    } else if options.atomic_sets && has_non_atomic_set(p) {
        let detail = "must be atomic as item of a list with x-kubernetes-list-type=set";
        let item = p.item_schema();
        let kind = if item.is_some_and(|i| i.ty == "array") {
            "list"
        } else {
            "map"
        };
        let at = path
            .child("items")
            .child(&format!("x-kubernetes-{kind}-type"));
        // Kubernetes shows the list type in both cases.
        let value = text_or_null(item.and_then(|i| i.list_type.as_ref()));
        errors.push(Error::invalid(&at, value, detail));
    }
    let supported = ["atomic", "set", "map"];
    if let Some(list_type) = &p.list_type
        && !supported.contains(&list_type.as_str())
    {
        errors.push(Error::not_supported(
            &path.child(keyword),
            list_type.as_str(),
            &supported,
        ));
    }
    map_lists(p, path, errors);
    if options.map_list_keys {
        errors.extend(map_list_keys(p, path));
    }
}

fn map_lists(p: &Props, path: &Path, errors: &mut ErrorList) {
    let is_map = p.list_type.as_deref() == Some("map");
    if !p.list_map_keys.is_empty() && !is_map {
        let detail = "must be map if x-kubernetes-list-map-keys is non-empty";
        let at = path.child("x-kubernetes-list-type");
        errors.push(match &p.list_type {
            None => Error::required(&at, detail),
            Some(other) => Error::invalid(&at, other.as_str(), detail),
        });
    }
    if !is_map {
        return;
    }
    let keys_path = path.child("x-kubernetes-list-map-keys");
    if p.list_map_keys.is_empty() {
        let detail = "must not be empty if x-kubernetes-list-type is map";
        errors.push(Error::required(&keys_path, detail));
    }
    let at = path.child("items");
    let item = match &p.items {
        None => {
            let detail = "must have a schema if x-kubernetes-list-type is map";
            return errors.push(Error::required(&at, detail));
        }
        Some(Items::Many(_)) => {
            let detail = "must only have a single schema if x-kubernetes-list-type is map";
            let value = p.items.as_ref().map_or(BadValue::null(), |items| {
                BadValue::Json(render::items(items))
            });
            return errors.push(Error::invalid(&at, value, detail));
        }
        Some(Items::One(item)) => item,
    };
    if item.ty != "object" {
        let detail = "must be object if parent array's x-kubernetes-list-type is map";
        return errors.push(Error::invalid(&at.child("type"), item.ty.as_str(), detail));
    }
    let all = || BadValue::Json(render::texts(&p.list_map_keys));
    for (i, key) in p.list_map_keys.iter().enumerate() {
        match item.properties.get(key) {
            None => {
                let detail = "entries must all be names of item properties";
                errors.push(Error::invalid(&keys_path, all(), detail));
            }
            Some(property) if ["array", "object"].contains(&property.ty.as_str()) => {
                let detail =
                    "must be a scalar type if parent array's x-kubernetes-list-type is map";
                let at = at.child("properties").key(key).child("type");
                errors.push(Error::invalid(&at, item.ty.as_str(), detail));
            }
            Some(_) => {}
        }
        if p.list_map_keys.iter().take(i).any(|other| other == key) {
            let detail = "must not contain duplicate entries";
            errors.push(Error::invalid(&keys_path, all(), detail));
        }
    }
}

/// Items of sets and map lists are never null, and the keys of the latter always there.
pub fn map_list_keys(p: &Props, path: &Path) -> ErrorList {
    let mut errors = ErrorList::new();
    let (Some(item), Some(list_type @ ("set" | "map"))) = (p.item_schema(), p.list_type.as_deref())
    else {
        return errors;
    };
    let at = path.child("items");
    if item.nullable {
        let detail = format!("cannot be nullable when x-kubernetes-list-type is {list_type}");
        errors.push(Error::forbidden(&at.child("nullable"), detail));
    }
    if list_type == "set" {
        return errors;
    }
    for key in &p.list_map_keys {
        let Some(property) = item.properties.get(key) else {
            continue;
        };
        let at = at.child("properties").key(key);
        if !item.required.contains(key) && property.default.is_none() {
            let detail = "this property is in x-kubernetes-list-map-keys, so it must have a \
                          default or be a required property";
            errors.push(Error::required(&at.child("default"), detail));
        }
        if property.nullable {
            let detail = "this property is in x-kubernetes-list-map-keys, so it cannot be nullable";
            errors.push(Error::forbidden(&at.child("nullable"), detail));
        }
    }
    errors
}

fn has_line_break(text: &str) -> bool {
    text.contains(['\n', '\r'])
}

fn rule_texts(schema: &Props, rule: &Rule, path: &Path, errors: &mut ErrorList) {
    let message = rule.message.trim();
    let at = path.child("message");
    if rule.rule.trim().is_empty() {
        errors.push(Error::required(
            &path.child("rule"),
            "rule is not specified",
        ));
    } else if !rule.message.is_empty() && message.is_empty() {
        let detail = "must be non-empty if specified";
        errors.push(Error::invalid(&at, rule.message.as_str(), detail));
    } else if has_line_break(message) {
        let detail = "must not contain line breaks";
        errors.push(Error::invalid(&at, rule.message.as_str(), detail));
    } else if has_line_break(rule.rule.trim()) && message.is_empty() {
        let detail = "message must be specified if rule contains line breaks";
        errors.push(Error::required(&at, detail));
    }
    if !rule.message_expression.is_empty() && rule.message_expression.trim().is_empty() {
        let detail = "messageExpression must be non-empty if specified";
        errors.push(Error::required(&path.child("messageExpression"), detail));
    }
    if let Some(reason) = rule.reason.as_deref().filter(|r| !REASONS.contains(r)) {
        errors.push(Error::not_supported(
            &path.child("reason"),
            BadValue::Json(hanse_json::go::json_string(reason)),
            REASONS,
        ));
    }
    if rule.field_path.is_empty() {
        return;
    }
    let at = path.child("fieldPath");
    let mut bad = |detail: &str| errors.push(Error::invalid(&at, rule.field_path.as_str(), detail));
    if rule.field_path.trim().is_empty() {
        bad("must be non-empty if specified");
    }
    if has_line_break(&rule.field_path) {
        bad("must not contain line breaks");
    }
    if structural::convert_error(schema).is_none()
        && field_path::resolve(&rule.field_path, schema, true).is_err()
    {
        bad("must be a valid path");
    }
}
