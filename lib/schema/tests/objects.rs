//! What becomes of objects under a schema: pruning, defaulting, validation, ratcheting.

#![allow(clippy::unwrap_used)]

use hanse_schema::Schema;
use hanse_schema::field::ErrorList;
use serde_json::{Value, json};

fn schema(spec: Value) -> Schema {
    let source = json!({"type": "object", "properties": {"spec": spec}});
    Schema::compile(&source).unwrap()
}

fn validate(spec_schema: Value, spec: Value) -> ErrorList {
    schema(spec_schema).validate(&json!({"spec": spec}), None)
}

fn check(spec_schema: Value, spec: Value, want: &str) {
    assert_eq!(validate(spec_schema, spec).to_string(), want);
}

#[test]
fn messages_of_scalars() {
    let string = json!({"type": "string"});
    check(
        string,
        json!(1),
        r#"spec: Invalid value: "integer": spec in body must be of type string: "integer""#,
    );
    check(
        json!({"type": "integer"}),
        json!("x"),
        r#"spec: Invalid value: "string": spec in body must be of type integer: "string""#,
    );
    check(
        json!({"type": "string", "enum": ["a", "b"]}),
        json!("v"),
        r#"spec: Unsupported value: "v": supported values: "a", "b""#,
    );
    check(
        json!({"type": "string", "pattern": "^a+$"}),
        json!("b"),
        r#"spec: Invalid value: "b": spec in body should match '^a+$'"#,
    );
    check(
        json!({"type": "string", "maxLength": 2}),
        json!("äöü"),
        "spec: Too long: may not be more than 2 bytes",
    );
    check(
        json!({"type": "string", "minLength": 1}),
        json!(""),
        r#"spec: Invalid value: "": spec in body should be at least 1 chars long"#,
    );
    check(json!({"type": "integer"}), json!(1.0), "[]");
    check(
        json!({"type": "integer", "x-kubernetes-preserve-unknown-fields": true}),
        json!(null),
        r#"spec: Invalid value: "null": spec in body must be of type integer: "null""#,
    );
    check(
        json!({"x-kubernetes-int-or-string": true}),
        json!(true),
        r#"spec: Invalid value: "boolean": spec in body must be of type integer,string: "boolean""#,
    );
    check(
        json!({"type": "string", "format": "date-time"}),
        json!("x"),
        r#"spec: Invalid value: "x": spec in body must be of type date-time: "x""#,
    );
}

#[test]
fn messages_of_numbers() {
    let bounds = json!({"type": "number", "minimum": 1, "maximum": 10.5, "multipleOf": 0.5});
    check(
        bounds.clone(),
        json!(0),
        "[spec: Invalid value: 0: factor MultipleOf declared for spec must be positive: 0, \
         spec: Invalid value: 0: spec in body should be greater than or equal to 1]",
    );
    check(
        bounds.clone(),
        json!(10.75),
        "[spec: Invalid value: 10.75: spec in body should be a multiple of 0.5, \
         spec: Invalid value: 10.75: spec in body should be less than or equal to 10.5]",
    );
    let exclusive = json!({"type": "integer", "minimum": 1, "exclusiveMinimum": true});
    check(
        exclusive,
        json!(1),
        "spec: Invalid value: 1: spec in body should be greater than 1",
    );
}

#[test]
fn messages_of_lists_and_objects() {
    let list = json!({"type": "array", "maxItems": 1, "items": {"type": "string"}});
    check(
        list,
        json!(["a", 1]),
        "[spec[1]: Invalid value: \"integer\": spec[1] in body must be of type string: \
         \"integer\", spec: Too many: 2: must have at most 1 item]",
    );
    let object =
        json!({"type": "object", "required": ["x"], "properties": {"x": {"type": "string"}}});
    check(object, json!({}), "spec.x: Required value");
    let map =
        json!({"type": "object", "additionalProperties": {"type": "string"}, "minProperties": 2});
    check(
        map,
        json!({"a": 1}),
        "[spec: Invalid value: 1: spec in body should have at least 2 properties, \
         spec.a: Invalid value: \"integer\": spec.a in body must be of type string: \"integer\"]",
    );
    let set =
        json!({"type": "array", "x-kubernetes-list-type": "set", "items": {"type": "string"}});
    check(
        set,
        json!(["a", "b", "a", "a"]),
        r#"spec[2]: Duplicate value: "a""#,
    );
    let keyed = json!({"type": "array", "x-kubernetes-list-type": "map",
        "x-kubernetes-list-map-keys": ["k"],
        "items": {"type": "object", "properties": {"k": {"type": "string"}}}});
    check(
        keyed,
        json!([{"k": "v"}, {"k": "v"}]),
        r#"spec[1]: Duplicate value: {"k":"v"}"#,
    );
}

#[test]
fn messages_of_junctors() {
    let one_of = json!({"type": "object", "properties": {"a": {"type": "string"},
        "b": {"type": "string"}}, "oneOf": [{"required": ["a"]}, {"required": ["b"]}]});
    check(
        one_of.clone(),
        json!({"a": "", "b": ""}),
        "<nil>: Invalid value: \"\": \"spec\" must validate one and only one schema (oneOf). \
         Found 2 valid alternatives",
    );
    check(
        one_of,
        json!({}),
        "[<nil>: Invalid value: \"\": \"spec\" must validate one and only one schema (oneOf). \
         Found none valid, spec.a: Required value]",
    );
    check(
        json!({"type": "integer", "not": {"enum": [1]}}),
        json!(1),
        r#"<nil>: Invalid value: "": "spec" must not validate the schema (not)"#,
    );
}

#[test]
fn pruning() {
    let schema = schema(json!({"type": "object", "properties": {
        "known": {"type": "object", "properties": {"a": {"type": "string"}}},
        "open": {"type": "object", "x-kubernetes-preserve-unknown-fields": true,
            "properties": {"closed": {"type": "object"}}},
        "list": {"type": "array", "items": {"type": "object"}},
        "resource": {"type": "object", "x-kubernetes-embedded-resource": true,
            "x-kubernetes-preserve-unknown-fields": true},
    }}));
    let mut object = json!({"apiVersion": "v1", "kind": "A", "metadata": {"x": 1}, "junk": 1,
        "spec": {"known": {"a": "", "b": 1}, "open": {"any": {"b": 1}, "closed": {"x": 1}},
            "list": [{"x": 1}], "resource": {"apiVersion": "v1", "foo": 1}}});
    let dropped = schema.prune(&mut object);
    assert_eq!(
        dropped,
        [
            "junk",
            "spec.known.b",
            "spec.list[0].x",
            "spec.open.closed.x"
        ]
    );
    assert_eq!(
        object,
        json!({"apiVersion": "v1", "kind": "A", "metadata": {"x": 1},
            "spec": {"known": {"a": ""}, "open": {"any": {"b": 1}, "closed": {}},
                "list": [{}], "resource": {"apiVersion": "v1", "foo": 1}}})
    );
    assert!(schema.prune(&mut object).is_empty());
}

#[test]
fn defaults_and_nulls() {
    let schema = schema(json!({"type": "object", "properties": {
        "a": {"type": "string", "default": "x"},
        "b": {"type": "object", "default": {}, "properties": {
            "c": {"type": "integer", "default": 5}}},
        "d": {"type": "string"},
        "e": {"type": "string", "nullable": true},
        "f": {"type": "array", "items": {"type": "object", "properties": {
            "g": {"type": "string", "default": "y"}}}},
    }}));
    let mut object = json!({"spec": {"a": null, "d": null, "e": null, "f": [{}]}});
    schema.prune(&mut object);
    schema.default(&mut object);
    let want = json!({"spec": {"a": "x", "b": {"c": 5}, "e": null, "f": [{"g": "y"}]}});
    assert_eq!(object, want);
    let mut none = json!({});
    schema.default(&mut none);
    assert_eq!(none, json!({}));
}

#[test]
fn embedded_resources() {
    let schema = schema(
        json!({"type": "object", "x-kubernetes-embedded-resource": true,
        "x-kubernetes-preserve-unknown-fields": true}),
    );
    let mut object =
        json!({"spec": {"kind": "A_b", "metadata": {"name": "a/b", "foo": 1, "labels": {}}}});
    assert_eq!(
        schema.coerce(&mut object, false).unwrap(),
        ["spec.metadata.foo"]
    );
    assert_eq!(
        object,
        json!({"spec": {"kind": "A_b", "metadata": {"name": "a/b"}}})
    );
    let errors = schema.validate(&object, None).to_string();
    assert!(errors.starts_with("[spec.apiVersion: Required value, spec.kind: Invalid value"));
    assert!(errors.contains("may have mixed case, but should otherwise match: a DNS-1035 label"));
    assert!(errors.ends_with("spec.metadata.name: Invalid value: \"a/b\": may not contain '/']"));
}

#[test]
fn what_did_not_change_is_no_error_again() {
    let schema = schema(json!({"type": "object", "properties": {
        "a": {"type": "string", "maxLength": 1}, "b": {"type": "string", "maxLength": 1},
        "list": {"type": "array", "x-kubernetes-list-type": "map",
            "x-kubernetes-list-map-keys": ["k"], "items": {"type": "object", "properties": {
                "k": {"type": "string"}, "v": {"type": "string", "maxLength": 1}}}}}}));
    let old = json!({"spec": {"a": "long", "b": "b", "list": [{"k": "1", "v": "long"}]}});
    let mut new = old.clone();
    new["spec"]["b"] = json!("longer");
    new["spec"]["list"] = json!([{"k": "2", "v": ""}, {"k": "1", "v": "long"}]);
    assert_eq!(
        schema.validate(&new, Some(&old)).to_string(),
        "spec.b: Too long: may not be more than 1 byte"
    );
    assert_eq!(schema.validate(&old, None).len(), 2);
}

#[test]
fn equal_schemas_share_one_tree() {
    let a = schema(json!({"type": "string", "description": "shared"}));
    let b = schema(json!({"description": "shared", "type": "string"}));
    assert_eq!(a.hash(), b.hash());
    assert!(std::ptr::eq(a.root(), b.root()));
}

#[test]
fn schemas_that_are_not_structural() {
    let compile = |source: Value| Schema::compile(&source).unwrap_err().to_string();
    assert_eq!(
        compile(json!({"properties": {"a": {}}})),
        "[openAPIV3Schema.properties[a].type: Required value: must not be empty for specified \
         object fields, openAPIV3Schema.type: Required value: must not be empty at the root]"
    );
    assert_eq!(
        compile(json!({"type": "object", "anyOf": [{"properties": {"a": {"type": "string"}}}]})),
        "[openAPIV3Schema.anyOf[0].properties[a].type: Forbidden: must be empty to be structural, \
         openAPIV3Schema.properties[a]: Required value: because it is defined in \
         openAPIV3Schema.anyOf[0].properties[a]]"
    );
    assert!(compile(json!({"type": "object", "$ref": "#/x"})).contains("'$ref' is not supported"));
    let mut deep = json!({"type": "object"});
    for _ in 0..200 {
        deep = json!({"type": "object", "properties": {"a": deep}});
    }
    assert!(compile(deep).contains("schemas may be nested 100 deep at most"));
}

/// Found by a soak: an old object may stand in a type that its schema has no more.
#[test]
fn an_old_value_of_another_type_is_an_error_only_where_it_is_taken_out() {
    let rules = |rule: &str| {
        let rule = json!([{"rule": rule, "optionalOldSelf": true}]);
        schema(json!({"type": "integer", "x-kubernetes-validations": rule}))
    };
    let object = json!({"spec": 1.0});
    let found = |rule: &str| {
        let outcome =
            rules(rule).validate_cel(&object, Some(&object), hanse_schema::rules::OBJECT_BUDGET);
        outcome.errors.to_string()
    };
    assert_eq!(found("oldSelf.hasValue()"), "[]");
    assert_eq!(
        found("oldSelf.orValue(1) == 1"),
        "spec: Invalid value: \"integer\": unsupported conversion to ref.Val: \
         (*errors.errorString)invalid data, expected int, got float64 evaluating rule: \
         oldSelf.orValue(1) == 1"
    );
}
