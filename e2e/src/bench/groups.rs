//! The groups of measurements by name. `cargo xtask bench` shares this file, so that it can say
//! what there is before it builds anything.

/// Something to measure by its name.
pub struct Group {
    pub name: &'static str,
    /// What is measured, in a line.
    pub about: &'static str,
    /// Whether it runs only when it is named, because it needs much time or memory.
    pub only_named: bool,
}

const fn group(name: &'static str, about: &'static str) -> Group {
    Group {
        name,
        about,
        only_named: false,
    }
}

const fn large(name: &'static str, about: &'static str) -> Group {
    Group {
        name,
        about,
        only_named: true,
    }
}

/// The groups, in the order in which they run.
pub const GROUPS: &[Group] = &[
    group(
        "start",
        "first start, idle memory, restart with 150 workspaces (1 min)",
    ),
    group(
        "workspaces",
        "1,000 workspaces made, as a tree and flat; CPU and memory (1 min)",
    ),
    group(
        "workspaces-10000",
        "10,000 made, asked, restarted with, deleted; memory (1 min)",
    ),
    group(
        "rounds",
        "five rounds of 10,000 made and deleted: what memory stays (3 min)",
    ),
    group(
        "requests",
        "create, GET, LIST, four in turn: CPU, latency, rate (2 min)",
    ),
    group(
        "watches",
        "one event at 100 and 1,000 watchers of one object (1 min)",
    ),
    group(
        "watches-wide",
        "10,000 watchers over 1,000 workspaces (1 min)",
    ),
    group(
        "latency",
        "latency over load, open loop, for the plots (2 min)",
    ),
    group(
        "sites",
        "1,000 objects to a site and back (1 min, needs a kube-apiserver)",
    ),
    group(
        "sites-many",
        "10,000 objects at a site, then at a second one (2 min, the same)",
    ),
    large(
        "workspaces-100000",
        "100,000 workspaces under 4 GiB (10 min)",
    ),
    large(
        "fairness",
        "quiet tenants beside a loud one, in seven shapes (an hour; HANSE_FAIRNESS shortens it)",
    ),
];

/// The table for people.
pub fn table() -> String {
    let line = |group: &Group| {
        let mark = if group.only_named {
            "; only when it is named"
        } else {
            ""
        };
        format!("{:<18} {}{mark}\n", group.name, group.about)
    };
    GROUPS.iter().map(line).collect()
}

/// The groups of these names, in the order of the table; all that need neither much time nor much
/// memory when none is named. An error is a sentence for whoever named one that is not there.
pub fn chosen(names: &[String]) -> Result<Vec<&'static Group>, String> {
    let known = |name: &String| GROUPS.iter().any(|group| group.name == name);
    if let Some(unknown) = names.iter().find(|name| !known(name)) {
        let all: Vec<&str> = GROUPS.iter().map(|group| group.name).collect();
        return Err(format!(
            "there is no group {unknown}; there are {}",
            all.join(", ")
        ));
    }
    let wanted = |group: &&Group| match names {
        [] => !group.only_named,
        names => names.iter().any(|name| name == group.name),
    };
    Ok(GROUPS.iter().filter(wanted).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn groups_are_chosen_by_name_in_the_order_of_the_table() {
        let names = ["watches".to_owned(), "start".to_owned()];
        let found: Vec<&str> = chosen(&names)
            .unwrap()
            .into_iter()
            .map(|g| g.name)
            .collect();
        assert_eq!(found, ["start", "watches"]);
        assert!(chosen(&["none".to_owned()]).is_err());
        let all = chosen(&[]).unwrap();
        assert!(all.iter().all(|group| group.name != "workspaces-100000"));
    }
}
