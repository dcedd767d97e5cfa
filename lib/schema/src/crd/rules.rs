//! The rules in CEL of a schema that is written: do they compile, and what may they cost.
//!
//! Start at [`Judge::rules`]. A rule's cost is that of one evaluation times how often it may run:
//! the largest number of its nodes in an object, by the bounds of the schema or else of a request.

use hanse_cel::limits::REQUEST_BYTES;
use serde_json::Value;

use super::options::Options;
use super::render;
use crate::field::{BadValue, Error, ErrorList, Path};
use crate::props::{Props, Rule};
use crate::rules::{CompiledRule, compile_rules, declare};

/// Most that one rule of a schema may cost, estimated.
pub const RULE_COST_MAX: u64 = 10_000_000;
/// Most that all rules of a schema may cost, estimated.
pub const SCHEMA_COST_MAX: u64 = 100_000_000;
/// So many of the most expensive rules are named.
const NAMED_RULES_MAX: usize = 4;

/// What a node's rules need to know of its place.
#[derive(Clone, Debug)]
pub struct RuleScope<'s> {
    /// The node's schema as JSON.
    source: &'s Value,
    /// How many such nodes an object may have; `None` when nothing bounds it.
    cardinality: Option<u64>,
    /// Whether a node around has rules.
    within: bool,
    /// Whether the type of a node around that has rules, or is within one, cannot be declared.
    broken: bool,
}

impl<'s> RuleScope<'s> {
    /// The root: there is one.
    pub fn root(source: &'s Value) -> Self {
        RuleScope {
            source,
            cardinality: Some(1),
            within: false,
            broken: false,
        }
    }

    /// A child of `parent`, under `key` (and `name`) in the JSON of the schema.
    pub fn below(&self, parent: &Props, key: &str, name: Option<&str>) -> RuleScope<'s> {
        let child = self.source.get(key);
        let child = match name {
            Some(name) => child.and_then(|children| children.get(name)),
            None => child,
        };
        let within = self.within || !parent.validations.is_empty();
        let broken =
            self.broken || within && declare(self.source, parent.embedded_resource).is_none();
        let times = |n: u64, m: u64| n.saturating_mul(m);
        let cardinality = self
            .cardinality
            .zip(elements_max(parent))
            .map(|(n, m)| times(n, m));
        let source = child.unwrap_or(&Value::Null);
        RuleScope {
            source,
            cardinality,
            within,
            broken,
        }
    }
}

/// How many children of one kind a node may have.
fn elements_max(parent: &Props) -> Option<u64> {
    let bound = |max: Option<i64>| max.map(|n| n.max(0).unsigned_abs());
    match parent.ty.as_str() {
        "object" if parent.additional_properties.is_some() => bound(parent.max_properties),
        "array" => bound(parent.max_items),
        _ => Some(1),
    }
}

/// What the rules of a schema may cost together.
#[derive(Debug, Default)]
pub struct Costs {
    /// Whether each rule is held to its limit too.
    each: bool,
    total: u64,
    /// Those that matter, the most expensive first.
    largest: Vec<(Path, u64)>,
}

impl Costs {
    /// Nothing yet.
    pub fn new(each: bool) -> Self {
        Costs {
            each,
            ..Costs::default()
        }
    }

    /// Counts an expression; answers the error if it is too expensive by itself.
    fn observe(&mut self, name: &str, cost: u64, path: &Path) -> Option<Error> {
        self.total = self.total.saturating_add(cost);
        if cost >= SCHEMA_COST_MAX / 100 {
            self.largest.push((path.clone(), cost));
            self.largest
                .sort_by_key(|(_, cost)| std::cmp::Reverse(*cost));
            self.largest.truncate(NAMED_RULES_MAX);
        }
        (self.each && cost > RULE_COST_MAX)
            .then(|| Error::forbidden(path, too_expensive(name, cost, RULE_COST_MAX)))
    }

    /// The errors of the schema as a whole.
    pub fn report(&self, path: &Path, errors: &mut ErrorList) {
        if self.total <= SCHEMA_COST_MAX {
            return;
        }
        let detail = "contributed to estimated rule cost total exceeding cost limit for entire \
                      OpenAPIv3 schema";
        errors.extend(
            self.largest
                .iter()
                .map(|(path, _)| Error::forbidden(path, detail)),
        );
        let name = "x-kubernetes-validations estimated rule cost total for entire OpenAPIv3 schema";
        let detail = too_expensive(name, self.total, SCHEMA_COST_MAX);
        errors.push(Error::forbidden(path, detail));
    }
}

fn too_expensive(name: &str, cost: u64, limit: u64) -> String {
    let factor = cost as f64 / limit as f64;
    let factor = if factor > 100.0 {
        "more than 100x".to_owned()
    } else if factor < 1.5 {
        // Never "by factor of 1.0x".
        format!("{factor:.6}x")
    } else {
        format!("{factor:.1}x")
    };
    format!(
        "{name} exceeds budget by factor of {factor} (try simplifying the rule, or adding \
         maxItems, maxProperties, and maxLength where arrays, maps, and strings are declared)"
    )
}

/// One node whose rules are judged.
pub struct Judge<'a> {
    pub scope: &'a RuleScope<'a>,
    pub is_resource: bool,
    /// The place around that has no counterpart in the old object.
    pub uncorrelatable: Option<&'a Path>,
    pub options: &'a Options,
}

impl Judge<'_> {
    /// Everything wrong with the rules of a node.
    pub fn rules(&self, props: &Props, path: &Path, costs: &mut Costs, errors: &mut ErrorList) {
        let at = path.child("x-kubernetes-validations");
        let source = self.scope.source;
        let decl = declare(source, self.is_resource).filter(|_| !self.scope.broken);
        let Some(decl) = decl else {
            let detail = "internal error: failed to construct type information for \
                          x-kubernetes-validations rules: unable to convert structural schema to \
                          CEL declarations";
            return errors.push(Error::internal(&at, detail));
        };
        let environments = &self.options.environments;
        let rules = compile_rules(source, &decl, &props.validations, environments);
        // At least a comma stands between two elements.
        let most = (REQUEST_BYTES / (decl.min_size + 1)).unsigned_abs();
        let times = self.scope.cardinality.unwrap_or(most);
        for (i, (rule, compiled)) in props.validations.iter().zip(&rules).enumerate() {
            self.rule(rule, compiled, times, &at.index(i), costs, errors);
        }
    }

    fn rule(
        &self,
        rule: &Rule,
        compiled: &CompiledRule,
        times: u64,
        path: &Path,
        costs: &mut Costs,
        errors: &mut ErrorList,
    ) {
        let at = path.child("rule");
        let shown = || BadValue::Json(render::rule(rule));
        match &compiled.program {
            Ok(program) => {
                let cost = program.cost_estimate().max.saturating_mul(times);
                errors.extend(costs.observe("estimated rule cost", cost, &at));
            }
            Err(why) => errors.push(Error::invalid(&at, shown(), why.as_str())),
        }
        let message_at = path.child("messageExpression");
        match &compiled.message {
            Some(Ok(program)) => {
                let cost = program.cost_estimate().max;
                let name = "estimated messageExpression cost";
                errors.extend(costs.observe(name, cost, &message_at));
            }
            Some(Err(why)) => errors.push(Error::invalid(&message_at, shown(), why.as_str())),
            None => {}
        }
        if compiled.uses_old_self {
            if let Some(place) = self.uncorrelatable {
                let detail = format!(
                    "oldSelf cannot be used on the uncorrelatable portion of the schema within \
                     {place}"
                );
                errors.push(Error::invalid(&at, rule.rule.as_str(), detail));
            }
        } else if let Some(optional) = rule.optional_old_self {
            let detail = "may not be set if oldSelf is not used in rule";
            errors.push(Error::invalid(
                &path.child("optionalOldSelf"),
                optional,
                detail,
            ));
        }
    }
}
