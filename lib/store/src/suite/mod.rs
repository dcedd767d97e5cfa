//! The conformance suite: what every engine must pass. Feature `suite`.
//!
//! Start at [`run_all`]. `stories.rs` tells each promise of the contract once, by hand; `random.rs`
//! runs random operations against a model (`model.rs`) that keeps every state for ever. An engine
//! brings a [`Subject`]: how to open its data and how to open it again.

mod model;
mod random;
mod stories;

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;

use crate::{Limits, Store};

/// A future of the suite; it runs on one thread and needs not move.
pub type Opening<'a> = Pin<Box<dyn Future<Output = Arc<dyn Store>> + 'a>>;

/// One set of data, empty at first, and the ways to open it.
pub trait Subject {
    /// Opens the data. Called once, before `reopen`.
    fn open(&mut self) -> Opening<'_>;

    /// Closes the store in an orderly way and opens the same data again.
    fn reopen(&mut self, store: Arc<dyn Store>) -> Opening<'_>;
}

/// Runs the whole suite. `make` makes a subject without data whose engine keeps these limits and
/// compacts only when told to; it is called inside a tokio runtime, many times. `cases` is the
/// number of random sequences.
///
/// # Panics
/// When the engine breaks a promise, with the smallest sequence of operations that shows it.
pub fn run_all<S: Subject>(cases: u32, make: impl Fn(Limits) -> S) {
    for (name, story) in stories::ALL {
        println!("story: {name}");
        block_on(async { story(&mut make(Limits::default())).await });
    }
    block_on(stories::limits(&make));
    println!("random sequences: {cases}");
    random::run(cases, &make);
}

fn block_on<T>(future: impl Future<Output = T>) -> T {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build();
    match runtime {
        Ok(runtime) => runtime.block_on(future),
        Err(error) => fail(&format!("no runtime: {error}")),
    }
}

/// The one way in which the suite says no.
#[allow(clippy::panic, reason = "a suite reports by panicking, as tests do")]
fn fail(message: &str) -> ! {
    panic!("{message}")
}

/// Unwraps what the contract says must succeed.
fn must<T, E: std::fmt::Debug>(result: Result<T, E>, what: &str) -> T {
    result.unwrap_or_else(|error| fail(&format!("{what} failed: {error:?}")))
}
