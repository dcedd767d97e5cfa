//! `get`: one object, as it is now or no older than a version that the client names.

use std::sync::Arc;

use hanse_cache::{ListQuery, Object};
use hanse_wire::negotiate::{Encoding, Form, Forms};
use hanse_wire::options::{parse_version, unparsable_version};
use hanse_wire::status::{Result, Status};

use crate::answer::Answer;
use crate::call::{Call, Target};
use crate::limits::LONG_WORK_BYTES;
use crate::service::Inner;
use crate::verbs::list::{read_error, wait_for};

/// Answers a get, also of a subresource whose object is the whole object.
///
/// # Errors
/// 400 for a bad version, 404, 406, 504 for a version of the future.
pub async fn get(service: &Inner, call: &Call<'_>, target: &Target) -> Result<Answer> {
    let output = call.output(Forms::RESOURCE)?;
    if call
        .query
        .get("export")
        .is_some_and(|text| !matches!(text, "false" | "0"))
    {
        let why = "the export parameter, deprecated since v1.14, is no longer supported";
        return Err(Status::bad_request(why));
    }
    if let Some(text) = call.query.get("resourceVersion") {
        let version = parse_version(text).map_err(|why| unparsable_version(&why, true))?;
        wait_for(service, version.unwrap_or(0)).await?;
    }
    let found = match call.wildcard {
        true => first_of_name(service, call, target)?,
        false => service.hub.get(&target.key(call, call.info.name)?),
    };
    let Some(object) = found.filter(|object| call.shows(object)) else {
        return Err(Status::not_found(&target.group_resource(), call.info.name));
    };
    let copied = output.form == Form::Object && output.encoding == Encoding::Json;
    let copied = copied && !output.pretty;
    let long = !copied && object.json_len() > LONG_WORK_BYTES;
    call.long.begin_if(long).await;
    service
        .renderer(call, target, output)?
        .answer_object(200, &object)
}

/// In every logical cluster the name alone does not say which object is meant: it is the first
/// that the view shows, in the order of lists (kcp-api 3.9).
fn first_of_name(service: &Inner, call: &Call<'_>, target: &Target) -> Result<Option<Object>> {
    let (name, namespace) = (call.info.name.to_owned(), target.namespace(call).to_owned());
    let lens = call.lens.clone();
    let wanted = move |object: &Object| {
        let key = object.key();
        *key.name == *name
            && *key.namespace == *namespace
            && lens.as_ref().is_none_or(|lens| lens.shows(object))
    };
    let query = ListQuery {
        limit: Some(1),
        filter: Some(Arc::new(wanted)),
        ..ListQuery::default()
    };
    let scope = target.scope(call)?;
    let page = service.hub.list(&target.resource, &scope, &query);
    Ok(page.map_err(read_error)?.objects.into_iter().next())
}
