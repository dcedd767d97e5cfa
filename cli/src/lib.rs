//! kubectl plugins: `kubectl hanse`, `kubectl ws` (also as `kubectl workspace` and
//! `kubectl create workspace`) and `kubectl kcp`.
//!
//! Start at [`hanse`], [`ws`] and [`kcp`], one module for each plugin; [`session`] is what all
//! share: the kubeconfig, and the workspace that it points to. Invariant: a command prints its
//! result to standard output and everything else to standard error, so results can be piped; an
//! error says what to do next where that is known ([`advice`]).
//! Deliberately elsewhere: what the server decides; nothing here guesses it.

pub mod advice;
pub mod bind;
pub mod browse;
pub mod claims;
pub mod crd;
pub mod create;
pub mod enter;
pub mod explain;
pub mod hanse;
pub mod import;
pub mod kcp;
pub mod manifest;
pub mod openapi;
pub mod plan;
pub mod served;
pub mod session;
pub mod site;
pub mod table;
pub mod top;
pub mod tree;
pub mod wait;
pub mod why;
pub mod ws;

use std::process::ExitCode;

/// Runs a command to its end; an error is one line with its causes,
/// and one with what to do about it where that is known.
pub fn main<F: Future<Output = anyhow::Result<()>>>(
    name: &str,
    run: impl FnOnce() -> F,
) -> ExitCode {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build();
    let result = match runtime {
        Ok(runtime) => runtime.block_on(run()),
        Err(error) => Err(error.into()),
    };
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("{name}: {error:#}");
            if let Some(advice) = advice::of(&error) {
                eprintln!("  {advice}");
            }
            ExitCode::FAILURE
        }
    }
}
