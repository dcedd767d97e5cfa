//! Replays recorded requests against a running server and compares the answers, field by field.
//!
//! `e2e/golden` holds what real servers answered. Start at [`replay`]: it sends the requests of
//! one file in order, as the users who sent them, masks on both sides what differs by nature
//! ([`mask`]), and lists every difference ([`compare`]). What is known to differ stands with its
//! reason in `e2e/golden/exceptions.json` ([`exceptions`]), and an exception that no longer
//! differs is itself a finding. [`setup`] brings a hub into the state in which kcp was recorded.

pub mod compare;
pub mod exceptions;
pub mod mask;
pub mod setup;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use bytes::Bytes;
use http::Method;
use serde::Deserialize;
use serde_json::Value;

use crate::http::{Answer, Client};
use crate::kubeconfig::Access;
use crate::wait;
use compare::Difference;
use exceptions::Exception;
use mask::{Alias, Mask};

/// A quota or a policy refuses when the server's own informers have seen what came before, which
/// no answer shows.
const INFORMED_TIME: Duration = Duration::from_secs(3);

/// How long a new kind takes to be served.
const SERVED_TIME_MAX: Duration = Duration::from_secs(30);

/// Who the recorder called itself; it stands in managedFields as the manager.
const USER_AGENT: &str = "Python-urllib/3.11";

/// A recorded request and its answer.
#[derive(Deserialize)]
pub struct Entry {
    pub request: Request,
    pub status: u16,
    #[serde(default)]
    pub headers: BTreeMap<String, String>,
    pub body: Value,
}

/// A recorded request.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Request {
    pub method: String,
    pub path: String,
    #[serde(default = "json")]
    pub accept: String,
    #[serde(default)]
    pub content_type: Option<String>,
    #[serde(default)]
    pub body: Option<Value>,
    #[serde(rename = "as", default = "admin")]
    pub user: String,
}

fn json() -> String {
    "application/json".to_owned()
}

fn admin() -> String {
    "admin".to_owned()
}

/// How much of an answer a file is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Extent {
    /// All of it.
    Whole,
    /// Of tables, the columns: their rows depend on what else happened in the recorded cluster.
    Columns,
    /// Of lists of named things, those that both have: the recorded cluster serves more.
    Common,
}

/// Where the requests go and who asks.
pub struct Target<'a> {
    /// The server, without credentials; its path stands before every request's.
    pub access: Access,
    /// The token of each recorded user. Users who are not named ask without credentials.
    pub tokens: &'a [(&'a str, &'a str)],
    /// What differs by nature.
    pub mask: Mask,
    /// How long what controllers do after a request may take.
    pub settle_time_max: Duration,
}

/// An answer that is not as recorded.
#[derive(Debug)]
pub struct Finding {
    pub entry: usize,
    pub request: String,
    pub differences: Vec<Difference>,
}

/// The directory with the recordings.
pub fn directory() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("golden")
}

/// Reads a file of recordings, such as `kubernetes/answers.json`.
pub fn load(file: &str) -> Result<Vec<Entry>> {
    let path = directory().join(file);
    let text = std::fs::read(&path).with_context(|| format!("cannot read {}", path.display()))?;
    serde_json::from_slice(&text).with_context(|| format!("{file} holds no recordings"))
}

/// Replays one file in order and answers what differs. Entries that are known to differ are not
/// given time to become equal. Names that the server makes up on the way
/// count as the same where they come up again.
pub async fn replay(
    file: &str,
    extent: Extent,
    target: &Target<'_>,
    known: &[Exception],
) -> Result<Vec<Finding>> {
    let findings = replay_entries(&load(file)?, extent, target, known).await;
    findings.with_context(|| file.to_owned())
}

/// The same with entries that are no file.
pub async fn replay_entries(
    entries: &[Entry],
    extent: Extent,
    target: &Target<'_>,
    known: &[Exception],
) -> Result<Vec<Finding>> {
    let mut clients = Clients::default();
    let mut findings = Vec::new();
    let mut mask = target.mask.clone();
    for (index, entry) in entries.iter().enumerate() {
        let client = clients.of(&entry.request.user, target)?;
        let known = known
            .iter()
            .any(|exception| exception.entries.contains(&index));
        let time_max = if known {
            Duration::from_millis(300)
        } else {
            settle_time(entry, target)
        };
        let (answer, differences) = settle(client, entry, extent, &mask, time_max)
            .await
            .with_context(|| format!("entry {index}"))?;
        collected(client, &entry.request, &answer).await?;
        mask.aliases
            .extend(generated_name(&entry.body, &answer.json()));
        if !differences.is_empty() {
            let request = format!("{} {}", entry.request.method, entry.request.path);
            findings.push(Finding {
                entry: index,
                request,
                differences,
            });
        }
    }
    Ok(findings)
}

/// A client for each user who asks.
#[derive(Default)]
struct Clients(BTreeMap<String, Client>);

impl Clients {
    fn of(&mut self, user: &str, target: &Target<'_>) -> Result<&Client> {
        if !self.0.contains_key(user) {
            let token = target.tokens.iter().find(|(name, _)| *name == user);
            let access = target.access.with_token(token.map(|(_, token)| *token));
            self.0.insert(user.to_owned(), Client::connect(&access)?);
        }
        self.0.get(user).context("no client")
    }
}

/// Headers of an answer that clients act on.
const HEADERS: [&str; 9] = [
    "content-type",
    "warning",
    "cache-control",
    "x-content-type-options",
    "retry-after",
    "allow",
    "location",
    "vary",
    "accept-patch",
];

/// Sends the requests of `beside.json` in order, and answers what came as if it were recorded.
/// A body without a content type is JSON.
pub async fn record(target: &Target<'_>) -> Result<Vec<Entry>> {
    let path = directory().join("beside.json");
    let requests: Vec<Request> = serde_json::from_slice(&std::fs::read(path)?)?;
    let mut clients = Clients::default();
    let mut entries = Vec::new();
    for mut request in requests {
        if request.body.is_some() && request.content_type.is_none() {
            request.content_type = Some(json());
        }
        let client = clients.of(&request.user, target)?;
        let answer = send(client, &request, &target.mask).await;
        let answer = answer.with_context(|| format!("{} {}", request.method, request.path))?;
        serve(client, &request, &answer).await?;
        collected(client, &request, &answer).await?;
        let header = |name: &&str| {
            let values = answer.headers.get_all(*name).iter();
            let values: Vec<_> = values.filter_map(|value| value.to_str().ok()).collect();
            ((*name).to_owned(), values.join(", "))
        };
        entries.push(Entry {
            status: answer.status.as_u16(),
            headers: HEADERS.iter().map(header).collect(),
            body: body_of(&answer),
            request,
        });
    }
    Ok(entries)
}

/// Waits until the garbage collector has done what a deletion left to it.
async fn collected(client: &Client, request: &Request, answer: &Answer) -> Result<()> {
    let left = &answer.json()["metadata"]["finalizers"];
    let by_collector = ["foregroundDeletion", "orphan"].map(|one| serde_json::json!([one]));
    if request.method != "DELETE" || !by_collector.contains(left) {
        return Ok(());
    }
    let path = request.path.split('?').next().unwrap_or_default();
    wait::until(path, SERVED_TIME_MAX, async || {
        let status = client.get(path).await?.status;
        ensure!(status == 404, "{status}");
        Ok(())
    })
    .await
}

/// Waits until a kind that was just defined is served, and until a namespace has what controllers
/// put there.
async fn serve(client: &Client, request: &Request, answer: &Answer) -> Result<()> {
    let object = answer.json();
    if request.path == "/api/v1/namespaces" && answer.status == 201 {
        let name = object["metadata"]["name"].as_str().unwrap_or_default();
        for brought in ["configmaps/kube-root-ca.crt", "serviceaccounts/default"] {
            let path = format!("/api/v1/namespaces/{name}/{brought}");
            wait::until(&path, SERVED_TIME_MAX, async || {
                client.get(&path).await?.success()
            })
            .await?;
        }
    }
    let spec = &object["spec"];
    if !request.path.ends_with("/customresourcedefinitions") || answer.status != 201 {
        return Ok(());
    }
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    let (group, plural) = (text(&spec["group"]), text(&spec["names"]["plural"]));
    let path = format!(
        "/apis/{group}/{}/{plural}",
        text(&spec["versions"][0]["name"])
    );
    wait::until(&path, SERVED_TIME_MAX, async || {
        client.get(&path).await?.success()
    })
    .await?;
    Ok(())
}

/// Sends a request; where repeating it does no harm and the answer differs, again for a while:
/// the recorder waited for controllers, and this is how long they take here.
async fn settle(
    client: &Client,
    entry: &Entry,
    extent: Extent,
    mask: &Mask,
    time_max: Duration,
) -> Result<(Answer, Vec<Difference>)> {
    let message = entry.body["message"].as_str().unwrap_or_default();
    if message.contains("exceeded quota") || message.contains("denied request") {
        tokio::time::sleep(INFORMED_TIME).await;
    }
    let deadline = Instant::now() + time_max;
    let mut pause = Duration::from_millis(50);
    loop {
        let answer = send(client, &entry.request, mask).await?;
        let differences = differences(entry, &answer, extent, mask);
        // A resource that is not served yet has not taken the write either.
        let missing = answer.status == 404 && entry.status != 404;
        let repeatable = entry.request.method == "GET" || missing;
        if differences.is_empty() || !repeatable || Instant::now() >= deadline {
            return Ok((answer, differences));
        }
        tokio::time::sleep(pause).await;
        pause = (pause * 2).min(Duration::from_secs(1));
    }
}

/// A name that the server made up, once when it was recorded and once now.
fn generated_name(recorded: &Value, actual: &Value) -> Option<Alias> {
    let name = |body: &Value| {
        let metadata = body.get("metadata")?;
        metadata.get("generateName")?;
        metadata.get("name")?.as_str().map(str::to_owned)
    };
    Some(Alias {
        recorded: name(recorded)?,
        actual: name(actual)?,
    })
}

fn settle_time(entry: &Entry, target: &Target<'_>) -> Duration {
    match entry.status {
        200 | 201 => target.settle_time_max,
        _ => target.settle_time_max.min(Duration::from_secs(1)),
    }
}

async fn send(client: &Client, request: &Request, mask: &Mask) -> Result<Answer> {
    let method = Method::from_bytes(request.method.as_bytes())?;
    let path = mask.to_actual(&request.path).replace('*', "%2A");
    let path = path
        .replace("/clusters/%2A", "/clusters/*")
        .replace('$', "%24");
    let body = match &request.body {
        None => Bytes::new(),
        Some(Value::String(text)) => Bytes::from(mask.to_actual(text)),
        Some(value) => Bytes::from(mask.to_actual(&value.to_string())),
    };
    let headers = [("accept", &*request.accept), ("user-agent", USER_AGENT)];
    client
        .call(
            method,
            &path,
            &headers,
            request.content_type.as_deref(),
            body,
        )
        .await
}

fn differences(entry: &Entry, answer: &Answer, extent: Extent, mask: &Mask) -> Vec<Difference> {
    let mut found = Vec::new();
    let mut mask = mask.clone();
    mask.aliases
        .extend(generated_name(&entry.body, &answer.json()));
    if answer.status.as_u16() != entry.status {
        found.push(Difference::new(
            "status",
            entry.status.into(),
            answer.status.as_u16().into(),
        ));
    }
    for (name, expected) in &entry.headers {
        let values: Vec<&str> = answer
            .headers
            .get_all(name)
            .iter()
            .filter_map(|value| value.to_str().ok())
            .collect();
        let (expected, actual) = (mask.text(expected), mask.text(&values.join(", ")));
        if expected != actual {
            found.push(Difference::new(
                &format!("headers.{name}"),
                expected.into(),
                actual.into(),
            ));
        }
    }
    let (mut expected, mut actual) = (frames(entry.body.clone()), frames(body_of(answer)));
    if expected.is_string() && !actual.is_string() {
        // Watches and plain texts were recorded as text.
        actual = Value::String(String::from_utf8_lossy(&answer.body).into_owned());
    }
    if extent == Extent::Columns && answer.status.is_success() {
        columns_only(&mut expected);
        columns_only(&mut actual);
    }
    mask.value(&mut expected, &Value::Null);
    mask.value(&mut actual, &expected);
    if extent == Extent::Common {
        compare::keep_common(&mut expected, &mut actual);
    }
    compare::compare("", &expected, &actual, &mut found);
    found
}

/// A text whose lines are the frames of a watch as the list of them.
fn frames(body: Value) -> Value {
    let Value::String(text) = &body else {
        return body;
    };
    let frames: Result<Vec<Value>, _> = text.lines().map(serde_json::from_str).collect();
    match frames {
        Ok(frames) if frames.iter().all(|frame| frame.get("type").is_some()) => {
            Value::Array(frames)
        }
        _ => body,
    }
}

/// The body as JSON; the text where it is none.
fn body_of(answer: &Answer) -> Value {
    answer.json()
}

fn columns_only(table: &mut Value) {
    if let Some(object) = table.as_object_mut() {
        object.retain(|key, _| matches!(&**key, "apiVersion" | "kind" | "columnDefinitions"));
    }
}
