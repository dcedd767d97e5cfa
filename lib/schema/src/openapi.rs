//! What a custom resource's schema looks like to clients: OpenAPI v3 in full, v2 with losses.
//!
//! Start at [`object`] and [`list`]; both answer one schema, to be put under [`name`] among the
//! definitions (v2) or `components.schemas` (v3). Documents, paths and operations are the API
//! server's. The invariant: schemas are those that Kubernetes publishes for the same CRD.

use serde_json::{Map, Value, json};

use crate::props::{Additional, Props, Rule};
use crate::schema::Schema;
use crate::structural;

/// Which OpenAPI is spoken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Version {
    /// Without junctors, nullable values untyped, preserved objects without properties.
    V2,
    /// In full.
    V3,
}

/// A resource's names in one version, as far as OpenAPI shows them.
#[derive(Clone, Copy, Debug)]
pub struct Names<'a> {
    pub group: &'a str,
    pub version: &'a str,
    pub kind: &'a str,
    pub list_kind: &'a str,
    pub plural: &'a str,
}

const TYPE_META_API_VERSION: &str = "APIVersion defines the versioned schema of this \
    representation of an object. Servers should convert recognized schemas to the latest internal \
    value, and may reject unrecognized values. More info: \
    https://git.k8s.io/community/contributors/devel/sig-architecture/api-conventions.md#resources";
const TYPE_META_KIND: &str = "Kind is a string value representing the REST resource this object \
    represents. Servers may infer this from the endpoint the client submits requests to. Cannot \
    be updated. In CamelCase. More info: \
    https://git.k8s.io/community/contributors/devel/sig-architecture/api-conventions.md#types-kinds";
const EMBEDDED_API_VERSION: &str = "apiVersion defines the versioned schema of this \
    representation of an object. More info: \
    https://git.k8s.io/community/contributors/devel/sig-architecture/api-conventions.md#resources";
const EMBEDDED_KIND: &str = "kind is a string value representing the type of this object. In \
    CamelCase. More info: \
    https://git.k8s.io/community/contributors/devel/sig-architecture/api-conventions.md#types-kinds";
const OBJECT_META: &str = "Standard object's metadata. More info: \
    https://git.k8s.io/community/contributors/devel/sig-architecture/api-conventions.md#metadata";
const LIST_META: &str = "Standard list metadata. More info: \
    https://git.k8s.io/community/contributors/devel/sig-architecture/api-conventions.md#types-kinds";
const META_PACKAGE: &str = "io.k8s.apimachinery.pkg.apis.meta.v1";

/// The name of a kind's definition: the group reversed, version, kind.
pub fn name(group: &str, version: &str, kind: &str) -> String {
    let mut parts: Vec<&str> = group.split('.').collect();
    parts.reverse();
    format!("{}.{version}.{kind}", parts.join("."))
}

fn reference(name: &str, version: Version) -> String {
    match version {
        Version::V2 => format!("#/definitions/{name}"),
        Version::V3 => format!("#/components/schemas/{name}"),
    }
}

/// A reference with a description; v3 allows none beside a `$ref`.
fn described(name: &str, description: &str, version: Version) -> Value {
    let target = reference(name, version);
    match version {
        Version::V2 => json!({"description": description, "$ref": target}),
        Version::V3 => json!({"description": description, "allOf": [{"$ref": target}]}),
    }
}

fn text(description: &str) -> Value {
    json!({"description": description, "type": "string"})
}

fn extensions(names: &Names<'_>, kind: &str, selectable: &[String]) -> Map<String, Value> {
    let mut map = Map::new();
    let gvk = json!([{"group": names.group, "version": names.version, "kind": kind}]);
    map.insert("x-kubernetes-group-version-kind".into(), gvk);
    if !selectable.is_empty() {
        let field = |path: &String| json!({"fieldPath": path.strip_prefix('.').unwrap_or(path)});
        let fields: Vec<Value> = selectable.iter().map(field).collect();
        map.insert("x-kubernetes-selectable-fields".into(), fields.into());
    }
    map
}

/// The schema of the kind. `selectable` are the JSON paths of its selectable fields.
pub fn object(
    schema: Option<&Schema>,
    names: &Names<'_>,
    selectable: &[String],
    version: Version,
) -> Value {
    let source = schema.and_then(|s| serde_json::from_slice::<Value>(s.source()).ok());
    let props = source.and_then(|s| Props::decode(&s, &crate::field::Path::nil()).ok());
    let lossy = |p: &Props| version == Version::V2 && p.preserve_unknown_fields == Some(true);
    let mut map = match props {
        Some(props) if !lossy(&props) => {
            let mut map = write(&props, version);
            let more = [
                ("metadata", object_meta(version)),
                ("apiVersion", text(TYPE_META_API_VERSION)),
                ("kind", text(TYPE_META_KIND)),
            ];
            add_properties(&mut map, more);
            map
        }
        // With more properties kubectl would take all others for forbidden.
        _ => Map::from_iter([("type".to_owned(), json!("object"))]),
    };
    map.extend(extensions(names, names.kind, selectable));
    Value::Object(map)
}

/// The schema of the kind's list.
pub fn list(names: &Names<'_>, selectable: &[String], version: Version) -> Value {
    let item = name(names.group, names.version, names.kind);
    let items = format!(
        "List of {}. More info: \
         https://git.k8s.io/community/contributors/devel/sig-architecture/api-conventions.md",
        names.plural
    );
    let mut schema = json!({
        "description": format!("{} is a list of {}", names.list_kind, names.kind),
        "type": "object",
        "required": ["items"],
        "properties": {
            "apiVersion": text(TYPE_META_API_VERSION),
            "kind": text(TYPE_META_KIND),
            "metadata": described(&format!("{META_PACKAGE}.ListMeta"), LIST_META, version),
            "items": {"description": items, "type": "array",
                "items": {"$ref": reference(&item, version)}},
        },
    });
    if let Some(map) = schema.as_object_mut() {
        map.extend(extensions(names, names.list_kind, selectable));
    }
    schema
}

fn object_meta(version: Version) -> Value {
    described(&format!("{META_PACKAGE}.ObjectMeta"), OBJECT_META, version)
}

/// Adds properties to those that a schema has.
fn add_properties(map: &mut Map<String, Value>, more: [(&str, Value); 3]) {
    let properties = map.entry("properties").or_insert_with(|| json!({}));
    if let Value::Object(properties) = properties {
        properties.extend(more.into_iter().map(|(key, value)| (key.to_owned(), value)));
    }
}

/// Collects keywords that are not at their zero.
#[derive(Default)]
struct Writer(Map<String, Value>);

impl Writer {
    fn put(&mut self, key: &str, value: impl Into<Value>) {
        self.0.insert(key.to_owned(), value.into());
    }

    fn text(&mut self, key: &str, value: &str) {
        if !value.is_empty() {
            self.put(key, value);
        }
    }

    fn flag(&mut self, key: &str, value: bool) {
        if value {
            self.put(key, true);
        }
    }

    fn some<T: Into<Value> + Clone>(&mut self, key: &str, value: Option<&T>) {
        if let Some(value) = value {
            self.put(key, value.clone());
        }
    }

    fn number(&mut self, key: &str, value: Option<f64>) {
        if let Some(number) = value {
            // Whole numbers are written as such.
            let whole = number as i64;
            if whole as f64 == number {
                self.put(key, whole)
            } else {
                self.put(key, number)
            }
        }
    }

    fn list<T>(&mut self, key: &str, items: &[T], each: impl Fn(&T) -> Value) {
        if !items.is_empty() {
            self.put(key, items.iter().map(each).collect::<Vec<_>>());
        }
    }
}

/// What v2 cannot say, taken out of one node.
fn lose(props: &Props) -> Props {
    let mut out = Props {
        all_of: vec![],
        one_of: vec![],
        any_of: vec![],
        ..props.clone()
    };
    out.not = None;
    out.default = None;
    let preserves = out.preserve_unknown_fields == Some(true);
    if out.nullable {
        out.ty.clear();
        out.nullable = false;
        out.items = None;
        out.properties.clear();
    }
    if preserves {
        out.items = None;
        out.properties.clear();
    }
    if out.items.is_none() && out.ty == "array" || preserves && out.ty == "object" {
        out.ty.clear();
    }
    let nullable = |name: &String| out.properties.get(name).is_some_and(|p| p.nullable);
    out.required = out
        .required
        .iter()
        .filter(|name| !nullable(name))
        .cloned()
        .collect();
    let values = out
        .additional_properties
        .as_ref()
        .and_then(Additional::schema);
    if values.is_some_and(|schema| schema.nullable) {
        out.required.clear();
    }
    out
}

fn write(props: &Props, version: Version) -> Map<String, Value> {
    let lost;
    let p = match version {
        Version::V2 => {
            lost = lose(props);
            &lost
        }
        Version::V3 => props,
    };
    let below = |schema: &Props| Value::Object(write(schema, version));
    let mut w = Writer::default();
    write_generic(p, &mut w);
    if let Some(items) = p.item_schema() {
        w.put("items", below(items));
    }
    if !p.properties.is_empty() {
        let properties = p.properties.iter().map(|(k, v)| (k.clone(), below(v)));
        w.put("properties", properties.collect::<Map<_, _>>());
    }
    match &p.additional_properties {
        Some(Additional::Schema(schema)) => w.put("additionalProperties", below(schema)),
        Some(Additional::Allowed(allowed)) => w.put("additionalProperties", *allowed),
        None => {}
    }
    write_checks(p, &mut w);
    if version == Version::V3 {
        write_junctors(p, true, &mut w);
    }
    if p.embedded_resource && !(version == Version::V2 && p.preserve_unknown_fields == Some(true)) {
        embedded(version, &mut w.0);
    }
    w.0
}

fn write_generic(p: &Props, w: &mut Writer) {
    w.text("description", &p.description);
    w.text("title", &p.title);
    w.text("type", &p.ty);
    w.flag("nullable", p.nullable);
    w.some("default", p.default.as_ref());
    w.flag(
        "x-kubernetes-preserve-unknown-fields",
        p.preserve_unknown_fields == Some(true),
    );
    w.flag("x-kubernetes-embedded-resource", p.embedded_resource);
    w.flag("x-kubernetes-int-or-string", p.int_or_string);
    w.list("x-kubernetes-list-map-keys", &p.list_map_keys, |key| {
        json!(key)
    });
    w.some("x-kubernetes-list-type", p.list_type.as_ref());
    w.some("x-kubernetes-map-type", p.map_type.as_ref());
    w.list("x-kubernetes-validations", &p.validations, rule);
}

fn rule(rule: &Rule) -> Value {
    let mut w = Writer::default();
    w.put("rule", rule.rule.as_str());
    w.text("message", &rule.message);
    w.text("messageExpression", &rule.message_expression);
    w.some("reason", rule.reason.as_ref());
    w.text("fieldPath", &rule.field_path);
    w.some("optionalOldSelf", rule.optional_old_self.as_ref());
    Value::Object(w.0)
}

fn write_checks(p: &Props, w: &mut Writer) {
    w.text("format", &p.format);
    w.number("maximum", p.maximum);
    w.flag("exclusiveMaximum", p.exclusive_maximum);
    w.number("minimum", p.minimum);
    w.flag("exclusiveMinimum", p.exclusive_minimum);
    w.some("maxLength", p.max_length.as_ref());
    w.some("minLength", p.min_length.as_ref());
    w.text("pattern", &p.pattern);
    w.some("maxItems", p.max_items.as_ref());
    w.some("minItems", p.min_items.as_ref());
    w.flag("uniqueItems", p.unique_items);
    w.number("multipleOf", p.multiple_of);
    w.list("enum", &p.enumeration, Value::clone);
    w.some("maxProperties", p.max_properties.as_ref());
    w.some("minProperties", p.min_properties.as_ref());
    w.list("required", &p.required, |name| json!(name));
}

/// Junctors, int-or-string spelled out where the schema leaves it to the extension.
fn write_junctors(p: &Props, unfold: bool, w: &mut Writer) {
    let either = json!([{"type": "integer"}, {"type": "string"}]);
    let mut all_of: Vec<Value> = p.all_of.iter().map(nested).collect();
    let mut any_of: Vec<Value> = p.any_of.iter().map(nested).collect();
    if unfold && p.int_or_string && !structural::says_int_or_string(p) {
        if any_of.is_empty() {
            any_of = vec![json!({"type": "integer"}), json!({"type": "string"})];
        } else {
            all_of.insert(0, json!({"anyOf": either}));
        }
    }
    w.list("allOf", &all_of, Value::clone);
    w.list("anyOf", &any_of, Value::clone);
    w.list("oneOf", &p.one_of, nested);
    if let Some(not) = &p.not {
        w.put("not", nested(not));
    }
}

fn nested(p: &Props) -> Value {
    let mut w = Writer::default();
    write_generic(p, &mut w);
    if let Some(items) = p.item_schema() {
        w.put("items", nested(items));
    }
    if !p.properties.is_empty() {
        let properties = p.properties.iter().map(|(k, v)| (k.clone(), nested(v)));
        w.put("properties", properties.collect::<Map<_, _>>());
    }
    write_checks(p, &mut w);
    write_junctors(p, false, &mut w);
    Value::Object(w.0)
}

fn embedded(version: Version, map: &mut Map<String, Value>) {
    let more = [
        ("apiVersion", text(EMBEDDED_API_VERSION)),
        ("kind", text(EMBEDDED_KIND)),
        ("metadata", object_meta(version)),
    ];
    add_properties(map, more);
    let required = map.entry("required").or_insert_with(|| json!([]));
    if let Value::Array(required) = required {
        for key in ["kind", "apiVersion"] {
            if !required.iter().any(|r| r == key) {
                required.push(json!(key));
            }
        }
    }
}
