//! Random rules in CEL for a schema: good ones, false ones, ones that fail, ones that are none.

use serde_json::{Value, json};

use crate::random::Random;

const ANY: &[&str] = &[
    "self == oldSelf",
    "true",
    "1 / 0 == 1",
    "self",
    "oldSelf != self",
    "x",
];
const TEXT: &[&str] = &[
    "self.size() < 3",
    "self != 'a'",
    "self.startsWith('a')",
    "self.matches('^a')",
    "self < oldSelf",
    "self.foo == 1",
    "self in ['a', 'ab']",
    "self.split('').size() > 1",
    "int(self) > 1",
];
const INTEGER: &[&str] = &[
    "self > 0",
    "self < oldSelf",
    "10 / self > 1",
    "self + 1 > 2",
    "self > 0.5",
    "self == 'a'",
];
const NUMBER: &[&str] = &[
    "self > 0.5",
    "self > 1",
    "self <= oldSelf",
    "math.abs(self) > 1",
];
const LIST: &[&str] = &[
    "self.size() < 2",
    "self.all(x, x == self[0])",
    "self.exists(x, x == 'a')",
    "self.exists_one(x, x in oldSelf)",
    "self[5] == self[0]",
    "self.map(x, x).size() == self.filter(x, true).size()",
    "self.all(x, self.all(y, self.all(z, x == y || y == z)))",
];
const MAP: &[&str] = &[
    "self.all(k, k != 'a')",
    "'a' in self",
    "self.size() > 1",
    "self['b'] == oldSelf['b']",
];
const RESOURCE: &[&str] = &[
    "self.metadata.name == 'a'",
    "self.kind != ''",
    "has(self.apiVersion)",
];

/// A rule about a value of the schema.
fn rule(random: &mut Random, schema: &Value) -> String {
    if random.chance(15) {
        return random.pick(ANY).to_owned();
    }
    let names: Vec<&String> = schema["properties"]
        .as_object()
        .map(|p| p.keys().collect())
        .unwrap_or_default();
    match schema["type"].as_str().unwrap_or_default() {
        "string" => random.pick(TEXT).to_owned(),
        "integer" => random.pick(INTEGER).to_owned(),
        "number" => random.pick(NUMBER).to_owned(),
        "array" => random.pick(LIST).to_owned(),
        "object" if schema["x-kubernetes-embedded-resource"] == true => {
            random.pick(RESOURCE).to_owned()
        }
        "object" if schema["additionalProperties"].is_object() => random.pick(MAP).to_owned(),
        "object" if !names.is_empty() => {
            let name = random.pick(&names).replace('-', "__dash__");
            match random.below(6) {
                0 => format!("has(self.{name})"),
                1 => format!("!has(self.{name}) || self.{name} == oldSelf.{name}"),
                2 => format!("self.{name} == 'a'"),
                3 => "self.nowhere == 1".to_owned(),
                4 => format!("has(self.{name}) == has(oldSelf.{name})"),
                _ => format!("self.{name} != self.{name}"),
            }
        }
        _ => random.pick(ANY).to_owned(),
    }
}

fn is_scalar(value: &Value) -> bool {
    value.is_string() || value.is_i64() || value.is_null()
}

/// Gives the schema one or two rules.
pub fn add(random: &mut Random, schema: &mut Value) {
    if schema["x-kubernetes-int-or-string"] == true && !is_scalar(&schema["default"]) {
        // Kubernetes lets such defaults through to the rules, which cannot read them.
        return;
    }
    let mut rules = Vec::new();
    for _ in 0..1 + random.below(2) {
        let mut one = json!({"rule": rule(random, schema)});
        if random.chance(15) {
            let rules = [
                "true",
                "oldSelf.hasValue()",
                "!oldSelf.hasValue() || oldSelf.value() == self",
                "oldSelf.orValue(self) == self",
            ];
            // In Kubernetes an object with nulls or undeclared fields does not equal the same one
            // in an optional; we say that it does.
            let is_plain = !["object", "array"].contains(&schema["type"].as_str().unwrap_or(""));
            let choices = if is_plain { &rules[..] } else { &rules[..2] };
            one["rule"] = json!(random.pick(choices));
            one["optionalOldSelf"] = json!(true);
        }
        if random.chance(30) {
            one["message"] = json!(random.pick(&["not so", " padded ", "", " ", "two\nlines"]));
        }
        if random.chance(15) {
            let texts = [
                "'a' + 'b'",
                "string(self)",
                "1",
                "' '",
                "'a\\nb'",
                "self.foo",
                " ",
            ];
            one["messageExpression"] = json!(random.pick(&texts));
        }
        if random.chance(20) {
            let reasons = [
                "FieldValueInvalid",
                "FieldValueForbidden",
                "FieldValueRequired",
                "FieldValueDuplicate",
                "Odd",
            ];
            one["reason"] = json!(random.pick(&reasons));
        }
        if random.chance(10) {
            one["fieldPath"] = json!(random.pick(&[".a", "['x-y']", ".b.c", "a", " ", ".zz"]));
        }
        rules.push(one);
    }
    schema["x-kubernetes-validations"] = json!(rules);
}
