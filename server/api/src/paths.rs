//! Everything that is served beside resources: discovery, OpenAPI, health, version, metrics, keys.
//!
//! Start at [`answer`]. The invariant: what is not listed here is 404 in plain text (URL-10).

use std::collections::BTreeMap;
use std::sync::Arc;

use hanse_cache::Scope;
use hanse_json::{Value, json};
use hanse_kinds::ResourceDef;
use hanse_kinds::builtin::{GROUP_ORDER, group_rank};
use hanse_wire::negotiate::{Form, Forms, Output, output};
use hanse_wire::status::{Result, Status};
use http::Method;
use http::header;
use http::request::Parts as Head;

use crate::answer::{Answer, JSON, TEXT};
use crate::call::Call;
use crate::discovery::Groups;
use crate::health::Question;
use crate::info::RequestInfo;
use crate::metrics::Figure;
use crate::render::answer_document;
use crate::service::Inner;
use crate::{openapi, series, version};

/// Answers a request for a path that is no resource. `view` are the rows of a virtual workspace.
///
/// # Errors
/// 406, and 500 for documents of a logical cluster without one in the URL.
pub fn answer(
    service: &Inner,
    call: &Call<'_>,
    head: &Head,
    view: Option<&[Arc<ResourceDef>]>,
) -> Result<Answer> {
    let path = call.info.path;
    if !matches!(head.method, Method::GET | Method::HEAD) || path.starts_with("//") {
        return Ok(not_served(&call.info, head));
    }
    if let Some((question, one)) = Question::of(path) {
        return Ok(health(service, call, question, one));
    }
    match path {
        "/version" | "/version/" => return Ok(document(call, &version::document())),
        "/metrics" => return Ok(metrics(service)),
        "/.well-known/openid-configuration" => return Ok(openid(service, call)),
        "/openid/v1/jwks" => return keys(service, call),
        _ => {}
    }
    let prefix = head.uri.path().strip_suffix(path).unwrap_or_default();
    if let Some(rows) = view {
        let served = Served {
            rows,
            hash: openapi::content_hash(rows),
            is_view: true,
        };
        return documents(service, call, &served, prefix);
    }
    let Some(cluster) = &call.cluster else {
        return without_cluster(call, path);
    };
    let surface = service.catalog.surface(cluster);
    let served = Served {
        rows: surface.rows(),
        hash: *surface.hash(),
        is_view: false,
    };
    let answer = documents(service, call, &served, prefix)?;
    Ok(match answer.code {
        404 => not_served(&call.info, head),
        _ => answer,
    })
}

/// The answer where nothing is served: below the roots of Kubernetes' own groups it is a Status,
/// for everything else a text.
pub fn not_served(info: &RequestInfo<'_>, head: &Head) -> Answer {
    let mut segments = info.path.split('/').skip(1);
    let root = match (segments.next(), segments.next()) {
        (Some("api"), Some(version)) => (!version.is_empty()).then_some(""),
        (Some("apis"), Some(group)) => (group_rank(group) < GROUP_ORDER.len()).then_some(group),
        _ => None,
    };
    let Some(group) = root else {
        return Answer::no_such_path();
    };
    let is_read = matches!(head.method, Method::GET | Method::HEAD);
    let served = ["v1"].into_iter().any(|version| {
        let list = match group {
            "" => format!("/api/{version}"),
            group => format!("/apis/{group}/{version}"),
        };
        info.path.trim_end_matches('/') == list
    });
    let code = if served && !is_read { 405 } else { 404 };
    let status = Status::generic_server_response(code, "", &Default::default(), "", "");
    Answer::status(&status, false)
}

/// What documents are about: some rows, and a name for them by their content.
pub struct Served<'s> {
    /// The rows.
    pub rows: &'s [Arc<ResourceDef>],
    /// Equal for equal rows.
    pub hash: [u8; 32],
    /// Through a virtual workspace.
    pub is_view: bool,
}

fn documents(
    service: &Inner,
    call: &Call<'_>,
    served: &Served<'_>,
    prefix: &str,
) -> Result<Answer> {
    if let Some(answer) = openapi::answer(service, call, served, prefix)? {
        return Ok(answer);
    }
    discovery(service, call, served, call.info.path)
}

/// Discovery needs to know of which logical cluster; without one, only its absence is known.
fn without_cluster(call: &Call<'_>, path: &str) -> Result<Answer> {
    let known = path == "/" || path.starts_with("/api");
    if known && !call.wildcard {
        return Err(crate::call::no_cluster());
    }
    Ok(Answer::no_such_path())
}

fn document(call: &Call<'_>, value: &Value) -> Answer {
    let output = output(&call.wanted(), Forms::PLAIN).unwrap_or_default();
    answer_document(
        200,
        value,
        &Output {
            encoding: Default::default(),
            ..output
        },
    )
}

fn health(service: &Inner, call: &Call<'_>, question: Question, one: Option<&str>) -> Answer {
    let verbose = call.query.get("verbose").is_some();
    let exclude: Vec<String> = call.query.all("exclude").map(str::to_owned).collect();
    let (code, text) = service.health.answer(question, one, verbose, &exclude);
    if one.is_some() && code == 200 {
        return Answer::bytes(code, TEXT, text);
    }
    if code == 500 {
        tracing::warn!(?question, text, "a health check fails");
    }
    Answer::text(code, text)
}

/// Media type of metrics.
pub const OPENMETRICS: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";

fn metrics(service: &Inner) -> Answer {
    let mut figures = (service.process)().figures();
    figures.extend(service.traffic.figures());
    figures.extend(service.more_figures());
    let memory = service.hub.stats();
    let of = &service.authorizer.view().resources().logical_clusters;
    let logical_clusters = service.hub.count(of, &Scope::Wildcard);
    let (tenants, dropped) = service.costs.size();
    let name = "hanse_tenants_dropped_total";
    figures.push(Figure::new(name, "counter", &[], dropped as f64));
    for (name, value) in [
        ("hanse_hub_objects", memory.objects),
        ("hanse_hub_object_bytes", memory.object_bytes),
        ("hanse_hub_parts_bytes", memory.part_bytes),
        ("hanse_logical_clusters", logical_clusters),
        ("hanse_tenants_counted", tenants),
        ("hanse_hub_resources", memory.resources),
        ("hanse_hub_watchers", memory.watchers),
        ("hanse_hub_recent_events", memory.recent_events),
        ("hanse_hub_recent_bytes", memory.recent_bytes),
    ] {
        figures.push(Figure::new(name, "gauge", &[], value as f64));
    }
    figures.extend(objects(service));
    let page = service.metrics.render(&figures);
    Answer::bytes(200, OPENMETRICS, page)
}

/// Objects by kind; all kinds that tenants define are one.
fn objects(service: &Inner) -> Vec<Figure> {
    let mut counts: BTreeMap<_, usize> = series::all().map(|kind| (kind, 0)).collect();
    counts.insert(("", series::CUSTOM), 0);
    for (resource, count) in service.hub.contents(&Scope::Wildcard) {
        let kind = series::kind(resource.group(), resource.resource());
        *counts
            .entry(kind.unwrap_or(("", series::CUSTOM)))
            .or_default() += count;
    }
    let figure = |((group, resource), count): ((&'static str, &'static str), usize)| {
        let labels = [("group", group), ("resource", resource)];
        Figure::new("apiserver_resource_objects", "gauge", &labels, count as f64)
    };
    counts.into_iter().map(figure).collect()
}

fn openid(service: &Inner, call: &Call<'_>) -> Answer {
    let signer = service.authenticator.signer();
    let document = json!({
        "issuer": signer.issuer(),
        "jwks_uri": format!("https://{}/openid/v1/jwks", service.external_address),
        "response_types_supported": ["id_token"],
        "subject_types_supported": ["public"],
        "id_token_signing_alg_values_supported": [signer.algorithm()],
    });
    self::document(call, &document).with_header(header::CACHE_CONTROL, "public, max-age=3600")
}

fn keys(service: &Inner, call: &Call<'_>) -> Result<Answer> {
    const TYPE: &str = "application/jwk-set+json";
    let accept = call.header(header::ACCEPT).unwrap_or("*/*");
    let accepted = accept.split(',').any(|clause| {
        let media = clause.split(';').next().unwrap_or_default().trim();
        matches!(media, TYPE | "*/*" | "application/*")
    });
    if !accepted {
        let why = "406: Not Acceptable\n\nAvailable representations: application/jwk-set+json";
        let mut status = Status::not_acceptable_form(why);
        status.details = Some(Default::default());
        return Err(status);
    }
    let jwks = service.authenticator.signer().jwks();
    let bytes = hanse_json::to_vec(jwks);
    Ok(Answer::bytes(200, TYPE, bytes).with_header(header::CACHE_CONTROL, "public, max-age=3600"))
}

fn discovery(service: &Inner, call: &Call<'_>, served: &Served<'_>, path: &str) -> Result<Answer> {
    let segments: Vec<&str> = path.trim_matches('/').split('/').collect();
    let name = segments.join("/");
    let groups = || Groups::of(served.rows);
    let address = service.external_address.as_str();
    let cached = |name: &str, make: &dyn Fn() -> Option<Value>| {
        let bytes = || make().map(|value| hanse_json::to_vec(&value));
        let name = if served.is_view {
            format!("view/{name}")
        } else {
            name.to_owned()
        };
        service
            .documents
            .get(served.hash, &name, service.now_seconds(), bytes)
    };
    let root = matches!(segments.as_slice(), ["api"] | ["apis"]);
    if root {
        let output = output(&call.wanted(), Forms::DISCOVERY)?;
        if output.form == Form::AggregatedDiscovery {
            let core = segments[0] == "api";
            let name = format!("aggregated/{name}");
            let found = cached(&name, &|| Some(groups().aggregated(core)));
            return Ok(found.map_or_else(Answer::no_such_path, |document| {
                document
                    .answer(output.content_type(), call.header(header::IF_NONE_MATCH))
                    .with_header(header::VARY, "Accept")
                    .with_header(header::CACHE_CONTROL, "public")
            }));
        }
    }
    let found = match segments.as_slice() {
        [""] => cached("index", &|| Some(index(service, &groups()))),
        ["api"] => cached(&name, &|| Some(groups().api_versions(address))),
        ["apis"] => cached(&name, &|| Some(groups().group_list(address))),
        ["api", version] => cached(&name, &|| {
            groups().resource_list("", version, served.is_view)
        }),
        ["apis", group] => cached(&name, &|| groups().group(group)),
        ["apis", group, version] => cached(&name, &|| {
            groups().resource_list(group, version, served.is_view)
        }),
        _ => None,
    };
    let Some(found) = found else {
        return Ok(Answer::no_such_path());
    };
    let output = output(&call.wanted(), Forms::PLAIN)?;
    if output == Output::default() {
        return Ok(Answer::bytes(200, JSON, found.bytes.clone()));
    }
    let value = hanse_json::parse(&found.bytes, &Default::default()).map_err(Status::internal)?;
    Ok(answer_document(200, &value.value, &output))
}

/// `/`: the paths that are served, sorted.
fn index(service: &Inner, groups: &Groups) -> Value {
    let mut paths: Vec<String> = [
        "/.well-known/openid-configuration",
        "/api",
        "/api/v1",
        "/apis",
        "/apis/",
        "/healthz",
        "/livez",
        "/metrics",
        "/openapi/v2",
        "/openapi/v3",
        "/openapi/v3/",
        "/openid/v1/jwks",
        "/readyz",
        "/version",
    ]
    .map(str::to_owned)
    .to_vec();
    paths.extend(groups.paths());
    paths.extend(service.health.paths());
    paths.sort_unstable();
    json!({"paths": paths})
}
