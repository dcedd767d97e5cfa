//! What the server counts about requests, under the names that Kubernetes' dashboards ask for.
//!
//! Start at [`Metrics::observe`]. The invariant: the number of series has a bound that no client
//! moves: no label here names a logical cluster, an object, a user, or a kind that this program
//! does not define ([`crate::series`]). Requests for unknown paths collapse to an empty resource.
//! Times are told by verb and scope, not by resource: a histogram is fifteen series.

use std::fmt::Write as _;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use parking_lot::Mutex;
use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::Histogram;
use prometheus_client::registry::Registry;

use crate::limits::REQUEST_SERIES_MAX;

/// Labels of a request, as Kubernetes has them.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, EncodeLabelSet)]
pub struct RequestLabels {
    /// GET, LIST, WATCH, POST, PUT, PATCH, APPLY, DELETE, DELETECOLLECTION, CONNECT.
    pub verb: &'static str,
    /// `All` for dry runs.
    pub dry_run: &'static str,
    /// API group.
    pub group: &'static str,
    /// API version.
    pub version: &'static str,
    /// Plural of the resource.
    pub resource: &'static str,
    /// Subresource.
    pub subresource: &'static str,
    /// `cluster`, `namespace` or `resource`; empty for other paths.
    pub scope: &'static str,
    /// Always `apiserver`.
    pub component: &'static str,
}

impl RequestLabels {
    /// The same without the kind.
    fn without_kind(self) -> Self {
        Self {
            group: "",
            version: "",
            resource: "",
            subresource: "",
            ..self
        }
    }

    fn coded(self, code: u16) -> CodedLabels {
        CodedLabels {
            verb: self.verb,
            dry_run: self.dry_run,
            group: self.group,
            version: self.version,
            resource: self.resource,
            subresource: self.subresource,
            scope: self.scope,
            component: self.component,
            code,
        }
    }
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct CodedLabels {
    verb: &'static str,
    dry_run: &'static str,
    group: &'static str,
    version: &'static str,
    resource: &'static str,
    subresource: &'static str,
    scope: &'static str,
    component: &'static str,
    code: u16,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct KindLabels {
    request_kind: &'static str,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct OperationLabels {
    operation: &'static str,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct WaitLabels {
    priority_level: &'static str,
    flow_schema: &'static str,
    execute: &'static str,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct ResultLabels {
    result: &'static str,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct EventLabels {
    group: &'static str,
    version: &'static str,
    resource: &'static str,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct BuildLabels {
    git_version: String,
    major: &'static str,
    minor: &'static str,
    platform: &'static str,
}

/// Upper bounds of request times in seconds: a subset of Kubernetes' own, with those that the
/// usual alerts ask for (1, 5, 30).
const SECONDS: [f64; 12] = [
    0.001, 0.005, 0.025, 0.05, 0.1, 0.2, 0.5, 1.0, 5.0, 15.0, 30.0, 60.0,
];

type Timed<L> = Family<L, Histogram, fn() -> Histogram>;
type Histograms = Timed<RequestLabels>;

fn seconds() -> Histogram {
    Histogram::new(SECONDS)
}

/// All counters of this room; cheap to clone.
#[derive(Clone)]
pub struct Metrics(Arc<Inner>);

struct Inner {
    registry: Mutex<Registry>,
    requests: Family<CodedLabels, Counter>,
    request_series: AtomicUsize,
    durations: Histograms,
    sli_durations: Histograms,
    inflight: Family<KindLabels, Gauge>,
    longrunning: Family<RequestLabels, Gauge>,
    tls_handshake_errors: Counter,
    authentications: Family<ResultLabels, Counter>,
    decisions: Family<ResultLabels, Counter>,
    watch_events: Family<EventLabels, Counter>,
    commits: Timed<OperationLabels>,
    waits: Timed<WaitLabels>,
    audit_events: Counter,
    audit_errors: Counter,
}

impl Metrics {
    /// Makes the counters. `git_version` goes into `kubernetes_build_info`.
    #[must_use]
    pub fn new(git_version: &str) -> Self {
        let inner = Inner {
            registry: Mutex::default(),
            requests: Family::default(),
            request_series: AtomicUsize::new(0),
            durations: Family::new_with_constructor(seconds),
            sli_durations: Family::new_with_constructor(seconds),
            inflight: Family::default(),
            longrunning: Family::default(),
            tls_handshake_errors: Counter::default(),
            authentications: Family::default(),
            decisions: Family::default(),
            watch_events: Family::default(),
            commits: Family::new_with_constructor(seconds),
            waits: Family::new_with_constructor(seconds),
            audit_events: Counter::default(),
            audit_errors: Counter::default(),
        };
        let mut registry = Registry::default();
        inner.register(&mut registry, git_version);
        *inner.registry.lock() = registry;
        Self(Arc::new(inner))
    }

    /// Lets other rooms add their own.
    pub fn with_registry(&self, add: impl FnOnce(&mut Registry)) {
        add(&mut self.0.registry.lock());
    }

    /// One request is over.
    pub fn observe(&self, labels: &RequestLabels, code: u16, duration: Duration) {
        self.count(labels, code);
        // A watch's duration says how long a client listened, which is no latency.
        if labels.verb != "WATCH" {
            let seconds = duration.as_secs_f64();
            let timed = RequestLabels {
                dry_run: "",
                ..labels.without_kind()
            };
            self.0.durations.get_or_create(&timed).observe(seconds);
            self.0.sli_durations.get_or_create(&timed).observe(seconds);
        }
    }

    /// Counts a request by kind and code while there is room for a new series, otherwise without
    /// its kind.
    fn count(&self, labels: &RequestLabels, code: u16) {
        let coded = labels.coded(code);
        if let Some(known) = self.0.requests.get(&coded) {
            known.inc();
            return;
        }
        let coded = match self.0.request_series.fetch_add(1, Ordering::Relaxed) {
            made if made < REQUEST_SERIES_MAX => coded,
            _ => labels.without_kind().coded(code),
        };
        self.0.requests.get_or_create(&coded).inc();
    }

    /// Counts a request as in flight until the guard is dropped.
    #[must_use]
    pub fn inflight(&self, mutating: bool) -> GaugeGuard {
        let request_kind = if mutating { "mutating" } else { "readOnly" };
        GaugeGuard::new(&self.0.inflight.get_or_create(&KindLabels { request_kind }))
    }

    /// Counts a watch until the guard is dropped.
    #[must_use]
    pub fn longrunning(&self, labels: &RequestLabels) -> GaugeGuard {
        let open = RequestLabels {
            scope: "",
            ..*labels
        };
        GaugeGuard::new(&self.0.longrunning.get_or_create(&open))
    }

    /// The store has answered a write: `create`, `update` or `delete`.
    pub fn commit(&self, operation: &'static str, duration: Duration) {
        let labels = OperationLabels { operation };
        let seconds = duration.as_secs_f64();
        self.0.commits.get_or_create(&labels).observe(seconds);
    }

    /// A request of a level has waited for its turn, and got it or was refused.
    pub fn waited(&self, level: &'static str, duration: Duration, served: bool) {
        let labels = WaitLabels {
            priority_level: level,
            flow_schema: level,
            execute: if served { "true" } else { "false" },
        };
        let seconds = duration.as_secs_f64();
        self.0.waits.get_or_create(&labels).observe(seconds);
    }

    /// A TLS handshake failed.
    pub fn tls_handshake_error(&self) {
        self.0.tls_handshake_errors.inc();
    }

    /// An attempt to authenticate ended: `success`, `failure` (bad credentials) or `anonymous`.
    pub fn authentication(&self, result: &'static str) {
        self.0
            .authentications
            .get_or_create(&ResultLabels { result })
            .inc();
    }

    /// An authorization was decided.
    pub fn decision(&self, allowed: bool) {
        let result = if allowed { "allowed" } else { "denied" };
        self.0
            .decisions
            .get_or_create(&ResultLabels { result })
            .inc();
    }

    /// The counter of events sent to watchers of one kind, to be kept by the watch.
    #[must_use]
    pub fn watch_events(&self, group: &str, version: &str, resource: &str) -> Counter {
        let named = crate::series::named(group, version, resource, "");
        let labels = EventLabels {
            group: named.group,
            version: named.version,
            resource: named.resource,
        };
        self.0.watch_events.get_or_create(&labels).clone()
    }

    /// An audit event was written, or could not be.
    pub fn audit_event(&self, written: bool) {
        let counter = if written {
            &self.0.audit_events
        } else {
            &self.0.audit_errors
        };
        counter.inc();
    }

    /// The whole page, in the OpenMetrics text format that Prometheus reads.
    #[must_use]
    pub fn render(&self, figures: &[Figure]) -> String {
        let mut page = String::with_capacity(16 * 1024);
        // Writing to a String cannot fail; a metric that fails to encode loses the rest only.
        let _ =
            prometheus_client::encoding::text::encode_registry(&mut page, &self.0.registry.lock());
        render_figures(figures, &mut page);
        page.push_str("# EOF\n");
        page
    }
}

impl Inner {
    fn register(&self, registry: &mut Registry, git_version: &str) {
        let r = registry;
        r.register(
            "apiserver_request",
            "Requests by verb, kind and code",
            self.requests.clone(),
        );
        r.register(
            "apiserver_request_duration_seconds",
            "Time to answer, watches aside",
            self.durations.clone(),
        );
        r.register(
            "apiserver_request_sli_duration_seconds",
            "Time to answer without webhooks and fair waiting",
            self.sli_durations.clone(),
        );
        r.register(
            "apiserver_current_inflight_requests",
            "Requests being answered",
            self.inflight.clone(),
        );
        r.register(
            "apiserver_longrunning_requests",
            "Open watches",
            self.longrunning.clone(),
        );
        r.register(
            "apiserver_tls_handshake_errors",
            "Failed TLS handshakes",
            self.tls_handshake_errors.clone(),
        );
        r.register(
            "authentication_attempts",
            "Authentication attempts by result",
            self.authentications.clone(),
        );
        r.register(
            "apiserver_authorization_decisions",
            "Authorization decisions",
            self.decisions.clone(),
        );
        r.register(
            "apiserver_watch_events",
            "Events sent to watchers",
            self.watch_events.clone(),
        );
        r.register(
            "etcd_request_duration_seconds",
            "Time until the store has made a write durable",
            self.commits.clone(),
        );
        r.register(
            "apiserver_flowcontrol_request_wait_duration_seconds",
            "Time until a request had its turn",
            self.waits.clone(),
        );
        r.register(
            "apiserver_audit_event",
            "Audit events written",
            self.audit_events.clone(),
        );
        r.register(
            "apiserver_audit_error",
            "Audit events lost",
            self.audit_errors.clone(),
        );
        let build: Family<BuildLabels, Gauge> = Family::default();
        let labels = BuildLabels {
            git_version: git_version.to_owned(),
            major: crate::version::MAJOR,
            minor: crate::version::MINOR,
            platform: crate::version::PLATFORM,
        };
        build.get_or_create(&labels).set(1);
        r.register("kubernetes_build_info", "What was built", build);
    }
}

/// Figures of the process itself, read from the system by the binary.
#[derive(Clone, Copy, Debug, Default)]
pub struct ProcessFigures {
    /// CPU time used, seconds.
    pub cpu_seconds: f64,
    /// Resident memory, bytes.
    pub resident_bytes: u64,
    /// Address space, bytes.
    pub virtual_bytes: u64,
    /// Open file descriptors.
    pub open_fds: u64,
    /// How many may be open.
    pub max_fds: u64,
    /// Start of the process, seconds since 1970.
    pub start_seconds: f64,
}

impl ProcessFigures {
    /// The same under the names that Prometheus' own clients use.
    #[must_use]
    pub fn figures(&self) -> Vec<Figure> {
        [
            ("process_cpu_seconds_total", "counter", self.cpu_seconds),
            (
                "process_resident_memory_bytes",
                "gauge",
                self.resident_bytes as f64,
            ),
            (
                "process_virtual_memory_bytes",
                "gauge",
                self.virtual_bytes as f64,
            ),
            ("process_open_fds", "gauge", self.open_fds as f64),
            ("process_max_fds", "gauge", self.max_fds as f64),
            ("process_start_time_seconds", "gauge", self.start_seconds),
        ]
        .map(|(name, kind, value)| Figure::new(name, kind, &[], value))
        .into()
    }
}

/// A number that is asked for when the page is made, instead of being kept.
#[derive(Clone, Debug)]
pub struct Figure {
    name: String,
    kind: &'static str,
    labels: String,
    value: f64,
}

impl Figure {
    /// A figure; labels are names and values without anything to escape.
    #[must_use]
    pub fn new(
        name: impl Into<String>,
        kind: &'static str,
        labels: &[(&'static str, &'static str)],
        value: f64,
    ) -> Self {
        let pairs: Vec<String> = labels.iter().map(|(k, v)| format!("{k}=\"{v}\"")).collect();
        let labels = match pairs.is_empty() {
            true => String::new(),
            false => format!("{{{}}}", pairs.join(",")),
        };
        Self {
            name: name.into(),
            kind,
            labels,
            value,
        }
    }
}

/// How much of a bound is used, how much there is, and how often it was met.
#[must_use]
pub fn limit_figures(limit: &'static str, used: f64, most: f64, met: u64) -> Vec<Figure> {
    [
        ("hanse_limit_used", "gauge", used),
        ("hanse_limit_max", "gauge", most),
        ("hanse_limit_met_total", "counter", met as f64),
    ]
    .map(|(name, kind, value)| Figure::new(name, kind, &[("limit", limit)], value))
    .into()
}

/// Writes figures, all of one name under one heading.
fn render_figures(figures: &[Figure], page: &mut String) {
    let mut done: Vec<&str> = Vec::new();
    for figure in figures {
        if done.contains(&figure.name.as_str()) {
            continue;
        }
        done.push(&figure.name);
        let family = figure.name.strip_suffix("_total").unwrap_or(&figure.name);
        let _ = writeln!(page, "# TYPE {family} {}", figure.kind);
        for same in figures.iter().filter(|other| other.name == figure.name) {
            let (name, labels) = (&same.name, &same.labels);
            let _ = match same.value {
                f64::INFINITY => writeln!(page, "{name}{labels} +Inf"),
                value => writeln!(page, "{name}{labels} {value}"),
            };
        }
    }
}

/// Raises a gauge while it lives.
pub struct GaugeGuard(Gauge);

impl GaugeGuard {
    fn new(gauge: &Gauge) -> Self {
        gauge.inc();
        Self(gauge.clone())
    }
}

impl Drop for GaugeGuard {
    fn drop(&mut self) {
        self.0.dec();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_request_shows_under_kubernetes_names() {
        let metrics = Metrics::new("v1.36.0+hanse");
        let labels = RequestLabels {
            verb: "LIST",
            version: "v1",
            resource: "configmaps",
            scope: "cluster",
            component: "apiserver",
            ..RequestLabels::default()
        };
        metrics.observe(&labels, 200, Duration::from_millis(3));
        let guard = metrics.inflight(false);
        let page = metrics.render(&ProcessFigures::default().figures());
        assert!(page.contains(
            "apiserver_request_total{verb=\"LIST\",dry_run=\"\",group=\"\",version=\"v1\",\
             resource=\"configmaps\",subresource=\"\",scope=\"cluster\",component=\"apiserver\",\
             code=\"200\"} 1"
        ));
        assert!(page.contains("apiserver_request_sli_duration_seconds_bucket{le=\"1.0\""));
        assert!(page.contains("apiserver_current_inflight_requests{request_kind=\"readOnly\"} 1"));
        assert!(page.ends_with("# EOF\n"));
        drop(guard);
        let page = metrics.render(&ProcessFigures::default().figures());
        assert!(page.contains("apiserver_current_inflight_requests{request_kind=\"readOnly\"} 0"));
    }

    #[test]
    fn the_number_of_series_has_a_bound() {
        let metrics = Metrics::new("v1");
        let rows = hanse_kinds::builtin().iter();
        for row in rows.chain(hanse_kinds::kcp::system_crds()) {
            let named = crate::series::named(&row.group, &row.version, &row.plural, "");
            for verb in [
                "GET",
                "LIST",
                "POST",
                "PUT",
                "PATCH",
                "DELETE",
                "DELETECOLLECTION",
            ] {
                for code in [200, 201, 400, 401, 403, 404, 409, 422, 500, 503] {
                    for scope in ["cluster", "namespace", "resource"] {
                        let labels = RequestLabels {
                            verb,
                            group: named.group,
                            version: named.version,
                            resource: named.resource,
                            scope,
                            component: "apiserver",
                            ..RequestLabels::default()
                        };
                        metrics.observe(&labels, code, Duration::from_millis(1));
                    }
                }
            }
            for scope in ["cluster", "namespace", "resource"] {
                let labels = RequestLabels {
                    verb: "WATCH",
                    resource: named.resource,
                    group: named.group,
                    scope,
                    ..RequestLabels::default()
                };
                metrics
                    .watch_events(&row.group, &row.version, &row.plural)
                    .inc();
                drop(metrics.longrunning(&labels));
            }
        }
        let page = metrics.render(&ProcessFigures::default().figures());
        let series = page.lines().filter(|line| !line.starts_with('#')).count();
        assert!(series <= 1_500, "{series}");
    }
}
