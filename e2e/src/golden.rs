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

use anyhow::{Context, Result};
use bytes::Bytes;
use http::Method;
use serde::Deserialize;
use serde_json::Value;

use crate::http::{Answer, Client};
use crate::kubeconfig::Access;
use compare::Difference;
use exceptions::Exception;
use mask::{Alias, Mask};

/// A quota or a policy refuses when the server's own informers have seen what came before, which
/// no answer shows.
const INFORMED_TIME: Duration = Duration::from_secs(3);

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
    pub accept: String,
    #[serde(default)]
    pub content_type: Option<String>,
    #[serde(default)]
    pub body: Option<Value>,
    #[serde(rename = "as")]
    pub user: String,
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
    let mut clients: BTreeMap<String, Client> = BTreeMap::new();
    let mut findings = Vec::new();
    let mut mask = target.mask.clone();
    for (index, entry) in load(file)?.into_iter().enumerate() {
        let user = entry.request.user.clone();
        if !clients.contains_key(&user) {
            let token = target.tokens.iter().find(|(name, _)| *name == user);
            let access = target.access.with_token(token.map(|(_, token)| *token));
            clients.insert(user.clone(), Client::connect(&access)?);
        }
        let known = known
            .iter()
            .any(|exception| exception.entries.contains(&index));
        let time_max = if known {
            Duration::from_millis(300)
        } else {
            settle_time(&entry, target)
        };
        let (answer, differences) = settle(&clients[&user], &entry, extent, &mask, time_max)
            .await
            .with_context(|| format!("{file} entry {index}"))?;
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
    let (mut expected, mut actual) = (entry.body.clone(), body_of(answer));
    if entry.body.is_string() && !actual.is_string() {
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

/// The body as JSON; the text where it is none.
fn body_of(answer: &Answer) -> Value {
    answer.json()
}

fn columns_only(table: &mut Value) {
    if let Some(object) = table.as_object_mut() {
        object.retain(|key, _| matches!(&**key, "apiVersion" | "kind" | "columnDefinitions"));
    }
}
