//! A hub with real physical clusters joined to it, each over a link that can be cut.
//!
//! Start at [`Fleet::start`] and [`Fleet::join`]. Tests and the demo share this; what they do with
//! it they do as users would: with kubectl, with its plugins, and with manifests.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context, Result, anyhow, bail};
use serde_json::{Value, json};

use crate::http::Client;
use crate::hub::{Hub, Syncer, program};
use crate::kubeconfig::Access;
use crate::kubectl::Kubectl;
use crate::relay::Relay;
use crate::site::TokenUser;
use crate::wait;

/// How long anything between hub and sites may take on a machine that is busy.
pub const PATIENCE: Duration = Duration::from_secs(60);
/// The workspace of the platform team, in which the sites are.
pub const PLATFORM: &str = "root:platform";

/// A hub and its sites.
pub struct Fleet {
    /// The hub.
    pub hub: Hub,
    /// The joined sites.
    pub sites: BTreeMap<String, Member>,
}

/// A physical cluster that has joined.
pub struct Member {
    /// Its administrator's kubeconfig.
    pub kubeconfig: PathBuf,
    /// Its API, as its administrator.
    pub client: Client,
    /// Its agent.
    pub syncer: Syncer,
    /// The agent's link to the hub.
    pub relay: Relay,
    /// The agent's state.
    pub state: PathBuf,
    /// The certificate with which it joined (PEM).
    pub first_certificate: String,
}

impl Fleet {
    /// Starts a hub with the platform team's workspace.
    pub async fn start() -> Result<Fleet> {
        Fleet::start_with(&[]).await
    }

    /// The same with users who are known by static tokens.
    pub async fn start_with(users: &[TokenUser<'_>]) -> Result<Fleet> {
        let hub = Hub::start_with(users).await?;
        hub.workspace("root", "platform", "organization").await?;
        Ok(Fleet {
            hub,
            sites: BTreeMap::new(),
        })
    }

    /// Runs `kubectl hanse` in a workspace; answers what it prints.
    pub async fn hanse(&self, path: &str, args: &[&str]) -> Result<String> {
        let kubeconfig = self.hub.cluster_kubeconfig(path)?;
        let output = tokio::process::Command::new(program("KUBECTL_HANSE_BIN", "kubectl-hanse")?)
            .arg("--kubeconfig")
            .arg(kubeconfig)
            .args(args)
            .output()
            .await?;
        if !output.status.success() {
            bail!("{}", String::from_utf8_lossy(&output.stderr).trim());
        }
        Ok(String::from_utf8_lossy(&output.stdout).into_owned())
    }

    /// A bootstrap kubeconfig for a site, its server behind the relay at `port`.
    pub async fn bootstrap(&self, name: &str, port: u16) -> Result<String> {
        let printed = self
            .hanse(
                PLATFORM,
                &[
                    "site",
                    "join",
                    name,
                    "--label",
                    &format!("site={name}"),
                    "-o",
                    "kubeconfig",
                ],
            )
            .await?;
        let hub = self.hub.access()?.server;
        Ok(printed.replace(&hub, &format!("https://127.0.0.1:{port}")))
    }

    /// Joins a physical cluster and waits until its agent is heard. Intervals are short, so that
    /// silence is noticed within seconds.
    pub async fn join(&mut self, name: &str, kubeconfig: &Path) -> Result<()> {
        self.join_with(name, kubeconfig, &json!({})).await
    }

    /// The same with more in the Site's spec.
    pub async fn join_with(&mut self, name: &str, kubeconfig: &Path, spec: &Value) -> Result<()> {
        let access = self.hub.access()?;
        let port: u16 = access
            .server
            .rsplit(':')
            .next()
            .unwrap_or_default()
            .parse()?;
        let relay = Relay::start(port).await?;
        let bootstrap = self.bootstrap(name, relay.port).await?;
        let state = self.hub.scratch().join(format!("syncer-{name}"));
        std::fs::create_dir_all(&state)?;
        let file = state.join("bootstrap.kubeconfig");
        std::fs::write(&file, bootstrap)?;
        let mut spec = spec.clone();
        spec["times"] = json!({"leaseSeconds": 1, "lateSeconds": 4, "lostSeconds": 10});
        let platform = self.hub.kubectl(PLATFORM)?;
        let patch = json!({"spec": spec}).to_string();
        platform
            .ok(&["patch", "site", name, "--type=merge", "-p", &patch])
            .await?;
        let text = |path: &Path| path.display().to_string();
        let syncer = Syncer::start(
            &[
                "--hub-kubeconfig",
                &text(&file),
                "--site-kubeconfig",
                &text(kubeconfig),
                "--state-dir",
                &text(&state),
            ],
            &state.join("syncer.log"),
        )?;
        let client = Client::connect(&Access::read(kubeconfig, None)?)?;
        let kubeconfig = kubeconfig.to_path_buf();
        let member = Member {
            kubeconfig,
            client,
            syncer,
            relay,
            state,
            first_certificate: String::new(),
        };
        self.sites.insert(name.to_owned(), member);
        self.contact(name, "Live").await?;
        let member = self.site_mut(name)?;
        let kept = std::fs::read(member.state.join("identity.json"))?;
        let kept: Value = serde_json::from_slice(&kept)?;
        let certificate = kept["certificate"].as_str().unwrap_or_default();
        certificate.clone_into(&mut member.first_certificate);
        Ok(())
    }

    /// A member by name.
    pub fn site(&self, name: &str) -> Result<&Member> {
        self.sites
            .get(name)
            .with_context(|| format!("{name} has not joined"))
    }

    /// A member by name, to be killed or started.
    pub fn site_mut(&mut self, name: &str) -> Result<&mut Member> {
        self.sites
            .get_mut(name)
            .with_context(|| format!("{name} has not joined"))
    }

    /// Waits until `kubectl get site` says this of a site: Live, Late or Lost.
    pub async fn contact(&self, name: &str, wanted: &str) -> Result<()> {
        let platform = self.hub.kubectl(PLATFORM)?;
        let words = ["get", "site", name, "--no-headers"];
        wait::until(&format!("{name} {wanted}"), PATIENCE, async || {
            let row = platform.ok(&words).await?;
            match row.split_whitespace().nth(1) == Some(wanted) {
                true => Ok(()),
                false => Err(anyhow!("{row}")),
            }
        })
        .await
    }

    /// Makes a tenant's workspace below the platform's, with bindings to exports there and to the
    /// sites; answers kubectl for it.
    pub async fn tenant(&self, name: &str, exports: &[&str]) -> Result<Kubectl> {
        self.hub.workspace(PLATFORM, name, "universal").await?;
        let path = format!("{PLATFORM}:{name}");
        let kubectl = self.hub.kubectl(&path)?;
        let mut all = vec![("root", "sites.hanse.dev")];
        all.extend(exports.iter().map(|export| (PLATFORM, *export)));
        for (home, export) in all {
            let binding = json!({
                "apiVersion": "apis.kcp.io/v1alpha2", "kind": "APIBinding",
                "metadata": {"name": export},
                "spec": {"reference": {"export": {"path": home, "name": export}}},
            });
            kubectl.apply(&binding.to_string()).await?;
            let wait = [
                "wait",
                "--for=condition=Ready",
                "--timeout=60s",
                "apibinding",
                export,
            ];
            kubectl.ok(&wait).await?;
        }
        Ok(kubectl)
    }

    /// The namespaces at a site that stand for a tenant's workspace: the annotation of each names
    /// the logical cluster and the tenant's namespace.
    pub async fn namespaces(&self, site: &str) -> Result<BTreeMap<(String, String), String>> {
        let list = self
            .site(site)?
            .client
            .get("/api/v1/namespaces")
            .await?
            .success()?;
        let mut out = BTreeMap::new();
        for namespace in list["items"].as_array().into_iter().flatten() {
            let mark = &namespace["metadata"]["annotations"]["sites.hanse.dev/locator"];
            let Some(locator) = mark.as_str() else {
                continue;
            };
            let locator: Value = serde_json::from_str(locator)?;
            let text = |v: &Value| v.as_str().unwrap_or_default().to_owned();
            let key = (text(&locator["cluster"]), text(&locator["namespace"]));
            out.insert(key, text(&namespace["metadata"]["name"]));
        }
        Ok(out)
    }

    /// The logical cluster of a tenant.
    pub async fn cluster_of(&self, tenant: &str) -> Result<String> {
        let path = format!("/apis/tenancy.kcp.io/v1alpha1/workspaces/{tenant}");
        let workspace = self.hub.cluster(PLATFORM)?.get(&path).await?.success()?;
        let id = workspace["spec"]["cluster"].as_str();
        Ok(id.context("the workspace has no cluster")?.to_owned())
    }

    /// Waits until an object of a tenant's namespace `default` is at a site and looks right;
    /// `collection` is `api/v1/configmaps` or the like.
    pub async fn below(
        &self,
        site: &str,
        tenant: &str,
        (collection, name): (&str, &str),
        right: impl Fn(&Value) -> bool,
    ) -> Result<Value> {
        let cluster = self.cluster_of(tenant).await?;
        let (group, plural) = collection
            .rsplit_once('/')
            .context("a collection has a slash")?;
        let what = format!("{tenant}'s {plural}/{name} at {site}");
        wait::until(&what, PATIENCE, async || {
            let all = self.namespaces(site).await?;
            let namespace = all.get(&(cluster.clone(), "default".to_owned()));
            let namespace = namespace.context("its namespace is not there")?;
            let path = format!("/{group}/namespaces/{namespace}/{plural}/{name}");
            let object = self.site(site)?.client.get(&path).await?.success()?;
            match right(&object) {
                true => Ok(object),
                false => Err(anyhow!("{} {}", object["spec"], object["status"])),
            }
        })
        .await
    }

    /// Waits until a tenant's object looks right above; `path` is that of the object.
    pub async fn above(
        &self,
        tenant: &str,
        path: &str,
        right: impl Fn(&Value) -> bool,
    ) -> Result<Value> {
        let client = self.hub.cluster(&format!("{PLATFORM}:{tenant}"))?;
        wait::until(&format!("{tenant}: {path}"), PATIENCE, async || {
            let object = client.get(path).await?.success()?;
            match right(&object) {
                true => Ok(object),
                false => Err(anyhow!("{} {}", object["metadata"], object["status"])),
            }
        })
        .await
    }

    /// Waits until nothing of a logical cluster is left at a site.
    pub async fn gone(&self, site: &str, cluster: &str) -> Result<()> {
        wait::until(
            &format!("nothing of {cluster} at {site}"),
            PATIENCE,
            async || {
                let left = self.namespaces(site).await?;
                match left.keys().any(|(of, _)| of == cluster) {
                    true => Err(anyhow!("{left:?}")),
                    false => Ok(()),
                }
            },
        )
        .await
    }
}

/// The line that a placed object carries.
pub fn line(object: &Value) -> &str {
    object["metadata"]["annotations"]["sites.hanse.dev/status"]
        .as_str()
        .unwrap_or_default()
}
