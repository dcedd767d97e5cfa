//! What a request must pass before it may cost much: its turn, room for its body, memory.
//!
//! Start at [`Traffic::enter`]. There are three levels. Masters and the probes are exempt: whoever
//! mends an overloaded server must get through. What the platform itself sends (components named
//! `system:...`, leases of whoever leads) has a queue of its own, so that no tenant makes a site or
//! a leader look dead (APF-09). All others share one queue. The invariant: what is refused here has
//! changed nothing, and says when to come again.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};

use bytes::Bytes;
use hanse_auth::UserInfo;
use hanse_seams::Seams;
use hanse_wire::status::{Result, Status};
use http_body_util::BodyExt;

use crate::body::RequestBody;
use crate::flow::{Bounds, Fair, Flow, Outgoing, Turn};
use crate::info::{RequestInfo, Verb};
use crate::limits::{
    BODIES_BYTES_MAX, BODY_BYTES_MAX, FLOW_REQUESTS_MAX, FLOW_SEATS_EACH_THREAD, FLOW_SHARE,
    MEMORY_LOOK_PERIOD,
};
use crate::metrics::Figure;

/// What the operator decides.
#[derive(Clone, Copy, Debug)]
pub struct Config {
    /// Threads that drive requests.
    pub threads: usize,
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
            requests: FLOW_REQUESTS_MAX,
            memory_bytes: None,
            resident_bytes: || 0,
        }
    }
}

/// See the module's words.
pub struct Traffic {
    config: Config,
    system: Fair,
    tenants: Fair,
    bodies: Arc<AtomicUsize>,
    memory: Memory,
}

/// What was last seen of the process's memory.
#[derive(Default)]
struct Memory {
    looked_millis: AtomicU64,
    over: AtomicBool,
    refused: AtomicU64,
}

/// A request's way in: its turn, if it has to take one, and whom its answer is charged to.
#[derive(Default)]
pub struct Entered {
    /// The turn; none for the exempt.
    pub turn: Option<Turn>,
    /// The meter of what goes out.
    pub outgoing: Option<Outgoing>,
}

impl Traffic {
    /// Empty queues.
    #[must_use]
    pub fn new(config: Config) -> Self {
        let bounds = Bounds {
            seats: config.threads.max(1) * FLOW_SEATS_EACH_THREAD,
            requests: config.requests,
            requests_each: config.requests.div_ceil(FLOW_SHARE),
        };
        Self {
            config,
            system: Fair::new(bounds),
            tenants: Fair::new(bounds),
            bodies: Arc::default(),
            memory: Memory::default(),
        }
    }

    /// Waits until it is the request's turn.
    ///
    /// # Errors
    /// 429 when the server has too much to do, or no memory for more.
    pub async fn enter(
        &self,
        seams: &Seams,
        user: &UserInfo,
        info: &RequestInfo<'_>,
        cluster: Option<&str>,
    ) -> Result<Entered> {
        let Some(fair) = self.level(user, info) else {
            return Ok(Entered::default());
        };
        let takes = info.is_resource && (!info.verb.is_read() || info.verb == Verb::Watch);
        if takes && !is_removal(info.verb) {
            self.refuse_beyond_memory(seams)?;
        }
        let flow = Flow::of(cluster.unwrap_or_default(), &user.name);
        Ok(Entered {
            turn: Some(fair.enter(flow, seams).await?),
            outgoing: Some(Outgoing::new(fair, flow)),
        })
    }

    fn level(&self, user: &UserInfo, info: &RequestInfo<'_>) -> Option<&Fair> {
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
            true => &self.system,
            false => &self.tenants,
        })
    }

    /// Refuses what would take memory while there is little left. Reading and deleting go on:
    /// they are the way out.
    fn refuse_beyond_memory(&self, seams: &Seams) -> Result<()> {
        let Some(limit) = self.config.memory_bytes else {
            return Ok(());
        };
        let now = u64::try_from(seams.clock.monotonic().as_millis()).unwrap_or(u64::MAX);
        let period = MEMORY_LOOK_PERIOD.as_millis() as u64;
        let looked = self.memory.looked_millis.load(Ordering::Relaxed);
        let due = looked == 0 || now.saturating_sub(looked) >= period;
        let looks = |looked| {
            let next = now.max(1);
            self.memory
                .looked_millis
                .compare_exchange(looked, next, Ordering::Relaxed, Ordering::Relaxed)
                .is_ok()
        };
        if due && looks(looked) {
            let resident = (self.config.resident_bytes)();
            let over = resident > limit;
            if self.memory.over.swap(over, Ordering::Relaxed) != over {
                tracing::warn!(resident, limit, over, "memory: what takes more is refused");
            }
        }
        if !self.memory.over.load(Ordering::Relaxed) {
            return Ok(());
        }
        self.memory.refused.fetch_add(1, Ordering::Relaxed);
        let why = "The server has no memory for more, please try again later.";
        Err(Status::too_many_requests(why, 5))
    }

    /// The whole body, up to the limits; the only piece of a small body is not copied. The
    /// reservation is to be held as long as the bytes are.
    ///
    /// # Errors
    /// 413, 400 for a broken transport, 429 when all bodies together are too much.
    pub async fn read_body(&self, mut body: RequestBody) -> Result<(Bytes, Reserved)> {
        let mut reserved = Reserved {
            bytes: 0,
            all: Arc::clone(&self.bodies),
        };
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
        for (level, fair) in [("system", &self.system), ("tenants", &self.tenants)] {
            let now = fair.figures();
            let both = [("priority_level", level), ("flow_schema", level)];
            for (name, kind, labels, value) in [
                ("nominal_limit_seats", "gauge", &both[..1], now.seats as f64),
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
        }
        let memory = self.memory.refused.load(Ordering::Relaxed) as f64;
        let bodies = self.bodies.load(Ordering::Relaxed) as f64;
        out.push(Figure::new(
            "hanse_memory_refused_requests_total",
            "counter",
            &[],
            memory,
        ));
        out.push(Figure::new(
            "hanse_request_bodies_bytes",
            "gauge",
            &[],
            bodies,
        ));
        let limit = self.config.memory_bytes.unwrap_or(0) as f64;
        out.push(Figure::new("hanse_memory_limit_bytes", "gauge", &[], limit));
        out
    }
}

fn is_removal(verb: Verb) -> bool {
    matches!(verb, Verb::Delete | Verb::DeleteCollection)
}

/// Bytes of a request's body that are in memory.
pub struct Reserved {
    bytes: usize,
    all: Arc<AtomicUsize>,
}

impl Reserved {
    fn add(&mut self, bytes: usize) -> Result<()> {
        let before = self.all.fetch_add(bytes, Ordering::Relaxed);
        self.bytes += bytes;
        if before + bytes <= BODIES_BYTES_MAX {
            return Ok(());
        }
        let why = "Too many request bodies at once, please try again later.";
        Err(Status::too_many_requests(why, 1))
    }
}

impl Drop for Reserved {
    fn drop(&mut self) {
        self.all.fetch_sub(self.bytes, Ordering::Relaxed);
    }
}
