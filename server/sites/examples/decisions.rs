//! How long a decision takes: `cargo run -p hanse-sites --example decisions [SITES]`.
//!
//! A fleet of 1,000 sites with facts, taints and capacity; each kind of Placement is decided anew
//! and again with its decision before it. Prints the median of many rounds in microseconds.

use std::collections::BTreeMap;

use hanse_apis::sites::{PlacementSpec, PlacementStatus};
use hanse_rules::placement::{Candidate, Request, decide, shares};
use hanse_seams::Seams;
use serde_json::json;

const ROUNDS: usize = 200;

fn fleet(sites: usize) -> Vec<Candidate> {
    let site = |index: usize| {
        let mut site = Candidate {
            labels: BTreeMap::from([("tier".to_owned(), format!("t{}", index % 3))]),
            joined: true,
            unschedulable: index.is_multiple_of(41),
            ..Candidate::named(&format!("site-{index:04}"), &format!("uid-{index}"))
        };
        site.facts.provider = format!("p{}", index % 5);
        site.facts.region = format!("r{}", index % 20);
        site.facts.jurisdiction = format!("j{}", index % 7);
        site.facts.zones = vec![format!("z{}", index % 60)];
        let free = u64::try_from(index % 64).unwrap_or_default() * 1_000;
        site.free = BTreeMap::from([("cpu".to_owned(), free)]);
        site
    };
    (0..sites).map(site).collect()
}

#[tokio::main(flavor = "current_thread")]
async fn main() {
    let sites = std::env::args().nth(1).and_then(|n| n.parse().ok());
    let fleet = fleet(sites.unwrap_or(1_000));
    let fleet: Vec<&Candidate> = fleet.iter().collect();
    let facts = json!({"jurisdictions": ["j0", "j1", "j2"]});
    let spread = json!([{"by": "region", "minGroups": 3, "maxGroups": 6}]);
    let rows = [
        ("all", json!({})),
        (
            "ten by facts",
            json!({"sites": {"facts": facts}, "spread": {"count": 10}}),
        ),
        (
            "ten by facts, capacity and spread, divided by free capacity",
            json!({
                "sites": {"facts": facts}, "capacity": {"cpu": "4"},
                "spread": {
                    "count": 10, "mode": "Divide", "divide": {"by": "FreeCapacity"},
                    "constraints": spread,
                },
                "failover": {},
            }),
        ),
    ];
    for (name, spec) in rows {
        let spec: PlacementSpec = serde_json::from_value(spec).unwrap_or_default();
        let none = PlacementStatus::default();
        let request = |previous| Request {
            spec: &spec,
            identity: "cluster/web",
            now: 0,
            previous,
        };
        let mut before = PlacementStatus::default();
        decide(&request(&none), &fleet).into_status(&mut before);
        let anew = median(|| decide(&request(&none), &fleet).chosen());
        let again = median(|| decide(&request(&before), &fleet).chosen());
        let divided = median(|| shares(&spec, &before.sites, 1_000).len());
        println!("{name}: anew {anew} us, again {again} us, divided {divided} us");
    }
}

fn median(mut run: impl FnMut() -> usize) -> u128 {
    let clock = Seams::real().clock;
    let mut times: Vec<u128> = (0..ROUNDS)
        .map(|_| {
            let start = clock.monotonic();
            std::hint::black_box(run());
            (clock.monotonic() - start).as_micros()
        })
        .collect();
    times.sort_unstable();
    times[ROUNDS / 2]
}
