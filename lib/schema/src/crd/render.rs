//! How Kubernetes prints its internal types in errors: as JSON with Go's field names.
//!
//! Start at [`versions`] and [`props`]. Only values that stand in error texts are here.

use serde_json::Value;

use super::types::{Column, Subresources, Validation, Version};
use crate::props::{Additional, Items, Props, Rule};
use hanse_json::go;

/// Writes `{"Name":value,...}` in the order of the calls.
struct Object(String);

impl Object {
    fn new() -> Self {
        Object(String::from("{"))
    }

    fn raw(mut self, name: &str, value: impl AsRef<str>) -> Self {
        if self.0.len() > 1 {
            self.0.push(',');
        }
        self.0.push_str(&go::json_string(name));
        self.0.push(':');
        self.0.push_str(value.as_ref());
        self
    }

    fn text(self, name: &str, value: &str) -> Self {
        self.raw(name, go::json_string(value))
    }

    fn flag(self, name: &str, value: bool) -> Self {
        self.raw(name, if value { "true" } else { "false" })
    }

    fn end(mut self) -> String {
        self.0.push('}');
        self.0
    }
}

fn or_null(value: Option<String>) -> String {
    value.unwrap_or_else(|| "null".to_owned())
}

fn list(items: impl ExactSizeIterator<Item = String>) -> String {
    if items.len() == 0 {
        return "null".to_owned();
    }
    format!("[{}]", items.collect::<Vec<_>>().join(","))
}

/// A list of strings; Go prints a nil one as null.
pub fn texts(items: &[String]) -> String {
    list(items.iter().map(|s| go::json_string(s)))
}

/// `spec.versions`.
pub fn versions(versions: &[Version]) -> String {
    list(versions.iter().map(version))
}

fn version(version: &Version) -> String {
    let warning = version
        .deprecation_warning
        .as_ref()
        .map(|w| go::json_string(w));
    Object::new()
        .text("Name", &version.name)
        .flag("Served", version.served)
        .flag("Storage", version.storage)
        .flag("Deprecated", version.deprecated)
        .raw("DeprecationWarning", or_null(warning))
        .raw("Schema", or_null(version.schema.as_ref().map(validation)))
        .raw(
            "Subresources",
            or_null(version.subresources.as_ref().map(subresources)),
        )
        .raw(
            "AdditionalPrinterColumns",
            list(version.columns.iter().map(column)),
        )
        .raw("SelectableFields", {
            let field = |path: &String| Object::new().text("JSONPath", path).end();
            list(version.selectable_fields.iter().map(field))
        })
        .end()
}

fn validation(validation: &Validation) -> String {
    Object::new()
        .raw(
            "OpenAPIV3Schema",
            or_null(validation.schema.as_ref().map(props)),
        )
        .end()
}

fn subresources(value: &Subresources) -> String {
    let scale = value.scale.as_ref().map(|scale| {
        let selector = scale
            .label_selector_path
            .as_ref()
            .map(|p| go::json_string(p));
        Object::new()
            .text("SpecReplicasPath", &scale.spec_replicas_path)
            .text("StatusReplicasPath", &scale.status_replicas_path)
            .raw("LabelSelectorPath", or_null(selector))
            .end()
    });
    let status = if value.status { "{}" } else { "null" };
    Object::new()
        .raw("Status", status)
        .raw("Scale", or_null(scale))
        .end()
}

fn column(column: &Column) -> String {
    Object::new()
        .text("Name", &column.name)
        .text("Type", &column.ty)
        .text("Format", &column.format)
        .text("Description", &column.description)
        .raw("Priority", column.priority.to_string())
        .text("JSONPath", &column.json_path)
        .end()
}

/// One entry of `x-kubernetes-validations`.
pub fn rule(rule: &Rule) -> String {
    Object::new()
        .text("Rule", &rule.rule)
        .text("Message", &rule.message)
        .text("MessageExpression", &rule.message_expression)
        .raw(
            "Reason",
            or_null(rule.reason.as_ref().map(|r| go::json_string(r))),
        )
        .text("FieldPath", &rule.field_path)
        .raw(
            "OptionalOldSelf",
            or_null(rule.optional_old_self.map(|b| b.to_string())),
        )
        .end()
}

fn number(value: Option<f64>) -> String {
    or_null(
        value
            .and_then(serde_json::Number::from_f64)
            .map(|n| go::json_number(&n)),
    )
}

fn integer(value: Option<i64>) -> String {
    or_null(value.map(|n| n.to_string()))
}

fn value(value: Option<&Value>) -> String {
    or_null(value.map(go::json))
}

fn map(entries: &std::collections::BTreeMap<String, Props>) -> String {
    if entries.is_empty() {
        return "null".to_owned();
    }
    let write = |out: Object, (name, schema): (&String, &Props)| out.raw(name, props(schema));
    entries.iter().fold(Object::new(), write).end()
}

/// `items`.
pub fn items(items: &Items) -> String {
    let (one, many) = match items {
        Items::One(schema) => (props(schema), "null".to_owned()),
        Items::Many(schemas) => ("null".to_owned(), list(schemas.iter().map(props))),
    };
    Object::new()
        .raw("Schema", one)
        .raw("JSONSchemas", many)
        .end()
}

fn additional(additional: &Additional) -> String {
    let (allows, schema) = match additional {
        Additional::Allowed(allowed) => (*allowed, None),
        Additional::Schema(schema) => (true, Some(props(schema))),
    };
    Object::new()
        .flag("Allows", allows)
        .raw("Schema", or_null(schema))
        .end()
}

fn external_docs(docs: &Value) -> String {
    let text = |key: &str| docs.get(key).and_then(Value::as_str).unwrap_or_default();
    Object::new()
        .text("Description", text("description"))
        .text("URL", text("url"))
        .end()
}

/// A schema.
pub fn props(p: &Props) -> String {
    let schemas = |list_of: &[Props]| list(list_of.iter().map(props));
    let texts_or_null = |text: &Option<String>| or_null(text.as_ref().map(|t| go::json_string(t)));
    Object::new()
        .text("ID", &p.id)
        .text("Schema", &p.schema_url)
        .raw("Ref", texts_or_null(&p.reference))
        .text("Description", &p.description)
        .text("Type", &p.ty)
        .flag("Nullable", p.nullable)
        .text("Format", &p.format)
        .text("Title", &p.title)
        .raw("Default", value(p.default.as_ref()))
        .raw("Maximum", number(p.maximum))
        .flag("ExclusiveMaximum", p.exclusive_maximum)
        .raw("Minimum", number(p.minimum))
        .flag("ExclusiveMinimum", p.exclusive_minimum)
        .raw("MaxLength", integer(p.max_length))
        .raw("MinLength", integer(p.min_length))
        .text("Pattern", &p.pattern)
        .raw("MaxItems", integer(p.max_items))
        .raw("MinItems", integer(p.min_items))
        .flag("UniqueItems", p.unique_items)
        .raw("MultipleOf", number(p.multiple_of))
        .raw("Enum", list(p.enumeration.iter().map(go::json)))
        .raw("MaxProperties", integer(p.max_properties))
        .raw("MinProperties", integer(p.min_properties))
        .raw("Required", texts(&p.required))
        .raw("Items", or_null(p.items.as_ref().map(items)))
        .raw("AllOf", schemas(&p.all_of))
        .raw("OneOf", schemas(&p.one_of))
        .raw("AnyOf", schemas(&p.any_of))
        .raw("Not", or_null(p.not.as_deref().map(props)))
        .raw("Properties", map(&p.properties))
        .raw(
            "AdditionalProperties",
            or_null(p.additional_properties.as_ref().map(additional)),
        )
        .raw("PatternProperties", map(&p.pattern_properties))
        .raw("Dependencies", "null")
        .raw("AdditionalItems", "null")
        .raw("Definitions", map(&p.definitions))
        .raw(
            "ExternalDocs",
            or_null(p.external_docs.as_ref().map(external_docs)),
        )
        .raw("Example", value(p.example.as_ref()))
        .raw(
            "XPreserveUnknownFields",
            or_null(p.preserve_unknown_fields.map(|b| b.to_string())),
        )
        .flag("XEmbeddedResource", p.embedded_resource)
        .flag("XIntOrString", p.int_or_string)
        .raw("XListMapKeys", texts(&p.list_map_keys))
        .raw("XListType", texts_or_null(&p.list_type))
        .raw("XMapType", texts_or_null(&p.map_type))
        .raw("XValidations", list(p.validations.iter().map(rule)))
        .end()
}
