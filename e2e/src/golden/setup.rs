//! Brings a hub into the state in which kcp was recorded: three workspaces, an export with one
//! kind, a binding that accepts its claim, and an object of each.
//!
//! The state was made with kubectl, as kcp's administrator, and so it is here: what kubectl leaves
//! in an object (annotations, managers) is part of the recordings. Start at [`kcp`].

use std::time::Duration;

use anyhow::{Result, anyhow};

use super::mask::Alias;
use crate::hub::Hub;
use crate::wait;

/// How long a step may take until the next one can be done.
const STEP_TIME_MAX: Duration = Duration::from_secs(30);

const PROVIDER: &str = include_str!("../../golden/setup/provider.yaml");
const BINDING: &str = include_str!("../../golden/setup/binding.yaml");
const WIDGET: &str = include_str!("../../golden/setup/widget.yaml");

/// Workspaces and the ids that their logical clusters had when they were recorded.
const RECORDED: [(&str, &str, &str); 4] = [
    ("root", "provider", "1o37n5p0chvpnjoy"),
    ("root", "consumer", "wu4f760it998zuua"),
    ("root", "consumer2", "comvstj97u2e6i24"),
    ("root:consumer2", "fresh", "2tq3qd0cl07stfyo"),
];

/// Makes the recorded state in a fresh hub; answers the ids that have other names here.
pub async fn kcp(hub: &Hub) -> Result<Vec<Alias>> {
    let mut aliases = Vec::new();
    for (parent, name, recorded) in RECORDED {
        aliases.push(Alias {
            recorded: recorded.to_owned(),
            actual: workspace(hub, parent, name).await?,
        });
        match name {
            "provider" => {
                hub.kubectl("root:provider")?.apply(PROVIDER).await?;
            }
            "consumer2" => bind(hub).await?,
            _ => {}
        }
    }
    let kubectl = hub.kubectl("root:consumer2")?;
    wait::until("widgets served", STEP_TIME_MAX, async || {
        kubectl.apply(WIDGET).await
    })
    .await?;
    let claimed = [
        "create",
        "configmap",
        "claimed",
        "--from-literal=a=b",
        "--namespace=default",
    ];
    kubectl.ok(&claimed).await?;
    Ok(aliases)
}

/// `kubectl apply` of a workspace that names no type, and the id of its logical cluster.
async fn workspace(hub: &Hub, parent: &str, name: &str) -> Result<String> {
    let text = format!(
        "apiVersion: tenancy.kcp.io/v1alpha1\nkind: Workspace\nmetadata: {{name: {name}}}\n"
    );
    hub.kubectl(parent)?.apply(&text).await?;
    let client = hub.cluster(parent)?;
    let path = format!("/apis/tenancy.kcp.io/v1alpha1/workspaces/{name}");
    wait::until("workspace ready", STEP_TIME_MAX, async || {
        let workspace = client.get(&path).await?.success()?;
        match (
            workspace["spec"]["cluster"].as_str(),
            workspace["status"]["phase"].as_str(),
        ) {
            (Some(cluster), Some("Ready")) => Ok(cluster.to_owned()),
            _ => Err(anyhow!("{}", workspace["status"])),
        }
    })
    .await
}

async fn bind(hub: &Hub) -> Result<()> {
    hub.kubectl("root:consumer2")?.apply(BINDING).await?;
    let client = hub.cluster("root:consumer2")?;
    let path = "/apis/apis.kcp.io/v1alpha2/apibindings/widgets";
    wait::until("binding bound", STEP_TIME_MAX, async || {
        let binding = client.get(path).await?.success()?;
        let bound = binding["status"]["phase"] == "Bound";
        if bound {
            Ok(())
        } else {
            Err(anyhow!("{}", binding["status"]))
        }
    })
    .await
}
