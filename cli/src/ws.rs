//! `kubectl ws`: which workspace the kubeconfig points to, and how to get to another.
//!
//! The requests and the texts are those of kcp's plugin, so that scripts keep working. Invariant:
//! a workspace is entered only after its server let us look at it.

use std::time::Duration;

use anyhow::{Context, Result, anyhow, bail};
use clap::{Parser, Subcommand};
use hanse_client::{Error, List, Request, Resource};
use hanse_seams::Seams;
use serde_json::{Value, json};

use crate::session::{Flags, Session};
use crate::tree;

const CURRENT: &str = "workspace.kcp.io/current";
const PREVIOUS: &str = "workspace.kcp.io/previous";
/// How long a new workspace may take until it is ready.
const READY_WAIT: Duration = Duration::from_secs(60);
const READY_LOOK: Duration = Duration::from_millis(500);
/// How often a home workspace is asked for until it is there.
const HOME_TRIES: usize = 20;

/// Manages workspaces.
#[derive(Parser)]
#[command(name = "kubectl ws", bin_name = "kubectl ws", version)]
#[command(args_conflicts_with_subcommands = true)]
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

#[derive(Subcommand)]
enum Command {
    /// Uses the given workspace as the current workspace.
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
    Tree {
        /// Prints full paths.
        #[arg(short, long)]
        full: bool,
    },
    /// Creates a workspace below the current one, and waits until it is ready.
    Create(Create),
    /// Creates a kubeconfig context for the current workspace.
    CreateContext {
        /// Name of the context; the workspace's path when it is not given.
        name: Option<String>,
        /// Overwrites a context of that name.
        #[arg(long)]
        overwrite: bool,
    },
}

#[derive(clap::Args)]
struct Create {
    /// Name of the workspace.
    name: String,
    /// Its type, as `name` or `root:path:name`.
    #[arg(long = "type", value_name = "TYPE")]
    kind: Option<String>,
    /// Enters the workspace once it is ready.
    #[arg(long)]
    enter: bool,
    /// Does not fail when it is there already.
    #[arg(long)]
    ignore_existing: bool,
}

/// Runs the plugin.
///
/// # Errors
/// What the user is to read.
pub async fn run() -> Result<()> {
    let cli = Cli::parse();
    let mut session = Session::open(&cli.flags)?;
    match cli.command {
        None => go(&mut session, cli.path.as_deref().unwrap_or("~")).await,
        Some(Command::Use { path }) => go(&mut session, path.as_deref().unwrap_or("~")).await,
        Some(Command::Current { short }) => {
            print_current(&session, short).await;
            Ok(())
        }
        Some(Command::Tree { full }) => {
            print!("{}", tree::draw(&session, full).await?);
            Ok(())
        }
        Some(Command::Create(create)) => make(&mut session, &create).await,
        Some(Command::CreateContext { name, overwrite }) => {
            make_context(&mut session, name, overwrite)
        }
    }
}

fn workspaces() -> Resource {
    Resource::new("tenancy.kcp.io", "v1alpha1", "workspaces")
}

async fn print_current(session: &Session, short: bool) {
    if short {
        println!("{}", session.path);
        return;
    }
    println!(
        "Current workspace is '{}'{}.",
        session.path,
        type_of(session, &session.path).await
    );
}

/// ` (type root:organization)`, as far as we may know.
async fn type_of(session: &Session, path: &str) -> String {
    let Some((parent, name)) = path.rsplit_once(':') else {
        return String::new();
    };
    let found = session.workspace(parent).get(&workspaces(), "", name).await;
    let kind = found.ok().map(|w| type_text(&w)).unwrap_or_default();
    if kind.is_empty() {
        String::new()
    } else {
        format!(" (type {kind})")
    }
}

fn type_text(workspace: &Value) -> String {
    let of = &workspace["spec"]["type"];
    match (of["path"].as_str(), of["name"].as_str()) {
        (Some(path), Some(name)) => format!("{path}:{name}"),
        (None, Some(name)) => name.to_owned(),
        _ => String::new(),
    }
}

async fn go(session: &mut Session, to: &str) -> Result<()> {
    match to {
        "." => {
            print_current(session, false).await;
            Ok(())
        }
        "-" => swap(session).await,
        to => {
            let path = target(session, to).await?;
            enter(session, &path).await
        }
    }
}

/// The absolute path that a user means.
async fn target(session: &Session, to: &str) -> Result<String> {
    let to = to.replace('/', ":");
    if to == "~" || to.starts_with("~:") {
        let home = home(session).await?;
        return Ok(format!("{home}{}", to.trim_start_matches('~')));
    }
    let first = session.path.split(':').next().unwrap_or_default();
    if to == ":" {
        return Ok(first.to_owned());
    }
    if let Some(absolute) = to.strip_prefix(':') {
        return Ok(absolute.to_owned());
    }
    if to == "root" || to.starts_with("root:") {
        eprintln!("Note: Using absolute path {to:?}; write \":{to}\" to be explicit.");
        return Ok(to);
    }
    let mut parts: Vec<&str> = session.path.split(':').collect();
    for step in to.split(':').filter(|s| !s.is_empty() && *s != ".") {
        if step == ".." {
            if parts.len() < 2 {
                bail!("current workspace {:?} has no parent", session.path);
            }
            parts.pop();
        } else {
            parts.push(step);
        }
    }
    Ok(parts.join(":"))
}

async fn home(session: &Session) -> Result<String> {
    let root = session.workspace("root");
    for _ in 0..HOME_TRIES {
        match root.get(&workspaces(), "", "~").await {
            Ok(home) => {
                let url = home["spec"]["URL"].as_str().unwrap_or_default();
                let path = url
                    .split_once("/clusters/")
                    .map(|(_, path)| path.to_owned());
                return path.with_context(|| format!("home workspace has no path in {url:?}"));
            }
            Err(error) if error.code() == 429 => {
                let pause = error.retry_after().unwrap_or(Duration::from_secs(1));
                Seams::real().clock.sleep(pause).await;
            }
            Err(error) => return Err(error.into()),
        }
    }
    bail!("the home workspace is not ready")
}

/// Enters a workspace, when its server lets us look at it.
async fn enter(session: &mut Session, path: &str) -> Result<()> {
    let there = session.workspace(path);
    let denied = match there.raw(Request::get("/apis")).await {
        Ok(bytes) => {
            let groups: Value = serde_json::from_slice(&bytes).unwrap_or_default();
            groups["groups"].as_array().is_none_or(Vec::is_empty)
        }
        Err(error) if error.code() == 403 => true,
        Err(error) => return Err(anyhow!(error).context(format!("cannot look at {path:?}"))),
    };
    let mut missing = false;
    let mut kind = String::new();
    if let Some((parent, name)) = path.rsplit_once(':') {
        match session.workspace(parent).get(&workspaces(), "", name).await {
            Ok(workspace) => kind = type_text(&workspace),
            Err(error) => missing = error.is_not_found(),
        }
    }
    match (denied, missing) {
        (true, true) => bail!("workspace {path:?} not found"),
        (true, false) => bail!("access to workspace {path:?} denied"),
        _ => {}
    }
    warn_about_claims(session, path).await;
    let (cluster, context) = session.parts()?;
    let mut next = cluster.clone();
    next["server"] = format!("{}/clusters/{path}", session.origin).into();
    point_at(session, next, (cluster, context))?;
    let kind = if kind.is_empty() {
        String::new()
    } else {
        format!(" (type {kind})")
    };
    println!("Current workspace is '{path}'{kind}.");
    Ok(())
}

/// Makes the current context point to a cluster; what it pointed to is the previous one.
fn point_at(session: &mut Session, next: Value, before: (Value, Value)) -> Result<()> {
    let (cluster, context) = before;
    let named = |name: &str| {
        let mut context = context.clone();
        context["cluster"] = name.into();
        context
    };
    let (current, previous) = (named(CURRENT), named(PREVIOUS));
    session.set_entry("clusters", PREVIOUS, "cluster", cluster);
    session.set_entry("contexts", PREVIOUS, "context", previous);
    session.set_entry("clusters", CURRENT, "cluster", next);
    session.set_entry("contexts", CURRENT, "context", current);
    session.content["current-context"] = CURRENT.into();
    session.save()
}

async fn swap(session: &mut Session) -> Result<()> {
    let previous = session
        .entry("contexts", PREVIOUS)
        .map(|c| c["context"].clone());
    let previous = previous.context("there is no previous workspace")?;
    let cluster = previous["cluster"].as_str().unwrap_or_default();
    let next = session
        .entry("clusters", cluster)
        .map(|c| c["cluster"].clone());
    let next = next.context("there is no previous workspace")?;
    let server = next["server"].as_str().unwrap_or_default().to_owned();
    let path = server
        .split_once("/clusters/")
        .map(|(_, path)| path.to_owned());
    let path = path.context("the previous context points to no workspace")?;
    let before = session.parts()?;
    warn_about_claims(session, &path).await;
    point_at(session, next, before)?;
    println!(
        "Current workspace is '{path}'{}.",
        type_of(session, &path).await
    );
    Ok(())
}

/// Tells of permission claims that nobody has accepted or rejected; silent when we may not look.
async fn warn_about_claims(session: &Session, path: &str) {
    let bindings = Resource::new("apis.kcp.io", "v1alpha2", "apibindings");
    let Ok(list) = session
        .workspace(path)
        .list(&bindings, &List::default())
        .await
    else {
        return;
    };
    for binding in list.items {
        let listed = |at: &Value| at.as_array().cloned().unwrap_or_default();
        let ours = listed(&binding["spec"]["permissionClaims"]);
        for wanted in listed(&binding["status"]["exportPermissionClaims"]) {
            let same = |c: &&Value| {
                ["group", "resource", "identityHash"]
                    .iter()
                    .all(|k| c[*k] == wanted[*k])
            };
            let name = binding["metadata"]["name"].as_str().unwrap_or_default();
            let resource = wanted["resource"].as_str().unwrap_or_default();
            match ours.iter().find(same) {
                Some(claim) if claim["state"].is_string() => {}
                _ => eprintln!(
                    "Warning: claim for {resource} exported but not specified on APIBinding \
                     {name}\nAdd this claim to the APIBinding's Spec."
                ),
            }
        }
    }
}

async fn make(session: &mut Session, create: &Create) -> Result<()> {
    let here = session.here();
    let mut object = json!({
        "apiVersion": "tenancy.kcp.io/v1alpha1", "kind": "Workspace",
        "metadata": {"name": create.name},
    });
    if let Some(kind) = &create.kind {
        object["spec"]["type"] = match kind.rsplit_once(':') {
            Some((path, name)) => json!({"name": name.to_lowercase(), "path": path}),
            None => json!({"name": kind.to_lowercase()}),
        };
    }
    let mut workspace = match here.create(&workspaces(), &object).await {
        Ok(workspace) => workspace,
        Err(error) if error.is_already_exists() && create.ignore_existing => {
            here.get(&workspaces(), "", &create.name).await?
        }
        Err(error) => return Err(error.into()),
    };
    let seams = Seams::real();
    let end = seams.clock.monotonic() + READY_WAIT;
    let kind = type_text(&workspace);
    while workspace["status"]["phase"] != "Ready" {
        if seams.clock.monotonic() > end {
            bail!(
                "workspace {:?} is not ready after {READY_WAIT:?}",
                create.name
            );
        }
        seams.clock.sleep(READY_LOOK).await;
        workspace = match here.get(&workspaces(), "", &create.name).await {
            Ok(workspace) => workspace,
            Err(Error::Refused(r)) if r.code == 404 => continue,
            Err(error) => return Err(error.into()),
        };
    }
    println!("Workspace {:?} (type {kind}) is ready to use.", create.name);
    if create.enter {
        let path = format!("{}:{}", session.path, create.name);
        enter(session, &path).await?;
    }
    Ok(())
}

fn make_context(session: &mut Session, name: Option<String>, overwrite: bool) -> Result<()> {
    let name = name.unwrap_or_else(|| session.path.clone());
    if session.entry("contexts", &name).is_some() && !overwrite {
        bail!("context {name:?} already exists in kubeconfig, use --overwrite to update it");
    }
    let (cluster, mut context) = session.parts()?;
    context["cluster"] = name.as_str().into();
    session.set_entry("clusters", &name, "cluster", cluster);
    session.set_entry("contexts", &name, "context", context);
    session.content["current-context"] = name.as_str().into();
    session.save()?;
    println!("Created context {name:?} and switched to it.");
    Ok(())
}
