//! The build system of Hanse, in the same language as the rest: `cargo xtask --help`.
//!
//! Each subcommand is a module with one `run` function; `project` knows where things lie and
//! `stage` runs other programs, shows their progress and keeps their output. Nothing here is part
//! of the product, and no crate of the product depends on it. The tests themselves live beside
//! what they test and under `e2e/`; this crate only decides which of them run, and when.

mod bench;
mod codegen;
mod demo;
mod example;
mod instructions;
mod project;
mod setup;
mod soak;
mod stage;
mod suites;
mod test;
mod tidy;
// One file for both crates: a dependency on the tests would build all of them for `--help`. The
// same goes for the next.
#[path = "../../e2e/src/bench/groups.rs"]
mod groups;
#[allow(dead_code)]
#[path = "../../e2e/src/tools.rs"]
mod tools;

use clap::{Parser, Subcommand};

/// Builds, checks and measures Hanse. Rust and Go are the only things needed beforehand.
#[derive(Parser)]
#[command(name = "cargo xtask", bin_name = "cargo xtask", version)]
#[command(
    after_help = "Start with `cargo xtask test`: it does all of its own set-up. The first \
    run on a fresh machine also builds the real Kubernetes programs that the end-to-end tests run \
    against (about ten minutes on two cores, once; see `cargo xtask setup --help`)."
)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    Setup(setup::Args),
    Test(test::Args),
    Soak(soak::Args),
    Tidy(tidy::Args),
    Bench(bench::Args),
    Demo(demo::Args),
    Example(example::Args),
    Codegen(codegen::Args),
}

fn main() -> std::process::ExitCode {
    let cli = Cli::parse();
    let outcome = project::Project::find().and_then(|project| match cli.command {
        Command::Setup(args) => setup::run(&project, &args),
        Command::Test(args) => test::run(&project, &args),
        Command::Soak(args) => soak::run(&project, &args),
        Command::Tidy(args) => tidy::run(&project, &args),
        Command::Bench(args) => bench::run(&project, &args),
        Command::Demo(args) => demo::run(&project, &args),
        Command::Example(args) => example::run(&project, &args),
        Command::Codegen(args) => codegen::run(&project, &args),
    });
    match outcome {
        Ok(()) => std::process::ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error:#}");
            std::process::ExitCode::FAILURE
        }
    }
}
