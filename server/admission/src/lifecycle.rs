//! Namespaces: nothing new in one that is missing or on its way out, and some stay.

use crate::Admission;
use crate::request::{Operation, Request, text};
use hanse_wire::gvk::GroupResource;
use hanse_wire::status::{Result, Status};

/// Namespaces that live as long as their logical cluster.
const IMMORTAL: [&str; 3] = ["default", "kube-system", "kube-public"];

/// `WorkspaceNamespaceLifecycle`.
pub(crate) fn namespace(admission: &Admission, request: &mut Request<'_>) -> Result<()> {
    let is_namespace = request.is("", "namespaces");
    if request.operation == Operation::Delete {
        if is_namespace && IMMORTAL.contains(&request.name) && !is_ending(admission, request) {
            return Err(request.forbidden("this namespace may not be deleted"));
        }
        return Ok(());
    }
    let is_review = request.group == "authorization.k8s.io";
    if is_namespace || request.namespace.is_empty() || is_review {
        return Ok(());
    }
    let view = admission.view();
    let resource = &view.resources().namespaces;
    let Some(found) = view.get(resource, request.cluster, "", request.namespace) else {
        return Err(Status::not_found(
            &GroupResource::new("", "namespaces"),
            request.namespace,
        ));
    };
    let creates = request.operation == Operation::Create && request.subresource.is_empty();
    let terminating = || found.text(&["status", "phase"]).as_deref() == Some("Terminating");
    if creates && (found.is_deleting() || terminating()) {
        let name = match request.name {
            "" => text(request.new_object(), &["metadata", "name"]),
            name => name,
        };
        return Err(Status::namespace_terminating(
            &request.group_resource(),
            name,
            request.namespace,
        ));
    }
    Ok(())
}

fn is_ending(admission: &Admission, request: &Request<'_>) -> bool {
    admission
        .view()
        .logical_cluster(request.cluster)
        .is_none_or(|object| object.is_deleting())
}
