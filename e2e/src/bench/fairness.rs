//! What a loud tenant costs quiet ones: tenants that use a quarter of what the server can do, and
//! beside them one that asks for ten times its share, in one hostile way after the other.
//!
//! Start at [`run`]. The quiet ones ask at fixed times whatever the answers take (an open loop),
//! and the latency of a request counts from the time at which it was due, so that a server that
//! stops for a while is not asked less. The loud one is a process of its own ([`loud`]) with a
//! lower priority: tenants' clients have machines of their own, and here there is only one. The
//! figure is the median over the runs of how much the quiet ones' p99 grew, judged by the bar of
//! the issue: 20 %, or 2 ms where that is more.
//!
//! `HANSE_FAIRNESS` may hold `seconds=60 runs=5 shapes=gets,lists` to measure less of it.

mod loud;

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use serde_json::{Value, json};
use tokio::sync::mpsc;

use super::load::{Load, quantile};
use super::report::{Report, Target};
use crate::http::Client;
use crate::hub::Hub;
use crate::process::Process;
use crate::site::TokenUser;

pub use loud::loud;

/// Tenants that ask for little.
const QUIET: usize = 8;
/// Callers of each of them while the capacity is measured.
const CALLERS: usize = 4;
/// Requests that measure the capacity.
const CAPACITY_COUNT: usize = 40_000;
/// One request in so many is a write.
const WRITE_EVERY: usize = 10;
/// Objects of each quiet tenant.
const OBJECTS: usize = 16;
/// Part of the capacity that the quiet ones use together.
const QUIET_PART: f64 = 0.25;
/// How long a loud tenant is let alone before the quiet ones are measured beside it.
const WARM_UP: Duration = Duration::from_secs(2);
/// The bar: growth of p99 by this part ...
const GROWTH_MAX: f64 = 0.2;
/// ... or by so many milliseconds, whichever is more.
const GROWTH_MS_MAX: f64 = 2.0;
const PATH: &str = "/api/v1/namespaces/default/configmaps";

/// How much is measured.
struct Plan {
    seconds: u64,
    runs: usize,
    shapes: Vec<loud::Shape>,
}

impl Plan {
    fn from_env() -> Result<Plan> {
        let mut plan = Plan {
            seconds: 60,
            runs: 5,
            shapes: loud::SHAPES.iter().map(|(_, shape)| *shape).collect(),
        };
        let text = std::env::var("HANSE_FAIRNESS").unwrap_or_default();
        for word in text.split_whitespace() {
            match word.split_once('=') {
                Some(("seconds", n)) => plan.seconds = n.parse()?,
                Some(("runs", n)) => plan.runs = n.parse()?,
                Some(("shapes", names)) => {
                    plan.shapes = names
                        .split(',')
                        .map(loud::Shape::named)
                        .collect::<Result<_>>()?;
                }
                _ => bail!("HANSE_FAIRNESS: {word}?"),
            }
        }
        Ok(plan)
    }
}

/// What the quiet ones saw in one stretch: latencies, sorted.
#[derive(Default)]
struct Seen {
    reads: Vec<Duration>,
    writes: Vec<Duration>,
    refused: usize,
}

impl Seen {
    fn p99(&self) -> [f64; 2] {
        [&self.reads, &self.writes].map(|all| quantile(all, 0.99).as_secs_f64() * 1_000.0)
    }
}

pub async fn run(report: &mut Report) -> Result<()> {
    let plan = Plan::from_env()?;
    let world = World::start().await?;
    let capacity = world.capacity().await?;
    report.add("fairness: capacity", capacity, "1/s", Target::None);
    let rate = capacity * QUIET_PART;
    let length = Duration::from_secs(plan.seconds);
    for shape in &plan.shapes {
        let mut rows = Vec::new();
        for _ in 0..plan.runs {
            let before = world.quiet(rate, length).await?;
            let (process, served) = world.loud(*shape)?;
            tokio::time::sleep(WARM_UP).await;
            let (ticks, begun) = (world.hub.process()?.cpu_ticks()?, served());
            let beside = world.quiet(rate, length).await?;
            let ticks = world.hub.process()?.cpu_ticks()? - ticks;
            rows.push(Row {
                before: before.p99(),
                beside: beside.p99(),
                refused: before.refused + beside.refused,
                cpu: ticks as f64 / 100.0 / length.as_secs_f64(),
                loud: (served() - begun) / length.as_secs_f64(),
            });
            process.kill()?;
            world.settle().await?;
        }
        tell(*shape, &rows, report);
    }
    Ok(())
}

/// One run: p99 of reads and of writes without and with the loud one.
struct Row {
    before: [f64; 2],
    beside: [f64; 2],
    refused: usize,
    /// Processors that the server used.
    cpu: f64,
    /// Requests (or events) of the loud one that were answered in a second.
    loud: f64,
}

fn tell(shape: loud::Shape, rows: &[Row], report: &mut Report) {
    let name = shape.name();
    for (at, kind) in [(0, "reads"), (1, "writes")] {
        let before = median(rows.iter().map(|row| row.before[at]));
        let growth = median(rows.iter().map(|row| row.beside[at] - row.before[at]));
        let bar = (before * GROWTH_MAX).max(GROWTH_MS_MAX);
        let words = format!("fairness: quiet {kind}, p99 alone (beside {name})");
        report.add(&words, before, "ms", Target::None);
        let words = format!("fairness: growth of it beside a loud tenant's {name}");
        report.add(&words, growth, "ms", Target::Below(bar));
    }
    let (cpu, loud) = (
        rows.iter().map(|row| row.cpu),
        rows.iter().map(|row| row.loud),
    );
    let (cpu, loud) = (median(cpu), median(loud));
    report.note(&format!(
        "{name}: {loud:.0} a second answered, server uses {cpu:.2} processors"
    ));
    let refused: usize = rows.iter().map(|row| row.refused).sum();
    let words = format!("fairness: quiet requests refused beside {name}");
    report.add(&words, refused as f64, "", Target::Below(0.0));
}

fn median(values: impl Iterator<Item = f64>) -> f64 {
    let mut values: Vec<f64> = values.collect();
    values.sort_by(f64::total_cmp);
    values.get(values.len() / 2).copied().unwrap_or_default()
}

/// The hub and its tenants.
struct World {
    hub: Hub,
    tenants: Vec<Client>,
    loud: crate::kubeconfig::Access,
}

impl World {
    async fn start() -> Result<World> {
        let names: Vec<String> = (0..QUIET).map(|n| format!("quiet-{n}")).collect();
        let all: Vec<&str> = names.iter().map(String::as_str).chain(["loud"]).collect();
        let users: Vec<TokenUser<'_>> = all
            .iter()
            .map(|name| TokenUser {
                token: name,
                user: name,
                groups: &[],
            })
            .collect();
        let hub = Hub::start_with(&users).await?;
        let mut tenants = Vec::new();
        for name in &all {
            hub.workspace("root", name, "universal").await?;
            let admin = hub.cluster(&format!("root:{name}"))?;
            let bindings = "/apis/rbac.authorization.k8s.io/v1/clusterrolebindings";
            admin.post(bindings, &owner(name)).await?.success()?;
        }
        let access = |name: &str| -> Result<crate::kubeconfig::Access> {
            let access = hub.cluster_access(&format!("root:{name}"))?;
            Ok(access.with_token(Some(name)))
        };
        for name in &names {
            let client = Client::connect(&access(name)?)?;
            for number in 0..OBJECTS {
                client.post(PATH, &object(number, 0)).await?.success()?;
            }
            tenants.push(client);
        }
        let loud = access("loud")?;
        Ok(World { hub, tenants, loud })
    }

    /// Requests a second that the quiet ones get when they ask for all they can.
    async fn capacity(&self) -> Result<f64> {
        let tenants = self.tenants.clone();
        let operation = move |caller: usize, index: usize| {
            let client = tenants[caller % QUIET].clone();
            async move {
                let answer = ask(&client, index).await?;
                match answer {
                    200 => Ok(()),
                    code => bail!("{code}"),
                }
            }
        };
        let servers = [self.hub.process()?];
        let load = Load::count(&servers, QUIET * CALLERS, CAPACITY_COUNT);
        let outcome = load.run(operation).await?;
        Ok(outcome.rate())
    }

    /// Lets the quiet ones ask for a while, `rate` requests a second of all together.
    async fn quiet(&self, rate: f64, length: Duration) -> Result<Seen> {
        let (send, mut receive) = mpsc::unbounded_channel();
        let gap = Duration::from_secs_f64(QUIET as f64 / rate);
        let start = Instant::now();
        for (place, client) in self.tenants.iter().enumerate() {
            let (client, send) = (client.clone(), send.clone());
            tokio::spawn(async move {
                // Not all at the same moment.
                let first = start + gap.mul_f64(place as f64 / QUIET as f64);
                for index in 0.. {
                    let due = first + gap.mul_f64(index as f64);
                    if due > start + length {
                        return;
                    }
                    tokio::time::sleep_until(due.into()).await;
                    let (client, send) = (client.clone(), send.clone());
                    tokio::spawn(async move {
                        let code = ask(&client, index).await;
                        let _ = send.send((index % WRITE_EVERY == 0, due.elapsed(), code));
                    });
                }
            });
        }
        drop(send);
        let mut seen = Seen::default();
        while let Some((write, took, code)) = receive.recv().await {
            match code? {
                200 if write => seen.writes.push(took),
                200 => seen.reads.push(took),
                429 => seen.refused += 1,
                code => bail!("a quiet tenant was told {code}"),
            }
        }
        seen.reads.sort_unstable();
        seen.writes.sort_unstable();
        Ok(seen)
    }

    /// Starts the loud one; answers how much it was given so far, by asking its file.
    fn loud(&self, shape: loud::Shape) -> Result<(Process, impl Fn() -> f64 + use<>)> {
        let file = self.hub.scratch().join("loud.json");
        let count = self.hub.scratch().join("loud.count");
        let words = json!({
            "shape": shape.name(), "server": self.loud.server, "ca": self.loud.ca_pem,
            "token": self.loud.token, "count": count,
        });
        std::fs::write(&file, words.to_string())?;
        std::fs::write(&count, "0")?;
        let mut command = std::process::Command::new("nice");
        command.args(["-n", "10"]).arg(std::env::current_exe()?);
        let log = self.hub.scratch().join("loud.log");
        let process = Process::start("loud", command.arg("--loud").arg(&file), &log)?;
        let served = move || {
            let text = std::fs::read_to_string(&count).unwrap_or_default();
            text.trim().parse().unwrap_or(0.0)
        };
        Ok((process, served))
    }

    /// Waits until the server has put behind it what the loud one left.
    async fn settle(&self) -> Result<()> {
        let client = self.tenants.first().context("no tenants")?;
        for _ in 0..20 {
            ask(client, 1).await?;
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        Ok(())
    }
}

/// A quiet request: mostly a read of one object, now and then a write of one.
async fn ask(client: &Client, index: usize) -> Result<u16> {
    let number = index % OBJECTS;
    let path = format!("{PATH}/object-{number}");
    let answer = match index % WRITE_EVERY {
        0 => {
            client
                .json(http::Method::PUT, &path, Some(&object(number, index)))
                .await?
        }
        _ => client.get(&path).await?,
    };
    Ok(answer.status.as_u16())
}

fn object(number: usize, change: usize) -> Value {
    json!({
        "apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": format!("object-{number}")},
        "data": {"payload": "x".repeat(700), "change": change.to_string()},
    })
}

fn owner(user: &str) -> Value {
    json!({
        "apiVersion": "rbac.authorization.k8s.io/v1", "kind": "ClusterRoleBinding",
        "metadata": {"name": "owner"},
        "roleRef": {
            "apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole",
            "name": "cluster-admin",
        },
        "subjects": [{"apiGroup": "rbac.authorization.k8s.io", "kind": "User", "name": user}],
    })
}

/// A flag and a count that the loud one's callers share.
#[derive(Clone, Default)]
struct Tally {
    served: Arc<AtomicUsize>,
    failed: Arc<AtomicBool>,
}

impl Tally {
    fn one(&self) {
        self.served.fetch_add(1, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_median_is_the_one_in_the_middle() {
        assert_eq!(median([5.0, 1.0, 9.0].into_iter()), 5.0);
        assert_eq!(median([2.0].into_iter()), 2.0);
        assert_eq!(median(std::iter::empty()), 0.0);
    }
}
