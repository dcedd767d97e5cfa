//! Runs an example, or lets its reader type: see `cargo xtask example --help`, which builds and
//! runs this.

use std::process::ExitCode;

use anyhow::{Result, bail};
use clap::Parser;
use hanse_e2e::example::{Example, Ground};
use tokio::signal::unix::{SignalKind, signal};

/// Runs an example step by step; lists them when none is named.
#[derive(Parser)]
struct Args {
    /// The name of its directory under `examples/`.
    name: Option<String>,
    /// Starts what it needs and opens a shell there, to type its commands by hand.
    #[arg(long, requires = "name")]
    shell: bool,
}

#[tokio::main]
async fn main() -> ExitCode {
    match run(Args::parse()).await {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("{error:#}");
            ExitCode::FAILURE
        }
    }
}

async fn run(args: Args) -> Result<()> {
    let Some(name) = &args.name else {
        for example in Example::all()? {
            println!("{:<24} {}", example.name, example.title());
        }
        println!("\n`cargo xtask example NAME` runs one, `--shell` lets you type its commands.");
        return Ok(());
    };
    let example = Example::named(name)?;
    println!("starting what {name} needs ...");
    let mut ground = Ground::default();
    tokio::select! {
        done = play(&mut ground, &example, args.shell) => done,
        _ = tokio::signal::ctrl_c(), if !args.shell => bail!("stopped"),
    }
}

async fn play(ground: &mut Ground, example: &Example, shell: bool) -> Result<()> {
    if !shell {
        let tell = |commands: &str, printed: &str| {
            for line in commands.lines() {
                println!("\x1b[1m$ {line}\x1b[0m");
            }
            println!("{printed}");
        };
        ground
            .run(example, |block, printed| tell(&block.commands, printed))
            .await?;
        println!("done: every block came to what the README says");
        return Ok(());
    }
    let room = ground.room(example).await?;
    println!(
        "You stand in a copy of examples/{} with a hub of its own; KUBECONFIG points to it.\n\
         Follow its README.md. `exit` stops and removes everything.",
        example.name
    );
    // Ctrl-C is for what runs in the shell.
    let _interrupts = signal(SignalKind::interrupt())?;
    let shell = std::env::var("SHELL").unwrap_or_else(|_| "sh".to_owned());
    let status = tokio::task::block_in_place(|| room.command(&shell).status())?;
    println!("the shell ended with {status}; stopping ...");
    Ok(())
}
