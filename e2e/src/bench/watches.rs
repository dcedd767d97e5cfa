//! Many watchers of one object: what an event costs the server for each of them, and how long it
//! takes until the last has it.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use http::Method;
use http_body_util::BodyExt;
use serde_json::{Value, json};
use tokio::sync::mpsc;

use super::load::quantile;
use super::report::{Report, Target};
use crate::hub::Hub;

/// Watchers, and the targets for the delay of the slowest percent, in milliseconds.
const WATCHERS: [(usize, f64); 2] = [(100, 8.0), (1_000, 55.0)];
/// Streams over one connection; servers allow at least this many.
const STREAMS: usize = 50;
/// Changes of the object, a pause between them.
const CHANGES: usize = 100;
const PAUSE: Duration = Duration::from_millis(100);
/// How long the last event may take to come to all.
const DELIVERY_TIME_MAX: Duration = Duration::from_secs(30);
const PATH: &str = "/api/v1/namespaces/default/configmaps";

pub async fn run(report: &mut Report) -> Result<()> {
    for (watchers, delay_ms) in WATCHERS {
        measure(watchers, delay_ms, report)
            .await
            .with_context(|| format!("{watchers} watchers"))?;
    }
    Ok(())
}

async fn measure(watchers: usize, delay_ms: f64, report: &mut Report) -> Result<()> {
    let hub = Hub::start().await?;
    hub.workspace("root", "bench", "universal").await?;
    let writer = hub.cluster("root:bench")?;
    let object = json!({
        "apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "watched"},
        "data": {"payload": "x".repeat(700)},
    });
    let created = writer.post(PATH, &object).await?.success()?;
    let version = created["metadata"]["resourceVersion"]
        .as_str()
        .unwrap_or("0")
        .to_owned();

    let (sender, mut arrivals) = mpsc::unbounded_channel();
    let open = Arc::new(AtomicUsize::new(0));
    let mut client = hub.cluster("root:bench")?;
    for index in 0..watchers {
        if index % STREAMS == 0 {
            client = hub.cluster("root:bench")?;
        }
        let path = format!(
            "{PATH}?watch=1&resourceVersion={version}&fieldSelector=metadata.name%3Dwatched"
        );
        let accept = [("accept", "application/json")];
        let response = client
            .open(Method::GET, &path, &accept, None, Default::default())
            .await?;
        if !response.status().is_success() {
            bail!("watch {index}: {}", response.status());
        }
        let (sender, open) = (sender.clone(), open.clone());
        open.fetch_add(1, Ordering::Relaxed);
        tokio::spawn(async move {
            let mut body = response.into_body();
            let mut rest = Vec::new();
            while let Some(Ok(frame)) = body.frame().await {
                let Ok(data) = frame.into_data() else {
                    continue;
                };
                let now = Instant::now();
                rest.extend_from_slice(&data);
                while let Some(end) = rest.iter().position(|byte| *byte == b'\n') {
                    let line: Vec<u8> = rest.drain(..=end).collect();
                    // Parsing here would load the machine; the change's number is in the text.
                    let _ = sender.send((change_of(&line), now));
                }
            }
            open.fetch_sub(1, Ordering::Relaxed);
        });
    }
    drop(sender);
    let ticks = hub.process()?.cpu_ticks()?;
    let mut sent = Vec::new();
    for change in 0..CHANGES {
        let patch: Value = json!({"data": {"change": format!("#{change}#")}});
        sent.push(Instant::now());
        let path = format!("{PATH}/watched");
        writer
            .patch(&path, "application/merge-patch+json", &patch)
            .await?
            .success()?;
        tokio::time::sleep(PAUSE).await;
    }
    let mut delays = Vec::with_capacity(watchers * CHANGES);
    while delays.len() < watchers * CHANGES {
        let arrival = tokio::time::timeout(DELIVERY_TIME_MAX, arrivals.recv()).await;
        let Ok(Some((change, at))) = arrival else {
            let open = open.load(Ordering::Relaxed);
            bail!(
                "{} of {} events came, {open} watches are open",
                delays.len(),
                watchers * CHANGES
            );
        };
        let begun = change
            .and_then(|change| sent.get(change))
            .context("an unknown change")?;
        delays.push(at.duration_since(*begun));
    }
    let cpu_us = (hub.process()?.cpu_ticks()? - ticks) as f64 * 10_000.0 / delays.len() as f64;
    delays.sort_unstable();
    let p99 = quantile(&delays, 0.99).as_secs_f64() * 1_000.0;
    let name = format!("one watch event at one of {watchers} watchers, CPU");
    report.add(&name, cpu_us, "us", Target::Below(11.0));
    let name = format!("watch delay, {watchers} watchers, p99");
    report.add(&name, p99, "ms", Target::Below(delay_ms));
    Ok(())
}

/// The number between the marks in an event's text.
fn change_of(line: &[u8]) -> Option<usize> {
    let text = std::str::from_utf8(line).ok()?;
    let (_, rest) = text.split_once("\"#")?;
    rest.split_once('#')?.0.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_change_is_found_in_the_text() {
        assert_eq!(change_of(b"{\"data\":{\"change\":\"#17#\"}}\n"), Some(17));
        assert_eq!(change_of(b"{\"type\":\"BOOKMARK\"}\n"), None);
    }
}
