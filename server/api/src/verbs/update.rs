//! `update`: PUT of an object or of one of its parts.

use hanse_wire::negotiate::Forms;
use hanse_wire::options::{Write, WriteOptions};
use hanse_wire::status::{Result, Status};
use http::header;

use crate::answer::Answer;
use crate::call::{Call, Target};
use crate::service::Inner;
use crate::write::Writing;
use crate::write::change::{Changed, Made, change, check_name};
use crate::write::decode::decode_object;
use crate::write::insert::{Owners, insert};

/// Answers an update; some kinds are created by it.
///
/// # Errors
/// 400 to 422, as they come from each step of the write.
pub async fn update(
    service: &Inner,
    call: &Call<'_>,
    target: &Target,
    body: &[u8],
) -> Result<Answer> {
    let options = WriteOptions::from_query(&call.query);
    let output = call.output(Forms::RESOURCE)?;
    options.validate(Write::Update)?;
    let renderer = service.renderer(call, target, output)?;
    let (def, name) = (&target.def, call.info.name);
    let content_type = call.header(header::CONTENT_TYPE);
    let object = {
        let mut warnings = call.warnings.lock();
        decode_object(
            body,
            content_type,
            def,
            options.field_validation(),
            &mut warnings,
        )?
    };
    let writing = Writing::new(service, call, target, &options);
    let make = |_: &_| {
        Ok(Made {
            object: object.clone(),
            owners: Owners::Untracked,
        })
    };
    match change(&writing, name, make).await? {
        Changed::To(object) => renderer.answer_written(200, object),
        Changed::Missing if def.flags.create_on_update && call.info.subresource.is_empty() => {
            service.authorize_create(call, target)?;
            check_name(&object, name)?;
            let created = insert(&writing, object, Owners::Untracked).await?;
            renderer.answer_written(201, created)
        }
        Changed::Missing => Err(Status::not_found(&target.group_resource(), name)),
    }
}
