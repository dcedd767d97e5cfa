//! `openAPIV3Schema` as written: every keyword of JSONSchemaProps v1, decoded once.
//!
//! Start at [`Props::decode`]. CRD validation, the structural rules, compilation and OpenAPI all
//! walk this; it lives only inside a write. Keywords that Kubernetes does not know are dropped
//! here, as its decoder does. What a keyword *means* is deliberately elsewhere.

use std::collections::BTreeMap;

use serde_json::{Map, Value};

use crate::field::{Error, ErrorList, Path};
use crate::limits::SCHEMA_DEPTH_MAX;

/// One schema node with all its keywords; absent ones are at their zero.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Props {
    pub id: String,
    pub schema_url: String,
    pub reference: Option<String>,
    pub description: String,
    pub ty: String,
    pub nullable: bool,
    pub format: String,
    pub title: String,
    /// Explicit `null` counts as no default.
    pub default: Option<Value>,
    pub maximum: Option<f64>,
    pub exclusive_maximum: bool,
    pub minimum: Option<f64>,
    pub exclusive_minimum: bool,
    pub max_length: Option<i64>,
    pub min_length: Option<i64>,
    pub pattern: String,
    pub max_items: Option<i64>,
    pub min_items: Option<i64>,
    pub unique_items: bool,
    pub multiple_of: Option<f64>,
    pub enumeration: Vec<Value>,
    pub max_properties: Option<i64>,
    pub min_properties: Option<i64>,
    pub required: Vec<String>,
    pub items: Option<Items>,
    pub all_of: Vec<Props>,
    pub one_of: Vec<Props>,
    pub any_of: Vec<Props>,
    pub not: Option<Box<Props>>,
    pub properties: BTreeMap<String, Props>,
    pub additional_properties: Option<Additional>,
    pub pattern_properties: BTreeMap<String, Props>,
    pub dependencies: Option<BTreeMap<String, Value>>,
    pub additional_items: Option<Value>,
    pub definitions: BTreeMap<String, Props>,
    pub external_docs: Option<Value>,
    pub example: Option<Value>,
    pub preserve_unknown_fields: Option<bool>,
    pub embedded_resource: bool,
    pub int_or_string: bool,
    pub list_map_keys: Vec<String>,
    pub list_type: Option<String>,
    pub map_type: Option<String>,
    pub validations: Vec<Rule>,
}

/// `items`: one schema, or (never valid) a list of them.
#[derive(Clone, Debug, PartialEq)]
pub enum Items {
    One(Box<Props>),
    Many(Vec<Props>),
}

/// `additionalProperties`: a schema, or whether any value is allowed.
#[derive(Clone, Debug, PartialEq)]
pub enum Additional {
    Allowed(bool),
    Schema(Box<Props>),
}

impl Additional {
    /// The schema of the values, when there is one.
    pub fn schema(&self) -> Option<&Props> {
        match self {
            Additional::Schema(schema) => Some(schema),
            Additional::Allowed(_) => None,
        }
    }
}

/// One entry of `x-kubernetes-validations`.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Rule {
    pub rule: String,
    pub message: String,
    pub message_expression: String,
    pub reason: Option<String>,
    pub field_path: String,
    pub optional_old_self: Option<bool>,
}

impl Props {
    /// Reads a schema out of JSON.
    ///
    /// # Errors
    /// Keywords of the wrong JSON type, by path below `path`; nesting over
    /// [`SCHEMA_DEPTH_MAX`].
    pub fn decode(value: &Value, path: &Path) -> Result<Props, ErrorList> {
        let mut errors = ErrorList::new();
        let props = decode_props(value, path, 0, &mut errors);
        errors.into_result().map(|()| props)
    }

    /// The single schema of the items, when there is one.
    pub fn item_schema(&self) -> Option<&Props> {
        match &self.items {
            Some(Items::One(schema)) => Some(schema),
            _ => None,
        }
    }

    /// Whether `found` holds for this node or any below it, junctors included.
    pub fn any(&self, found: &dyn Fn(&Props) -> bool) -> bool {
        found(self) || self.children().any(|child| child.any(found))
    }

    /// Every schema directly below this one, whatever keyword it stands under.
    pub fn children(&self) -> impl Iterator<Item = &Props> {
        let items: &[Props] = match &self.items {
            Some(Items::One(schema)) => std::slice::from_ref(schema.as_ref()),
            Some(Items::Many(schemas)) => schemas,
            None => &[],
        };
        items
            .iter()
            .chain(&self.all_of)
            .chain(&self.any_of)
            .chain(&self.one_of)
            .chain(self.not.as_deref())
            .chain(self.properties.values())
            .chain(
                self.additional_properties
                    .as_ref()
                    .and_then(Additional::schema),
            )
            .chain(self.pattern_properties.values())
            .chain(self.definitions.values())
    }
}

/// Reads keywords of one node, remembering where a type was wrong.
struct Reader<'a> {
    map: &'a Map<String, Value>,
    path: &'a Path,
    errors: &'a mut ErrorList,
}

impl Reader<'_> {
    fn get<T>(
        &mut self,
        key: &str,
        wanted: &str,
        read: impl FnOnce(&Value) -> Option<T>,
    ) -> Option<T> {
        let value = self.map.get(key).filter(|v| !v.is_null())?;
        let got = read(value);
        if got.is_none() {
            let detail = format!("must be {wanted}");
            self.errors
                .push(Error::type_invalid(&self.path.child(key), value, detail));
        }
        got
    }

    fn text(&mut self, key: &str) -> String {
        self.optional_text(key).unwrap_or_default()
    }

    fn optional_text(&mut self, key: &str) -> Option<String> {
        self.get(key, "a string", |v| v.as_str().map(str::to_owned))
    }

    fn flag(&mut self, key: &str) -> bool {
        self.optional_flag(key).unwrap_or_default()
    }

    fn optional_flag(&mut self, key: &str) -> Option<bool> {
        self.get(key, "a boolean", Value::as_bool)
    }

    fn number(&mut self, key: &str) -> Option<f64> {
        self.get(key, "a number", Value::as_f64)
    }

    fn integer(&mut self, key: &str) -> Option<i64> {
        self.get(key, "an integer", integer)
    }

    fn texts(&mut self, key: &str) -> Vec<String> {
        let list = self.get(key, "a list of strings", |v| {
            v.as_array()?
                .iter()
                .map(|t| t.as_str().map(str::to_owned))
                .collect()
        });
        list.unwrap_or_default()
    }

    fn schemas(&mut self, key: &str, depth: usize) -> Vec<Props> {
        let Some(list) = self.get(key, "a list of schemas", |v| v.as_array().cloned()) else {
            return Vec::new();
        };
        let path = self.path.child(key);
        let read = |(i, v): (usize, &Value)| decode_props(v, &path.index(i), depth, self.errors);
        list.iter().enumerate().map(read).collect()
    }

    fn schema_map(&mut self, key: &str, depth: usize) -> BTreeMap<String, Props> {
        let map = self.map;
        let Some(()) = self.get(key, "an object", |v| v.as_object().map(|_| ())) else {
            return BTreeMap::new();
        };
        let path = self.path.child(key);
        let entries = map
            .get(key)
            .and_then(Value::as_object)
            .into_iter()
            .flatten();
        entries
            .map(|(k, v)| (k.clone(), decode_props(v, &path.key(k), depth, self.errors)))
            .collect()
    }

    fn items(&mut self, depth: usize) -> Option<Items> {
        match self.map.get("items")? {
            Value::Array(_) => Some(Items::Many(self.schemas("items", depth))),
            Value::Null => None,
            value => {
                let path = self.path.child("items");
                Some(Items::One(Box::new(decode_props(
                    value,
                    &path,
                    depth,
                    self.errors,
                ))))
            }
        }
    }

    fn additional(&mut self, depth: usize) -> Option<Additional> {
        let key = "additionalProperties";
        let value = self.map.get(key).filter(|v| !v.is_null())?;
        match value {
            Value::Bool(allowed) => Some(Additional::Allowed(*allowed)),
            value => {
                let path = self.path.child(key);
                let schema = decode_props(value, &path, depth, self.errors);
                Some(Additional::Schema(Box::new(schema)))
            }
        }
    }

    fn validations(&mut self) -> Vec<Rule> {
        let key = "x-kubernetes-validations";
        let Some(list) = self.get(key, "a list of rules", |v| v.as_array().cloned()) else {
            return Vec::new();
        };
        let path = self.path.child(key);
        let empty = Map::new();
        let read = |(i, value): (usize, &Value)| {
            let path = path.index(i);
            let map = value.as_object().unwrap_or(&empty);
            let mut reader = Reader {
                map,
                path: &path,
                errors: self.errors,
            };
            Rule {
                rule: reader.text("rule"),
                message: reader.text("message"),
                message_expression: reader.text("messageExpression"),
                reason: reader.optional_text("reason"),
                field_path: reader.text("fieldPath"),
                optional_old_self: reader.optional_flag("optionalOldSelf"),
            }
        };
        list.iter().enumerate().map(read).collect()
    }
}

/// Go decodes `1.0` into an int64 only when it is written without fraction.
fn integer(value: &Value) -> Option<i64> {
    value.as_i64()
}

fn decode_props(value: &Value, path: &Path, depth: usize, errors: &mut ErrorList) -> Props {
    let Some(map) = value.as_object() else {
        if !value.is_null() {
            errors.push(Error::type_invalid(path, value, "must be a schema"));
        }
        return Props::default();
    };
    if depth >= SCHEMA_DEPTH_MAX {
        let detail = format!("schemas may be nested {SCHEMA_DEPTH_MAX} deep at most");
        errors.push(Error::forbidden(path, detail));
        return Props::default();
    }
    let mut props = Props::default();
    let mut reader = Reader { map, path, errors };
    decode_plain(&mut reader, &mut props);
    decode_nested(&mut reader, &mut props, depth + 1);
    props
}

fn decode_plain(reader: &mut Reader<'_>, props: &mut Props) {
    props.id = reader.text("id");
    props.schema_url = reader.text("$schema");
    props.reference = reader.optional_text("$ref");
    props.description = reader.text("description");
    props.ty = reader.text("type");
    props.nullable = reader.flag("nullable");
    props.format = reader.text("format");
    props.title = reader.text("title");
    props.default = reader.get("default", "a value", |v| Some(v.clone()));
    props.maximum = reader.number("maximum");
    props.exclusive_maximum = reader.flag("exclusiveMaximum");
    props.minimum = reader.number("minimum");
    props.exclusive_minimum = reader.flag("exclusiveMinimum");
    props.max_length = reader.integer("maxLength");
    props.min_length = reader.integer("minLength");
    props.pattern = reader.text("pattern");
    props.max_items = reader.integer("maxItems");
    props.min_items = reader.integer("minItems");
    props.unique_items = reader.flag("uniqueItems");
    props.multiple_of = reader.number("multipleOf");
    props.enumeration = reader
        .get("enum", "a list", |v| v.as_array().cloned())
        .unwrap_or_default();
    props.max_properties = reader.integer("maxProperties");
    props.min_properties = reader.integer("minProperties");
    props.required = reader.texts("required");
    props.external_docs = reader.get("externalDocs", "an object", |v| Some(v.clone()));
    props.example = reader.get("example", "a value", |v| Some(v.clone()));
    props.preserve_unknown_fields = reader.optional_flag("x-kubernetes-preserve-unknown-fields");
    props.embedded_resource = reader.flag("x-kubernetes-embedded-resource");
    props.int_or_string = reader.flag("x-kubernetes-int-or-string");
    props.list_map_keys = reader.texts("x-kubernetes-list-map-keys");
    props.list_type = reader.optional_text("x-kubernetes-list-type");
    props.map_type = reader.optional_text("x-kubernetes-map-type");
    props.validations = reader.validations();
}

fn decode_nested(reader: &mut Reader<'_>, props: &mut Props, depth: usize) {
    props.items = reader.items(depth);
    props.all_of = reader.schemas("allOf", depth);
    props.one_of = reader.schemas("oneOf", depth);
    props.any_of = reader.schemas("anyOf", depth);
    let map = reader.map;
    if let Some(not) = map.get("not").filter(|v| !v.is_null()) {
        let path = reader.path.child("not");
        props.not = Some(Box::new(decode_props(not, &path, depth, reader.errors)));
    }
    props.properties = reader.schema_map("properties", depth);
    props.additional_properties = reader.additional(depth);
    props.pattern_properties = reader.schema_map("patternProperties", depth);
    props.dependencies = reader.get("dependencies", "an object", |v| {
        v.as_object()
            .map(|m| m.iter().map(|(k, v)| (k.clone(), v.clone())).collect())
    });
    props.additional_items = reader.get("additionalItems", "a schema", |v| Some(v.clone()));
    props.definitions = reader.schema_map("definitions", depth);
}
