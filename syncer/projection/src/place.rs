//! Which sites, and how much each of them gets.
//!
//! Invariant: deterministic and stable. Sites are ranked by rendezvous hashing over (placement,
//! site), so a site that comes or goes moves only what it must; shares are rounded by largest
//! remainder, ties by name. Every site that is looked at gets a reason.

use std::collections::BTreeMap;

use hanse_apis::sites::{Choice, PlacementSpec, SiteDecision};

use crate::digest::keyed;

/// What placement knows about a site.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct SiteFacts {
    /// Name of the Site.
    pub name: String,
    /// Its uid: a Site made again is another site.
    pub uid: String,
    /// Its labels.
    pub labels: BTreeMap<String, String>,
    /// Whether a syncer has ever joined.
    pub joined: bool,
    /// Whether new work is refused.
    pub unschedulable: bool,
    /// Whether the Site is being deleted.
    pub leaving: bool,
    /// Whether the placement's objects are already there.
    pub held: bool,
}

/// Decides for every site. `placement` is the identity under which sites are ranked (its logical
/// cluster and name), so that all objects of one placement stay together.
#[must_use]
pub fn place(spec: &PlacementSpec, placement: &str, sites: &[SiteFacts]) -> Vec<SiteDecision> {
    let mut ranked: Vec<(&SiteFacts, Option<(&str, String)>)> = sites
        .iter()
        .map(|site| (site, rejected(spec, site)))
        .collect();
    ranked.sort_by_cached_key(|(site, _)| {
        let rank = keyed(b"place", &[placement, &site.uid, &site.name]);
        (std::cmp::Reverse(rank), site.name.clone())
    });
    let wanted = match spec.spread.choice() {
        Choice::All => usize::MAX,
        Choice::Count(n) => n,
    };
    let mut chosen = 0;
    let mut out: Vec<SiteDecision> = ranked
        .into_iter()
        .map(|(site, rejection)| {
            let (ok, reason, message) = match rejection {
                Some((reason, message)) => (false, reason, message),
                None if chosen < wanted => (true, "Fits", String::new()),
                None => (false, "Enough", format!("{wanted} sites rank higher")),
            };
            chosen += usize::from(ok);
            SiteDecision {
                site: site.name.clone(),
                chosen: ok,
                reason: reason.into(),
                message,
            }
        })
        .collect();
    out.sort_by(|a, b| a.site.cmp(&b.site));
    out
}

fn rejected(spec: &PlacementSpec, site: &SiteFacts) -> Option<(&'static str, String)> {
    let reject = |reason, message: &str| Some((reason, message.to_owned()));
    if site.leaving {
        return reject("Leaving", "the site is being deleted");
    }
    if !spec.sites.names.is_empty() && !spec.sites.names.contains(&site.name) {
        return reject("NotNamed", "spec.sites.names does not list the site");
    }
    if !spec.sites.selector.matches(&site.labels) {
        return reject(
            "LabelsDiffer",
            "the site's labels do not match spec.sites.selector",
        );
    }
    if !site.joined {
        return reject("NotJoined", "no syncer has joined the site yet");
    }
    if site.unschedulable && !site.held {
        return reject("Unschedulable", "the site takes no new work");
    }
    None
}

/// Divides a number into shares by weight: each gets the whole part of its quota, the largest
/// remainders get one more, ties go to the first name. The shares add up to the total. Without
/// any weight the division is equal.
#[must_use]
pub fn divide(total: i64, weights: &BTreeMap<String, u32>) -> BTreeMap<String, i64> {
    let total = u128::from(u64::try_from(total).unwrap_or(0));
    let even = weights.values().all(|w| *w == 0);
    let weight = |w: u32| if even { 1 } else { u128::from(w) };
    let sum: u128 = weights.values().map(|w| weight(*w)).sum();
    if sum == 0 {
        return BTreeMap::new();
    }
    let mut left = total;
    let mut rows: Vec<(&String, u128, u128)> = Vec::with_capacity(weights.len());
    for (name, w) in weights {
        let quota = total * weight(*w);
        left -= quota / sum;
        rows.push((name, quota / sum, quota % sum));
    }
    rows.sort_by(|a, b| b.2.cmp(&a.2).then_with(|| a.0.cmp(b.0)));
    for row in &mut rows {
        if left == 0 {
            break;
        }
        row.1 += 1;
        left -= 1;
    }
    rows.into_iter()
        .map(|(name, share, _)| (name.clone(), i64::try_from(share).unwrap_or(i64::MAX)))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use hanse_apis::sites::{LabelSelector, SiteSelector, Spread};
    use proptest::prelude::*;

    fn site(name: &str) -> SiteFacts {
        SiteFacts {
            name: name.into(),
            uid: format!("uid-{name}"),
            labels: BTreeMap::from([("region".into(), name[..1].into())]),
            joined: true,
            ..SiteFacts::default()
        }
    }

    fn chosen(spec: &PlacementSpec, sites: &[SiteFacts]) -> Vec<String> {
        place(spec, "c1/web", sites)
            .into_iter()
            .filter(|d| d.chosen)
            .map(|d| d.site)
            .collect()
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

    #[test]
    fn every_site_gets_a_reason() {
        let spec = PlacementSpec {
            sites: SiteSelector {
                names: vec![],
                selector: LabelSelector {
                    match_labels: BTreeMap::from([("region".into(), "a".into())]),
                    ..LabelSelector::default()
                },
            },
            ..PlacementSpec::default()
        };
        let sites = [
            site("a1"),
            site("b1"),
            SiteFacts {
                unschedulable: true,
                ..site("a2")
            },
            SiteFacts {
                unschedulable: true,
                held: true,
                ..site("a3")
            },
            SiteFacts {
                joined: false,
                ..site("a4")
            },
            SiteFacts {
                leaving: true,
                ..site("a5")
            },
        ];
        let reasons: Vec<(String, String)> = place(&spec, "p", &sites)
            .into_iter()
            .map(|d| (d.site, d.reason))
            .collect();
        let want = [
            ("a1", "Fits"),
            ("a2", "Unschedulable"),
            ("a3", "Fits"),
            ("a4", "NotJoined"),
            ("a5", "Leaving"),
            ("b1", "LabelsDiffer"),
        ];
        assert_eq!(reasons, want.map(|(a, b)| (a.to_owned(), b.to_owned())));
    }

    proptest! {
        #[test]
        fn a_new_site_moves_at_most_one(names in proptest::collection::btree_set("[a-z]{2}", 2..12),
                                        n in 1i64..5) {
            let all: Vec<SiteFacts> = names.iter().map(|n| site(n)).collect();
            let (before, after) = (chosen(&count(n), &all[1..]), chosen(&count(n), &all));
            let gone = before.iter().filter(|s| !after.contains(s)).count();
            prop_assert!(gone <= 1);
            prop_assert_eq!(after.len(), all.len().min(usize::try_from(n).unwrap()));
            let mut turned = all.clone();
            turned.reverse();
            prop_assert_eq!(after, chosen(&count(n), &turned));
        }

        #[test]
        fn shares_add_up_and_are_fair(total in 0i64..5000,
                                      weights in proptest::collection::btree_map("[a-z]{1,3}", 0u32..100, 1..9)) {
            let shares = divide(total, &weights);
            prop_assert_eq!(shares.values().sum::<i64>(), total);
            let sum: u64 = weights.values().map(|w| u64::from(*w)).sum();
            if sum > 0 {
                for (name, share) in &shares {
                    let exact = total as f64 * f64::from(weights[name]) / sum as f64;
                    prop_assert!((*share as f64 - exact).abs() < 1.0);
                }
            }
        }

        #[test]
        fn one_more_replica_moves_one_share(total in 0i64..500, n in 1usize..9) {
            let weights: BTreeMap<String, u32> = (0..n).map(|i| (format!("s{i}"), 0)).collect();
            let (a, b) = (divide(total, &weights), divide(total + 1, &weights));
            let moved = a.iter().filter(|(name, share)| b[*name] != **share).count();
            prop_assert_eq!(moved, 1);
        }
    }
}
