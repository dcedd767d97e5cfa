//! Clients that behave badly on the wire: handshakes that are half open by the thousand, slow
//! headers and bodies, floods of frames, header bombs, closed windows, readers that never read,
//! connections that stop without a word. The server answers with an error, closes or waits; it does
//! not die, its memory stays bounded, and others are served meanwhile.
//!
//! Start at [`RUDENESS`], one row each. `every_rudeness` runs each of them once; with `HANSE_ROUNDS`
//! (a soak) it goes on, all of them at once against one server.

use std::pin::Pin;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};
use bytes::Bytes;
use hanse_e2e::http::{Client, Protocol};
use hanse_e2e::hub::Hub;
use hanse_e2e::kubeconfig::Access;
use hanse_e2e::raw::{self, END_HEADERS, END_STREAM, Raw, frame, kind};
use http::Method;
use serde_json::json;
use tokio::io::AsyncWriteExt;
use tokio::net::TcpStream;

const CONFIG_MAPS: &str = "/api/v1/namespaces/default/configmaps";
/// How many connections the server is allowed; the rude ones open more.
const CONNECTIONS_MAX: usize = 600;
/// Connections that are opened and left.
const HALF_OPEN: usize = 2_000;
/// A polite client's request beside them, on a busy machine and in a debug build.
const ANSWER_TIME_MAX: Duration = Duration::from_secs(5);
/// How long each rudeness goes on at least, so that polite requests fall into it.
const LENGTH: Duration = Duration::from_millis(1_200);
/// What the server may grow by for one rudeness: a thousand streams that nobody reads have a frame
/// and a full queue each, and there is some room.
const GROWTH_KIB_MAX: u64 = 128 * 1024;

type Doing = Pin<Box<dyn Future<Output = Result<()>> + Send>>;
/// One way to be rude: its name, and what it does.
type Row = (&'static str, fn(Access) -> Doing);

/// What is done, and how. A closed connection is a fine answer to all of them.
const RUDENESS: [Row; 14] = [
    ("half-open handshakes", |a| Box::pin(half_open(a))),
    ("slow headers", |a| Box::pin(slow_headers(a))),
    ("slow bodies", |a| Box::pin(slow_bodies(a))),
    ("endless chunked bodies", |a| Box::pin(endless_chunks(a))),
    ("rapid resets", |a| Box::pin(rapid_resets(a))),
    ("a flood of settings", |a| Box::pin(settings_flood(a))),
    ("a flood of pings", |a| Box::pin(ping_flood(a))),
    ("a flood of empty frames", |a| Box::pin(empty_frames(a))),
    ("header bombs", |a| Box::pin(header_bombs(a))),
    ("endless headers", |a| Box::pin(endless_headers(a))),
    ("closed windows", |a| Box::pin(closed_windows(a))),
    ("large answers that nobody reads", |a| {
        Box::pin(unread_answers(a))
    }),
    ("watchers that never read", |a| Box::pin(silent_watchers(a))),
    ("connections that stop", |a| Box::pin(vanishing(a))),
];

#[tokio::test(flavor = "multi_thread")]
async fn every_rudeness_is_borne_and_others_are_served() -> Result<()> {
    raw::raise_open_files();
    let most = format!("--max-connections={CONNECTIONS_MAX}");
    let mut hub = Hub::start_args(&[], &[&most]).await?;
    let client = hub.cluster("root")?;
    let large = json!({"apiVersion": "v1", "kind": "ConfigMap",
        "metadata": {"name": "large"}, "data": {"a": "x".repeat(900_000)}});
    client.post(CONFIG_MAPS, &large).await?.success()?;
    let rounds = std::env::var("HANSE_ROUNDS").ok();
    let rounds: u64 = rounds.and_then(|text| text.parse().ok()).unwrap_or(0);
    for (name, act) in RUDENESS {
        let access = hub.access()?;
        bear(&hub, &client, async move { vec![act(access).await] })
            .await
            .with_context(|| name)?;
    }
    for round in 0..rounds {
        let access = hub.access()?;
        let all = async move {
            let tasks: Vec<_> = RUDENESS
                .iter()
                .map(|(_, act)| tokio::spawn(act(access.clone())))
                .collect();
            let mut ends = Vec::new();
            for task in tasks {
                ends.push(task.await.unwrap_or_else(|error| Err(error.into())));
            }
            ends
        };
        bear(&hub, &client, all)
            .await
            .with_context(|| format!("round {round}, all at once"))?;
    }
    if rounds > 0 {
        // It takes a minute.
        who_does_not_answer_is_closed(&hub).await?;
    }
    hub.process()?;
    hub.stop()
}

/// Asks politely for as long as something rude goes on.
async fn bear(
    hub: &Hub,
    client: &Client,
    rude: impl Future<Output = Vec<Result<()>>> + Send + 'static,
) -> Result<()> {
    let before = hub.process()?.resident_kib()?;
    let task = tokio::spawn(rude);
    let (mut asked, mut slowest, mut grown) = (0, Duration::ZERO, 0);
    let began = Instant::now();
    while !task.is_finished() || began.elapsed() < LENGTH {
        let asking = Instant::now();
        // A new connection now and then: it has to come through as well.
        let fresh = hub.cluster("root")?;
        let client = if asked % 4 == 0 { &fresh } else { client };
        let path = format!("{CONFIG_MAPS}?limit=1&fieldSelector=metadata.name%3Dkube-root-ca.crt");
        let status = client.get(&path).await?.status;
        ensure!(status == 200, "a polite client was told {status}");
        slowest = slowest.max(asking.elapsed());
        ensure!(
            slowest < ANSWER_TIME_MAX,
            "a polite client waited {slowest:?}"
        );
        grown = grown.max(hub.process()?.resident_kib()?.saturating_sub(before));
        asked += 1;
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    // How it ends is the server's business; that it can be done at all is ours.
    let refused = task.await?.iter().filter(|end| end.is_err()).count();
    println!("{asked} asked politely, slowest {slowest:?}, {grown} KiB more, {refused} cut short");
    ensure!(grown < GROWTH_KIB_MAX, "{grown} KiB for rude clients");
    Ok(())
}

/// Holds what it is given for a while.
async fn hold<T>(what: T) -> Result<()> {
    tokio::time::sleep(LENGTH).await;
    drop(what);
    Ok(())
}

async fn half_open(access: Access) -> Result<()> {
    let address = access.server.trim_start_matches("https://").to_owned();
    let mut left = Vec::new();
    for place in 0..HALF_OPEN {
        let connect = TcpStream::connect(&address);
        let mut stream = tokio::time::timeout(Duration::from_secs(5), connect).await??;
        // Nothing at all, the beginning of a handshake, or something that is none.
        let _ = match place % 3 {
            0 => Ok(()),
            1 => stream.write_all(&[22, 3, 1, 2, 0, 1, 0]).await,
            _ => stream.write_all(b"GET / HTTP/1.1\r\nHost: a\r\n").await,
        };
        left.push(stream);
    }
    hold(left).await
}

async fn slow_headers(access: Access) -> Result<()> {
    let mut all = Vec::new();
    for _ in 0..50 {
        let mut raw = Raw::connect(&access, Protocol::H1).await?;
        raw.write(b"GET /readyz HTTP/1.1\r\nHost: a\r\n").await?;
        all.push(raw);
    }
    for _ in 0..10 {
        for raw in &mut all {
            raw.write(b"X-Slow: 1\r\n").await?;
        }
        tokio::time::sleep(LENGTH / 10).await;
    }
    Ok(())
}

async fn slow_bodies(access: Access) -> Result<()> {
    let mut all = Vec::new();
    for _ in 0..50 {
        let mut raw = Raw::connect(&access, Protocol::H1).await?;
        let head = head(&access, "Content-Length: 1000000");
        raw.write(head.as_bytes()).await?;
        all.push(raw);
    }
    for _ in 0..10 {
        for raw in &mut all {
            raw.write(b"{").await?;
        }
        tokio::time::sleep(LENGTH / 10).await;
    }
    Ok(())
}

/// The head of a POST over HTTP/1.1.
fn head(access: &Access, more: &str) -> String {
    let token = access.token.as_deref().unwrap_or_default();
    format!(
        "POST /clusters/root{CONFIG_MAPS} HTTP/1.1\r\nHost: a\r\nAuthorization: Bearer {token}\r\n\
         Content-Type: application/json\r\n{more}\r\n\r\n"
    )
}

async fn endless_chunks(access: Access) -> Result<()> {
    let mut raw = Raw::connect(&access, Protocol::H1).await?;
    raw.write(head(&access, "Transfer-Encoding: chunked").as_bytes())
        .await?;
    let chunk = format!("8000\r\n{}\r\n", "x".repeat(0x8000));
    for _ in 0..1_000 {
        // 32 MB; the server has said 413 after three and does not read them.
        raw.write(chunk.as_bytes()).await?;
    }
    bail!("an endless body was read")
}

async fn rapid_resets(access: Access) -> Result<()> {
    let mut raw = Raw::h2(&access, &[]).await?;
    let block = raw.request("GET", &format!("/clusters/root{CONFIG_MAPS}"), &[]);
    let mut stream = 1;
    for _ in 0..200 {
        let mut many = Vec::new();
        for _ in 0..100 {
            many.extend(frame(
                kind::HEADERS,
                END_HEADERS | END_STREAM,
                stream,
                &block,
            ));
            many.extend(frame(kind::RESET, 0, stream, &8_u32.to_be_bytes()));
            stream += 2;
        }
        raw.write(&many).await?;
    }
    ensure!(raw.drain(LENGTH).await, "20,000 resets and still there");
    Ok(())
}

async fn flood(access: Access, one: Vec<u8>) -> Result<()> {
    let mut raw = Raw::h2(&access, &[]).await?;
    let many = one.repeat(1_000);
    let began = Instant::now();
    // The answers are not read, so that they have to wait somewhere.
    while began.elapsed() < LENGTH {
        raw.write(&many).await?;
    }
    Ok(())
}

async fn settings_flood(access: Access) -> Result<()> {
    let body = [0, 4, 0, 1, 0, 0];
    flood(access, frame(kind::SETTINGS, 0, 0, &body)).await
}

async fn ping_flood(access: Access) -> Result<()> {
    flood(access, frame(kind::PING, 0, 0, b"12345678")).await
}

async fn empty_frames(access: Access) -> Result<()> {
    let mut raw = Raw::h2(&access, &[]).await?;
    let block = raw.request("POST", &format!("/clusters/root{CONFIG_MAPS}"), &[]);
    raw.write(&frame(kind::HEADERS, END_HEADERS, 1, &block))
        .await?;
    let many = frame(kind::DATA, 0, 1, b"").repeat(1_000);
    let began = Instant::now();
    while began.elapsed() < LENGTH {
        raw.write(&many).await?;
    }
    Ok(())
}

/// A field of 4,000 bytes that the server has to keep, and then named again and again by one byte.
async fn header_bombs(access: Access) -> Result<()> {
    for _ in 0..20 {
        let mut raw = Raw::h2(&access, &[]).await?;
        let mut block = raw.request("GET", "/readyz", &[]);
        raw::kept(&mut block, "x-bomb", &"x".repeat(4_000));
        block.extend(std::iter::repeat_n(0x80 | 62, 12_000));
        raw.write(&frame(kind::HEADERS, END_HEADERS | END_STREAM, 1, &block))
            .await?;
        raw.drain(Duration::from_millis(200)).await;
    }
    Ok(())
}

async fn endless_headers(access: Access) -> Result<()> {
    let mut raw = Raw::h2(&access, &[]).await?;
    let block = raw.request("GET", "/readyz", &[]);
    raw.write(&frame(kind::HEADERS, 0, 1, &block)).await?;
    let mut more = Vec::new();
    raw::literal(&mut more, "x-more", &"x".repeat(10_000));
    let more = frame(kind::CONTINUATION, 0, 1, &more);
    for _ in 0..20_000 {
        raw.write(&more).await?;
    }
    bail!("200 MB of headers were read")
}

/// Streams whose answers may not be sent: a window of nothing.
async fn closed_windows(access: Access) -> Result<()> {
    let mut all = Vec::new();
    for _ in 0..10 {
        let mut raw = Raw::h2(&access, &[(4, 0)]).await?;
        let block = raw.request("GET", &format!("/clusters/root{CONFIG_MAPS}/large"), &[]);
        for stream in (1..200).step_by(2) {
            raw.write(&frame(
                kind::HEADERS,
                END_HEADERS | END_STREAM,
                stream,
                &block,
            ))
            .await?;
        }
        all.push(raw);
    }
    hold(all).await
}

/// Large windows, and nobody reads what comes.
async fn unread_answers(access: Access) -> Result<()> {
    let mut all = Vec::new();
    for _ in 0..10 {
        let mut raw = Raw::h2(&access, &[(4, 0x7fff_ffff)]).await?;
        raw.write(&frame(
            kind::WINDOW_UPDATE,
            0,
            0,
            &0x7fff_0000_u32.to_be_bytes(),
        ))
        .await?;
        let block = raw.request("GET", &format!("/clusters/root{CONFIG_MAPS}/large"), &[]);
        for stream in (1..200).step_by(2) {
            raw.write(&frame(
                kind::HEADERS,
                END_HEADERS | END_STREAM,
                stream,
                &block,
            ))
            .await?;
        }
        all.push(raw);
    }
    hold(all).await
}

async fn silent_watchers(access: Access) -> Result<()> {
    let mut all = Vec::new();
    for _ in 0..4 {
        let mut raw = Raw::h2(&access, &[(4, 0x7fff_ffff)]).await?;
        let path = format!("/clusters/root{CONFIG_MAPS}?watch=1");
        let block = raw.request("GET", &path, &[]);
        for stream in (1..100).step_by(2) {
            raw.write(&frame(
                kind::HEADERS,
                END_HEADERS | END_STREAM,
                stream,
                &block,
            ))
            .await?;
        }
        all.push(raw);
    }
    let mut access = access;
    access.server.push_str("/clusters/root");
    let writer = Client::connect(&access)?;
    for round in 0..20 {
        let object = json!({"apiVersion": "v1", "kind": "ConfigMap",
            "metadata": {"name": format!("unread-{round}")}, "data": {"a": "x".repeat(50_000)}});
        writer.post(CONFIG_MAPS, &object).await?;
        writer
            .delete(&format!("{CONFIG_MAPS}/unread-{round}"))
            .await?;
    }
    hold(all).await
}

/// In the middle of a request, a frame or a body nothing more comes, and nothing is closed.
async fn vanishing(access: Access) -> Result<()> {
    let mut all = Vec::new();
    for place in 0..60 {
        let mut raw = Raw::h2(&access, &[]).await?;
        let block = raw.request("POST", &format!("/clusters/root{CONFIG_MAPS}"), &[]);
        let whole = [
            frame(kind::HEADERS, END_HEADERS, 1, &block),
            frame(kind::DATA, 0, 1, b"{\"apiVersion\""),
        ]
        .concat();
        raw.write(&whole[..whole.len() * (place % 4 + 1) / 4])
            .await?;
        all.push(raw);
    }
    hold(all).await
}

/// The server asks whether the other end is still there, and closes when it does not say so.
async fn who_does_not_answer_is_closed(hub: &Hub) -> Result<()> {
    let mut raw = Raw::h2(&hub.access()?, &[]).await?;
    let path = format!("/clusters/root{CONFIG_MAPS}?watch=1");
    let block = raw.request("GET", &path, &[]);
    raw.write(&frame(kind::HEADERS, END_HEADERS | END_STREAM, 1, &block))
        .await?;
    let began = Instant::now();
    while !raw.drain(Duration::from_secs(1)).await {
        ensure!(
            began.elapsed() < Duration::from_secs(60),
            "it is still open"
        );
    }
    Ok(())
}

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
    hub.process()?;
    hub.stop()
}
