//! When the end of many objects at a site is a mass change, and how it is said (rule 6).

use std::collections::BTreeMap;

use hanse_apis::sites::MassChange;

/// Whether so many of so many objects are more than may go unasked.
#[must_use]
pub fn is_mass(settings: &MassChange, going: usize, total: usize) -> bool {
    let least = usize::try_from(settings.at_least()).unwrap_or(usize::MAX);
    let share = usize::try_from(settings.share()).unwrap_or(usize::MAX);
    going >= least && going.saturating_mul(100) > total.saturating_mul(share)
}

/// How many of what: `120 of 200 objects: 80 deployments.apps, 40 configmaps`.
#[must_use]
pub fn says(kinds: &BTreeMap<String, usize>, going: usize, total: usize) -> String {
    let mut rows: Vec<(&String, &usize)> = kinds.iter().collect();
    rows.sort_by(|a, b| b.1.cmp(a.1).then_with(|| a.0.cmp(b.0)));
    let rows: Vec<String> = rows.iter().map(|(kind, n)| format!("{n} {kind}")).collect();
    format!("{going} of {total} objects: {}", rows.join(", "))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn few_are_no_mass_and_more_than_the_share_are() {
        let settings = MassChange::default();
        assert!(!is_mass(&settings, 99, 99), "too few to ask");
        assert!(is_mass(&settings, 100, 199));
        assert!(!is_mass(&settings, 100, 200), "not more than half");
        let strict = MassChange {
            share_percent: 10,
            at_least: 2,
            ..MassChange::default()
        };
        assert!(is_mass(&strict, 2, 19));
        assert!(!is_mass(&strict, 1, 1));
        let never = MassChange {
            share_percent: 100,
            ..MassChange::default()
        };
        assert!(!is_mass(&never, 5000, 5000), "all of it may go");
    }

    #[test]
    fn says_how_many_of_what() {
        let kinds = BTreeMap::from([("configmaps".to_owned(), 2), ("deployments.apps".into(), 3)]);
        let text = "5 of 6 objects: 3 deployments.apps, 2 configmaps";
        assert_eq!(says(&kinds, 5, 6), text);
    }
}
