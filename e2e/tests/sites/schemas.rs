//! One API at two sites that do not serve the same schema.

use anyhow::Result;
use hanse_e2e::fleet::line;
use hanse_e2e::site::Site;
use serde_json::{Value, json};

use super::Pair;

const LAMP: &str = "/apis/home.example.com/v1/namespaces/default/lamps/hall";
const LAMPS: &str = "apis/home.example.com/v1/lamps";

/// A kind whose spec has these properties.
fn crd(properties: Value) -> String {
    json!({
        "apiVersion": "apiextensions.k8s.io/v1", "kind": "CustomResourceDefinition",
        "metadata": {"name": "lamps.home.example.com"},
        "spec": {
            "group": "home.example.com", "scope": "Namespaced",
            "names": {
                "plural": "lamps", "singular": "lamp", "kind": "Lamp", "listKind": "LampList",
            },
            "versions": [{
                "name": "v1", "served": true, "storage": true, "subresources": {"status": {}},
                "schema": {"openAPIV3Schema": {"type": "object", "properties": {
                    "spec": {"type": "object", "properties": properties},
                    "status": {"type": "object", "x-kubernetes-preserve-unknown-fields": true},
                }}},
            }],
        },
    })
    .to_string()
}

async fn serve(site: &Site, properties: Value) -> Result<()> {
    let kubectl = site.kubectl()?;
    kubectl.apply(&crd(properties)).await?;
    let wait = [
        "wait",
        "--for=condition=Established",
        "--timeout=60s",
        "crd",
        "lamps.home.example.com",
    ];
    kubectl.ok(&wait).await.map(|_| ())
}

pub async fn a_schema_that_differs_at_one_site_names_the_field(pair: &mut Pair) -> Result<()> {
    let text = || json!({"type": "string"});
    serve(
        &pair.near,
        json!({"color": text(), "watts": {"type": "integer"}}),
    )
    .await?;
    serve(&pair.far, json!({"watts": {"type": "integer"}})).await?;
    pair.import("lamps.home.example.com", "home").await?;
    let objects = json!([{"group": "home.example.com", "resource": "lamps"}]);
    let tenant = pair
        .tenant("lights", &["home"], objects, &["near", "far"])
        .await?;
    let lamp = json!({
        "apiVersion": "home.example.com/v1", "kind": "Lamp",
        "metadata": {"name": "hall", "namespace": "default"},
        "spec": {"color": "warm", "watts": 7},
    });
    tenant.apply(&lamp.to_string()).await?;
    let fleet = &pair.fleet;
    let stands = |l: &Value| l["spec"]["watts"] == 7;
    fleet
        .below("near", "lights", (LAMPS, "hall"), stands)
        .await?;
    let told = |l: &Value| line(l).starts_with("1/2 far: Incompatible: ");
    let above = fleet.above("lights", LAMP, told).await?;
    anyhow::ensure!(line(&above).contains(".spec.color"), "{}", line(&above));
    let row = tenant.ok(&["get", "lamp", "hall", "--no-headers"]).await?;
    anyhow::ensure!(row.contains("1/2 far: Incompatible"), "{row}");
    let events = tenant.ok(&["get", "events"]).await?;
    anyhow::ensure!(events.contains("Incompatible"), "{events}");
    // Its operator brings the site up to date: the reason goes by itself.
    serve(
        &pair.far,
        json!({"color": text(), "watts": {"type": "integer"}}),
    )
    .await?;
    fleet
        .below("far", "lights", (LAMPS, "hall"), stands)
        .await?;
    fleet.above("lights", LAMP, |l| line(l) == "2/2").await?;
    Ok(())
}
