//! A plan and what then happens are equal; a plan tells nobody what he may not see.

use hanse_apis::sites::{PlanStatus, names};
use hanse_auth::UserInfo;
use hanse_cache::{ClusterName, ObjectKey, ResourceId};
use hanse_projection::dress;
use serde_json::{Value, json};

use super::{HOME, World, everything, play};
use crate::Question;

fn root() -> UserInfo {
    UserInfo {
        name: "root".into(),
        groups: vec!["system:masters".into()],
        ..UserInfo::default()
    }
}

impl World {
    fn key(&self, of: &ResourceId, namespace: &str, name: &str) -> ObjectKey {
        ObjectKey::new(of, &ClusterName::from(HOME), namespace, name)
    }

    fn plan(
        &self,
        user: &UserInfo,
        supposed: &[(ObjectKey, Value)],
        without: &[&str],
    ) -> PlanStatus {
        let without: Vec<String> = without.iter().map(|s| (*s).to_owned()).collect();
        let question = Question {
            cluster: &ClusterName::from(HOME),
            user,
            supposed,
            without: &without,
        };
        self.sites.plan(&question).unwrap()
    }

    /// What stands in the inboxes, as the sites would get it, by site and name.
    fn standing(&self, sites: &[String]) -> Vec<(String, Value)> {
        let mut out = Vec::new();
        for name in sites {
            let site = self.get(&self.sites.ids.sites, HOME, "", name).unwrap();
            let inbox = site.text(&["status", "cluster"]).unwrap().into_owned();
            for m in self.manifests(&inbox) {
                if m["metadata"].get("deletionTimestamp").is_some() {
                    continue;
                }
                let spec: hanse_apis::sites::ManifestSpec =
                    hanse_apis::sites::read(&m, "spec").unwrap();
                let body = dress(&spec.object, &spec.source, &spec.target, &inbox);
                out.push((name.clone(), body));
            }
        }
        out
    }
}

/// Numbers of a seed (xorshift), so that every round can be told again.
struct Dice(u64);

impl Dice {
    fn roll(&mut self, of: u64) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0 % of
    }
}

fn random_site(dice: &mut Dice) -> Value {
    let taints = match dice.roll(4) {
        0 => json!([{"key": "t", "effect": "NoSchedule"}]),
        _ => json!([]),
    };
    json!({
        "unschedulable": dice.roll(5) == 0, "taints": taints,
        "facts": {"region": format!("r{}", dice.roll(3)), "jurisdiction": format!("j{}", dice.roll(2))},
    })
}

fn random_placement(dice: &mut Dice) -> Value {
    let mut spread = json!({"mode": (["All", "Divide"][dice.roll(2) as usize])});
    if dice.roll(2) == 0 {
        spread["count"] = json!(1 + dice.roll(3));
    }
    if dice.roll(3) == 0 {
        spread["constraints"] = json!([{"by": "region", "minGroups": 1 + dice.roll(2)}]);
    }
    let mut spec = json!({"objects": everything(), "spread": spread});
    if dice.roll(2) == 0 {
        spec["overrides"] = json!([{
            "sites": {"facts": {"regions": ["r1"]}},
            "fields": [{"path": "/spec/at", "expression": "site.name"}],
        }]);
    }
    if dice.roll(2) == 0 {
        let purge = ["Immediate", "Graceful", "Never"][dice.roll(3) as usize];
        spec["failover"] = json!({"purge": purge});
    }
    if dice.roll(4) == 0 {
        spec["tolerations"] = json!([{"operator": "Exists"}]);
    }
    spec
}

/// One round: a fleet, a Placement and an object; then a change is planned and made.
async fn round(w: &World, seed: u64) {
    let mut dice = Dice(seed * 7919 + 1);
    let sites: Vec<String> = (0..2 + dice.roll(4)).map(|i| format!("s{i}")).collect();
    for site in &sites {
        let spec = random_site(&mut dice);
        w.site(site, spec).await;
    }
    w.placement("p", random_placement(&mut dice)).await;
    let of = w.deployment("web", 5).await;
    w.wait(3).await;
    let ids = &w.sites.ids;
    let placement = w.get(&ids.placements, HOME, "", "p").unwrap();
    let web = w.get(&of, HOME, "default", "web").unwrap();
    let (mut p, mut o) = (placement.value(), web.value());
    let change = dice.roll(4);
    match change {
        0 => p["spec"] = random_placement(&mut dice),
        1 => o["spec"]["replicas"] = json!(2 + dice.roll(9)),
        _ => {}
    }
    let supposed = match change {
        0 => vec![(w.key(&ids.placements, "", "p"), p.clone())],
        1 => vec![(w.key(&of, "default", "web"), o.clone())],
        2 => {
            let site = w.get(&ids.sites, HOME, "", &sites[0]).unwrap();
            let mut value = site.value();
            value["spec"] = random_site(&mut dice);
            vec![(w.key(&ids.sites, "", &sites[0]), value)]
        }
        _ => Vec::new(),
    };
    let gone: Vec<&str> = if change == 3 {
        vec![&sites[0]]
    } else {
        Vec::new()
    };
    let before = w.sites.tenancy.view().hub().version();
    let plan = w.plan(&root(), &supposed, &gone);
    assert_eq!(
        w.sites.tenancy.view().hub().version(),
        before,
        "nothing is written"
    );
    let mut wanted = w.standing(&sites);
    for object in &plan.objects {
        for row in &object.sites {
            wanted.retain(|(site, _)| *site != row.site || row.action == "Keep");
            match row.action.as_str() {
                "Create" | "Update" => wanted.push((row.site.clone(), row.object.clone())),
                "DeleteLater" | "Leave" => {
                    let there = w.standing(std::slice::from_ref(&row.site));
                    wanted.extend(there);
                }
                _ => {}
            }
        }
    }
    wanted.sort_by(|a, b| a.0.cmp(&b.0));
    match change {
        0 => w.change(&placement, |v| *v = p).await,
        1 => w.change(&web, |v| *v = o).await,
        2 => {
            let site = w.get(&ids.sites, HOME, "", &sites[0]).unwrap();
            w.change(&site, |v| v["spec"] = supposed[0].1["spec"].clone())
                .await;
        }
        _ => {
            let site = w.get(&ids.sites, HOME, "", &sites[0]).unwrap();
            // It is not let go while the controllers are looked at.
            w.change(&site, |v| {
                v["metadata"]["finalizers"] = json!(["hold"]);
                v["metadata"]["deletionTimestamp"] = json!("2026-11-21T10:00:00Z");
            })
            .await;
        }
    }
    w.wait(3).await;
    let standing = match change {
        // What a Site that goes leaves behind in its inbox is gone with it.
        3 => w.standing(&sites[1..]),
        _ => w.standing(&sites),
    };
    if change == 3 {
        wanted.retain(|(site, _)| *site != sites[0]);
    }
    assert_eq!(standing, wanted, "seed {seed}, change {change}: {plan:?}");
    let status = w.get(&ids.placements, HOME, "", "p").unwrap().value()["status"]["sites"].clone();
    for row in plan.placements.iter().flat_map(|p| &p.sites) {
        let list = status.as_array().unwrap().iter();
        let mut there = list.filter(|d| d["site"] == *row.site);
        let there = there
            .next()
            .unwrap_or_else(|| panic!("seed {seed}: {row:?}"));
        assert_eq!(*there, json!(row), "seed {seed}, change {change}");
    }
}

#[test]
fn a_plan_and_what_then_happens_are_equal() {
    for seed in 1..=24 {
        play(move |w| async move { round(&w, seed).await });
    }
}

#[test]
fn a_plan_says_what_a_file_and_a_failure_would_change() {
    play(|w| async move {
        w.site("a", json!({})).await;
        w.site("b", json!({})).await;
        let of = w.deployment("web", 4).await;
        let placements = w.sites.ids.placements.clone();
        let file = json!({
            "apiVersion": "sites.hanse.dev/v1alpha1", "kind": "Placement",
            "metadata": {"name": "p"},
            "spec": {"objects": everything(), "spread": {"mode": "Divide"}},
        });
        let supposed = [(w.key(&placements, "", "p"), file.clone())];
        let plan = w.plan(&root(), &supposed, &[]);
        let rows = &plan.objects[0].sites;
        let told: Vec<_> = rows
            .iter()
            .map(|r| (r.action.as_str(), r.replicas))
            .collect();
        assert_eq!(told, [("Create", Some(2)), ("Create", Some(2))]);
        assert_eq!(rows[0].object["spec"]["replicas"], 2);
        assert_eq!(plan.placements[0].sites.len(), 2);
        let plan = w.plan(&root(), &supposed, &["a"]);
        assert_eq!(plan.objects[0].sites.len(), 1);
        assert_eq!(plan.objects[0].sites[0].replicas, Some(4));
        // One who may use no Site would place nothing, whoever the file says he is.
        let nobody = UserInfo {
            name: "nobody".into(),
            ..UserInfo::default()
        };
        let mut forged = file;
        forged["metadata"]["annotations"] =
            json!({names::AUTHOR_ANNOTATION: r#"{"username":"root","groups":["system:masters"]}"#});
        let supposed = [(w.key(&placements, "", "p"), forged)];
        let plan = w.plan(&nobody, &supposed, &[]);
        assert!(
            plan.objects.is_empty() && plan.placements.is_empty(),
            "{plan:?}"
        );
        let odd = [(
            w.key(&of, "default", "web"),
            json!({"metadata": {"labels": "x"}}),
        )];
        let question = Question {
            cluster: &ClusterName::from(HOME),
            user: &root(),
            supposed: &odd,
            without: &[],
        };
        assert!(w.sites.plan(&question).is_err());
    });
}
