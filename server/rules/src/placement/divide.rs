//! How many replicas each site gets.

use std::collections::BTreeMap;

/// Divides a number into shares by weight: each gets the whole part of its quota, the largest
/// remainders get one more, ties go to the first name. The shares add up to the total. Without
/// any weight the division is equal.
#[must_use]
pub fn divide(total: i64, weights: &BTreeMap<String, u64>) -> BTreeMap<String, i64> {
    let total = u128::from(u64::try_from(total).unwrap_or(0));
    let even = weights.values().all(|w| *w == 0);
    let weight = |w: u64| if even { 1 } else { u128::from(w) };
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
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn shares_add_up_and_are_fair(
            total in 0i64..5000,
            weights in proptest::collection::btree_map("[a-z]{1,3}", 0u64..100, 1..9),
        ) {
            let shares = divide(total, &weights);
            prop_assert_eq!(shares.values().sum::<i64>(), total);
            let sum: u64 = weights.values().sum();
            if sum > 0 {
                for (name, share) in &shares {
                    let exact = total as f64 * weights[name] as f64 / sum as f64;
                    prop_assert!((*share as f64 - exact).abs() < 1.0);
                }
            }
        }

        #[test]
        fn any_weights_and_totals_add_up(
            total in 0i64..=i64::MAX,
            weights in proptest::collection::btree_map("[a-z]{1,3}", any::<u64>(), 1..40),
        ) {
            let shares = divide(total, &weights);
            let sum: i128 = shares.values().map(|s| i128::from(*s)).sum();
            prop_assert_eq!(sum, i128::from(total));
        }

        #[test]
        fn one_more_replica_moves_one_share(total in 0i64..500, n in 1usize..9) {
            let weights: BTreeMap<String, u64> = (0..n).map(|i| (format!("s{i}"), 0)).collect();
            let (a, b) = (divide(total, &weights), divide(total + 1, &weights));
            let moved = a.iter().filter(|(name, share)| b[*name] != **share).count();
            prop_assert_eq!(moved, 1);
        }
    }
}
