//! The rules of default values: pruned, valid under their own schema, and good metadata.
//!
//! Start at [`validate`]. A default inside of a resource's metadata is judged in a resource built
//! around it ([`Around`]).

use serde_json::{Value, json};

use crate::embedded;
use crate::field::{Error, ErrorList, Path};
use crate::node::Node;
use crate::props::Props;
use crate::prune;
use crate::rules::{OBJECT_BUDGET, RuleTree, evaluate};
use crate::validate::{self, Mode};

/// The way from a resource down to a value in it.
#[derive(Clone, Copy)]
enum Around<'a> {
    Resource,
    Field(&'a Around<'a>, &'a str),
    Item(&'a Around<'a>),
}

impl Around<'_> {
    /// The smallest resource with `value` at its place.
    fn wrap(&self, value: Value) -> Value {
        match self {
            Around::Resource => value,
            Around::Field(parent, key) => {
                let mut map = serde_json::Map::new();
                map.insert((*key).to_owned(), value);
                parent.wrap(Value::Object(map))
            }
            Around::Item(parent) => parent.wrap(json!([value])),
        }
    }

    /// What became of the value.
    fn find<'v>(&self, resource: &'v Value) -> Option<&'v Value> {
        match self {
            Around::Resource => Some(resource),
            Around::Field(parent, key) => parent.find(resource)?.get(*key),
            Around::Item(parent) => parent.find(resource)?.get(0),
        }
    }
}

/// Everything wrong with the defaults of a structural schema, whose JSON is `source`; `path` is
/// that of the schema.
pub fn validate(props: &Props, source: &Value, path: &Path, require_pruned: bool) -> ErrorList {
    let root = Node::compile(props);
    let mut found = Found {
        errors: ErrorList::new(),
        budget: OBJECT_BUDGET,
    };
    if root.has_defaults {
        let walk = Walk {
            resource: &root,
            inside_meta: false,
            require_pruned,
        };
        let place = Place {
            props,
            node: &root,
            source,
        };
        walk.node(place, true, Around::Resource, path, &mut found);
    }
    found.errors
}

/// Errors so far, and what evaluating rules may still cost.
struct Found {
    errors: ErrorList,
    budget: i64,
}

/// A schema as written, as compiled, and as JSON.
#[derive(Clone, Copy)]
struct Place<'a> {
    props: &'a Props,
    node: &'a Node,
    source: &'a Value,
}

#[derive(Clone, Copy)]
struct Walk<'a> {
    /// The schema of the innermost resource around.
    resource: &'a Node,
    /// Whether this is in the apiVersion, kind or metadata of a resource.
    inside_meta: bool,
    require_pruned: bool,
}

impl<'a> Walk<'a> {
    fn node(
        mut self,
        place: Place<'a>,
        is_root: bool,
        mut around: Around<'_>,
        path: &Path,
        found: &mut Found,
    ) {
        let Place {
            props,
            node,
            source,
        } = place;
        if !node.has_defaults || found.budget < 0 {
            return;
        }
        let is_resource = is_root || node.embedded;
        if is_resource {
            self.inside_meta = false;
            self.resource = node;
            around = Around::Resource;
        }
        if let Some(default) = &props.default {
            let at = path.child("default");
            let before = found.errors.len();
            let value = if self.inside_meta {
                self.in_metadata(node, default, around, &at, &mut found.errors)
            } else {
                self.plain(node, default, is_resource, &at, &mut found.errors)
            };
            let is_good = |found: &Found| {
                // A default with unknown fields is judged on.
                let unknown = found.errors.iter().skip(before);
                unknown.filter(|e| e.detail != UNKNOWN_FIELDS).count() == 0
            };
            if node.has_rules && is_good(found) {
                rules(place, is_resource, &value, &at, found);
            }
        }
        if let (Some(schema), Some(child)) = (props.item_schema(), node.items.as_deref()) {
            let around = Around::Item(&around);
            let below = source.get("items").unwrap_or(&Value::Null);
            let place = Place {
                props: schema,
                node: child,
                source: below,
            };
            self.node(place, false, around, &path.child("items"), found);
        }
        for (name, schema) in &props.properties {
            let Some(child) = node.property(name) else {
                continue;
            };
            let mut walk = self;
            walk.inside_meta |= is_resource && prune::is_meta_field(name);
            let at = path.child("properties").key(name);
            let below = source.get("properties").and_then(|p| p.get(name));
            let source = below.unwrap_or(&Value::Null);
            let place = Place {
                props: schema,
                node: child,
                source,
            };
            walk.node(place, false, Around::Field(&around, name), &at, found);
        }
    }

    fn in_metadata(
        &self,
        node: &Node,
        default: &Value,
        around: Around<'_>,
        at: &Path,
        errors: &mut ErrorList,
    ) -> Value {
        let mut resource = around.wrap(default.clone());
        if let Some(map) = resource.as_object_mut() {
            map.entry("kind").or_insert_with(|| "Validation".into());
            map.entry("apiVersion")
                .or_insert_with(|| "validation/v1".into());
        }
        let bad = |why: String| {
            Error::invalid(at, default, format!("must result in valid metadata: {why}"))
        };
        let nil = Path::nil();
        if let Err(why) = embedded::coerce(self.resource, &mut resource, &nil, true, false) {
            errors.push(bad(why.to_string()));
            return default.clone();
        }
        let found = embedded::validate(self.resource, &resource, &nil, true);
        if found.is_empty() {
            errors.extend(validate::validate(node, default, None, at, Mode::AsWritten));
        } else {
            errors.push(bad(found.to_string()));
        }
        default.clone()
    }

    fn plain(
        &self,
        node: &Node,
        default: &Value,
        is_resource: bool,
        at: &Path,
        errors: &mut ErrorList,
    ) -> Value {
        let mut pruned = default.clone();
        prune::prune(node, &mut pruned, is_resource);
        let mut value = default.clone();
        let coerced = embedded::coerce(node, &mut value, at, is_resource, false);
        if self.require_pruned && pruned != *default {
            // Kubernetes shows the value as it is after the step before.
            errors.push(Error::invalid(at, &value, UNKNOWN_FIELDS));
        }
        if let Err(error) = coerced {
            errors.push(error);
            return value;
        }
        let found = embedded::validate(node, &value, at, is_resource);
        if found.is_empty() {
            errors.extend(validate::validate(node, &value, None, at, Mode::AsWritten));
        } else {
            errors.extend(found);
        }
        value
    }
}

const UNKNOWN_FIELDS: &str = "must not have unknown fields";

/// Rules must hold for a default that was there before and for one that is new.
fn rules(place: Place<'_>, is_resource: bool, value: &Value, at: &Path, found: &mut Found) {
    let tree = RuleTree::compile(place.node, place.source, is_resource);
    let judge = |old| evaluate(&tree, place.node, value, old, false, at, found.budget);
    let same = judge(Some(value));
    let mut remaining = same.remaining;
    if same.errors.is_empty() {
        let fresh = judge(None);
        remaining = remaining.min(fresh.remaining);
        found.errors.extend(fresh.errors);
    } else {
        found.errors.extend(same.errors);
    }
    found.budget = remaining;
}

/// Whether a schema has a default that pruning would change: such are let be once stored.
pub fn has_unpruned(props: &Props) -> bool {
    let root = Node::compile(props);
    root.has_defaults && unpruned(props, &root, Around::Resource)
}

fn unpruned(props: &Props, root: &Node, around: Around<'_>) -> bool {
    if let Some(default) = &props.default {
        let mut resource = around.wrap(default.clone());
        let coerced = embedded::coerce(root, &mut resource, &Path::nil(), true, true);
        prune::prune(root, &mut resource, true);
        if coerced.is_ok() && around.find(&resource) != Some(default) {
            return true;
        }
    }
    let additional = props
        .additional_properties
        .as_ref()
        .and_then(|a| a.schema());
    additional.is_some_and(|s| unpruned(s, root, Around::Field(&around, "*")))
        || props
            .item_schema()
            .is_some_and(|s| unpruned(s, root, Around::Item(&around)))
        || props
            .properties
            .iter()
            .any(|(k, s)| unpruned(s, root, Around::Field(&around, k)))
}
