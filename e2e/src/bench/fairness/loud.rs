//! The loud tenant: asks in one hostile way for as much as it gets, until it is ended.
//!
//! Start at [`loud`], which is the whole life of the process; [`SHAPES`] names the ways.

use std::path::PathBuf;
use std::time::Duration;

use anyhow::{Context, Result, anyhow};
use bytes::Bytes;
use http::Method;
use http_body_util::BodyExt;
use serde::Deserialize;
use serde_json::{Value, json};

use super::{PATH, Tally};
use crate::http::Client;
use crate::kubeconfig::Access;

/// Ways to be loud.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Shape {
    Gets,
    Lists,
    Creates,
    Watches,
    Rules,
    Definitions,
    Selectors,
}

/// The shapes by name.
pub const SHAPES: [(&str, Shape); 7] = [
    ("gets", Shape::Gets),
    ("lists", Shape::Lists),
    ("creates", Shape::Creates),
    ("watches", Shape::Watches),
    ("rules", Shape::Rules),
    ("definitions", Shape::Definitions),
    ("selectors", Shape::Selectors),
];

impl Shape {
    pub fn named(name: &str) -> Result<Shape> {
        let found = SHAPES.iter().find(|(known, _)| *known == name);
        found
            .map(|(_, shape)| *shape)
            .ok_or_else(|| anyhow!("no shape {name}"))
    }

    pub fn name(self) -> &'static str {
        let found = SHAPES.iter().find(|(_, shape)| *shape == self);
        found.map_or("", |(name, _)| *name)
    }

    /// How many ask at once.
    fn callers(self) -> usize {
        match self {
            // Ten times the callers with which the capacity was measured.
            Shape::Gets => 10 * super::QUIET * super::CALLERS,
            Shape::Creates | Shape::Rules | Shape::Definitions => 32,
            Shape::Lists | Shape::Selectors => 16,
            Shape::Watches => 4,
        }
    }
}

/// Connections over which the callers are spread.
const CONNECTIONS: usize = 16;
/// Objects that lists and selectors walk over.
const OBJECTS: usize = 5_000;
/// Watches of one object.
const WATCHES: usize = 1_000;
/// Bytes of one large object.
const LARGE_BYTES: usize = 900_000;
/// Requirements of a long selector.
const REQUIREMENTS: usize = 300;
/// Entries that the rules of a custom resource walk over, each with each other.
const ENTRIES: usize = 250;

#[derive(Deserialize)]
struct Words {
    shape: String,
    server: String,
    ca: String,
    token: String,
    count: PathBuf,
}

/// Is loud until it is ended, as the file says; writes down how much it was given.
pub async fn loud(file: &std::path::Path) -> Result<()> {
    let words: Words = serde_json::from_slice(&std::fs::read(file)?)?;
    let shape = Shape::named(&words.shape)?;
    let access = Access {
        server: words.server,
        ca_pem: words.ca,
        client: None,
        token: Some(words.token),
    };
    let clients: Vec<Client> = (0..CONNECTIONS)
        .map(|_| Client::connect(&access))
        .collect::<Result<_>>()?;
    prepare(shape, &clients).await.context("preparing")?;
    let tally = Tally::default();
    if shape == Shape::Watches {
        open_watches(&access, &tally).await?;
    }
    for caller in 0..shape.callers() {
        let (client, tally) = (clients[caller % CONNECTIONS].clone(), tally.clone());
        tokio::spawn(async move {
            for round in 0.. {
                match ask(shape, &client, caller, round).await {
                    Ok(()) => tally.one(),
                    Err(error) => {
                        // It comes again at once, as rude clients do; but it tells of it.
                        if !tally
                            .failed
                            .swap(true, std::sync::atomic::Ordering::Relaxed)
                        {
                            eprintln!("{error:#}");
                        }
                        tokio::time::sleep(Duration::from_millis(1)).await;
                    }
                }
            }
        });
    }
    loop {
        tokio::time::sleep(Duration::from_millis(100)).await;
        let served = tally.served.load(std::sync::atomic::Ordering::Relaxed);
        let next = words.count.with_extension("next");
        std::fs::write(&next, served.to_string())?;
        std::fs::rename(&next, &words.count)?;
    }
}

/// Makes what the shape asks for; what a run before made is taken as it is.
async fn prepare(shape: Shape, clients: &[Client]) -> Result<()> {
    let first = &clients[0];
    match shape {
        Shape::Gets | Shape::Watches => {
            make(first, PATH, &small(0)).await?;
        }
        Shape::Lists | Shape::Selectors => {
            let mut tasks = Vec::new();
            for (place, client) in clients.iter().enumerate() {
                let client = client.clone();
                tasks.push(tokio::spawn(async move {
                    for number in (place..OBJECTS).step_by(CONNECTIONS) {
                        make(&client, PATH, &small(number)).await?;
                    }
                    Ok::<_, anyhow::Error>(())
                }));
            }
            for task in tasks {
                task.await??;
            }
        }
        Shape::Rules => {
            make(first, DEFINITIONS, &definition("rules", true)).await?;
            for _ in 0..200 {
                if first.get(RULES).await?.status == 200 {
                    return Ok(());
                }
                tokio::time::sleep(Duration::from_millis(50)).await;
            }
            return Err(anyhow!("the kind is not served"));
        }
        Shape::Creates | Shape::Definitions => {}
    }
    Ok(())
}

/// Creates an object, however often that takes; one that is there is fine.
async fn make(client: &Client, path: &str, body: &Value) -> Result<()> {
    loop {
        let answer = client.post(path, body).await?;
        match answer.status.as_u16() {
            201 | 409 => return Ok(()),
            429 => tokio::time::sleep(Duration::from_millis(100)).await,
            _ => return answer.success().map(drop),
        }
    }
}

async fn open_watches(access: &Access, tally: &Tally) -> Result<()> {
    let mut client = Client::connect(access)?;
    for number in 0..WATCHES {
        if number % 50 == 0 {
            client = Client::connect(access)?;
        }
        let path = format!("{PATH}?watch=1&fieldSelector=metadata.name%3Dsmall-0");
        let open = client.open(Method::GET, &path, &[], None, Bytes::new());
        let response = open.await?;
        let tally = tally.clone();
        tokio::spawn(async move {
            let mut body = response.into_body();
            while let Some(Ok(_)) = body.frame().await {
                tally.one();
            }
        });
    }
    Ok(())
}

async fn ask(shape: Shape, client: &Client, caller: usize, round: usize) -> Result<()> {
    let answer = match shape {
        Shape::Gets => client.get(&format!("{PATH}/small-0")).await?,
        Shape::Lists => client.get(PATH).await?,
        Shape::Selectors => {
            client
                .get(&format!("{PATH}?labelSelector={}", selector()))
                .await?
        }
        Shape::Watches => {
            let body = json!({"data": {"change": format!("{caller}-{round}")}});
            let path = format!("{PATH}/small-0");
            client
                .patch(&path, "application/merge-patch+json", &body)
                .await?
        }
        Shape::Creates => {
            let name = format!("large-{caller}");
            let body = json!({"apiVersion": "v1", "kind": "ConfigMap",
                "metadata": {"name": name}, "data": {"a": "x".repeat(LARGE_BYTES)}});
            client.post(PATH, &body).await?.success()?;
            client.delete(&format!("{PATH}/{name}")).await?
        }
        Shape::Rules => {
            let name = format!("one-{caller}-{round}");
            client.post(RULES, &ruled(&name)).await?.success()?;
            client.delete(&format!("{RULES}/{name}")).await?
        }
        Shape::Definitions => {
            let plural = format!("kinds{caller}");
            make(client, DEFINITIONS, &definition(&plural, false)).await?;
            let path = format!("{DEFINITIONS}/{plural}.loud.example.com");
            client.delete(&path).await?;
            client.get("/openapi/v3").await?
        }
    };
    answer.success().map(drop)
}

const DEFINITIONS: &str = "/apis/apiextensions.k8s.io/v1/customresourcedefinitions";
const RULES: &str = "/apis/loud.example.com/v1/namespaces/default/rules";

/// About 1 KiB, with labels.
fn small(number: usize) -> Value {
    json!({
        "apiVersion": "v1", "kind": "ConfigMap",
        "metadata": {"name": format!("small-{number}"),
            "labels": {"number": number.to_string(), "tier": "back"}},
        "data": {"payload": "x".repeat(700)},
    })
}

/// A selector that looks at many labels of each object and finds none.
fn selector() -> String {
    let others: String = (0..REQUIREMENTS).map(|n| format!("!absent-{n},")).collect();
    format!("{others}tier%3Dfront")
}

/// A definition with many fields; with rules over its lists if wanted.
fn definition(plural: &str, rules: bool) -> Value {
    let mut fields = serde_json::Map::new();
    for number in 0..200 {
        let text = json!({"type": "string", "maxLength": 100, "pattern": "^[a-z0-9-]*$"});
        fields.insert(format!("field{number}"), text);
    }
    let entries = json!({"type": "array", "maxItems": 300,
        "items": {"type": "string", "maxLength": 20}});
    fields.insert("entries".into(), entries);
    let mut spec = json!({"type": "object", "properties": fields});
    if rules {
        let rule = "self.entries.all(a, self.entries.exists(b, a == b))";
        spec["x-kubernetes-validations"] = json!([{"rule": rule}]);
    }
    let kind = format!("K{plural}");
    json!({
        "apiVersion": "apiextensions.k8s.io/v1", "kind": "CustomResourceDefinition",
        "metadata": {"name": format!("{plural}.loud.example.com")},
        "spec": {
            "group": "loud.example.com", "scope": "Namespaced",
            "names": {"plural": plural, "singular": plural.to_lowercase() + "x", "kind": kind,
                "listKind": format!("{kind}List")},
            "versions": [{"name": "v1", "served": true, "storage": true,
                "schema": {"openAPIV3Schema": {"type": "object", "properties": {"spec": spec}}}}],
        },
    })
}

fn ruled(name: &str) -> Value {
    let entries: Vec<String> = (0..ENTRIES).map(|n| format!("entry-{n}")).collect();
    json!({
        "apiVersion": "loud.example.com/v1", "kind": "Krules",
        "metadata": {"name": name}, "spec": {"entries": entries},
    })
}
