//! The compiled schema: a compact tree that says for every field what it may be.
//!
//! Start at [`Node`]; [`Node::compile`] makes it from [`Props`]. The rare parts (bounds, junctors,
//! defaults, rules) are boxed, so a plain field costs little. The invariant: a node is immutable,
//! and its depth is bounded by `limits::SCHEMA_DEPTH_MAX`, so walks along it may recurse.

use std::sync::Arc;

use regex::Regex;

use crate::formats::Format;
use crate::literal::Literal;
use crate::pattern;
use crate::props::{Additional as PropsAdditional, Items, Props, Rule};

/// The JSON type that a schema asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Type {
    /// Any (only with preserve-unknown-fields or int-or-string).
    Any,
    Object,
    Array,
    String,
    Integer,
    Number,
    Boolean,
    /// A word that is no type; CRD validation refuses it, see [`Checks::unknown_type`].
    Unknown,
}

impl Type {
    fn parse(text: &str) -> Self {
        match text {
            "object" => Type::Object,
            "array" => Type::Array,
            "string" => Type::String,
            "integer" => Type::Integer,
            "number" => Type::Number,
            "boolean" => Type::Boolean,
            "" => Type::Any,
            _ => Type::Unknown,
        }
    }

    /// The keyword's text; empty for [`Type::Any`] and [`Type::Unknown`].
    pub fn name(self) -> &'static str {
        match self {
            Type::Any | Type::Unknown => "",
            Type::Object => "object",
            Type::Array => "array",
            Type::String => "string",
            Type::Integer => "integer",
            Type::Number => "number",
            Type::Boolean => "boolean",
        }
    }
}

/// `x-kubernetes-list-type`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ListType {
    /// Replaced as a whole; the default.
    Atomic,
    /// Items are unique.
    Set,
    /// Items are objects with unique keys.
    Map,
}

/// What fields without a property of their own may hold.
#[derive(Clone, Debug)]
pub enum Additional {
    /// Nothing is said: such fields are unknown.
    Unspecified,
    /// `additionalProperties: true` or `false`.
    Allowed(bool),
    /// Values of this schema.
    Schema(Arc<Node>),
}

/// Bounds on values; one box per node that has any.
#[derive(Clone, Debug, Default)]
pub struct Checks {
    pub format: Option<Format>,
    pub maximum: Option<f64>,
    pub exclusive_maximum: bool,
    pub minimum: Option<f64>,
    pub exclusive_minimum: bool,
    pub multiple_of: Option<f64>,
    pub max_length: Option<i64>,
    pub min_length: Option<i64>,
    pub max_items: Option<i64>,
    pub min_items: Option<i64>,
    /// Only in schemas that CRD validation is about to refuse.
    pub unique_items: bool,
    pub max_properties: Option<i64>,
    pub min_properties: Option<i64>,
    pub pattern: Option<Regex>,
    /// The pattern as written, for messages.
    pub pattern_text: Box<str>,
    pub enumeration: Box<[Literal]>,
    /// The word of [`Type::Unknown`].
    pub unknown_type: Box<str>,
}

/// `allOf`, `oneOf`, `anyOf`, `not`.
#[derive(Clone, Debug, Default)]
pub struct Junctors {
    pub all_of: Box<[Node]>,
    pub one_of: Box<[Node]>,
    pub any_of: Box<[Node]>,
    pub not: Option<Box<Node>>,
}

/// One schema node, ready to be walked along a value.
#[derive(Clone, Debug)]
pub struct Node {
    pub ty: Type,
    pub nullable: bool,
    pub preserve_unknown: bool,
    pub embedded: bool,
    pub int_or_string: bool,
    /// `None` when the list type is not stated.
    pub list_type: Option<ListType>,
    /// `x-kubernetes-map-type: atomic`.
    pub atomic_map: bool,
    /// Sorted by name.
    pub properties: Box<[(Box<str>, Arc<Node>)]>,
    pub additional: Additional,
    pub items: Option<Arc<Node>>,
    pub required: Box<[Box<str>]>,
    pub list_map_keys: Box<[Box<str>]>,
    pub default: Option<Box<Literal>>,
    pub checks: Option<Box<Checks>>,
    pub junctors: Option<Box<Junctors>>,
    pub rules: Box<[Rule]>,
    /// Whether this node or one below it has a default.
    pub has_defaults: bool,
    /// Whether this node or one below it is an embedded resource.
    pub has_embedded: bool,
    /// Whether this node or one below it is a list of type set or map.
    pub has_keyed_lists: bool,
    /// Whether this node or one below it has a rule.
    pub has_rules: bool,
}

impl Node {
    /// Compiles a schema whose patterns are known to compile; one that does not matches nothing.
    pub fn compile(props: &Props) -> Node {
        let properties: Box<[_]> = props
            .properties
            .iter()
            .map(|(name, child)| (name.as_str().into(), Arc::new(Node::compile(child))))
            .collect();
        let additional = match &props.additional_properties {
            None => Additional::Unspecified,
            Some(PropsAdditional::Allowed(allowed)) => Additional::Allowed(*allowed),
            Some(PropsAdditional::Schema(schema)) => {
                Additional::Schema(Arc::new(Node::compile(schema)))
            }
        };
        let items = match &props.items {
            Some(Items::One(schema)) => Some(Arc::new(Node::compile(schema))),
            _ => None,
        };
        let list_type = match props.list_type.as_deref() {
            Some("set") => Some(ListType::Set),
            Some("map") => Some(ListType::Map),
            Some(_) => Some(ListType::Atomic),
            None => None,
        };
        let mut node = Node {
            ty: Type::parse(&props.ty),
            nullable: props.nullable,
            preserve_unknown: props.preserve_unknown_fields == Some(true),
            embedded: props.embedded_resource,
            int_or_string: props.int_or_string,
            list_type,
            atomic_map: props.map_type.as_deref() == Some("atomic"),
            properties,
            additional,
            items,
            required: props.required.iter().map(|s| s.as_str().into()).collect(),
            list_map_keys: props
                .list_map_keys
                .iter()
                .map(|s| s.as_str().into())
                .collect(),
            default: props.default.as_ref().map(|v| Box::new(Literal::from(v))),
            checks: compile_checks(props),
            junctors: compile_junctors(props),
            rules: props.validations.iter().cloned().collect(),
            has_defaults: props.default.is_some(),
            has_embedded: props.embedded_resource,
            has_keyed_lists: matches!(list_type, Some(ListType::Set | ListType::Map)),
            has_rules: !props.validations.is_empty(),
        };
        node.inherit_flags();
        node
    }

    fn inherit_flags(&mut self) {
        let (mut defaults, mut embedded, mut keyed, mut rules) = (false, false, false, false);
        for child in self.structural_children() {
            defaults |= child.has_defaults;
            embedded |= child.has_embedded;
            keyed |= child.has_keyed_lists;
            rules |= child.has_rules;
        }
        self.has_defaults |= defaults;
        self.has_embedded |= embedded;
        self.has_keyed_lists |= keyed;
        self.has_rules |= rules;
    }

    /// The nodes below this one outside of junctors.
    pub fn structural_children(&self) -> impl Iterator<Item = &Arc<Node>> {
        let additional = match &self.additional {
            Additional::Schema(schema) => Some(schema),
            _ => None,
        };
        self.properties
            .iter()
            .map(|(_, child)| child)
            .chain(additional)
            .chain(&self.items)
    }

    /// The schema of the property `name`.
    pub fn property(&self, name: &str) -> Option<&Arc<Node>> {
        let found = self
            .properties
            .binary_search_by(|(key, _)| key.as_ref().cmp(name));
        found
            .ok()
            .and_then(|i| self.properties.get(i))
            .map(|(_, child)| child)
    }

    /// The schema of additional properties.
    pub fn additional_schema(&self) -> Option<&Arc<Node>> {
        match &self.additional {
            Additional::Schema(schema) => Some(schema),
            _ => None,
        }
    }

    /// The schema of the field `name`, as a property or else as an additional one.
    pub fn field(&self, name: &str) -> Option<&Arc<Node>> {
        self.property(name).or_else(|| self.additional_schema())
    }

    /// Whether `null` is no value here: not nullable.
    pub fn rejects_null(&self) -> bool {
        !self.nullable
    }
}

fn compile_checks(props: &Props) -> Option<Box<Checks>> {
    let unknown_type = match Type::parse(&props.ty) {
        Type::Unknown => props.ty.as_str(),
        _ => "",
    };
    let has_any = !props.format.is_empty()
        || !unknown_type.is_empty()
        || !props.pattern.is_empty()
        || !props.enumeration.is_empty()
        || props.maximum.is_some()
        || props.minimum.is_some()
        || props.multiple_of.is_some()
        || props.unique_items
        || [
            props.max_length,
            props.min_length,
            props.max_items,
            props.min_items,
        ]
        .iter()
        .chain(&[props.max_properties, props.min_properties])
        .any(Option::is_some);
    has_any.then(|| {
        Box::new(Checks {
            format: Format::parse(&props.format),
            maximum: props.maximum,
            exclusive_maximum: props.exclusive_maximum,
            minimum: props.minimum,
            exclusive_minimum: props.exclusive_minimum,
            multiple_of: props.multiple_of,
            max_length: props.max_length,
            min_length: props.min_length,
            max_items: props.max_items,
            min_items: props.min_items,
            unique_items: props.unique_items,
            max_properties: props.max_properties,
            min_properties: props.min_properties,
            pattern: pattern::compile(&props.pattern).ok(),
            pattern_text: props.pattern.as_str().into(),
            enumeration: props.enumeration.iter().map(Literal::from).collect(),
            unknown_type: unknown_type.into(),
        })
    })
}

fn compile_junctors(props: &Props) -> Option<Box<Junctors>> {
    let all = |list: &[Props]| list.iter().map(Node::compile).collect();
    let has_any = !props.all_of.is_empty()
        || !props.one_of.is_empty()
        || !props.any_of.is_empty()
        || props.not.is_some();
    has_any.then(|| {
        Box::new(Junctors {
            all_of: all(&props.all_of),
            one_of: all(&props.one_of),
            any_of: all(&props.any_of),
            not: props.not.as_ref().map(|not| Box::new(Node::compile(not))),
        })
    })
}
