//! What the administrator of a workspace tries against the rest, and gains nothing by.

use serde_json::{Value, json};

use crate::views::{make, workspace};
use crate::{ADMIN, MASTER, NOBODY, World, answered};

const RBAC: &str = "apis/rbac.authorization.k8s.io/v1";
const CRDS: &str = "apis/apiextensions.k8s.io/v1/customresourcedefinitions";

/// A workspace that `nobody` administers.
async fn own(world: &World, name: &str) -> String {
    let id = workspace(world, name).await;
    let body = json!({
        "apiVersion": "rbac.authorization.k8s.io/v1", "kind": "ClusterRoleBinding",
        "metadata": {"name": "owner"},
        "subjects": [{"apiGroup": "rbac.authorization.k8s.io", "kind": "User", "name": "nobody"}],
        "roleRef": {
            "apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": "cluster-admin",
        },
    });
    make(
        world,
        &format!("/clusters/{id}/{RBAC}/clusterrolebindings"),
        body,
    )
    .await;
    id
}

fn definition(group: &str, plural: &str, short: &str) -> Value {
    json!({
        "apiVersion": "apiextensions.k8s.io/v1", "kind": "CustomResourceDefinition",
        "metadata": {"name": format!("{plural}.{group}"), "annotations": {
            "api-approved.kubernetes.io": "unapproved, for a test",
        }},
        "spec": {"group": group, "scope": "Cluster",
            "names": {"plural": plural, "singular": "thing", "kind": "Thing",
                "listKind": "ThingList", "shortNames": [short]},
            "versions": [{"name": "v1", "served": true, "storage": true, "schema": {
                "openAPIV3Schema": {"type": "object"},
            }}]},
    })
}

/// Installs a CRD as `nobody` would have it, and establishes it, for which no controller is here.
async fn install(world: &World, id: &str, crd: &Value) {
    make(world, &format!("/clusters/{id}/{CRDS}"), crd.clone()).await;
    let established = json!({"status": {
        "acceptedNames": crd["spec"]["names"],
        "conditions": [{"type": "Established", "status": "True", "reason": "Test", "message": "",
            "lastTransitionTime": "2026-01-01T00:00:00Z"}],
    }});
    let name = crd["metadata"]["name"].as_str().unwrap();
    let line = format!("PATCH /clusters/{id}/{CRDS}/{name}/status");
    let merge = [("content-type", "application/merge-patch+json")];
    let answer = world.ask_with(&line, &merge, Some(established)).await;
    assert_eq!(answer.code, 200, "{}", answer.body);
}

#[tokio::test]
async fn nobody_is_somebody_else_elsewhere() {
    let world = World::new().await;
    world.reconcile();
    let (victim, evil) = (workspace(&world, "victim").await, own(&world, "evil").await);
    let export = json!({
        "apiVersion": "apis.kcp.io/v1alpha2", "kind": "APIExport", "metadata": {"name": "private"},
        "spec": {},
    });
    make(
        &world,
        &format!("/clusters/{victim}/apis/apis.kcp.io/v1alpha2/apiexports"),
        export,
    )
    .await;
    let bind = format!("POST /clusters/{evil}/apis/apis.kcp.io/v1alpha2/apibindings");
    let binding = json!({
        "apiVersion": "apis.kcp.io/v1alpha2", "kind": "APIBinding", "metadata": {"name": "b"},
        "spec": {"reference": {"export": {"path": "root:victim", "name": "private"}}},
    });
    let (code, refused) = world.ask_as(NOBODY, &bind, Some(binding.clone())).await;
    assert_eq!(code, 403, "{refused}");
    let warrant = r#"{"user":"x","groups":["system:kcp:admin"]}"#;
    for (key, value) in [
        ("impersonate-extra-authorization.kcp.io%2Fwarrant", warrant),
        (
            "impersonate-extra-authentication.kcp.io%2Fscopes",
            "cluster:root",
        ),
        (
            "impersonate-extra-authentication.kcp.io%2Fcluster-name",
            victim.as_str(),
        ),
    ] {
        let headers = [
            ("impersonate-user", "system:serviceaccount:default:a"),
            (key, value),
        ];
        let sent = world
            .send(&bind, NOBODY, &headers, Some(binding.clone()))
            .await;
        let answer = answered(sent).await;
        let why = answer.body["message"].as_str().unwrap_or_default();
        assert_eq!(answer.code, 403, "{key}: {why}");
        assert!(
            why.ends_with("impersonation is not allowed for the requestor"),
            "{why}"
        );
    }
    // Other extra values are what the workspace makes of them.
    let headers = [("impersonate-user", "b"), ("impersonate-extra-team", "c")];
    let list = format!("GET /clusters/{evil}/api/v1/configmaps");
    let answer = answered(world.send(&list, NOBODY, &headers, None).await).await;
    let why = answer.body["message"].as_str().unwrap_or_default();
    assert!(why.contains("User \"b\" cannot list"), "{why}");
}

#[tokio::test]
async fn documents_of_one_tenant_are_not_shown_to_another() {
    let world = World::new().await;
    let mut shown = Vec::new();
    for (name, short) in [("one", "evil"), ("two", "good")] {
        let id = workspace(&world, name).await;
        install(&world, &id, &definition("x.test", "things", short)).await;
        let line = format!("GET /clusters/{id}/apis/x.test/v1");
        let (code, found) = world.ask(&line, None).await;
        assert_eq!(code, 200, "{found}");
        shown.push(found["resources"][0]["shortNames"].clone());
    }
    assert_eq!(shown, [json!(["evil"]), json!(["good"])]);
}

#[tokio::test]
async fn what_decides_about_a_workspace_is_not_hidden_in_it() {
    let world = World::new().await;
    let evil = own(&world, "evil").await;
    for (group, plural) in [
        ("rbac.authorization.k8s.io", "clusterrolebindings"),
        ("authorization.k8s.io", "subjectaccessreviews"),
        ("authentication.k8s.io", "tokenreviews"),
    ] {
        install(&world, &evil, &definition(group, plural, "t")).await;
        let (_, resources) = world
            .ask(&format!("GET /clusters/{evil}/apis/{group}/v1"), None)
            .await;
        let all = resources["resources"].as_array().unwrap();
        let kind = all.iter().find(|r| r["name"] == plural).unwrap();
        assert_ne!(kind["kind"], "Thing", "{group}");
    }
    let line = format!("GET /clusters/{evil}/{RBAC}/clusterrolebindings/owner");
    assert_eq!(world.ask_as(NOBODY, &line, None).await.0, 200);
}

#[tokio::test]
async fn who_cannot_look_is_not_told_what_is_there() {
    let world = World::new().await;
    workspace(&world, "secret").await;
    let mut answers = Vec::new();
    for path in [
        "root:secret",
        "root:none",
        "root:secret:none",
        "root:none:none",
        "none:none",
    ] {
        for token in ["", NOBODY, ADMIN, MASTER] {
            let line = format!("GET /clusters/{path}/api/v1/namespaces");
            answers.push(answered(world.send(&line, token, &[], None).await).await);
        }
    }
    let codes: Vec<u16> = answers.iter().map(|answer| answer.code).collect();
    let expected = [
        // Nobody, a user who may list the workspaces of `root`, the administrator, masters.
        [403, 403, 200, 200],
        [403, 404, 404, 404],
        [403, 403, 404, 404],
        [403, 404, 404, 404],
        [403, 403, 403, 404],
    ];
    assert_eq!(codes, expected.concat());
    let anonymous = answers.iter().step_by(4);
    let texts: Vec<&Value> = anonymous.map(|answer| &answer.body["message"]).collect();
    assert!(texts.iter().all(|text| *text == texts[0]), "{texts:?}");
}

#[tokio::test]
async fn a_forged_token_stays_in_its_list() {
    let world = World::new().await;
    let (victim, evil) = (workspace(&world, "victim").await, own(&world, "evil").await);
    let line = format!("GET /clusters/{evil}/api/v1/configmaps");
    let (_, whole) = world.ask_as(NOBODY, &line, None).await;
    let version = whole["metadata"]["resourceVersion"].as_str().unwrap();
    for key in [
        format!("{victim}/default/a"),
        "0".into(),
        "root/default/a".into(),
        "zz".into(),
    ] {
        let token = hanse_wire::continue_token::Token::after(&key, version.parse().unwrap());
        let line = format!("{line}?limit=500&continue={}", token.encode());
        let (code, list) = world.ask_as(NOBODY, &line, None).await;
        assert!(matches!(code, 200 | 400), "{key}: {list}");
        for object in list["items"].as_array().into_iter().flatten() {
            let from = &object["metadata"]["annotations"]["kcp.io/cluster"];
            assert_eq!(*from, evil, "{key}");
        }
    }
}
