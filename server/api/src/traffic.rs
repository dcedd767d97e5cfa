//! What a request must pass before it may cost much: its turn, room for its body, memory.
//!
//! Start at [`Traffic::enter`]. There are three levels. Masters and the probes are exempt: whoever
//! mends an overloaded server must get through. What the platform itself sends (components named
//! `system:...`, leases of whoever leads) has a queue of its own, so that no tenant makes a site or
//! a leader look dead (APF-09). All others share one queue. The invariant: what is refused here has
//! changed nothing, and says when to come again.

use bytes::Bytes;
use hanse_auth::UserInfo;
use hanse_seams::Seams;
use hanse_wire::status::{Result, Status};
use http_body_util::BodyExt;

use crate::body::RequestBody;
use crate::flow::{Bounds, Fair, Flow, Turn};
use crate::info::{RequestInfo, Verb};
use crate::limits::{BODY_BYTES_MAX, FLOW_REQUESTS_MAX, FLOW_SEATS_EACH_THREAD, FLOW_SHARE};
use crate::memory::{Memory, Reserved};
use crate::metrics::{Figure, Metrics, limit_figures};

/// What the operator decides.
#[derive(Clone, Copy, Debug)]
pub struct Config {
    /// Threads that drive requests.
    pub threads: usize,
    /// Threads for work that takes long.
    pub long_threads: usize,
    /// Requests that wait or are being answered, of one level.
    pub requests: usize,
    /// Resident bytes beyond which the server takes no more in; none is no limit.
    pub memory_bytes: Option<u64>,
    /// Resident bytes of the process now.
    pub resident_bytes: fn() -> u64,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            threads: 1,
            long_threads: 2,
            requests: FLOW_REQUESTS_MAX,
            memory_bytes: None,
            resident_bytes: || 0,
        }
    }
}

/// See the module's words.
pub struct Traffic {
    system: Fair,
    tenants: Fair,
    /// Seats on the threads for long work, of all levels.
    long: Fair,
    /// What requests take of the process's memory.
    pub memory: Memory,
}

impl Traffic {
    /// Empty queues.
    #[must_use]
    pub fn new(config: Config) -> Self {
        let bounds = Bounds {
            seats: config.threads.max(1) * FLOW_SEATS_EACH_THREAD,
            seats_each: usize::MAX,
            requests: config.requests,
            requests_each: config.requests.div_ceil(FLOW_SHARE),
        };
        let long = Bounds {
            seats: config.long_threads.max(1),
            seats_each: config.long_threads.div_ceil(2).max(1),
            ..bounds
        };
        Self {
            system: Fair::new(bounds),
            tenants: Fair::new(bounds),
            long: Fair::new(long),
            memory: Memory::new(config.memory_bytes, config.resident_bytes),
        }
    }

    /// The seats for long work.
    #[must_use]
    pub fn long(&self) -> &Fair {
        &self.long
    }

    /// Waits until it is the request's turn; the exempt need none.
    ///
    /// # Errors
    /// 429 when the server has too much to do, or no memory for more.
    pub async fn enter(
        &self,
        seams: &Seams,
        user: &UserInfo,
        info: &RequestInfo<'_>,
        cluster: Option<&str>,
        metrics: &Metrics,
    ) -> Result<Option<Turn>> {
        let Some((level, fair)) = self.level(user, info) else {
            return Ok(None);
        };
        let takes = info.is_resource && (!info.verb.is_read() || info.verb == Verb::Watch);
        let clock = seams.clock.as_ref();
        self.memory.admit(clock, takes, is_removal(info.verb))?;
        let flow = Flow::of(cluster.unwrap_or_default(), &user.name);
        let began = clock.monotonic();
        let turn = fair.enter(flow, seams).await;
        let waited = clock.monotonic().saturating_sub(began);
        metrics.waited(level, waited, turn.is_ok());
        turn.map(Some)
    }

    fn level(&self, user: &UserInfo, info: &RequestInfo<'_>) -> Option<(&'static str, &Fair)> {
        let document = ["/api", "/openapi"]
            .iter()
            .any(|p| info.path.starts_with(p));
        if user.is_master() || !(info.is_resource || document) {
            return None;
        }
        let lease = (info.group, info.resource) == ("coordination.k8s.io", "leases");
        let component = user
            .name
            .strip_prefix("system:")
            .is_some_and(|name| !name.starts_with("serviceaccount:") && name != "anonymous");
        Some(match component || (lease && info.verb != Verb::List) {
            true => ("system", &self.system),
            false => ("tenants", &self.tenants),
        })
    }

    /// The whole body, up to the limits; the only piece of a small body is not copied. The
    /// reservation is to be held as long as the bytes are.
    ///
    /// # Errors
    /// 413, 400 for a broken transport, 429 when all bodies together are too much.
    pub async fn read_body(&self, mut body: RequestBody) -> Result<(Bytes, Reserved)> {
        let mut reserved = self.memory.bodies.reserve(0)?;
        let mut whole = Bytes::new();
        let mut joined: Vec<u8> = Vec::new();
        while let Some(frame) = body.frame().await {
            let broken = |e| Status::bad_request(format!("cannot read the body: {e}"));
            let Ok(data) = frame.map_err(broken)?.into_data() else {
                continue;
            };
            if whole.len() + joined.len() + data.len() > BODY_BYTES_MAX {
                return Err(Status::body_too_large(BODY_BYTES_MAX));
            }
            reserved.add(data.len())?;
            if whole.is_empty() && joined.is_empty() {
                whole = data;
                continue;
            }
            joined.extend_from_slice(&std::mem::take(&mut whole));
            joined.extend_from_slice(&data);
        }
        let bytes = if joined.is_empty() {
            whole
        } else {
            joined.into()
        };
        Ok((bytes, reserved))
    }

    /// Figures for the metrics, under the names of Kubernetes' dashboards (MET-09).
    #[must_use]
    pub fn figures(&self) -> Vec<Figure> {
        let mut out = Vec::new();
        let levels = [
            ("system", &self.system),
            ("tenants", &self.tenants),
            ("long-work", &self.long),
        ];
        for (level, fair) in levels {
            let now = fair.figures();
            let both = [("priority_level", level), ("flow_schema", level)];
            for (name, kind, labels, value) in [
                ("nominal_limit_seats", "gauge", &both[..1], now.seats as f64),
                ("current_limit_seats", "gauge", &both[..1], now.seats as f64),
                ("current_executing_seats", "gauge", &both, now.seated as f64),
                (
                    "current_inqueue_requests",
                    "gauge",
                    &both,
                    now.waiting as f64,
                ),
                (
                    "current_executing_requests",
                    "gauge",
                    &both,
                    now.executing as f64,
                ),
                (
                    "dispatched_requests_total",
                    "counter",
                    &both,
                    now.served as f64,
                ),
                (
                    "rejected_requests_total",
                    "counter",
                    &both,
                    now.refused as f64,
                ),
            ] {
                let name = format!("apiserver_flowcontrol_{name}");
                out.push(Figure::new(name, kind, labels, value));
            }
            if level != "long-work" {
                let (used, most) = (now.active as f64, now.requests as f64);
                let name = if level == "system" {
                    "system_requests"
                } else {
                    "requests"
                };
                out.extend(limit_figures(name, used, most, now.refused));
            }
        }
        out.extend(self.memory.figures());
        out
    }
}

fn is_removal(verb: Verb) -> bool {
    matches!(verb, Verb::Delete | Verb::DeleteCollection)
}
