//! Workspaces and their types: owner, required groups, protected fields, type resolution.

use crate::Admission;
use crate::request::{Operation, Request, list, metadata_map, text};
use hanse_apis::kcp::{annotation as key, cluster, group, verb};
use hanse_auth::Attributes;
use hanse_rules::types::{self, TypeRef, WorkspaceType};
use hanse_wire::status::{Result, Status};
use serde_json::{Value, json};

fn is_workspace(request: &Request<'_>) -> bool {
    request.is(group::TENANCY, "workspaces")
}

/// `tenancy.kcp.io/Workspace`, mutating: owner annotation and required groups.
pub(crate) fn workspace_mutate(admission: &Admission, request: &mut Request<'_>) -> Result<()> {
    if !is_workspace(request) || request.operation != Operation::Create {
        return Ok(());
    }
    let privileged = request.is_master();
    let owner = request.user.owner_annotation();
    let required = required_groups(admission, request);
    let Some(annotations) = request.annotations_mut() else {
        return Ok(());
    };
    if !privileged {
        annotations.insert(key::OWNER.into(), owner.into());
    }
    if !privileged || !annotations.contains_key(key::REQUIRED_GROUPS) {
        match required {
            Some(groups) => annotations.insert(key::REQUIRED_GROUPS.into(), groups.into()),
            None => annotations.remove(key::REQUIRED_GROUPS),
        };
    }
    Ok(())
}

fn required_groups(admission: &Admission, request: &Request<'_>) -> Option<String> {
    let parent = admission.view().logical_cluster(request.cluster)?;
    parent
        .annotation(key::REQUIRED_GROUPS)
        .map(std::borrow::Cow::into_owned)
}

/// `tenancy.kcp.io/Workspace`, validating.
pub(crate) fn workspace_validate(_: &Admission, request: &mut Request<'_>) -> Result<()> {
    if !is_workspace(request) {
        return Ok(());
    }
    match request.operation {
        Operation::Create => validate_create(request),
        Operation::Update => validate_update(request),
        Operation::Delete => Ok(()),
    }
}

fn validate_create(request: &Request<'_>) -> Result<()> {
    let new = request.new_object();
    if !request.is_master() {
        if !text(new, &["spec", "cluster"]).is_empty() {
            let why = "spec.Cluster can only be set by system privileged users";
            return Err(request.forbidden(why));
        }
        if !text(new, &["spec", "URL"]).is_empty() {
            return Err(request.forbidden("spec.URL can only be set by system privileged users"));
        }
    }
    let Some(mount) = new.get("spec").and_then(|s| s.get("mount")) else {
        return Ok(());
    };
    for field in ["kind", "name", "apiVersion"] {
        if text(mount, &["ref", field]).is_empty() {
            return Err(request.forbidden(format!("spec.mount.{field} must be set")));
        }
    }
    if !request.is_master() && new.get("spec").is_some_and(|s| s.get("type").is_some()) {
        return Err(request.forbidden("spec.type cannot be set for mounted workspaces"));
    }
    Ok(())
}

fn validate_update(request: &Request<'_>) -> Result<()> {
    let (new, old) = (request.new_object(), request.old_object());
    let mount = |object: &Value| object.get("spec").and_then(|s| s.get("mount")).cloned();
    if mount(old) != mount(new) && !request.is_master() {
        return Err(request.forbidden("spec.mount is immutable"));
    }
    let field = |name: &str| (text(old, &["spec", name]), text(new, &["spec", name]));
    let (before, after) = field("cluster");
    if !before.is_empty() && after.is_empty() {
        return Err(request.forbidden("spec.cluster cannot be unset"));
    }
    if before != after && !request.is_master() {
        return Err(
            request.forbidden("spec.cluster can only be changed by system privileged users")
        );
    }
    let (before, after) = field("URL");
    if before != after && !request.is_master() {
        return Err(request.forbidden("spec.URL can only be changed by system privileged users"));
    }
    let becomes_ready =
        text(old, &["status", "phase"]) != "Ready" && text(new, &["status", "phase"]) == "Ready";
    for name in ["cluster", "URL"] {
        if becomes_ready && mount(new).is_none() && text(new, &["spec", name]).is_empty() {
            return Err(request.forbidden(format!("spec.{name} must be set for phase Ready")));
        }
    }
    Ok(())
}

/// `tenancy.kcp.io/WorkspaceTypeExists`, mutating: the type is defaulted and its path filled in.
pub(crate) fn type_mutate(admission: &Admission, request: &mut Request<'_>) -> Result<()> {
    if !is_workspace(request)
        || request.operation != Operation::Create
        || request
            .new_object()
            .get("spec")
            .is_some_and(|s| s.get("mount").is_some())
    {
        return Ok(());
    }
    let wanted = request.new_object().get("spec").and_then(|s| s.get("type"));
    let wanted = wanted
        .and_then(TypeRef::from_value)
        .filter(|t| !t.name.is_empty());
    let wanted = match wanted {
        Some(wanted) => wanted,
        None => default_type(admission, request)?,
    };
    let found = find_type(admission, request, &wanted)?;
    let path = if wanted.path.is_empty() {
        found.path.clone()
    } else {
        wanted.path
    };
    let Some(object) = request.object.as_deref_mut() else {
        return Ok(());
    };
    let labels = found.additional_labels;
    if let Some(map) = (!labels.is_empty())
        .then(|| metadata_map(object, "labels"))
        .flatten()
    {
        for (label, value) in labels {
            map.entry(label).or_insert_with(|| value.into());
        }
    }
    if let Some(fields) = object.as_object_mut() {
        let spec = fields.entry("spec").or_insert_with(|| json!({}));
        spec["type"] = json!({"name": wanted.name, "path": path});
    }
    Ok(())
}

fn parent_type(admission: &Admission, request: &Request<'_>) -> Result<WorkspaceType> {
    let view = admission.view();
    let unresolved = || {
        request.forbidden(format!(
            "workspace type cannot be resolved: logicalclusters.core.kcp.io \"{}\" not found",
            cluster::OBJECT_NAME
        ))
    };
    let parent = view
        .logical_cluster(request.cluster)
        .ok_or_else(unresolved)?;
    let annotated = parent.annotation(key::TYPE).ok_or_else(|| {
        request.forbidden(format!(
            "annotation {} on LogicalCluster must be set",
            key::TYPE
        ))
    })?;
    let reference = TypeRef::from_annotation(&annotated).ok_or_else(|| {
        let form = "on LogicalCluster must be in the form of cluster:name";
        request.forbidden(format!("annotation {} {form}", key::TYPE))
    })?;
    view.workspace_type(&reference).ok_or_else(|| {
        let missing = not_found_text(&reference);
        request.forbidden(format!("parent type cannot be resolved: {missing}"))
    })
}

fn not_found_text(reference: &TypeRef) -> String {
    format!(
        "workspacetypes.tenancy.kcp.io \"{}\" not found",
        reference.qualified()
    )
}

fn default_type(admission: &Admission, request: &Request<'_>) -> Result<TypeRef> {
    let parent = parent_type(admission, request)?;
    parent.default_child.clone().ok_or_else(|| {
        let name = parent.qualified();
        let why = format!("spec.defaultChildWorkspaceType of workspace type {name} must be set");
        request.forbidden(why)
    })
}

fn find_type(
    admission: &Admission,
    request: &Request<'_>,
    wanted: &TypeRef,
) -> Result<WorkspaceType> {
    let view = admission.view();
    if !wanted.path.is_empty() {
        return view.workspace_type(wanted).ok_or_else(|| {
            let missing = not_found_text(wanted);
            request.forbidden(format!("Internal error occurred: {missing}"))
        });
    }
    let parent = view.canonical_path(request.cluster);
    let found = types::search_path(&parent).find_map(|path| {
        let reference = TypeRef {
            path: path.to_owned(),
            name: wanted.name.clone(),
        };
        view.workspace_type(&reference)
    });
    found.ok_or_else(|| {
        request.forbidden(format!(
            "workspace type {:?} cannot be resolved",
            wanted.qualified()
        ))
    })
}

/// `tenancy.kcp.io/WorkspaceTypeExists`, validating: permission to use, and nesting.
pub(crate) fn type_validate(admission: &Admission, request: &mut Request<'_>) -> Result<()> {
    if !is_workspace(request) {
        return Ok(());
    }
    let new = request.new_object();
    if request.operation == Operation::Update {
        let kind = |object: &Value| object.get("spec").and_then(|s| s.get("type")).cloned();
        if kind(request.old_object()) != kind(new) {
            return Err(request.forbidden("spec.type is immutable"));
        }
        return Ok(());
    }
    let is_mount = new.get("spec").is_some_and(|s| s.get("mount").is_some());
    if request.operation != Operation::Create || is_mount {
        return Ok(());
    }
    let wanted = new
        .get("spec")
        .and_then(|s| s.get("type"))
        .and_then(TypeRef::from_value);
    let Some(wanted) = wanted else {
        return Err(request.forbidden("spec.type must be set"));
    };
    let found = find_type(admission, request, &wanted)?;
    let view = admission.view();
    let resolved = view
        .resolve_type(found)
        .map_err(|why| request.forbidden(why))?;
    for each in &resolved {
        let user = request.user;
        let want = Attributes::resource(
            user,
            verb::USE,
            group::TENANCY,
            "workspacetypes",
            &each.name,
        );
        if !admission
            .authorizer()
            .authorize_deep(&want, &each.cluster)
            .allowed
        {
            return Err(request.forbidden(format!(
                "unable to use workspace type {}: missing verb='use' permission on workspacetype",
                each.qualified()
            )));
        }
    }
    let parent = parent_type(admission, request)?;
    let parent = view
        .resolve_type(parent)
        .map_err(|why| request.forbidden(why))?;
    types::check_nesting(&parent, &resolved).map_err(|why| request.forbidden(why))
}

/// `tenancy.kcp.io/WorkspaceType`, validating.
pub(crate) fn workspace_type(admission: &Admission, request: &mut Request<'_>) -> Result<()> {
    if !request.is(group::TENANCY, "workspacetypes") || request.operation == Operation::Delete {
        return Ok(());
    }
    let new = request.new_object();
    if text(new, &["metadata", "name"]) == "root" && request.cluster != cluster::ROOT {
        let why = "root workspace type can only be created in root cluster";
        return Err(request.forbidden(why));
    }
    let child = new
        .get("spec")
        .and_then(|s| s.get("defaultChildWorkspaceType"));
    if child.is_some_and(|c| text(c, &["path"]).is_empty()) {
        return Err(request.forbidden(".spec.defaultChildWorkspaceType.path must be set"));
    }
    for limit in ["limitAllowedChildren", "limitAllowedParents"] {
        for (at, each) in list(new, &["spec", limit, "types"]).iter().enumerate() {
            if text(each, &["path"]).is_empty() {
                return Err(
                    request.forbidden(format!(".spec.{limit}.types[{at}].path must be set"))
                );
            }
        }
    }
    default_bindings(admission, request)
}

/// The writer of a type must be able to bind what the type newly binds for others.
fn default_bindings(admission: &Admission, request: &Request<'_>) -> Result<()> {
    let old = list(request.old_object(), &["spec", "defaultAPIBindings"]);
    for binding in list(request.new_object(), &["spec", "defaultAPIBindings"]) {
        if old.contains(binding) {
            continue;
        }
        let (path, export) = (text(binding, &["path"]), text(binding, &["export"]));
        if !admission.may_bind(request.user, request.cluster, path, export) {
            return Err(refuse_bind(request, path, export));
        }
    }
    Ok(())
}

fn refuse_bind(request: &Request<'_>, path: &str, export: &str) -> Box<Status> {
    let name = hanse_rules::path::join(path, export);
    request.forbidden(format!("no permission to bind to export {name}"))
}

/// `apis.kcp.io/ReservedNames`, mutating: runs before the schema is validated.
pub(crate) fn reserved_names(_: &Admission, request: &mut Request<'_>) -> Result<()> {
    if request.operation != Operation::Create {
        return Ok(());
    }
    let name = text(request.new_object(), &["metadata", "name"]);
    let reserved = match (request.group, request.resource) {
        (group::TENANCY, "workspacetypes") => matches!(name, "any" | "system"),
        ("", "serviceaccounts") => name == "kcp-rest",
        _ => false,
    };
    if reserved {
        let why = format!("metadata.name: Invalid value: {name:?}: name is reserved");
        return Err(request.forbidden(why));
    }
    Ok(())
}

/// `tenancy.kcp.io/Shard`, mutating: the other URLs default to the first.
pub(crate) fn shard(_: &Admission, request: &mut Request<'_>) -> Result<()> {
    if !request.is(group::CORE, "shards") || !request.subresource.is_empty() {
        return Ok(());
    }
    let base = text(request.new_object(), &["spec", "baseURL"]).to_owned();
    let spec = request
        .object
        .as_deref_mut()
        .and_then(|o| o.get_mut("spec"));
    if let Some(spec) = spec
        .and_then(Value::as_object_mut)
        .filter(|_| !base.is_empty())
    {
        for name in ["externalURL", "virtualWorkspaceURL"] {
            let url = spec.entry(name).or_insert_with(|| Value::from(""));
            if url.as_str() == Some("") {
                *url = base.as_str().into();
            }
        }
    }
    Ok(())
}
