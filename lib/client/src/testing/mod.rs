//! A small Kubernetes API in memory: for tests without a server, and for the simulator.
//!
//! Start at [`Fake::new`] and [`Fake::serve`]. It keeps versions, uids, generations, finalizers,
//! managedFields, watches with resume and 410, namespaces that empty themselves. It does not keep
//! schemas. Faults are first-class: [`Fake::cut`] breaks the line, [`Fake::intercept`] refuses
//! chosen requests, [`Fake::forget`] compacts the log. Invariant: deterministic; nothing happens
//! but what a request or a test asks for.

mod fields;

use std::collections::BTreeMap;
use std::sync::Arc;

use bytes::Bytes;
use http::Method;
use parking_lot::Mutex;
use serde_json::{Value, json};
use tokio::sync::Notify;

use crate::api::{Api, Pieces, Reply, Transport};
use crate::error::{Error, Refusal, Result};
use crate::request::{Request, Resource};

/// Decides about a request before it is served.
pub type Intercept = Box<dyn FnMut(&Request) -> Option<Error> + Send>;

/// Answers what is posted to one path.
pub type Answer = Box<dyn Fn(&Value) -> Result<Value> + Send>;

/// Answers a creation that is not stored: its body, all objects of another kind, the version.
pub type Review = Box<dyn Fn(&Value, &[&Value], u64) -> Value + Send>;

/// The server; cheap to clone, all clones are one.
#[derive(Clone, Default)]
pub struct Fake {
    inner: Arc<Inner>,
}

#[derive(Default)]
struct Inner {
    state: Mutex<State>,
    changed: Notify,
}

/// (logical cluster, group/plural, namespace, name).
type Key = (String, String, String, String);

#[derive(Default)]
struct State {
    kinds: BTreeMap<String, (Resource, String, bool)>,
    objects: BTreeMap<Key, Value>,
    log: Vec<Logged>,
    version: u64,
    oldest: u64,
    uids: u64,
    cut: bool,
    epoch: u64,
    intercept: Option<Intercept>,
    reviews: BTreeMap<String, (String, Review)>,
    answers: BTreeMap<String, Answer>,
    writes: u64,
}

#[derive(Clone)]
struct Logged {
    version: u64,
    key: Key,
    object: Option<Value>,
    before: Option<Value>,
}

/// What a path means.
struct Address {
    cluster: String,
    resource: String,
    kind: String,
    namespace: String,
    name: String,
    subresource: String,
}

impl Fake {
    /// An empty server that serves namespaces.
    #[must_use]
    pub fn new() -> Self {
        let fake = Self::default();
        fake.serve(Resource::new("", "v1", "namespaces"), "Namespace", false);
        fake
    }

    /// A handle on its API.
    #[must_use]
    pub fn api(&self) -> Api {
        Api::new(Arc::new(self.clone()))
    }

    /// Serves a kind from now on.
    pub fn serve(&self, resource: Resource, kind: &str, namespaced: bool) {
        let path = resource.path("");
        self.inner
            .state
            .lock()
            .kinds
            .insert(path, (resource, kind.to_owned(), namespaced));
    }

    /// Breaks (or mends) the line: requests fail and running watches end with an error.
    pub fn cut(&self, cut: bool) {
        let mut state = self.inner.state.lock();
        state.cut = cut;
        state.epoch += 1;
        drop(state);
        self.inner.changed.notify_waiters();
    }

    /// Answers creations of `resource` from now on, looking at all objects of `of`.
    pub fn review(&self, resource: &Resource, of: &Resource, review: Review) {
        let of = format!("{}/{}", of.group, of.plural);
        let mut state = self.inner.state.lock();
        state.reviews.insert(resource.path(""), (of, review));
    }

    /// Answers what is posted to a path from now on: a subresource that is not stored.
    pub fn answer(&self, path: &str, answer: Answer) {
        let mut state = self.inner.state.lock();
        state.answers.insert(path.to_owned(), answer);
    }

    /// Asks before each request from now on.
    pub fn intercept(&self, intercept: Option<Intercept>) {
        self.inner.state.lock().intercept = intercept;
    }

    /// Forgets the log: watches from before now are told 410.
    pub fn forget(&self) {
        let mut state = self.inner.state.lock();
        state.log.clear();
        state.oldest = state.version;
        state.epoch += 1;
        drop(state);
        self.inner.changed.notify_waiters();
    }

    /// How many writes have changed something.
    #[must_use]
    pub fn writes(&self) -> u64 {
        self.inner.state.lock().writes
    }

    fn serve_request(&self, request: &Request) -> Result<Value> {
        let mut state = self.inner.state.lock();
        state.admit(request)?;
        if let Some((of, review)) = state.reviews.get(&request.path) {
            let body = serde_json::from_slice(&request.body).unwrap_or_default();
            let of = state.objects.iter().filter(|(key, _)| key.1 == *of);
            let objects: Vec<&Value> = of.map(|(_, object)| object).collect();
            return Ok(review(&body, &objects, state.version));
        }
        if let Some(answer) = state.answers.get(&request.path) {
            return answer(&serde_json::from_slice(&request.body).unwrap_or_default());
        }
        let address = state.address(&request.path)?;
        let body: Value = if request.body.is_empty() {
            Value::Null
        } else {
            serde_json::from_slice(&request.body)
                .map_err(|e| refused(400, "BadRequest", &e.to_string()))?
        };
        let before = state.version;
        let answer = match request.method {
            Method::GET if address.name.is_empty() => Ok(state.list(&address, request)),
            Method::GET => state.get(&address).cloned(),
            Method::POST => state.create(&address, body, manager(request)),
            Method::PUT => state.put(&address, body, manager(request)),
            Method::PATCH => state.patch(&address, request, &body),
            Method::DELETE => state.delete(&address, &body),
            _ => Err(refused(405, "MethodNotAllowed", "no")),
        };
        if state.version != before {
            state.writes += 1;
            drop(state);
            self.inner.changed.notify_waiters();
        }
        answer
    }
}

fn manager(request: &Request) -> &str {
    let given = request.query.iter().find(|(k, _)| *k == "fieldManager");
    given.map_or("test", |(_, v)| v.as_str())
}

fn refused(code: u16, reason: &str, message: &str) -> Error {
    let status = json!({
        "kind": "Status", "apiVersion": "v1", "status": "Failure", "code": code,
        "reason": reason, "message": message,
    });
    Error::Refused(Box::new(Refusal::new(
        code,
        None,
        Bytes::from(status.to_string()),
    )))
}

impl State {
    fn admit(&mut self, request: &Request) -> Result<()> {
        if self.cut {
            return Err(Error::Unreachable("the line is cut".into()));
        }
        match self.intercept.as_mut().and_then(|i| i(request)) {
            Some(error) => Err(error),
            None => Ok(()),
        }
    }

    fn address(&self, path: &str) -> Result<Address> {
        let missing = || {
            refused(
                404,
                "NotFound",
                "the server could not find the requested resource",
            )
        };
        let (cluster, path) = match path.find("/api") {
            Some(at) => (path[..at].to_owned(), &path[at..]),
            None => return Err(missing()),
        };
        let parts: Vec<&str> = path.split('/').filter(|s| !s.is_empty()).collect();
        let head = if parts.first() == Some(&"api") { 2 } else { 3 };
        let rest = parts.get(head..).ok_or_else(missing)?;
        let (namespace, rest) = match rest {
            ["namespaces", ns, tail @ ..] if !tail.is_empty() && tail[0] != "status" => {
                ((*ns).to_owned(), tail)
            }
            _ => (String::new(), rest),
        };
        let plural = rest.first().ok_or_else(missing)?;
        let collection = format!("/{}/{plural}", parts[..head].join("/"));
        let (resource, kind, _) = self.kinds.get(&collection).ok_or_else(missing)?;
        let text = |i: usize| rest.get(i).map_or(String::new(), |s| (*s).to_owned());
        Ok(Address {
            cluster,
            resource: format!("{}/{}", resource.group, resource.plural),
            kind: kind.clone(),
            namespace,
            name: text(1),
            subresource: text(2),
        })
    }

    fn key(address: &Address) -> Key {
        (
            address.cluster.clone(),
            address.resource.clone(),
            address.namespace.clone(),
            address.name.clone(),
        )
    }

    fn get(&self, address: &Address) -> Result<&Value> {
        let plural = address.resource.split('/').nth(1).unwrap_or_default();
        self.objects.get(&Self::key(address)).ok_or_else(|| {
            refused(
                404,
                "NotFound",
                &format!("{plural} \"{}\" not found", address.name),
            )
        })
    }

    fn list(&self, address: &Address, request: &Request) -> Value {
        let items: Vec<&Value> = self
            .objects
            .iter()
            .filter(|(key, object)| wanted(address, request, key, object))
            .map(|(_, object)| object)
            .collect();
        json!({
            "kind": format!("{}List", address.kind), "apiVersion": "v1", "items": items,
            "metadata": {"resourceVersion": self.version.to_string()},
        })
    }

    fn commit(&mut self, key: Key, object: Option<Value>) -> Value {
        self.version += 1;
        let before = self.objects.get(&key).cloned();
        let mut object = object;
        let shown = match &mut object {
            Some(object) => {
                object["metadata"]["resourceVersion"] = json!(self.version.to_string());
                self.objects.insert(key.clone(), object.clone());
                object.clone()
            }
            None => {
                self.objects.remove(&key);
                before.clone().unwrap_or(Value::Null)
            }
        };
        self.log.push(Logged {
            version: self.version,
            key,
            object,
            before,
        });
        shown
    }

    fn create(&mut self, address: &Address, mut object: Value, manager: &str) -> Result<Value> {
        let name = object["metadata"]["name"]
            .as_str()
            .unwrap_or_default()
            .to_owned();
        if !address.name.is_empty() {
            return Err(refused(405, "MethodNotAllowed", "no such subresource here"));
        }
        let address = Address {
            name,
            ..clone(address)
        };
        if self.objects.contains_key(&Self::key(&address)) {
            return Err(refused(409, "AlreadyExists", "already exists"));
        }
        fields::update(None, &mut object, manager);
        self.born(&address, object)
    }

    fn born(&mut self, address: &Address, mut object: Value) -> Result<Value> {
        let namespace = (
            address.cluster.clone(),
            "/namespaces".to_owned(),
            String::new(),
            address.namespace.clone(),
        );
        if !address.namespace.is_empty() {
            match self.objects.get(&namespace) {
                None => {
                    let message = format!("namespaces \"{}\" not found", address.namespace);
                    return Err(refused(404, "NotFound", &message));
                }
                Some(ns) if ns["metadata"].get("deletionTimestamp").is_some() => {
                    return Err(refused(
                        403,
                        "Forbidden",
                        "the namespace is being terminated",
                    ));
                }
                Some(_) => {}
            }
            object["metadata"]["namespace"] = json!(address.namespace);
        }
        self.uids += 1;
        object["metadata"]["uid"] = json!(format!("uid-{}", self.uids));
        object["metadata"]["generation"] = json!(1);
        object["metadata"]["creationTimestamp"] = json!("2026-01-01T00:00:00Z");
        Ok(self.commit(Self::key(address), Some(object)))
    }

    fn put(&mut self, address: &Address, mut object: Value, manager: &str) -> Result<Value> {
        let live = self.get(address)?.clone();
        let asked = object["metadata"]["resourceVersion"].as_str();
        if asked.is_some_and(|v| v != live["metadata"]["resourceVersion"]) {
            return Err(refused(409, "Conflict", "the object has been modified"));
        }
        if address.subresource == "status" {
            let status = object["status"].take();
            object = live.clone();
            object["status"] = status;
        } else {
            object["status"] = live["status"].clone();
            fields::update(Some(&live), &mut object, manager);
        }
        Ok(self.replace(address, &live, object))
    }

    /// Writes a changed object; one that is equal stays as it is, one that waited for its last
    /// finalizer goes.
    fn replace(&mut self, address: &Address, live: &Value, mut object: Value) -> Value {
        if object["status"].is_null()
            && let Some(map) = object.as_object_mut()
        {
            map.remove("status");
        }
        for kept in [
            "uid",
            "creationTimestamp",
            "deletionTimestamp",
            "resourceVersion",
            "generation",
        ] {
            match live["metadata"].get(kept) {
                Some(value) => object["metadata"][kept] = value.clone(),
                None => {
                    object["metadata"].as_object_mut().map(|m| m.remove(kept));
                }
            }
        }
        if object == *live {
            return object;
        }
        let strip = |o: &Value| {
            let mut o = o.clone();
            o["metadata"].take();
            o["status"].take();
            o
        };
        if strip(&object) != strip(live) {
            let generation = live["metadata"]["generation"].as_i64().unwrap_or(0);
            object["metadata"]["generation"] = json!(generation + 1);
        }
        let held = object["metadata"]["finalizers"]
            .as_array()
            .is_some_and(|f| !f.is_empty());
        let going = object["metadata"].get("deletionTimestamp").is_some();
        let key = Self::key(address);
        if going && !held {
            return self.commit(key, None);
        }
        self.commit(key, Some(object))
    }

    fn patch(&mut self, address: &Address, request: &Request, patch: &Value) -> Result<Value> {
        if request.content_type == "application/apply-patch+yaml" {
            return self.apply(address, request, patch);
        }
        let live = self.get(address)?.clone();
        let mut object = live.clone();
        match patch.as_array() {
            Some(operations) => operations.iter().for_each(|o| fields::add(&mut object, o)),
            None => fields::merge(&mut object, patch),
        }
        self.put(address, object, manager(request))
    }

    fn apply(&mut self, address: &Address, request: &Request, config: &Value) -> Result<Value> {
        let force = request
            .query
            .iter()
            .any(|(k, v)| *k == "force" && v == "true");
        let live = self.objects.get(&Self::key(address)).cloned();
        let merged = fields::apply(live.as_ref(), config, manager(request), force);
        let object = merged.map_err(|causes| {
            let status = json!({
                "kind": "Status", "code": 409, "reason": "Conflict",
                "message": "Apply failed with conflicts", "details": {"causes": causes},
            });
            Error::Refused(Box::new(Refusal::new(
                409,
                None,
                Bytes::from(status.to_string()),
            )))
        })?;
        match live {
            Some(live) => Ok(self.replace(address, &live, object)),
            None => self.born(address, object),
        }
    }

    fn delete(&mut self, address: &Address, options: &Value) -> Result<Value> {
        let live = self.get(address)?.clone();
        let uid = &options["preconditions"]["uid"];
        if !uid.is_null() && *uid != live["metadata"]["uid"] {
            return Err(refused(
                409,
                "Conflict",
                "the uid in the precondition differs",
            ));
        }
        if address.resource == "/namespaces" {
            let inside: Vec<Key> = self
                .objects
                .keys()
                .filter(|k| k.0 == address.cluster && k.2 == address.name)
                .cloned()
                .collect();
            for key in inside {
                self.commit(key, None);
            }
        }
        let held = live["metadata"]["finalizers"]
            .as_array()
            .is_some_and(|f| !f.is_empty());
        let key = Self::key(address);
        if !held {
            self.commit(key, None);
            return Ok(json!({"kind": "Status", "apiVersion": "v1", "status": "Success"}));
        }
        if live["metadata"].get("deletionTimestamp").is_some() {
            return Ok(live);
        }
        let mut object = live;
        object["metadata"]["deletionTimestamp"] = json!("2026-01-01T00:00:00Z");
        Ok(self.commit(key, Some(object)))
    }
}

fn clone(a: &Address) -> Address {
    Address {
        cluster: a.cluster.clone(),
        resource: a.resource.clone(),
        kind: a.kind.clone(),
        namespace: a.namespace.clone(),
        name: a.name.clone(),
        subresource: a.subresource.clone(),
    }
}

fn wanted(address: &Address, request: &Request, key: &Key, object: &Value) -> bool {
    let at = |name: &str| {
        request
            .query
            .iter()
            .find(|(k, _)| *k == name)
            .map_or("", |(_, v)| v.as_str())
    };
    let labels = at("labelSelector")
        .split(',')
        .filter(|s| !s.is_empty())
        .all(|term| {
            let (label, value) = term.split_once('=').unwrap_or((term, ""));
            object["metadata"]["labels"][label] == *value
        });
    let fields = at("fieldSelector")
        .split(',')
        .filter(|s| !s.is_empty())
        .all(|term| {
            let (path, value) = term.split_once('=').unwrap_or((term, ""));
            path.split('.').fold(object, |o, step| &o[step]) == value
        });
    key.0 == address.cluster
        && key.1 == address.resource
        && (address.namespace.is_empty() || key.2 == address.namespace)
        && labels
        && fields
}

impl Transport for Fake {
    fn send(&self, request: Request) -> Reply<'_, Result<Bytes>> {
        Box::pin(async move {
            self.serve_request(&request)
                .map(|v| Bytes::from(v.to_string()))
        })
    }

    fn open(&self, request: Request) -> Reply<'_, Result<Box<dyn Pieces>>> {
        Box::pin(async move {
            let mut state = self.inner.state.lock();
            state.admit(&request)?;
            let address = state.address(&request.path)?;
            let from = request.query.iter().find(|(k, _)| *k == "resourceVersion");
            let from = from
                .and_then(|(_, v)| v.parse().ok())
                .unwrap_or(state.version);
            if from < state.oldest {
                return Err(refused(410, "Expired", "too old resource version"));
            }
            let epoch = state.epoch;
            drop(state);
            let watch = Running {
                fake: self.clone(),
                address,
                request,
                at: from,
                epoch,
            };
            Ok(Box::new(watch) as Box<dyn Pieces>)
        })
    }
}

struct Running {
    fake: Fake,
    address: Address,
    request: Request,
    at: u64,
    epoch: u64,
}

impl Running {
    fn step(&mut self) -> Option<Result<Bytes>> {
        let state = self.fake.inner.state.lock();
        if state.cut || state.epoch != self.epoch {
            return Some(Err(Error::Unreachable("the line is cut".into())));
        }
        let from = self.at;
        for entry in state.log.iter().filter(|e| e.version > from) {
            self.at = entry.version;
            let sees = |o: &Option<Value>| {
                o.as_ref()
                    .is_some_and(|o| wanted(&self.address, &self.request, &entry.key, o))
            };
            let (kind, object) = match (sees(&entry.before), sees(&entry.object)) {
                (false, true) => ("ADDED", entry.object.clone()),
                (true, true) => ("MODIFIED", entry.object.clone()),
                (true, false) => ("DELETED", entry.before.clone()),
                (false, false) => continue,
            };
            let mut object = object.unwrap_or(Value::Null);
            object["metadata"]["resourceVersion"] = json!(entry.version.to_string());
            let frame = json!({"type": kind, "object": object});
            return Some(Ok(Bytes::from(format!("{frame}\n"))));
        }
        None
    }
}

impl Pieces for Running {
    fn next(&mut self) -> Reply<'_, Option<Result<Bytes>>> {
        Box::pin(async move {
            loop {
                let inner = Arc::clone(&self.fake.inner);
                let changed = inner.changed.notified();
                tokio::pin!(changed);
                changed.as_mut().enable();
                if let Some(piece) = self.step() {
                    return Some(piece);
                }
                changed.await;
            }
        })
    }
}
