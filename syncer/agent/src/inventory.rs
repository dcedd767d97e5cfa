//! What the cluster has and serves, told to the hub when it differs: placement asks for it.
//!
//! Start at [`run`]. Invariant: looking costs the hub nothing; it hears only of what is new, or of
//! amounts that moved by a tenth of the whole. What the syncer may not look at is left out, which
//! placement takes for not known.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use hanse_apis::sites::quantity::{text, thousandths};
use hanse_apis::sites::{Inventory, names};
use hanse_client::discovery::discover;
use hanse_client::{Api, Error, List, PatchKind, Resource};
use hanse_projection::content_hash;
use serde_json::{Value, json};

use crate::agent::Shared;
use crate::limits::{INVENTORY_ITEMS, INVENTORY_PAUSE, INVENTORY_RETRY, PAGE_OBJECTS, SERVED_LOOK};

/// Label of a Node that names its zone.
const ZONE_LABEL: &str = "topology.kubernetes.io/zone";
/// What of a Node's capacity is counted.
const COUNTED: &[&str] = &["cpu", "memory", "pods"];

/// Looks and tells until the agent stops.
pub async fn run(shared: Arc<Shared>) {
    let mut told = Inventory::default();
    loop {
        // Asked first, so that what comes while we look is not missed.
        let before = served(&shared.site).await;
        let found = look(&shared.site).await;
        let mut pause = INVENTORY_PAUSE;
        if differs(&told, &found) {
            match tell(&shared.hub, &found).await {
                Ok(()) => told = found,
                Err(error) => {
                    tracing::debug!(%error, "the inventory did not reach the hub");
                    pause = INVENTORY_RETRY;
                }
            }
        }
        tokio::select! {
            biased;
            () = shared.stop.wait() => return,
            () = rest(&shared, pause, before) => {}
        }
    }
}

/// Waits until it is time to look again: after the pause, or as soon as other kinds are served.
async fn rest(shared: &Shared, pause: Duration, before: Option<String>) {
    let end = shared.seams.clock.monotonic() + pause;
    loop {
        let left = end.saturating_sub(shared.seams.clock.monotonic());
        if left.is_zero() {
            return;
        }
        shared.seams.clock.sleep(left.min(SERVED_LOOK)).await;
        let now = served(&shared.site).await;
        if now.is_some() && now != before {
            return;
        }
    }
}

/// What tells apart two states of what a server serves, for little: the index of its schemas names
/// each group and version with a hash.
async fn served(site: &Api) -> Option<String> {
    let index = site.path("/openapi/v3").await.ok()?;
    Some(content_hash(&index))
}

/// Whether the hub should hear of it.
fn differs(told: &Inventory, found: &Inventory) -> bool {
    let rough = |i: &Inventory| Inventory {
        allocatable: BTreeMap::new(),
        free: BTreeMap::new(),
        ..i.clone()
    };
    let amount = |of: &BTreeMap<String, String>, name: &str| {
        of.get(name).map(|a| thousandths(a).unwrap_or_default())
    };
    let moved = |name: &str| {
        let whole = amount(&found.allocatable, name).unwrap_or_default();
        let pair = (amount(&told.free, name), amount(&found.free, name));
        let (Some(was), Some(is)) = pair else {
            return pair.0 != pair.1;
        };
        was.abs_diff(is) > whole / 10
    };
    rough(told) != rough(found)
        || told.allocatable != found.allocatable
        || COUNTED.iter().any(|name| moved(name))
}

async fn tell(hub: &Api, found: &Inventory) -> Result<(), Error> {
    let said = serde_json::to_string(found).map_err(|e| Error::Malformed(e.to_string()))?;
    let patch = json!({"data": {names::INVENTORY_KEY: said}});
    let maps = Resource::new("", "v1", "configmaps");
    let at = (names::LEASE_NAMESPACE, names::INVENTORY, "");
    hub.patch(&maps, at, PatchKind::Merge, &patch).await?;
    Ok(())
}

/// Everything that can be seen.
async fn look(site: &Api) -> Inventory {
    let mut found = Inventory {
        resources: resources(site).await,
        storage_classes: classes(site, "storage.k8s.io", "storageclasses").await,
        ingress_classes: classes(site, "networking.k8s.io", "ingressclasses").await,
        ..Inventory::default()
    };
    let Some(nodes) = nodes(site).await else {
        return found;
    };
    let zones = nodes.zones.into_iter().take(INVENTORY_ITEMS);
    found.zones = zones.collect();
    found.nodes = nodes.count;
    let amounts = |of: &BTreeMap<&str, u64>| -> BTreeMap<String, String> {
        of.iter()
            .map(|(k, v)| ((*k).to_owned(), text(*v)))
            .collect()
    };
    found.allocatable = amounts(&nodes.allocatable);
    if let Some(asked) = asked(site).await {
        let mut free = nodes.allocatable;
        for (name, amount) in &mut free {
            *amount = amount.saturating_sub(asked.get(name).copied().unwrap_or_default());
        }
        found.free = amounts(&free);
    }
    found
}

/// What is served and can be applied. Nothing when a part of it cannot be read now: a kind that is
/// merely not seen is never taken for one that is not there.
async fn resources(site: &Api) -> Vec<String> {
    let Ok(served) = discover(site).await else {
        return Vec::new();
    };
    let applicable = served
        .iter()
        .filter(|s| s.verbs.iter().any(|verb| verb == "patch"));
    let names: BTreeSet<String> = applicable
        .map(|s| match s.resource.group.as_str() {
            "" => format!("{}/{}", s.resource.plural, s.resource.version),
            group => format!("{}.{group}/{}", s.resource.plural, s.resource.version),
        })
        .collect();
    names.into_iter().take(INVENTORY_ITEMS).collect()
}

async fn classes(site: &Api, group: &str, plural: &str) -> Vec<String> {
    let mut names = BTreeSet::new();
    let of = Resource::new(group, "v1", plural);
    let seen = pages(site, &of, |class| {
        let name = class["metadata"]["name"].as_str().unwrap_or_default();
        names.insert(name.to_owned());
    });
    match seen.await {
        Ok(()) => names.into_iter().take(INVENTORY_ITEMS).collect(),
        Err(_) => Vec::new(),
    }
}

#[derive(Default)]
struct Nodes {
    count: i64,
    zones: BTreeSet<String>,
    allocatable: BTreeMap<&'static str, u64>,
}

/// The Nodes that are ready and take Pods.
async fn nodes(site: &Api) -> Option<Nodes> {
    let mut out = Nodes::default();
    let of = Resource::new("", "v1", "nodes");
    let seen = pages(site, &of, |node| {
        let conditions = node["status"]["conditions"].as_array();
        let ready = conditions
            .into_iter()
            .flatten()
            .any(|c| c["type"] == "Ready" && c["status"] == "True");
        if !ready || node["spec"]["unschedulable"] == true {
            return;
        }
        out.count += 1;
        if let Some(zone) = node["metadata"]["labels"][ZONE_LABEL].as_str() {
            out.zones.insert(zone.to_owned());
        }
        add(&mut out.allocatable, &node["status"]["allocatable"]);
    });
    seen.await.ok()?;
    Some(out)
}

/// What the Pods ask for that have not ended.
async fn asked(site: &Api) -> Option<BTreeMap<&'static str, u64>> {
    let mut out = BTreeMap::new();
    let of = Resource::new("", "v1", "pods");
    let seen = pages(site, &of, |pod| {
        let phase = pod["status"]["phase"].as_str().unwrap_or_default();
        if matches!(phase, "Succeeded" | "Failed") {
            return;
        }
        let mut containers = BTreeMap::new();
        let list = |member: &str| pod["spec"][member].as_array().into_iter().flatten();
        for container in list("containers") {
            add(&mut containers, &container["resources"]["requests"]);
        }
        // Init containers run one after the other before the rest.
        for container in list("initContainers") {
            let mut one = BTreeMap::new();
            add(&mut one, &container["resources"]["requests"]);
            for (name, amount) in one {
                let all: &mut u64 = containers.entry(name).or_default();
                *all = (*all).max(amount);
            }
        }
        containers.insert("pods", 1_000);
        for (name, amount) in containers {
            let sum: &mut u64 = out.entry(name).or_default();
            *sum = sum.saturating_add(amount);
        }
    });
    seen.await.ok()?;
    Some(out)
}

fn add(to: &mut BTreeMap<&'static str, u64>, amounts: &Value) {
    for name in COUNTED {
        let amount = amounts[*name].as_str().and_then(thousandths);
        let sum = to.entry(name).or_default();
        *sum = sum.saturating_add(amount.unwrap_or_default());
    }
}

/// Shows every object of a list, a page in memory at a time.
async fn pages(site: &Api, of: &Resource, mut show: impl FnMut(&Value)) -> Result<(), Error> {
    let list = List {
        page: PAGE_OBJECTS,
        ..List::default()
    };
    let mut token = String::new();
    loop {
        let page = site.page(of, &list, &token).await?;
        page["items"]
            .as_array()
            .into_iter()
            .flatten()
            .for_each(&mut show);
        token = page["metadata"]["continue"]
            .as_str()
            .unwrap_or_default()
            .to_owned();
        if token.is_empty() {
            return Ok(());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use hanse_client::testing::Fake;
    use hanse_seams::Simulation;

    fn cluster() -> Fake {
        let site = Fake::new();
        site.serve(Resource::new("", "v1", "nodes"), "Node", false);
        site.serve(Resource::new("", "v1", "pods"), "Pod", true);
        site
    }

    #[test]
    fn capacity_is_what_ready_nodes_have_and_pods_did_not_ask_for() {
        let simulation = Simulation::new(1);
        let done = simulation.run(async {
            let site = cluster();
            let node = |name: &str, ready: &str, off: bool| {
                json!({
                    "metadata": {"name": name, "labels": {ZONE_LABEL: format!("z-{name}")}},
                    "spec": {"unschedulable": off},
                    "status": {
                        "allocatable": {"cpu": "4", "memory": "8Gi", "pods": "110"},
                        "conditions": [{"type": "Ready", "status": ready}],
                    },
                })
            };
            let nodes = Resource::new("", "v1", "nodes");
            for node in [
                node("a", "True", false),
                node("b", "False", false),
                node("c", "True", true),
            ] {
                site.api().create(&nodes, &node).await.unwrap();
            }
            let requests = |cpu: &str| json!({"resources": {"requests": {"cpu": cpu}}});
            let pod = json!({
                "metadata": {"name": "p", "namespace": "default"},
                "spec": {
                    "containers": [requests("500m"), requests("250m"), {}],
                    "initContainers": [requests("1")],
                },
            });
            let namespaces = Resource::new("", "v1", "namespaces");
            let namespace = json!({"metadata": {"name": "default"}});
            site.api().create(&namespaces, &namespace).await.unwrap();
            site.api()
                .create(&Resource::new("", "v1", "pods"), &pod)
                .await
                .unwrap();
            let found = look(&site.api()).await;
            assert_eq!((found.nodes, &*found.zones), (1, &["z-a".to_owned()][..]));
            let free = |name: &str| found.free[name].as_str();
            assert_eq!((free("cpu"), free("pods")), ("3", "109"));
            assert_eq!(found.allocatable["memory"], (8u64 << 30).to_string());
        });
        assert_eq!(done, Some(()));
    }

    #[test]
    fn small_changes_are_not_told() {
        let amounts = |cpu: &str| BTreeMap::from([("cpu".to_owned(), cpu.to_owned())]);
        let told = Inventory {
            nodes: 3,
            allocatable: amounts("100"),
            free: amounts("50"),
            ..Inventory::default()
        };
        let free = |cpu: &str| Inventory {
            free: amounts(cpu),
            ..told.clone()
        };
        assert!(!differs(&told, &told));
        assert!(!differs(&told, &free("41")));
        assert!(differs(&told, &free("39")));
        assert!(differs(
            &told,
            &Inventory {
                nodes: 4,
                ..told.clone()
            }
        ));
        let unknown = Inventory {
            free: BTreeMap::new(),
            ..told.clone()
        };
        assert!(differs(&told, &unknown));
    }
}
