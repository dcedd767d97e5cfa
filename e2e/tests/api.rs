//! What users of a cluster expect of its API, asked of a hub with real kubectl and plain HTTP.

use anyhow::{Result, ensure};
use hanse_e2e::hub::Hub;
use hanse_e2e::kubectl::Kubectl;
use serde_json::{Value, json};

/// Publishes a Deployment in `root` and binds it there.
async fn bind_deployments(kubectl: &Kubectl) -> Result<()> {
    let env = json!({"type": "array", "items": {"type": "object", "properties": {
        "name": {"type": "string"}, "value": {"type": "string"}}}});
    let container = json!({"type": "object", "required": ["name"], "properties": {
        "name": {"type": "string"}, "image": {"type": "string"}, "env": env,
        "command": {"type": "array", "items": {"type": "string"}}}});
    let pod = json!({"type": "object", "properties": {
        "containers": {"type": "array", "items": container}}});
    let spec = json!({"type": "object", "properties": {"template": {
        "type": "object", "properties": {"spec": pod}}}});
    let names = json!({"plural": "deployments", "singular": "deployment", "kind": "Deployment",
        "listKind": "DeploymentList"});
    let objects = json!({"apiVersion": "v1", "kind": "List", "items": [
        {"apiVersion": "apis.kcp.io/v1alpha1", "kind": "APIResourceSchema",
         "metadata": {"name": "v1.deployments.apps"},
         "spec": {"group": "apps", "scope": "Namespaced", "names": names, "versions": [{
            "name": "v1", "served": true, "storage": true,
            "schema": {"type": "object", "properties": {"spec": spec}}}]}},
        {"apiVersion": "apis.kcp.io/v1alpha2", "kind": "APIExport", "metadata": {"name": "apps"},
         "spec": {"resources": [{"group": "apps", "name": "deployments",
            "schema": "v1.deployments.apps", "storage": {"crd": {}}}]}},
        {"apiVersion": "apis.kcp.io/v1alpha2", "kind": "APIBinding", "metadata": {"name": "apps"},
         "spec": {"reference": {"export": {"path": "root", "name": "apps"}}}},
    ]});
    kubectl.apply(&objects.to_string()).await?;
    let ready = [
        "wait",
        "apibinding/apps",
        "--for=condition=Ready",
        "--timeout=20s",
    ];
    kubectl.ok(&ready).await.map(drop)
}

fn deployment(containers: Value) -> String {
    json!({"apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": "web"},
           "spec": {"template": {"spec": {"containers": containers}}}})
    .to_string()
}

/// `kubectl apply` takes away what its file no longer has, inside list items too, and leaves what
/// another has added: it reads the merge keys of a bound Deployment from our OpenAPI.
#[tokio::test(flavor = "multi_thread")]
async fn apply_removes_a_field_within_an_item_of_a_bound_deployment() -> Result<()> {
    let hub = Hub::start().await?;
    let kubectl = hub.kubectl("root")?;
    bind_deployments(&kubectl).await?;
    let before = json!([
        {"name": "a", "image": "x:1", "command": ["sh"],
         "env": [{"name": "A", "value": "1"}, {"name": "B", "value": "2"}]},
        {"name": "b", "image": "y:1"},
    ]);
    kubectl.apply(&deployment(before)).await?;
    let sidecar = r#"[{"op": "add", "path": "/spec/template/spec/containers/-",
                       "value": {"name": "sidecar", "image": "s:1"}}]"#;
    let patch = [
        "patch",
        "deployment",
        "web",
        "--type=json",
        "--patch",
        sidecar,
    ];
    kubectl.ok(&patch).await?;
    let after = json!([{"name": "a", "image": "x:2", "env": [{"name": "A", "value": "1"}]}]);
    kubectl.apply(&deployment(after)).await?;
    let path = "jsonpath={.spec.template.spec.containers}";
    let found: Value = serde_json::from_str(
        &kubectl
            .ok(&["get", "deployment", "web", "-o", path])
            .await?,
    )?;
    let wanted = json!([
        {"name": "a", "image": "x:2", "env": [{"name": "A", "value": "1"}]},
        {"name": "sidecar", "image": "s:1"},
    ]);
    ensure!(found == wanted, "{found}");
    // The words of Kubernetes about its own kinds.
    let text = kubectl.ok(&["explain", "configmap.data"]).await?;
    ensure!(
        text.contains("Data contains the configuration data"),
        "{text}"
    );
    Ok(())
}

/// A CRD takes its objects with it, and `kubectl scale` works on one that has no replicas yet.
#[tokio::test(flavor = "multi_thread")]
async fn a_definition_goes_with_its_objects() -> Result<()> {
    let hub = Hub::start().await?;
    let kubectl = hub.kubectl("root")?;
    let number = json!({"type": "object", "properties": {"replicas": {"type": "integer"}}});
    let names = json!({"plural": "gadgets", "singular": "gadget", "kind": "Gadget"});
    let version = json!({"name": "v1", "served": true, "storage": true,
        "subresources": {"scale": {"specReplicasPath": ".spec.replicas",
            "statusReplicasPath": ".status.replicas"}},
        "schema": {"openAPIV3Schema": {"type": "object", "properties": {
            "spec": number, "status": number}}}});
    let crd = json!({"apiVersion": "apiextensions.k8s.io/v1", "kind": "CustomResourceDefinition",
        "metadata": {"name": "gadgets.example.com"},
        "spec": {"group": "example.com", "scope": "Namespaced", "names": names,
                 "versions": [version]}})
    .to_string();
    let gadget = json!({"apiVersion": "example.com/v1", "kind": "Gadget",
        "metadata": {"name": "one"}, "spec": {}});
    let established = [
        "wait",
        "crd/gadgets.example.com",
        "--for=condition=Established",
    ];
    kubectl.apply(&crd).await?;
    kubectl.ok(&established).await?;
    kubectl.apply(&gadget.to_string()).await?;
    kubectl.ok(&["scale", "gadget/one", "--replicas=3"]).await?;
    let replicas = "jsonpath={.spec.replicas}";
    let found = kubectl
        .ok(&["get", "gadget", "one", "-o", replicas])
        .await?;
    ensure!(found == "3", "{found}");
    kubectl
        .ok(&["delete", "crd", "gadgets.example.com", "--timeout=20s"])
        .await?;
    kubectl.apply(&crd).await?;
    kubectl.ok(&established).await?;
    let left = kubectl.ok(&["get", "gadgets", "-o", "name"]).await?;
    ensure!(left.is_empty(), "{left}");
    Ok(())
}
