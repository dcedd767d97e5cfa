//! What an operator asks of the whole shard below `/services`: a dump, a restore, a verification.
//!
//! Start at [`answer`]. Only `system:masters` get here; everybody else is told what every unknown
//! view tells. The objects are written and read as they lie in the store, past admission: that is
//! what makes a dump whole and a restore exact. The form of the lines is in `docs/dump-format.md`
//! and in `hanse_cache::dump`. The invariant: a restore writes only where nothing is.

use bytes::Bytes;
use hanse_auth::UserInfo;
use hanse_cache::dump::{Seal, from_line, to_line};
use hanse_cache::{CommitError, Object};
use hanse_json::{Value, json};
use hanse_tenancy::{exit, verify};
use hanse_wire::gvk::GroupResource;
use hanse_wire::query::Query;
use hanse_wire::status::{Result, Status};
use http::Method;
use http::request::Parts as Head;

use crate::answer::{Answer, JSON};
use crate::body::{Body, RequestBody};
use crate::limits::LIST_PIECE_BYTES;
use crate::service::Inner;
use crate::views;

/// Media type of lines of JSON.
pub const LINES: &str = "application/x-ndjson";
/// The version of the dump's form.
const FORMAT: u64 = 1;

/// Answers a path below `/services` that is no virtual workspace's.
///
/// # Errors
/// 403 for all but masters, 404 for paths that are none, and what each operation says.
pub async fn answer(
    service: &Inner,
    head: &Head,
    path: &str,
    body: RequestBody,
    user: &UserInfo,
) -> Result<Answer> {
    let query = Query::parse(head.uri.query().unwrap_or_default());
    if user.is_master() {
        if let Some(scope) = path.strip_prefix("/services/dump/clusters/")
            && head.method == Method::GET
        {
            return dump(service, scope, query.get("secrets") == Some("true")).await;
        }
        match (&head.method, path) {
            (&Method::POST, "/services/restore") => return restore(service, body).await,
            (&Method::GET, "/services/verify") => return Ok(verify(service)),
            _ => {}
        }
    }
    views::nowhere(user)
}

fn is_secret(object: &Object) -> bool {
    let id = &object.key().resource;
    id.group().is_empty() && id.resource() == "secrets"
}

async fn dump(service: &Inner, scope: &str, secrets: bool) -> Result<Answer> {
    let hub = &service.hub;
    let Some(extent) = exit::scope(hub, scope) else {
        let workspaces = GroupResource::new("tenancy.kcp.io", "workspaces");
        return Err(Status::not_found(&workspaces, scope));
    };
    let snapshot = hub.snapshot(|key| extent.holds(key), |object| extent.rank(object));
    let snapshot = snapshot.await;
    let snapshot = snapshot.map_err(|error| Status::service_unavailable(error.to_string()))?;
    let header = json!({
        "dump": "hanse", "format": FORMAT, "version": snapshot.version.to_string(),
        "instance": exit::instance(hub), "scope": scope,
        "secrets": if secrets { "plain" } else { "omitted" },
        "time": hanse_wire::time::format(service.now_micros()),
    });
    let mut objects = snapshot.objects;
    objects.retain(|object| secrets || !is_secret(object));
    let lines = Lines::new(header, objects);
    Ok(Answer::with_body(200, LINES, Body::pieces(lines)))
}

/// The lines of a dump, made as the connection takes them.
struct Lines {
    seal: Seal,
    header: Option<Value>,
    objects: std::vec::IntoIter<Object>,
    count: u64,
    done: bool,
}

impl Lines {
    fn new(header: Value, objects: Vec<Object>) -> Self {
        Self {
            seal: Seal::default(),
            header: Some(header),
            objects: objects.into_iter(),
            count: 0,
            done: false,
        }
    }
}

impl Iterator for Lines {
    type Item = Bytes;

    fn next(&mut self) -> Option<Bytes> {
        let mut piece = Vec::with_capacity(LIST_PIECE_BYTES + 4096);
        if let Some(header) = self.header.take() {
            self.seal.write(&hanse_json::to_vec(&header), &mut piece);
        }
        while piece.len() < LIST_PIECE_BYTES {
            let Some(object) = self.objects.next() else {
                if !std::mem::replace(&mut self.done, true) {
                    let end = json!({"end": true, "objects": self.count});
                    self.seal.write(&hanse_json::to_vec(&end), &mut piece);
                }
                break;
            };
            self.count += 1;
            self.seal.write(&to_line(&object), &mut piece);
        }
        (!piece.is_empty()).then(|| piece.into())
    }
}

/// One batch of a restore: lines of objects without seals, one commit.
async fn restore(service: &Inner, body: RequestBody) -> Result<Answer> {
    let (body, _reserved) = service.traffic.read_body(body).await?;
    let lines = body
        .split(|byte| *byte == b'\n')
        .filter(|line| !line.is_empty());
    let mut objects = Vec::new();
    for line in lines {
        let object = from_line(line);
        objects.push(object.map_err(|error| Status::bad_request(error.to_string()))?);
    }
    let count = objects.len();
    let written = match service.hub.restore(objects).await {
        Ok(written) => written,
        Err(CommitError::Conflict { key, .. }) => {
            let (group, resource) = (key.resource.group(), key.resource.resource());
            let resource = GroupResource::new(group, resource);
            let why = format!("{key} is there already, and is another");
            return Err(Status::conflict(&resource, &key.name, &why));
        }
        Err(CommitError::TooLarge) => {
            return Err(Status::request_entity_too_large("too much for one commit"));
        }
        Err(error) => return Err(Status::service_unavailable(error.to_string())),
    };
    let answer = json!({"objects": count, "written": written});
    Ok(Answer::json(200, &answer, false))
}

/// Looks at everything; however long it takes, the answer comes at its end.
fn verify(service: &Inner) -> Answer {
    let hub = service.hub.clone();
    let body = Body::generate(move |emitter| async move {
        let answer = match hub.verify().await {
            Ok(mut verified) => {
                // What is only half written at one look is whole at the next.
                let (first, second) = (verify::verify(&hub), verify::verify(&hub));
                verified
                    .findings
                    .extend(second.into_iter().filter(|f| first.contains(f)));
                json!({
                    "keys": verified.keys, "records": verified.records,
                    "findings": verified.findings,
                })
            }
            Err(error) => json!({"findings": [error.to_string()]}),
        };
        emitter.emit(hanse_json::to_vec(&answer).into()).await;
    });
    Answer::with_body(200, JSON, body)
}
