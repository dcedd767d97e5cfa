//! `kubectl hanse site`: join, list, forget.
//!
//! Joining is two-sided: the operator lets one cluster in (here), the cluster asks for its
//! certificate (the syncer). Invariant: the bootstrap token is printed once and kept nowhere by
//! this program.

use std::time::Duration;

use anyhow::{Context, Result, anyhow, bail};
use clap::Subcommand;
use hanse_apis::sites::{self, EXPORT, GROUP, SiteStatus, VERSION, names};
use hanse_client::{Api, PatchKind, Resource};
use hanse_seams::Seams;
use serde_json::{Value, json};

use crate::served::Served;
use crate::session::Session;
use crate::table::{cell, table};
use crate::{bind, manifest, wait};

/// How long the hub may take for an answer that it owes us.
const WAIT: Duration = Duration::from_secs(30);

/// What can be done with sites.
#[derive(Subcommand)]
pub enum Command {
    /// Prints what a physical cluster needs to join as a site: apply it there, within an hour.
    #[command(after_help = JOIN_EXAMPLES)]
    Join(Join),
    /// Lists the sites of the current workspace.
    List,
    /// Lets a mass change go on that a site's syncer has parked.
    Confirm {
        /// Name of the site.
        name: String,
        /// Does not ask.
        #[arg(long)]
        yes: bool,
    },
    /// Frees everything of a site that will not return; what stands in it is left behind.
    Forget {
        /// Name of the site.
        name: String,
        /// Does not ask.
        #[arg(long)]
        yes: bool,
    },
}

const JOIN_EXAMPLES: &str = "\
Examples:
  kubectl hanse site join berlin --label region=eu --image registry.example/hanse-syncer:1 \\
      | kubectl --kubeconfig berlin.kubeconfig apply -f -
  kubectl hanse site join berlin --allow deployments.apps --allow services > berlin.yaml
  kubectl hanse site join berlin -o kubeconfig > bootstrap.kubeconfig
  hanse-syncer --hub-kubeconfig bootstrap.kubeconfig --site-kubeconfig berlin.kubeconfig

The token that is printed can be used once. The syncer dials out to the hub; nothing has to reach
the cluster. Without --allow it may do everything there.";

/// How a site joins.
#[derive(clap::Args)]
pub struct Join {
    /// Name of the site.
    name: String,
    /// Label of the Site, for placements; may be given several times.
    #[arg(long = "label", value_name = "KEY=VALUE")]
    labels: Vec<String>,
    /// What is printed: the manifest for the cluster, or the bootstrap kubeconfig alone.
    #[arg(short, long, value_parser = ["manifest", "kubeconfig"], default_value = "manifest")]
    output: String,
    /// What the syncer may apply in the cluster, for the manifest: `deployments.apps`, `services`,
    /// `*.cert-manager.io`; may be given several times. Everything when it is not given.
    #[arg(long, value_name = "RESOURCE")]
    pub(crate) allow: Vec<String>,
    /// Image of the syncer, for the manifest.
    #[arg(long, default_value = concat!("hanse-syncer:", env!("CARGO_PKG_VERSION")))]
    pub(crate) image: String,
    /// Namespace of the syncer in the cluster, for the manifest.
    #[arg(long, default_value = "hanse-system")]
    pub(crate) namespace: String,
}

fn resource(plural: &str) -> Resource {
    Resource::new(GROUP, VERSION, plural)
}

/// Runs one of the commands.
///
/// # Errors
/// What the user is to read.
pub async fn run(session: &Session, command: &Command) -> Result<()> {
    match command {
        Command::Join(join) => self::join(session, join).await,
        Command::List => list(session).await,
        Command::Confirm { name, yes } => confirm(session, name, *yes).await,
        Command::Forget { name, yes } => forget(session, name, *yes).await,
    }
}

async fn join(session: &Session, join: &Join) -> Result<()> {
    let here = session.here();
    bind::ensure(&here, ("root", EXPORT), WAIT).await?;
    ensure_site(&here, join).await?;
    let secrets = Resource::new("", "v1", "secrets");
    let seams = Seams::real();
    let name = format!("join-{}-{:08x}", join.name, seams.rng.below(1 << 32));
    let secret = json!({
        "apiVersion": "v1", "kind": "Secret", "type": names::JOIN_SECRET_TYPE,
        "metadata": {"name": name, "namespace": "default",
                     "annotations": {names::SITE_ANNOTATION: join.name}},
    });
    here.create(&secrets, &secret).await?;
    let answer = wait::until(WAIT, async || {
        let secret = here.get(&secrets, "default", &name).await?;
        if let Some(why) = secret["metadata"]["annotations"]["sites.hanse.dev/error"].as_str() {
            bail!("{why}");
        }
        Ok(secret["data"][names::JOIN_SECRET_KEY]
            .as_str()
            .map(str::to_owned))
    })
    .await;
    // The token stands in what is printed now; a copy at the hub would only be one more to lose.
    here.delete(&secrets, "default", &name, None).await?;
    let packed = answer?.ok_or_else(|| anyhow!("the hub has not made a token within {WAIT:?}"))?;
    let kubeconfig = String::from_utf8(hanse_client::config::unpack(&packed)?)?;
    match join.output.as_str() {
        "kubeconfig" => println!("{kubeconfig}"),
        _ => print!("{}", manifest::text(join, &kubeconfig)?),
    }
    Ok(())
}

async fn ensure_site(here: &Api, join: &Join) -> Result<()> {
    let mut labels = serde_json::Map::new();
    for label in &join.labels {
        let (key, value) = label
            .split_once('=')
            .with_context(|| format!("--label {label:?} is not KEY=VALUE"))?;
        labels.insert(key.to_owned(), value.into());
    }
    let site = json!({
        "apiVersion": sites::API_VERSION, "kind": "Site",
        "metadata": {"name": join.name, "labels": labels}, "spec": {},
    });
    match here.create(&resource("sites"), &site).await {
        Err(error) if error.is_already_exists() && !labels_empty(&site) => {
            let patch = json!({"metadata": {"labels": site["metadata"]["labels"]}});
            let at = ("", join.name.as_str(), "");
            here.patch(&resource("sites"), at, PatchKind::Merge, &patch)
                .await?;
            Ok(())
        }
        Err(error) if error.is_already_exists() => Ok(()),
        other => other.map(|_| ()).map_err(Into::into),
    }
}

fn labels_empty(site: &Value) -> bool {
    site["metadata"]["labels"]
        .as_object()
        .is_none_or(serde_json::Map::is_empty)
}

async fn list(session: &Session) -> Result<()> {
    let served = Served::get(&session.here(), &resource("sites")).await?;
    if served.rows.is_empty() {
        eprintln!("No sites found in workspace {}.", session.path);
        return Ok(());
    }
    let heads: Vec<&str> = served.heads.iter().map(String::as_str).collect();
    let rows: Vec<Vec<String>> = served.rows.into_values().collect();
    print!("{}", table(&heads, &rows));
    Ok(())
}

async fn confirm(session: &Session, name: &str, yes: bool) -> Result<()> {
    let here = session.here();
    let site = here.get(&resource("sites"), "", name).await?;
    let status: SiteStatus = sites::read(&site, "status").unwrap_or_default();
    if status.parked.is_empty() {
        println!("site/{name}: nothing is parked");
        return Ok(());
    }
    if !yes {
        eprintln!(
            "Since {} the syncer of {name} holds back the end of {}.",
            status.parked_since, status.parked
        );
        ask(&format!("Let them go at {name}?"), "they stay parked")?;
    }
    let patch = json!({"spec": {"massChange": {"confirmed": status.parked_since}}});
    let at = ("", name, "");
    here.patch(&resource("sites"), at, PatchKind::Merge, &patch)
        .await?;
    println!("site/{name}: {} may go", status.parked);
    Ok(())
}

/// Asks for a yes; everything else is an error with these words.
fn ask(question: &str, otherwise: &str) -> Result<()> {
    eprint!("{question} [y/N] ");
    let mut answer = String::new();
    std::io::stdin().read_line(&mut answer)?;
    match answer.trim() {
        "y" | "Y" | "yes" => Ok(()),
        _ => bail!("{otherwise}"),
    }
}

async fn forget(session: &Session, name: &str, yes: bool) -> Result<()> {
    let here = session.here();
    let site = here.get(&resource("sites"), "", name).await?;
    let status: SiteStatus = sites::read(&site, "status").unwrap_or_default();
    if !yes {
        eprintln!(
            "{} objects are sent to {name} (contact: {}). Their tenants are freed at once; what \
             stands in the cluster stays there.",
            status.objects,
            cell(&status.contact)
        );
        ask(
            &format!("Forget {name}?"),
            &format!("{name} is not forgotten"),
        )?;
    }
    here.delete(
        &resource("sites"),
        "",
        name,
        site["metadata"]["uid"].as_str(),
    )
    .await?;
    println!("site/{name} forgotten");
    Ok(())
}
