//! `x-kubernetes-validations`: rules in CEL, compiled with a schema and evaluated on its objects.
//!
//! Start at [`RuleTree::compile`] and [`evaluate`]. The tree stands beside the schema's and has
//! only the nodes on the way to a rule. The invariant: a rule's verdict, its words and its cost
//! are Kubernetes'; what an object may cost is bounded by the budget. Whether a rule may be
//! written at all is [`crate::crd`]'s; the language itself is `hanse-cel`'s.

mod compile;
mod evaluate;

use hanse_cel::{DeclKind, DeclType, Program, escape};
use serde_json::Value;

use crate::field::ErrorList;
use crate::node::Node;

pub use compile::{Environments, compile_rules, declare};
pub use evaluate::evaluate;

/// What evaluating all rules of one object may cost in one request.
pub const OBJECT_BUDGET: i64 = 10_000_000;
/// Longest text that a `messageExpression` may make, in bytes.
pub const MESSAGE_LENGTH_MAX: usize = 5 * 1024;

/// A rule ready to be evaluated.
#[derive(Debug)]
pub struct CompiledRule {
    /// The rule, or why it is none.
    pub program: Result<Program, String>,
    /// The message, or why it is none; `None` when the rule has no expression for it.
    pub message: Option<Result<Program, String>>,
    /// Whether the rule compares with the old value.
    pub uses_old_self: bool,
    /// `fieldPath` as field errors show it.
    pub field_path: Option<Box<str>>,
}

/// The rules of a schema node and of those below it.
#[derive(Debug, Default)]
pub struct RuleTree {
    /// In the order of the schema; `None` when the node's type cannot be declared.
    rules: Option<Vec<CompiledRule>>,
    /// Sorted by name.
    properties: Box<[(Box<str>, RuleTree)]>,
    additional: Option<Box<RuleTree>>,
    items: Option<Box<RuleTree>>,
}

impl RuleTree {
    /// Compiles the rules of a node and below; `source` is its schema as JSON. Rules that do not
    /// compile are kept as such: they were stored by a server that knew more.
    pub fn compile(node: &Node, source: &Value, is_resource: bool) -> RuleTree {
        Self::compile_below(node, source, declare(source, is_resource).as_ref())
    }

    /// As [`RuleTree::compile`], with the type of the node as the types around declare it.
    fn compile_below(node: &Node, source: &Value, decl: Option<&DeclType>) -> RuleTree {
        let mut tree = RuleTree {
            rules: Some(Vec::new()),
            ..RuleTree::default()
        };
        if !node.rules.is_empty() {
            let stored = Environments::stored();
            tree.rules = decl.map(|decl| compile_rules(source, decl, &node.rules, &stored));
        }
        let null = Value::Null;
        let properties = node.properties.iter().filter(|(_, child)| child.has_rules);
        tree.properties = properties
            .filter_map(|(name, child)| {
                let source = source.get("properties").and_then(|p| p.get(name.as_ref()));
                let source = source.unwrap_or(&null);
                let own;
                let decl = match escape(name) {
                    // Fields that expressions cannot see have no rules either.
                    Some(_) => field_decl(decl?, name)?,
                    None => {
                        own = declare(source, child.embedded)?;
                        &own
                    }
                };
                Some((
                    name.clone(),
                    RuleTree::compile_below(child, source, Some(decl)),
                ))
            })
            .collect();
        let below = |child: &Node, key: &str| {
            let source = source.get(key).unwrap_or(&null);
            let decl = decl.and_then(element_decl);
            Box::new(RuleTree::compile_below(child, source, decl))
        };
        let additional = node.additional_schema().filter(|child| child.has_rules);
        tree.additional = additional.map(|child| below(child, "additionalProperties"));
        let items = node.items.as_ref().filter(|child| child.has_rules);
        tree.items = items.map(|child| below(child, "items"));
        tree
    }

    fn property(&self, name: &str) -> Option<&RuleTree> {
        let found = self
            .properties
            .binary_search_by(|(key, _)| key.as_ref().cmp(name));
        found
            .ok()
            .and_then(|i| self.properties.get(i))
            .map(|(_, tree)| tree)
    }
}

fn field_decl<'d>(decl: &'d DeclType, name: &str) -> Option<&'d DeclType> {
    match &decl.kind {
        DeclKind::Object(object) => object.fields.get(name).filter(|f| f.cel_type().is_some()),
        _ => None,
    }
}

fn element_decl(decl: &DeclType) -> Option<&DeclType> {
    match &decl.kind {
        DeclKind::Map(values) => Some(values.as_ref()),
        DeclKind::List(list) => Some(&list.item),
        _ => None,
    }
}

/// What evaluating the rules of an object came to.
#[derive(Debug)]
pub struct CelOutcome {
    /// Rules that are broken, and those that could not be evaluated.
    pub errors: ErrorList,
    /// Broken rules about what did not change: told, but no error.
    pub warnings: Vec<String>,
    /// What is left of the budget; negative when it did not suffice.
    pub remaining: i64,
}
