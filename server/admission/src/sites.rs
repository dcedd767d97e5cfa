//! What admission notes for the way to the sites: who wrote a Placement.
//!
//! A Placement chooses among the Sites that its author may use, long after the request is over; so
//! the author stands in an annotation that only the server writes.

use crate::Admission;
use crate::request::{Operation, Request, annotation};
use hanse_apis::sites::{GROUP, names};
use hanse_wire::status::Result;

/// `sites.hanse.dev/Placement`, mutating: whoever writes the spec is its author.
pub(crate) fn author(_: &Admission, request: &mut Request<'_>) -> Result<()> {
    if !request.is(GROUP, "placements") || request.operation == Operation::Delete {
        return Ok(());
    }
    let (new, old) = (request.new_object(), request.old_object());
    let kept = request.operation == Operation::Update && new["spec"] == old["spec"];
    let author = match kept {
        true => annotation(old, names::AUTHOR_ANNOTATION).to_owned(),
        false => request.user.owner_annotation(),
    };
    if let Some(annotations) = request.annotations_mut() {
        match author.is_empty() {
            false => annotations.insert(names::AUTHOR_ANNOTATION.into(), author.into()),
            true => annotations.remove(names::AUTHOR_ANNOTATION),
        };
    }
    Ok(())
}
