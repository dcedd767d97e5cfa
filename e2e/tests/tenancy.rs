//! kcp's main story over HTTPS, with users who have no rights but those given to them: a provider
//! publishes an API, a tenant binds it, the provider's controller works through the views, and
//! workspaces begin and end under a controller's eyes.

use std::time::Duration;

use anyhow::{Context, Result, anyhow, ensure};
use hanse_e2e::http::Client;
use hanse_e2e::hub::Hub;
use hanse_e2e::site::TokenUser;
use hanse_e2e::wait;
use http::Method;
use http_body_util::BodyExt;
use serde_json::{Value, json};

const APIS: &str = "/apis/apis.kcp.io/v1alpha2";
const APIS_OLD: &str = "/apis/apis.kcp.io/v1alpha1";
const TENANCY: &str = "/apis/tenancy.kcp.io/v1alpha1";
const RBAC: &str = "/apis/rbac.authorization.k8s.io/v1";
const LOGICAL_CLUSTERS: &str = "/apis/core.kcp.io/v1alpha1/logicalclusters";
const MAPS: &str = "/api/v1/namespaces/default/configmaps";
const WIDGETS: &str = "/apis/g.example.com/v1/namespaces/default/widgets";
/// How long what becomes true soon may take on a busy machine.
const SOON: Duration = Duration::from_secs(20);

/// A hub with `ann`, who provides, and `bob`, who consumes; neither has other rights.
struct World {
    hub: Hub,
    /// Ids of `root:provider` and `root:consumer`.
    provider: String,
    consumer: String,
}

impl World {
    async fn start() -> Result<World> {
        let user = |token, user| TokenUser {
            token,
            user,
            groups: &[],
        };
        let hub = Hub::start_with(&[user("ann-token", "ann"), user("bob-token", "bob")]).await?;
        let provider = hub.workspace("root", "provider", "universal").await?;
        let consumer = hub.workspace("root", "consumer", "universal").await?;
        for (path, user) in [("root:provider", "ann"), ("root:consumer", "bob")] {
            let admin = hub.cluster(path)?;
            grant(&admin, "owner", "cluster-admin", user).await?;
        }
        Ok(World {
            hub,
            provider,
            consumer,
        })
    }

    /// A user at a path of the server that begins with a slash.
    fn at(&self, user: &str, path: &str) -> Result<Client> {
        let mut access = self.hub.access()?;
        access.server.push_str(path);
        Client::connect(&access.with_token(Some(&format!("{user}-token"))))
    }

    fn cluster(&self, user: &str, cluster: &str) -> Result<Client> {
        self.at(user, &format!("/clusters/{cluster}"))
    }

    /// Publishes widgets with a claim on ConfigMaps, and lets bob bind and use what is there.
    async fn publish(&self) -> Result<()> {
        let ann = self.cluster("ann", "root:provider")?;
        let schema = json!({
            "apiVersion": "apis.kcp.io/v1alpha1", "kind": "APIResourceSchema",
            "metadata": {"name": "v1.widgets.g.example.com"},
            "spec": {
                "group": "g.example.com", "scope": "Namespaced",
                "names": {"plural": "widgets", "singular": "widget", "kind": "Widget",
                    "listKind": "WidgetList"},
                "versions": [{"name": "v1", "served": true, "storage": true,
                    "subresources": {"status": {}},
                    "schema": {"type": "object", "properties": {
                        "spec": {"type": "object", "properties": {"n": {"type": "integer"}},
                            "x-kubernetes-validations": [
                                {"rule": "self.n > 0", "message": "n must be positive"}]},
                        "status": {"type": "object", "properties": {"seen": {"type": "integer"}}},
                    }}}],
            },
        });
        ann.post(&format!("{APIS_OLD}/apiresourceschemas"), &schema)
            .await?
            .success()?;
        let export = json!({
            "apiVersion": "apis.kcp.io/v1alpha2", "kind": "APIExport",
            "metadata": {"name": "widgets"},
            "spec": {
                "resources": [{"group": "g.example.com", "name": "widgets",
                    "schema": "v1.widgets.g.example.com"}],
                "permissionClaims": [claim()],
            },
        });
        ann.post(&format!("{APIS}/apiexports"), &export)
            .await?
            .success()?;
        let path = format!("{APIS}/apiexports/widgets");
        field(&ann, &path, "/status/identityHash").await?;
        let role = json!({
            "apiVersion": "rbac.authorization.k8s.io/v1", "kind": "ClusterRole",
            "metadata": {"name": "consumer"},
            "rules": [
                {"verbs": ["bind"], "apiGroups": ["apis.kcp.io"], "resources": ["apiexports"],
                    "resourceNames": ["widgets"]},
                {"verbs": ["use"], "apiGroups": ["tenancy.kcp.io"],
                    "resources": ["workspacetypes"]},
            ],
        });
        let bob = self.cluster("bob", "root:consumer")?;
        let refused = bob.post(&format!("{APIS}/apibindings"), &binding()).await?;
        ensure!(refused.status == 403, "{}", refused.json());
        let why = "unable to create APIBinding: no permission to bind to export \
                   root:provider:widgets";
        let said = refused.json();
        ensure!(
            said["message"].as_str().unwrap_or_default().ends_with(why),
            "{said}"
        );
        ann.post(&format!("{RBAC}/clusterroles"), &role)
            .await?
            .success()?;
        grant(&ann, "consumer", "consumer", "bob").await
    }

    async fn bind(&self) -> Result<()> {
        let bob = self.cluster("bob", "root:consumer")?;
        bob.post(&format!("{APIS}/apibindings"), &binding())
            .await?
            .success()?;
        let path = format!("{APIS}/apibindings/widgets");
        wait::until("the binding bound", SOON, async || {
            let binding = bob.get(&path).await?.success()?;
            match binding["status"]["phase"] == "Bound" {
                true => Ok(()),
                false => Err(anyhow!("{}", binding["status"])),
            }
        })
        .await
    }

    /// A type of ann's that holds workspaces until she is done, and one of bob's of this type.
    async fn held(&self, name: &str, kind: Value) -> Result<Value> {
        let mut body = json!({
            "apiVersion": "tenancy.kcp.io/v1alpha1", "kind": "WorkspaceType",
            "metadata": {"name": name},
            "spec": {"extend": {"with": [{"name": "universal", "path": "root"}]}},
        });
        for (key, value) in kind.as_object().into_iter().flatten() {
            body["spec"][key] = value.clone();
        }
        let ann = self.cluster("ann", "root:provider")?;
        ann.post(&format!("{TENANCY}/workspacetypes"), &body)
            .await?
            .success()?;
        let workspace = json!({
            "apiVersion": "tenancy.kcp.io/v1alpha1", "kind": "Workspace",
            "metadata": {"name": name},
            "spec": {"type": {"name": name, "path": "root:provider"}},
        });
        let bob = self.cluster("bob", "root:consumer")?;
        bob.post(&format!("{TENANCY}/workspaces"), &workspace)
            .await?
            .success()
    }
}

fn claim() -> Value {
    json!({"group": "", "resource": "configmaps", "verbs": ["get", "list", "watch", "create"]})
}

fn binding() -> Value {
    let mut accepted = claim();
    accepted["state"] = "Accepted".into();
    accepted["selector"] = json!({"matchLabels": {"for": "ann"}});
    json!({
        "apiVersion": "apis.kcp.io/v1alpha2", "kind": "APIBinding",
        "metadata": {"name": "widgets"},
        "spec": {
            "reference": {"export": {"name": "widgets", "path": "root:provider"}},
            "permissionClaims": [accepted],
        },
    })
}

fn widget(name: &str, n: i64) -> Value {
    json!({"apiVersion": "g.example.com/v1", "kind": "Widget", "metadata": {"name": name},
        "spec": {"n": n}})
}

async fn grant(client: &Client, name: &str, role: &str, user: &str) -> Result<()> {
    let group = "rbac.authorization.k8s.io";
    let body = json!({
        "apiVersion": format!("{group}/v1"), "kind": "ClusterRoleBinding",
        "metadata": {"name": name},
        "roleRef": {"apiGroup": group, "kind": "ClusterRole", "name": role},
        "subjects": [{"apiGroup": group, "kind": "User", "name": user}],
    });
    let path = format!("{RBAC}/clusterrolebindings");
    client.post(&path, &body).await?.success().map(drop)
}

/// A text of an object, once it is there.
async fn field(client: &Client, path: &str, pointer: &str) -> Result<String> {
    wait::until(pointer, SOON, async || {
        let object = client.get(path).await?.success()?;
        let text = object.pointer(pointer).and_then(Value::as_str);
        text.map(str::to_owned)
            .with_context(|| format!("{pointer} is missing: {object}"))
    })
    .await
}

async fn code(client: &Client, method: Method, path: &str, body: Option<&Value>) -> Result<u16> {
    Ok(client.json(method, path, body).await?.status.as_u16())
}

fn names(list: &Value) -> Vec<&str> {
    let items = list["items"].as_array().into_iter().flatten();
    items
        .filter_map(|o| o["metadata"]["name"].as_str())
        .collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_provider_works_through_the_view_that_its_slice_names() -> Result<()> {
    let world = World::start().await?;
    world.publish().await?;
    let ann = world.cluster("ann", "root:provider")?;
    let slice = format!("{APIS_OLD}/apiexportendpointslices/widgets");
    field(&ann, &slice, "/metadata/uid").await?;
    let before = ann.get(&slice).await?.success()?;
    ensure!(
        before["status"].get("endpoints").is_none(),
        "nobody has bound: {before}"
    );
    world.bind().await?;
    let url = field(&ann, &slice, "/status/endpoints/0/url").await?;
    let path = format!("/services/apiexport/{}/widgets", world.provider);
    ensure!(url.ends_with(&path), "{url}");
    let mut access = world.hub.access()?;
    access.server = format!("{url}/clusters/*");
    let all = Client::connect(&access.with_token(Some("ann-token")))?;
    let one = world.at("ann", &format!("{path}/clusters/{}", world.consumer))?;
    // A watch of everything from the start on.
    let query = "/apis/g.example.com/v1/widgets?watch=1&timeoutSeconds=20";
    let accept = [("accept", "application/json")];
    let watch = all
        .open(Method::GET, query, &accept, None, Default::default())
        .await?;
    let bob = world.cluster("bob", "root:consumer")?;
    bob.post(WIDGETS, &widget("one", 1)).await?.success()?;
    let refused = bob.post(WIDGETS, &widget("none", 0)).await?;
    ensure!(refused.status == 422, "{}", refused.json());
    let mut body = watch.into_body();
    let frame = body.frame().await.context("no event")??;
    let event: Value = serde_json::from_slice(frame.data_ref().context("no data")?)?;
    ensure!(
        event["type"] == "ADDED" && event["object"]["metadata"]["name"] == "one",
        "{event}"
    );
    // Status goes up, and nothing else.
    let path = format!("{WIDGETS}/one");
    let mut seen = one.get(&path).await?.success()?;
    seen["status"] = json!({"seen": 1});
    seen["spec"]["n"] = json!(7);
    one.json(Method::PUT, &format!("{path}/status"), Some(&seen))
        .await?
        .success()?;
    let seen = bob.get(&path).await?.success()?;
    ensure!(
        seen["status"]["seen"] == 1 && seen["spec"]["n"] == 1,
        "{seen}"
    );
    claimed(&world, &bob, &all, &one).await?;
    // Neither comes to the other's place by another way.
    let bobs_view = world.at("bob", &format!("{}/clusters/*", url_path(&url)))?;
    for (client, path, wanted) in [
        (&world.cluster("ann", "root:consumer")?, WIDGETS, 403),
        (&world.cluster("bob", "root:provider")?, APIS, 403),
        (&bobs_view, "/apis/g.example.com/v1/widgets", 403),
        (&bobs_view, "/apis", 403),
        (&one, "/api/v1/secrets", 403),
        (&all, "/apis/g.example.com/v1/widgets", 200),
    ] {
        ensure!(
            code(client, Method::GET, path, None).await? == wanted,
            "{path}"
        );
    }
    // What was bound goes with its binding.
    let path = format!("{APIS}/apibindings/widgets");
    bob.json(Method::DELETE, &path, None).await?.success()?;
    wait::until("the binding gone", SOON, async || {
        match code(&bob, Method::GET, &path, None).await? {
            404 => Ok(()),
            code => Err(anyhow!("{code}")),
        }
    })
    .await?;
    ensure!(code(&bob, Method::GET, WIDGETS, None).await? == 404);
    ensure!(code(&one, Method::GET, WIDGETS, None).await? == 403);
    Ok(())
}

fn url_path(url: &str) -> &str {
    url.find("/services/").map_or(url, |at| &url[at..])
}

/// What was claimed: objects that the consumer's selector picks, with the verbs of both.
async fn claimed(world: &World, bob: &Client, all: &Client, one: &Client) -> Result<()> {
    let map = |name: &str, labels: Value| {
        json!({"apiVersion": "v1", "kind": "ConfigMap",
            "metadata": {"name": name, "labels": labels}})
    };
    bob.post(MAPS, &map("his", json!({}))).await?.success()?;
    bob.post(MAPS, &map("shared", json!({"for": "ann"})))
        .await?
        .success()?;
    let made = one.post(MAPS, &map("made", json!({}))).await?.success()?;
    ensure!(made["metadata"]["labels"]["for"] == "ann", "{made}");
    let list = all.get("/api/v1/configmaps").await?.success()?;
    ensure!(names(&list) == ["made", "shared"], "{:?}", names(&list));
    let place = &list["items"][0]["metadata"]["annotations"]["kcp.io/cluster"];
    ensure!(*place == world.consumer.as_str(), "{place}");
    for (method, name, wanted) in [
        (Method::GET, "his", 404),
        (Method::GET, "shared", 200),
        (Method::DELETE, "shared", 403),
    ] {
        let path = format!("{MAPS}/{name}");
        ensure!(code(one, method, &path, None).await? == wanted, "{name}");
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_controller_begins_and_ends_workspaces_through_its_views() -> Result<()> {
    let world = World::start().await?;
    world.publish().await?;
    let made = world.held("guarded", json!({"initializer": true})).await?;
    ensure!(
        made["status"]["phase"] == "Initializing",
        "{}",
        made["status"]
    );
    let identifier = format!("{}:guarded", world.provider);
    ensure!(
        made["status"]["initializers"] == json!([identifier]),
        "{}",
        made["status"]
    );
    let id = made["spec"]["cluster"].as_str().context("no id")?;
    let view = format!("/services/initializingworkspaces/{identifier}/clusters");
    let all = world.at("ann", &format!("{view}/*"))?;
    let one = world.at("ann", &format!("{view}/{id}"))?;
    let found = all.get(LOGICAL_CLUSTERS).await?.success()?;
    ensure!(
        found["items"].as_array().map(Vec::len) == Some(1),
        "{found}"
    );
    let bobs = world.at("bob", &format!("{view}/*"))?;
    ensure!(code(&bobs, Method::GET, LOGICAL_CLUSTERS, None).await? == 403);
    // She has no rights in the workspace; the view lends her those of its creator.
    let direct = world.cluster("ann", id)?;
    ensure!(code(&direct, Method::GET, "/api/v1/namespaces", None).await? == 403);
    let map = json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "ready"}});
    one.post(MAPS, &map).await?.success()?;
    finish(&one, "initializers", &identifier).await?;
    let bob = world.cluster("bob", "root:consumer")?;
    let path = format!("{TENANCY}/workspaces/guarded");
    wait::until("the workspace ready", SOON, async || {
        let workspace = bob.get(&path).await?.success()?;
        match workspace["status"]["phase"] == "Ready" {
            true => Ok(()),
            false => Err(anyhow!("{}", workspace["status"])),
        }
    })
    .await?;
    let inside = world.cluster("bob", "root:consumer:guarded")?;
    inside.get(&format!("{MAPS}/ready")).await?.success()?;
    ensure!(
        code(&one, Method::GET, "/api/v1/namespaces", None).await? == 403,
        "it is done"
    );
    ended(&world, &bob).await
}

/// Takes an entry off a list of the LogicalCluster in a lifecycle view.
async fn finish(view: &Client, list: &str, identifier: &str) -> Result<()> {
    let path = format!("{LOGICAL_CLUSTERS}/cluster/status");
    let to = |left: Value| json!({"status": {list: left}});
    // A patch, since the server's own controllers write meanwhile.
    let kind = "application/merge-patch+json";
    let forged = to(json!([identifier, "root:more"]));
    let refused = view.patch(&path, kind, &forged).await?;
    ensure!(refused.status == 422, "{}", refused.json());
    let answer = view.patch(&path, kind, &to(json!([]))).await?;
    answer.success().map(drop)
}

/// A workspace with a terminator waits for it, and its content for its finalizers.
async fn ended(world: &World, bob: &Client) -> Result<()> {
    let made = world.held("ending", json!({"terminator": true})).await?;
    ensure!(made["status"]["phase"] == "Ready", "{}", made["status"]);
    let identifier = format!("{}:ending", world.provider);
    ensure!(
        made["status"]["terminators"] == json!([identifier]),
        "{}",
        made["status"]
    );
    let id = made["spec"]["cluster"].as_str().context("no id")?;
    let inside = world.cluster("bob", id)?;
    let held = json!({"apiVersion": "v1", "kind": "ConfigMap",
        "metadata": {"name": "held", "finalizers": ["example.com/hold"]}});
    inside.post(MAPS, &held).await?.success()?;
    let view = format!("/services/terminatingworkspaces/{identifier}/clusters");
    let one = world.at("ann", &format!("{view}/{id}"))?;
    let path = format!("{LOGICAL_CLUSTERS}/cluster");
    ensure!(
        code(&one, Method::GET, &path, None).await? == 404,
        "not on its way out"
    );
    let workspace = format!("{TENANCY}/workspaces/ending");
    bob.json(Method::DELETE, &workspace, None)
        .await?
        .success()?;
    let phase = async |wanted: &str| {
        wait::until(wanted, SOON, async || {
            let now = bob.get(&workspace).await?.success()?;
            match now["status"]["phase"] == wanted {
                true => Ok(now),
                false => Err(anyhow!("{}", now["status"])),
            }
        })
        .await
    };
    phase("Terminating").await?;
    ensure!(code(&one, Method::GET, &path, None).await? == 200);
    finish(&one, "terminators", &identifier).await?;
    let left = phase("Deleting").await?;
    let conditions = left["status"]["conditions"].as_array().cloned();
    let mut told = conditions.unwrap_or_default().into_iter();
    let told = told.find(|c| c["type"] == "WorkspaceContentDeleted");
    let message = told.map(|c| c["message"].to_string()).unwrap_or_default();
    ensure!(
        message.contains("example.com/hold in 1 resource instances"),
        "{message}"
    );
    // The one who deletes keeps his rights until the end.
    let free = json!({"metadata": {"finalizers": null}});
    let kind = "application/merge-patch+json";
    let answer = inside.patch(&format!("{MAPS}/held"), kind, &free).await?;
    ensure!(answer.status == 200, "{}", answer.json());
    wait::until("the workspace gone", SOON, async || {
        match code(bob, Method::GET, &workspace, None).await? {
            404 => Ok(()),
            code => Err(anyhow!("{code}")),
        }
    })
    .await?;
    let answer = code(&inside, Method::GET, MAPS, None).await?;
    ensure!(answer == 403, "{answer}");
    Ok(())
}
