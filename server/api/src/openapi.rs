//! `/openapi/v3` and `/openapi/v2`: what a logical cluster serves, as schemas and operations.
//!
//! Start at [`answer`]; the documents themselves are made by `hanse-kinds`. The
//! document of a group version depends only on the rows of that group version, so workspaces that
//! serve the same group version share it whatever else they serve. The invariant: the hash in a
//! URL is the SHA-512 of the very bytes behind it, the same on every replica (OAS-22).

use std::sync::Arc;

use hanse_json::{Map, Value, json};
use hanse_kinds::{ResourceDef, openapi};
use hanse_wire::openapi_v2;
use hanse_wire::status::{Result, Status};
use http::header;
use sha2::{Digest, Sha256};

use crate::answer::{Answer, JSON};
use crate::call::Call;
use crate::documents::{Document, http_date};
use crate::paths::Served;
use crate::service::Inner;

/// A year in seconds: how long a document named by its hash may be kept.
const YEAR_SECONDS: i64 = 365 * 24 * 3600;

/// Answers a request for OpenAPI; `None` for all other paths. `prefix` is what stands before the
/// path in the URL, for redirects.
///
/// # Errors
/// 406 for clients that take no JSON.
pub fn answer(
    service: &Inner,
    call: &Call<'_>,
    served: &Served<'_>,
    prefix: &str,
) -> Result<Option<Answer>> {
    let path = call.info.path.trim_end_matches('/');
    let if_none_match = call.header(header::IF_NONE_MATCH);
    let now = service.now_seconds();
    let Some(rest) = path.strip_prefix("/openapi/") else {
        return Ok(None);
    };
    if rest == "v2" && wants_protobuf(call) {
        let whole = service
            .documents
            .get(served.hash, "openapi/v2.pb", now, || {
                Some(openapi_v2::encode(&openapi::v2(served.rows)))
            });
        return Ok(whole.map(|whole| {
            whole
                .dated(openapi_v2::MEDIA_TYPE, if_none_match)
                .with_header(header::VARY, "Accept-Encoding, Accept")
        }));
    }
    accepts_json(call)?;
    if rest == "v2" {
        let whole = service.documents.get(served.hash, "openapi/v2", now, || {
            Some(hanse_json::to_vec(&openapi::v2(served.rows)))
        });
        return Ok(whole.map(|whole| {
            whole
                .dated(JSON, if_none_match)
                .with_header(header::VARY, "Accept-Encoding, Accept")
        }));
    }
    if rest == "v3" {
        let index = service.documents.get(served.hash, "openapi/v3", now, || {
            Some(hanse_json::to_vec(&index(service, served)))
        });
        return Ok(index.map(|index| index.dated(JSON, if_none_match)));
    }
    let Some(key) = rest.strip_prefix("v3/") else {
        return Ok(None);
    };
    let found = group_version(service, served, key).or_else(|| general(service, served, key));
    let Some(found) = found else {
        return Ok(Some(Answer::no_such_path()));
    };
    let given = call.query.get("hash").unwrap_or_default();
    if !given.is_empty() && given != found.hash {
        let target = format!("{prefix}{}", relative_url(key, &found));
        return Ok(Some(
            Answer::text(301, "").with_header(header::LOCATION, &target),
        ));
    }
    let answer = found
        .dated(JSON, if_none_match)
        .with_header(header::VARY, "Accept");
    if given.is_empty() {
        return Ok(Some(answer));
    }
    let expires = http_date(now + YEAR_SECONDS);
    Ok(Some(
        answer
            .with_header(header::CACHE_CONTROL, "public, immutable")
            .with_header(header::EXPIRES, &expires),
    ))
}

/// A document asked for by its hash, without a logical cluster in the URL: what clients do that
/// take `serverRelativeURL` as relative to the server (kubectl before 1.28). Who knows the hash has
/// seen the index that names it, so nothing is told that was not told before.
pub fn by_hash(service: &Inner, path: &str, hash: Option<&str>) -> Option<Answer> {
    let hash = hash.filter(|_| path.starts_with("/openapi/v3/"))?;
    let found = service.documents.by_hash(hash)?;
    Some(found.dated(JSON, None).with_header(header::VARY, "Accept"))
}

/// Whether the client's first choice is the protobuf form of version 2.
fn wants_protobuf(call: &Call<'_>) -> bool {
    let accept = call.header(header::ACCEPT).unwrap_or_default();
    let first = accept.split(',').next().unwrap_or_default();
    let media = first.split(';').next().unwrap_or_default().trim();
    [openapi_v2::MEDIA_TYPE, openapi_v2::MEDIA_TYPE_ASKED].contains(&media)
}

/// All other documents are JSON; the protobuf form of version 3 is not offered.
fn accepts_json(call: &Call<'_>) -> Result<()> {
    let accept = call
        .header(header::ACCEPT)
        .filter(|accept| !accept.is_empty())
        .unwrap_or("*/*");
    let fits = accept.split(',').any(|clause| {
        let media = clause.split(';').next().unwrap_or_default().trim();
        matches!(media, "application/json" | "application/*" | "*/*")
    });
    if fits {
        Ok(())
    } else {
        Err(Status::not_acceptable(&["application/json"]))
    }
}

/// The keys of all group versions, sorted, with their rows.
fn group_versions(rows: &[Arc<ResourceDef>]) -> Vec<(String, Vec<Arc<ResourceDef>>)> {
    let mut keys: Vec<(String, Vec<Arc<ResourceDef>>)> = Vec::new();
    for row in rows {
        let key = match row.group.as_str() {
            "" => format!("api/{}", row.version),
            group => format!("apis/{group}/{}", row.version),
        };
        match keys.iter_mut().find(|(known, _)| *known == key) {
            Some((_, rows)) => rows.push(Arc::clone(row)),
            None => keys.push((key, vec![Arc::clone(row)])),
        }
    }
    keys.sort_by(|a, b| a.0.cmp(&b.0));
    keys
}

fn group_version(service: &Inner, served: &Served<'_>, key: &str) -> Option<Arc<Document>> {
    let (_, rows) = group_versions(served.rows)
        .into_iter()
        .find(|(known, _)| known == key)?;
    of_rows(service, key, &rows)
}

/// A document of what is no resource; the same in every logical cluster that has it.
fn general(service: &Inner, served: &Served<'_>, key: &str) -> Option<Arc<Document>> {
    if !openapi::general_keys(served.rows).contains(key) {
        return None;
    }
    service
        .documents
        .get([0; 32], key, service.now_seconds(), || {
            openapi::general(key).map(|document| hanse_json::to_vec(&document))
        })
}

fn of_rows(service: &Inner, key: &str, rows: &[Arc<ResourceDef>]) -> Option<Arc<Document>> {
    service
        .documents
        .get(content_hash(rows), key, service.now_seconds(), || {
            Some(hanse_json::to_vec(&openapi::v3(rows)))
        })
}

/// What the document of these rows depends on.
pub fn content_hash(rows: &[Arc<ResourceDef>]) -> [u8; 32] {
    let mut hash = Sha256::new();
    rows.iter().for_each(|row| row.digest(&mut hash));
    hash.finalize().into()
}

fn relative_url(key: &str, document: &Document) -> String {
    format!("/openapi/v3/{key}?hash={}", document.hash)
}

fn index(service: &Inner, served: &Served<'_>) -> Value {
    let mut paths = Map::new();
    for key in openapi::general_keys(served.rows) {
        if let Some(document) = general(service, served, &key) {
            let url = relative_url(&key, &document);
            paths.insert(key, json!({"serverRelativeURL": url}));
        }
    }
    for (key, rows) in group_versions(served.rows) {
        if let Some(document) = of_rows(service, &key, &rows) {
            let url = relative_url(&key, &document);
            paths.insert(key, json!({"serverRelativeURL": url}));
        }
    }
    json!({"paths": paths})
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Every reference in a document must lead somewhere, and every kind be there by name.
    #[test]
    fn documents_of_the_built_in_kinds_are_complete() {
        for (key, rows) in group_versions(hanse_kinds::builtin()) {
            let whole = openapi::v3(&rows);
            let schemas = whole["components"]["schemas"].as_object().unwrap();
            for name in openapi::references(&whole) {
                assert!(schemas.contains_key(&name), "{key}: {name}");
            }
            for row in &rows {
                let of_row = |schema: &Value| {
                    let kinds = schema["x-kubernetes-group-version-kind"].as_array();
                    kinds
                        .into_iter()
                        .flatten()
                        .any(|gvk| gvk["kind"] == row.kind.as_str())
                };
                assert!(schemas.values().any(of_row), "{key}: {}", row.kind);
            }
        }
        let whole = openapi::v2(hanse_kinds::builtin());
        for name in openapi::references(&whole) {
            assert!(whole["definitions"].get(&name).is_some(), "v2: {name}");
        }
    }
}
