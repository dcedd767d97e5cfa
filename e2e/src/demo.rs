//! The main job, told step by step on real input: an API is published once, two tenants use it
//! with plain kubectl, it runs at two physical clusters and reports back.
//!
//! Start at [`run`]. Each step says what it is about to show, does it as a user would, and checks
//! the result at the physical clusters' own API servers; a step that does not come true ends the
//! story with an error. The same steps are a test (`e2e/tests/demo.rs`).

use std::path::{Path, PathBuf};
use std::time::Instant;

use anyhow::{Context, Result, anyhow};
use serde_json::{Value, json};

use crate::fleet::{Fleet, PATIENCE, PLATFORM, line};
use crate::kubectl::Kubectl;
use crate::site::Site;
use crate::{tools, wait};

/// The two sites.
pub const BERLIN: &str = "edge-berlin";
/// The other one.
pub const FRANKFURT: &str = "dc-frankfurt";
/// Nodes of each cluster that the demo starts.
const NODES: u32 = 3;

const DEPLOYMENTS: &str = "apis/apps/v1/deployments";
const SERVICES: &str = "api/v1/services";
const MAPS: &str = "api/v1/configmaps";
const GATEWAYS: &str = "apis/gateway.networking.k8s.io/v1/gateways";
const CERTIFICATES: &str = "apis/cert-manager.io/v1/certificates";
const SPREAD: &str = "/apis/apps/v1/namespaces/default/deployments/spread";

/// What the demo runs on.
#[derive(Default)]
pub struct Options {
    /// Physical clusters of the user's own, by the names above.
    pub own: Vec<(String, PathBuf)>,
}

/// Everything that runs.
pub struct Demo {
    /// The hub and its sites.
    pub fleet: Fleet,
    /// The clusters that the demo started itself.
    pub clusters: Vec<Site>,
    started: Instant,
    step: usize,
}

/// Tells the story to its end; what it started goes on running until the answer is dropped.
///
/// # Errors
/// The first step that does not come true.
pub async fn run(options: &Options) -> Result<Demo> {
    let started = Instant::now();
    let mut demo = begin(options, started).await?;
    demo.publish().await?;
    let shop = demo.shop().await?;
    demo.spread().await?;
    demo.follow().await?;
    demo.repair().await?;
    demo.silence().await?;
    demo.leave(&shop).await?;
    demo.say("done: every step was checked at the clusters' own API servers");
    Ok(demo)
}

async fn begin(options: &Options, started: Instant) -> Result<Demo> {
    println!("Starting a hub and two physical clusters (about a minute on two cores) ...");
    let fleet = Fleet::start().await?;
    let mut demo = Demo {
        fleet,
        clusters: Vec::new(),
        started,
        step: 0,
    };
    demo.say(&format!(
        "the hub was ready after {:?}",
        demo.fleet.hub.start_time
    ));
    for name in [BERLIN, FRANKFURT] {
        let own = options
            .own
            .iter()
            .find(|(n, _)| n == name)
            .map(|(_, file)| file.clone());
        let kubeconfig = match own {
            Some(file) => file,
            None => {
                let cluster = Site::start(name, NODES).await?;
                let file = cluster.kubeconfig();
                demo.clusters.push(cluster);
                file
            }
        };
        install(&kubeconfig)
            .await
            .with_context(|| format!("third-party CRDs at {name}"))?;
        demo.fleet.join(name, &kubeconfig).await?;
        demo.say(&format!(
            "{name} has joined with one token and an own certificate"
        ));
    }
    print!("{}", demo.fleet.hanse(PLATFORM, &["site", "list"]).await?);
    Ok(demo)
}

/// Installs Gateway API and cert-manager, as a cluster's operator would.
pub async fn install(kubeconfig: &Path) -> Result<()> {
    let kubectl = Kubectl::new(kubeconfig)?;
    for set in ["gateway-api-", "cert-manager-"] {
        let dir = crds(set)?.display().to_string();
        kubectl.ok(&["apply", "--server-side", "-f", &dir]).await?;
    }
    let waiting = [
        "wait",
        "--for=condition=Established",
        "--timeout=60s",
        "crd",
        "--all",
    ];
    kubectl.ok(&waiting).await.map(|_| ())
}

/// Where set-up put the CRDs of a project.
fn crds(prefix: &str) -> Result<PathBuf> {
    let dir = tools::cache().join("crds");
    let entries = std::fs::read_dir(&dir)
        .with_context(|| format!("{}: run `cargo xtask setup` first", dir.display()))?;
    entries
        .filter_map(|entry| entry.ok().map(|e| e.path()))
        .find(|path| {
            path.file_name()
                .is_some_and(|n| n.to_string_lossy().starts_with(prefix))
        })
        .with_context(|| format!("{prefix}* is not there: run `cargo xtask setup` first"))
}

impl Demo {
    fn say(&mut self, words: &str) {
        self.step += 1;
        let seconds = self.started.elapsed().as_secs();
        println!(
            "[{:>2}:{:02}] {:>2}. {words}",
            seconds / 60,
            seconds % 60,
            self.step
        );
    }

    /// The platform team publishes what the sites serve.
    async fn publish(&mut self) -> Result<()> {
        let site = self.fleet.site(FRANKFURT)?.kubeconfig.display().to_string();
        for (export, resources) in [
            ("kubernetes", &["deployments.apps", "services"][..]),
            ("gateway-api", &["*.gateway.networking.k8s.io"][..]),
            ("cert-manager", &["*.cert-manager.io"][..]),
        ] {
            let mut words = vec!["import", "--site-kubeconfig", &site, "--export", export];
            words.extend(resources);
            let printed = self.fleet.hanse(PLATFORM, &words).await?;
            let schemas = printed
                .lines()
                .filter(|l| l.starts_with("apiresourceschema"))
                .count();
            self.say(&format!(
                "published {export}: {schemas} kinds, as {FRANKFURT} serves them"
            ));
        }
        Ok(())
    }

    /// One tenant runs an application of several kinds at one site. Answers its logical cluster.
    async fn shop(&mut self) -> Result<String> {
        let exports = ["kubernetes", "gateway-api", "cert-manager"];
        let tenant = self.fleet.tenant("shop", &exports).await?;
        tenant.apply(&application()).await?;
        for object in [
            (MAPS, "settings"),
            (SERVICES, "web"),
            (DEPLOYMENTS, "web"),
            (GATEWAYS, "entry"),
            (CERTIFICATES, "entry"),
        ] {
            self.fleet
                .below(FRANKFURT, "shop", object, |_| true)
                .await?;
        }
        self.say(&format!(
            "shop's ConfigMap, Service, Deployment, Gateway and Certificate are at {FRANKFURT}"
        ));
        let ready = |d: &Value| d["status"]["readyReplicas"] == 2;
        self.fleet
            .below(FRANKFURT, "shop", (DEPLOYMENTS, "web"), ready)
            .await?;
        let web = "/apis/apps/v1/namespaces/default/deployments/web";
        self.fleet
            .above("shop", web, |d| ready(d) && line(d) == "1/1")
            .await?;
        self.say("its Pods are ready there, and `kubectl get deployment` says so in the workspace");
        let cluster = self.fleet.cluster_of("shop").await?;
        let elsewhere = self.fleet.namespaces(BERLIN).await?;
        if elsewhere.keys().any(|(of, _)| *of == cluster) {
            return Err(anyhow!("something of shop is at {BERLIN}"));
        }
        Ok(cluster)
    }

    /// Another tenant spreads six replicas over both sites.
    async fn spread(&mut self) -> Result<()> {
        let tenant = self.fleet.tenant("fair", &["kubernetes"]).await?;
        let objects = json!([{"group": "apps", "resource": "deployments"}]);
        let placement = placement(objects, json!({}), json!({"mode": "Divide"}));
        tenant.apply(&placement.to_string()).await?;
        tenant.apply(&deployment("spread", 6).to_string()).await?;
        self.shares(3, 3).await?;
        self.above_is(6).await?;
        self.say("fair's six replicas run three and three; readyReplicas above says 6");
        Ok(())
    }

    /// Waits until the sites run so many of the spread replicas.
    async fn shares(&self, berlin: i64, frankfurt: i64) -> Result<()> {
        for (site, share) in [(BERLIN, berlin), (FRANKFURT, frankfurt)] {
            let ready =
                |d: &Value| d["spec"]["replicas"] == share && d["status"]["readyReplicas"] == share;
            self.fleet
                .below(site, "fair", (DEPLOYMENTS, "spread"), ready)
                .await?;
        }
        Ok(())
    }

    async fn above_is(&self, ready: i64) -> Result<()> {
        let right = |d: &Value| d["status"]["readyReplicas"] == ready && line(d) == "2/2";
        self.fleet.above("fair", SPREAD, right).await.map(|_| ())
    }

    fn fair(&self) -> Result<Kubectl> {
        self.fleet.hub.kubectl(&format!("{PLATFORM}:fair"))
    }

    async fn scale(&self, replicas: u32) -> Result<()> {
        let words = [
            "scale",
            "deployment/spread",
            &format!("--replicas={replicas}"),
        ];
        self.fair()?.ok(&words).await.map(|_| ())
    }

    /// A change above is followed below.
    async fn follow(&mut self) -> Result<()> {
        self.scale(4).await?;
        self.shares(2, 2).await?;
        self.above_is(4).await?;
        self.say("scaled to four above: two and two below, 4 ready above");
        Ok(())
    }

    /// What is deleted behind the hub's back comes back.
    async fn repair(&mut self) -> Result<()> {
        let found = |_: &Value| true;
        let below = self
            .fleet
            .below(BERLIN, "fair", (DEPLOYMENTS, "spread"), found)
            .await?;
        let old = below["metadata"]["uid"].clone();
        let namespace = below["metadata"]["namespace"].as_str().unwrap_or_default();
        let path = format!("/apis/apps/v1/namespaces/{namespace}/deployments/spread");
        self.fleet
            .site(BERLIN)?
            .client
            .delete(&path)
            .await?
            .success()?;
        let new = |d: &Value| d["metadata"]["uid"] != old && d["status"]["readyReplicas"] == 2;
        self.fleet
            .below(BERLIN, "fair", (DEPLOYMENTS, "spread"), new)
            .await?;
        self.say(&format!(
            "deleted at {BERLIN} behind the hub's back: made again by its syncer"
        ));
        Ok(())
    }

    /// One site falls silent; the other goes on, and nothing pretends to know.
    async fn silence(&mut self) -> Result<()> {
        self.fleet.site(BERLIN)?.relay.cut(true);
        self.fleet.contact(BERLIN, "Late").await?;
        self.say(&format!("cut {BERLIN}'s link: it is Late"));
        self.scale(6).await?;
        let share = |d: &Value| d["status"]["readyReplicas"] == 3;
        self.fleet
            .below(FRANKFURT, "fair", (DEPLOYMENTS, "spread"), share)
            .await?;
        self.fleet.contact(BERLIN, "Lost").await?;
        let unknown = |d: &Value| {
            line(d).starts_with("1/2 (1 unknown since ") && d["status"]["readyReplicas"] == 3
        };
        let object = self.fleet.above("fair", SPREAD, unknown).await?;
        self.say(&format!(
            "then Lost; {FRANKFURT} went on and follows a new count; above it says \"{}\"",
            line(&object)
        ));
        self.fleet.site(BERLIN)?.relay.cut(false);
        self.fleet.contact(BERLIN, "Live").await?;
        self.shares(3, 3).await?;
        self.above_is(6).await?;
        self.say("mended the link: it caught up by itself, six ready above");
        Ok(())
    }

    /// A workspace is deleted and everything of it is gone below.
    async fn leave(&mut self, cluster: &str) -> Result<()> {
        let platform = self.fleet.hub.kubectl(PLATFORM)?;
        platform
            .ok(&["delete", "workspace", "shop", "--timeout=120s"])
            .await?;
        self.fleet.gone(FRANKFURT, cluster).await?;
        let member = self.fleet.site(FRANKFURT)?;
        wait::until("no Gateway left", PATIENCE, async || {
            let list = member
                .client
                .get(&format!("/{GATEWAYS}"))
                .await?
                .success()?;
            match list["items"].as_array().is_none_or(Vec::is_empty) {
                true => Ok(()),
                false => Err(anyhow!("{list}")),
            }
        })
        .await?;
        self.say("deleted workspace shop: everything of it is gone below");
        Ok(())
    }

    /// What to look at while it stays up.
    ///
    /// # Errors
    /// A kubeconfig that cannot be written.
    pub fn invite(&self) -> Result<()> {
        let hub = &self.fleet.hub;
        let platform = hub.cluster_kubeconfig(PLATFORM)?.display().to_string();
        let fair = hub
            .cluster_kubeconfig(&format!("{PLATFORM}:fair"))?
            .display()
            .to_string();
        println!("\nkubeconfigs:");
        println!("  hub, administrator   {}", hub.kubeconfig().display());
        println!("  platform team        {platform}");
        println!("  tenant fair          {fair}");
        for (name, member) in &self.fleet.sites {
            println!("  {name:<20} {}", member.kubeconfig.display());
        }
        println!("\ntry:");
        println!("  kubectl --kubeconfig {fair} get deployments,projections");
        println!("  kubectl --kubeconfig {fair} scale deployment/spread --replicas=9");
        println!("  kubectl hanse --kubeconfig {fair} why deployment/spread");
        println!("  kubectl hanse --kubeconfig {platform} site list");
        println!(
            "  kubectl ws --kubeconfig {} tree",
            hub.kubeconfig().display()
        );
        println!("\nCtrl-C stops everything.");
        Ok(())
    }
}

fn placement(objects: Value, sites: Value, spread: Value) -> Value {
    json!({
        "apiVersion": "sites.hanse.dev/v1alpha1", "kind": "Placement",
        "metadata": {"name": "here"},
        "spec": {"objects": objects, "sites": sites, "spread": spread},
    })
}

fn deployment(name: &str, replicas: u32) -> Value {
    json!({
        "apiVersion": "apps/v1", "kind": "Deployment",
        "metadata": {"name": name, "namespace": "default"},
        "spec": {
            "replicas": replicas, "selector": {"matchLabels": {"app": name}},
            "template": {
                "metadata": {"labels": {"app": name}},
                "spec": {"containers": [{
                    "name": name, "image": "registry.invalid/web",
                    "ports": [{"containerPort": 8080}],
                }]},
            },
        },
    })
}

/// An application of five kinds and the Placement that sends it to one site.
fn application() -> String {
    let objects = json!([
        {"resource": "configmaps"},
        {"resource": "services"},
        {"group": "apps", "resource": "deployments"},
        {"group": "gateway.networking.k8s.io", "resource": "gateways"},
        {"group": "cert-manager.io", "resource": "certificates"},
    ]);
    let meta = |name: &str| json!({"name": name, "namespace": "default"});
    let documents = [
        placement(
            objects,
            json!({"selector": {"matchLabels": {"site": FRANKFURT}}}),
            json!({}),
        ),
        json!({
            "apiVersion": "v1", "kind": "ConfigMap", "metadata": meta("settings"),
            "data": {"greeting": "hello"},
        }),
        json!({
            "apiVersion": "v1", "kind": "Service", "metadata": meta("web"),
            "spec": {"selector": {"app": "web"}, "ports": [{"port": 80, "targetPort": 8080}]},
        }),
        deployment("web", 2),
        json!({
            "apiVersion": "gateway.networking.k8s.io/v1", "kind": "Gateway",
            "metadata": meta("entry"),
            "spec": {"gatewayClassName": "internal", "listeners": [
                {"name": "http", "port": 80, "protocol": "HTTP"},
            ]},
        }),
        json!({
            "apiVersion": "cert-manager.io/v1", "kind": "Certificate", "metadata": meta("entry"),
            "spec": {"secretName": "entry-tls", "dnsNames": ["shop.example.com"],
                     "issuerRef": {"name": "internal"}},
        }),
    ];
    documents.iter().map(|d| format!("---\n{d}\n")).collect()
}
