//! The virtual workspaces: who gets in, what is seen, what may be written.

use serde_json::{Value, json};

use crate::{ADMIN, MASTER, NOBODY, World, answered};

const TENANCY: &str = "apis/tenancy.kcp.io/v1alpha1";
const APIS: &str = "apis/apis.kcp.io/v1alpha2";

/// A provider `root:p` of widgets, who claims ConfigMaps of team `a`, and TokenReviews; a consumer
/// `root:c` who accepts.
struct Provided {
    world: World,
    /// Ids of the logical clusters.
    provider: String,
    consumer: String,
}

pub async fn make(world: &World, line: &str, body: Value) -> Value {
    let (code, made) = world
        .ask_as(ADMIN, &format!("POST {line}"), Some(body))
        .await;
    assert_eq!(code, 201, "{line}: {made}");
    made
}

pub async fn workspace(world: &World, name: &str) -> String {
    let body = json!({
        "apiVersion": "tenancy.kcp.io/v1alpha1", "kind": "Workspace", "metadata": {"name": name},
        "spec": {"type": {"name": "universal", "path": "root"}},
    });
    let made = make(world, &format!("/clusters/root/{TENANCY}/workspaces"), body).await;
    made["spec"]["cluster"].as_str().unwrap().to_owned()
}

fn claims() -> Value {
    json!([
        {"group": "", "resource": "configmaps", "verbs": ["get", "list", "create", "update"]},
        {"group": "authentication.k8s.io", "resource": "tokenreviews", "verbs": ["create"]},
        {"group": "", "resource": "serviceaccounts", "verbs": ["*"]},
    ])
}

async fn provided() -> Provided {
    let world = World::new().await;
    world.reconcile();
    let (provider, consumer) = (workspace(&world, "p").await, workspace(&world, "c").await);
    let schema = json!({
        "apiVersion": "apis.kcp.io/v1alpha1", "kind": "APIResourceSchema",
        "metadata": {"name": "v1.widgets.g.io"},
        "spec": {"group": "g.io", "scope": "Namespaced",
            "names": {"plural": "widgets", "singular": "widget", "kind": "Widget",
                "listKind": "WidgetList"},
            "versions": [{"name": "v1", "served": true, "storage": true,
                "schema": {"type": "object", "properties": {
                    "spec": {"type": "object", "properties": {"n": {"type": "integer"}}},
                    "status": {"type": "object", "properties": {"seen": {"type": "integer"}}}}},
                "subresources": {"status": {}, "scale": {
                    "specReplicasPath": ".spec.n", "statusReplicasPath": ".status.seen"}}}]},
    });
    let at = format!("/clusters/{provider}/apis/apis.kcp.io/v1alpha1/apiresourceschemas");
    make(&world, &at, schema).await;
    let export = json!({
        "apiVersion": "apis.kcp.io/v1alpha2", "kind": "APIExport", "metadata": {"name": "widgets"},
        "spec": {
            "resources": [{"group": "g.io", "name": "widgets", "schema": "v1.widgets.g.io"}],
            "permissionClaims": claims(),
        },
    });
    make(
        &world,
        &format!("/clusters/{provider}/{APIS}/apiexports"),
        export,
    )
    .await;
    let line = format!("GET /clusters/{provider}/{APIS}/apiexports/widgets");
    world
        .until(&line, |_, o| o["status"]["identityHash"].is_string())
        .await;
    let mut accepted = claims();
    for claim in accepted.as_array_mut().unwrap() {
        claim["state"] = "Accepted".into();
        claim["selector"] = match claim["resource"] == "configmaps" {
            true => json!({"matchLabels": {"team": "a"}}),
            false => json!({"matchAll": true}),
        };
    }
    let binding = json!({
        "apiVersion": "apis.kcp.io/v1alpha2", "kind": "APIBinding", "metadata": {"name": "widgets"},
        "spec": {"reference": {"export": {"name": "widgets", "path": "root:p"}},
            "permissionClaims": accepted},
    });
    make(
        &world,
        &format!("/clusters/{consumer}/{APIS}/apibindings"),
        binding,
    )
    .await;
    let line = format!("GET /clusters/{consumer}/{APIS}/apibindings/widgets");
    world
        .until(&line, |_, o| {
            o["status"]["phase"] == "Bound" && o["status"]["appliedPermissionClaims"].is_array()
        })
        .await;
    Provided {
        world,
        provider,
        consumer,
    }
}

impl Provided {
    /// A request through the view of the export.
    async fn view(
        &self,
        token: &str,
        method: &str,
        cluster: &str,
        rest: &str,
        body: Option<Value>,
    ) -> (u16, Value) {
        let view = format!("/services/apiexport/{}/widgets", self.provider);
        let line = format!("{method} {view}/clusters/{cluster}/{rest}");
        self.world.ask_as(token, &line, body).await
    }
}

fn verbs<'a>(list: &'a Value, name: &str) -> Vec<&'a str> {
    let mut resources = list["resources"].as_array().unwrap().iter();
    let Some(found) = resources.find(|r| r["name"] == name) else {
        return Vec::new();
    };
    found["verbs"]
        .as_array()
        .unwrap()
        .iter()
        .map(|v| v.as_str().unwrap())
        .collect()
}

#[tokio::test]
async fn discovery_of_an_export_view_says_what_can_be_done_there() {
    let p = provided().await;
    let of = async |path: &str| p.view(ADMIN, "GET", "*", path, None).await.1;
    let own = of("apis/g.io/v1").await;
    assert_eq!(verbs(&own, "widgets").len(), 8);
    assert_eq!(verbs(&own, "widgets/status"), ["get", "patch", "update"]);
    assert!(
        verbs(&own, "widgets/scale").is_empty(),
        "views have no scale"
    );
    for version in ["v1alpha1", "v1alpha2"] {
        let bindings = of(&format!("apis/apis.kcp.io/{version}")).await;
        assert_eq!(verbs(&bindings, "apibindings"), ["get", "list", "watch"]);
        assert!(verbs(&bindings, "apibindings/status").is_empty());
        assert!(verbs(&bindings, "apiexports").is_empty());
    }
    let core = of("api/v1").await;
    assert_eq!(verbs(&core, "configmaps").len(), 8);
    assert!(verbs(&core, "serviceaccounts/token").is_empty());
    assert!(verbs(&core, "secrets").is_empty());
    let openapi = of("openapi/v3").await;
    assert!(openapi["paths"]["apis/g.io/v1"].is_object(), "{openapi}");
    assert!(openapi["paths"]["apis/rbac.authorization.k8s.io/v1"].is_null());
}

#[tokio::test]
async fn a_provider_sees_and_writes_what_was_granted_and_nothing_else() {
    let p = provided().await;
    let widgets = "apis/g.io/v1/namespaces/default/widgets";
    let maps = "api/v1/namespaces/default/configmaps";
    let (provider, consumer) = (p.provider.as_str(), p.consumer.as_str());
    let widget = json!({"apiVersion": "g.io/v1", "kind": "Widget", "metadata": {"name": "one"},
        "spec": {"n": 1}});
    let (code, made) = p
        .view(ADMIN, "POST", consumer, widgets, Some(widget.clone()))
        .await;
    assert_eq!(
        (
            code,
            made["metadata"]["annotations"]["kcp.io/cluster"].as_str()
        ),
        (201, Some(consumer))
    );
    let map = |name: &str, team: &str| {
        json!({"apiVersion": "v1", "kind": "ConfigMap",
        "metadata": {"name": name, "labels": {"team": team}}})
    };
    for (name, team) in [("ours", "a"), ("theirs", "b")] {
        make(
            &p.world,
            &format!("/clusters/{consumer}/{maps}"),
            map(name, team),
        )
        .await;
    }
    let ours = format!("{maps}/ours");
    let theirs = format!("{maps}/theirs");
    let bare = json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "new"}});
    let review = json!({"apiVersion": "authentication.k8s.io/v1", "kind": "TokenReview",
        "spec": {"token": "x.y.z"}});
    let reviews = "apis/authentication.k8s.io/v1/tokenreviews";
    let token = "api/v1/namespaces/default/serviceaccounts/default/token";
    let request = json!({"apiVersion": "authentication.k8s.io/v1", "kind": "TokenRequest",
        "spec": {}});
    for (who, method, cluster, rest, body, code) in [
        (ADMIN, "GET", consumer, "apis/g.io/v1/widgets", None, 200),
        (NOBODY, "GET", consumer, "apis/g.io/v1/widgets", None, 403),
        (NOBODY, "GET", "*", "apis", None, 403),
        ("", "GET", "*", "apis/g.io/v1/widgets", None, 403),
        (ADMIN, "GET", provider, "apis/g.io/v1/widgets", None, 403),
        (ADMIN, "GET", "root", "apis/g.io/v1/widgets", None, 403),
        (ADMIN, "GET", consumer, &ours, None, 200),
        (ADMIN, "GET", consumer, &theirs, None, 404),
        (
            ADMIN,
            "PUT",
            consumer,
            &theirs,
            Some(map("theirs", "b")),
            404,
        ),
        (ADMIN, "DELETE", consumer, &ours, None, 403),
        (ADMIN, "GET", consumer, "api/v1/secrets", None, 403),
        (MASTER, "GET", consumer, "api/v1/secrets", None, 404),
        (ADMIN, "POST", consumer, maps, Some(bare), 201),
        (ADMIN, "POST", consumer, maps, Some(map("other", "b")), 403),
        (ADMIN, "PUT", consumer, &ours, Some(map("ours", "b")), 403),
        (ADMIN, "POST", consumer, reviews, Some(review), 201),
        (ADMIN, "POST", consumer, token, Some(request), 404),
        (
            ADMIN,
            "GET",
            consumer,
            "apis/apis.kcp.io/v1alpha2/apibindings/widgets",
            None,
            200,
        ),
        (
            ADMIN,
            "DELETE",
            consumer,
            "apis/apis.kcp.io/v1alpha2/apibindings/widgets",
            None,
            403,
        ),
        (
            MASTER,
            "DELETE",
            consumer,
            "apis/apis.kcp.io/v1alpha2/apibindings/widgets",
            None,
            405,
        ),
        (
            ADMIN,
            "GET",
            "*",
            "apis/g.io/v1/namespaces/default/widgets/one",
            None,
            200,
        ),
        (
            ADMIN,
            "GET",
            "*",
            "apis/g.io/v1/namespaces/default/widgets/none",
            None,
            404,
        ),
        (ADMIN, "POST", "*", widgets, Some(widget.clone()), 405),
        (ADMIN, "DELETE", "*", widgets, None, 405),
        (
            ADMIN,
            "DELETE",
            "*",
            "apis/g.io/v1/namespaces/default/widgets/one",
            None,
            405,
        ),
        (ADMIN, "GET", "root:c", "apis/g.io/v1/widgets", None, 403),
        (MASTER, "GET", "root:c", "apis/g.io/v1/widgets", None, 404),
    ] {
        let (got, answer) = p.view(who, method, cluster, rest, body).await;
        assert_eq!(got, code, "{who} {method} {cluster} {rest}: {answer}");
    }
    let (_, list) = p.view(ADMIN, "GET", "*", "api/v1/configmaps", None).await;
    let names: Vec<&Value> = list["items"]
        .as_array()
        .unwrap()
        .iter()
        .map(|o| &o["metadata"]["name"])
        .collect();
    assert_eq!(
        names,
        ["new", "ours"],
        "the label that the selector asks for was added"
    );
    let unknown = format!("GET /services/apiexport/{provider}/none/clusters/*/apis");
    assert_eq!(p.world.ask_as(NOBODY, &unknown, None).await.0, 403);
    assert_eq!(p.world.ask_as(ADMIN, &unknown, None).await.0, 500);
}

#[tokio::test]
async fn status_through_the_view_leaves_the_rest_alone() {
    let p = provided().await;
    let widgets = "apis/g.io/v1/namespaces/default/widgets";
    let widget = json!({"apiVersion": "g.io/v1", "kind": "Widget", "metadata": {"name": "one"},
        "spec": {"n": 1}});
    make(
        &p.world,
        &format!("/clusters/{}/{widgets}", p.consumer),
        widget,
    )
    .await;
    let one = format!("{widgets}/one");
    let (_, mut seen) = p.view(ADMIN, "GET", &p.consumer, &one, None).await;
    seen["status"] = json!({"seen": 4});
    seen["spec"]["n"] = 9.into();
    let (code, now) = p
        .view(
            ADMIN,
            "PUT",
            &p.consumer,
            &format!("{one}/status"),
            Some(seen),
        )
        .await;
    assert_eq!(
        (code, &now["status"]["seen"], &now["spec"]["n"]),
        (200, &4.into(), &1.into())
    );
    let line = format!(
        "PATCH /services/apiexport/{}/widgets/clusters/{}/{one}?fieldManager=p&force=true",
        p.provider, p.consumer
    );
    let applied = json!({"apiVersion": "g.io/v1", "kind": "Widget", "metadata": {"name": "one"},
        "spec": {"n": 7}});
    let headers = [("content-type", "application/apply-patch+yaml")];
    let answer = answered(p.world.send(&line, ADMIN, &headers, Some(applied)).await).await;
    assert_eq!(
        (answer.code, &answer.body["spec"]["n"]),
        (200, &7.into()),
        "{}",
        answer.body
    );
}

#[tokio::test]
async fn a_consumers_schemas_are_shown_to_those_who_may_read_its_bindings() {
    let p = provided().await;
    let path = "apis/apis.kcp.io/v1alpha1/apiresourceschemas";
    let view = |cluster: &str, rest: &str| {
        format!(
            "/services/apiresourceschema/{}/clusters/{cluster}/{rest}",
            p.consumer
        )
    };
    for cluster in ["*", p.consumer.as_str()] {
        let line = format!("GET {}", view(cluster, path));
        let (code, list) = p.world.ask_as(ADMIN, &line, None).await;
        assert_eq!(code, 200, "{list}");
        let items = list["items"].as_array().unwrap();
        let widgets = items
            .iter()
            .find(|o| o["metadata"]["name"] == "v1.widgets.g.io")
            .unwrap();
        assert_eq!(
            widgets["metadata"]["annotations"]["kcp.io/cluster"],
            p.provider.as_str()
        );
        // Beside it only what the default bindings bind: not every schema of root.
        let groups: std::collections::BTreeSet<&str> = items
            .iter()
            .map(|o| o["spec"]["group"].as_str().unwrap())
            .collect();
        let expected = ["g.io", "tenancy.kcp.io", "topology.kcp.io"];
        assert_eq!(groups.into_iter().collect::<Vec<_>>(), expected);
    }
    let one = format!("{path}/v1.widgets.g.io");
    for (who, method, cluster, rest, code) in [
        (ADMIN, "GET", p.consumer.as_str(), one.as_str(), 200),
        (ADMIN, "GET", p.provider.as_str(), one.as_str(), 403),
        (ADMIN, "DELETE", p.consumer.as_str(), one.as_str(), 403),
        (NOBODY, "GET", "*", path, 403),
        (ADMIN, "GET", "*", "api/v1/configmaps", 404),
    ] {
        let line = format!("{method} {}", view(cluster, rest));
        let (got, answer) = p.world.ask_as(who, &line, None).await;
        assert_eq!(got, code, "{who} {line}: {answer}");
    }
    let line = format!("GET {}", view("*", "apis/apis.kcp.io/v1alpha1"));
    let (_, list) = p.world.ask_as(ADMIN, &line, None).await;
    assert_eq!(verbs(&list, "apiresourceschemas"), ["get", "list", "watch"]);
}

async fn initializing(world: &World, name: &str, extra: Value) -> String {
    let mut body = json!({
        "apiVersion": "tenancy.kcp.io/v1alpha1", "kind": "WorkspaceType",
        "metadata": {"name": name},
        "spec": {"initializer": true, "extend": {"with": [{"name": "universal", "path": "root"}]}},
    });
    body["spec"]
        .as_object_mut()
        .unwrap()
        .extend(extra.as_object().unwrap().clone());
    make(
        world,
        &format!("/clusters/root/{TENANCY}/workspacetypes"),
        body,
    )
    .await;
    let workspace = json!({
        "apiVersion": "tenancy.kcp.io/v1alpha1", "kind": "Workspace", "metadata": {"name": name},
        "spec": {"type": {"name": name, "path": "root"}},
    });
    let made = make(
        world,
        &format!("/clusters/root/{TENANCY}/workspaces"),
        workspace,
    )
    .await;
    assert_eq!(made["status"]["phase"], "Initializing");
    assert_eq!(
        made["status"]["initializers"],
        json!([format!("root:{name}")])
    );
    let conditions = made["status"]["conditions"].as_array().unwrap();
    let of = |kind: &str| conditions.iter().find(|c| c["type"] == kind).unwrap();
    assert_eq!(of("WorkspaceInitialized")["reason"], "InitializerExists");
    assert_eq!(of("WorkspaceInitialized")["severity"], "Info");
    assert_eq!(of("WorkspaceScheduled")["status"], "True");
    made["spec"]["cluster"].as_str().unwrap().to_owned()
}

#[tokio::test]
async fn a_controller_initializes_a_workspace_through_its_view() {
    let world = World::new().await;
    world.reconcile();
    let id = initializing(&world, "guarded", json!({})).await;
    let other = initializing(&world, "other", json!({})).await;
    let view = |cluster: &str, rest: &str| {
        format!("/services/initializingworkspaces/root:guarded/clusters/{cluster}/{rest}")
    };
    let clusters = "apis/core.kcp.io/v1alpha1/logicalclusters";
    let one = format!("{clusters}/cluster");
    let ask = async |who: &str, method: &str, cluster: &str, rest: &str, body: Option<Value>| {
        world
            .ask_as(who, &format!("{method} {}", view(cluster, rest)), body)
            .await
    };
    let (code, list) = ask(ADMIN, "GET", "*", clusters, None).await;
    assert_eq!(
        (code, list["items"].as_array().unwrap().len()),
        (200, 1),
        "{list}"
    );
    let (_, found) = ask(ADMIN, "GET", "*", "apis/core.kcp.io/v1alpha1", None).await;
    assert_eq!(verbs(&found, "logicalclusters"), ["get", "list", "watch"]);
    let (_, mut object) = ask(ADMIN, "GET", &id, &one, None).await;
    for (who, method, cluster, rest, code) in [
        (NOBODY, "GET", "*", clusters, 403),
        (NOBODY, "GET", "*", "apis", 403),
        (NOBODY, "GET", id.as_str(), "api/v1/namespaces", 403),
        (ADMIN, "GET", other.as_str(), one.as_str(), 404),
        (ADMIN, "GET", other.as_str(), "api/v1/namespaces", 403),
        (ADMIN, "GET", id.as_str(), "api/v1/namespaces", 200),
        (ADMIN, "DELETE", id.as_str(), one.as_str(), 405),
    ] {
        let (got, answer) = ask(who, method, cluster, rest, None).await;
        assert_eq!(got, code, "{who} {method} {cluster} {rest}: {answer}");
    }
    let mut forged = object.clone();
    forged["spec"]["directlyDeletable"] = true.into();
    assert_eq!(ask(ADMIN, "PUT", &id, &one, Some(forged)).await.0, 405);
    // What a controller does to the workspace, it does as its creator.
    let map = json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "made"}});
    let maps = "api/v1/namespaces/default/configmaps";
    assert_eq!(ask(ADMIN, "POST", &id, maps, Some(map)).await.0, 201);
    let status = format!("{one}/status");
    let mut forged = object.clone();
    forged["status"]["initializers"] = json!(["root:guarded", "root:more"]);
    let (code, refused) = ask(ADMIN, "PUT", &id, &status, Some(forged)).await;
    let why = "only removing the \"root:guarded\" initializer is supported";
    assert_eq!(code, 422, "{refused}");
    assert!(
        refused["message"].as_str().unwrap().contains(why),
        "{refused}"
    );
    object["status"]["initializers"] = json!([]);
    let (code, done) = ask(ADMIN, "PUT", &id, &status, Some(object)).await;
    assert_eq!(code, 200, "{done}");
    let line = format!("GET /clusters/root/{TENANCY}/workspaces/guarded");
    let ready = world
        .until(&line, |_, o| o["status"]["phase"] == "Ready")
        .await;
    assert!(ready["status"].get("initializers").is_none());
    assert_eq!(
        ready["metadata"]["annotations"]["experimental.tenancy.kcp.io/owner"],
        "{\"username\":\"kcp-admin\"}"
    );
    assert_eq!(
        ask(ADMIN, "GET", &id, &one, None).await.0,
        404,
        "it is done"
    );
    let (code, text) = ask(ADMIN, "GET", &id, "api/v1/namespaces", None).await;
    assert_eq!(code, 403);
    assert_eq!(
        text,
        "initializer \"root:guarded\" cannot access this workspace"
    );
}

#[tokio::test]
async fn initializer_permissions_bound_what_the_view_does() {
    let world = World::new().await;
    world.reconcile();
    let rules = json!({"initializerPermissions":
        [{"verbs": ["get", "list"], "apiGroups": [""], "resources": ["configmaps"]}]});
    let id = initializing(&world, "ruled", rules).await;
    let line = |rest: &str| {
        format!("GET /services/initializingworkspaces/root:ruled/clusters/{id}/{rest}")
    };
    let (code, _) = world.ask_as(ADMIN, &line("api/v1/configmaps"), None).await;
    assert_eq!(code, 200);
    let (code, text) = world.ask_as(ADMIN, &line("api/v1/secrets"), None).await;
    assert_eq!(code, 403);
    assert_eq!(
        text,
        "initializer \"root:ruled\" denied by initializerPermissions: no rule allows list on \
         core/secrets"
    );
}
