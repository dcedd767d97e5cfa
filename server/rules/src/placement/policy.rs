//! A Placement with its expressions compiled, and which objects it selects.
//!
//! Start at [`Policy::selects`]; what its overrides do is in `overrides.rs`. Invariant: expressions
//! run under a budget, and one that fails selects nothing and is told with the object that made it
//! fail.

use std::collections::BTreeMap;

use hanse_apis::sites::{ComputedField, ObjectSelector, PlacementSpec};
use hanse_cel::{Binding, Budget, DeclType, Decls, Env, Program, Value as CelValue};
use hanse_schema::field::{Error as FieldError, ErrorList, Path};
use serde_json::Value;

/// Cost that one evaluation may spend: a hundredth of what Kubernetes gives the rules of an object,
/// because selectors run for every object of a kind.
pub const SELECT_COST: u64 = 100_000;

/// A Placement's spec, ready to be asked.
#[derive(Debug, Default)]
pub struct Policy {
    /// The spec.
    pub spec: PlacementSpec,
    /// The compiled expression of each entry of `spec.objects`, where it has one.
    selectors: Vec<Option<Result<Program, String>>>,
    /// The compiled fields of each override.
    pub(super) fields: Vec<Vec<Result<Program, String>>>,
}

/// What is asked about an object.
#[derive(Clone, Copy, Debug)]
pub struct Subject<'a> {
    /// API group of its kind.
    pub group: &'a str,
    /// Plural name of its kind.
    pub resource: &'a str,
    /// Its namespace; empty for a cluster-scoped one.
    pub namespace: &'a str,
    /// Its name.
    pub name: &'a str,
    /// Its labels.
    pub labels: &'a BTreeMap<String, String>,
}

/// An expression that failed, with what made it fail.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Failure {
    /// Where the expression stands.
    pub field: String,
    /// What went wrong.
    pub message: String,
}

/// The expression of a computed field.
fn compile_field(env: Env, expression: &str) -> Result<Program, String> {
    let object = Decls::new().variable("object", DeclType::any());
    let program = env.compile(expression, &object.variable("site", DeclType::any()));
    program.map_err(|error| error.to_string())
}

/// The expression of a selector.
fn compile(env: Env, expression: &str) -> Result<Program, String> {
    let object = Decls::new().variable("object", DeclType::any());
    let program = env
        .compile(expression, &object)
        .map_err(|error| error.to_string())?;
    match program.result_type() {
        hanse_cel::Type::Bool | hanse_cel::Type::Dyn => Ok(program),
        other => Err(format!("must evaluate to bool, not {other}")),
    }
}

impl Policy {
    /// Compiles a spec that is stored.
    #[must_use]
    pub fn new(spec: PlacementSpec) -> Self {
        let env = Env::for_stored_expressions();
        let selector = |o: &ObjectSelector| {
            let text = o.expression.as_str();
            (!text.is_empty()).then(|| compile(env, text))
        };
        let selectors = spec.objects.iter().map(selector).collect();
        let field = |f: &ComputedField| compile_field(env, &f.expression);
        let fields = spec.overrides.iter();
        let fields = fields
            .map(|o| o.fields.iter().map(field).collect())
            .collect();
        Self {
            spec,
            selectors,
            fields,
        }
    }

    /// Whether the Placement names the kind at all.
    #[must_use]
    pub fn names(&self, group: &str, resource: &str) -> bool {
        let named = |o: &ObjectSelector| o.group == group && o.resource == resource;
        self.spec.objects.iter().any(named)
    }

    /// Whether an object is selected. `object` is read only by expressions.
    ///
    /// # Errors
    /// The first expression that failed for it, when no entry selects it.
    pub fn selects(
        &self,
        subject: &Subject<'_>,
        object: &dyn Fn() -> Value,
    ) -> Result<bool, Failure> {
        let mut failure = None;
        let mut tree = None;
        for (index, entry) in self.spec.objects.iter().enumerate() {
            if !fits(entry, subject) {
                continue;
            }
            let Some(selector) = self.selectors.get(index).and_then(Option::as_ref) else {
                return Ok(true);
            };
            let tree: &Value = tree.get_or_insert_with(object);
            match evaluate(selector, tree) {
                Ok(true) => return Ok(true),
                Ok(false) => {}
                Err(message) => {
                    failure.get_or_insert(Failure {
                        field: format!("spec.objects[{index}].expression"),
                        message,
                    });
                }
            }
        }
        failure.map_or(Ok(false), Err)
    }
}

fn fits(entry: &ObjectSelector, subject: &Subject<'_>) -> bool {
    let listed = |list: &[String], value: &str| list.is_empty() || list.iter().any(|l| l == value);
    entry.group == subject.group
        && entry.resource == subject.resource
        && listed(&entry.namespaces, subject.namespace)
        && listed(&entry.names, subject.name)
        && entry.selector.matches(subject.labels)
}

fn evaluate(selector: &Result<Program, String>, object: &Value) -> Result<bool, String> {
    let program = selector.as_ref().map_err(Clone::clone)?;
    let budget = Budget {
        cost: SELECT_COST,
        ..Budget::default()
    };
    let (result, _) = program.eval(&|_| Binding::Json(object), budget);
    match result.map_err(|error| error.to_string())? {
        CelValue::Bool(answer) => Ok(answer),
        other => Err(format!("evaluated to {}, not to bool", other.type_name())),
    }
}

/// What is wrong with the expressions of a spec that is being written.
#[must_use]
pub fn validate(spec: &PlacementSpec) -> ErrorList {
    let mut errors = ErrorList::new();
    let objects = Path::new("spec").child("objects");
    let mut check = |path: Path, value: &str, verdict: Result<(), String>| {
        if let Err(message) = verdict {
            errors.push(FieldError::invalid(&path, value, message));
        }
    };
    for (index, entry) in spec.objects.iter().enumerate() {
        let path = objects.index(index).child("expression");
        if !entry.expression.is_empty() {
            let compiled = compile(Env::for_new_expressions(), &entry.expression);
            check(path, &entry.expression, compiled.map(|_| ()));
        }
    }
    let overrides = Path::new("spec").child("overrides");
    for (index, entry) in spec.overrides.iter().enumerate() {
        for (at, field) in entry.fields.iter().enumerate() {
            let path = overrides.index(index).child("fields").index(at);
            let compiled = compile_field(Env::for_new_expressions(), &field.expression);
            check(
                path.child("expression"),
                &field.expression,
                compiled.map(|_| ()),
            );
            let pointer = match field.path.starts_with('/') {
                true => Ok(()),
                false => Err("must be a JSON pointer".to_owned()),
            };
            check(path.child("path"), &field.path, pointer);
        }
    }
    errors
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn policy(objects: Value) -> Policy {
        Policy::new(serde_json::from_value(json!({"objects": objects})).unwrap())
    }

    fn ask(policy: &Policy, namespace: &str, name: &str, object: Value) -> Result<bool, String> {
        let labels = BTreeMap::from([("app".to_owned(), "web".to_owned())]);
        let subject = Subject {
            group: "apps",
            resource: "deployments",
            namespace,
            name,
            labels: &labels,
        };
        let answer = policy.selects(&subject, &|| object.clone());
        answer.map_err(|f| format!("{}: {}", f.field, f.message))
    }

    #[test]
    fn objects_are_selected_by_kind_name_namespace_label_and_expression() {
        let entry = |more: Value| {
            let mut entry = json!({"group": "apps", "resource": "deployments"});
            entry
                .as_object_mut()
                .unwrap()
                .extend(more.as_object().unwrap().clone());
            json!([entry])
        };
        for (more, selected) in [
            (json!({}), true),
            (json!({"resource": "statefulsets"}), false),
            (json!({"group": ""}), false),
            (json!({"names": ["web", "api"]}), true),
            (json!({"names": ["api"]}), false),
            (json!({"namespaces": ["shop"]}), true),
            (json!({"namespaces": ["other"]}), false),
            (json!({"selector": {"matchLabels": {"app": "web"}}}), true),
            (json!({"selector": {"matchLabels": {"app": "api"}}}), false),
            (json!({"expression": "object.spec.replicas > 2"}), true),
            (json!({"expression": "object.spec.replicas > 9"}), false),
            (json!({"expression": "has(object.metadata.labels)"}), false),
        ] {
            let policy = policy(entry(more.clone()));
            let object = json!({"metadata": {}, "spec": {"replicas": 3}});
            assert_eq!(ask(&policy, "shop", "web", object), Ok(selected), "{more}");
        }
    }

    #[test]
    fn what_fails_selects_nothing_and_is_told() {
        let p = policy(json!([
            {"group": "apps", "resource": "deployments", "expression": "object.spec.tier == 'a'"},
        ]));
        let told = ask(&p, "shop", "web", json!({"spec": {}}));
        assert_eq!(
            told,
            Err("spec.objects[0].expression: no such key: tier".to_owned())
        );
        let p = policy(json!([
            {"group": "apps", "resource": "deployments", "expression": "object.spec.tier == 'a'"},
            {"group": "apps", "resource": "deployments", "names": ["web"]},
        ]));
        assert_eq!(ask(&p, "shop", "web", json!({"spec": {}})), Ok(true));
        let p = policy(json!([{
            "group": "apps", "resource": "deployments",
            "expression": "object.a.all(x, object.a.all(y, object.a.all(z, x + y + z < 0 || true)))",
        }]));
        let long: Vec<u32> = (0..200).collect();
        let told = ask(&p, "shop", "web", json!({"a": long})).unwrap_err();
        assert!(told.contains("cost limit exceeded"), "{told}");
    }

    #[test]
    fn expressions_are_checked_when_they_are_written() {
        let check = |expression: &str| {
            let spec = json!({"objects": [{"resource": "secrets", "expression": expression}]});
            let errors = validate(&serde_json::from_value(spec).unwrap());
            errors
                .iter()
                .map(ToString::to_string)
                .collect::<Vec<_>>()
                .join("\n")
        };
        assert_eq!(check("object.x == 1"), "");
        assert!(check("object.x ==").contains("spec.objects[0].expression: Invalid value"));
        assert!(check("'text'").contains("must evaluate to bool, not string"));
        assert!(check("site.name == 'x'").contains("undeclared reference to 'site'"));
    }
}
