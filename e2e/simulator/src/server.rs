//! The server put together over the model of a store, its lives, and the door to it.
//!
//! Start at [`Server`]: [`Server::start`] begins a life in a process of its own on the machine,
//! [`Server::kill`] ends it between two steps. The parts and their order are those of the `hanse`
//! binary, without sockets: a request is a task of the server's process, and whoever sent it waits
//! outside of that process, as a client does.

use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, Result, anyhow};
use hanse_admission::Admission;
use hanse_api::body::Body;
use hanse_api::endings::Endings;
use hanse_api::health::Health;
use hanse_api::metrics::{Metrics, ProcessFigures};
use hanse_api::{ConnInfo, Parts, Service};
use hanse_auth::authority::Authority;
use hanse_auth::token::Signer;
use hanse_auth::{Authenticator, Authorizer, StaticTokens, UserInfo, View};
use hanse_cache::{ClusterName, Hub, ResourceId};
use hanse_controllers as controllers;
use hanse_kinds::ResourceDef;
use hanse_seams::{Seams, Shutdown, Simulation};
use hanse_sites::Sites;
use hanse_store::Store;
use hanse_tenancy::controllers::Controllers;
use hanse_tenancy::{Catalog, Forms, Maker, ShardConfig, Tenancy};
use http::{Request, StatusCode};
use http_body_util::{BodyExt, Full};
use parking_lot::Mutex;
use rcgen::{BasicConstraints, CertificateParams, IsCa, KeyPair};
use serde_json::Value;
use tokio::sync::{mpsc, oneshot};

use crate::disk::Disk;

/// The token of `system:masters`.
const TOKEN: &str = "simulated";
const ISSUER: &str = "https://kcp.default.svc";
/// How long a client waits for an answer before it gives up.
const ANSWER_TIME_MAX: Duration = Duration::from_secs(60);

/// Keys that no seed can make; made once and the same for all runs of a process. Nothing that is
/// compared or stored depends on them.
#[derive(Clone)]
pub struct Keys {
    authority: Arc<Authority>,
    signer: Arc<Signer>,
}

impl Keys {
    /// Makes them.
    ///
    /// # Errors
    /// Those of the cryptographic provider.
    pub fn make() -> Result<Self> {
        let key = KeyPair::generate()?;
        let mut params = CertificateParams::default();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let certificate = params.self_signed(&key)?.pem();
        let authority = Authority::from_pem(&certificate, &key.serialize_pem())?;
        let key = KeyPair::generate()?.serialize_pem();
        let signer = Signer::from_pem(key.as_bytes(), ISSUER)?;
        Ok(Self {
            authority: Arc::new(authority),
            signer: Arc::new(signer),
        })
    }
}

/// One life of the server.
struct Life {
    process: Simulation,
    /// There once it serves.
    open: Option<Open>,
}

/// What a living server shows.
#[derive(Clone)]
struct Open {
    service: Service,
    hub: Hub,
    seams: Seams,
}

/// A server that dies and is started again over the same disk. Cheap to clone.
#[derive(Clone)]
pub struct Server {
    machine: Simulation,
    disk: Arc<Disk>,
    keys: Keys,
    memory: hanse_cache::Config,
    life: Arc<Mutex<Option<Life>>>,
    lives: Arc<Mutex<u64>>,
    /// How often it may still die right after an answer.
    stumbles: Arc<Mutex<u64>>,
    /// Why a start failed, which must never be.
    failure: Arc<Mutex<Option<String>>>,
}

/// An answer.
#[derive(Clone, Debug)]
pub struct Answer {
    /// Its code.
    pub status: StatusCode,
    /// Its body, if it is JSON.
    pub body: Value,
}

impl Server {
    /// A server that does not run yet. `recent_events` is what its hub keeps of the past.
    #[must_use]
    pub fn new(machine: &Simulation, disk: Arc<Disk>, keys: Keys, recent_events: usize) -> Self {
        let memory = hanse_cache::Config {
            recent_events,
            parts: hanse_sites::PARTS,
            planted: machine.seams().planted,
            ..hanse_cache::Config::default()
        };
        Self {
            machine: machine.clone(),
            disk,
            keys,
            memory,
            life: Arc::default(),
            lives: Arc::default(),
            stumbles: Arc::default(),
            failure: Arc::default(),
        }
    }

    /// The disk that outlives it.
    #[must_use]
    pub fn disk(&self) -> &Arc<Disk> {
        &self.disk
    }

    /// The seams of what is outside of the server.
    #[must_use]
    pub fn world(&self) -> Seams {
        self.machine.seams()
    }

    /// How often it was started.
    #[must_use]
    pub fn lives(&self) -> u64 {
        *self.lives.lock()
    }

    /// Begins a life. It serves when [`Server::hub`] is there.
    pub fn start(&self) {
        let process = self.machine.process();
        *self.lives.lock() += 1;
        *self.life.lock() = Some(Life {
            process: process.clone(),
            open: None,
        });
        let (server, seams) = (self.clone(), process.seams());
        let own = seams.clone();
        seams.spawn("server", async move {
            match server.assemble(&own).await {
                Ok(open) => {
                    if let Some(life) = server.life.lock().as_mut() {
                        life.open = Some(open);
                    }
                }
                Err(error) => *server.failure.lock() = Some(format!("{error:#}")),
            }
        });
    }

    /// Begins a life and waits until it serves; false when it died before.
    ///
    /// # Errors
    /// The server does not start over what it finds.
    pub async fn serve(&self) -> Result<bool> {
        self.start();
        loop {
            if let Some(why) = self.failure.lock().take() {
                return Err(anyhow!("the server does not start: {why}"));
            }
            match self.life.lock().as_ref() {
                None => return Ok(false),
                Some(life) if life.open.is_some() => return Ok(true),
                Some(_) => {}
            }
            let pause = self.world().clock.sleep(Duration::from_millis(1));
            pause.await;
        }
    }

    /// Ends the life as `kill -9` does.
    pub fn kill(&self) {
        let life = self.life.lock().take();
        if let Some(life) = life {
            life.process.kill();
            self.disk.orphan();
        }
        self.disk.spare();
    }

    /// Lets it die so many times right after an answer to a story.
    pub fn stumbles(&self, times: u64) {
        *self.stumbles.lock() = times;
    }

    /// A moment at which it may die: something was answered, and its consequences are to come.
    pub fn stumble(&self) {
        let dies = {
            let mut left = self.stumbles.lock();
            let dies = *left > 0 && self.machine.seams().rng.below(4) == 0;
            *left -= u64::from(dies);
            dies
        };
        if dies {
            self.kill();
        }
    }

    /// Whether it lives, serving or not.
    #[must_use]
    pub fn lives_now(&self) -> bool {
        self.life.lock().is_some()
    }

    /// Its memory, while it serves.
    #[must_use]
    pub fn hub(&self) -> Option<Hub> {
        self.open().map(|open| open.hub)
    }

    fn open(&self) -> Option<Open> {
        self.life.lock().as_ref()?.open.clone()
    }

    async fn assemble(&self, seams: &Seams) -> Result<Open> {
        let store: Arc<dyn Store> = self.disk.open(seams, &self.world());
        let hub = Hub::open(store, self.memory).await?;
        let view = Arc::new(View::new(hub.clone()));
        let authorizer = Arc::new(Authorizer::new(Arc::clone(&view)));
        let admission = Arc::new(Admission::new(Arc::clone(&authorizer)));
        let built_in = hanse_kinds::builtin().to_vec();
        let system = hanse_kinds::kcp::system_crds().to_vec();
        let known: Vec<Arc<ResourceDef>> = built_in.iter().chain(&system).cloned().collect();
        let forms = Arc::new(Forms::new(&known));
        let maker = Maker::new(seams.clone(), Arc::clone(&forms));
        let tenancy = Arc::new(Tenancy::new(Arc::clone(&admission), shard(), maker));
        tenancy.bootstrap().await?;
        hanse_sites::bootstrap(&tenancy).await?;
        let catalog = Arc::new(Catalog::new(Arc::clone(&view), forms, system, built_in));
        let Keys { authority, signer } = self.keys.clone();
        let audiences = vec![ISSUER.to_owned()];
        let sites = Sites::new(
            Arc::clone(&tenancy),
            Arc::clone(&signer),
            audiences,
            Arc::clone(&authority),
        );
        let sites = sites.context("no export of sites")?;
        let service = Service::new(Parts {
            seams: seams.clone(),
            hub: hub.clone(),
            catalog: Arc::clone(&catalog),
            authenticator: Arc::new(authenticator(&view, &signer, seams)),
            authorizer,
            admission,
            tenancy: Arc::clone(&tenancy),
            sites: Some(Arc::clone(&sites)),
            health: Arc::new(Health::default()),
            metrics: Metrics::new("v1.36.0"),
            audit: None,
            external_address: "127.0.0.1:6443".into(),
            process: ProcessFigures::default,
            traffic: Default::default(),
        });
        let stop = Shutdown::new();
        let config = controllers::Config {
            root_ca: "CA".into(),
            client_ca: Some(authority),
            signer,
            kinds: Arc::new(ServedKinds(catalog)),
        };
        controllers::start(&hub, seams, config, &stop);
        seams.spawn("endings", Endings::new(&service).run(stop.clone()));
        seams.spawn("sites", sites.run(stop.clone()));
        Controllers::new(tenancy).start(&stop);
        Ok(Open {
            service,
            hub,
            seams: seams.clone(),
        })
    }

    /// Sends a request; `None` when nobody serves, or the connection broke before the answer.
    pub async fn ask(&self, method: &str, path: &str, body: Option<&Value>) -> Option<Answer> {
        let open = self.open()?;
        let request = request(method, path, body)?;
        let (sender, receiver) = oneshot::channel();
        let seams = open.seams.clone();
        seams.spawn("connection", async move {
            let response = open.service.handle(request, &ConnInfo::internal()).await;
            let (head, body) = response.into_parts();
            let Ok(body) = body.collect().await else {
                return;
            };
            let body = serde_json::from_slice(&body.to_bytes()).unwrap_or_default();
            let status = head.status;
            // The client may have given up.
            let _ = sender.send(Answer { status, body });
        });
        let world = self.world();
        world.timeout(ANSWER_TIME_MAX, receiver).await?.ok()
    }

    /// Opens a stream; its lines come until the connection breaks or the server ends it.
    pub async fn follow(&self, path: &str) -> Option<(StatusCode, mpsc::Receiver<Value>)> {
        let open = self.open()?;
        let request = request("GET", path, None)?;
        let (head, answered) = oneshot::channel();
        let (sender, receiver) = mpsc::channel(1);
        let seams = open.seams.clone();
        seams.spawn("watch", async move {
            let response = open.service.handle(request, &ConnInfo::internal()).await;
            let _ = head.send(response.status());
            pass_on(response.into_body(), sender).await;
        });
        let world = self.world();
        let status = world.timeout(ANSWER_TIME_MAX, answered).await?.ok()?;
        Some((status, receiver))
    }
}

/// Hands the lines of a body to a client that takes one at a time.
async fn pass_on(mut body: Body, sender: mpsc::Sender<Value>) {
    let mut rest = Vec::new();
    while let Some(Ok(frame)) = body.frame().await {
        rest.extend_from_slice(frame.data_ref().map_or(&[][..], |data| data));
        while let Some(end) = rest.iter().position(|byte| *byte == b'\n') {
            let line = serde_json::from_slice(&rest[..end]).unwrap_or_default();
            rest.drain(..=end);
            if sender.send(line).await.is_err() {
                return;
            }
        }
    }
}

fn request(
    method: &str,
    path: &str,
    body: Option<&Value>,
) -> Option<Request<hanse_api::body::RequestBody>> {
    let kind = match method {
        "PATCH" => "application/merge-patch+json",
        _ => "application/json",
    };
    let bytes = body.map(Value::to_string).unwrap_or_default();
    let body = Full::from(bytes)
        .map_err(|never| match never {})
        .boxed_unsync();
    Request::builder()
        .method(method)
        .uri(path)
        .header("user-agent", "simulator/1")
        .header("content-type", kind)
        .header("authorization", format!("Bearer {TOKEN}"))
        .body(body)
        .ok()
}

fn shard() -> ShardConfig {
    let url = "https://127.0.0.1:6443".to_owned();
    ShardConfig {
        name: "root".into(),
        base_url: url.clone(),
        external_url: url.clone(),
        virtual_workspace_url: url,
        ca_pem: "CA".into(),
        batteries: vec!["workspace-types".into()],
        home_creator_groups: vec!["system:authenticated".into()],
    }
}

fn authenticator(view: &Arc<View>, signer: &Arc<Signer>, seams: &Seams) -> Authenticator {
    let mut tokens = StaticTokens::default();
    tokens.insert(TOKEN, UserInfo::new("simulated", &["system:masters"]));
    let config = hanse_auth::Config {
        client_ca: None,
        tokens,
        signer: Arc::clone(signer),
        audiences: vec![ISSUER.to_owned()],
    };
    Authenticator::new(config, Arc::clone(view), seams.clone())
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
