//! `kubectl ws`: the words of the plugin, which is also `kubectl workspace`, and the one of
//! `kubectl create workspace`.
//!
//! Start at [`run`]. Where the words lead: [`crate::enter`], [`crate::tree`], [`crate::create`].
//! Invariant: words, flags and results are those of kcp's plugin, so that scripts keep working.

use anyhow::Result;
use clap::{Parser, Subcommand};
use hanse_client::Resource;
use serde_json::Value;

use crate::session::{Flags, Session};
use crate::{create, enter, tree};

/// Moves between workspaces and makes new ones.
///
/// The current workspace is the one that the kubeconfig's current context points to; moving
/// rewrites that context, and plain kubectl follows.
#[derive(Parser)]
#[command(name = "kubectl ws", bin_name = "kubectl ws", version)]
#[command(subcommand_precedence_over_arg = true, after_help = EXAMPLES, max_term_width = 100)]
struct Cli {
    #[command(flatten)]
    flags: Flags,
    #[command(subcommand)]
    command: Option<Command>,
    /// Where to go: `:root:org` (absolute), `team` (below the current one), `..`, `.`, `-`
    /// (previous), `~` (home), `:` (root).
    #[arg(allow_hyphen_values = true)]
    path: Option<String>,
}

const EXAMPLES: &str = "\
Examples:
  kubectl ws .                                  where am I?
  kubectl ws tree                               what is below?
  kubectl ws create team --enter                make a workspace and go there
  kubectl ws :root:org:team                     go somewhere by its whole path
  kubectl ws ..                                 one up; `kubectl ws -` goes back
  kubectl ws ~                                  my own home workspace";

#[derive(Subcommand)]
enum Command {
    /// Goes to a workspace, as `kubectl ws PATH` does.
    #[command(visible_alias = "cd")]
    Use {
        /// As for `kubectl ws PATH`.
        #[arg(allow_hyphen_values = true)]
        path: Option<String>,
    },
    /// Prints the current workspace.
    Current {
        /// Prints only its path.
        #[arg(long)]
        short: bool,
    },
    /// Prints the tree of workspaces below the current one.
    #[command(after_help = TREE_EXAMPLES)]
    Tree(tree::Flags),
    /// Creates a workspace below the current one, and waits until it is ready.
    #[command(after_help = CREATE_EXAMPLES)]
    Create(create::Create),
    /// Creates a kubeconfig context for the current workspace.
    ///
    /// A context of its own stays where it is: `kubectl --context NAME` reaches the workspace from
    /// anywhere, and `kubectl ws` does not move it.
    CreateContext {
        /// Name of the context; the workspace's path when it is not given.
        name: Option<String>,
        /// Overwrites a context of that name.
        #[arg(long)]
        overwrite: bool,
    },
}

const TREE_EXAMPLES: &str = "\
Examples:
  kubectl ws tree                               names only
  kubectl ws tree --wide                        with type, phase and logical cluster
  kubectl ws tree --full -w :root               whole paths, from the root";

const CREATE_EXAMPLES: &str = "\
Examples:
  kubectl ws create team                        of the usual type
  kubectl ws create org --type organization --enter
  kubectl ws create team --ignore-existing      in a script that may run twice
  kubectl ws create team --create-context team  then: kubectl --context team get namespaces";

/// Creates a workspace below the current one, and waits until it is ready.
#[derive(Parser)]
#[command(
    name = "kubectl create workspace",
    bin_name = "kubectl create workspace",
    version
)]
#[command(after_help = CREATE_EXAMPLES, max_term_width = 100)]
struct CreateCli {
    #[command(flatten)]
    flags: Flags,
    #[command(flatten)]
    create: create::Create,
}

/// Runs the plugin.
///
/// # Errors
/// What the user is to read.
pub async fn run() -> Result<()> {
    let cli = Cli::parse();
    let mut session = Session::open(&cli.flags)?;
    match cli.command {
        None => enter::go(&mut session, cli.path.as_deref().unwrap_or("~")).await,
        Some(Command::Use { path }) => {
            enter::go(&mut session, path.as_deref().unwrap_or("~")).await
        }
        Some(Command::Current { short }) => {
            enter::print_current(&session, short).await;
            Ok(())
        }
        Some(Command::Tree(flags)) => tree::run(&mut session, &flags).await,
        Some(Command::Create(create)) => create::run(&mut session, &create).await,
        Some(Command::CreateContext { name, overwrite }) => {
            make_context(&mut session, name, overwrite)
        }
    }
}

/// Runs `kubectl create workspace`.
///
/// # Errors
/// What the user is to read.
pub async fn run_create() -> Result<()> {
    let cli = CreateCli::parse();
    let mut session = Session::open(&cli.flags)?;
    create::run(&mut session, &cli.create).await
}

fn make_context(session: &mut Session, name: Option<String>, overwrite: bool) -> Result<()> {
    let name = name.unwrap_or_else(|| session.path.clone());
    let url = format!("{}/clusters/{}", session.origin, session.path);
    enter::add_context(session, &name, &url, overwrite)?;
    session.content["current-context"] = name.as_str().into();
    session.save()?;
    println!("Created context {name:?} and switched to it.");
    Ok(())
}

/// Workspaces, as a client asks for them.
#[must_use]
pub fn workspaces() -> Resource {
    Resource::new("tenancy.kcp.io", "v1alpha1", "workspaces")
}

/// A workspace's type, as `root:universal`.
#[must_use]
pub fn type_text(workspace: &Value) -> String {
    let of = &workspace["spec"]["type"];
    match (of["path"].as_str(), of["name"].as_str()) {
        (Some(path), Some(name)) => format!("{path}:{name}"),
        (None, Some(name)) => name.to_owned(),
        _ => String::new(),
    }
}

/// ` (type root:universal)`, or nothing.
#[must_use]
pub fn in_parentheses(kind: &str) -> String {
    match kind {
        "" => String::new(),
        kind => format!(" (type {kind})"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::CommandFactory as _;

    #[test]
    fn the_words_fit_together() {
        Cli::command().debug_assert();
        CreateCli::command().debug_assert();
        let path = |words: &[&str]| Cli::try_parse_from(words).unwrap().path;
        assert_eq!(path(&["ws", "-"]).as_deref(), Some("-"));
        assert_eq!(path(&["ws", ".."]).as_deref(), Some(".."));
        assert_eq!(path(&["ws"]), None);
        let flags_first = Cli::try_parse_from(["ws", "--kubeconfig", "f", "tree"]).unwrap();
        assert!(matches!(flags_first.command, Some(Command::Tree(_))));
    }
}
