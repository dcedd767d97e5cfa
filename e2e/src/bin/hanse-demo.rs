//! Shows the main job on this machine: see `cargo xtask demo --help`, which builds and runs this.

use std::path::PathBuf;

use anyhow::{Context, Result};
use clap::Parser;
use hanse_e2e::demo::{self, Options};

/// Shows the main job step by step, then stays up.
#[derive(Parser)]
struct Args {
    /// Ends after the last step instead of staying up.
    #[arg(long)]
    once: bool,
    /// A physical cluster of your own instead of one that the demo starts: `edge-berlin=FILE` or
    /// `dc-frankfurt=FILE`.
    #[arg(long = "site-kubeconfig", value_name = "NAME=FILE")]
    own: Vec<String>,
}

#[tokio::main]
async fn main() -> Result<()> {
    let args = Args::parse();
    let mut options = Options::default();
    for own in &args.own {
        let (name, file) = own
            .split_once('=')
            .with_context(|| format!("--site-kubeconfig {own:?} is not NAME=FILE"))?;
        if ![demo::BERLIN, demo::FRANKFURT].contains(&name) {
            anyhow::bail!(
                "--site-kubeconfig: the sites are {} and {}",
                demo::BERLIN,
                demo::FRANKFURT
            );
        }
        options.own.push((name.to_owned(), PathBuf::from(file)));
    }
    let running = tokio::select! {
        running = demo::run(&options) => running?,
        _ = tokio::signal::ctrl_c() => return Ok(()),
    };
    if !args.once {
        running.invite()?;
        tokio::signal::ctrl_c().await?;
        println!("stopping ...");
    }
    Ok(())
}
