//! Decisions over small and random fleets.

use hanse_apis::sites::{
    Division, FactSelector, LabelSelector, SiteSelector, SiteWeight, Sovereignty, Spread,
    SpreadConstraint, Toleration,
};
use proptest::prelude::*;

use super::*;

const NOW: i64 = 1_000_000;

fn site(name: &str) -> Candidate {
    Candidate {
        labels: BTreeMap::from([("region".into(), name[..1].into())]),
        joined: true,
        ..Candidate::named(name, &format!("uid-{name}"))
    }
}

fn status(decision: &Decision) -> PlacementStatus {
    let mut status = PlacementStatus::default();
    decision.clone().into_status(&mut status);
    status
}

fn again(spec: &PlacementSpec, sites: &[Candidate], previous: &[SiteDecision]) -> Decision {
    let previous = PlacementStatus {
        sites: previous.to_vec(),
        ..status(&first(spec, sites))
    };
    after(spec, sites, &previous, NOW)
}

fn after(
    spec: &PlacementSpec,
    sites: &[Candidate],
    previous: &PlacementStatus,
    now: i64,
) -> Decision {
    let request = Request {
        spec,
        identity: "c1/web",
        now,
        previous,
    };
    decide(&request, &sites.iter().collect::<Vec<_>>())
}

fn first(spec: &PlacementSpec, sites: &[Candidate]) -> Decision {
    after(spec, sites, &PlacementStatus::default(), NOW)
}

fn names(decision: &Decision) -> Vec<&str> {
    let chosen = decision.sites.iter().filter(|d| d.chosen);
    chosen.map(|d| d.site.as_str()).collect()
}

fn count(n: i64) -> PlacementSpec {
    PlacementSpec {
        spread: Spread {
            count: Some(n),
            ..Spread::default()
        },
        ..PlacementSpec::default()
    }
}

fn taint(key: &str, value: &str, effect: &str) -> Taint {
    Taint {
        key: key.into(),
        value: value.into(),
        effect: effect.into(),
    }
}

/// What is decided for one site, as `REASON MESSAGE`, new and held.
fn verdicts(spec: &PlacementSpec, site: &Candidate) -> [String; 2] {
    let held = [SiteDecision {
        site: site.name.clone(),
        chosen: true,
        ..SiteDecision::default()
    }];
    [&[][..], &held].map(|previous| {
        let decision = again(spec, std::slice::from_ref(site), previous);
        let row = &decision.sites[0];
        assert_eq!(row.chosen, row.reason == "Fits");
        format!("{} {}", row.reason, row.message).trim().to_owned()
    })
}

#[test]
fn every_rule_has_its_reason() {
    let berlin = Candidate {
        facts: SiteFacts {
            provider: "stackit".into(),
            jurisdiction: "de".into(),
            operator: "us".into(),
            region: "eu-north".into(),
            zones: vec!["z1".into(), "z2".into()],
            sovereignty: Sovereignty {
                level: 3,
                evidence: "report".into(),
                expires: "then".into(),
            },
        },
        resources: Some(Arc::new(Served::read(["deployments.apps/v1", "pods/v1"]))),
        free: BTreeMap::from([("cpu".into(), 1500)]),
        ..site("berlin")
    };
    let facts = |facts: FactSelector| PlacementSpec {
        sites: SiteSelector {
            facts,
            ..SiteSelector::default()
        },
        ..PlacementSpec::default()
    };
    let listed = |v: &str| vec![v.to_owned()];
    let kinds = |group: &str, resource: &str| PlacementSpec {
        objects: vec![hanse_apis::sites::ObjectSelector {
            group: group.into(),
            resource: resource.into(),
            ..Default::default()
        }],
        ..PlacementSpec::default()
    };
    let room = |resource: &str, n: &str| PlacementSpec {
        capacity: BTreeMap::from([(resource.into(), n.into())]),
        ..PlacementSpec::default()
    };
    let any = PlacementSpec::default();
    let label = PlacementSpec {
        sites: SiteSelector {
            selector: LabelSelector {
                match_labels: BTreeMap::from([("region".into(), "x".into())]),
                ..LabelSelector::default()
            },
            ..SiteSelector::default()
        },
        ..PlacementSpec::default()
    };
    let named = PlacementSpec {
        sites: SiteSelector {
            names: listed("rome"),
            ..SiteSelector::default()
        },
        ..PlacementSpec::default()
    };
    let change = |f: fn(&mut Candidate)| {
        let mut site = berlin.clone();
        f(&mut site);
        site
    };
    let level = |n| {
        facts(FactSelector {
            sovereignty_level: n,
            ..FactSelector::default()
        })
    };
    let rows: Vec<(PlacementSpec, Candidate, &str, &str)> = vec![
        (any.clone(), berlin.clone(), "Fits", "Fits"),
        (
            any.clone(),
            change(|s| s.leaving = true),
            "Leaving the site is being deleted",
            "",
        ),
        (
            named,
            berlin.clone(),
            "NotNamed spec.sites.names does not list the site",
            "",
        ),
        (
            label,
            berlin.clone(),
            "LabelsDiffer the site's labels do not match spec.sites.selector",
            "",
        ),
        (
            facts(FactSelector {
                jurisdictions: listed("fr"),
                ..FactSelector::default()
            }),
            berlin.clone(),
            "FactDiffers the site's jurisdiction is de",
            "",
        ),
        (
            facts(FactSelector {
                providers: listed("x"),
                ..FactSelector::default()
            }),
            site("rome"),
            "FactUnknown the site's provider is not known",
            "",
        ),
        (
            facts(FactSelector {
                zones: listed("z3"),
                ..FactSelector::default()
            }),
            berlin.clone(),
            "FactDiffers the site's zones are z1, z2",
            "",
        ),
        (
            facts(FactSelector {
                zones: listed("z2"),
                ..FactSelector::default()
            }),
            berlin.clone(),
            "Fits",
            "Fits",
        ),
        (level(3), berlin.clone(), "Fits", "Fits"),
        (
            level(4),
            berlin.clone(),
            "SovereigntyLow level 3 of 4 is evident",
            "",
        ),
        (
            level(3),
            change(|s| s.sovereign_until = Some(NOW)),
            "SovereigntyExpired the evidence expired at then",
            "",
        ),
        (
            any.clone(),
            change(|s| s.joined = false),
            "NotJoined no syncer has joined the site yet",
            "",
        ),
        (kinds("apps", "deployments"), berlin.clone(), "Fits", "Fits"),
        (kinds("apps", "deployments"), site("rome"), "Fits", "Fits"),
        (
            kinds("apps", "daemonsets"),
            berlin.clone(),
            "KindNotServed the site does not serve daemonsets.apps",
            "Fits",
        ),
        (
            any.clone(),
            change(|s| s.taints = vec![taint("edge", "", "NoSchedule")]),
            "Tainted the taint edge:NoSchedule is not tolerated",
            "Fits",
        ),
        (
            any.clone(),
            change(|s| s.taints = vec![taint("edge", "x", "NoExecute")]),
            "Tainted the taint edge=x:NoExecute is not tolerated",
            "",
        ),
        (
            any.clone(),
            change(|s| s.unschedulable = true),
            "Unschedulable the site takes no new work",
            "Fits",
        ),
        (room("cpu", "1500m"), berlin.clone(), "Fits", "Fits"),
        (
            room("cpu", "2"),
            berlin.clone(),
            "CapacityShort 1500m of 2 cpu are free",
            "Fits",
        ),
        (
            room("memory", "1Gi"),
            berlin.clone(),
            "CapacityUnknown how much memory is free at the site is not known",
            "Fits",
        ),
    ];
    for (spec, site, new, held) in rows {
        let held = if held.is_empty() { new } else { held };
        assert_eq!(verdicts(&spec, &site), [new, held]);
    }
}

#[test]
fn taints_are_tolerated_as_in_pods() {
    let spec = |key: &str, operator: &str, value: &str, effect: &str| PlacementSpec {
        tolerations: vec![Toleration {
            key: key.into(),
            operator: operator.into(),
            value: value.into(),
            effect: effect.into(),
        }],
        ..PlacementSpec::default()
    };
    let mut tainted = site("a");
    tainted.taints = vec![taint("edge", "far", "NoExecute")];
    for (spec, fits) in [
        (spec("edge", "Equal", "far", "NoExecute"), true),
        (spec("edge", "", "far", ""), true),
        (spec("edge", "Exists", "", ""), true),
        (spec("", "Exists", "", ""), true),
        (spec("edge", "Equal", "near", ""), false),
        (spec("edge", "Exists", "", "NoSchedule"), false),
        (spec("", "Equal", "far", ""), false),
    ] {
        assert_eq!(verdicts(&spec, &tainted)[0] == "Fits", fits, "{spec:?}");
    }
}

#[test]
fn evidence_that_ends_is_asked_again_in_time() {
    let mut spec = PlacementSpec::default();
    let mut a = site("a");
    a.facts.sovereignty.level = 1;
    a.sovereign_until = Some(NOW + 60);
    assert_eq!(first(&spec, std::slice::from_ref(&a)).again, None);
    spec.sites.facts.sovereignty_level = 1;
    let decision = first(&spec, &[a]);
    assert_eq!(
        (names(&decision), decision.again),
        (vec!["a"], Some(NOW + 60))
    );
}

#[test]
fn weights_are_of_the_first_entry_and_free_capacity_is_asked_once() {
    let selector = |names: &[&str]| SiteSelector {
        names: names.iter().map(|n| (*n).to_owned()).collect(),
        ..SiteSelector::default()
    };
    let mut spec = PlacementSpec {
        spread: Spread {
            mode: "Divide".into(),
            divide: Division {
                by: "Weights".into(),
                weights: vec![
                    SiteWeight {
                        sites: selector(&["a"]),
                        weight: 3,
                    },
                    SiteWeight {
                        sites: selector(&["a", "b"]),
                        weight: 1,
                    },
                ],
                ..Division::default()
            },
            ..Spread::default()
        },
        ..PlacementSpec::default()
    };
    let mut sites = [site("a"), site("b"), site("c")];
    let decision = first(&spec, &sites);
    let shared = |d: &Decision, spec: &PlacementSpec, n| -> Vec<i64> {
        shares(spec, &d.sites, n).into_values().collect()
    };
    assert_eq!(shared(&decision, &spec, 9), [7, 2, 0]);
    spec.spread.divide.by = "FreeCapacity".into();
    for (site, free) in sites.iter_mut().zip([6_000, 2_000, 2_000]) {
        site.free.insert("cpu".into(), free);
    }
    let decision = first(&spec, &sites);
    assert_eq!(shared(&decision, &spec, 10), [6, 2, 2]);
    sites[0].free.insert("cpu".into(), 0);
    let later = again(&spec, &sites, &decision.sites);
    assert_eq!(shared(&later, &spec, 10), [6, 2, 2]);
    spec.spread.divide = Division::default();
    let even = first(&spec, &sites);
    assert_eq!(shared(&even, &spec, 10), [4, 3, 3]);
    assert!(even.sites.iter().all(|d| d.weight.is_none()));
}

fn constraint(by: &str, least: i64, most: Option<i64>) -> SpreadConstraint {
    SpreadConstraint {
        by: by.into(),
        min_groups: least,
        max_groups: most,
    }
}

#[test]
fn a_spread_that_cannot_be_had_moves_nothing_and_says_so() {
    let located = |name: &str, region: &str| {
        let mut site = site(name);
        site.facts.region = region.into();
        site
    };
    let mut spec = count(2);
    spec.spread.constraints = vec![constraint("region", 2, None)];
    let sites = [located("a", "x"), located("b", "x"), site("c")];
    let decision = first(&spec, &sites);
    assert!(names(&decision).is_empty());
    let unmet = "region needs 2 groups, and the sites that fit have 1";
    assert_eq!(decision.unmet.as_deref(), Some(unmet));
    let reasons: Vec<&str> = decision.sites.iter().map(|d| d.reason.as_str()).collect();
    assert_eq!(reasons, ["SpreadUnmet", "SpreadUnmet", "FactUnknown"]);
    let held = [row(&sites[1], true, "Fits", String::new())];
    let kept = again(&spec, &sites, &held);
    assert_eq!(names(&kept), ["b"]);
    assert!(kept.unmet.is_some());
    // A choice that the first site of the ranking would spoil is found all the same.
    let at = |name: &str, region: &str, provider: &str| {
        let mut site = located(name, region);
        site.facts.provider = provider.into();
        site
    };
    spec.spread
        .constraints
        .push(constraint("provider", 1, Some(1)));
    for lone in ["a", "b", "c", "d"] {
        let sites = [at(lone, "x", "p"), at("m", "x", "q"), at("n", "y", "q")];
        assert_eq!(names(&first(&spec, &sites)), ["m", "n"], "{lone}");
    }
    spec.spread.count = Some(1);
    let decision = first(&spec, &[located("a", "x"), located("b", "y")]);
    assert!(decision.unmet.is_some());
}

fn failover(grace: i64, leave: bool, purge: &str) -> Option<Failover> {
    Some(Failover {
        grace_seconds: Some(grace),
        leave_jurisdiction: leave,
        purge: purge.into(),
    })
}

fn in_jurisdiction(name: &str, jurisdiction: &str) -> Candidate {
    let mut site = site(name);
    site.facts.jurisdiction = jurisdiction.into();
    site
}

#[test]
fn a_lost_site_is_replaced_after_its_grace_and_stays_replaced() {
    let mut spec = count(1);
    spec.failover = failover(60, false, "Never");
    let mut sites = [
        in_jurisdiction("a", "de"),
        in_jurisdiction("b", "de"),
        in_jurisdiction("c", "fr"),
    ];
    spec.sites.names = vec!["a".into()];
    let only = status(&first(&spec, &sites));
    assert_eq!(only.jurisdictions, ["de"]);
    spec.sites.names.clear();
    // The same decision under the rules that let others in.
    let mut before = only.clone();
    before.rules = first(&spec, &sites).rules;
    sites[0].lost_since = Some(NOW);
    let waiting = after(&spec, &sites, &before, NOW + 59);
    assert_eq!(
        (names(&waiting), waiting.again),
        (vec!["a"], Some(NOW + 60))
    );
    let moved = after(&spec, &sites, &before, NOW + 60);
    assert_eq!(names(&moved), ["b"]);
    let told = |d: &Decision| -> Vec<String> {
        d.sites
            .iter()
            .map(|d| format!("{} {}", d.reason, d.purge))
            .collect()
    };
    assert_eq!(
        told(&moved),
        ["Lost Never", "Fits ", "OutsideJurisdiction "]
    );
    // Nobody in the jurisdiction is left: nobody is chosen, however long it lasts.
    sites[1].lost_since = Some(NOW + 60);
    let nobody = after(&spec, &sites, &status(&moved), NOW + 120);
    assert!(names(&nobody).is_empty());
    assert!(names(&after(&spec, &sites, &status(&nobody), NOW + 999)).is_empty());
    // It comes back: whoever took over stays.
    sites[0].lost_since = None;
    sites[1].lost_since = None;
    let back = after(&spec, &sites, &status(&moved), NOW + 130);
    assert_eq!(names(&back), ["b"]);
    assert_eq!(told(&back)[0], "Enough Never");
    // A change of the rules forgets it.
    spec.spread.count = Some(2);
    let more = after(&spec, &sites, &status(&back), NOW + 140);
    assert!(names(&more).contains(&"b") && more.sites.iter().all(|d| d.purge.is_empty()));
}

#[test]
fn a_request_moves_once_and_a_policy_always() {
    let sites: Vec<Candidate> = ["a", "b", "c", "d"].map(site).into();
    let mut spec = count(2);
    let best = first(&spec, &sites);
    let other: Vec<SiteDecision> = best
        .sites
        .iter()
        .map(|d| SiteDecision {
            chosen: !d.chosen,
            ..d.clone()
        })
        .collect();
    let held = again(&spec, &sites, &other);
    assert!(names(&held).iter().all(|n| !names(&best).contains(n)));
    spec.rebalance.requested = "2026-11-21T10:00:00Z".into();
    let moved = after(&spec, &sites, &status(&held), NOW);
    assert_eq!(names(&moved), names(&best));
    let left = moved.sites.iter().filter(|d| !d.chosen);
    assert!(left.clone().count() == 2 && left.clone().all(|d| d.purge == "Graceful"));
    assert_eq!(after(&spec, &sites, &status(&moved), NOW), moved);
    // The same request again moves nothing.
    let done = PlacementStatus {
        sites: other.clone(),
        ..status(&moved)
    };
    assert_eq!(names(&after(&spec, &sites, &done, NOW)), names(&held));
    spec.rebalance.policy = "Always".into();
    assert_eq!(names(&after(&spec, &sites, &done, NOW)), names(&best));
}

/// A site out of two numbers: facts, labels, taints and what else decides.
fn random_site(index: usize, bits: u64) -> Candidate {
    let pick = |shift: u32, of: u64| (bits >> shift) % of;
    let mut site = site(&format!("s{index:03}"));
    site.facts.region = format!("r{}", pick(0, 4));
    site.facts.provider = format!("p{}", pick(4, 3));
    site.facts.jurisdiction = format!("j{}", pick(8, 3));
    site.facts.zones = vec![format!("z{}", pick(12, 5))];
    site.unschedulable = pick(16, 9) == 0;
    site.joined = pick(20, 9) != 0;
    site.leaving = pick(24, 19) == 0;
    if pick(28, 9) == 0 {
        let effect = ["NoSchedule", "NoExecute"][pick(32, 2) as usize];
        site.taints = vec![taint("t", "", effect)];
    }
    site.free.insert("cpu".into(), pick(36, 64) * 1_000);
    site
}

prop_compose! {
    fn fleet()(bits in proptest::collection::vec(any::<u64>(), 1..24)) -> Vec<Candidate> {
        bits.iter().enumerate().map(|(i, b)| random_site(i, *b)).collect()
    }
}

prop_compose! {
    fn wish()(
        n in proptest::option::of(1i64..7),
        mode in 0usize..4,
        by in proptest::option::of((0usize..4, 1i64..4, proptest::option::of(0i64..3))),
        room in proptest::option::of(0i64..40),
    ) -> PlacementSpec {
        let facts = ["region", "provider", "jurisdiction", "zone"];
        let least = by.map(|(fact, least, most)| {
            constraint(facts[fact], least, most.map(|m| least + m))
        });
        PlacementSpec {
            capacity: room.map(|r| ("cpu".to_owned(), r.to_string())).into_iter().collect(),
            spread: Spread {
                mode: if mode == 0 { "All".into() } else { "Divide".into() },
                count: n,
                divide: Division {
                    by: ["", "", "Weights", "FreeCapacity"][mode].into(),
                    weights: vec![SiteWeight {
                        sites: SiteSelector {
                            names: vec!["s000".into(), "s002".into()],
                            ..SiteSelector::default()
                        },
                        weight: 3,
                    }],
                    ..Division::default()
                },
                constraints: least.into_iter().collect(),
            },
            ..PlacementSpec::default()
        }
    }
}

fn groups(decision: &Decision, sites: &[Candidate], by: &str) -> usize {
    let chosen = sites
        .iter()
        .filter(|s| names(decision).contains(&s.name.as_str()));
    let values: BTreeSet<&str> = chosen.flat_map(|s| select::values(by, s)).collect();
    values.len()
}

/// Whether one constraint of one value for each site can be had, by counting.
fn can_be_had(spec: &PlacementSpec, sites: &[Candidate]) -> bool {
    let fits: Vec<Candidate> = sites
        .iter()
        .filter(|s| rejection(spec, s, NOW).is_none())
        .cloned()
        .collect();
    let limit = spec.spread.count.map_or(usize::MAX, |n| n as usize);
    spec.spread.constraints.iter().all(|c| {
        let values: BTreeSet<&str> = fits.iter().flat_map(|s| select::values(&c.by, s)).collect();
        values.len().min(limit) >= c.least()
    })
}

proptest! {
    #[test]
    fn decisions_are_the_same_in_any_order_and_stand(
        sites in fleet(), spec in wish(), turn in any::<prop::sample::Index>(),
    ) {
        let decision = first(&spec, &sites);
        let mut turned = sites.clone();
        turned.rotate_left(turn.index(sites.len()));
        prop_assert_eq!(&first(&spec, &turned), &decision);
        prop_assert_eq!(&again(&spec, &turned, &decision.sites), &decision);
        let bound = PlacementSpec { failover: failover(9, false, "Graceful"), ..spec.clone() };
        let bound_once = first(&bound, &sites);
        prop_assert_eq!(&after(&bound, &turned, &status(&bound_once), NOW), &bound_once);
        prop_assert_eq!(decision.sites.len(), sites.len());
        prop_assert!(decision.sites.iter().all(|d| !d.reason.is_empty()));
        prop_assert!(decision.chosen() <= spec.spread.count.unwrap_or(99) as usize);
    }

    #[test]
    fn spread_is_respected_and_found_when_there_is_one(sites in fleet(), spec in wish()) {
        let decision = first(&spec, &sites);
        prop_assert_eq!(decision.unmet.is_none(), can_be_had(&spec, &sites));
        for c in &spec.spread.constraints {
            let have = groups(&decision, &sites, &c.by);
            prop_assert!(have <= c.most());
            prop_assert!(have >= c.least() || (decision.unmet.is_some() && have == 0));
        }
    }

    #[test]
    fn a_site_that_comes_or_goes_moves_no_other(
        sites in fleet(), spec in wish(), index in any::<prop::sample::Index>(),
    ) {
        let gone = index.index(sites.len());
        let mut fewer = sites.clone();
        let lost = fewer.remove(gone);
        let before = first(&spec, &sites);
        // It goes: whoever else was chosen stays, unless the spread needs another choice.
        let after = again(&spec, &fewer, &before.sites);
        let spread = !spec.spread.constraints.is_empty();
        if !spread {
            for name in names(&before).into_iter().filter(|n| *n != lost.name) {
                prop_assert!(names(&after).contains(&name), "{name} had to move");
            }
        }
        // It comes back: nobody moves for it.
        let back = again(&spec, &sites, &after.sites);
        if !spread || after.unmet.is_none() {
            for name in names(&after) {
                prop_assert!(names(&back).contains(&name), "{name} had to move");
            }
        }
        // Without a memory, one that goes is replaced by one at most: rendezvous hashing.
        if !spread {
            let anew = first(&spec, &fewer);
            let moved = names(&before).into_iter().filter(|n| !names(&anew).contains(n));
            prop_assert!(moved.count() <= 1);
        }
    }

    #[test]
    fn failover_never_leaves_the_jurisdictions(
        sites in fleet(), spec in wish(), lost in proptest::collection::vec(any::<u32>(), 1..9),
        leave in any::<bool>(),
    ) {
        let mut spec = spec;
        spec.failover = failover(0, leave, "Graceful");
        let mut sites = sites;
        let mut now = status(&first(&spec, &sites));
        let inside = |names: &[&str], sites: &[Candidate]| -> BTreeSet<String> {
            let mine = sites.iter().filter(|s| names.contains(&s.name.as_str()));
            mine.map(|s| s.facts.jurisdiction.clone()).collect()
        };
        let home = inside(&names(&first(&spec, &sites)), &sites);
        for bits in lost {
            for (index, site) in sites.iter_mut().enumerate() {
                site.lost_since = (bits >> (index % 32) & 1 == 1).then_some(NOW);
            }
            let next = after(&spec, &sites, &now, NOW);
            let there = inside(&names(&next), &sites);
            prop_assert!(leave || home.is_empty() || there.is_subset(&home));
            let silent = sites.iter().filter(|s| s.lost_since.is_some());
            let kept = silent.filter(|s| names(&next).contains(&s.name.as_str())).count();
            prop_assert_eq!(kept, 0);
            now = status(&next);
            prop_assert_eq!(status(&after(&spec, &sites, &now, NOW)), now.clone());
        }
    }

    #[test]
    fn shares_add_up_to_the_replicas(sites in fleet(), spec in wish(), total in 0i64..10_000) {
        let decision = first(&spec, &sites);
        let shares = shares(&spec, &decision.sites, total);
        prop_assert_eq!(shares.len(), decision.chosen());
        if decision.chosen() > 0 {
            prop_assert_eq!(shares.values().sum::<i64>(), total);
        }
    }
}
