//! Subresources that are not simply a part of their object: `scale` and `token`.
//!
//! Start at [`answer`]. `status`, `finalize` and `approval` are deliberately not here: they are
//! ordinary updates of which only a part counts, and go through the verbs.

mod scale;
mod token;

use hanse_wire::status::Result;

use crate::answer::Answer;
use crate::call::{Call, Target};
use crate::service::Inner;

/// Answers a request on one of these subresources; `None` for all others.
///
/// # Errors
/// Whatever the subresource fails with.
pub async fn answer(
    service: &Inner,
    call: &Call<'_>,
    target: &Target,
    body: &[u8],
) -> Result<Option<Answer>> {
    let Some(sub) = target.def.subresource(call.info.subresource) else {
        return Ok(None);
    };
    if let Some(paths) = &sub.scale {
        return scale::answer(service, call, target, paths, body)
            .await
            .map(Some);
    }
    match sub.kind.as_ref().map(|kind| kind.kind.as_str()) {
        Some("TokenRequest") => token::create(service, call, target, body).map(Some),
        _ => Ok(None),
    }
}
