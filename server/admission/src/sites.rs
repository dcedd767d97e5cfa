//! What admission notes and refuses for the way to the sites.
//!
//! A Placement chooses among the Sites that its author may use, long after the request is over; so
//! the author stands in an annotation that only the server writes. Its expressions are compiled
//! before they are stored. The facts of a Site are its authority's word: they are written with the
//! verb `attest` only.

use crate::Admission;
use crate::request::{Operation, Request, annotation};
use hanse_apis::sites::{self, GROUP, PlacementSpec, names};
use hanse_auth::Attributes;
use hanse_rules::placement::policy;
use hanse_wire::status::{Result, Status};

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

/// `sites.hanse.dev/Placement`, validating: expressions that are new must compile.
pub(crate) fn placement(_: &Admission, request: &mut Request<'_>) -> Result<()> {
    let (new, old) = (request.new_object(), request.old_object());
    let ours = request.is(GROUP, "placements") && request.subresource.is_empty();
    if !ours || request.operation == Operation::Delete || new["spec"] == old["spec"] {
        return Ok(());
    }
    let spec: PlacementSpec = sites::read(new, "spec").unwrap_or_default();
    let errors = policy::validate(&spec);
    if errors.is_empty() {
        return Ok(());
    }
    Err(Status::invalid(request.kind, GROUP, request.name, &errors))
}

/// `sites.hanse.dev/Site`, validating: facts are for those who may attest them.
pub(crate) fn facts(admission: &Admission, request: &mut Request<'_>) -> Result<()> {
    let (new, old) = (request.new_object(), request.old_object());
    let ours = request.is(GROUP, "sites") && request.subresource.is_empty();
    if !ours || request.operation == Operation::Delete {
        return Ok(());
    }
    if new["spec"]["facts"] == old["spec"]["facts"] {
        return Ok(());
    }
    let name = match request.name {
        "" => crate::request::text(new, &["metadata", "name"]),
        name => name,
    };
    let want = Attributes::resource(request.user, "attest", GROUP, "sites", name);
    let authorizer = admission.authorizer();
    if authorizer.authorize(&want, Some(request.cluster)).allowed {
        return Ok(());
    }
    Err(request.forbidden("spec.facts is for those who have the verb \"attest\" on the Site"))
}
