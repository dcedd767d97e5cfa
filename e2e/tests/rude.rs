//! Clients that behave badly: deeply nested and oversized everything, connections that are half
//! open by the hundred, readers that never read. The server answers with an error or waits; it
//! does not die, and others are served meanwhile.

use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use bytes::Bytes;
use hanse_e2e::hub::Hub;
use http::Method;
use serde_json::json;
use tokio::io::AsyncWriteExt;
use tokio::net::TcpStream;

const CONFIG_MAPS: &str = "/api/v1/namespaces/default/configmaps";
/// Connections that are opened and left.
const HALF_OPEN: usize = 300;
/// A polite client's request beside them, on a busy machine.
const ANSWER_TIME_MAX: Duration = Duration::from_secs(5);
/// What the server may grow by while clients do not read: buffers of these connections.
const GROWTH_KIB_MAX: u64 = 64 * 1024;

#[tokio::test(flavor = "multi_thread")]
async fn deep_and_large_bodies_are_refused_and_nobody_dies() -> Result<()> {
    let mut hub = Hub::start().await?;
    let client = hub.cluster("root")?;
    let many = 200_000;
    let bodies = [
        ("application/json", "[".repeat(many)),
        ("application/json", "{\"a\":".repeat(many)),
        ("application/yaml", "- ".repeat(many)),
        ("application/yaml", "? ".repeat(many)),
        ("application/yaml", "? ".repeat(127) + "a"),
        ("application/yaml", "- ".repeat(127) + "a"),
        (
            "application/yaml",
            "[".repeat(127) + &"]".repeat(127) + ": 1",
        ),
        ("application/yaml", "{a: ".repeat(many)),
        (
            "application/yaml",
            "a: &a [x,x]\n".to_owned() + &"b: &a [*a,*a,*a,*a]\n".repeat(999),
        ),
        (
            "application/json",
            format!("{{\"a\":\"{}\"}}", "x".repeat(4 << 20)),
        ),
    ];
    for (media, body) in bodies {
        let shown: String = body.chars().take(12).collect();
        let body = Bytes::from(body);
        let answer = client
            .call(Method::POST, CONFIG_MAPS, &[], Some(media), body)
            .await;
        let status = answer
            .with_context(|| format!("{media} {shown}..."))?
            .status;
        ensure!(status.is_client_error(), "{media} {shown}...: {status}");
    }
    let deep = "(".repeat(20_000);
    for path in [
        format!("{CONFIG_MAPS}?labelSelector=a+in+{deep}"),
        format!("{CONFIG_MAPS}?fieldSelector={deep}"),
        format!("{CONFIG_MAPS}?continue={deep}"),
        format!("/clusters/{}", "a:".repeat(5_000)),
    ] {
        let status = client.get(&path).await.map(|answer| answer.status);
        ensure!(
            status.as_ref().is_ok_and(http::StatusCode::is_client_error),
            "{status:?}"
        );
    }
    hub.process()?;
    hub.stop()
}

#[tokio::test(flavor = "multi_thread")]
async fn half_open_connections_and_readers_that_never_read_hold_nobody_up() -> Result<()> {
    let hub = Hub::start().await?;
    let client = hub.cluster("root")?;
    let access = hub.access()?;
    let address = access.server.trim_start_matches("https://").to_owned();
    let before = hub.process()?.resident_kib()?;
    let mut left = Vec::new();
    for place in 0..HALF_OPEN {
        let mut stream = TcpStream::connect(&address).await?;
        // Nothing at all, the beginning of a handshake, or something that is none.
        match place % 3 {
            0 => {}
            1 => stream.write_all(&[22, 3, 1, 2, 0, 1, 0]).await?,
            _ => stream.write_all(b"GET / HTTP/1.1\r\nHost: a\r\n").await?,
        }
        left.push(stream);
    }
    // Watches whose readers take nothing, while much is written.
    let mut silent = Vec::new();
    for _ in 0..20 {
        let path = format!("{CONFIG_MAPS}?watch=1");
        let reader = hub.cluster("root")?;
        silent.push(
            reader
                .open(Method::GET, &path, &[], None, Bytes::new())
                .await?,
        );
    }
    for round in 0..200 {
        let object = json!({"apiVersion": "v1", "kind": "ConfigMap",
            "metadata": {"name": format!("large-{round}")}, "data": {"a": "x".repeat(100_000)}});
        let began = Instant::now();
        let status = client.post(CONFIG_MAPS, &object).await?.status;
        ensure!(status == 201, "a polite client was told {status}");
        ensure!(
            began.elapsed() < ANSWER_TIME_MAX,
            "it took {:?}",
            began.elapsed()
        );
    }
    // 20 MB of objects are there now, and live in memory; the rest is what the rude ones cost.
    let stored = 200 * 100;
    let grown = hub.process()?.resident_kib()?.saturating_sub(before);
    println!("{grown} KiB more, {stored} of them objects");
    ensure!(
        grown < stored + GROWTH_KIB_MAX,
        "{grown} KiB for clients that do not read"
    );
    drop((left, silent));
    ensure!(client.get("/readyz").await?.status == 200);
    Ok(())
}
