//! Measures servers on this machine: see `cargo xtask bench --help`, which builds and runs this.

use std::path::PathBuf;
use std::sync::Arc;

use anyhow::{Result, anyhow, bail};
use clap::Parser;
use hanse_e2e::bench::{self, Earlier, Options, Progress, groups, plot, report::Report};
use tokio::signal::unix::{SignalKind, signal};

// The hub's allocator: a cheaper generator leaves more of the machine to what is measured.
#[global_allocator]
static ALLOCATOR: tikv_jemallocator::Jemalloc = tikv_jemallocator::Jemalloc;

/// Measures the hub named by `HANSE_BIN` and prints each number beside its target.
#[derive(Parser)]
struct Args {
    /// The groups to measure; all that are not large when none is named.
    groups: Vec<String>,
    /// One JSON object a line: name, value, unit, target, met, and more.
    #[arg(long)]
    json: bool,
    /// How often a number is taken.
    #[arg(long, default_value_t = 3, value_parser = clap::value_parser!(u8).range(1..))]
    repeats: u8,
    /// Measure the hub alone.
    #[arg(long)]
    alone: bool,
    /// Leave out the kube-apiserver.
    #[arg(long)]
    no_peer: bool,
    /// Store the numbers in this file, in place of those of the same names.
    #[arg(long)]
    save: Option<PathBuf>,
    /// Show the change since this stored run.
    #[arg(long)]
    compare: Option<PathBuf>,
    /// Draw the curves into this directory.
    #[arg(long)]
    plots: Option<PathBuf>,
    /// Measure nothing: show this stored run.
    #[arg(long)]
    show: Option<PathBuf>,
    /// Be the loud tenant that this file describes; the group `fairness` starts it.
    #[arg(long, hide = true)]
    loud: Option<PathBuf>,
    /// What the programs were built with, to be written down.
    #[arg(long, default_value = "unknown")]
    profile: String,
}

#[tokio::main]
async fn main() -> Result<()> {
    let args = Args::parse();
    if let Some(file) = &args.loud {
        return bench::fairness::loud(file).await;
    }
    // Before anything is measured: a file that cannot be read should not be found out at the end.
    let earlier = args.compare.as_deref().map(Earlier::read).transpose()?;
    let (report, outcome) = match &args.show {
        Some(file) => (Report::of(bench::read(file)?), Ok(())),
        None => measure(&args).await?,
    };
    if let Some(file) = &args.save {
        bench::save(report.lines(), file)?;
    }
    if !args.json {
        println!("{}", report.table(earlier.as_ref()));
    }
    if let Some(dir) = &args.plots {
        for file in plot::write(report.lines(), dir)? {
            eprintln!("drawn: {}", file.display());
        }
    }
    outcome
}

/// What was measured, and whether it came to its end: what was measured before a failure is shown
/// as well.
async fn measure(args: &Args) -> Result<(Report, Result<()>)> {
    let groups = groups::chosen(&args.groups)
        .map_err(|words| anyhow!(words))?
        .len();
    if args.json && args.compare.is_some() {
        bail!("--compare is for the table, --json for programs: take one of them");
    }
    let progress = Arc::new(Progress::new(groups));
    let options = Options {
        repeats: usize::from(args.repeats),
        alone: args.alone,
        no_peer: args.no_peer,
        profile: args.profile.clone(),
        progress: progress.clone(),
    };
    let mut report = Report::beside(args.json, progress);
    let outcome = tokio::select! {
        outcome = bench::run(&args.groups, &options, &mut report) => outcome,
        // What was started ends when it is dropped, which a signal would not do.
        () = interrupted() => Err(anyhow!("interrupted")),
    };
    Ok((report, outcome))
}

async fn interrupted() {
    let Ok(mut terminated) = signal(SignalKind::terminate()) else {
        return std::future::pending().await;
    };
    tokio::select! {
        _ = tokio::signal::ctrl_c() => {}
        _ = terminated.recv() => {}
    }
}
