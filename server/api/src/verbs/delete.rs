//! `delete` and `deletecollection`.

use hanse_cache::ListQuery;
use hanse_json::json;
use hanse_wire::negotiate::{Form, Forms};
use hanse_wire::options::{DeleteOptions, ListOptions, WriteOptions};
use hanse_wire::status::{Result, Status};
use hanse_wire::table;
use http::header;

use crate::answer::Answer;
use crate::call::{Call, Target};
use crate::limits::DELETE_COLLECTION_STEP_OBJECTS;
use crate::render::{answer_document, list_document};
use crate::service::Inner;
use crate::verbs::list::read_error;
use crate::verbs::select::Selection;
use crate::write::Writing;
use crate::write::decode::{decode_raw, media_type};
use crate::write::remove::{remove, uid_of};

/// Options from the body, or from the query when there is none.
fn options_of(call: &Call<'_>, body: &[u8]) -> Result<DeleteOptions> {
    let options = if body.is_empty() {
        DeleteOptions::from_query(&call.query)?
    } else {
        let media = media_type(call.header(header::CONTENT_TYPE));
        let value = decode_raw(body, media, "DeleteOptions")?.value;
        DeleteOptions::from_body(&value)?
    };
    options.validate()?;
    Ok(options)
}

fn write_options(options: &DeleteOptions) -> WriteOptions {
    WriteOptions {
        dry_run: options.dry_run.clone(),
        ..WriteOptions::default()
    }
}

/// Answers the deletion of one object.
///
/// # Errors
/// 400 and 422 for bad options, 403, 404, 409.
pub async fn delete(
    service: &Inner,
    call: &Call<'_>,
    target: &Target,
    body: &[u8],
) -> Result<Answer> {
    let output = call.output(Forms::RESOURCE)?;
    let options = options_of(call, body)?;
    let write_options = write_options(&options);
    let writing = Writing::new(service, call, target, &write_options);
    let key = target.key(call, call.info.name)?;
    let removed = remove(&writing, &key, &options).await?;
    if removed.gone && !target.def.flags.returns_deleted {
        let resource = target.group_resource();
        let status = Status::deleted(&resource, &key.name, uid_of(&removed.object));
        let document = match output.form {
            Form::Table(version) => table::status_table(version, &status),
            _ => status.to_json(),
        };
        return Ok(answer_document(200, &document, &output));
    }
    // 202 only where the client said that dependents shall not be orphaned (DEL-17).
    let code = if !removed.gone && options.orphan_dependents == Some(false) {
        202
    } else {
        200
    };
    service
        .renderer(call, target, output)?
        .answer_tree(code, removed.object)
}

/// Answers the deletion of a collection: object by object, with what each deletion does.
///
/// # Errors
/// 400 and 422 for bad options, 403 from admission for any object.
pub async fn delete_collection(
    service: &Inner,
    call: &Call<'_>,
    target: &Target,
    body: &[u8],
) -> Result<Answer> {
    let list_options = ListOptions::from_query(&call.query)?;
    let output = call.output(Forms::PLAIN)?;
    list_options.validate()?;
    let options = options_of(call, body)?;
    let write_options = write_options(&options);
    let writing = Writing::new(service, call, target, &write_options);
    let selection = Selection::of(call, target, &list_options)?;
    let mut left = usize::try_from(list_options.limit)
        .ok()
        .filter(|limit| *limit > 0);
    let (mut items, mut after) = (Vec::new(), None);
    loop {
        let step = left.map_or(DELETE_COLLECTION_STEP_OBJECTS, |left| {
            left.min(DELETE_COLLECTION_STEP_OBJECTS)
        });
        let query = ListQuery {
            after: after.take(),
            limit: Some(step),
            filter: selection.filter.clone(),
            ..ListQuery::default()
        };
        let page = service.hub.list(&target.resource, &selection.scope, &query);
        let page = page.map_err(read_error)?;
        for object in &page.objects {
            match remove(&writing, object.key(), &options).await {
                Ok(removed) => items.push(removed.object),
                Err(status) if status.code == 404 => {}
                Err(status) => return Err(status),
            }
        }
        left = left.map(|left| left - page.objects.len());
        after = page.objects.last().map(|last| last.key().path());
        if !page.more || left == Some(0) {
            break;
        }
    }
    let metadata = json!({"resourceVersion": service.hub.version().to_string()});
    let renderer = service.renderer(call, target, output)?;
    let mut metadata = metadata;
    if !target.def.flags.native {
        metadata["continue"] = "".into();
    }
    Ok(renderer.answer_document(200, &list_document(&renderer, items, metadata)))
}
