//! Measures a hub on this machine: see `cargo xtask bench --help`, which builds and runs this.

use anyhow::Result;
use clap::Parser;
use hanse_e2e::bench::{self, report::Report};

/// Measures the hub named by `HANSE_BIN` and prints each number beside its target.
#[derive(Parser)]
struct Args {
    /// The groups to measure; all of them when none is named.
    groups: Vec<String>,
    /// One JSON object a line: name, value, unit, target, met.
    #[arg(long)]
    json: bool,
    /// Be the loud tenant that this file describes; the group `fairness` starts it.
    #[arg(long, hide = true)]
    loud: Option<std::path::PathBuf>,
}

#[tokio::main]
async fn main() -> Result<()> {
    let args = Args::parse();
    if let Some(file) = &args.loud {
        return bench::fairness::loud(file).await;
    }
    let mut report = Report::new(args.json);
    bench::groups(&args.groups, &mut report).await?;
    if !args.json {
        println!("{}", report.table());
    }
    Ok(())
}
