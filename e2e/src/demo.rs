//! The main job, told step by step on real input: an API is published once, two tenants use it
//! with plain kubectl, it runs at two physical clusters and reports back.
//!
//! Start at [`run`]. Each step says what it is about to show, does it as a user would, and checks
//! the result at the physical clusters' own API servers; a step that does not come true ends the
//! story with an error. The same steps are a test (`e2e/tests/demo.rs`).

use std::path::{Path, PathBuf};
use std::time::Instant;

use anyhow::{Context, Result, anyhow, bail};
use serde_json::{Value, json};

use crate::fleet::{Fleet, PATIENCE, PLATFORM, line};
use crate::hub::program;
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
    /// Whether some are the user's own, and shall be left as they were.
    own: bool,
    story: Story,
}

/// What is printed: numbered headings, and under each what was seen to be true, with the time.
struct Story {
    started: Instant,
    step: usize,
}

impl Story {
    fn step(&mut self, title: &str) {
        self.step += 1;
        println!("\n{:>2}. {title}", self.step);
    }

    /// A fact that has been checked.
    fn seen(&self, words: &str) {
        let seconds = self.started.elapsed().as_secs();
        println!("    [{:>2}:{:02}] {words}", seconds / 60, seconds % 60);
    }

    /// What a user types, or is shown.
    fn quote(&self, text: &str) {
        for line in text.lines() {
            println!("            {line}");
        }
    }
}

/// Tells the story to its end; what it started goes on running until the answer is dropped.
///
/// # Errors
/// The first step that does not come true.
pub async fn run(options: &Options) -> Result<Demo> {
    println!("One API, published once; two tenants with plain kubectl; two physical clusters.");
    println!("Every line with a time was checked at the clusters' own API servers.");
    let mut story = Story {
        started: Instant::now(),
        step: 0,
    };
    let mut demo = begin(options, &mut story).await?.told(story);
    demo.publish().await?;
    let shop = demo.shop().await?;
    demo.spread().await?;
    demo.follow().await?;
    demo.repair().await?;
    demo.silence().await?;
    demo.leave(&shop).await?;
    println!();
    demo.story
        .seen("the story is over, and all of it came true");
    Ok(demo)
}

/// What stands before the story goes on.
struct Begun {
    fleet: Fleet,
    clusters: Vec<Site>,
    own: bool,
}

impl Begun {
    fn told(self, story: Story) -> Demo {
        Demo {
            fleet: self.fleet,
            clusters: self.clusters,
            own: self.own,
            story,
        }
    }
}

async fn begin(options: &Options, story: &mut Story) -> Result<Begun> {
    story.step("A hub, and two physical clusters that join it as sites");
    println!("    starting etcd, kube-apiserver, its controllers and simulated nodes, twice ...");
    let cluster = async |name: &str| -> Result<(PathBuf, Option<Site>)> {
        let own = options.own.iter().find(|(n, _)| n == name);
        let (kubeconfig, site) = match own {
            Some((_, file)) => (file.clone(), None),
            None => {
                let site = Site::start(name, NODES).await?;
                (site.kubeconfig(), Some(site))
            }
        };
        let installed = install(&kubeconfig).await;
        installed.context("third-party CRDs")?;
        Ok((kubeconfig, site))
    };
    let hub = async {
        let fleet = Fleet::start().await?;
        story.seen(&format!(
            "the hub was ready after {:?}",
            fleet.hub.start_time
        ));
        anyhow::Ok(fleet)
    };
    let (hub, berlin, frankfurt) = tokio::join!(hub, cluster(BERLIN), cluster(FRANKFURT));
    let (mut fleet, mut clusters) = (hub?, Vec::new());
    for (name, started) in [(BERLIN, berlin), (FRANKFURT, frankfurt)] {
        let (kubeconfig, site) = started.with_context(|| name.to_owned())?;
        clusters.extend(site);
        fleet.join(name, &kubeconfig).await?;
        story.seen(&format!(
            "{name} has joined: a one-time token, a certificate request, a short-lived certificate"
        ));
    }
    story.quote("$ kubectl hanse site list");
    story.quote(&fleet.hanse(PLATFORM, &["site", "list"]).await?);
    Ok(Begun {
        fleet,
        clusters,
        own: !options.own.is_empty(),
    })
}

/// Installs Gateway API and cert-manager, as a cluster's operator would.
pub async fn install(kubeconfig: &Path) -> Result<()> {
    let kubectl = Kubectl::new(kubeconfig)?;
    for crds in tools::crds() {
        let dir = crds.built();
        if !dir.is_dir() {
            bail!("{}: run `cargo xtask setup` first", dir.display());
        }
        let dir = dir.display().to_string();
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

impl Demo {
    /// Runs kubectl in a tenant's workspace and shows what it printed.
    async fn show(&self, tenant: &str, words: &[&str]) -> Result<()> {
        let kubectl = self.fleet.hub.kubectl(&format!("{PLATFORM}:{tenant}"))?;
        self.story.quote(&format!("$ kubectl {}", words.join(" ")));
        self.story.quote(&kubectl.ok(words).await?);
        Ok(())
    }

    /// The platform team publishes what the sites serve.
    async fn publish(&mut self) -> Result<()> {
        self.story
            .step("The platform team publishes what the sites serve");
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
            self.story.seen(&format!(
                "APIExport {export}: {schemas} kinds, their schemas as {FRANKFURT} serves them"
            ));
        }
        Ok(())
    }

    /// One tenant runs an application of several kinds at one site. Answers its logical cluster.
    async fn shop(&mut self) -> Result<String> {
        self.story
            .step("Tenant shop binds them and runs an application at one site");
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
        self.story.seen(&format!(
            "its ConfigMap, Service, Deployment, Gateway and Certificate are at {FRANKFURT}"
        ));
        let ready = |d: &Value| d["status"]["readyReplicas"] == 2;
        self.fleet
            .below(FRANKFURT, "shop", (DEPLOYMENTS, "web"), ready)
            .await?;
        let web = "/apis/apps/v1/namespaces/default/deployments/web";
        self.fleet
            .above("shop", web, |d| ready(d) && line(d) == "1/1")
            .await?;
        self.story
            .seen("its Pods are ready there, and the workspace says so");
        self.show("shop", &["get", "deployments,services,configmaps"])
            .await?;
        let cluster = self.fleet.cluster_of("shop").await?;
        let elsewhere = self.fleet.namespaces(BERLIN).await?;
        if elsewhere.keys().any(|(of, _)| *of == cluster) {
            return Err(anyhow!("something of shop is at {BERLIN}"));
        }
        self.story.seen(&format!("nothing of it is at {BERLIN}"));
        Ok(cluster)
    }

    /// Another tenant spreads six replicas over both sites.
    async fn spread(&mut self) -> Result<()> {
        self.story
            .step("Tenant fair spreads a Deployment of six replicas over both sites");
        let tenant = self.fleet.tenant("fair", &["kubernetes"]).await?;
        let objects = json!([{"group": "apps", "resource": "deployments"}]);
        let placement = placement(objects, json!({}), json!({"mode": "Divide"}));
        tenant.apply(&placement.to_string()).await?;
        tenant.apply(&deployment("spread", 6).to_string()).await?;
        self.shares(3, 3).await?;
        self.above_is(6).await?;
        self.story
            .seen("three run at each site; readyReplicas above is their sum");
        self.show("fair", &["get", "deployments"]).await
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
        self.story.step("A change above is followed below");
        self.story
            .quote("$ kubectl scale deployment/spread --replicas=4");
        self.scale(4).await?;
        self.shares(2, 2).await?;
        self.above_is(4).await?;
        self.story.seen("two at each site, four ready above");
        Ok(())
    }

    /// What is deleted behind the hub's back comes back.
    async fn repair(&mut self) -> Result<()> {
        self.story
            .step("Somebody deletes the Deployment at a site, behind the hub's back");
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
        self.story.seen(&format!(
            "deleted at {BERLIN}, and made again by its syncer: another uid, two ready"
        ));
        Ok(())
    }

    /// One site falls silent; the other goes on, and nothing pretends to know.
    async fn silence(&mut self) -> Result<()> {
        self.story
            .step("A site's link is cut, and mended (intervals are short here: 4 s, 10 s)");
        self.fleet.site(BERLIN)?.relay.cut(true);
        self.fleet.contact(BERLIN, "Late").await?;
        self.story.seen(&format!("{BERLIN} is Late"));
        self.show("fair", &["get", "deployments"]).await?;
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
        self.story.seen(&format!(
            "{BERLIN} is Lost; {FRANKFURT} went on and follows a scale to six; the object says {:?}",
            line(&object)
        ));
        self.show("fair", &["get", "deployments"]).await?;
        self.fleet.site(BERLIN)?.relay.cut(false);
        self.fleet.contact(BERLIN, "Live").await?;
        self.shares(3, 3).await?;
        self.above_is(6).await?;
        self.story
            .seen("the link is mended: it caught up by itself, six ready above");
        self.show("fair", &["get", "deployments"]).await
    }

    /// A workspace is deleted and everything of it is gone below.
    async fn leave(&mut self, cluster: &str) -> Result<()> {
        self.story
            .step("A workspace is deleted, with everything of it at the sites");
        self.story.quote("$ kubectl delete workspace shop");
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
        self.story.seen("everything of shop is gone below");
        Ok(())
    }

    /// What to look at while it stays up.
    ///
    /// # Errors
    /// A kubeconfig that cannot be written, a program that is not there.
    pub fn invite(&self) -> Result<()> {
        let hub = &self.fleet.hub;
        let platform = hub.cluster_kubeconfig(PLATFORM)?.display().to_string();
        let fair = hub.cluster_kubeconfig(&format!("{PLATFORM}:fair"))?;
        println!("\nIt stays up. Kubeconfigs:");
        println!("  hub, administrator   {}", hub.kubeconfig().display());
        println!("  platform team        {platform}");
        println!("  tenant fair          {}", fair.display());
        for (name, member) in &self.fleet.sites {
            println!("  {name:<20} {}", member.kubeconfig.display());
        }
        let kubernetes = tools::named("kubernetes").context("no Kubernetes set is named")?;
        let kubectl = kubernetes.command("kubectl").map_err(|why| anyhow!(why))?;
        let plugin = program("KUBECTL_HANSE_BIN", "kubectl-hanse")?;
        let dirs: Vec<String> = [kubectl, plugin.canonicalize()?]
            .iter()
            .filter_map(|path| Some(path.parent()?.display().to_string()))
            .collect();
        println!("\nIn another terminal:");
        println!("  export PATH={}:$PATH", dirs.join(":"));
        println!("  export KUBECONFIG={}", fair.display());
        println!("\nFive commands to try:");
        println!("  kubectl get deployments,projections");
        println!("  kubectl scale deployment/spread --replicas=9 && kubectl get deployments -w");
        println!("  kubectl hanse why deployment/spread");
        println!("  kubectl hanse --kubeconfig {platform} site list");
        println!(
            "  kubectl ws --kubeconfig {} tree",
            hub.kubeconfig().display()
        );
        println!("\nCtrl-C stops everything and leaves nothing behind.");
        Ok(())
    }

    /// Takes everything back from clusters that are the user's own; those that the demo started
    /// simply end.
    ///
    /// # Errors
    /// What does not go within a minute.
    pub async fn end(self) -> Result<()> {
        println!("\nstopping ...");
        if !self.own {
            return Ok(());
        }
        let platform = self.fleet.hub.kubectl(PLATFORM)?;
        for tenant in ["shop", "fair"] {
            let Ok(cluster) = self.fleet.cluster_of(tenant).await else {
                continue;
            };
            let words = ["delete", "workspace", tenant, "--timeout=60s"];
            platform.ok(&words).await?;
            for site in [BERLIN, FRANKFURT] {
                self.fleet.gone(site, &cluster).await?;
            }
        }
        println!(
            "your clusters are as they were, but for the CRDs of Gateway API and cert-manager"
        );
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
                    "name": name, "image": "registry.k8s.io/pause:3.10",
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
