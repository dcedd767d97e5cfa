//! What built-in kinds refuse and fill in, beyond what was recorded.

#![allow(clippy::unwrap_used, clippy::panic)]

use hanse_json::{Value, json, set};
use hanse_kinds::{ResourceDef, Update, builtin};

fn find(group: &str, plural: &str) -> &'static ResourceDef {
    builtin::find(group, plural).unwrap()
}

/// Decodes and fills in defaults, as the server does before it validates.
fn made(def: &ResourceDef, mut object: Value) -> Value {
    def.schema.decode(&mut object).unwrap();
    (def.hooks.default)(&mut object);
    object
}

fn errors(def: &ResourceDef, object: Value) -> Vec<String> {
    let object = made(def, object);
    (def.hooks.validate)(&object)
        .iter()
        .map(ToString::to_string)
        .collect()
}

fn update_errors(def: &ResourceDef, new: &Value, old: &Value, subresource: &str) -> Vec<String> {
    let update = Update { old, subresource };
    let found = (def.hooks.validate_update)(new, update);
    found.iter().map(ToString::to_string).collect()
}

#[test]
fn webhooks_have_defaults_and_rules() {
    let def = find(
        "admissionregistration.k8s.io",
        "mutatingwebhookconfigurations",
    );
    let hook = json!({
        "name": "a.b.c", "sideEffects": "None", "admissionReviewVersions": ["v1"],
        "clientConfig": {"service": {"name": "s", "namespace": "n"}},
        "rules": [{"apiGroups": ["*"], "apiVersions": ["*"], "operations": ["*"],
                   "resources": ["*"]}],
    });
    let object = made(def, json!({"webhooks": [hook]}));
    let made = &object["webhooks"][0];
    assert_eq!(made["failurePolicy"], "Fail");
    assert_eq!(made["matchPolicy"], "Equivalent");
    assert_eq!(made["reinvocationPolicy"], "Never");
    assert_eq!(made["timeoutSeconds"], 10);
    assert_eq!(made["namespaceSelector"], json!({}));
    assert_eq!(made["rules"][0]["scope"], "*");
    assert_eq!(made["clientConfig"]["service"]["port"], 443);
    assert_eq!(
        errors(def, json!({"webhooks": [hook]})),
        Vec::<String>::new()
    );

    let mut bad = hook.clone();
    set(&mut bad, &["name"], json!("a.b"));
    set(&mut bad, &["timeoutSeconds"], json!(31));
    set(&mut bad, &["sideEffects"], json!("Some"));
    set(&mut bad, &["admissionReviewVersions"], json!(["v2"]));
    set(
        &mut bad,
        &["clientConfig"],
        json!({"url": "http://u@x/p?q"}),
    );
    set(
        &mut bad,
        &["rules"],
        json!([{"resources": ["pods/*", "pods/log"]}]),
    );
    let found = errors(def, json!({"webhooks": [bad]}));
    for expected in [
        "webhooks[0].name: Invalid value: \"a.b\": should be a domain with at least three segments \
         separated by dots",
        "webhooks[0].timeoutSeconds: Invalid value: 31: the timeout value must be between 1 and 30 \
         seconds",
        "webhooks[0].sideEffects: Unsupported value: \"Some\": supported values: \"None\", \
         \"NoneOnDryRun\"",
        "webhooks[0].admissionReviewVersions: Invalid value: [\"v2\"]: must include at least one \
         of v1, v1beta1",
        "webhooks[0].clientConfig.url: Invalid value: \"http\": 'https' is the only allowed URL \
         scheme; desired format: https://host[:port]/path",
        "webhooks[0].clientConfig.url: Invalid value: \"q\": query parameters are not permitted in \
         the URL",
        "webhooks[0].rules[0].operations: Required value",
        "webhooks[0].rules[0].apiGroups: Required value",
        "webhooks[0].rules[0].resources[1]: Invalid value: \"pods/log\": if 'pods/*' is present, \
         must not specify pods/log",
    ] {
        assert!(
            found.iter().any(|text| text == expected),
            "{expected}\nnot in {found:#?}"
        );
    }
}

#[test]
fn policies_are_checked_and_compiled() {
    let def = find(
        "admissionregistration.k8s.io",
        "validatingadmissionpolicies",
    );
    let rule = json!({"apiGroups": [""], "apiVersions": ["v1"], "operations": ["CREATE"],
                      "resources": ["configmaps"]});
    let policy = |validations: Value| {
        json!({"metadata": {"name": "p"}, "spec": {
            "matchConstraints": {"resourceRules": [rule]}, "validations": validations,
            "variables": [{"name": "n", "expression": "object.metadata.name"}],
        }})
    };
    let good = json!([{"expression": "variables.n != 'x' && has(object.data)"}]);
    assert_eq!(errors(def, policy(good)), Vec::<String>::new());
    let unchecked = json!([{"expression": "authorizer.group('').check('get').allowed()"}]);
    assert_eq!(errors(def, policy(unchecked)), Vec::<String>::new());
    assert_eq!(
        errors(def, policy(json!([{"expression": "1 + 1"}]))),
        ["spec.validations[0].expression: Invalid value: \"1 + 1\": must evaluate to bool"]
    );
    assert_eq!(
        errors(def, policy(json!([]))),
        [
            "spec.validations: Required value: validations or auditAnnotations must contain at \
             least one item",
            "spec.auditAnnotations: Required value: validations or auditAnnotations must contain \
             at least one item",
        ]
    );
    let binding = find(
        "admissionregistration.k8s.io",
        "validatingadmissionpolicybindings",
    );
    assert_eq!(
        errors(
            binding,
            json!({"spec": {"policyName": "p", "validationActions": ["Deny", "Warn"],
                                        "paramRef": {"name": "x"}}})
        ),
        [
            "spec.paramRef.parameterNotFoundAction: Required value",
            "spec.validationActions: Invalid value: [\"Deny\",\"Warn\"]: must not contain both \
             Deny and Warn (repeating the same validation failure information in the API response \
             and headers serves no purpose)",
        ]
    );
}

#[test]
fn events_are_loose_in_core_and_strict_elsewhere() {
    let core = find("", "events");
    let event = json!({"metadata": {"name": "e", "namespace": "n"},
                       "involvedObject": {"namespace": "other"}});
    assert_eq!(
        errors(core, event),
        ["involvedObject.namespace: Invalid value: \"other\": does not match event.namespace"]
    );
    let new = find("events.k8s.io", "events");
    let event = json!({"metadata": {"name": "e", "namespace": "n"}, "type": "Odd",
                       "deprecatedCount": 1, "regarding": {"namespace": "n"}});
    assert_eq!(
        errors(new, event),
        [
            "eventTime: Required value",
            "type: Invalid value: \"\": has invalid value: Odd",
            "count: Invalid value: \"\": needs to be unset",
        ]
    );
    let event = json!({"metadata": {"name": "e", "namespace": "n"}, "type": "Normal",
        "eventTime": "2026-11-21T00:00:00.000000Z", "regarding": {"namespace": "n"},
        "reason": "r", "action": "a", "reportingController": "x/y", "reportingInstance": "i"});
    assert_eq!(errors(new, event.clone()), Vec::<String>::new());
    let old = made(new, event.clone());
    let mut changed = old.clone();
    set(&mut changed, &["note"], json!("other"));
    assert_eq!(
        update_errors(new, &changed, &old, ""),
        ["message: Invalid value: \"other\": field is immutable"]
    );
}

#[test]
fn signing_requests_guard_their_status() {
    let def = find("certificates.k8s.io", "certificatesigningrequests");
    let found = errors(
        def,
        json!({"spec": {"request": "eA==", "signerName": "x",
                                            "usages": ["any", "any"], "expirationSeconds": 1}}),
    );
    assert_eq!(
        found,
        [
            "spec.request: Invalid value: \"eA==\": PEM block type must be CERTIFICATE REQUEST",
            "spec.usages[1]: Duplicate value: \"any\"",
            "spec.signerName: Invalid value: \"x\": must be a fully qualified domain and path of \
             the form 'example.com/signer-name'",
            "spec.expirationSeconds: Invalid value: 1: may not specify a duration less than 600 \
             seconds (10 minutes)",
        ]
    );
    let approved = json!({"status": {"conditions": [{"type": "Approved", "status": "True"}]}});
    let texts = |new: &Value, old: &Value, subresource: &str| -> Vec<String> {
        let found = update_errors(def, new, old, subresource);
        found
            .into_iter()
            .filter(|text| text.starts_with("status"))
            .collect()
    };
    assert_eq!(
        texts(&approved, &json!({}), "approval"),
        Vec::<String>::new()
    );
    assert_eq!(
        texts(&approved, &json!({}), "status"),
        ["status.conditions: Forbidden: updates may not add a condition of type \"Approved\""]
    );
    assert_eq!(
        texts(&json!({}), &approved, "approval"),
        ["status.conditions: Forbidden: updates may not remove a condition of type \"Approved\""]
    );
    let mut new = json!({"spec": {"signerName": "b/c"}, "status": {"certificate": "eA=="}});
    let old = json!({"spec": {"signerName": "a/b"}});
    (def.hooks.prepare_update)(
        &mut new,
        Update {
            old: &old,
            subresource: "",
        },
    );
    assert_eq!(new, old, "neither spec nor status change by an update");
}

#[test]
fn namespaces_keep_their_finalizers() {
    let def = find("", "namespaces");
    let mut namespace = made(def, json!({"metadata": {"name": "n"}}));
    (def.hooks.prepare_create)(&mut namespace);
    assert_eq!(namespace["spec"]["finalizers"], json!(["kubernetes"]));
    assert_eq!(namespace["status"]["phase"], "Active");
    assert_eq!(
        namespace["metadata"]["labels"]["kubernetes.io/metadata.name"],
        "n"
    );
    let mut new = json!({"metadata": {"name": "n"}, "spec": {}, "status": {"phase": "Active"}});
    (def.hooks.prepare_update)(
        &mut new,
        Update {
            old: &namespace,
            subresource: "",
        },
    );
    assert_eq!(new["spec"], namespace["spec"]);
    let mut new = json!({"metadata": {"name": "n"}, "spec": {"finalizers": ["odd"]}});
    let update = Update {
        old: &namespace,
        subresource: "finalize",
    };
    (def.hooks.prepare_update)(&mut new, update);
    assert_eq!(new["spec"]["finalizers"], json!(["odd"]));
    assert_eq!(
        update_errors(def, &new, &namespace, "finalize"),
        [
            "spec.finalizers[0]: Invalid value: \"odd\": name is neither a standard finalizer \
             name nor is it fully qualified"
        ]
    );
}

#[test]
fn decoding_speaks_go() {
    let refused = |group: &str, plural: &str, mut object: Value| {
        find(group, plural).schema.decode(&mut object).unwrap_err()
    };
    assert_eq!(
        refused("", "serviceaccounts", json!({"secrets": [{"name": 1}]})),
        "json: cannot unmarshal number into Go struct field ObjectReference.secrets.name of type \
         string"
    );
    assert_eq!(
        refused(
            "coordination.k8s.io",
            "leases",
            json!({"spec": {"leaseTransitions": 1.5}})
        ),
        "json: cannot unmarshal number 1.5 into Go struct field LeaseSpec.spec.leaseTransitions \
         of type int32"
    );
    assert_eq!(
        refused("", "configmaps", json!({"metadata": []})),
        "json: cannot unmarshal array into Go struct field ConfigMap.metadata of type \
         v1.ObjectMeta"
    );
    assert_eq!(
        refused(
            "",
            "configmaps",
            json!({"metadata": {"creationTimestamp": "soon"}})
        ),
        "parsing time \"soon\" as \"2006-01-02T15:04:05Z07:00\": cannot parse \"soon\" as \"2006\""
    );
    let mut lease = json!({"spec": {"renewTime": "2026-11-21T01:00:00.000000+01:00",
                                    "holderIdentity": ""}, "metadata": {"labels": {}}});
    find("coordination.k8s.io", "leases")
        .schema
        .decode(&mut lease)
        .unwrap();
    assert_eq!(lease["spec"]["renewTime"], "2026-11-21T00:00:00.000000Z");
    assert_eq!(
        lease["spec"]["holderIdentity"], "",
        "pointers keep empty values"
    );
    assert_eq!(lease["metadata"], json!({}), "empty maps disappear");
    let mut role = json!({"rules": []});
    find("rbac.authorization.k8s.io", "clusterroles")
        .schema
        .decode(&mut role)
        .unwrap();
    assert_eq!(
        role["rules"],
        Value::Null,
        "lists without omitempty are null"
    );
    let mut quota = json!({"spec": {"hard": {"cpu": "1000m", "memory": 1024}}});
    find("", "resourcequotas")
        .schema
        .decode(&mut quota)
        .unwrap();
    assert_eq!(quota["spec"]["hard"], json!({"cpu": "1", "memory": "1024"}));
}

#[test]
fn schemas_of_crds_are_decoded_deeply() {
    let def = find("apiextensions.k8s.io", "customresourcedefinitions");
    let schema = json!({"type": "array", "items": {"type": "object", "odd": 1}, "default": {"x": null},
                        "additionalProperties": false, "nullable": false});
    let mut crd = json!({"spec": {"versions": [{"name": "v1", "schema": {
        "openAPIV3Schema": schema}}]}});
    let unknown = def.schema.decode(&mut crd).unwrap();
    assert_eq!(
        unknown,
        ["spec.versions[0].schema.openAPIV3Schema.items.odd"]
    );
    let schema = &crd["spec"]["versions"][0]["schema"]["openAPIV3Schema"];
    assert_eq!(schema["default"], json!({"x": null}));
    assert_eq!(schema["additionalProperties"], false);
    assert!(schema.get("nullable").is_none());
}
