//! What schema validation needs of expressions, end to end: typical rules over JSON by a schema.
// The helpers below are no tests themselves, and a failing one is a failing test.
#![allow(clippy::expect_used, clippy::panic)]

use hanse_cel::{Binding, Budget, CompileError, DeclType, Decls, Env, EvalError, Program, Value};
use serde_json::{Value as Json, json};

fn schema() -> Json {
    json!({
        "type": "object",
        "properties": {
            "spec": {
                "type": "object",
                "required": ["replicas"],
                "properties": {
                    "replicas": {"type": "integer"},
                    "min": {"type": "integer"},
                    "name": {"type": "string", "maxLength": 20},
                    "namespace": {"type": "string", "maxLength": 20},
                    "port": {"x-kubernetes-int-or-string": true},
                    "when": {"type": "string", "format": "date-time"},
                    "tags": {"type": "array", "maxItems": 10, "x-kubernetes-list-type": "set",
                             "items": {"type": "string", "maxLength": 10}},
                    "labels": {"type": "object", "maxProperties": 5,
                               "additionalProperties": {"type": "string", "maxLength": 10}},
                    "extra": {"x-kubernetes-preserve-unknown-fields": true}
                }
            }
        }
    })
}

fn compile(rule: &str) -> Result<Program, CompileError> {
    let root = DeclType::from_schema(&schema(), true).expect("a schema with a type");
    let root = root.named("selfType");
    let decls = Decls::new()
        .variable("self", root.clone())
        .variable("oldSelf", root);
    Env::for_stored_expressions().compile(rule, &decls)
}

fn run(rule: &str, object: &Json) -> (Result<String, String>, u64) {
    let program = compile(rule).unwrap_or_else(|e| panic!("{rule}: {e}"));
    let (result, cost) = program.eval(&|_| Binding::Json(object), Budget::default());
    let shown = result.map(|v| v.to_json().unwrap_or(Json::Null).to_string());
    (shown.map_err(|e: EvalError| e.to_string()), cost)
}

fn object() -> Json {
    json!({
        "metadata": {"name": "x"},
        "spec": {
            "replicas": 3, "min": 1, "name": "web", "namespace": "prod", "port": "80%",
            "when": "2024-01-01T00:00:00Z",
            "tags": ["a", "b"], "labels": {"app": "web"}
        }
    })
}

#[test]
fn rules_hold_or_do_not() {
    let cases = [
        ("self.spec.replicas >= self.spec.min", "true"),
        ("self.metadata.name == 'x'", "true"),
        ("self.spec.__namespace__ == 'prod'", "true"),
        ("has(self.spec.extra2) || true", "undefined"),
        ("self.spec.tags.all(t, t.size() < 2)", "true"),
        ("self.spec.tags == ['b', 'a']", "true"),
        (
            "self.spec.labels.exists(k, self.spec.labels[k] == 'web')",
            "true",
        ),
        (
            "type(self.spec.port) == string && self.spec.port.endsWith('%')",
            "true",
        ),
        ("self.spec.when > timestamp('2023-01-01T00:00:00Z')", "true"),
        ("self.spec.tags.map(t, t + '!').join(',')", "\"a!,b!\""),
        ("self.?spec.?name.orValue('none')", "\"web\""),
        (
            "self.spec.labels.transformMap(k, v, k + v)",
            "{\"app\":\"appweb\"}",
        ),
        ("[3, 1, 2].sort()", "[1,2,3]"),
        ("quantity('1Gi').isGreaterThan(quantity('1G'))", "true"),
        ("cidr('10.0.0.0/8').containsIP('10.1.2.3')", "true"),
        ("'%s has %s'.format(['x', 'y'])", "\"x has y\""),
    ];
    for (rule, expected) in cases {
        if expected == "undefined" {
            assert!(compile(rule).is_err(), "{rule}");
            continue;
        }
        assert_eq!(run(rule, &object()).0.as_deref(), Ok(expected), "{rule}");
    }
}

#[test]
fn what_is_wrong_is_said_as_cel_go_says_it() {
    let text = |rule: &str| compile(rule).expect_err(rule).to_string();
    assert_eq!(
        text("self.x"),
        "ERROR: <input>:1:5: undefined field 'x'\n | self.x\n | ....^"
    );
    assert_eq!(
        text("self.spec.replicas > 'a'"),
        "ERROR: <input>:1:20: found no matching overload for '_>_' applied to '(int, string)'\n \
         | self.spec.replicas > 'a'\n | ...................^"
    );
    assert!(text("self.spec.").starts_with("ERROR: <input>:1:11: Syntax error: "));
    let broken = CompileError::Program("type conversion error from 'string' to 'int'".into());
    assert_eq!(compile("int('a') == 1").expect_err("no constant"), broken);
}

#[test]
fn failures_name_their_cause_and_are_absorbed_by_logic() {
    let empty = json!({"spec": {"replicas": 0}});
    let error = |rule: &str| run(rule, &empty).0.expect_err(rule);
    assert_eq!(error("self.spec.min == 1"), "no such key: min");
    assert_eq!(error("1 / self.spec.replicas == 1"), "division by zero");
    assert_eq!(
        run("self.spec.min == 1 || true", &empty).0.as_deref(),
        Ok("true")
    );
    assert_eq!(
        run("false && self.spec.min == 1", &empty).0.as_deref(),
        Ok("false")
    );
}

#[test]
fn evaluation_ends_when_the_budget_does() {
    let rule = "lists.range(100).all(a, lists.range(100).all(b, a + b >= 0))";
    let program = compile(rule).expect("a rule");
    let budget = Budget {
        cost: 1000,
        ..Budget::default()
    };
    let (result, cost) = program.eval(&|_| Binding::Absent, budget);
    let text = result.expect_err("over budget").to_string();
    assert_eq!(text, "operation cancelled: actual cost limit exceeded");
    assert!((1001..1100).contains(&cost), "{cost}");
    let huge = compile("lists.range(9223372036854775807).size() > 0").expect("a rule");
    assert!(
        huge.eval(&|_| Binding::Absent, Budget::default())
            .0
            .is_err()
    );
}

#[test]
fn programs_know_what_they_name_and_cost() {
    let program = compile("oldSelf.spec.replicas <= self.spec.replicas").expect("a rule");
    assert!(program.uses("oldSelf") && program.uses("self"));
    let shadowed = compile("self.spec.tags.all(oldSelf, oldSelf != '')").expect("a rule");
    assert!(!shadowed.uses("oldSelf"));
    let bounded = compile("self.spec.tags.all(t, t != '')")
        .expect("a rule")
        .cost_estimate();
    assert!(bounded.max < 100, "{bounded:?}");
    let value = Value::Bool(true);
    assert_eq!(value.as_bool(), Some(true));
}
