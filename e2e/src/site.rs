//! A real physical cluster on the loopback address: etcd, kube-apiserver, controller-manager,
//! scheduler, and kwok, which plays the nodes and their kubelets.
//!
//! Start at [`Site::start`]. The parts of a cluster are independent processes, so that a test can
//! kill any of them; [`Site::apiserver`] alone is enough where nothing has to run. Flags are
//! chosen for little memory and for a start in seconds; data lives in a temporary directory and
//! is not synced to disk, except by [`Site::as_shipped`], which is there to be measured.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use anyhow::{Context, Result, anyhow};
use serde_json::{Value, json};

use crate::http::Client;
use crate::kubeconfig::Access;
use crate::kubectl::Kubectl;
use crate::pki::Authority;
use crate::process::{Process, free_port};
use crate::{tools, wait};

/// How long a cluster may take to become ready on a machine that is busy building.
const START_TIME_MAX: Duration = Duration::from_secs(120);

/// How kwok plays nodes and Pods.
const STAGES: &str = include_str!("../kwok/stages.yaml");

/// The user of the cluster's own parts and of the administrator's certificate.
const MASTERS: &str = "system:masters";

/// A running physical cluster. Dropping it ends its processes and removes its data.
pub struct Site {
    name: String,
    dir: tempfile::TempDir,
    /// How to reach it as an administrator.
    pub access: Access,
    port: u16,
    etcd_port: u16,
    etcd: Option<Process>,
    apiserver: Option<Process>,
    rest: Vec<Process>,
    manner: Manner,
}

/// How the programs of a cluster are run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Manner {
    /// With little memory and without syncing to disk: several clusters share a small machine.
    Lean,
    /// As they come: for measuring them.
    AsShipped,
}

/// A user who is known by a static token: the golden files were recorded with such users.
pub struct TokenUser<'a> {
    pub token: &'a str,
    pub user: &'a str,
    pub groups: &'a [&'a str],
}

impl Site {
    /// Starts all parts and waits until its nodes are ready.
    pub async fn start(name: &str, nodes: u32) -> Result<Site> {
        let mut site = Site::apiserver(name, &[]).await?;
        site.start_controllers()?;
        site.start_nodes(nodes).await?;
        Ok(site)
    }

    /// Starts etcd and the API server alone, and waits until it is ready.
    pub async fn apiserver(name: &str, users: &[TokenUser<'_>]) -> Result<Site> {
        Site::start_in(Manner::Lean, name, users).await
    }

    /// The same to be measured: etcd syncs to disk, and Go's settings are those of the programs.
    pub async fn as_shipped(name: &str) -> Result<Site> {
        Site::start_in(Manner::AsShipped, name, &[]).await
    }

    async fn start_in(manner: Manner, name: &str, users: &[TokenUser<'_>]) -> Result<Site> {
        let dir = tempfile::Builder::new()
            .prefix(&format!("hanse-site-{name}-"))
            .tempdir()?;
        let authority = Authority::new(dir.path())?;
        authority.serving("apiserver")?;
        let admin = authority.client("admin", "admin", MASTERS)?;
        let signer = rcgen::KeyPair::generate()?;
        std::fs::write(
            dir.path().join("service-account.key"),
            signer.serialize_pem(),
        )?;
        std::fs::write(
            dir.path().join("service-account.pub"),
            signer.public_key_pem(),
        )?;
        let tokens: String = users
            .iter()
            .map(|user| {
                let groups = user.groups.join(",");
                format!("{},{},{},\"{groups}\"\n", user.token, user.user, user.user)
            })
            .collect();
        std::fs::write(dir.path().join("tokens.csv"), tokens)?;
        let (port, etcd_port) = (free_port()?, free_port()?);
        let access = Access {
            server: format!("https://127.0.0.1:{port}"),
            ca_pem: authority.pem.clone(),
            client: Some((admin.certificate_pem, admin.key_pem)),
            token: None,
        };
        access.write(&dir.path().join("kubeconfig"), name)?;
        let (etcd, apiserver, rest) = (None, None, Vec::new());
        let name = name.to_owned();
        let mut site = Site {
            name,
            dir,
            access,
            port,
            etcd_port,
            etcd,
            apiserver,
            rest,
            manner,
        };
        site.start_etcd()?;
        site.start_apiserver()?;
        site.wait_ready().await?;
        Ok(site)
    }

    /// The administrator's kubeconfig.
    pub fn kubeconfig(&self) -> PathBuf {
        self.dir.path().join("kubeconfig")
    }

    /// kubectl as the administrator.
    pub fn kubectl(&self) -> Result<Kubectl> {
        Kubectl::new(&self.kubeconfig())
    }

    /// An HTTP client as the administrator.
    pub fn client(&self) -> Result<Client> {
        Client::connect(&self.access)
    }

    /// The directory of its data and logs.
    pub fn dir(&self) -> &Path {
        self.dir.path()
    }

    /// The running API server.
    pub fn process(&self) -> Result<&Process> {
        self.apiserver.as_ref().context("the API server is cut off")
    }

    /// All of its processes: what the cluster costs is what they cost together.
    pub fn processes(&self) -> Vec<&Process> {
        let servers = self.etcd.iter().chain(&self.apiserver);
        servers.chain(&self.rest).collect()
    }

    /// Ends the API server, so that the site's link is cut. Everything else goes on.
    pub fn cut(&mut self) -> Result<()> {
        self.apiserver.take().context("it is cut already")?.kill()
    }

    /// Starts the API server again after [`Site::cut`], on the same port.
    pub async fn restore(&mut self) -> Result<()> {
        self.start_apiserver()?;
        self.wait_ready().await
    }

    fn start_etcd(&mut self) -> Result<()> {
        let data = self.dir.path().join("etcd");
        let (client, peer) = (self.etcd_port, free_port()?);
        let mut command = self.command("etcd", "etcd")?;
        command.arg("--data-dir").arg(data);
        command.args([
            format!("--listen-client-urls=http://127.0.0.1:{client}"),
            format!("--advertise-client-urls=http://127.0.0.1:{client}"),
            format!("--listen-peer-urls=http://127.0.0.1:{peer}"),
            format!("--initial-advertise-peer-urls=http://127.0.0.1:{peer}"),
            format!("--initial-cluster=default=http://127.0.0.1:{peer}"),
            "--log-level=error".to_owned(),
        ]);
        if self.manner == Manner::Lean {
            command.arg("--unsafe-no-fsync");
        }
        self.etcd = Some(self.spawn("etcd", &mut command)?);
        Ok(())
    }

    fn start_apiserver(&mut self) -> Result<()> {
        let dir = self.dir.path().to_path_buf();
        let file = |name: &str| dir.join(name).display().to_string();
        let mut command = self.command("kubernetes", "kube-apiserver")?;
        command.args([
            format!("--etcd-servers=http://127.0.0.1:{}", self.etcd_port),
            format!("--secure-port={}", self.port),
            "--bind-address=127.0.0.1".to_owned(),
            "--advertise-address=127.0.0.1".to_owned(),
            format!("--client-ca-file={}", file("ca.crt")),
            format!("--tls-cert-file={}", file("apiserver.crt")),
            format!("--tls-private-key-file={}", file("apiserver.key")),
            format!("--token-auth-file={}", file("tokens.csv")),
            format!("--service-account-key-file={}", file("service-account.pub")),
            format!(
                "--service-account-signing-key-file={}",
                file("service-account.key")
            ),
            "--service-account-issuer=https://kubernetes.default.svc".to_owned(),
            "--service-cluster-ip-range=10.0.0.0/24".to_owned(),
            "--authorization-mode=Node,RBAC".to_owned(),
            "--endpoint-reconciler-type=none".to_owned(),
            "--profiling=false".to_owned(),
            "--shutdown-delay-duration=0s".to_owned(),
        ]);
        self.apiserver = Some(self.spawn("kube-apiserver", &mut command)?);
        Ok(())
    }

    /// Starts the controller-manager and the scheduler. They wait for the API server themselves.
    pub fn start_controllers(&mut self) -> Result<()> {
        let dir = self.dir.path().to_path_buf();
        let file = |name: &str| dir.join(name).display().to_string();
        let common = [
            format!("--kubeconfig={}", file("kubeconfig")),
            "--leader-elect=false".to_owned(),
            "--secure-port=0".to_owned(),
            "--profiling=false".to_owned(),
        ];
        let mut manager = self.command("kubernetes", "kube-controller-manager")?;
        manager.args(&common).args([
            format!(
                "--service-account-private-key-file={}",
                file("service-account.key")
            ),
            format!("--root-ca-file={}", file("ca.crt")),
            "--concurrent-gc-syncs=2".to_owned(),
        ]);
        let manager = self.spawn("kube-controller-manager", &mut manager)?;
        let mut scheduler = self.command("kubernetes", "kube-scheduler")?;
        let scheduler = self.spawn("kube-scheduler", scheduler.args(&common))?;
        self.rest.extend([manager, scheduler]);
        Ok(())
    }

    /// Makes nodes, lets kwok play them, and waits until they are ready.
    pub async fn start_nodes(&mut self, count: u32) -> Result<()> {
        let stages = self.dir.path().join("stages.yaml");
        std::fs::write(&stages, STAGES)?;
        let mut command = self.command("kwok", "kwok")?;
        command
            .arg("--kubeconfig")
            .arg(self.kubeconfig())
            .arg("--config")
            .arg(stages);
        command.args([
            "--manage-all-nodes=true",
            "--node-lease-duration-seconds=40",
        ]);
        let kwok = self.spawn("kwok", &mut command)?;
        self.rest.push(kwok);
        let client = self.client()?;
        for index in 0..count {
            client
                .post("/api/v1/nodes", &node(index))
                .await?
                .success()?;
        }
        wait::until("all nodes ready", START_TIME_MAX, async || {
            self.check_running()?;
            let list = client.get("/api/v1/nodes").await?.success()?;
            let ready = list["items"]
                .as_array()
                .into_iter()
                .flatten()
                .filter(|node| {
                    let conditions = node["status"]["conditions"].as_array();
                    conditions
                        .into_iter()
                        .flatten()
                        .any(|c| c["type"] == "Ready" && c["status"] == "True")
                });
            match ready.count() {
                ready if ready == count as usize => Ok(()),
                ready => Err(anyhow!("{ready} of {count} nodes are ready")),
            }
        })
        .await
    }

    /// An error with its last words when a part of the cluster has ended.
    pub fn check_running(&mut self) -> Result<()> {
        let parts = self
            .etcd
            .iter_mut()
            .chain(&mut self.apiserver)
            .chain(&mut self.rest);
        parts.into_iter().try_for_each(Process::check_running)
    }

    async fn wait_ready(&mut self) -> Result<()> {
        let client = self.client()?;
        wait::until("the API server ready", START_TIME_MAX, async || {
            self.check_running()?;
            let answer = client.get("/readyz").await?;
            if answer.status.is_success() {
                // The namespace in which everything begins is made after the server is ready.
                client.get("/api/v1/namespaces/default").await?.success()?;
                return Ok(());
            }
            Err(anyhow!("{}", String::from_utf8_lossy(&answer.body)))
        })
        .await
    }

    fn command(&self, set: &str, command: &str) -> Result<Command> {
        let tool = tools::named(set).with_context(|| format!("there is no set {set}"))?;
        let mut command = Command::new(tool.command(command).map_err(|advice| anyhow!(advice))?);
        if self.manner == Manner::Lean {
            // Two clusters and a build share two cores: less memory for a little more work.
            command.env("GOGC", "50").env("GOMAXPROCS", "2");
        }
        command.current_dir(self.dir.path());
        Ok(command)
    }

    fn spawn(&self, part: &str, command: &mut Command) -> Result<Process> {
        let log = self.dir.path().join(format!("{part}.log"));
        Process::start(&format!("{part} of {}", self.name), command, &log)
    }
}

fn node(index: u32) -> Value {
    json!({
        "apiVersion": "v1", "kind": "Node",
        "metadata": {
            "name": format!("node-{index}"),
            "annotations": {"kwok.x-k8s.io/node": "fake"},
            "labels": {"type": "kwok", "kubernetes.io/hostname": format!("node-{index}")},
        },
        "status": {
            "allocatable": {"cpu": "32", "memory": "256Gi", "pods": "110"},
            "capacity": {"cpu": "32", "memory": "256Gi", "pods": "110"},
        },
    })
}
