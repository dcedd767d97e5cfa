//! Measurements against running servers. `cargo xtask bench` builds with the release profile and
//! runs this as `hanse-bench`.
//!
//! Start at [`GROUPS`], the table of what there is to measure, and [`groups`], which runs it. Each
//! group starts servers of its own, so that no group sees the memory of another. What is measured
//! and how is said in `docs/numbers.md`; targets stand beside each measurement in the code of its
//! group, in the same unit.

mod compare;
mod density;
pub mod fairness;
mod latency;
pub mod load;
mod machine;
pub mod plot;
mod progress;
pub mod report;
mod requests;
mod sites;
mod start;
mod store;
pub mod subject;
mod watches;
mod wire;
mod workspaces;

use std::sync::Arc;

use anyhow::{Result, bail};

pub use compare::Earlier;
pub use progress::Progress;
pub use store::{read, save};

use report::Report;

/// What a run does, as the command line says it.
pub struct Options {
    /// How often a number is taken where its group takes one more than once.
    pub repeats: usize,
    /// Neither the static server nor the kube-apiserver: the hub alone.
    pub alone: bool,
    /// The static server but not the kube-apiserver.
    pub no_peer: bool,
    /// What the programs were built with.
    pub profile: String,
    pub progress: Arc<Progress>,
}

impl Options {
    /// Why the kube-apiserver is not measured, if it is not.
    fn without_peer(&self) -> Option<String> {
        match self.alone || self.no_peer {
            true => Some("the command line leaves it out".to_owned()),
            false => subject::missing_tools(),
        }
    }
}

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

/// Runs these groups; all that need neither much time nor much memory when none is named.
pub async fn groups(names: &[String], options: &Options, report: &mut Report) -> Result<()> {
    report.machine(&options.profile);
    for group in chosen(names)? {
        options.progress.begin(group.name);
        match group.name {
            "start" => start::run(report).await?,
            "workspaces" => workspaces::run(options, report).await?,
            "workspaces-10000" => density::tree(10_000, 2_000.0, options, report).await?,
            "workspaces-100000" => density::tree(100_000, 10_000.0, options, report).await?,
            "rounds" => density::rounds(options, report).await?,
            "requests" => requests::run(options, report).await?,
            "watches" => watches::run(options, report).await?,
            "watches-wide" => watches::wide(options, report).await?,
            "latency" => latency::run(options, report).await?,
            "fairness" => fairness::run(report).await?,
            "sites" => sites::run(report).await?,
            "sites-many" => sites::many(report).await?,
            other => bail!("{other} is in the table and cannot be run"),
        }
        options.progress.done();
    }
    Ok(())
}

/// The groups of these names, in the order of the table.
pub fn chosen(names: &[String]) -> Result<Vec<&'static Group>> {
    let known = |name: &String| GROUPS.iter().any(|group| group.name == name);
    if let Some(unknown) = names.iter().find(|name| !known(name)) {
        let all: Vec<&str> = GROUPS.iter().map(|group| group.name).collect();
        bail!("there is no group {unknown}; there are {}", all.join(", "));
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
        let found: Vec<&str> = chosen(&names).unwrap().iter().map(|g| g.name).collect();
        assert_eq!(found, ["start", "watches"]);
        assert!(chosen(&["none".to_owned()]).is_err());
        let all = chosen(&[]).unwrap();
        assert!(all.iter().all(|group| group.name != "workspaces-100000"));
    }
}
