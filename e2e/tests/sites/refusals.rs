//! What a site refuses, and what somebody else holds there.

use anyhow::Result;
use hanse_e2e::fleet::{PLATFORM, line};
use serde_json::{Value, json};

use super::{MAPS, Pair, map};

const DEPLOYMENTS: &str = "apis/apps/v1/deployments";
const WEB: &str = "/apis/apps/v1/namespaces/default/deployments/web";

fn deployment(replicas: u32, extra: Value) -> String {
    let mut container = json!({"name": "web", "image": "registry.invalid/web"});
    if let (Some(to), Some(from)) = (container.as_object_mut(), extra.as_object()) {
        to.extend(from.clone());
    }
    json!({
        "apiVersion": "apps/v1", "kind": "Deployment",
        "metadata": {"name": "web", "namespace": "default"},
        "spec": {
            "replicas": replicas, "selector": {"matchLabels": {"app": "web"}},
            "template": {
                "metadata": {"labels": {"app": "web"}}, "spec": {"containers": [container]},
            },
        },
    })
    .to_string()
}

pub async fn refusals_are_told_above_and_clear_themselves(pair: &mut Pair) -> Result<()> {
    let both = json!([
        {"resource": "configmaps"}, {"group": "apps", "resource": "deployments"},
    ]);
    let tenant = pair
        .tenant("shop", &["kubernetes"], both, &["near"])
        .await?;
    let (fleet, site) = (&pair.fleet, &pair.near);
    // What the tenant's API takes and the site's own server does not.
    let more = json!({"resources": {"requests": {"cpu": "2"}, "limits": {"cpu": "1"}}});
    tenant.apply(&deployment(2, more)).await?;
    let refused = |object: &Value| line(object).contains("near: Rejected: ");
    let web = fleet.above("shop", WEB, refused).await?;
    assert!(
        line(&web).contains("cpu limit") && line(&web).len() <= 256,
        "{}",
        line(&web)
    );
    let why = fleet
        .hanse(&format!("{PLATFORM}:shop"), &["why", "deployment/web"])
        .await?;
    assert!(
        why.contains("Rejected") && why.contains("next try"),
        "{why}"
    );
    let events = tenant.ok(&["get", "events"]).await?;
    assert!(events.contains("Rejected"), "{events}");
    // It blocks nobody.
    tenant.apply(&map("beside", "1").to_string()).await?;
    fleet
        .below("near", "shop", (MAPS, "beside"), |_| true)
        .await?;
    let better = deployment(2, json!({}));
    let replaced = tenant.run(&["replace", "-f", "-"], Some(&better)).await?;
    assert_eq!(replaced.code, Some(0), "{}", replaced.stderr);
    fleet
        .below("near", "shop", (DEPLOYMENTS, "web"), |w| {
            w["spec"]["replicas"] == 2
        })
        .await?;
    fleet
        .above("shop", WEB, |w| !line(w).contains("Rejected"))
        .await?;
    // Another manager takes a field: shown with its name, not fought over.
    let cluster = fleet.cluster_of("shop").await?;
    let all = fleet.namespaces("near").await?;
    let below = &all[&(cluster, "default".to_owned())];
    let patch = r#"{"spec":{"replicas":7}}"#;
    let words = [
        "patch",
        "deployment/web",
        "-n",
        below,
        "--type=merge",
        "-p",
        patch,
    ];
    site.kubectl()?
        .ok(&[&words[..], &["--field-manager=autoscaler"]].concat())
        .await?;
    let web = fleet
        .above("shop", WEB, |w| line(w).contains("Conflict"))
        .await?;
    assert!(line(&web).contains("autoscaler"), "{}", line(&web));
    fleet
        .below("near", "shop", (DEPLOYMENTS, "web"), |w| {
            w["spec"]["replicas"] == 7
        })
        .await?;
    Ok(())
}
