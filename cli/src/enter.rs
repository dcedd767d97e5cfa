//! Going to a workspace: which one a user means, whether it may be entered, and how the kubeconfig
//! is rewritten so that plain kubectl stands in it.
//!
//! Start at [`go`]. The requests and the texts are those of kcp's plugin, so that scripts keep
//! working. Invariant: a workspace is entered only after its server let us look at it.

use std::time::Duration;

use anyhow::{Context, Result, anyhow, bail};
use hanse_client::{List, Request};
use hanse_seams::Seams;
use serde_json::Value;

use crate::advice::advise;
use crate::session::{Session, resolve};
use crate::ws::{in_parentheses, type_text, workspaces};
use crate::{bind, claims};

const CURRENT: &str = "workspace.kcp.io/current";
const PREVIOUS: &str = "workspace.kcp.io/previous";
/// How often a home workspace is asked for until it is there.
const HOME_TRIES: usize = 20;

/// Goes where a user says.
///
/// # Errors
/// What the user is to read.
pub async fn go(session: &mut Session, to: &str) -> Result<()> {
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

/// Says where we are.
pub async fn print_current(session: &Session, short: bool) {
    if short {
        println!("{}", session.path);
        return;
    }
    let kind = type_of(session, &session.path).await;
    println!("Current workspace is '{}'{kind}.", session.path);
}

/// ` (type root:organization)`, as far as we may know.
async fn type_of(session: &Session, path: &str) -> String {
    let Some((parent, name)) = path.rsplit_once(':') else {
        return String::new();
    };
    let found = session.workspace(parent).get(&workspaces(), "", name).await;
    in_parentheses(&found.ok().map(|w| type_text(&w)).unwrap_or_default())
}

/// The absolute path that a user means.
async fn target(session: &Session, to: &str) -> Result<String> {
    let home_or_below = to == "~" || to.starts_with("~:") || to.starts_with("~/");
    if home_or_below {
        let home = home(session).await?;
        return Ok(format!("{home}{}", to[1..].replace('/', ":")));
    }
    resolve(&session.path, to)
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
///
/// # Errors
/// What the user is to read.
pub async fn enter(session: &mut Session, path: &str) -> Result<()> {
    let there = session.workspace(path);
    let denied = match there.raw(Request::get("/apis")).await {
        Ok(bytes) => {
            let groups: Value = serde_json::from_slice(&bytes).unwrap_or_default();
            groups["groups"].as_array().is_none_or(Vec::is_empty)
        }
        Err(error) if error.code() == 404 => return Err(refusal(path, true)),
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
    if denied {
        return Err(refusal(path, missing));
    }
    warn_about_claims(session, path).await;
    let (cluster, context) = session.parts()?;
    let mut next = cluster.clone();
    next["server"] = format!("{}/clusters/{path}", session.origin).into();
    point_at(session, next, (cluster, context))?;
    println!("Current workspace is '{path}'{}.", in_parentheses(&kind));
    Ok(())
}

fn refusal(path: &str, missing: bool) -> anyhow::Error {
    if missing {
        return advise(
            format!("workspace {path:?} not found"),
            "`kubectl ws tree` shows those below the current one; `kubectl ws create NAME` makes \
             one there.",
        );
    }
    advise(
        format!("access to workspace {path:?} denied"),
        "Its administrator lets you in with a ClusterRoleBinding there, to cluster-admin or to \
         system:kcp:workspace:access and what else you need.",
    )
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
    let none = "there is no previous workspace";
    let previous = session
        .entry("contexts", PREVIOUS)
        .map(|c| c["context"].clone());
    let previous = previous.context(none)?;
    let cluster = previous["cluster"].as_str().unwrap_or_default();
    let next = session
        .entry("clusters", cluster)
        .map(|c| c["cluster"].clone());
    let next = next.context(none)?;
    let server = next["server"].as_str().unwrap_or_default().to_owned();
    let path = server
        .split_once("/clusters/")
        .map(|(_, path)| path.to_owned());
    let path = path.context("the previous context points to no workspace")?;
    let before = session.parts()?;
    warn_about_claims(session, &path).await;
    point_at(session, next, before)?;
    let kind = type_of(session, &path).await;
    println!("Current workspace is '{path}'{kind}.");
    Ok(())
}

/// Tells of permission claims that nobody has accepted or rejected; silent when we may not look.
async fn warn_about_claims(session: &Session, path: &str) {
    let there = session.workspace(path);
    let Ok(list) = there.list(&bind::bindings(), &List::default()).await else {
        return;
    };
    for binding in &list.items {
        let name = binding["metadata"]["name"].as_str().unwrap_or_default();
        for resource in claims::undecided(binding) {
            eprintln!(
                "Warning: claim for {resource} exported but not specified on APIBinding {name}\n\
                 Add this claim to the APIBinding's Spec."
            );
        }
    }
}

/// Makes a context for a server's URL, with the user of the one in use.
///
/// # Errors
/// When there is one of that name and it may not be overwritten.
pub fn add_context(session: &mut Session, name: &str, url: &str, overwrite: bool) -> Result<()> {
    if session.entry("contexts", name).is_some() && !overwrite {
        bail!("context {name:?} already exists in kubeconfig, use --overwrite to update it");
    }
    let (mut cluster, mut context) = session.parts()?;
    cluster["server"] = url.into();
    context["cluster"] = name.into();
    session.set_entry("clusters", name, "cluster", cluster);
    session.set_entry("contexts", name, "context", context);
    Ok(())
}
