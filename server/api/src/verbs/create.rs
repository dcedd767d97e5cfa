//! `create`: POST to a collection.

use hanse_wire::negotiate::Forms;
use hanse_wire::options::{Write, WriteOptions};
use hanse_wire::status::Result;
use http::header;

use crate::answer::Answer;
use crate::call::{Call, Target};
use crate::reviews;
use crate::service::Inner;
use crate::write::decode::decode_object;
use crate::write::insert::{Owners, insert};
use crate::write::{Writing, Written};

/// Answers a creation. Reviews are computed and not stored.
///
/// # Errors
/// 400 to 422, as they come from each step of the write.
pub async fn create(
    service: &Inner,
    call: &Call<'_>,
    target: &Target,
    body: &[u8],
) -> Result<Answer> {
    let options = WriteOptions::from_query(&call.query);
    let def = &target.def;
    let forms = if def.flags.review {
        Forms::PLAIN
    } else {
        Forms::RESOURCE
    };
    let output = call.output(forms)?;
    options.validate(Write::Create)?;
    let renderer = service.renderer(call, target, output)?;
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
    let created = match def.flags.review {
        true => Written::Tree(reviews::answer(&writing, object)?),
        false => insert(&writing, object, Owners::Untracked).await?,
    };
    renderer.answer_written(201, created)
}
