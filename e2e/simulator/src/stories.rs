//! What tenants want: one story each, none touching what another one has.
//!
//! Start at [`STORIES`]; a row is a function of a client and a [`Wish`], which the plan of a seed
//! has chosen. A story that demands something on its way (that a finalizer holds, that dependents
//! go) fails when it is not so. The invariant: the end of each story follows from its wish alone.

use std::future::Future;
use std::pin::Pin;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use serde_json::{Value, json};

use crate::client::{Client, at};
use crate::load::CONFIG_MAPS;

const WORKSPACES: &str = "/apis/tenancy.kcp.io/v1alpha1/workspaces";
const NAMESPACES: &str = "/api/v1/namespaces";
const CRDS: &str = "/apis/apiextensions.k8s.io/v1/customresourcedefinitions";
const KCP: &str = "/apis/apis.kcp.io/v1alpha2";
const SITES: &str = "/apis/sites.hanse.dev/v1alpha1";
/// A finalizer that only the story takes away.
const HOLD: &str = "simulator.example.org/hold";

/// What a story is to do.
#[derive(Clone, Copy, Debug)]
pub struct Wish {
    /// Its number, unlike that of all others of the run.
    pub number: u64,
    /// Which of its variants.
    pub variant: u64,
    /// The workspace that it may use; others it makes.
    pub side: &'static str,
}

type Told = Pin<Box<dyn Future<Output = Result<()>> + Send>>;

/// A story by name.
pub struct Story {
    /// What it is about.
    pub name: &'static str,
    /// Tells it.
    pub tell: fn(Client, Wish) -> Told,
}

/// All stories.
pub const STORIES: &[Story] = &[
    Story {
        name: "family",
        tell: |client, wish| Box::pin(family(client, wish)),
    },
    Story {
        name: "garbage",
        tell: |client, wish| Box::pin(garbage(client, wish)),
    },
    Story {
        name: "namespace",
        tell: |client, wish| Box::pin(namespace(client, wish)),
    },
    Story {
        name: "custom",
        tell: |client, wish| Box::pin(custom(client, wish)),
    },
    Story {
        name: "export",
        tell: |client, wish| Box::pin(export(client, wish)),
    },
    Story {
        name: "site",
        tell: |client, wish| Box::pin(site(client, wish)),
    },
];

fn named(value: Value, name: &str) -> Value {
    let mut value = value;
    value["metadata"]["name"] = name.into();
    value
}

fn config_map(name: &str) -> Value {
    named(
        json!({"apiVersion": "v1", "kind": "ConfigMap", "data": {"k": name}}),
        name,
    )
}

/// Makes a workspace and waits for it.
pub async fn workspace(client: &Client, parent: &str, name: &str) -> Result<String> {
    unborn(client, parent, name).await?;
    let path = at(parent, &format!("{WORKSPACES}/{name}"));
    let ready = |w: &Value| w["status"]["phase"] == "Ready";
    let made = client.until(&path, ready).await?;
    let id = made["spec"]["cluster"].as_str();
    Ok(id
        .context("a ready workspace without a logical cluster")?
        .to_owned())
}

async fn unborn(client: &Client, parent: &str, name: &str) -> Result<()> {
    let body = json!({
        "apiVersion": "tenancy.kcp.io/v1alpha1", "kind": "Workspace",
        "spec": {"type": {"name": "universal", "path": "root"}},
    });
    client
        .make(&at(parent, WORKSPACES), &named(body, name))
        .await
}

fn is_deleting(object: &Value) -> bool {
    object["metadata"]["deletionTimestamp"].is_string()
}

/// Workspaces in workspaces, some of which go again.
async fn family(client: Client, wish: Wish) -> Result<()> {
    let (parent, child) = (format!("parent{}", wish.number), "child");
    let place = at("root", &format!("{WORKSPACES}/{parent}"));
    if wish.variant == 0 {
        // Gone before it is quite there.
        unborn(&client, "root", &parent).await?;
        client.idle(300).await;
        client.delete(&place, "Background").await?;
        return client.until_gone(&place).await;
    }
    let id = workspace(&client, "root", &parent).await?;
    let inner = workspace(&client, &id, child).await?;
    for name in ["a", "b"] {
        client
            .make(&at(&inner, CONFIG_MAPS), &config_map(name))
            .await?;
    }
    let grandchild = workspace(&client, &inner, "grandchild").await?;
    client
        .make(&at(&grandchild, CONFIG_MAPS), &config_map("c"))
        .await?;
    let gone = match wish.variant {
        1 => at(&id, &format!("{WORKSPACES}/{child}")),
        2 => place,
        _ => return Ok(()),
    };
    client.delete(&gone, "Background").await?;
    client.until_gone(&gone).await
}

/// Owners and dependents.
async fn garbage(client: Client, wish: Wish) -> Result<()> {
    let maps = at(wish.side, CONFIG_MAPS);
    let (owner, keeper) = (
        format!("owner{}", wish.number),
        format!("keeper{}", wish.number),
    );
    let mut references = Vec::new();
    for name in [&owner, &keeper] {
        client.make(&maps, &config_map(name)).await?;
        let made = client.until(&format!("{maps}/{name}"), |_| true).await?;
        references.push(json!({
            "apiVersion": "v1", "kind": "ConfigMap", "name": name,
            "uid": made["metadata"]["uid"], "blockOwnerDeletion": true,
        }));
    }
    let dependent = |index: u64| format!("dependent{}-{index}", wish.number);
    for index in 0..4 {
        let mut body = config_map(&dependent(index));
        let owners = if index == 3 {
            &references[..]
        } else {
            &references[..1]
        };
        body["metadata"]["ownerReferences"] = owners.into();
        client.make(&maps, &body).await?;
    }
    let policy = ["Background", "Foreground", "Orphan"][usize::try_from(wish.variant % 3)?];
    let place = format!("{maps}/{owner}");
    client.delete(&place, policy).await?;
    client.until_gone(&place).await?;
    let owners = |object: &Value| {
        object["metadata"]["ownerReferences"]
            .as_array()
            .map_or(0, Vec::len)
    };
    for index in 0..4 {
        let place = format!("{maps}/{}", dependent(index));
        match (policy, index) {
            ("Orphan", 3) => drop(client.until(&place, |o| owners(o) == 1).await?),
            ("Orphan", _) => drop(client.until(&place, |o| owners(o) == 0).await?),
            (_, 3) => drop(client.until(&place, |o| owners(o) == 1).await?),
            _ => client.until_gone(&place).await?,
        }
    }
    Ok(())
}

/// A namespace that goes with what is in it, and not before what a finalizer holds.
async fn namespace(client: Client, wish: Wish) -> Result<()> {
    let name = format!("space{}", wish.number);
    let spaces = at(wish.side, NAMESPACES);
    let body = json!({"apiVersion": "v1", "kind": "Namespace"});
    client.make(&spaces, &named(body, &name)).await?;
    let maps = format!("{spaces}/{name}/configmaps");
    for index in 0..3 {
        client
            .make(&maps, &config_map(&format!("m{index}")))
            .await?;
    }
    let mut held = config_map("held");
    held["metadata"]["finalizers"] = json!([HOLD]);
    client.make(&maps, &held).await?;
    if wish.variant == 0 {
        return Ok(());
    }
    let (space, held) = (format!("{spaces}/{name}"), format!("{maps}/held"));
    client.delete(&space, "Background").await?;
    for _ in 0..5 {
        client.idle(2_000).await;
        let there = client
            .want(
                "GET",
                &held,
                None,
                &[http::StatusCode::OK, http::StatusCode::NOT_FOUND],
            )
            .await?;
        ensure!(
            there.status == http::StatusCode::OK,
            "{held} is gone, though {HOLD} holds it"
        );
    }
    client.until(&held, is_deleting).await?;
    let release = json!({"metadata": {"finalizers": null}});
    let good = [http::StatusCode::OK, http::StatusCode::NOT_FOUND];
    client.want("PATCH", &held, Some(&release), &good).await?;
    client.until_gone(&space).await
}

/// A kind of the tenant's own, with objects.
async fn custom(client: Client, wish: Wish) -> Result<()> {
    let group = format!("g{}.simulator.example.org", wish.number);
    let body = json!({
        "apiVersion": "apiextensions.k8s.io/v1", "kind": "CustomResourceDefinition",
        "spec": {"group": group, "scope": "Namespaced",
            "names": {"plural": "boats", "singular": "boat", "kind": "Boat", "listKind": "BoatList"},
            "versions": [{"name": "v1", "served": true, "storage": true, "schema": {
                "openAPIV3Schema": {"type": "object",
                    "properties": {"spec": {"type": "object",
                        "properties": {"masts": {"type": "integer", "minimum": 1}}}}}}}]},
    });
    let crds = at(wish.side, CRDS);
    let name = format!("boats.{group}");
    client.make(&crds, &named(body, &name)).await?;
    let place = format!("{crds}/{name}");
    let established = |crd: &Value| {
        let list = crd["status"]["conditions"].as_array();
        let is = |c: &Value| c["type"] == "Established" && c["status"] == "True";
        list.is_some_and(|list| list.iter().any(is))
    };
    client.until(&place, established).await?;
    let boats = at(
        wish.side,
        &format!("/apis/{group}/v1/namespaces/default/boats"),
    );
    for index in 0..3 {
        let boat = json!({"apiVersion": format!("{group}/v1"), "kind": "Boat",
            "spec": {"masts": index + 1}});
        client
            .make(&boats, &named(boat, &format!("b{index}")))
            .await?;
    }
    match wish.variant {
        0 => {
            client.delete(&place, "Background").await?;
            client.until_gone(&place).await
        }
        1 => {
            client.delete(&format!("{boats}/b1"), "Background").await?;
            client.until_gone(&format!("{boats}/b1")).await
        }
        _ => Ok(()),
    }
}

/// An export, bound by another workspace.
async fn export(client: Client, wish: Wish) -> Result<()> {
    let (provider, consumer) = (
        format!("provider{}", wish.number),
        format!("consumer{}", wish.number),
    );
    let id = workspace(&client, "root", &provider).await?;
    let group = format!("e{}.simulator.example.org", wish.number);
    let schema = json!({
        "apiVersion": "apis.kcp.io/v1alpha1", "kind": "APIResourceSchema",
        "spec": {"group": group, "scope": "Namespaced",
            "names": {"plural": "widgets", "singular": "widget", "kind": "Widget",
                "listKind": "WidgetList"},
            "versions": [{"name": "v1", "served": true, "storage": true,
                "schema": {"type": "object"}}]},
    });
    let schema = named(schema, &format!("v1.widgets.{group}"));
    client
        .make(
            &at(&id, "/apis/apis.kcp.io/v1alpha1/apiresourceschemas"),
            &schema,
        )
        .await?;
    let export = json!({
        "apiVersion": "apis.kcp.io/v1alpha2", "kind": "APIExport",
        "spec": {"resources": [{"group": group, "name": "widgets",
            "schema": format!("v1.widgets.{group}"), "storage": {"crd": {}}}]},
    });
    let exports = at(&id, &format!("{KCP}/apiexports"));
    client.make(&exports, &named(export, "widgets")).await?;
    let other = workspace(&client, "root", &consumer).await?;
    let binding = json!({
        "apiVersion": "apis.kcp.io/v1alpha2", "kind": "APIBinding",
        "spec": {"reference": {"export": {"name": "widgets", "path": format!("root:{provider}")}}},
    });
    let bindings = at(&other, &format!("{KCP}/apibindings"));
    client.make(&bindings, &named(binding, "widgets")).await?;
    let place = format!("{bindings}/widgets");
    client
        .until(&place, |b| b["status"]["phase"] == "Bound")
        .await?;
    let widgets = at(
        &other,
        &format!("/apis/{group}/v1/namespaces/default/widgets"),
    );
    for name in ["w0", "w1"] {
        let widget = json!({"apiVersion": format!("{group}/v1"), "kind": "Widget"});
        client.make(&widgets, &named(widget, name)).await?;
    }
    match wish.variant {
        0 => {
            client.delete(&place, "Background").await?;
            client.until_gone(&place).await
        }
        1 => {
            let place = at("root", &format!("{WORKSPACES}/{consumer}"));
            client.delete(&place, "Background").await?;
            client.until_gone(&place).await
        }
        _ => Ok(()),
    }
}

/// A physical cluster whose syncer this story plays, with a placement of a ConfigMap.
async fn site(client: Client, wish: Wish) -> Result<()> {
    let name = format!("site{}", wish.number);
    let sites = at(wish.side, &format!("{SITES}/sites"));
    bind_sites(&client, wish.side).await?;
    let body = json!({"apiVersion": "sites.hanse.dev/v1alpha1", "kind": "Site", "spec": {}});
    client.make(&sites, &named(body, &name)).await?;
    let place = format!("{sites}/{name}");
    let has_inbox = |site: &Value| {
        site["status"]["cluster"]
            .as_str()
            .is_some_and(|c| !c.is_empty())
    };
    let made = client.until(&place, has_inbox).await?;
    let inbox = made["status"]["cluster"].as_str().unwrap_or_default();
    let lease = at(
        inbox,
        "/apis/coordination.k8s.io/v1/namespaces/default/leases/syncer",
    );
    client.until(&lease, |_| true).await?;
    if wish.variant == 0 {
        client.delete(&place, "Background").await?;
        client.until_gone(&place).await?;
    }
    Ok(())
}

/// Binds the kinds of sites into a workspace.
async fn bind_sites(client: &Client, cluster: &str) -> Result<()> {
    let binding = json!({
        "apiVersion": "apis.kcp.io/v1alpha2", "kind": "APIBinding",
        "spec": {"reference": {"export": {"name": "sites.hanse.dev", "path": "root"}}},
    });
    let bindings = at(cluster, &format!("{KCP}/apibindings"));
    client.make(&bindings, &named(binding, "sites")).await?;
    let place = format!("{bindings}/sites");
    client
        .until(&place, |b| b["status"]["phase"] == "Bound")
        .await?;
    Ok(())
}

/// How long a whole story may take, crashes included.
pub const STORY_TIME_MAX: Duration = Duration::from_secs(3_600);
