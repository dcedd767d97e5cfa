//! What a workspace holds and costs, for whoever may read its metrics.
//!
//! Start at [`answer`]. `/services/metrics/clusters/<path>` is a page for Prometheus, with series
//! that exist nowhere else: the shard's own `/metrics` names no workspace. As JSON it is one entry,
//! and with `?children=true` one more for each workspace directly below whose metrics the caller
//! may read. Everything is looked up when it is asked for; only the counters of `cost.rs` are
//! kept. The invariant: who may not `get` `/metrics` in a workspace learns nothing of it, not even
//! that it is there.

use std::fmt::Write as _;

use hanse_auth::{ACCESS_DENIED, Attributes, Resolution, UserInfo};
use hanse_cache::{ClusterName, ListQuery, Object, Scope, Usage};
use hanse_json::{Value, json};
use hanse_wire::query::Query;
use hanse_wire::status::{Denied, Result, Status};
use http::Method;
use http::header;
use http::request::Parts as Head;

use crate::answer::Answer;
use crate::cost::Cost;
use crate::limits::TENANTS_PAGE;
use crate::path::is_cluster_path;
use crate::paths::OPENMETRICS;
use crate::service::Inner;

/// The path under which the right to read metrics is asked for.
const METRICS: &str = "/metrics";

/// The workspace whose metrics a path below `/services` asks for.
#[must_use]
pub fn asked_for(path: &str) -> Option<&str> {
    let name = path.strip_prefix("/services/metrics/clusters/")?;
    is_cluster_path(name).then_some(name)
}

/// The logical cluster that a path leads to.
#[must_use]
pub fn find(service: &Inner, path: &str) -> Option<ClusterName> {
    match service.authorizer.view().resolve(path) {
        Resolution::Cluster(cluster) => Some(cluster),
        _ => None,
    }
}

/// Answers for a workspace.
///
/// # Errors
/// 403 for everybody who may not read its metrics, wherever the path leads; 404 and 405.
pub fn answer(
    service: &Inner,
    head: &Head,
    query: &Query,
    (path, cluster): (&str, Option<ClusterName>),
    user: &UserInfo,
) -> Result<Answer> {
    if cluster.is_none() && user.is_master() {
        return Err(crate::path::workspace_not_found(path));
    }
    let cluster = cluster.filter(|cluster| may_read(service, user, cluster));
    let Some(cluster) = cluster else {
        return Err(refused(user));
    };
    let Some(object) = service.authorizer.view().logical_cluster(&cluster) else {
        return Err(crate::path::workspace_not_found(path));
    };
    if !matches!(head.method, Method::GET | Method::HEAD) {
        return Err(Status::method_not_allowed(
            &Default::default(),
            head.method.as_str(),
        ));
    }
    let path = object.annotation(hanse_apis::kcp::annotation::PATH);
    let path = path.as_deref().unwrap_or(cluster.as_str());
    let own = Figures::of(service, &cluster, path);
    let accept = head.headers.get(header::ACCEPT);
    let json = accept.and_then(|accept| accept.to_str().ok());
    if !json.is_some_and(|accept| accept.contains("application/json")) {
        return Ok(Answer::bytes(200, OPENMETRICS, own.page()));
    }
    let mut entries = vec![own.entry()];
    let mut next = None;
    if query.flag("children").unwrap_or(false) {
        let after = query.get("continue").unwrap_or_default();
        if !after.is_empty() {
            entries.clear();
        }
        next = children(service, user, &own, after, &mut entries);
    }
    let mut document = json!({"workspaces": entries});
    if let Some(next) = next {
        document["continue"] = next.into();
    }
    Ok(Answer::json(200, &document, false))
}

fn may_read(service: &Inner, user: &UserInfo, cluster: &str) -> bool {
    let want = Attributes::url(user, "get", METRICS);
    service.authorizer.authorize(&want, Some(cluster)).allowed
}

fn refused(user: &UserInfo) -> Box<Status> {
    Status::denied(&Denied {
        user: &user.name,
        verb: "get",
        group: "",
        resource: "",
        subresource: "",
        namespace: "",
        name: "",
        path: METRICS,
        reason: ACCESS_DENIED,
    })
}

/// Adds an entry for each workspace directly below, in the order of names from behind `after` on;
/// answers the name to go on behind, if there are more.
fn children(
    service: &Inner,
    user: &UserInfo,
    own: &Figures,
    after: &str,
    entries: &mut Vec<Value>,
) -> Option<String> {
    let view = service.authorizer.view();
    let workspaces = &view.tenancy()?.workspaces;
    let query = ListQuery {
        after: (!after.is_empty()).then(|| format!("{}//{after}", own.cluster)),
        limit: Some(TENANTS_PAGE),
        ..ListQuery::default()
    };
    let scope = Scope::Cluster(own.cluster.clone());
    let page = view.hub().list(workspaces, &scope, &query).ok()?;
    for workspace in &page.objects {
        let Some(cluster) = of_workspace(workspace) else {
            continue;
        };
        if may_read(service, user, &cluster) {
            let path = format!("{}:{}", own.path, workspace.key().name);
            entries.push(Figures::of(service, &cluster, &path).entry());
        }
    }
    let last = page.objects.last().filter(|_| page.more);
    last.map(|workspace| workspace.key().name.to_string())
}

fn of_workspace(workspace: &Object) -> Option<ClusterName> {
    let cluster = workspace.text(&["spec", "cluster"])?;
    Some(ClusterName::from(&*cluster))
}

/// All that is told of one workspace.
struct Figures {
    cluster: ClusterName,
    path: String,
    usage: Vec<Usage>,
    cost: Option<Cost>,
}

impl Figures {
    fn of(service: &Inner, cluster: &ClusterName, path: &str) -> Self {
        Self {
            cluster: cluster.clone(),
            path: path.to_owned(),
            usage: service.hub.usage(&Scope::Cluster(cluster.clone())),
            cost: service.costs.of(cluster),
        }
    }

    fn sum(&self, of: impl Fn(&Usage) -> usize) -> usize {
        self.usage.iter().map(of).sum()
    }

    fn entry(&self) -> Value {
        let cost = self.cost.unwrap_or_default();
        let mut entry = json!({
            "path": self.path, "cluster": self.cluster.as_str(),
            "objects": self.sum(|u| u.objects),
            "storedBytes": self.sum(|u| u.stored_bytes),
            "memoryBytes": self.sum(|u| u.memory_bytes),
            "requests": cost.requests, "cpuMicroseconds": micros(&cost),
            "receivedBytes": cost.received_bytes, "sentBytes": cost.sent_bytes,
            "watchBytes": cost.watch_bytes,
        });
        if self.cost.is_some() {
            entry["since"] = hanse_wire::time::format(cost.since_micros).into();
        }
        entry
    }

    /// The page for Prometheus. None of the values needs escaping: they are names of workspaces
    /// and resources.
    fn page(&self) -> String {
        let mut page = String::with_capacity(4096);
        let labels = format!("cluster=\"{}\",workspace=\"{}\"", self.cluster, self.path);
        let mut family = |name: &str, kind: &str, rows: &[(String, f64)]| {
            // Writing to a String cannot fail.
            let _ = writeln!(page, "# TYPE hanse_workspace_{name} {kind}");
            let suffix = if kind == "counter" { "_total" } else { "" };
            for (more, value) in rows {
                let _ = writeln!(
                    page,
                    "hanse_workspace_{name}{suffix}{{{labels}{more}}} {value}"
                );
            }
        };
        let by_resource = |of: fn(&Usage) -> usize| -> Vec<(String, f64)> {
            let rows = self.usage.iter();
            rows.map(|usage| (resource_labels(usage), of(usage) as f64))
                .collect()
        };
        family("objects", "gauge", &by_resource(|u| u.objects));
        family("stored_bytes", "gauge", &by_resource(|u| u.stored_bytes));
        family("memory_bytes", "gauge", &by_resource(|u| u.memory_bytes));
        let cost = self.cost.unwrap_or_default();
        for (name, value) in [
            ("requests", cost.requests as f64),
            ("cpu_seconds", cost.cpu.as_secs_f64()),
            ("received_bytes", cost.received_bytes as f64),
            ("sent_bytes", cost.sent_bytes as f64),
            ("watch_sent_bytes", cost.watch_bytes as f64),
        ] {
            family(name, "counter", &[(String::new(), value)]);
        }
        page.push_str("# EOF\n");
        page
    }
}

fn resource_labels(usage: &Usage) -> String {
    let (group, resource) = (usage.resource.group(), usage.resource.resource());
    let identity = usage.resource.identity();
    format!(",group=\"{group}\",resource=\"{resource}\",identity=\"{identity}\"")
}

fn micros(cost: &Cost) -> u64 {
    u64::try_from(cost.cpu.as_micros()).unwrap_or(u64::MAX)
}
