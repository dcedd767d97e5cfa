//! The verbs, each generic over every resource: what differs between kinds is data in their
//! definitions.
//!
//! Start at [`answer`], which sends a call to its verb or subresource. The invariant: by the time
//! a verb runs, the caller may do what it asks for.

pub mod create;
pub mod delete;
pub mod get;
pub mod list;
pub mod patch;
pub mod patched;
pub mod select;
pub mod update;
pub mod watch;

use hanse_wire::negotiate::patch_type;
use hanse_wire::status::{Result, Status};
use http::header;

use crate::answer::Answer;
use crate::call::{Call, Target};
use crate::info::Verb;
use crate::metrics::RequestLabels;
use crate::service::Service;
use crate::subresources;

/// Answers a request on a resource.
///
/// # Errors
/// 404 and 405 for what is not served, and whatever the verb fails with.
pub async fn answer(
    service: &Service,
    call: &Call<'_>,
    target: &Target,
    body: &[u8],
    labels: &RequestLabels,
) -> Result<Answer> {
    if let Some(refused) = refuse(call, target)? {
        return Ok(refused);
    }
    if let Some(text) = &target.def.deprecation {
        call.warn(text.clone());
    }
    if let Some(answer) = subresources::answer(service, call, target, body).await? {
        return Ok(answer);
    }
    match call.info.verb {
        Verb::Get => get::get(service, call, target).await,
        Verb::List => list::list(service, call, target).await,
        Verb::Watch => watch::watch(service, call, target, labels),
        Verb::Create => create::create(service, call, target, body).await,
        Verb::Update => update::update(service, call, target, body).await,
        Verb::Patch => patch::patch(service, call, target, body).await,
        Verb::Delete => delete::delete(service, call, target, body).await,
        Verb::DeleteCollection => delete::delete_collection(service, call, target, body).await,
        Verb::None => Ok(method_not_allowed(call, target)),
    }
}

/// What is not routed at all: paths of the wrong shape and verbs that the kind does not have.
/// For native kinds Kubernetes has plain texts, for custom resources Status objects.
fn refuse(call: &Call<'_>, target: &Target) -> Result<Option<Answer>> {
    let (info, def) = (&call.info, &target.def);
    let in_namespace = !info.namespace.is_empty() && info.resource != "namespaces";
    route(call, target)?;
    if info.too_long || (in_namespace && !def.namespaced) {
        return Ok(Some(unknown_path(call, target)));
    }
    let needs_namespace = def.namespaced && !in_namespace;
    if needs_namespace && !matches!(info.verb, Verb::List | Verb::Watch) {
        return Ok(Some(match def.flags.native && info.name.is_empty() {
            true => method_not_allowed(call, target),
            false => unknown_path(call, target),
        }));
    }
    let read_everywhere = match info.verb {
        Verb::List | Verb::Watch => true,
        // A view knows by itself which objects it may find.
        Verb::Get => call.lens.is_some(),
        _ => false,
    };
    if call.wildcard && !read_everywhere {
        let mut status = Status::method_not_allowed(&target.group_resource(), info.verb.as_str());
        status.message.push_str(" in the `*` logical cluster");
        return Err(status);
    }
    let verbs = match info.subresource {
        "" => def.verbs,
        name => match def.subresource(name) {
            Some(sub) => sub.verbs,
            None if !def.flags.native && !info.name.is_empty() => {
                return Err(Status::not_found(&target.group_resource(), info.name));
            }
            None => return Ok(Some(unknown_path(call, target))),
        },
    };
    let misplaced = info.subresource.is_empty()
        && (info.verb == Verb::Create && !info.name.is_empty()
            || matches!(info.verb, Verb::Update | Verb::Patch) && info.name.is_empty());
    if misplaced || !verbs.contains(&info.verb.as_str()) {
        return Ok(Some(method_not_allowed(call, target)));
    }
    Ok(None)
}

/// What Kubernetes' router of built-in kinds refuses by the media types alone.
///
/// # Errors
/// 406 and 415 in the router's words.
fn route(call: &Call<'_>, target: &Target) -> Result<()> {
    const OBJECTS: [&str; 3] = [
        "application/json",
        "application/yaml",
        "application/vnd.kubernetes.protobuf",
    ];
    const STREAMS: [&str; 2] = [
        "application/json;stream=watch",
        "application/vnd.kubernetes.protobuf;stream=watch",
    ];
    if !target.def.flags.native || call.lens.is_some() {
        return Ok(());
    }
    let media = |clause: &str| {
        clause
            .split(';')
            .next()
            .unwrap_or_default()
            .trim()
            .to_owned()
    };
    let refuse = |mut status: Box<Status>| {
        status.details = Some(Default::default());
        Err(status)
    };
    let accept = call.header(header::ACCEPT).unwrap_or_default();
    let fits = |clause: &str| {
        let media = media(clause);
        media == "*/*" || OBJECTS.contains(&media.as_str())
    };
    if !accept.is_empty() && !accept.split(',').any(fits) {
        let mut known = OBJECTS.to_vec();
        if matches!(call.info.verb, Verb::List | Verb::Watch) {
            known.extend(STREAMS);
        }
        let list = known.join(", ");
        let why = format!("406: Not Acceptable\n\nAvailable representations: {list}");
        return refuse(Status::not_acceptable_form(why));
    }
    if call.info.verb == Verb::Patch && patch_type(call.header(header::CONTENT_TYPE), true).is_err()
    {
        let mut status = Status::unsupported_media_type(&[]);
        status.message = "415: Unsupported Media Type".to_owned();
        return refuse(status);
    }
    Ok(())
}

/// The answer below the path of a resource where nothing is.
fn unknown_path(call: &Call<'_>, target: &Target) -> Answer {
    if !target.def.flags.native || call.lens.is_some() {
        return Answer::no_such_path();
    }
    let status = Status::generic_server_response(404, "", &Default::default(), "", "");
    Answer::status(&status, false)
}

/// 405 in the words of the kind.
#[must_use]
pub fn method_not_allowed(call: &Call<'_>, target: &Target) -> Answer {
    let resource = target.group_resource();
    let status = if target.def.flags.native {
        let verb = call.info.verb.as_str();
        Status::generic_server_response(405, verb, &Default::default(), "", "")
    } else {
        Status::method_not_allowed(&resource, call.info.verb.as_str())
    };
    Answer::status(&status, false)
}
