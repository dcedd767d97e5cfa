//! kubectl plugins: `kubectl hanse` and `kubectl ws`.
//!
//! Start at [`hanse`] and [`ws`], one module for each plugin; [`session`] is what both share: the
//! kubeconfig, and the workspace that it points to. Invariant: a command prints its result to
//! standard output and everything else to standard error, so results can be piped.
//! Deliberately elsewhere: what the server decides; nothing here guesses it.

pub mod explain;
pub mod hanse;
pub mod import;
pub mod openapi;
pub mod session;
pub mod site;
pub mod table;
pub mod tree;
pub mod ws;

use std::process::ExitCode;

/// Runs a command to its end; an error is one line, with its causes.
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
            ExitCode::FAILURE
        }
    }
}
