//! From the text of rules to programs.

use std::collections::BTreeSet;

use hanse_cel::{CompileError, DeclType, Decls, Env, Program, Type};
use serde_json::Value;

use super::CompiledRule;
use crate::crd::field_path;
use crate::field::Path;
use crate::props::{Props, Rule};

/// Which functions an expression may use: all that are known when it is stored already, else those
/// of the version before, so that a rolled-back server can read it.
#[derive(Clone, Debug, Default)]
pub struct Environments {
    all_stored: bool,
    stored_rules: BTreeSet<String>,
    stored_messages: BTreeSet<String>,
}

impl Environments {
    /// For schemas that are stored.
    pub fn stored() -> Self {
        Environments {
            all_stored: true,
            ..Environments::default()
        }
    }

    /// For schemas that are written now, beside what the old definition had.
    pub fn written<'p>(old: impl Iterator<Item = &'p Props>) -> Self {
        let mut environments = Environments::default();
        old.for_each(|schema| environments.add(schema));
        environments
    }

    fn add(&mut self, schema: &Props) {
        for rule in &schema.validations {
            self.stored_rules.insert(rule.rule.clone());
            self.stored_messages.insert(rule.message_expression.clone());
        }
        schema.children().for_each(|child| self.add(child));
    }

    fn of(&self, text: &str, stored: &BTreeSet<String>) -> Env {
        if self.all_stored || stored.contains(text) {
            Env::for_stored_expressions()
        } else {
            Env::for_new_expressions()
        }
    }
}

/// The type of values of a schema, if expressions can see such at all.
pub fn declare(source: &Value, is_resource: bool) -> Option<DeclType> {
    DeclType::from_schema(source, is_resource).filter(|decl| decl.cel_type().is_some())
}

/// Compiles the rules of one node, whose schema as JSON is `source` and whose type is `decl`.
pub fn compile_rules(
    source: &Value,
    decl: &DeclType,
    rules: &[Rule],
    environments: &Environments,
) -> Vec<CompiledRule> {
    let decl = decl.clone().named("selfType");
    let plain = decls(&decl, decl.clone());
    let optional = decls(&decl, DeclType::optional(decl.clone()));
    let compile = |rule: &Rule| {
        let decls = if rule.optional_old_self == Some(true) {
            &optional
        } else {
            &plain
        };
        compile_rule(source, rule, decls, environments)
    };
    rules.iter().map(compile).collect()
}

fn decls(this: &DeclType, old: DeclType) -> Decls {
    Decls::new()
        .variable("self", this.clone())
        .variable("oldSelf", old)
}

fn compile_rule(
    source: &Value,
    rule: &Rule,
    decls: &Decls,
    environments: &Environments,
) -> CompiledRule {
    let env = environments.of(&rule.rule, &environments.stored_rules);
    let program =
        compile_text(env, &rule.rule, decls, "").and_then(|program| match program.result_type() {
            Type::Bool => Ok(program),
            _ => Err("cel expression must evaluate to a bool".to_owned()),
        });
    let uses_old_self = program.as_ref().is_ok_and(|p| p.uses("oldSelf"));
    let has_message = program.is_ok() && !rule.message_expression.is_empty();
    let message = has_message.then(|| {
        let text = &rule.message_expression;
        let env = environments.of(text, &environments.stored_messages);
        let program = compile_text(env, text, decls, "messageExpression ")?;
        match program.result_type() {
            Type::String => Ok(program),
            _ => Err("messageExpression must evaluate to a string".to_owned()),
        }
    });
    // As in Kubernetes, a stored rule whose message cannot be made shows no path of its own either.
    let has_path = message.as_ref().is_none_or(Result::is_ok);
    CompiledRule {
        program,
        message,
        uses_old_self,
        field_path: has_path.then(|| shown_path(source, rule)).flatten(),
    }
}

fn compile_text(env: Env, text: &str, decls: &Decls, what: &str) -> Result<Program, String> {
    env.compile(text, decls).map_err(|error| match error {
        CompileError::Issues { text, .. } => format!("{what}compilation failed: {text}"),
        CompileError::Program(text) if what.is_empty() => {
            format!("program instantiation failed: {text}")
        }
        CompileError::Program(text) => format!("{what}instantiation failed: {text}"),
    })
}

fn shown_path(source: &Value, rule: &Rule) -> Option<Box<str>> {
    if rule.field_path.is_empty() {
        return None;
    }
    let props = Props::decode(source, &Path::nil()).ok()?;
    let (path, _) = field_path::resolve(&rule.field_path, &props, true).ok()?;
    Some(path.to_string().into())
}
