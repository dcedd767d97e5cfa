//! Puts the rooms together: the one place that knows every part of the server.
//!
//! Start at [`assemble`]. Each part takes what it needs as arguments, so the order here is the
//! order of their dependencies: store, hub, view, authorization, admission, tenancy, catalog,
//! service, controllers. The invariant: when it returns, the shard's first objects are durable,
//! and every request can be answered.

use std::sync::Arc;

use anyhow::{Context, Result, anyhow};
use hanse_admission::Admission;
use hanse_api::audit::{Log, Policy};
use hanse_api::endings::Endings;
use hanse_api::health::Health;
use hanse_api::metrics::{Figure, Metrics};
use hanse_api::{Parts, Service, version};
use hanse_auth::authority::Authority;
use hanse_auth::certificate::ClientCa;
use hanse_auth::token::Signer;
use hanse_auth::{Authenticator, Authorizer, StaticTokens, UserInfo, View};
use hanse_cache::{ClusterName, Hub, ResourceId};
use hanse_controllers as controllers;
use hanse_kinds::ResourceDef;
use hanse_reconcile::Counts;
use hanse_seams::{Seams, Shutdown, Task};
use hanse_sites::Sites;
use hanse_tenancy::catalog::Catalog;
use hanse_tenancy::controllers::Controllers;
use hanse_tenancy::{Forms, Maker, ShardConfig, Tenancy};
use rustls_pki_types::CertificateDer;
use rustls_pki_types::pem::PemObject;

use crate::audit_log::Rotating;
use crate::config::Config;
use crate::kubeconfig::{self, Admin, KCP_ADMIN, Layout, SHARD_ADMIN, USER};
use crate::pki::Pki;
use crate::{packing, process, storage};

/// Issuer of service account tokens, and their audience.
const ISSUER: &str = "https://kcp.default.svc";

/// The server, ready to serve.
pub struct Server {
    /// Answers requests.
    pub service: Service,
    /// Background work, to be waited for when the server stops.
    pub tasks: Vec<Task>,
}

/// Builds the server from its configuration.
///
/// # Errors
/// Files, keys and stores that cannot be used; the text says which.
pub async fn assemble(
    config: &Config,
    pki: &Pki,
    seams: &Seams,
    stop: &Shutdown,
) -> Result<Server> {
    let engine = hanse_store_redb::Config::new(config.root.join("data"));
    let storage = storage::open(&engine, &config.encryption, seams).await?;
    let hub = Hub::open(Arc::clone(&storage.store), memory()).await?;
    let view = Arc::new(View::new(hub.clone()));
    let authorizer = Arc::new(Authorizer::new(Arc::clone(&view)));
    let admission = Admission::new(Arc::clone(&authorizer));
    let admission = Arc::new(admission.with_object_limit(config.object_limit));
    let built_in = hanse_kinds::builtin().to_vec();
    let system = hanse_kinds::kcp::system_crds().to_vec();
    let known: Vec<Arc<ResourceDef>> = built_in.iter().chain(&system).cloned().collect();
    let forms = Arc::new(Forms::new(&known));
    let maker = Maker::new(seams.clone(), Arc::clone(&forms));
    let tenancy = Arc::new(Tenancy::new(
        Arc::clone(&admission),
        shard(config, pki),
        maker,
    ));
    tenancy.bootstrap().await?;
    hanse_sites::bootstrap(&tenancy).await?;
    let catalog = Arc::new(Catalog::new(Arc::clone(&view), forms, system, built_in));
    let signer = Signer::from_pem(pki.service_account_key.as_bytes(), ISSUER)?;
    let signer = Arc::new(signer);
    let authenticator = authenticator(config, pki, &signer, &view, seams)?;
    let metrics = Metrics::new(&version::git_version());
    let health = Arc::new(Health::default());
    let authority = Authority::from_pem(&pki.client_ca_cert, &pki.client_ca_key)?;
    let authority = Arc::new(authority);
    let sites = sites(&authority, &tenancy, &signer)?;
    let service = Service::new(Parts {
        seams: seams.clone(),
        hub: hub.clone(),
        catalog: Arc::clone(&catalog),
        authenticator: Arc::new(authenticator),
        authorizer,
        admission,
        tenancy: Arc::clone(&tenancy),
        sites: Some(Arc::clone(&sites)),
        health: Arc::clone(&health),
        audit: audit(config, seams, &metrics)?,
        metrics,
        external_address: config.external_address.clone(),
        process: process::figures,
        traffic: config.traffic,
    });
    add_checks(&health, &hub, &service);
    if let Some(probe) = storage.health() {
        health.add("kms-providers", true, probe);
    }
    let own = controllers_config(pki, authority, signer, catalog);
    let started = controllers::start(&hub, seams, own, stop);
    service.add_figures(queue_figures("controllers", started.counter()));
    service.add_figures(queue_figures("sites", sites.counter()));
    let mut tasks = started.tasks;
    tasks.push(seams.spawn("endings", Endings::new(&service).run(stop.clone())));
    tasks.push(seams.spawn("sites", sites.run(stop.clone())));
    let packing = packing::run(hub.clone(), seams.clone(), stop.clone());
    tasks.push(seams.spawn("packing", packing));
    let tenancy = Controllers::new(tenancy);
    service.add_figures(queue_figures("tenancy", tenancy.counter()));
    tasks.extend(tenancy.start(stop));
    tasks.extend(storage.start(&config.encryption, seams, stop));
    Ok(Server { service, tasks })
}

/// How every hub of this program keeps its objects.
pub fn memory() -> hanse_cache::Config {
    hanse_cache::Config {
        parts: hanse_sites::PARTS,
        ..hanse_cache::Config::default()
    }
}

fn shard(config: &Config, pki: &Pki) -> ShardConfig {
    ShardConfig {
        name: config.shard_name.clone(),
        base_url: config.base_url.clone(),
        external_url: config.external_url.clone(),
        virtual_workspace_url: config.virtual_workspace_url.clone(),
        ca_pem: pki.ca_cert.clone(),
        batteries: config.batteries.clone(),
        home_creator_groups: config.home_creator_groups.clone(),
    }
}

fn authenticator(
    config: &Config,
    pki: &Pki,
    signer: &Arc<Signer>,
    view: &Arc<View>,
    seams: &Seams,
) -> Result<Authenticator> {
    let mut tokens = StaticTokens::default();
    if let Some(csv) = &config.tokens {
        tokens
            .read_csv(csv)
            .map_err(|why| anyhow!("--token-auth-file: {why}"))?;
    }
    if config.batteries.iter().any(|battery| battery == "admin") {
        add_administrators(config, pki, seams, &mut tokens)?;
    }
    let mut authorities = pki.client_ca_cert.clone();
    authorities.push_str(config.client_ca.as_deref().unwrap_or_default());
    let authorities = CertificateDer::pem_slice_iter(authorities.as_bytes())
        .collect::<Result<Vec<_>, _>>()
        .context("--client-ca-file is not PEM")?;
    let config = hanse_auth::Config {
        client_ca: Some(ClientCa::new(&authorities).context("--client-ca-file")?),
        tokens,
        signer: Arc::clone(signer),
        audiences: vec![ISSUER.to_owned()],
    };
    Ok(Authenticator::new(config, Arc::clone(view), seams.clone()))
}

/// The users of `admin.kubeconfig`, which is written anew.
fn add_administrators(
    config: &Config,
    pki: &Pki,
    seams: &Seams,
    tokens: &mut StaticTokens,
) -> Result<()> {
    let random = || {
        let mut bytes = [0; 16];
        seams.rng.fill(&mut bytes);
        bytes
    };
    let admin = Admin::ensure(
        &Layout {
            kubeconfig: &config.kubeconfig,
            token_store: &config.token_store,
            base_url: &format!("https://{}", config.external_address),
            ca_cert: trusted(config, pki),
            with_user: config.batteries.iter().any(|battery| battery == "user"),
        },
        random,
    )?;
    let mut insert = |token: &str, name: &str, groups: &[&str]| {
        let mut user = UserInfo::new(name, groups);
        user.uid = kubeconfig::uuid(random());
        tokens.insert(token, user);
    };
    insert(&admin.shard_admin, SHARD_ADMIN, &["system:masters"]);
    insert(&admin.kcp_admin, KCP_ADMIN, &["system:kcp:admin"]);
    if let Some(token) = &admin.user {
        insert(token, USER, &[]);
    }
    Ok(())
}

/// What the kubeconfig's clients are to trust: our authority, or the certificate given to us.
fn trusted<'c>(config: &'c Config, pki: &'c Pki) -> &'c str {
    config
        .own_certificate
        .as_ref()
        .map_or(&pki.ca_cert, |own| &own.cert)
}

fn audit(config: &Config, seams: &Seams, metrics: &Metrics) -> Result<Option<Log>> {
    let Some(audit) = &config.audit else {
        return Ok(None);
    };
    let document = hanse_wire::yaml::parse(audit.policy.as_bytes());
    let document = document
        .map_err(|error| anyhow!("--audit-policy-file: {error}"))?
        .value;
    let policy =
        Policy::from_value(&document).map_err(|why| anyhow!("--audit-policy-file: {why}"))?;
    let path = &audit.path;
    let sink: Box<dyn std::io::Write + Send> = if path.as_os_str() == "-" {
        Box::new(std::io::stdout())
    } else {
        let file = Rotating::open(path, audit.keep, Arc::clone(&seams.clock));
        Box::new(file.with_context(|| format!("--audit-log-path {}", path.display()))?)
    };
    Ok(Some(Log::new(policy, sink, seams, metrics.clone())))
}

/// A queue of controllers under the names of Kubernetes' dashboards.
fn queue_figures(
    name: &'static str,
    counts: impl Fn() -> Counts + Send + 'static,
) -> impl Fn() -> Vec<Figure> + Send + 'static {
    move || {
        let now = counts();
        [
            ("workqueue_depth", "gauge", now.depth as f64),
            ("workqueue_adds_total", "counter", now.adds as f64),
            ("workqueue_retries_total", "counter", now.retries as f64),
            ("workqueue_working", "gauge", now.working as f64),
        ]
        .map(|(metric, kind, value)| Figure::new(metric, kind, &[("name", name)], value))
        .into()
    }
}

/// The checks of `/livez` and `/readyz`. Names that monitors know are kept where they fit: `etcd`
/// is the store.
fn add_checks(health: &Health, hub: &Hub, service: &Service) {
    health.add("ping", false, Box::new(|| Ok(())));
    health.add("log", false, Box::new(|| Ok(())));
    let hub = hub.clone();
    health.add(
        "etcd",
        false,
        Box::new(move || match hub.failure() {
            // A full disk is none: there may be room again.
            Some(why) => Err(format!("the store cannot be written any more: {why}")),
            None => Ok(()),
        }),
    );
    let stopping = service.stopping();
    health.add(
        "shutdown",
        true,
        Box::new(move || match stopping.is_triggered() {
            true => Err("process is shutting down".to_owned()),
            false => Ok(()),
        }),
    );
}

/// The hub's half of the way to the physical clusters.
fn sites(
    authority: &Arc<Authority>,
    tenancy: &Arc<Tenancy>,
    signer: &Arc<Signer>,
) -> Result<Arc<Sites>> {
    let audiences = vec![ISSUER.to_owned()];
    Sites::new(
        Arc::clone(tenancy),
        Arc::clone(signer),
        audiences,
        Arc::clone(authority),
    )
    .context("the export of sites is missing in root")
}

fn controllers_config(
    pki: &Pki,
    authority: Arc<Authority>,
    signer: Arc<Signer>,
    catalog: Arc<Catalog>,
) -> controllers::Config {
    controllers::Config {
        root_ca: pki.ca_cert.as_str().into(),
        client_ca: Some(authority),
        signer,
        kinds: Arc::new(ServedKinds(catalog)),
    }
}

/// What controllers ask the catalog.
struct ServedKinds(Arc<Catalog>);

impl controllers::Kinds for ServedKinds {
    fn find(
        &self,
        cluster: &ClusterName,
        api_version: &str,
        kind: &str,
    ) -> Option<controllers::Owner> {
        let surface = self.0.surface(cluster);
        let of = |row: &&Arc<ResourceDef>| row.kind == kind && row.api_version() == api_version;
        let row = surface.rows().iter().find(of)?;
        let storage = &row.storage;
        Some(controllers::Owner {
            resource: ResourceId::new(&storage.group, &storage.resource, &storage.identity),
            namespaced: row.namespaced,
        })
    }
}
