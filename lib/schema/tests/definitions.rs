//! What is said about CustomResourceDefinitions, with the texts that real servers were heard to say.

#![allow(clippy::unwrap_used)]

use hanse_schema::rules::OBJECT_BUDGET;
use hanse_schema::{Schema, crd};
use serde_json::{Value, json};

fn definition(properties: Value) -> Value {
    let schema = json!({"type": "object", "properties": properties});
    let mut crd = json!({"metadata": {"name": "bads.golden.example.com"},
        "spec": {"group": "golden.example.com", "scope": "Namespaced",
            "names": {"plural": "bads", "kind": "Bad"},
            "versions": [{"name": "v1", "served": true, "storage": true,
                "schema": {"openAPIV3Schema": schema}}]}});
    crd::default(&mut crd);
    crd
}

fn check(properties: Value, want: &str) {
    assert_eq!(
        crd::validate_create(&definition(properties)).to_string(),
        want
    );
}

#[test]
fn schemas_without_types() {
    check(
        json!({"a": {"properties": {"b": {}}}}),
        "[spec.validation.openAPIV3Schema.properties[a].properties[b].type: Required value: must \
         not be empty for specified object fields, \
         spec.validation.openAPIV3Schema.properties[a].type: Required value: must not be empty \
         for specified object fields]",
    );
}

#[test]
fn rules_that_do_not_compile() {
    let rule = json!([{"rule": "self.size() > 'a'"}]);
    check(
        json!({"b": {"type": "string", "x-kubernetes-validations": rule}}),
        "spec.validation.openAPIV3Schema.properties[b].x-kubernetes-validations[0].rule: Invalid \
         value: {\"Rule\":\"self.size() \\u003e 'a'\",\"Message\":\"\",\"MessageExpression\":\"\",\
         \"Reason\":null,\"FieldPath\":\"\",\"OptionalOldSelf\":null}: compilation failed: ERROR: \
         <input>:1:13: found no matching overload for '_>_' applied to '(int, string)'\n \
         | self.size() > 'a'\n | ............^",
    );
}

#[test]
fn rules_that_cost_too_much() {
    let advice = "exceeds budget by factor of more than 100x (try simplifying the rule, or adding \
                  maxItems, maxProperties, and maxLength where arrays, maps, and strings are \
                  declared)";
    let at = "spec.validation.openAPIV3Schema.properties[l].items.x-kubernetes-validations[0].rule";
    let rule = json!([{"rule": "self.all(x, self.all(y, self.all(z, x == y && y == z)))"}]);
    let inner = json!({"type": "array", "items": {"type": "string"},
        "x-kubernetes-validations": rule});
    check(
        json!({"l": {"type": "array", "items": inner}}),
        &format!(
            "[{at}: Forbidden: estimated rule cost {advice}, {at}: Forbidden: contributed to \
             estimated rule cost total exceeding cost limit for entire OpenAPIv3 schema, \
             spec.validation.openAPIV3Schema: Forbidden: x-kubernetes-validations estimated rule \
             cost total for entire OpenAPIv3 schema {advice}]"
        ),
    );
}

#[test]
fn nothing_at_all() {
    let mut crd = json!({"metadata": {"name": "wrong.name"}, "spec": {"names": {}}});
    crd::default(&mut crd);
    assert_eq!(
        crd::validate_create(&crd).to_string(),
        "[metadata.name: Invalid value: \"wrong.name\": must be spec.names.plural+\".\"+spec.group, \
         spec.group: Required value, spec.scope: Required value, spec.versions: Invalid value: \
         null: must have exactly one version marked as storage version, spec.names.plural: \
         Required value, spec.names.singular: Required value, spec.names.kind: Required value, \
         spec.names.listKind: Required value, status.storedVersions: Invalid value: null: must \
         have at least one stored version]"
    );
}

#[test]
fn no_storage_version() {
    let mut crd = definition(json!({}));
    crd["spec"]["versions"][0]["storage"] = json!(false);
    crd["status"] = json!({});
    assert_eq!(
        crd::validate_create(&crd).to_string(),
        "[spec.versions: Invalid value: [{\"Name\":\"v1\",\"Served\":true,\"Storage\":false,\
         \"Deprecated\":false,\"DeprecationWarning\":null,\"Schema\":null,\"Subresources\":null,\
         \"AdditionalPrinterColumns\":null,\"SelectableFields\":null}]: must have exactly one \
         version marked as storage version, status.storedVersions: Invalid value: null: must have \
         at least one stored version]"
    );
}

#[test]
fn versions_that_were_stored() {
    let old = {
        let mut crd = definition(json!({}));
        crd["metadata"]["resourceVersion"] = json!("1");
        crd["status"] = json!({"storedVersions": ["v0", "v1"]});
        crd
    };
    assert_eq!(
        crd::validate_update(&old, &old).to_string(),
        "status.storedVersions[0]: Invalid value: \"v0\": missing from spec.versions; v0 was \
         previously a storage version, and must remain in spec.versions until a storage migration \
         ensures no data remains persisted in v0 and removes v0 from status.storedVersions"
    );
}

#[test]
fn formats_that_nobody_checks() {
    let old = definition(json!({"a": {"type": "string", "format": "odd"}}));
    let new = definition(json!({"a": {"type": "string", "format": "odd"},
        "b": {"type": "string", "format": "date"}, "c": {"type": "string", "format": "odder"},
        "d": {"type": "integer", "format": "int32"}}));
    assert!(crd::validate_create(&new).is_empty());
    assert_eq!(
        crd::warnings(&new, Some(&old)),
        ["unrecognized format \"odder\""]
    );
    assert_eq!(crd::warnings(&new, None).len(), 2);
}

fn with_rules(rules: Value) -> Schema {
    Schema::compile(
        &json!({"type": "object", "properties": {"spec": {"type": "object",
        "x-kubernetes-validations": rules, "properties": {"size": {"type": "integer"},
            "name": {"type": "string"}}}}}),
    )
    .unwrap()
}

fn broken(schema: &Schema, new: &Value, old: Option<&Value>) -> (String, Vec<String>) {
    let outcome = schema.validate_cel(new, old, OBJECT_BUDGET);
    (outcome.errors.to_string(), outcome.warnings)
}

#[test]
fn rules_on_objects() {
    let schema = with_rules(json!([{"rule": "self.size != 7", "message": "seven is taken"}]));
    let bad = json!({"spec": {"size": 7}});
    let want = "spec: Invalid value: seven is taken";
    assert_eq!(broken(&schema, &bad, None), (want.to_owned(), vec![]));
    assert_eq!(broken(&schema, &json!({"spec": {"size": 6}}), None).0, "[]");
    let absent =
        "spec: Invalid value: \"object\": no such key: size evaluating rule: seven is taken";
    assert_eq!(broken(&schema, &json!({"spec": {}}), None).0, absent);
    // What did not change is only told.
    assert_eq!(
        broken(&schema, &bad, Some(&bad)),
        ("[]".to_owned(), vec![want.to_owned()])
    );
    assert_eq!(broken(&schema, &json!({}), None).0, "[]");
}

#[test]
fn rules_about_the_old_value() {
    let schema = with_rules(
        json!([{"rule": "self.name == oldSelf.name", "fieldPath": ".name",
        "messageExpression": "'was ' + oldSelf.name", "reason": "FieldValueForbidden"}]),
    );
    let (a, b) = (
        json!({"spec": {"name": "a"}}),
        json!({"spec": {"name": "b"}}),
    );
    assert_eq!(broken(&schema, &a, None).0, "[]");
    assert_eq!(broken(&schema, &a, Some(&a)).0, "[]");
    assert_eq!(
        broken(&schema, &b, Some(&a)).0,
        "spec.name: Forbidden: was a"
    );
}

#[test]
fn budgets() {
    let schema = with_rules(json!([{"rule": "self.name.size() > 0"}]));
    let object = json!({"spec": {"name": "a"}});
    let outcome = schema.validate_cel(&object, None, 1);
    assert_eq!(
        outcome.errors.to_string(),
        "spec: Invalid value: \"object\": validation failed due to running out of cost budget, no \
         further validation rules will be run"
    );
    assert!(outcome.remaining < 0);
    let outcome = schema.validate_cel(&object, None, OBJECT_BUDGET);
    assert!(outcome.errors.is_empty() && outcome.remaining < OBJECT_BUDGET);
}
