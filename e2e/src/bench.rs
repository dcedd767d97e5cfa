//! Measurements against running servers. `cargo xtask bench` builds with the release profile and
//! runs this as `hanse-bench`.
//!
//! Start at [`groups`], the table of what there is to measure, and [`run`], which measures it. Each
//! group starts servers of its own, so that no group sees the memory of another. What is measured
//! and how is said in `docs/numbers.md`; targets stand beside each measurement in the code of its
//! group, in the same unit.

mod compare;
mod density;
pub mod fairness;
pub mod groups;
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

use anyhow::{Result, anyhow, bail};

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

/// Runs these groups; all that need neither much time nor much memory when none is named.
pub async fn run(names: &[String], options: &Options, report: &mut Report) -> Result<()> {
    report.machine(&options.profile);
    for group in groups::chosen(names).map_err(|words| anyhow!(words))? {
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
