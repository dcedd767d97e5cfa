//! `list`: collections, whole or in chunks, at the version that was asked for.
//!
//! Start at [`list`]. The objects are handles into the hub; their bytes are copied only into the
//! pieces of the body as the connection takes them, so a list of any length needs little memory
//! (LST-19). The invariant: all pages of one listing show one version, and that version is in
//! `metadata.resourceVersion`.

use bytes::Bytes;
use hanse_cache::{ListPage, ListQuery, Object, ReadError};
use hanse_json::{Value, json};
use hanse_wire::continue_token::{INCONSISTENT, Token};
use hanse_wire::gzip;
use hanse_wire::negotiate::{Encoding, Form, Forms, Output};
use hanse_wire::options::{
    ListOptions, MATCH_EXACT, MATCH_NOT_OLDER_THAN, parse_version, unparsable_version,
};
use hanse_wire::status::{Result, Status};
use hanse_wire::table::partial_metadata;
use http::header;

use crate::answer::Answer;
use crate::body::Body;
use crate::call::{Call, Target};
use crate::limits::{FRESHNESS_WAIT, LIST_PIECE_BYTES, LONG_WORK_BYTES};
use crate::memory::weigh_objects;
use crate::render::{Renderer, go_type, list_document};
use crate::service::Inner;
use crate::verbs::select::Selection;

/// Answers a list.
///
/// # Errors
/// 400 and 422 for bad options, 406, 410 for versions of the past, 504 for those of the future.
pub async fn list(service: &Inner, call: &Call<'_>, target: &Target) -> Result<Answer> {
    let options = ListOptions::from_query(&call.query)?;
    let output = call.output(Forms::RESOURCE)?;
    options.validate()?;
    if matches!(output.form, Form::PartialMetadata(_)) {
        return Err(output.form.mismatch(&go_type(&target.def, "List")));
    }
    let renderer = service.renderer(call, target, output)?;
    let selection = Selection::of(call, target, &options)?;
    let plan = Plan::of(&options)?;
    if let Some(version) = plan.not_older_than {
        wait_for(service, version).await?;
    }
    let query = ListQuery {
        after: plan.after.clone(),
        limit: plan.limit,
        at: plan.at,
        filter: selection.filter,
        count_rest: plan.limit.is_some(),
    };
    let page = service
        .hub
        .list_past(&target.resource, &selection.scope, &query)
        .await
        .map_err(|error| plan.read_error(error, &options))?;
    let meta = list_meta(&page, plan.limit.is_some());
    let bytes = || -> usize { page.objects.iter().map(|o| o.json_len() + 64).sum() };
    let long = match is_streamed(&renderer.output) {
        true => gzip::wanted(call.header(header::ACCEPT_ENCODING), bytes()),
        false => bytes() > LONG_WORK_BYTES,
    };
    call.long.begin_if(long).await;
    let memory = &service.traffic.memory;
    let weight = match is_streamed(&renderer.output) {
        true => page.objects.len() * size_of::<Object>(),
        false => weigh_objects(bytes()),
    };
    let _working = memory.work.reserve(weight)?;
    Ok(answer(call, renderer, page.objects, meta))
}

/// What a list reads.
struct Plan {
    at: Option<u64>,
    not_older_than: Option<u64>,
    after: Option<String>,
    limit: Option<usize>,
}

impl Plan {
    fn of(options: &ListOptions) -> Result<Self> {
        let version = parse_version(&options.resource_version)
            .map_err(|why| unparsable_version(&why, false))?;
        let limit = usize::try_from(options.limit)
            .ok()
            .filter(|limit| *limit > 0);
        if !options.continue_token.is_empty() {
            return Self::from_token(options, version, limit);
        }
        let mut plan = Self {
            at: None,
            not_older_than: None,
            after: None,
            limit,
        };
        match (version, options.resource_version_match.as_str()) {
            (None, _) => {}
            // Any state will do, and the whole of it: clients that ask so build caches.
            (Some(0), _) => plan.limit = None,
            (Some(version), MATCH_EXACT) => plan.at = Some(version),
            (Some(version), MATCH_NOT_OLDER_THAN) => plan.not_older_than = Some(version),
            (Some(version), _) if limit.is_some() => plan.at = Some(version),
            (Some(version), _) => plan.not_older_than = Some(version),
        }
        Ok(plan)
    }

    fn from_token(
        options: &ListOptions,
        version: Option<u64>,
        limit: Option<usize>,
    ) -> Result<Self> {
        if version.is_some_and(|version| version > 0) {
            let why = "specifying resource version is not allowed when using continue";
            return Err(Status::bad_request(why));
        }
        let token = Token::decode(&options.continue_token)?;
        let at = (token.version != INCONSISTENT).then(|| token.version.unsigned_abs());
        // A token names the first key that may follow: the last one given out, and a zero byte.
        let after = from_start(token.start.strip_suffix('\0').unwrap_or(&token.start));
        Ok(Self {
            at,
            not_older_than: None,
            after: Some(after),
            limit,
        })
    }

    fn read_error(&self, error: ReadError, options: &ListOptions) -> Box<Status> {
        match (&error, &self.after) {
            (ReadError::TooOld { .. }, Some(after)) if !options.continue_token.is_empty() => {
                let rest = Token::after(&to_start(after), INCONSISTENT).encode();
                Status::continue_expired(Some(rest))
            }
            _ => read_error(error),
        }
    }
}

/// A place in the hub's order as a token may hold it: without the empty namespace of what has
/// none, since no part of a token's key may be empty.
fn to_start(path: &str) -> String {
    path.replacen("//", "/", 1)
}

/// The place that a token's key names: `cluster/name`, or `cluster/namespace/name`.
fn from_start(start: &str) -> String {
    match start.split_once('/') {
        Some((cluster, name)) if !name.contains('/') => format!("{cluster}//{name}"),
        _ => start.to_owned(),
    }
}

/// The Status for a read that the hub refused.
#[must_use]
pub fn read_error(error: ReadError) -> Box<Status> {
    match error {
        ReadError::TooOld { .. } => {
            Status::expired("The resourceVersion for the provided list is too old.")
        }
        ReadError::TooNew { requested, current } => {
            Status::too_large_resource_version(requested, current)
        }
        ReadError::Cut => Status::service_unavailable("the watch was ended by the server"),
        ReadError::Unavailable(why) => Status::service_unavailable(why.to_string()),
    }
}

/// Waits a moment for a version that has not been reached yet.
///
/// # Errors
/// 504 when it is not reached in time.
pub async fn wait_for(service: &Inner, version: u64) -> Result<()> {
    if service.hub.version() >= version {
        return Ok(());
    }
    match service
        .seams
        .timeout(FRESHNESS_WAIT, service.hub.wait_for(version))
        .await
    {
        Some(_) => Ok(()),
        None => Err(Status::too_large_resource_version(
            version,
            service.hub.version(),
        )),
    }
}

/// `metadata` of the list.
fn list_meta(page: &ListPage, chunked: bool) -> Value {
    let mut meta = json!({"resourceVersion": page.version.to_string()});
    if !page.more || !chunked {
        return meta;
    }
    if let Some(last) = page.objects.last() {
        let version = i64::try_from(page.version).unwrap_or(i64::MAX);
        meta["continue"] = Token::after(&to_start(&last.key().path()), version)
            .encode()
            .into();
    }
    if let Some(remaining) = page.remaining.filter(|remaining| *remaining > 0) {
        meta["remainingItemCount"] = remaining.into();
    }
    meta
}

/// The answer with these objects.
pub fn answer(
    call: &Call<'_>,
    renderer: Renderer,
    objects: Vec<Object>,
    mut meta: Value,
) -> Answer {
    let output = renderer.output;
    // Lists of custom resources always have the field, as Kubernetes' untyped lists do.
    let untyped = output.form == Form::Object && !renderer.def.flags.native;
    if untyped && meta.get("continue").is_none() {
        meta["continue"] = json!("");
    }
    match output.form {
        Form::Table(version) => {
            let rows = objects
                .iter()
                .map(|o| renderer.row(&renderer.tree(o), version))
                .collect();
            let table = renderer.table(version, rows, meta, true);
            renderer.answer_document(200, &table)
        }
        _ if !is_streamed(&output) => {
            renderer.answer_document(200, &document(&renderer, &objects, meta, output))
        }
        _ => streamed(call, renderer, objects, &meta),
    }
}

/// Whether the bytes of the objects are copied as they are, piece by piece.
fn is_streamed(output: &Output) -> bool {
    let table = matches!(output.form, Form::Table(_));
    !table && output.encoding == Encoding::Json && !output.pretty
}

/// The list as one tree: for people, who get it indented or as YAML.
fn document(renderer: &Renderer, objects: &[Object], meta: Value, output: Output) -> Value {
    let trees = objects.iter().map(|object| renderer.tree(object));
    if let Form::PartialMetadataList(version) = output.form {
        let items: Vec<Value> = trees.map(|tree| partial_metadata(&tree, version)).collect();
        let (api_version, kind) = list_type(renderer, output.form);
        return json!({"apiVersion": api_version, "kind": kind, "metadata": meta, "items": items});
    }
    list_document(renderer, trees.collect(), meta)
}

fn list_type(renderer: &Renderer, form: Form) -> (String, String) {
    match form {
        Form::PartialMetadataList(version) => (
            version.api_version().to_owned(),
            "PartialObjectMetadataList".to_owned(),
        ),
        _ => (
            renderer.def.api_version(),
            renderer.def.list_kind.to_string(),
        ),
    }
}

fn streamed(call: &Call<'_>, renderer: Renderer, objects: Vec<Object>, meta: &Value) -> Answer {
    let (api_version, kind) = list_type(&renderer, renderer.output.form);
    let mut head = Vec::with_capacity(256);
    head.extend_from_slice(b"{\"kind\":");
    hanse_json::write_str(&kind, &mut head);
    head.extend_from_slice(b",\"apiVersion\":");
    hanse_json::write_str(&api_version, &mut head);
    head.extend_from_slice(b",\"metadata\":");
    hanse_json::write(meta, &mut head);
    head.extend_from_slice(b",\"items\":[");
    let total: usize = objects.iter().map(|object| object.json_len() + 64).sum();
    let mut pieces = Pieces {
        renderer,
        objects: objects.into_iter(),
        head: Some(head),
        ended: false,
    };
    let content_type = pieces.renderer.output.content_type();
    if gzip::wanted(call.header(header::ACCEPT_ENCODING), total) {
        let mut whole = Vec::with_capacity(total);
        pieces
            .by_ref()
            .for_each(|piece| whole.extend_from_slice(&piece));
        if let Some(small) = gzip::compress(&whole) {
            return Answer::bytes(200, content_type, small)
                .with_header(header::CONTENT_ENCODING, "gzip")
                .with_header(header::VARY, "Accept-Encoding");
        }
        return Answer::bytes(200, content_type, whole);
    }
    if total <= LIST_PIECE_BYTES {
        let only: Vec<u8> = pieces.by_ref().flatten().collect();
        return Answer::bytes(200, content_type, only);
    }
    Answer::with_body(200, content_type, Body::pieces(pieces))
}

/// The pieces of a streamed list.
struct Pieces {
    renderer: Renderer,
    objects: std::vec::IntoIter<Object>,
    head: Option<Vec<u8>>,
    ended: bool,
}

impl Iterator for Pieces {
    type Item = Bytes;

    fn next(&mut self) -> Option<Bytes> {
        if self.ended {
            return None;
        }
        let mut first = self.head.is_some();
        let mut out = self.head.take().unwrap_or_default();
        out.reserve(LIST_PIECE_BYTES + LIST_PIECE_BYTES / 4);
        while out.len() < LIST_PIECE_BYTES {
            let Some(object) = self.objects.next() else {
                out.extend_from_slice(b"]}");
                self.ended = true;
                break;
            };
            if !std::mem::take(&mut first) {
                out.push(b',');
            }
            match self.renderer.output.form {
                Form::PartialMetadataList(version) => {
                    self.renderer.partial_into(&object, version, &mut out);
                }
                _ => self.renderer.item_into(&object, &mut out),
            }
        }
        Some(out.into())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn places_survive_the_way_through_a_token() {
        for path in ["c1//name", "c1/namespace/name"] {
            let token = Token::after(&to_start(path), 7).encode();
            let start = Token::decode(&token).unwrap().start;
            assert_eq!(from_start(start.trim_end_matches('\0')), path);
        }
    }
}
