//! `get`: one object, as it is now or no older than a version that the client names.

use hanse_wire::negotiate::Forms;
use hanse_wire::options::{parse_version, unparsable_version};
use hanse_wire::status::{Result, Status};

use crate::answer::Answer;
use crate::call::{Call, Target};
use crate::service::Inner;
use crate::verbs::list::wait_for;

/// Answers a get, also of a subresource whose object is the whole object.
///
/// # Errors
/// 400 for a bad version, 404, 406, 504 for a version of the future.
pub async fn get(service: &Inner, call: &Call<'_>, target: &Target) -> Result<Answer> {
    let output = call.output(Forms::RESOURCE)?;
    if let Some(text) = call.query.get("resourceVersion") {
        let version = parse_version(text).map_err(|why| unparsable_version(&why, false))?;
        wait_for(service, version.unwrap_or(0)).await?;
    }
    let key = target.key(call, call.info.name)?;
    let Some(object) = service.hub.get(&key).filter(|object| call.shows(object)) else {
        return Err(Status::not_found(&target.group_resource(), call.info.name));
    };
    service
        .renderer(call, target, output)?
        .answer_object(200, &object)
}
