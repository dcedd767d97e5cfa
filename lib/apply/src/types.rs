//! How the lists and maps of a kind merge: the *type schema*, compiled once from an OpenAPI or
//! structural schema (`x-kubernetes-list-type`, `-list-map-keys`, `-map-type`, and for kinds that
//! Kubernetes defines the older `x-kubernetes-patch-strategy`).
//!
//! A node ([`Atom`]) may allow several shapes at once (int-or-string, untyped values); which one
//! holds is decided by the value at hand, see [`Atom::deduce`]. Start at [`TypeSchema::compile`].

use std::collections::BTreeMap;

use hanse_json::{Map, Value, get, get_array, get_bool, get_str};

/// A place in the schema's arena, with what the place that refers to it overrides.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TypeRef {
    node: usize,
    atomic_map: Option<bool>,
}

/// What a scalar may be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Scalar {
    /// An integer or a float.
    Numeric,
    /// A string.
    String,
    /// A boolean.
    Boolean,
    /// Any scalar.
    Untyped,
}

/// How the items of a list belong together.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ListKind {
    /// One unit: replaced as a whole, owned as a whole.
    Atomic,
    /// Scalars that may each have their own owner.
    Set,
    /// Objects, told apart by these fields.
    Map(Vec<String>),
}

/// A list shape.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ListType {
    /// The items' type.
    pub element: TypeRef,
    /// How items are told apart.
    pub kind: ListKind,
}

/// A field of a struct.
#[derive(Clone, Debug, PartialEq)]
pub struct Field {
    /// The field's type.
    pub ty: TypeRef,
    /// The schema's default, which fills missing keys of list items.
    pub default: Option<Value>,
}

/// A struct, a map, or both.
#[derive(Clone, Debug, PartialEq)]
pub struct MapType {
    /// Named fields.
    pub fields: BTreeMap<String, Field>,
    /// The type of every other key; `None`: there are no other keys.
    pub element: Option<TypeRef>,
    /// One unit, as [`ListKind::Atomic`].
    pub atomic: bool,
}

/// The shapes a value may have at one place.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Atom {
    /// As a scalar.
    pub scalar: Option<Scalar>,
    /// As a list.
    pub list: Option<ListType>,
    /// As an object.
    pub map: Option<MapType>,
}

/// Which shape of an [`Atom`] is meant.
#[derive(Clone, Copy, Debug)]
pub enum Shape<'s> {
    /// An object.
    Map(&'s MapType),
    /// A list.
    List(&'s ListType),
    /// A scalar.
    Scalar(Scalar),
    /// None: the schema is empty here.
    Nothing,
}

impl Atom {
    /// The shape for this value: its own kind where the schema allows it; otherwise (and for null
    /// or an absent value) the first that the schema has of map, scalar, list.
    pub fn deduce(&self, value: Option<&Value>) -> Shape<'_> {
        match value {
            Some(Value::Object(_)) if self.map.is_some() => self.as_map(),
            Some(Value::Array(_)) if self.list.is_some() => self.as_list(),
            Some(Value::Number(_) | Value::String(_) | Value::Bool(_)) if self.scalar.is_some() => {
                self.as_scalar()
            }
            _ if self.map.is_some() => self.as_map(),
            _ if self.scalar.is_some() => self.as_scalar(),
            _ => self.as_list(),
        }
    }

    fn as_map(&self) -> Shape<'_> {
        self.map.as_ref().map_or(Shape::Nothing, Shape::Map)
    }

    fn as_list(&self) -> Shape<'_> {
        self.list.as_ref().map_or(Shape::Nothing, Shape::List)
    }

    fn as_scalar(&self) -> Shape<'_> {
        self.scalar.map_or(Shape::Nothing, Shape::Scalar)
    }
}

impl MapType {
    /// The type below `key`; `None` when the key is not declared.
    pub fn type_of(&self, key: &str) -> Option<TypeRef> {
        self.fields.get(key).map(|f| f.ty).or(self.element)
    }
}

/// The compiled schema of one kind in one version. Immutable; share it by content hash.
#[derive(Clone, Debug, PartialEq)]
pub struct TypeSchema {
    nodes: Vec<Atom>,
    root: TypeRef,
}

/// Node 0: anything; its lists and maps are units.
const UNTYPED: TypeRef = TypeRef {
    node: 0,
    atomic_map: None,
};
/// Node 1: anything; its maps are granular, its lists units (KEP-555's deduced type).
const DEDUCED: TypeRef = TypeRef {
    node: 1,
    atomic_map: None,
};
/// Node 2: `metadata`.
const OBJECT_META: TypeRef = TypeRef {
    node: 2,
    atomic_map: None,
};

impl TypeSchema {
    /// Compiles the schema at `root`, following `$ref` into `components` (the `components.schemas`
    /// of an OpenAPI v3 document; empty for a custom resource). A root with `apiVersion`, `kind`
    /// and `metadata` left implicit, as custom resources have it, gets them.
    pub fn compile(root: &Value, components: &Map<String, Value>) -> TypeSchema {
        let mut compiler = Compiler {
            nodes: vec![],
            components,
            named: BTreeMap::new(),
        };
        compiler.prelude();
        let root_ref = compiler.refer(root, false);
        let mut schema = TypeSchema {
            nodes: compiler.nodes,
            root: root_ref,
        };
        schema.complete_root();
        schema
    }

    /// The type of objects whose kind has no schema at all: maps granular, lists atomic.
    pub fn deduced() -> TypeSchema {
        TypeSchema::compile(
            &hanse_json::json!({"x-kubernetes-preserve-unknown-fields": true, "type": "object"}),
            &Map::new(),
        )
    }

    /// The type of the object itself.
    pub fn root(&self) -> TypeRef {
        self.root
    }

    /// The shapes at a place. A `TypeRef` of this schema always resolves; a foreign one is untyped.
    pub fn atom(&self, ty: TypeRef) -> Atom {
        let mut atom = self.node(ty).clone();
        if let (Some(atomic), Some(map)) = (ty.atomic_map, atom.map.as_mut()) {
            map.atomic = atomic;
        }
        atom
    }

    /// As [`TypeSchema::atom`] without a copy; the caller must ask [`TypeSchema::is_atomic`].
    pub fn node(&self, ty: TypeRef) -> &Atom {
        self.nodes
            .get(ty.node)
            .or(self.nodes.first())
            .unwrap_or(&EMPTY)
    }

    /// Is the map at this place one unit?
    pub fn is_atomic(&self, ty: TypeRef, map: &MapType) -> bool {
        ty.atomic_map.unwrap_or(map.atomic)
    }

    fn complete_root(&mut self) {
        let string = TypeRef {
            node: self.nodes.len(),
            atomic_map: None,
        };
        self.nodes.push(Atom {
            scalar: Some(Scalar::String),
            ..Atom::default()
        });
        let Some(Atom { map: Some(map), .. }) = self.nodes.get_mut(self.root.node) else {
            return;
        };
        for name in ["apiVersion", "kind"] {
            map.fields.entry(name.to_owned()).or_insert(Field {
                ty: string,
                default: None,
            });
        }
        // A custom resource may restate `metadata`, never in a way that changes how it merges.
        map.fields.insert(
            "metadata".to_owned(),
            Field {
                ty: OBJECT_META,
                default: None,
            },
        );
    }
}

static EMPTY: Atom = Atom {
    scalar: None,
    list: None,
    map: None,
};

struct Compiler<'c> {
    nodes: Vec<Atom>,
    components: &'c Map<String, Value>,
    named: BTreeMap<String, usize>,
}

impl Compiler<'_> {
    fn prelude(&mut self) {
        let any = |element: TypeRef, atomic: bool| Atom {
            scalar: Some(Scalar::Untyped),
            list: Some(ListType {
                element: UNTYPED,
                kind: ListKind::Atomic,
            }),
            map: Some(MapType {
                fields: BTreeMap::new(),
                element: Some(element),
                atomic,
            }),
        };
        self.nodes.push(any(UNTYPED, true));
        self.nodes.push(any(DEDUCED, false));
        self.nodes.push(Atom::default());
        let meta = object_meta();
        let atom = self.atom(&meta, false);
        self.nodes[OBJECT_META.node] = atom;
    }

    /// The place for a schema: a shared node for a `$ref` (also inside a single `allOf`), its own
    /// node otherwise. `preserve` says that an ancestor keeps unknown fields.
    fn refer(&mut self, schema: &Value, preserve: bool) -> TypeRef {
        let Some(name) = reference(schema) else {
            let atom = self.atom(schema, preserve);
            self.nodes.push(atom);
            return TypeRef {
                node: self.nodes.len() - 1,
                atomic_map: None,
            };
        };
        let atomic_map = map_relation(schema);
        if name == "io.k8s.apimachinery.pkg.apis.meta.v1.ObjectMeta" {
            return TypeRef {
                atomic_map,
                ..OBJECT_META
            };
        }
        if let Some(node) = self.named.get(name) {
            return TypeRef {
                node: *node,
                atomic_map,
            };
        }
        let node = self.nodes.len();
        self.named.insert(name.to_owned(), node);
        self.nodes.push(Atom::default());
        let atom = match self.components.get(name) {
            Some(target) => self.atom(target, preserve),
            None => self.nodes[UNTYPED.node].clone(),
        };
        self.nodes[node] = atom;
        TypeRef { node, atomic_map }
    }

    fn atom(&mut self, schema: &Value, preserve: bool) -> Atom {
        // Of a type that says nothing, such as a CRD's `items`, anything is a unit.
        if schema.as_object().is_some_and(Map::is_empty) && !preserve {
            return self.nodes[UNTYPED.node].clone();
        }
        let preserve = preserve
            || get_bool(schema, &["x-kubernetes-preserve-unknown-fields"]).unwrap_or(false);
        let format = get_str(schema, &["format"]).unwrap_or_default();
        match get_str(schema, &["type"]).unwrap_or_default() {
            "object" => Atom {
                map: Some(self.map(schema, preserve)),
                ..Atom::default()
            },
            "array" => Atom {
                list: Some(self.list(schema, preserve)),
                ..Atom::default()
            },
            "integer" | "number" => scalar(Scalar::Numeric),
            "boolean" => scalar(Scalar::Boolean),
            "string" if matches!(format, "" | "byte") => scalar(Scalar::String),
            "string" => scalar(Scalar::Untyped),
            _ => Atom {
                scalar: Some(Scalar::Untyped),
                list: Some(self.list(schema, preserve)),
                map: Some(self.map(schema, preserve)),
            },
        }
    }

    fn list(&mut self, schema: &Value, preserve: bool) -> ListType {
        let element = match get(schema, &["items"]) {
            Some(items) => self.refer(items, preserve),
            None => UNTYPED,
        };
        ListType {
            element,
            kind: list_kind(schema),
        }
    }

    fn map(&mut self, schema: &Value, preserve: bool) -> MapType {
        let mut fields = BTreeMap::new();
        if let Some(Value::Object(properties)) = get(schema, &["properties"]) {
            for (name, property) in properties {
                let ty = self.refer(property, preserve);
                let default = get(property, &["default"]).cloned();
                fields.insert(name.clone(), Field { ty, default });
            }
        }
        if get_bool(schema, &["x-kubernetes-embedded-resource"]).unwrap_or(false) {
            self.nodes.push(scalar(Scalar::String));
            let string = TypeRef {
                node: self.nodes.len() - 1,
                atomic_map: None,
            };
            for (name, ty) in [
                ("apiVersion", string),
                ("kind", string),
                ("metadata", OBJECT_META),
            ] {
                fields.insert(name.to_owned(), Field { ty, default: None });
            }
        }
        let element = match get(schema, &["additionalProperties"]) {
            Some(values @ Value::Object(_)) => Some(self.refer(values, preserve)),
            Some(Value::Bool(true)) => Some(DEDUCED),
            _ if preserve => Some(DEDUCED),
            _ => None,
        };
        MapType {
            fields,
            element,
            atomic: map_relation(schema).unwrap_or(false),
        }
    }
}

fn scalar(kind: Scalar) -> Atom {
    Atom {
        scalar: Some(kind),
        ..Atom::default()
    }
}

/// The component that a schema refers to, directly or through a single-element `allOf` (which is
/// how OpenAPI v3 documents attach a description or a default to a reference).
fn reference(schema: &Value) -> Option<&str> {
    let direct = get_str(schema, &["$ref"]);
    let wrapped = match get_array(schema, &["allOf"]) {
        [single] => get_str(single, &["$ref"]),
        _ => None,
    };
    direct.or(wrapped)?.rsplit('/').next()
}

fn map_relation(schema: &Value) -> Option<bool> {
    match get_str(schema, &["x-kubernetes-map-type"])? {
        "atomic" => Some(true),
        "granular" => Some(false),
        _ => None,
    }
}

fn list_kind(schema: &Value) -> ListKind {
    let keys = || {
        get_array(schema, &["x-kubernetes-list-map-keys"])
            .iter()
            .filter_map(|k| k.as_str().map(str::to_owned))
            .collect::<Vec<_>>()
    };
    match get_str(schema, &["x-kubernetes-list-type"]) {
        Some("set") => return ListKind::Set,
        Some("map") => return ListKind::Map(keys()),
        Some(_) => return ListKind::Atomic,
        None => {}
    }
    let strategy = get_str(schema, &["x-kubernetes-patch-strategy"]).unwrap_or_default();
    if !strategy.split(',').any(|s| s == "merge") {
        return ListKind::Atomic;
    }
    match get_str(schema, &["x-kubernetes-patch-merge-key"]) {
        Some(key) => ListKind::Map(vec![key.to_owned()]),
        None => ListKind::Set,
    }
}

/// `ObjectMeta` as far as merging is concerned (apimachinery, meta/v1).
fn object_meta() -> Value {
    let string = || hanse_json::json!({"type": "string"});
    let strings =
        || hanse_json::json!({"type": "object", "additionalProperties": {"type": "string"}});
    hanse_json::json!({
        "type": "object",
        "properties": {
            "name": string(), "generateName": string(), "namespace": string(),
            "selfLink": string(), "uid": string(), "resourceVersion": string(),
            "generation": {"type": "integer"},
            "creationTimestamp": {"type": "string", "format": "date-time"},
            "deletionTimestamp": {"type": "string", "format": "date-time"},
            "deletionGracePeriodSeconds": {"type": "integer"},
            "labels": strings(), "annotations": strings(),
            "finalizers": {
                "type": "array", "items": {"type": "string"}, "x-kubernetes-list-type": "set"
            },
            "ownerReferences": {
                "type": "array",
                "x-kubernetes-list-type": "map", "x-kubernetes-list-map-keys": ["uid"],
                "items": {
                    "type": "object", "x-kubernetes-map-type": "atomic",
                    "properties": {
                        "apiVersion": string(), "kind": string(), "name": string(), "uid": string(),
                        "controller": {"type": "boolean"}, "blockOwnerDeletion": {"type": "boolean"}
                    }
                }
            },
            "managedFields": {
                "type": "array", "x-kubernetes-list-type": "atomic",
                "items": {
                    "type": "object",
                    "properties": {
                        "manager": string(), "operation": string(), "apiVersion": string(),
                        "time": {"type": "string", "format": "date-time"},
                        "fieldsType": string(), "subresource": string(),
                        "fieldsV1": {"type": "object", "x-kubernetes-preserve-unknown-fields": true}
                    }
                }
            }
        }
    })
}
