//! `hanse-syncer`: the agent in each physical cluster. Flags, credentials, run, stop.
//!
//! Start at [`run`]. It dials out only, to the hub and to the cluster that it is in. Invariant:
//! credentials are kept before they are used, so a crash at any point finds them again.
//! Deliberately elsewhere: everything that happens between start and stop (`hanse-agent`).

mod keep;

use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, Result, anyhow, bail};
use clap::Parser;
use hanse_agent::{Agent, Disk, Facts, Identity, JoinError, Setup, facts, join, lifetime, renew};
use hanse_client::http::Http;
use hanse_client::{Api, Config};
use hanse_seams::Seams;
use tracing_subscriber::EnvFilter;

use crate::keep::{Keep, Kept};

#[global_allocator]
static ALLOCATOR: tikv_jemallocator::Jemalloc = tikv_jemallocator::Jemalloc;

/// A certificate is renewed when it is this old, or after two thirds of its life: an offline
/// site always has most of it left.
const RENEW_AFTER_SECONDS: i64 = 86_400;
/// Pause between attempts to reach a side that is needed to start.
const START_PAUSE: Duration = Duration::from_secs(2);

/// The agent in a physical cluster: applies what the hub's tenants place there, repairs it, and
/// reports back.
///
/// It dials out to the hub and to its own cluster; nothing has to reach it.
#[derive(Parser)]
#[command(name = "hanse-syncer", version, max_term_width = 100, after_help = HELP)]
struct Flags {
    /// Kubeconfig with the bootstrap token that `kubectl hanse site join` prints; its server is
    /// the site's inbox. Needed until the first certificate has been issued.
    #[arg(long, value_name = "FILE", env = "HANSE_HUB_KUBECONFIG")]
    hub_kubeconfig: Option<PathBuf>,
    /// Kubeconfig of the physical cluster; the pod's own account when it is not given.
    #[arg(long, value_name = "FILE", env = "HANSE_SITE_KUBECONFIG")]
    site_kubeconfig: Option<PathBuf>,
    /// Directory for the journal, and for the credentials unless --identity-secret is given.
    #[arg(long, value_name = "DIR", default_value = "/var/lib/hanse-syncer")]
    state_dir: PathBuf,
    /// Keeps the credentials in this Secret of the physical cluster instead of the directory.
    #[arg(long, value_name = "NAMESPACE/NAME")]
    identity_secret: Option<String>,
    /// What is logged, as in RUST_LOG: `info`, `hanse_agent=debug` ...
    #[arg(long, value_name = "FILTER", default_value = "info", env = "HANSE_LOG")]
    log: String,
}

const HELP: &str = "\
Examples:
  kubectl hanse site join berlin -o kubeconfig > bootstrap.kubeconfig
  hanse-syncer --hub-kubeconfig bootstrap.kubeconfig --site-kubeconfig berlin.kubeconfig \\
      --state-dir ./berlin                      beside the cluster
  kubectl hanse site join berlin | kubectl --kubeconfig berlin.kubeconfig apply -f -
                                                inside of it, as a Deployment

The bootstrap token can be used once, within an hour; afterwards it goes on with the certificate
that it got for it, and the bootstrap kubeconfig is no longer needed.";

fn main() -> ExitCode {
    let flags = Flags::parse();
    let filter = match EnvFilter::try_new(&flags.log) {
        Ok(filter) => filter,
        Err(error) => {
            eprintln!("hanse-syncer: --log: {error}");
            return ExitCode::from(2);
        }
    };
    tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(std::io::stderr)
        .init();
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .max_blocking_threads(2)
        .enable_all()
        .build();
    let result = match runtime {
        Ok(runtime) => runtime.block_on(run(flags)),
        Err(error) => Err(error.into()),
    };
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("hanse-syncer: {error:#}");
            ExitCode::FAILURE
        }
    }
}

async fn run(flags: Flags) -> Result<()> {
    std::fs::create_dir_all(&flags.state_dir)
        .with_context(|| format!("--state-dir {}", flags.state_dir.display()))?;
    let seams = Seams::real();
    let site = match &flags.site_kubeconfig {
        Some(file) => Config::from_file(file, None)?,
        None => Config::in_cluster().context("--site-kubeconfig is not given")?,
    };
    let site = Http::api(site, seams.clone()).context("the physical cluster")?;
    let mut stop = Stop::new()?;
    let Some(facts) = stop.or(site_facts(&site, &seams)).await else {
        return Ok(());
    };
    tracing::info!(
        cluster = facts.cluster_uid,
        version = facts.kubernetes_version,
        "site"
    );
    let keep = match &flags.identity_secret {
        Some(secret) => Keep::secret(site.clone(), secret)?,
        None => Keep::file(flags.state_dir.join("identity.json")),
    };
    let Some(kept) = stop.or(credentials(&flags, &keep, &seams, &facts)).await else {
        return Ok(());
    };
    let kept = kept?;
    let inbox = inbox(&kept.server)?;
    let hub = Http::new(kept.config(), seams.clone()).context("the hub")?;
    let api = Api::new(Arc::clone(&hub) as Arc<dyn hanse_client::Transport>);
    let (journal, aside) = Disk::open_or_begin(&flags.state_dir.join("journal.redb"))?;
    if let Some(aside) = aside {
        tracing::error!(
            aside = %aside.display(),
            "the journal was damaged and is begun anew; all of it is asked for again"
        );
    }
    let agent = Agent::start(Setup {
        hub: api.clone(),
        site,
        inbox: inbox.clone(),
        journal: Arc::new(journal),
        facts: facts.clone(),
        seams: seams.clone(),
    })?;
    tracing::info!(inbox, objects = agent.objects(), "running");
    stop.or(rotate(&keep, kept, &hub, &api, &seams, &facts))
        .await;
    tracing::info!("stopping");
    agent.stop();
    Ok(())
}

/// Waits for SIGTERM or an interrupt.
struct Stop {
    term: tokio::signal::unix::Signal,
    interrupt: tokio::signal::unix::Signal,
}

impl Stop {
    fn new() -> Result<Self> {
        use tokio::signal::unix::{SignalKind, signal};
        Ok(Self {
            term: signal(SignalKind::terminate())?,
            interrupt: signal(SignalKind::interrupt())?,
        })
    }

    /// Resolves to `None` when the process is asked to stop before the future is done.
    async fn or<T>(&mut self, future: impl Future<Output = T>) -> Option<T> {
        tokio::select! {
            biased;
            _ = self.term.recv() => None,
            _ = self.interrupt.recv() => None,
            value = future => Some(value),
        }
    }
}

async fn site_facts(site: &Api, seams: &Seams) -> Facts {
    loop {
        match facts(site).await {
            Ok(facts) => return facts,
            Err(error) => tracing::warn!(%error, "the physical cluster cannot be asked"),
        }
        seams.clock.sleep(START_PAUSE).await;
    }
}

/// The credentials that are kept, or new ones for the bootstrap token.
async fn credentials(flags: &Flags, keep: &Keep, seams: &Seams, facts: &Facts) -> Result<Kept> {
    let kept = keep.load().await?;
    let bootstrap = match &flags.hub_kubeconfig {
        Some(file) if file.exists() => Some(Config::from_file(file, None)?),
        _ => None,
    };
    let now = i64::try_from(seams.clock.wall().as_secs())?;
    if let Some(kept) = &kept
        && !kept.identity.certificate.is_empty()
        && bootstrap.as_ref().is_none_or(|b| b.server == kept.server)
    {
        if lifetime(&kept.identity.certificate)?.1 > now {
            return Ok(kept.clone());
        }
        tracing::warn!("the certificate has ended; asking with the bootstrap token again");
    }
    let bootstrap = bootstrap.context(
        "not joined, or the certificate has ended: run `kubectl hanse site join` and give its \
         kubeconfig as --hub-kubeconfig",
    )?;
    let inbox = inbox(&bootstrap.server)?;
    // A key whose request may be under way is used again: its answer may already be there.
    let pending =
        kept.filter(|k| k.identity.certificate.is_empty() && k.server == bootstrap.server);
    let mut kept = match pending {
        Some(kept) => kept,
        None => Kept::new(&bootstrap, Identity::generate()?),
    };
    keep.save(&kept).await?;
    let hub = Http::api(bootstrap, seams.clone()).context("the hub")?;
    loop {
        match join(&hub, seams, &inbox, &facts.cluster_uid, &kept.identity).await {
            Ok(identity) => {
                kept.identity = identity;
                keep.save(&kept).await?;
                tracing::info!(inbox, "joined");
                return Ok(kept);
            }
            Err(JoinError::Hub(error)) if error.is_transient() => {
                tracing::warn!(%error, "the hub cannot be reached");
            }
            Err(JoinError::Waiting) => tracing::info!("waiting for approval"),
            Err(error) => return Err(error.into()),
        }
        seams.clock.sleep(START_PAUSE).await;
    }
}

/// Renews the certificate in time; does not end.
async fn rotate(keep: &Keep, mut kept: Kept, hub: &Http, api: &Api, seams: &Seams, facts: &Facts) {
    let mut pause = START_PAUSE;
    loop {
        let wait = lifetime(&kept.identity.certificate).map(|(from, until)| {
            let age = RENEW_AFTER_SECONDS.min((until - from) * 2 / 3);
            let now = i64::try_from(seams.clock.wall().as_secs()).unwrap_or(i64::MAX);
            Duration::from_secs(u64::try_from(from + age - now).unwrap_or(0))
        });
        seams.clock.sleep(wait.unwrap_or(pause)).await;
        match replace(keep, &mut kept, hub, api, seams, facts).await {
            Ok(()) => {
                tracing::info!("certificate renewed");
                pause = START_PAUSE;
            }
            Err(error) => {
                tracing::warn!("the certificate cannot be renewed: {error:#}");
                seams.clock.sleep(pause).await;
                pause = (pause * 2).min(Duration::from_secs(60));
            }
        }
    }
}

async fn replace(
    keep: &Keep,
    kept: &mut Kept,
    hub: &Http,
    api: &Api,
    seams: &Seams,
    facts: &Facts,
) -> Result<()> {
    let identity = renew(api, seams, &inbox(&kept.server)?, &facts.cluster_uid).await?;
    let next = Kept {
        identity,
        ..kept.clone()
    };
    keep.save(&next).await?;
    hub.replace(next.config())?;
    *kept = next;
    Ok(())
}

/// The inbox that a server URL names: its last part, after `/clusters/`.
fn inbox(server: &str) -> Result<String> {
    let (_, inbox) = server
        .split_once("/clusters/")
        .ok_or_else(|| anyhow!("the hub's URL {server:?} names no inbox (/clusters/...)"))?;
    let inbox = inbox.trim_end_matches('/');
    if inbox.is_empty() || inbox.contains('/') {
        bail!("the hub's URL {server:?} names no inbox (/clusters/...)");
    }
    Ok(inbox.to_owned())
}
