//! Placement as controllers: what a Site says reaches the decision, a decision stays, an
//! expression that fails is told.

use hanse_apis::sites::{Inventory, names};
use serde_json::{Value, json};

use super::{HOME, World, everything, play};
use crate::bootstrap;

impl World {
    /// The decisions of a Placement, as `SITE REASON`.
    pub(super) fn reasons(&self, name: &str) -> Vec<String> {
        let placement = self
            .get(&self.sites.ids.placements, HOME, "", name)
            .unwrap();
        let value = placement.value();
        let rows = value["status"]["sites"].as_array().unwrap().iter();
        rows.map(|r| format!("{} {}", r["site"], r["reason"]).replace('"', ""))
            .collect()
    }

    pub(super) fn condition(&self, name: &str, kind: &str) -> Value {
        let placement = self
            .get(&self.sites.ids.placements, HOME, "", name)
            .unwrap();
        let value = placement.value();
        let list = value["status"]["conditions"].as_array().unwrap().clone();
        list.into_iter().find(|c| c["type"] == kind).unwrap()
    }

    /// Plays the syncer: tells what the cluster has.
    pub(super) async fn tell(&self, inbox: &str, inventory: &Inventory) {
        let maps = &self.sites.tenancy.view().resources().config_maps;
        let map = self.get(maps, inbox, "default", names::INVENTORY).unwrap();
        let said = serde_json::to_string(inventory).unwrap();
        self.change(&map, |m| m["data"] = json!({names::INVENTORY_KEY: said}))
            .await;
        self.wait(1).await;
    }

    pub(super) async fn edit(&self, site: &str, change: impl FnOnce(&mut Value)) {
        let object = self.get(&self.sites.ids.sites, HOME, "", site).unwrap();
        self.change(&object, change).await;
        self.wait(1).await;
    }
}

#[test]
fn what_a_site_says_reaches_the_decision() {
    play(|w| async move {
        let a = w.site("a", json!({"facts": {"jurisdiction": "de"}})).await;
        w.site("b", json!({"facts": {"jurisdiction": "fr"}})).await;
        let sites = json!({"facts": {"jurisdictions": ["de"]}});
        w.placement(
            "p",
            json!({"objects": everything(), "sites": sites, "capacity": {"cpu": "2"}}),
        )
        .await;
        assert_eq!(w.reasons("p"), ["a CapacityUnknown", "b FactDiffers"]);
        assert_eq!(w.condition("p", "Placed")["reason"], "NoneFits");
        let mut inventory = Inventory {
            nodes: 1,
            free: [("cpu".to_owned(), "4".to_owned())].into(),
            resources: vec!["pods/v1".into()],
            ..Inventory::default()
        };
        w.tell(&a, &inventory).await;
        assert_eq!(w.reasons("p"), ["a KindNotServed", "b FactDiffers"]);
        inventory.resources.push("deployments.apps/v1".into());
        w.tell(&a, &inventory).await;
        assert_eq!(w.reasons("p"), ["a Fits", "b FactDiffers"]);
        // What keeps new work off does not move what is there; what evicts does.
        inventory.free.insert("cpu".into(), "1".into());
        w.tell(&a, &inventory).await;
        let taint = |effect: &str| json!([{"key": "repair", "effect": effect}]);
        w.edit("a", |s| s["spec"]["taints"] = taint("NoSchedule"))
            .await;
        w.edit("a", |s| s["spec"]["unschedulable"] = json!(true))
            .await;
        assert_eq!(w.reasons("p"), ["a Fits", "b FactDiffers"]);
        w.edit("a", |s| s["spec"]["taints"] = taint("NoExecute"))
            .await;
        assert_eq!(w.reasons("p"), ["a Tainted", "b FactDiffers"]);
    });
}

#[test]
fn replicas_are_divided_by_weights() {
    play(|w| async move {
        let inboxes = [w.site("a", json!({})).await, w.site("b", json!({})).await];
        let weights = json!([{"sites": {"names": ["b"]}, "weight": 3},
                             {"sites": {}, "weight": 1}]);
        let spread = json!({"mode": "Divide", "divide": {"by": "Weights", "weights": weights}});
        w.placement("p", json!({"objects": everything(), "spread": spread}))
            .await;
        w.deployment("web", 8).await;
        let replicas =
            inboxes.map(|i| w.manifests(&i)[0]["spec"]["object"]["spec"]["replicas"].clone());
        assert_eq!(replicas, [json!(2), json!(6)]);
        let placement = w.get(&w.sites.ids.placements, HOME, "", "p").unwrap();
        assert_eq!(placement.value()["status"]["sites"][1]["weight"], 3);
    });
}

#[test]
fn an_expression_that_fails_is_told_with_what_made_it_fail() {
    play(|w| async move {
        let a = w.site("a", json!({})).await;
        let objects = json!([{
            "group": "apps", "resource": "deployments",
            "expression": "object.spec.template.tier == 'front'",
        }]);
        w.placement("p", json!({"objects": objects})).await;
        let of = w.deployment("web", 1).await;
        w.wait(2).await;
        let condition = w.condition("p", "ObjectsSelected");
        assert_eq!(
            (
                &condition["status"],
                &condition["reason"],
                &condition["message"]
            ),
            (
                &json!("False"),
                &json!("ExpressionFailed"),
                &json!(
                    "spec.objects[0].expression: no such key: template (deployments default/web)"
                )
            )
        );
        assert!(w.manifests(&a).is_empty());
        let web = w.get(&of, HOME, "default", "web").unwrap();
        w.change(&web, |o| o["spec"]["template"] = json!({"tier": "front"}))
            .await;
        w.wait(2).await;
        assert_eq!(w.condition("p", "ObjectsSelected")["status"], "True");
        assert_eq!(w.manifests(&a).len(), 1);
    });
}

#[test]
fn an_older_store_gets_the_schemas_of_a_newer_server() {
    play(|w| async move {
        let view = w.sites.tenancy.view();
        let of = view.resources();
        let export = || {
            view.get(&of.api_exports, HOME, "", "sites.hanse.dev")
                .unwrap()
        };
        let today = export().value();
        let roles = || {
            view.get(&of.cluster_roles, HOME, "", "hanse:sites:bind")
                .unwrap()
        };
        w.change(&export(), |e| {
            let list = e["spec"]["resources"].as_array_mut().unwrap();
            list.pop();
            list[0]["schema"] = json!("v250101.sites.sites.hanse.dev");
        })
        .await;
        w.change(&roles(), |r| r["rules"] = json!([])).await;
        let older = export();
        bootstrap(&w.sites.tenancy).await.unwrap();
        assert_eq!(export().value()["spec"], today["spec"]);
        let generation = |e: &Value| e["metadata"]["generation"].as_i64().unwrap();
        assert_eq!(
            generation(&export().value()),
            generation(&older.value()) + 1
        );
        assert!(!roles().value()["rules"].as_array().unwrap().is_empty());
        for entry in today["spec"]["resources"].as_array().unwrap() {
            let name = entry["schema"].as_str().unwrap();
            assert!(view.get(&of.api_resource_schemas, HOME, "", name).is_some());
        }
        // A second start finds everything right.
        let version = view.hub().version();
        bootstrap(&w.sites.tenancy).await.unwrap();
        assert_eq!(view.hub().version(), version);
    });
}

#[test]
fn a_placement_reaches_down_until_a_nearer_one_takes_over() {
    play(|w| async move {
        let inboxes = [w.site("a", json!({})).await, w.site("b", json!({})).await];
        let kid = "2child";
        let of = w.sites.tenancy.view().resources().logical_clusters.clone();
        let cluster = json!({
            "apiVersion": "core.kcp.io/v1alpha1", "kind": "LogicalCluster",
            "metadata": {"name": "cluster", "annotations": {"kcp.io/path": "root:kid"}},
            "spec": {},
        });
        w.create(kid, &of, cluster).await;
        let placement = |site: &str, scope: &str| {
            let master = super::MASTER;
            json!({
                "apiVersion": "sites.hanse.dev/v1alpha1", "kind": "Placement",
                "metadata": {"name": "p", "annotations": {names::AUTHOR_ANNOTATION: master}},
                "spec": {"scope": scope, "objects": everything(), "sites": {"names": [site]}},
            })
        };
        let placements = w.sites.ids.placements.clone();
        w.create(HOME, &placements, placement("a", "Subtree")).await;
        w.wait(1).await;
        let deployments = hanse_cache::ResourceId::new("apps", "deployments", "identity");
        let web = json!({
            "apiVersion": "apps/v1", "kind": "Deployment",
            "metadata": {"name": "web", "namespace": "default", "generation": 1},
            "spec": {"replicas": 1},
        });
        w.create(kid, &deployments, web).await;
        w.wait(3).await;
        let there = || {
            let going = |m: &Value| m["metadata"].get("deletionTimestamp").is_some();
            inboxes
                .each_ref()
                .map(|i| w.manifests(i).iter().filter(|m| !going(m)).count())
        };
        assert_eq!(there(), [1, 0]);
        assert_eq!(
            w.manifests(&inboxes[0])[0]["spec"]["source"]["cluster"],
            kid
        );
        let projection = &w.list(&w.sites.ids.projections, kid)[0];
        assert_eq!(projection["spec"]["placementCluster"], HOME);
        let objects = || {
            let p = w.get(&placements, HOME, "", "p").unwrap().value();
            p["status"]["objects"].clone()
        };
        assert_eq!(objects(), 1);
        assert!(w.list(&placements, kid).is_empty(), "nothing is copied");
        // The workspace's own Placement comes first; without it the one above is back.
        w.create(kid, &placements, placement("b", "Workspace"))
            .await;
        w.wait(3).await;
        w.sync(&inboxes[0], 0).await;
        assert_eq!(there(), [0, 1]);
        let own = w.get(&placements, kid, "", "p").unwrap();
        w.delete(&own).await;
        w.wait(3).await;
        w.sync(&inboxes[1], 0).await;
        assert_eq!(there(), [1, 0]);
        // One that does not reach down is for its own workspace alone.
        let above = w.get(&placements, HOME, "", "p").unwrap();
        w.change(&above, |p| p["spec"]["scope"] = json!("Workspace"))
            .await;
        w.wait(3).await;
        assert_eq!(there(), [0, 0]);
    });
}
