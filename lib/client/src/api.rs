//! Every verb of a Kubernetes API, over whatever carries requests.
//!
//! Start at [`Api`]; it is a cheap handle. Objects go in and come out as trees of one write, or as
//! raw bytes where nobody looks inside. Invariant: no verb here retries or waits; a caller sees
//! each answer.

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;

use bytes::{Bytes, BytesMut};
use http::Method;
use serde_json::Value;

use crate::error::{Error, Refusal, Result};
use crate::limits::{FRAME_BYTES_MAX, PAGE_OBJECTS};
use crate::request::{PatchKind, Request, Resource};

/// A future that borrows from the one who makes it.
pub type Reply<'a, T> = Pin<Box<dyn Future<Output = T> + Send + 'a>>;

/// What carries requests: a network, or a server in memory.
pub trait Transport: Send + Sync + 'static {
    /// Sends a request and reads the whole answer; an error code is an [`Error::Refused`].
    fn send(&self, request: Request) -> Reply<'_, Result<Bytes>>;
    /// Sends a request and answers with the body's pieces as they come.
    fn open(&self, request: Request) -> Reply<'_, Result<Box<dyn Pieces>>>;
}

/// A body that is still coming.
pub trait Pieces: Send {
    /// The next piece; `None` at the end.
    fn next(&mut self) -> Reply<'_, Option<Result<Bytes>>>;
}

/// One API server, or one logical cluster of one.
#[derive(Clone)]
pub struct Api {
    transport: Arc<dyn Transport>,
    base: Arc<str>,
}

/// What a list or a watch asks for.
#[derive(Clone, Debug, Default)]
pub struct List {
    /// Only in this namespace; all when empty.
    pub namespace: String,
    /// Only objects with these labels.
    pub labels: String,
    /// Only objects with these fields.
    pub fields: String,
    /// Objects in one page; 0 is the client's default.
    pub page: u32,
}

/// A whole list.
#[derive(Clone, Debug)]
pub struct Listing {
    /// The objects.
    pub items: Vec<Value>,
    /// The version that the list shows; a watch goes on from here.
    pub version: String,
}

/// What happened to an object.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum EventKind {
    /// It is new to the watcher.
    Added,
    /// It changed.
    Modified,
    /// It is gone, or out of the watcher's sight.
    Deleted,
    /// Nothing happened up to this version.
    Bookmark,
}

/// One event of a watch.
#[derive(Clone, Debug)]
pub struct Event {
    /// What happened.
    pub kind: EventKind,
    /// The object after (for a deletion, before) it.
    pub object: Value,
}

impl Event {
    /// The object's version, or the bookmark's.
    #[must_use]
    pub fn version(&self) -> &str {
        self.object["metadata"]["resourceVersion"]
            .as_str()
            .unwrap_or_default()
    }
}

/// A running watch.
pub struct Watch {
    pieces: Box<dyn Pieces>,
    buffer: BytesMut,
}

impl Watch {
    /// The next event; `None` when the server ends the watch, which it does from time to time.
    ///
    /// # Errors
    /// When the line breaks, or the server ends the watch with an error (410: start again).
    pub async fn next(&mut self) -> Option<Result<Event>> {
        loop {
            if let Some(end) = self.buffer.iter().position(|b| *b == b'\n') {
                let line = self.buffer.split_to(end + 1);
                if line.iter().all(u8::is_ascii_whitespace) {
                    continue;
                }
                return Some(event(&line));
            }
            if self.buffer.len() > FRAME_BYTES_MAX {
                return Some(Err(Error::Malformed("a watch frame is too large".into())));
            }
            match self.pieces.next().await {
                Some(Ok(piece)) => self.buffer.extend_from_slice(&piece),
                Some(Err(error)) => return Some(Err(error)),
                None => return None,
            }
        }
    }
}

fn event(line: &[u8]) -> Result<Event> {
    let malformed = |e: serde_json::Error| Error::Malformed(format!("watch frame: {e}"));
    let mut frame: Value = serde_json::from_slice(line).map_err(malformed)?;
    let object = frame["object"].take();
    let kind = match frame["type"].as_str() {
        Some("ADDED") => EventKind::Added,
        Some("MODIFIED") => EventKind::Modified,
        Some("DELETED") => EventKind::Deleted,
        Some("BOOKMARK") => EventKind::Bookmark,
        Some("ERROR") => {
            let code = object["code"]
                .as_u64()
                .and_then(|c| u16::try_from(c).ok())
                .unwrap_or(500);
            let body = Bytes::from(object.to_string());
            return Err(Error::Refused(Box::new(Refusal::new(code, None, body))));
        }
        other => return Err(Error::Malformed(format!("watch event of type {other:?}"))),
    };
    Ok(Event { kind, object })
}

impl Api {
    /// An API over a transport.
    #[must_use]
    pub fn new(transport: Arc<dyn Transport>) -> Self {
        Self {
            transport,
            base: Arc::from(""),
        }
    }

    /// The same server with every path below `base` (`/clusters/root:org`).
    #[must_use]
    pub fn below(&self, base: &str) -> Self {
        let base = format!("{}{}", self.base, base.trim_end_matches('/'));
        Self {
            transport: Arc::clone(&self.transport),
            base: Arc::from(base),
        }
    }

    /// Sends any request.
    ///
    /// # Errors
    /// As [`Error`] says.
    pub async fn raw(&self, mut request: Request) -> Result<Bytes> {
        request.path.insert_str(0, &self.base);
        self.transport.send(request).await
    }

    async fn tree(&self, request: Request) -> Result<Value> {
        let bytes = self.raw(request).await?;
        if bytes.is_empty() {
            return Ok(Value::Null);
        }
        serde_json::from_slice(&bytes).map_err(|e| Error::Malformed(e.to_string()))
    }

    /// Gets any path as JSON.
    ///
    /// # Errors
    /// As [`Error`] says.
    pub async fn path(&self, path: &str) -> Result<Value> {
        self.tree(Request::get(path)).await
    }

    /// Gets one object.
    ///
    /// # Errors
    /// As [`Error`] says; 404 when it is not there.
    pub async fn get(&self, resource: &Resource, namespace: &str, name: &str) -> Result<Value> {
        self.tree(Request::get(resource.object_path(namespace, name, "")))
            .await
    }

    /// Gets one object, `None` when it is not there.
    ///
    /// # Errors
    /// As [`Error`] says.
    pub async fn find(
        &self,
        resource: &Resource,
        namespace: &str,
        name: &str,
    ) -> Result<Option<Value>> {
        match self.get(resource, namespace, name).await {
            Ok(object) => Ok(Some(object)),
            Err(error) if error.is_not_found() => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// Gets one page of a list; the page's `metadata.continue` leads to the next.
    ///
    /// # Errors
    /// As [`Error`] says; 410 when the rest of an old list is gone.
    pub async fn page(&self, resource: &Resource, list: &List, token: &str) -> Result<Value> {
        let request = listing(resource, list)
            .with(
                "limit",
                if list.page == 0 {
                    PAGE_OBJECTS
                } else {
                    list.page
                }
                .to_string(),
            )
            .with("continue", token);
        self.tree(request).await
    }

    /// Gets a whole list, page by page.
    ///
    /// # Errors
    /// As [`Error`] says.
    pub async fn list(&self, resource: &Resource, list: &List) -> Result<Listing> {
        let mut items = Vec::new();
        let mut token = String::new();
        loop {
            let mut page = self.page(resource, list, &token).await?;
            let kind = page["kind"].as_str().and_then(|k| k.strip_suffix("List"));
            let kind = kind.unwrap_or_default().to_owned();
            let api_version = page["apiVersion"].take();
            if let Value::Array(more) = page["items"].take() {
                items.extend(more.into_iter().map(|mut item| {
                    // Items of built-in lists do not say what they are.
                    if item.get("kind").is_none() {
                        item["kind"] = Value::String(kind.clone());
                        item["apiVersion"] = api_version.clone();
                    }
                    item
                }));
            }
            token = page["metadata"]["continue"]
                .as_str()
                .unwrap_or_default()
                .to_owned();
            if token.is_empty() {
                let version = page["metadata"]["resourceVersion"]
                    .as_str()
                    .unwrap_or_default();
                return Ok(Listing {
                    items,
                    version: version.to_owned(),
                });
            }
        }
    }

    /// Watches from a version on.
    ///
    /// # Errors
    /// As [`Error`] says; 410 when the version is too old.
    pub async fn watch(&self, resource: &Resource, list: &List, version: &str) -> Result<Watch> {
        let mut request = listing(resource, list)
            .with("watch", "true")
            .with("allowWatchBookmarks", "true")
            .with("resourceVersion", version);
        request.path.insert_str(0, &self.base);
        let pieces = self.transport.open(request).await?;
        Ok(Watch {
            pieces,
            buffer: BytesMut::new(),
        })
    }

    /// Creates an object in the namespace that it names.
    ///
    /// # Errors
    /// As [`Error`] says; 409 `AlreadyExists`.
    pub async fn create(&self, resource: &Resource, object: &Value) -> Result<Value> {
        let namespace = object["metadata"]["namespace"].as_str().unwrap_or_default();
        self.post(&resource.path(namespace), object).await
    }

    /// Posts a tree to any path: subresources, reviews.
    ///
    /// # Errors
    /// As [`Error`] says.
    pub async fn post(&self, path: &str, body: &Value) -> Result<Value> {
        let body = Bytes::from(body.to_string());
        self.tree(Request::new(Method::POST, path).body("application/json", body))
            .await
    }

    /// Replaces an object, or one of its subresources.
    ///
    /// # Errors
    /// As [`Error`] says; 409 when the object's version is not the one that is replaced.
    pub async fn update(
        &self,
        resource: &Resource,
        object: &Value,
        subresource: &str,
    ) -> Result<Value> {
        let meta = &object["metadata"];
        let namespace = meta["namespace"].as_str().unwrap_or_default();
        let name = meta["name"].as_str().unwrap_or_default();
        let path = resource.object_path(namespace, name, subresource);
        let body = Bytes::from(object.to_string());
        self.tree(Request::new(Method::PUT, path).body("application/json", body))
            .await
    }

    /// Patches an object, or one of its subresources.
    ///
    /// # Errors
    /// As [`Error`] says.
    pub async fn patch(
        &self,
        resource: &Resource,
        (namespace, name, subresource): (&str, &str, &str),
        kind: PatchKind,
        patch: &Value,
    ) -> Result<Value> {
        let path = resource.object_path(namespace, name, subresource);
        let body = Bytes::from(patch.to_string());
        self.tree(Request::new(Method::PATCH, path).body(kind.content_type(), body))
            .await
    }

    /// Applies an object (server-side apply) under a field manager. Unknown fields are errors.
    ///
    /// # Errors
    /// As [`Error`] says; 409 with the conflicting fields when others hold them.
    pub async fn apply(
        &self,
        resource: &Resource,
        object: &Value,
        manager: &str,
        force: bool,
    ) -> Result<Value> {
        let meta = &object["metadata"];
        let namespace = meta["namespace"].as_str().unwrap_or_default();
        let name = meta["name"].as_str().unwrap_or_default();
        let request = Request::new(Method::PATCH, resource.object_path(namespace, name, ""))
            .with("fieldManager", manager)
            .with("force", if force { "true" } else { "false" })
            .with("fieldValidation", "Strict")
            .body(
                PatchKind::Apply.content_type(),
                Bytes::from(object.to_string()),
            );
        self.tree(request).await
    }

    /// Deletes an object; with a uid, only that very one. Background propagation.
    ///
    /// # Errors
    /// As [`Error`] says; 404 when it is not there, 409 when it has another uid.
    pub async fn delete(
        &self,
        resource: &Resource,
        namespace: &str,
        name: &str,
        uid: Option<&str>,
    ) -> Result<Value> {
        let mut options = serde_json::json!({
            "apiVersion": "v1", "kind": "DeleteOptions", "propagationPolicy": "Background",
        });
        if let Some(uid) = uid {
            options["preconditions"] = serde_json::json!({ "uid": uid });
        }
        let path = resource.object_path(namespace, name, "");
        let body = Bytes::from(options.to_string());
        self.tree(Request::new(Method::DELETE, path).body("application/json", body))
            .await
    }
}

fn listing(resource: &Resource, list: &List) -> Request {
    Request::get(resource.path(&list.namespace))
        .with("labelSelector", list.labels.as_str())
        .with("fieldSelector", list.fields.as_str())
}
