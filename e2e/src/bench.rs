//! Measurements against a running hub: start, workspaces, requests. `cargo xtask bench` builds
//! with the release profile and runs this as `hanse-bench`.
//!
//! Start at [`groups`]. Each group starts a hub of its own, so that no group sees the memory of
//! another. What is measured and how is said in `docs/numbers.md`; targets stand beside each
//! measurement in the code of its group, in the same unit.

mod density;
pub mod fairness;
pub mod load;
pub mod report;
mod requests;
mod sites;
mod start;
mod watches;
mod workspaces;

use anyhow::{Result, bail};

use report::Report;

/// The groups by name, in the order in which they run.
pub const GROUPS: [&str; 11] = [
    "start",
    "workspaces",
    "workspaces-10000",
    "rounds",
    LARGEST,
    "requests",
    "watches",
    "sites",
    "sites-many",
    FAIRNESS,
    PEER,
];

/// The group that measures a kube-apiserver for comparison; it runs only when it is named.
const PEER: &str = "kube-apiserver";

/// The group that needs gigabytes of memory; it runs only when it is named, too.
const LARGEST: &str = "workspaces-100000";

/// The group that takes an hour with all of its shapes; it runs only when it is named.
const FAIRNESS: &str = "fairness";

/// Runs these groups; all that measure a hub when none is named.
pub async fn groups(names: &[String], report: &mut Report) -> Result<()> {
    if let Some(unknown) = names.iter().find(|name| !GROUPS.contains(&&***name)) {
        bail!(
            "there is no group {unknown}; there are {}",
            GROUPS.join(", ")
        );
    }
    let chosen = |name: &&str| match names {
        [] => ![PEER, LARGEST, FAIRNESS].contains(name),
        names => names.iter().any(|chosen| chosen == name),
    };
    for name in GROUPS.into_iter().filter(chosen) {
        match name {
            "start" => start::run(report).await?,
            "workspaces" => workspaces::run(report).await?,
            "workspaces-10000" => density::tree(10_000, 2_000.0, report).await?,
            "rounds" => density::rounds(report).await?,
            LARGEST => density::tree(100_000, 10_000.0, report).await?,
            "requests" => requests::run(report).await?,
            "watches" => watches::run(report).await?,
            "sites" => sites::run(report).await?,
            "sites-many" => sites::many(report).await?,
            FAIRNESS => fairness::run(report).await?,
            _ => requests::peer(report).await?,
        }
    }
    Ok(())
}
