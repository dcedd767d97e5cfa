//! Who did what: audit events as JSON lines, chosen by a policy.
//!
//! Start at [`Policy::decide`] and [`Log::write`]. What is done: policies of `audit.k8s.io/v1`
//! with all their selectors, the levels None and Metadata, the stages ResponseStarted,
//! ResponseComplete and Panic, one log file. What is refused at start-up, by name: the levels
//! Request and RequestResponse, so that nobody relies on bodies that would not be there.
//! The invariant: writing never blocks a request. Lines wait in a bounded queue for a worker; when
//! it is full an event is lost and counted.

use std::collections::VecDeque;
use std::io::Write;
use std::sync::Arc;

use hanse_seams::{Seams, Turn, Worker};
use parking_lot::Mutex;
use serde_json::{Map, Value, json};

use crate::metrics::Metrics;

/// Lines that may wait for the disk.
const QUEUE_LINES_MAX: usize = 16 * 1024;

/// How much of a request is recorded.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Level {
    /// Nothing.
    None,
    /// Everything but bodies.
    Metadata,
}

/// When an event is recorded.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stage {
    /// The headers of a long answer are on their way.
    ResponseStarted,
    /// The answer is complete.
    ResponseComplete,
    /// Answering failed inside the server.
    Panic,
}

impl Stage {
    fn as_str(self) -> &'static str {
        match self {
            Self::ResponseStarted => "ResponseStarted",
            Self::ResponseComplete => "ResponseComplete",
            Self::Panic => "Panic",
        }
    }
}

/// What of a request the policy looks at.
#[derive(Clone, Copy, Debug)]
pub struct Subject<'a> {
    /// User name.
    pub user: &'a str,
    /// The user's groups.
    pub groups: &'a [String],
    /// Verb.
    pub verb: &'a str,
    /// Whether the path addresses a resource.
    pub is_resource: bool,
    /// Path, for other requests.
    pub path: &'a str,
    /// API group.
    pub group: &'a str,
    /// Resource.
    pub resource: &'a str,
    /// Subresource.
    pub subresource: &'a str,
    /// Namespace, empty for cluster-scoped.
    pub namespace: &'a str,
    /// Object name.
    pub name: &'a str,
}

#[derive(Debug, Default)]
struct GroupResources {
    group: String,
    resources: Vec<String>,
    names: Vec<String>,
}

#[derive(Debug)]
struct Rule {
    level: Level,
    users: Vec<String>,
    groups: Vec<String>,
    verbs: Vec<String>,
    resources: Vec<GroupResources>,
    namespaces: Vec<String>,
    urls: Vec<String>,
    omit_stages: Vec<String>,
}

/// An audit policy: the first rule that fits decides.
#[derive(Debug, Default)]
pub struct Policy {
    rules: Vec<Rule>,
    omit_stages: Vec<String>,
}

impl Policy {
    /// Reads a policy document.
    ///
    /// # Errors
    /// Another kind, an unknown level or stage, or a level that is not offered.
    pub fn from_value(document: &Value) -> Result<Self, String> {
        let text = |name: &str| {
            document
                .get(name)
                .and_then(Value::as_str)
                .unwrap_or_default()
        };
        if text("kind") != "Policy" || text("apiVersion") != "audit.k8s.io/v1" {
            return Err("an audit policy is of kind Policy in audit.k8s.io/v1".to_owned());
        }
        let rules = document.get("rules").and_then(Value::as_array);
        let rules = rules.ok_or("an audit policy needs rules")?;
        let rules = rules
            .iter()
            .map(Rule::from_value)
            .collect::<Result<_, _>>()?;
        Ok(Self {
            rules,
            omit_stages: stages(document)?,
        })
    }

    /// The level for a request, and whether the stage is wanted.
    #[must_use]
    pub fn decide(&self, subject: &Subject<'_>, stage: Stage) -> bool {
        let Some(rule) = self.rules.iter().find(|rule| rule.matches(subject)) else {
            return false;
        };
        let omitted = |stages: &[String]| stages.iter().any(|s| s == stage.as_str());
        rule.level != Level::None && !omitted(&rule.omit_stages) && !omitted(&self.omit_stages)
    }
}

fn strings(value: &Value, name: &str) -> Result<Vec<String>, String> {
    match value.get(name) {
        None | Some(Value::Null) => Ok(Vec::new()),
        Some(Value::Array(items)) => items
            .iter()
            .map(|item| item.as_str().map(str::to_owned))
            .collect::<Option<_>>()
            .ok_or_else(|| format!("{name} must be a list of strings")),
        Some(_) => Err(format!("{name} must be a list of strings")),
    }
}

fn stages(value: &Value) -> Result<Vec<String>, String> {
    let stages = strings(value, "omitStages")?;
    let known = [
        "RequestReceived",
        "ResponseStarted",
        "ResponseComplete",
        "Panic",
    ];
    match stages.iter().find(|stage| !known.contains(&stage.as_str())) {
        Some(stage) => Err(format!("unknown audit stage {stage:?}")),
        None => Ok(stages),
    }
}

impl Rule {
    fn from_value(value: &Value) -> Result<Self, String> {
        let level = match value
            .get("level")
            .and_then(Value::as_str)
            .unwrap_or_default()
        {
            "None" => Level::None,
            "Metadata" => Level::Metadata,
            level @ ("Request" | "RequestResponse") => {
                return Err(format!(
                    "audit level {level} is not offered yet; use Metadata"
                ));
            }
            level => return Err(format!("unknown audit level {level:?}")),
        };
        let resources = value.get("resources").and_then(Value::as_array);
        let resources = resources.map(Vec::as_slice).unwrap_or_default();
        let resources = resources
            .iter()
            .map(|item| {
                Ok(GroupResources {
                    group: item
                        .get("group")
                        .and_then(Value::as_str)
                        .unwrap_or_default()
                        .to_owned(),
                    resources: strings(item, "resources")?,
                    names: strings(item, "resourceNames")?,
                })
            })
            .collect::<Result<_, String>>()?;
        Ok(Self {
            level,
            users: strings(value, "users")?,
            groups: strings(value, "userGroups")?,
            verbs: strings(value, "verbs")?,
            resources,
            namespaces: strings(value, "namespaces")?,
            urls: strings(value, "nonResourceURLs")?,
            omit_stages: stages(value)?,
        })
    }

    fn matches(&self, s: &Subject<'_>) -> bool {
        let any = |list: &[String], value: &str| list.is_empty() || list.iter().any(|i| i == value);
        let in_groups =
            self.groups.is_empty() || s.groups.iter().any(|g| self.groups.iter().any(|w| w == g));
        any(&self.users, s.user) && in_groups && any(&self.verbs, s.verb) && self.matches_target(s)
    }

    fn matches_target(&self, s: &Subject<'_>) -> bool {
        if self.urls.is_empty() && self.resources.is_empty() && self.namespaces.is_empty() {
            return true;
        }
        if !s.is_resource {
            return self
                .urls
                .iter()
                .any(|pattern| match pattern.strip_suffix('*') {
                    Some(prefix) => s.path.starts_with(prefix),
                    None => s.path == pattern,
                });
        }
        if !self.urls.is_empty() && self.resources.is_empty() && self.namespaces.is_empty() {
            return false;
        }
        let in_namespace =
            self.namespaces.is_empty() || self.namespaces.iter().any(|n| n == s.namespace);
        in_namespace
            && (self.resources.is_empty() || self.resources.iter().any(|group| group.matches(s)))
    }
}

impl GroupResources {
    fn matches(&self, s: &Subject<'_>) -> bool {
        let named = self.names.is_empty() || self.names.iter().any(|name| name == s.name);
        self.group == s.group
            && named
            && (self.resources.is_empty() || self.resources.iter().any(|r| fits(r, s)))
    }
}

/// `pods`, `pods/log`, `pods/*`, `*/scale`, `*`.
fn fits(pattern: &str, s: &Subject<'_>) -> bool {
    match pattern.split_once('/') {
        None => pattern == "*" || (pattern == s.resource && s.subresource.is_empty()),
        Some((resource, subresource)) => {
            (resource == "*" || resource == s.resource)
                && (subresource == "*" || subresource == s.subresource)
                && !s.subresource.is_empty()
        }
    }
}

/// One event, ready to be written.
pub struct Event<'a> {
    /// Identifies the request; echoed in its answer.
    pub id: &'a str,
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
    /// HTTP status of the answer.
    pub code: u16,
    /// When the request came, RFC 3339 with microseconds.
    pub received: String,
    /// Now, likewise.
    pub now: String,
    /// Annotations: authorization's decision, the logical cluster, ...
    pub annotations: Map<String, Value>,
}

impl Event<'_> {
    fn document(self) -> Value {
        let s = &self.subject;
        let mut event = json!({
            "kind": "Event",
            "apiVersion": "audit.k8s.io/v1",
            "level": "Metadata",
            "auditID": self.id,
            "stage": self.stage.as_str(),
            "requestURI": self.uri,
            "verb": s.verb,
            "user": self.user,
            "sourceIPs": self.sources,
            "userAgent": self.user_agent,
            "responseStatus": {"metadata": {}, "code": self.code},
            "requestReceivedTimestamp": self.received,
            "stageTimestamp": self.now,
            "annotations": self.annotations,
        });
        if let Some(user) = self.impersonated {
            event["impersonatedUser"] = user;
        }
        if s.is_resource {
            let mut reference = Map::new();
            for (name, value) in [
                ("resource", s.resource),
                ("namespace", s.namespace),
                ("name", s.name),
                ("apiGroup", s.group),
                ("apiVersion", self.version),
                ("subresource", s.subresource),
            ] {
                if !value.is_empty() {
                    reference.insert(name.to_owned(), value.into());
                }
            }
            event["objectRef"] = Value::Object(reference);
        }
        event
    }
}

/// The audit log: a policy, and a file behind a queue.
pub struct Log {
    policy: Policy,
    queue: Arc<Mutex<VecDeque<String>>>,
    worker: Worker,
    metrics: Metrics,
}

impl Log {
    /// Starts the worker that writes to `sink`.
    #[must_use]
    pub fn new(
        policy: Policy,
        mut sink: Box<dyn Write + Send>,
        seams: &Seams,
        metrics: Metrics,
    ) -> Self {
        let queue: Arc<Mutex<VecDeque<String>>> = Arc::default();
        let (lines, counted) = (Arc::clone(&queue), metrics.clone());
        let step = move || {
            let waiting = std::mem::take(&mut *lines.lock());
            for line in &waiting {
                counted.audit_event(sink.write_all(line.as_bytes()).is_ok());
            }
            let _ = sink.flush();
            if lines.lock().is_empty() {
                Turn::Idle
            } else {
                Turn::Again
            }
        };
        let worker = seams.spawner.worker("audit", Box::new(step));
        Self {
            policy,
            queue,
            worker,
            metrics,
        }
    }

    /// Whether an event of this stage is wanted: asked before one is put together.
    #[must_use]
    pub fn wants(&self, subject: &Subject<'_>, stage: Stage) -> bool {
        self.policy.decide(subject, stage)
    }

    /// Puts an event into the queue.
    pub fn write(&self, event: Event<'_>) {
        let mut line = event.document().to_string();
        line.push('\n');
        let mut queue = self.queue.lock();
        if queue.len() >= QUEUE_LINES_MAX {
            self.metrics.audit_event(false);
            return;
        }
        queue.push_back(line);
        drop(queue);
        self.worker.wake();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn policy(rules: Value) -> Policy {
        let document = json!({"apiVersion": "audit.k8s.io/v1", "kind": "Policy", "rules": rules});
        Policy::from_value(&document).unwrap()
    }

    fn subject() -> Subject<'static> {
        Subject {
            user: "jane",
            groups: &[],
            verb: "get",
            is_resource: true,
            path: "/api/v1/namespaces/a/pods/p/log",
            group: "",
            resource: "pods",
            subresource: "log",
            namespace: "a",
            name: "p",
        }
    }

    fn check(rule: Value, subject: &Subject<'_>, wanted: bool) {
        let decided = policy(json!([rule])).decide(subject, Stage::ResponseComplete);
        assert_eq!(decided, wanted, "{rule}");
    }

    #[test]
    fn rules_select_as_kubernetes_does() {
        let s = subject();
        check(json!({"level": "Metadata"}), &s, true);
        check(json!({"level": "None"}), &s, false);
        check(json!({"level": "Metadata", "users": ["joe"]}), &s, false);
        check(
            json!({"level": "Metadata", "omitStages": ["ResponseComplete"]}),
            &s,
            false,
        );
        for (pattern, wanted) in [
            ("pods", false),
            ("pods/log", true),
            ("pods/*", true),
            ("*/log", true),
            ("*", true),
        ] {
            let resources = json!([{"group": "", "resources": [pattern]}]);
            check(
                json!({"level": "Metadata", "resources": resources}),
                &s,
                wanted,
            );
        }
        check(
            json!({"level": "Metadata", "nonResourceURLs": ["/api*"]}),
            &s,
            false,
        );
        let path = Subject {
            is_resource: false,
            path: "/version",
            ..s
        };
        check(
            json!({"level": "Metadata", "nonResourceURLs": ["/ver*"]}),
            &path,
            true,
        );
        check(
            json!({"level": "Metadata", "namespaces": ["a"]}),
            &path,
            false,
        );
    }

    #[test]
    fn levels_that_are_not_there_are_refused() {
        for level in ["Request", "RequestResponse", "Everything"] {
            let document = json!({
                "apiVersion": "audit.k8s.io/v1", "kind": "Policy", "rules": [{"level": level}],
            });
            assert!(Policy::from_value(&document).is_err());
        }
    }
}
