//! A running `hanse`, and the agents of its sites: started, stopped, killed and started again on
//! the same data.
//!
//! Start at [`Hub::start`]. The programs are named by `HANSE_BIN` and `HANSE_SYNCER_BIN`, which
//! `cargo xtask test` sets; without them the debug build in cargo's target directory is taken.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use anyhow::{Context, Result, anyhow, bail};
use serde_json::{Value, json};

use crate::http::Client;
use crate::kubeconfig::Access;
use crate::kubectl::Kubectl;
use crate::process::{Process, free_port};
use crate::site::TokenUser;
use crate::wait;

/// How long a start may take on a machine that is busy building.
const START_TIME_MAX: Duration = Duration::from_secs(30);
/// How long a workspace may take to become ready.
const WORKSPACE_TIME_MAX: Duration = Duration::from_secs(30);

/// A hub with its data in a temporary directory.
pub struct Hub {
    dir: tempfile::TempDir,
    port: u16,
    tokens: bool,
    /// Further flags of the program.
    flags: Vec<String>,
    /// Words before the program's name, such as a shell that puts it into a control group.
    prefix: Vec<String>,
    process: Option<Process>,
    /// The time from the start of the process to its first `readyz`, of the last start.
    pub start_time: Duration,
}

impl Hub {
    /// Starts it on an empty directory and waits until it is ready.
    pub async fn start() -> Result<Hub> {
        Hub::start_with(&[]).await
    }

    /// Starts it on a root directory that `prepare` fills.
    pub async fn start_on(prepare: impl FnOnce(&Path) -> Result<()>) -> Result<Hub> {
        let dir = tempfile::Builder::new().prefix("hanse-hub-").tempdir()?;
        let mut hub = Hub {
            dir,
            port: free_port()?,
            tokens: false,
            flags: Vec::new(),
            prefix: Vec::new(),
            process: None,
            start_time: Duration::ZERO,
        };
        std::fs::create_dir_all(hub.root())?;
        prepare(&hub.root())?;
        hub.resume().await?;
        Ok(hub)
    }

    /// Starts it on an empty directory with these flags besides its own.
    pub async fn start_with_flags(flags: Vec<String>) -> Result<Hub> {
        let dir = tempfile::Builder::new().prefix("hanse-hub-").tempdir()?;
        let mut hub = Hub {
            dir,
            port: free_port()?,
            tokens: false,
            flags,
            prefix: Vec::new(),
            process: None,
            start_time: Duration::ZERO,
        };
        hub.resume().await?;
        Ok(hub)
    }

    /// Flags besides its own from the next start on.
    pub fn set_flags(&mut self, flags: Vec<String>) {
        self.flags = flags;
    }

    /// The same with users who are known by static tokens.
    pub async fn start_with(users: &[TokenUser<'_>]) -> Result<Hub> {
        Hub::start_args(users, &[]).await
    }

    /// The same with further flags.
    pub async fn start_args(users: &[TokenUser<'_>], flags: &[&str]) -> Result<Hub> {
        Hub::start_behind(&[], users, flags).await
    }

    /// The same with words before the program's name, which have to end in its execution.
    pub async fn start_behind(
        prefix: &[String],
        users: &[TokenUser<'_>],
        flags: &[&str],
    ) -> Result<Hub> {
        let dir = tempfile::Builder::new().prefix("hanse-hub-").tempdir()?;
        let tokens: String = users
            .iter()
            .map(|user| {
                let groups = user.groups.join(",");
                format!("{},{},{},\"{groups}\"\n", user.token, user.user, user.user)
            })
            .collect();
        if !users.is_empty() {
            std::fs::write(dir.path().join("tokens.csv"), tokens)?;
        }
        let (port, process, tokens) = (free_port()?, None, !users.is_empty());
        let mut hub = Hub {
            dir,
            port,
            tokens,
            flags: flags.iter().map(|flag| (*flag).to_owned()).collect(),
            prefix: prefix.to_vec(),
            process,
            start_time: Duration::ZERO,
        };
        hub.resume().await?;
        Ok(hub)
    }

    /// Starts it on the data that it has.
    pub async fn resume(&mut self) -> Result<()> {
        if self.process.is_some() {
            bail!("the hub is running");
        }
        let program = program("HANSE_BIN", "hanse")?;
        let mut command = match self.prefix.split_first() {
            Some((first, rest)) => {
                let mut command = Command::new(first);
                command.args(rest).arg(program);
                command
            }
            None => Command::new(program),
        };
        command
            .arg("start")
            .arg("--root-directory")
            .arg(self.root());
        command
            .arg("--bind-address=127.0.0.1")
            .arg(format!("--secure-port={}", self.port))
            .args(&self.flags);
        if self.tokens {
            command
                .arg("--token-auth-file")
                .arg(self.dir.path().join("tokens.csv"));
        }
        let log = self.dir.path().join("hanse.log");
        let started = std::time::Instant::now();
        let mut process = Process::start("hanse", command.current_dir(self.dir.path()), &log)?;
        let often = Duration::from_millis(1);
        wait::until_every(often, "the hub ready", START_TIME_MAX, async || {
            process.check_running()?;
            let access = Access::read(&self.kubeconfig(), Some("base"))?;
            let answer = Client::connect(&access)?.get("/readyz").await?;
            match answer.status.is_success() {
                true => Ok(()),
                false => Err(anyhow!("{}", String::from_utf8_lossy(&answer.body))),
            }
        })
        .await
        .with_context(|| crate::process::tail(&log))?;
        self.start_time = started.elapsed();
        self.process = Some(process);
        Ok(())
    }

    /// Ends it as a crash would.
    pub fn kill(&mut self) -> Result<()> {
        self.process
            .take()
            .context("the hub is not running")?
            .kill()
    }

    /// Stops it cleanly; an error when it does not end with success.
    pub fn stop(&mut self) -> Result<()> {
        self.process
            .take()
            .context("the hub is not running")?
            .stop()
    }

    /// The running process.
    pub fn process(&self) -> Result<&Process> {
        self.process.as_ref().context("the hub is not running")
    }

    /// The directory given as `--root-directory`.
    pub fn root(&self) -> PathBuf {
        self.dir.path().join("root")
    }

    /// A directory for a test's own files, removed with the hub.
    pub fn scratch(&self) -> &Path {
        self.dir.path()
    }

    /// The administrator's kubeconfig that it wrote.
    pub fn kubeconfig(&self) -> PathBuf {
        self.root().join("admin.kubeconfig")
    }

    /// How to reach it, without a path, as the administrator.
    pub fn access(&self) -> Result<Access> {
        Access::read(&self.kubeconfig(), Some("base"))
    }

    /// How to reach a logical cluster as the administrator.
    pub fn cluster_access(&self, path: &str) -> Result<Access> {
        let mut access = self.access()?;
        access.server = format!("https://127.0.0.1:{}/clusters/{path}", self.port);
        Ok(access)
    }

    /// An HTTP client without a path before its requests, as the administrator.
    pub fn client(&self) -> Result<Client> {
        Client::connect(&self.access()?)
    }

    /// An HTTP client of a logical cluster as the administrator.
    pub fn cluster(&self, path: &str) -> Result<Client> {
        Client::connect(&self.cluster_access(path)?)
    }

    /// kubectl of a logical cluster as the administrator.
    pub fn kubectl(&self, path: &str) -> Result<Kubectl> {
        Kubectl::new(&self.cluster_kubeconfig(path)?)
    }

    /// A kubeconfig for one logical cluster, as a tenant's administrator would be given it.
    pub fn cluster_kubeconfig(&self, path: &str) -> Result<PathBuf> {
        let file = self
            .dir
            .path()
            .join(format!("{}.kubeconfig", path.replace(':', "-")));
        self.cluster_access(path)?.write(&file, "workspace")?;
        Ok(file)
    }

    /// Makes a workspace of a type below `parent` and waits until it is ready; answers the id of
    /// its logical cluster.
    pub async fn workspace(&self, parent: &str, name: &str, kind: &str) -> Result<String> {
        let client = self.cluster(parent)?;
        let path = "/apis/tenancy.kcp.io/v1alpha1/workspaces";
        let body = json!({
            "apiVersion": "tenancy.kcp.io/v1alpha1", "kind": "Workspace",
            "metadata": {"name": name},
            "spec": {"type": {"name": kind, "path": "root"}},
        });
        let mut workspace = client.post(path, &body).await?.success()?;
        if workspace["status"]["phase"] != "Ready" {
            let path = format!("{path}/{name}");
            workspace = wait::until("workspace ready", WORKSPACE_TIME_MAX, async || {
                let workspace = client.get(&path).await?.success()?;
                let ready = workspace["status"]["phase"] == "Ready";
                if ready {
                    Ok(workspace)
                } else {
                    Err(anyhow!("{}", workspace["status"]))
                }
            })
            .await?;
        }
        let id = workspace.pointer("/spec/cluster").and_then(Value::as_str);
        Ok(id
            .context("a ready workspace without spec.cluster")?
            .to_owned())
    }
}

/// The agent of a site.
pub struct Syncer {
    args: Vec<String>,
    log: PathBuf,
    process: Option<Process>,
}

impl Syncer {
    /// Starts `hanse-syncer` with these words; its log is written to this file.
    pub fn start(args: &[&str], log: &Path) -> Result<Syncer> {
        let args = args.iter().map(|arg| (*arg).to_owned()).collect();
        let mut syncer = Syncer {
            args,
            log: log.to_path_buf(),
            process: None,
        };
        syncer.resume()?;
        Ok(syncer)
    }

    /// Starts it again with the same words.
    pub fn resume(&mut self) -> Result<()> {
        let mut command = Command::new(program("HANSE_SYNCER_BIN", "hanse-syncer")?);
        let process = Process::start("hanse-syncer", command.args(&self.args), &self.log)?;
        self.process = Some(process);
        Ok(())
    }

    /// Ends it as a crash would.
    pub fn kill(&mut self) -> Result<()> {
        self.process
            .take()
            .context("the syncer is not running")?
            .kill()
    }

    /// Stops it cleanly.
    pub fn stop(&mut self) -> Result<()> {
        self.process
            .take()
            .context("the syncer is not running")?
            .stop()
    }

    /// The running process.
    pub fn process(&self) -> Result<&Process> {
        self.process.as_ref().context("the syncer is not running")
    }
}

/// A program of ours: the path in the variable, else the debug build beside this test.
pub fn program(variable: &str, name: &str) -> Result<PathBuf> {
    let path = match std::env::var_os(variable).filter(|path| !path.is_empty()) {
        Some(path) => PathBuf::from(path),
        None => {
            let target = std::env::var_os("CARGO_TARGET_DIR").map_or_else(
                || Path::new(env!("CARGO_MANIFEST_DIR")).join("../target"),
                PathBuf::from,
            );
            target.join("debug").join(name)
        }
    };
    if !path.is_file() {
        bail!(
            "{} is not there: `cargo build --package {name}`, or set {variable}",
            path.display()
        );
    }
    Ok(path)
}
