//! What is remembered of a request beside its answer: for the metrics and the audit log.
//!
//! [`Trace`] is filled step by step by the chain in `service.rs` and used once, when the answer is
//! known. It must be right for requests that end early too: each step adds what it knows.

use std::time::Duration;

use bytes::Bytes;
use hanse_auth::UserInfo;
use hanse_cache::ClusterName;
use hanse_json::{Map, Value, json};
use hanse_wire::protobuf;
use hanse_wire::query::Query;
use http::Method;
use http::header::{self, HeaderName};
use http::request::Parts as Head;

use crate::answer::{Answer, JSON};
use crate::audit::{Decision, Event, Level, Response, Stage, Subject};
use crate::cost;
use crate::info::{RequestInfo, Verb};
use crate::limits::AUDIT_OBJECT_BYTES_MAX;
use crate::metrics::RequestLabels;
use crate::service::{ConnInfo, Inner};

/// Bytes of a client's audit id that are taken over.
const AUDIT_ID_BYTES_MAX: usize = 64;

/// See the module's words.
pub struct Trace {
    /// Labels for the metrics.
    pub labels: RequestLabels,
    /// Identifies the request.
    pub audit_id: String,
    /// Who asks, as authenticated.
    pub user: UserInfo,
    /// As whom, when somebody is impersonated.
    pub impersonated: Option<UserInfo>,
    /// Answering it panicked.
    pub panicked: bool,
    /// The caller was looked at: what is answered from here on is about him.
    pub known: bool,
    started: Duration,
    received_micros: i64,
    /// Whether the strings below are for anybody.
    audited: bool,
    verb: String,
    group: String,
    version: String,
    resource: String,
    subresource: String,
    is_resource: bool,
    path: String,
    namespace: String,
    name: String,
    cluster: Option<ClusterName>,
    decision: Option<bool>,
    /// What the audit policy says, once it was asked.
    audit: Option<Decision>,
    /// The request's body, where it is audited.
    body: Bytes,
    /// Bytes of the request's body.
    received: usize,
}

impl Trace {
    /// Begins with what is known of every request.
    #[must_use]
    pub fn new(service: &Inner, head: &Head, _conn: &ConnInfo) -> Self {
        let given = head.headers.get(HeaderName::from_static("audit-id"));
        let given = given.and_then(|id| id.to_str().ok());
        let given = given.filter(|id| !id.is_empty() && id.len() <= AUDIT_ID_BYTES_MAX);
        Self {
            labels: RequestLabels {
                component: "apiserver",
                ..RequestLabels::default()
            },
            audit_id: given.map_or_else(|| service.seams.rng.uuid_v4(), str::to_owned),
            user: UserInfo::default(),
            impersonated: None,
            panicked: false,
            known: false,
            started: service.seams.clock.monotonic(),
            received_micros: service.now_micros(),
            audited: service.audit.is_some(),
            verb: String::new(),
            group: String::new(),
            version: String::new(),
            resource: String::new(),
            subresource: String::new(),
            is_resource: false,
            path: String::new(),
            namespace: String::new(),
            name: String::new(),
            cluster: None,
            decision: None,
            audit: None,
            body: Bytes::new(),
            received: 0,
        }
    }

    /// Where the request goes.
    pub fn place(&mut self, cluster: Option<&ClusterName>) {
        self.cluster = cluster.cloned();
    }

    /// What it asks for.
    pub fn classify(&mut self, info: &RequestInfo<'_>, method: &Method, query: &Query) {
        self.labels.verb = verb_label(info, method);
        if query.get("dryRun").is_some_and(|value| !value.is_empty()) {
            self.labels.dry_run = "All";
        }
        if !self.audited {
            return self.label(info);
        }
        info.group.clone_into(&mut self.group);
        info.version.clone_into(&mut self.version);
        info.resource.clone_into(&mut self.resource);
        info.subresource.clone_into(&mut self.subresource);
        self.verb = info.authorization_verb(method);
        info.path.clone_into(&mut self.path);
        info.namespace.clone_into(&mut self.namespace);
        info.name.clone_into(&mut self.name);
        self.label(info);
    }

    fn label(&mut self, info: &RequestInfo<'_>) {
        self.is_resource = info.is_resource;
        if info.is_resource {
            let named = crate::series::of_request(info);
            self.labels.group = named.group;
            self.labels.version = named.version;
            self.labels.resource = named.resource;
            self.labels.subresource = named.subresource;
            self.labels.scope = match (info.name.is_empty(), info.namespace.is_empty()) {
                (false, _) => "resource",
                (true, false) => "namespace",
                (true, true) => "cluster",
            };
        }
    }

    /// What the authorizer said.
    pub fn authorized(&mut self, allowed: bool) {
        self.decision = Some(allowed);
    }

    /// Whether the authorizer said no.
    #[must_use]
    pub fn is_denied(&self) -> bool {
        self.decision == Some(false)
    }

    /// Whether the answer belongs to its caller alone.
    #[must_use]
    pub fn is_private(&self) -> bool {
        self.known
    }

    /// It is known who asks for what: the policy decides, and the first event is written.
    pub fn receive(&mut self, service: &Inner, head: &Head, conn: &ConnInfo) {
        let Some(log) = &service.audit else { return };
        let decision = log.decide(&self.subject());
        self.audit = Some(decision);
        if decision.wants(Stage::RequestReceived) {
            let event = self.event(service, head, conn, Stage::RequestReceived);
            log.record(&event.document());
        }
    }

    /// Counts the request's body, and keeps it for the events that need it.
    pub fn keep_body(&mut self, bytes: &Bytes) {
        self.received = bytes.len();
        if self
            .audit
            .is_some_and(|decision| decision.level > Level::None)
        {
            self.body = bytes.clone();
        }
    }

    /// Writes the event of the answer, and for a stream the one of its end when that comes.
    pub fn audit(&mut self, service: &Inner, head: &Head, conn: &ConnInfo, answer: &mut Answer) {
        let Some(log) = &service.audit else { return };
        // Requests that nobody could be found behind are decided here.
        let decision = self.audit.unwrap_or_else(|| log.decide(&self.subject()));
        self.audit = Some(decision);
        let stage = match (self.panicked, answer.body.is_stream()) {
            (true, _) => Stage::Panic,
            (false, true) => Stage::ResponseStarted,
            (false, false) => Stage::ResponseComplete,
        };
        let last = Stage::ResponseComplete;
        let later = stage == Stage::ResponseStarted && decision.wants(last);
        if !later && !decision.wants(stage) {
            return;
        }
        let mut response = response(answer, decision);
        if answer.code == 401 {
            response.0.status = Some(json!({"message": failed_with(head), "status": "Failure",
                "reason": "Unauthorized"}));
        }
        let mut event = self.event(service, head, conn, stage);
        let (request, short) = self.request_object(head, decision);
        event.request = request;
        event.response = Some(response.0);
        if short || response.1 {
            let truncated = "audit.k8s.io/truncated".to_owned();
            event.annotations.insert(truncated, "true".into());
        }
        let mut event = event.document();
        if decision.wants(stage) {
            log.record(&event);
        }
        if later {
            let (log, seams) = (log.clone(), service.seams.clone());
            answer.body.at_end(move || {
                let now = seams.clock.wall().as_micros();
                let now = hanse_wire::time::format_micro(i64::try_from(now).unwrap_or(i64::MAX));
                event["stage"] = last.as_str().into();
                event["stageTimestamp"] = now.into();
                log.record(&event);
            });
        }
    }

    /// The body as a tree, and whether it is too large for that.
    fn request_object(&self, head: &Head, decision: Decision) -> (Option<Value>, bool) {
        if self.body.is_empty() || self.body.len() > AUDIT_OBJECT_BYTES_MAX {
            return (None, !self.body.is_empty());
        }
        let media = head.headers.get(header::CONTENT_TYPE);
        let media = media
            .and_then(|media| media.to_str().ok())
            .unwrap_or_default();
        let object = match media.split(';').next().unwrap_or_default().trim() {
            protobuf::MEDIA_TYPE => hanse_kinds::protobuf::decode(&self.body).ok(),
            "application/yaml" | "application/apply-patch+yaml" => {
                hanse_wire::yaml::parse(&self.body)
                    .ok()
                    .map(|parsed| parsed.value)
            }
            _ => tree(&self.body),
        };
        (
            object.map(|object| without_managed(object, decision)),
            false,
        )
    }

    /// Counts the request, for which a thread was busy so long.
    pub fn finish(&mut self, service: &Inner, answer: &mut Answer, cpu: Duration) {
        let took = service.seams.clock.monotonic().saturating_sub(self.started);
        if answer.code == 404 && self.is_resource && answer.body.as_whole().is_some() {
            self.collapse_unknown(answer);
        }
        service.metrics.observe(&self.labels, answer.code, took);
        if let Some(cluster) = &self.cluster {
            let request = cost::Request {
                cluster,
                cpu,
                received: self.received,
                watch: self.labels.verb == "WATCH",
                in_vain: answer.code >= 400,
            };
            service.costs.charge(&request, &mut answer.body);
        }
    }

    /// Paths that nothing is served at share one series: anybody could invent them.
    fn collapse_unknown(&mut self, answer: &Answer) {
        let text = answer
            .headers
            .get(header::CONTENT_TYPE)
            .is_some_and(|t| t == crate::answer::TEXT);
        if text {
            self.labels.group = "";
            self.labels.version = "";
            self.labels.resource = "";
            self.labels.subresource = "";
        }
    }

    fn subject(&self) -> Subject<'_> {
        Subject {
            user: &self.user.name,
            groups: &self.user.groups,
            verb: &self.verb,
            is_resource: self.is_resource,
            path: &self.path,
            group: &self.group,
            resource: &self.resource,
            subresource: &self.subresource,
            namespace: &self.namespace,
            name: &self.name,
        }
    }

    fn event<'e>(
        &'e self,
        service: &Inner,
        head: &'e Head,
        conn: &ConnInfo,
        stage: Stage,
    ) -> Event<'e> {
        let text = |name: HeaderName| head.headers.get(name).and_then(|value| value.to_str().ok());
        let mut annotations = Map::new();
        if let Some(allowed) = self.decision {
            let word = if allowed { "allow" } else { "forbid" };
            annotations.insert("authorization.k8s.io/decision".to_owned(), word.into());
        }
        if let Some(cluster) = &self.cluster {
            for key in ["kcp.io/cluster", "tenancy.kcp.io/workspace"] {
                annotations.insert(key.to_owned(), cluster.as_str().into());
            }
        }
        let uri = head
            .uri
            .path_and_query()
            .map_or("/", http::uri::PathAndQuery::as_str);
        Event {
            id: &self.audit_id,
            level: self.audit.unwrap_or_default().level,
            stage,
            subject: self.subject(),
            uri,
            user: user_json(&self.user),
            impersonated: self.impersonated.as_ref().map(user_json),
            version: &self.version,
            sources: sources(text(HeaderName::from_static("x-forwarded-for")), conn),
            user_agent: text(header::USER_AGENT).unwrap_or_default(),
            request: None,
            response: None,
            received: hanse_wire::time::format_micro(self.received_micros),
            now: hanse_wire::time::format_micro(service.now_micros()),
            annotations,
        }
    }
}

/// An answer as the event shows it, and whether its body is too large for that.
fn response(answer: &mut Answer, decision: Decision) -> (Response, bool) {
    let mut shown = Response {
        code: answer.code,
        ..Response::default()
    };
    let json = answer
        .headers
        .get(header::CONTENT_TYPE)
        .is_some_and(|t| t == JSON);
    let whole = decision.level >= Level::RequestResponse;
    if !json || answer.body.is_stream() || (!whole && answer.code < 400) {
        return (shown, false);
    }
    let Some(bytes) = answer.body.gathered(AUDIT_OBJECT_BYTES_MAX) else {
        return (shown, true);
    };
    let object = tree(&bytes);
    let is_status = |object: &&Value| object["kind"] == "Status" && object["apiVersion"] == "v1";
    shown.status = object.as_ref().filter(is_status).cloned();
    shown.object = object
        .filter(|_| whole)
        .map(|object| without_managed(object, decision));
    (shown, false)
}

/// What a caller showed who could not be recognised (AUD-10).
fn failed_with(head: &Head) -> String {
    let shown = head.headers.get(header::AUTHORIZATION);
    let scheme = shown.and_then(|value| value.to_str().ok()?.split(' ').next());
    match scheme {
        Some(scheme) if scheme.eq_ignore_ascii_case("bearer") => {
            "Authentication failed, attempted: bearer".to_owned()
        }
        Some(_) => "Authentication failed, attempted: unknown".to_owned(),
        None => "Authentication failed, no credentials provided".to_owned(),
    }
}

fn tree(bytes: &[u8]) -> Option<Value> {
    hanse_json::parse(bytes, &Default::default())
        .ok()
        .map(|parsed| parsed.value)
}

/// Leaves out `metadata.managedFields`, of a list's items too, where the policy says so.
fn without_managed(mut object: Value, decision: Decision) -> Value {
    if decision.omit_managed {
        let items = object.get_mut("items").and_then(Value::as_array_mut);
        for item in items.into_iter().flatten() {
            hanse_json::remove(item, &["metadata", "managedFields"]);
        }
        hanse_json::remove(&mut object, &["metadata", "managedFields"]);
    }
    object
}

fn sources(forwarded: Option<&str>, conn: &ConnInfo) -> Vec<String> {
    let forwarded = forwarded.into_iter().flat_map(|text| text.split(','));
    let forwarded = forwarded.map(|address| address.trim().to_owned());
    let peer = conn.peer().map(|peer| peer.ip().to_string());
    forwarded
        .filter(|address| !address.is_empty())
        .chain(peer)
        .collect()
}

/// A user as audit events and reviews show it.
#[must_use]
pub fn user_json(user: &UserInfo) -> Value {
    let mut value = json!({"username": user.name});
    if !user.uid.is_empty() {
        value["uid"] = user.uid.as_str().into();
    }
    if !user.groups.is_empty() {
        value["groups"] = user.groups.clone().into();
    }
    if !user.extra.is_empty() {
        value["extra"] = json!(user.extra);
    }
    value
}

fn verb_label(info: &RequestInfo<'_>, method: &Method) -> &'static str {
    if !info.is_resource {
        return match *method {
            Method::GET | Method::HEAD => "GET",
            Method::POST => "POST",
            Method::PUT => "PUT",
            Method::PATCH => "PATCH",
            Method::DELETE => "DELETE",
            _ => "other",
        };
    }
    match info.verb {
        Verb::Get => "GET",
        Verb::List => "LIST",
        Verb::Watch => "WATCH",
        Verb::Create => "POST",
        Verb::Update => "PUT",
        Verb::Patch => "PATCH",
        Verb::Delete => "DELETE",
        Verb::DeleteCollection => "DELETECOLLECTION",
        Verb::None => "other",
    }
}
