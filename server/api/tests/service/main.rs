//! The service called directly: requests in, answers out, over an in-memory hub.
//!
//! Start at [`World`]: a bootstrapped shard with one workspace. [`World::ask`] takes a request as
//! one line and answers with code and body; every test below is a story of such lines.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod audits;
mod costs;
mod lists;
mod overload;
mod patches;
mod tenants;
mod views;
mod watches;
mod writes;

use std::sync::Arc;

use hanse_admission::Admission;
use hanse_api::body::Body;
use hanse_api::health::Health;
use hanse_api::metrics::{Metrics, ProcessFigures};
use hanse_api::{ConnInfo, Parts, Service};
use hanse_auth::token::Signer;
use hanse_auth::{Authenticator, Authorizer, StaticTokens, UserInfo, View};
use hanse_cache::{Config, Hub};
use hanse_seams::Seams;
use hanse_store::MemoryStore;
use hanse_tenancy::{Catalog, Forms, Maker, ShardConfig, Tenancy};
use http::{HeaderMap, Request, Response};
use http_body_util::{BodyExt, Full};
use serde_json::{Value, json};

/// A token of `system:masters`, one of a user without rights.
const MASTER: &str = "master-token";
const NOBODY: &str = "nobody-token";
/// A token of `kcp-admin`: admin everywhere, and no master.
pub const ADMIN: &str = "admin-token";

/// A shard with the workspace `root:w`.
pub struct World {
    service: Service,
    tenancy: Arc<Tenancy>,
}

/// An answer that has ended.
pub struct Answered {
    pub code: u16,
    pub headers: HeaderMap,
    pub body: Value,
}

impl World {
    pub async fn new() -> Self {
        Self::with(|_| {}).await
    }

    /// A world put together a little differently.
    pub async fn with(change: impl FnOnce(&mut Parts)) -> Self {
        let seams = Seams::real();
        let store = Arc::new(MemoryStore::with_defaults(seams.clock.clone()));
        let hub = Hub::open(store, Config::default()).await.unwrap();
        let view = Arc::new(View::new(hub.clone()));
        let authorizer = Arc::new(Authorizer::new(Arc::clone(&view)));
        let admission = Arc::new(Admission::new(Arc::clone(&authorizer)));
        let built_in = hanse_kinds::builtin().to_vec();
        let system = hanse_kinds::kcp::system_crds().to_vec();
        let known: Vec<_> = built_in.iter().chain(&system).cloned().collect();
        let forms = Arc::new(Forms::new(&known));
        let url = "https://127.0.0.1:6443".to_owned();
        let shard = ShardConfig {
            name: "root".into(),
            base_url: url.clone(),
            external_url: url.clone(),
            virtual_workspace_url: url,
            ca_pem: "PEM".into(),
            batteries: vec!["workspace-types".into()],
            home_creator_groups: vec!["system:authenticated".into()],
        };
        let maker = Maker::new(seams.clone(), Arc::clone(&forms));
        let tenancy = Arc::new(Tenancy::new(Arc::clone(&admission), shard, maker));
        tenancy.bootstrap().await.unwrap();
        let catalog = Arc::new(Catalog::new(Arc::clone(&view), forms, system, built_in));
        let mut parts = Parts {
            authenticator: Arc::new(authenticator(&view, &seams)),
            seams,
            hub,
            catalog,
            authorizer,
            admission,
            tenancy: Arc::clone(&tenancy),
            sites: None,
            health: Arc::new(Health::default()),
            metrics: Metrics::new("v1.36.0"),
            audit: None,
            external_address: "127.0.0.1:6443".into(),
            process: ProcessFigures::default,
            traffic: Default::default(),
        };
        change(&mut parts);
        let service = Service::new(parts);
        let endings = hanse_api::endings::Endings::new(&service);
        let task = endings.run(hanse_seams::Shutdown::new());
        service.seams.spawn("endings", task);
        let world = Self { service, tenancy };
        let workspace = json!({
            "apiVersion": "tenancy.kcp.io/v1alpha1", "kind": "Workspace",
            "metadata": {"name": "w"}, "spec": {"type": {"name": "universal", "path": "root"}},
        });
        let path = "POST /clusters/root/apis/tenancy.kcp.io/v1alpha1/workspaces";
        let made = world.send(path, MASTER, &[], Some(workspace)).await;
        assert_eq!(made.status(), 201);
        world
    }

    /// Sends a request; the path is inside the workspace unless it names a logical cluster.
    pub async fn send(
        &self,
        line: &str,
        token: &str,
        headers: &[(&str, &str)],
        body: Option<Value>,
    ) -> Response<Body> {
        let (method, path) = line.split_once(' ').unwrap();
        let path = match path.starts_with("/clusters/") || path.starts_with("/services/") {
            true => path.to_owned(),
            false => format!("/clusters/root:w{path}"),
        };
        let mut request = Request::builder().method(method).uri(path);
        request = request.header("user-agent", "story/1");
        if !token.is_empty() {
            request = request.header("authorization", format!("Bearer {token}"));
        }
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        let bytes = body.map(|body| body.to_string()).unwrap_or_default();
        let body = Full::from(bytes)
            .map_err(|never| match never {})
            .boxed_unsync();
        let request = request.body(body).unwrap();
        self.service.handle(request, &ConnInfo::internal()).await
    }

    /// Sends a request as master and reads its answer to the end.
    pub async fn ask_with(
        &self,
        line: &str,
        headers: &[(&str, &str)],
        body: Option<Value>,
    ) -> Answered {
        answered(self.send(line, MASTER, headers, body).await).await
    }

    /// The same as somebody.
    pub async fn ask_as(&self, token: &str, line: &str, body: Option<Value>) -> (u16, Value) {
        let answer = answered(self.send(line, token, &[], body).await).await;
        (answer.code, answer.body)
    }

    /// Lets the reconcilers of tenancy run from now on.
    pub fn reconcile(&self) {
        let stop = hanse_seams::Shutdown::new();
        hanse_tenancy::controllers::Controllers::new(Arc::clone(&self.tenancy)).start(&stop);
    }

    /// Asks until the answer is as wanted, for what becomes true soon.
    pub async fn until(&self, line: &str, wanted: impl Fn(u16, &Value) -> bool) -> Value {
        for _ in 0..500 {
            let (code, body) = self.ask(line, None).await;
            if wanted(code, &body) {
                return body;
            }
            tokio::time::sleep(std::time::Duration::from_millis(10)).await;
        }
        panic!(
            "{line} does not become as wanted: {:?}",
            self.ask(line, None).await
        )
    }

    pub async fn ask(&self, line: &str, body: Option<Value>) -> (u16, Value) {
        let answer = self.ask_with(line, &[], body).await;
        (answer.code, answer.body)
    }
}

pub async fn answered(response: Response<Body>) -> Answered {
    let (head, body) = response.into_parts();
    let bytes = body.collect().await.unwrap().to_bytes();
    let text = || Value::from(String::from_utf8_lossy(&bytes).into_owned());
    let body = serde_json::from_slice(&bytes).unwrap_or_else(|_| text());
    Answered {
        code: head.status.as_u16(),
        headers: head.headers,
        body,
    }
}

fn authenticator(view: &Arc<View>, seams: &Seams) -> Authenticator {
    let mut tokens = StaticTokens::default();
    tokens.insert(MASTER, UserInfo::new("master", &["system:masters"]));
    tokens.insert(ADMIN, UserInfo::new("kcp-admin", &["system:kcp:admin"]));
    tokens.insert(NOBODY, UserInfo::new("nobody", &[]));
    let key = rcgen::KeyPair::generate().unwrap().serialize_pem();
    let issuer = "https://kcp.default.svc";
    let signer = Arc::new(Signer::from_pem(key.as_bytes(), issuer).unwrap());
    let config = hanse_auth::Config {
        client_ca: None,
        tokens,
        signer,
        audiences: vec![issuer.to_owned()],
    };
    Authenticator::new(config, Arc::clone(view), seams.clone())
}

/// A ConfigMap with one datum.
pub fn config_map(name: &str, value: &str) -> Value {
    json!({
        "apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": name, "labels": {"v": value}},
        "data": {"k": value},
    })
}

/// The collection that most stories are about.
pub const MAPS: &str = "/api/v1/namespaces/default/configmaps";

pub fn version(object: &Value) -> u64 {
    object["metadata"]["resourceVersion"]
        .as_str()
        .unwrap()
        .parse()
        .unwrap()
}

#[tokio::test]
async fn refusals_tell_nothing_and_come_in_order() {
    let world = World::new().await;
    for (line, token, code) in [
        (format!("GET {MAPS}"), "", 403),
        (format!("GET {MAPS}"), "wrong", 401),
        (format!("GET {MAPS}"), NOBODY, 403),
        (format!("GET {MAPS}/none"), NOBODY, 403),
        (format!("GET {MAPS}/none"), MASTER, 404),
        (
            "GET /clusters/root:none/api/v1/namespaces".to_owned(),
            NOBODY,
            404,
        ),
        ("GET /clusters/*/api/v1/namespaces".to_owned(), NOBODY, 403),
        ("GET /clusters/*/api/v1/namespaces".to_owned(), MASTER, 200),
        ("POST /clusters/*/api/v1/namespaces".to_owned(), MASTER, 405),
        ("GET /clusters/Bad$/api".to_owned(), MASTER, 400),
        ("GET /metrics".to_owned(), MASTER, 501),
        ("GET /api/v1/pods".to_owned(), MASTER, 404),
        ("GET /services".to_owned(), MASTER, 404),
    ] {
        let answer = answered(world.send(&line, token, &[], None).await).await;
        assert_eq!(answer.code, code, "{line} {token}: {}", answer.body);
    }
}

#[tokio::test]
async fn discovery_is_the_same_in_both_forms() {
    let world = World::new().await;
    let (_, groups) = world.ask("GET /apis", None).await;
    let legacy: Vec<&str> = groups["groups"]
        .as_array()
        .unwrap()
        .iter()
        .map(|g| g["name"].as_str().unwrap())
        .collect();
    let accept = "application/json;g=apidiscovery.k8s.io;v=v2;as=APIGroupDiscoveryList";
    let answer = world
        .ask_with("GET /apis", &[("accept", accept)], None)
        .await;
    assert_eq!(answer.headers["content-type"], accept);
    let aggregated: Vec<&str> = answer.body["items"]
        .as_array()
        .unwrap()
        .iter()
        .map(|g| g["metadata"]["name"].as_str().unwrap())
        .collect();
    assert_eq!(legacy, aggregated);
    assert!(legacy.contains(&"tenancy.kcp.io"), "{legacy:?}");
    let tag = answer.headers["etag"].to_str().unwrap().to_owned();
    let again = [("accept", accept), ("if-none-match", tag.as_str())];
    assert_eq!(world.ask_with("GET /apis", &again, None).await.code, 304);
    for group in legacy {
        let (code, group) = world.ask(&format!("GET /apis/{group}"), None).await;
        assert_eq!(code, 200);
        for version in group["versions"].as_array().unwrap() {
            let line = format!("GET /apis/{}", version["groupVersion"].as_str().unwrap());
            assert_eq!(world.ask(&line, None).await.0, 200, "{line}");
        }
    }
}

#[tokio::test]
async fn workspaces_and_their_kinds_add_no_series() {
    let world = World::new().await;
    let series = async || {
        let figures = world
            .service
            .metrics()
            .render(&ProcessFigures::default().figures());
        figures
            .lines()
            .filter(|line| !line.starts_with('#'))
            .count()
    };
    let visit = async |name: &str| {
        let body = json!({
            "apiVersion": "tenancy.kcp.io/v1alpha1", "kind": "Workspace",
            "metadata": {"name": name}, "spec": {"type": {"name": "universal", "path": "root"}},
        });
        let line = "POST /clusters/root/apis/tenancy.kcp.io/v1alpha1/workspaces";
        assert_eq!(world.ask(line, Some(body)).await.0, 201);
        let at = format!("/clusters/root:{name}");
        let maps = format!("POST {at}{MAPS}");
        assert_eq!(world.ask(&maps, Some(config_map("a", "b"))).await.0, 201);
        let group = format!("g-{name}.io");
        let crd = json!({
            "apiVersion": "apiextensions.k8s.io/v1", "kind": "CustomResourceDefinition",
            "metadata": {"name": format!("xs.{group}")},
            "spec": {"group": group, "scope": "Cluster",
                "names": {"plural": "xs", "singular": "x", "kind": "X", "listKind": "XList"},
                "versions": [{"name": "v1", "served": true, "storage": true,
                    "schema": {"openAPIV3Schema": {"type": "object"}}}]},
        });
        let crds = "apis/apiextensions.k8s.io/v1/customresourcedefinitions";
        assert_eq!(
            world.ask(&format!("POST {at}/{crds}"), Some(crd)).await.0,
            201
        );
        world
            .ask(&format!("GET {at}/apis/{group}/v1/xs"), None)
            .await;
        world
            .ask(&format!("GET {at}/apis/none-{group}/v1/xs"), None)
            .await;
    };
    visit("first").await;
    let before = series().await;
    for n in 0..50 {
        visit(&format!("n{n}")).await;
    }
    assert_eq!(series().await, before);
}
