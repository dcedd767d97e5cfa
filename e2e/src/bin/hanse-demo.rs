//! Shows the main job on this machine: see `cargo xtask demo --help`, which builds and runs this.

use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::{Context, Result};
use clap::Parser;
use hanse_e2e::demo::{self, Options};
use tokio::signal::unix::{SignalKind, signal};

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

/// As shells say it of a program that an interrupt ended.
const INTERRUPTED: u8 = 130;

#[tokio::main]
async fn main() -> Result<ExitCode> {
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
    let mut term = signal(SignalKind::terminate())?;
    let mut interrupt = signal(SignalKind::interrupt())?;
    let mut stop = async || {
        tokio::select! {
            _ = term.recv() => {}
            _ = interrupt.recv() => {}
        }
    };
    // What was started ends with the future that is dropped.
    let running = tokio::select! {
        running = demo::run(&options) => running?,
        () = stop() => {
            println!("\nstopped before its end");
            return Ok(ExitCode::from(INTERRUPTED));
        }
    };
    if !args.once {
        running.invite()?;
        stop().await;
    }
    running.end().await?;
    Ok(ExitCode::SUCCESS)
}
