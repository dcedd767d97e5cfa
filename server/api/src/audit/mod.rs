//! Who did what: audit events as JSON lines, chosen by a policy.
//!
//! Start at [`Log::record`]; which requests are recorded says [`Policy`]. All four levels and all
//! four stages are there, one log file (its rotation is the binary's). Deliberately absent: the
//! webhook backend. The invariant: writing never blocks a request. Lines wait in a queue, bounded
//! by count and bytes, for a worker; when it is full an event is lost and counted.

mod policy;

use std::collections::VecDeque;
use std::io::Write;
use std::sync::Arc;

use hanse_seams::{Seams, Turn, Worker};
use parking_lot::Mutex;
use serde_json::{Map, Value, json};

pub use self::policy::{Decision, Level, Policy, Stage, Subject};
use crate::limits::{AUDIT_QUEUE_BYTES_MAX, AUDIT_QUEUE_LINES_MAX};
use crate::metrics::Metrics;

/// An answer as an event shows it.
#[derive(Clone, Debug, Default)]
pub struct Response {
    /// HTTP status.
    pub code: u16,
    /// The `Status` that was answered, if it was one.
    pub status: Option<Value>,
    /// The body, where the level asks for it.
    pub object: Option<Value>,
}

/// One event, ready to be written.
pub struct Event<'a> {
    /// Identifies the request; echoed in its answer.
    pub id: &'a str,
    /// How much of it is recorded.
    pub level: Level,
    /// When in the request's life.
    pub stage: Stage,
    /// What the policy looked at.
    pub subject: Subject<'a>,
    /// Path and query as sent, with the logical cluster.
    pub uri: &'a str,
    /// The caller as authenticated, with the impersonated one apart.
    pub user: Value,
    /// Whom the caller acted as.
    pub impersonated: Option<Value>,
    /// API version of the resource.
    pub version: &'a str,
    /// Addresses the request came through, nearest to the client first.
    pub sources: Vec<String>,
    /// The client's User-Agent.
    pub user_agent: &'a str,
    /// The request's body; also says which object a creation is about.
    pub request: Option<Value>,
    /// The answer, as far as there is one.
    pub response: Option<Response>,
    /// When the request came, RFC 3339 with microseconds.
    pub received: String,
    /// Now, likewise.
    pub now: String,
    /// Annotations: authorization's decision, the logical cluster, ...
    pub annotations: Map<String, Value>,
}

impl Event<'_> {
    /// The event as it is written.
    #[must_use]
    pub fn document(self) -> Value {
        let reference = self.reference();
        let mut event = json!({
            "kind": "Event",
            "apiVersion": "audit.k8s.io/v1",
            "level": self.level.as_str(),
            "auditID": self.id,
            "stage": self.stage.as_str(),
            "requestURI": self.uri,
            "verb": self.subject.verb,
            "user": self.user,
            "sourceIPs": self.sources,
            "requestReceivedTimestamp": self.received,
            "stageTimestamp": self.now,
        });
        let mut put = |name: &str, value: Option<Value>| {
            if let Some(value) = value {
                event[name] = value;
            }
        };
        let agent = Some(self.user_agent).filter(|agent| !agent.is_empty());
        put("userAgent", agent.map(Value::from));
        put("impersonatedUser", self.impersonated);
        put("objectRef", reference.map(Value::Object));
        put(
            "annotations",
            (!self.annotations.is_empty()).then_some(Value::Object(self.annotations)),
        );
        if self.level >= Level::Request {
            put("requestObject", self.request);
        }
        if let Some(response) = self.response {
            let mut status = json!({"metadata": {}});
            for (name, value) in response.status.iter().flat_map(Value::as_object).flatten() {
                if !matches!(name.as_str(), "apiVersion" | "kind") {
                    status[name.as_str()] = value.clone();
                }
            }
            status["code"] = response.code.into();
            put("responseStatus", Some(status));
            put("responseObject", response.object);
        }
        event
    }

    /// The object that the request is about. What the path does not say (the name and uid of what
    /// is created, the version that is replaced) the body does.
    fn reference(&self) -> Option<Map<String, Value>> {
        let s = &self.subject;
        if !s.is_resource {
            return None;
        }
        let meta = |name: &str| {
            let meta = self
                .request
                .as_ref()
                .and_then(|object| object.get("metadata"));
            let text = meta.and_then(|meta| meta.get(name)).and_then(Value::as_str);
            text.unwrap_or_default()
        };
        let name = if s.name.is_empty() {
            meta("name")
        } else {
            s.name
        };
        let mut reference = Map::new();
        for (key, value) in [
            ("resource", s.resource),
            ("namespace", s.namespace),
            ("name", name),
            ("uid", meta("uid")),
            ("apiGroup", s.group),
            ("apiVersion", self.version),
            ("resourceVersion", meta("resourceVersion")),
            ("subresource", s.subresource),
        ] {
            if !value.is_empty() {
                reference.insert(key.to_owned(), value.into());
            }
        }
        Some(reference)
    }
}

/// The audit log: a policy, and a file behind a queue. Cheap to clone.
#[derive(Clone)]
pub struct Log(Arc<Inner>);

struct Inner {
    policy: Policy,
    queue: Arc<Mutex<Queue>>,
    worker: Worker,
    metrics: Metrics,
}

#[derive(Default)]
struct Queue {
    lines: VecDeque<String>,
    bytes: usize,
}

impl Log {
    /// Starts the worker that writes to `sink`, a line with each call.
    #[must_use]
    pub fn new(
        policy: Policy,
        mut sink: Box<dyn Write + Send>,
        seams: &Seams,
        metrics: Metrics,
    ) -> Self {
        let queue: Arc<Mutex<Queue>> = Arc::default();
        let (waiting, counted) = (Arc::clone(&queue), metrics.clone());
        let step = move || {
            let taken = std::mem::take(&mut *waiting.lock());
            for line in &taken.lines {
                let written = sink.write_all(line.as_bytes());
                if let Err(error) = &written {
                    tracing::error!(%error, "an audit event is lost");
                }
                counted.audit_event(written.is_ok());
            }
            let _ = sink.flush();
            if waiting.lock().lines.is_empty() {
                Turn::Idle
            } else {
                Turn::Again
            }
        };
        let worker = seams.spawner.worker("audit", Box::new(step));
        Self(Arc::new(Inner {
            policy,
            queue,
            worker,
            metrics,
        }))
    }

    /// What is recorded of a request.
    #[must_use]
    pub fn decide(&self, subject: &Subject<'_>) -> Decision {
        self.0.policy.decide(subject)
    }

    /// Puts an event into the queue.
    pub fn record(&self, event: &Value) {
        let mut line = event.to_string();
        line.push('\n');
        let mut queue = self.0.queue.lock();
        let full = queue.lines.len() >= AUDIT_QUEUE_LINES_MAX
            || queue.bytes + line.len() > AUDIT_QUEUE_BYTES_MAX;
        if full {
            drop(queue);
            return self.0.metrics.audit_event(false);
        }
        queue.bytes += line.len();
        queue.lines.push_back(line);
        drop(queue);
        self.0.worker.wake();
    }
}
