//! Latency over load: operations begin at a fixed rate, whether the server keeps up or not, and
//! the rate rises until it does not. One curve for each server of [`super::subject`].
//!
//! The points are lines of the report with a place ([`super::report::Line::at`]); `plot` draws
//! them. A point is one run, not a median: the curve as a whole says more than any of its points.

use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, Result};
use bytes::Bytes;
use http::Method;

use super::Options;
use super::load::{Load, Outcome, paced};
use super::plot::SEPARATOR;
use super::report::Report;
use super::requests::{CALLERS, CONNECTIONS};
use super::subject::{Figures, Kind, MAPS, Sides, Subject, in_turn, map};
use super::wire::{Refused, Wire};

/// Operations that are begun in a second, one rate after the other.
const RATES: [f64; 12] = [
    250.0, 500.0, 1_000.0, 2_000.0, 4_000.0, 6_000.0, 8_000.0, 12_000.0, 16_000.0, 20_000.0,
    25_000.0, 30_000.0,
];
/// How long each rate is held, and before it a part that is not counted.
const HOLD_TIME: Duration = Duration::from_millis(1_500);
const SETTLE_TIME: Duration = Duration::from_millis(300);
/// A server that answers fewer than this share of what is begun is past its limit.
const KEPT_UP: f64 = 0.9;
/// Objects that are read.
const OBJECTS: usize = 1_000;

pub async fn run(options: &Options, report: &mut Report) -> Result<()> {
    let sides = in_turn(options, report, async |subject, figures| {
        let wires = Wire::several(&subject.access, CONNECTIONS).await?;
        fill(subject, &wires).await?;
        climb(options, subject, &wires, Operation::Get, figures).await?;
        climb(options, subject, &wires, Operation::Create, figures).await
    })
    .await?;
    for operation in [Operation::Get, Operation::Create] {
        tell(&sides, operation, report);
    }
    Ok(())
}

#[derive(Clone, Copy)]
enum Operation {
    Get,
    Create,
}

impl Operation {
    fn name(self) -> &'static str {
        match self {
            Operation::Get => "GET",
            Operation::Create => "create",
        }
    }
}

async fn fill(subject: &Subject, wires: &Arc<[Wire]>) -> Result<()> {
    let wires = wires.clone();
    let create = move |caller: usize, index: usize| {
        let wire = wires[caller % CONNECTIONS].clone();
        let body = map(&format!("object-{index:05}"));
        async move { wire.send(Method::POST, MAPS, body.into()).await.map(drop) }
    };
    let processes = subject.processes()?;
    Load::count(&processes, CALLERS, OBJECTS)
        .run(create)
        .await?;
    Ok(())
}

/// Raises the rate until the server no longer keeps up.
async fn climb(
    options: &Options,
    subject: &Subject,
    wires: &Arc<[Wire]>,
    operation: Operation,
    figures: &mut Figures,
) -> Result<()> {
    let processes = subject.processes()?;
    for rate in RATES {
        let name = operation.name();
        options
            .progress
            .tell(subject, &format!("{name} at {rate}/s"));
        let wires = wires.clone();
        let begin = move |index: usize| {
            let wire = wires[index % CONNECTIONS].clone();
            async move {
                let read = match operation {
                    Operation::Get => {
                        let path = format!("{MAPS}/object-{:05}", index % OBJECTS);
                        wire.send(Method::GET, &path, Bytes::new()).await?
                    }
                    Operation::Create => {
                        let body = map(&format!("paced-{rate}-{index:06}"));
                        wire.send(Method::POST, MAPS, body.into()).await?
                    }
                };
                anyhow::ensure!(read > 0, "an answer without a body");
                Ok(())
            }
        };
        let settle = (rate * SETTLE_TIME.as_secs_f64()) as usize;
        let shifted = begin.clone();
        let begin_later = move |index: usize| shifted(index + settle);
        let settled = kept(paced(&processes, rate, SETTLE_TIME, begin).await)?;
        if settled.is_none() {
            break;
        }
        let held = kept(paced(&processes, rate, HOLD_TIME, begin_later).await);
        let Some(outcome) = held.with_context(|| format!("{name} at {rate}/s"))? else {
            break;
        };
        for (word, share) in [("p50", 0.5), ("p99", 0.99)] {
            figures.push(
                format!("{name}, {word}, {rate}"),
                outcome.quantile_ms(share),
            );
        }
        if outcome.rate() < rate * KEPT_UP {
            break;
        }
    }
    Ok(())
}

/// A server that refuses requests is past its limit, as one that leaves them undone.
fn kept(outcome: Result<Option<Outcome>>) -> Result<Option<Outcome>> {
    match outcome {
        Err(error) if error.is::<Refused>() => Ok(None),
        outcome => outcome,
    }
}

/// Writes down the points of all curves of an operation.
fn tell(sides: &Sides, operation: Operation, report: &mut Report) {
    let of = [
        (Kind::Hub, &sides.hub),
        (Kind::Peer, &sides.peer),
        (Kind::Ceiling, &sides.ceiling),
    ];
    for (kind, figures) in of {
        for word in ["p50", "p99"] {
            let parts = [operation.name(), kind.name(), word];
            for rate in RATES {
                let name = format!("{}, {word}, {rate}", operation.name());
                if let [ms] = figures.get(&name) {
                    report.point(&parts.join(SEPARATOR), rate, *ms, "ms");
                }
            }
        }
    }
}
