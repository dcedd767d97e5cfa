//! Updates of every form: PUT, the patches, server-side apply, of the object or a part of it.
//!
//! Start at [`change`]. A change is a function from what is stored to what shall be stored; it is
//! run again when somebody else was faster. A client that names a resourceVersion gets 409
//! instead, because the second run finds another version than the one it named. The invariant: a
//! change that changes nothing writes nothing, and the answer then carries the stored version
//! (CRU-34).

use hanse_cache::{CommitError, Object, Txn};
use hanse_json::{Value, get_array, set};
use hanse_kinds::{ResourceDef, Update};
use hanse_schema::field::{Error as FieldError, ErrorList, Path};
use hanse_schema::meta::dedup_owner_references;
use hanse_wire::status::{Result, Status};

use super::insert::Owners;
use super::prepare::{self, Part, Traits};
use super::{
    Writing, Written, admit, commit_error, fill_namespace, finish, first_version, live_tree,
    managed, meta_text, name_of, strip_cluster, validate,
};
use crate::convert;
use crate::info::Verb;
use crate::limits::WRITE_ATTEMPTS_MAX;

/// What a change makes of a stored object.
pub struct Made {
    /// The new state, in the requested version.
    pub object: Value,
    /// Whether its managedFields are up to date.
    pub owners: Owners,
}

/// What became of a change.
pub enum Changed {
    /// The object as it is now.
    To(Written),
    /// There is no such object.
    Missing,
}

/// Runs a change until it is stored, or refused.
///
/// # Errors
/// 400, 403, 409, 422 as they come from each step.
pub async fn change(
    w: &Writing<'_>,
    name: &str,
    make: impl Fn(&Value) -> Result<Made> + Send + Sync,
) -> Result<Changed> {
    let key = w.target.key(w.call, name)?;
    for _ in 0..WRITE_ATTEMPTS_MAX {
        let Some(live) = w.service.hub.get(&key).filter(|live| w.call.shows(live)) else {
            return Ok(Changed::Missing);
        };
        let tree = live_tree(w.target, &live);
        let made = make(&tree)?;
        let mut old = tree;
        strip_cluster(&mut old);
        match attempt(w, name, &live, &old, made).await? {
            Some(new) => return Ok(Changed::To(new)),
            None => tracing::debug!(%key, "lost a race, trying again"),
        }
    }
    Err(Status::modified(&w.target.group_resource(), name))
}

/// One try. `None` when somebody else was faster.
async fn attempt(
    w: &Writing<'_>,
    name: &str,
    live: &Object,
    old: &Value,
    made: Made,
) -> Result<Option<Written>> {
    let def = &w.target.def;
    let Made {
        object: mut new,
        owners,
    } = made;
    strip_cluster(&mut new);
    identify(w, &mut new, name)?;
    preconditions(w, &mut new, old, name)?;
    convert::default(def, &mut new);
    if owners == Owners::Untracked {
        managed::track(w, Some(old), &mut new);
    }
    if let Some(lens) = &w.call.lens {
        lens.fit(w.service, &live.key().cluster, def, &mut new, Some(old))?;
    }
    if let Some(text) = new.get_mut("metadata").and_then(dedup_owner_references) {
        w.call.warn(text);
    }
    admit::update(w, &mut new, old)?;
    prepare_update(w, &mut new, old);
    let cluster = &live.key().cluster;
    // Without a change nothing is written, unless what lies there is in an older form.
    if hanse_apply::managed::same_but_times(&new, old)
        && (w.options.is_dry_run() || !w.service.hub.is_stale(live.key()).await)
    {
        return Ok(Some(Written::Stored(live.clone())));
    }
    judge(w, &mut new, old)?;
    let document = w.document(&new)?;
    let gone = prepare::is_released(&new) && !is_held_by_spec(def, &new);
    if w.options.is_dry_run() {
        let dry = finish(new, Some(live.resource_version()), cluster);
        return Ok(Some(Written::Tree(dry)));
    }
    let txn = match gone {
        true => Txn::default().delete(live),
        false => Txn::default().update(live, document),
    };
    let commit = w.service.hub.commit(txn);
    match w.service.timed("update", commit).await {
        Ok(mut committed) => {
            let stored = committed.objects.pop().flatten();
            Ok(Some(stored.map_or_else(
                || Written::Tree(finish(new, first_version(&committed), cluster)),
                Written::Stored,
            )))
        }
        Err(CommitError::Conflict { .. }) => Ok(None),
        Err(error) => Err(commit_error(&error)),
    }
}

/// The name and namespace of the path; the object may leave out the second.
fn identify(w: &Writing<'_>, new: &mut Value, name: &str) -> Result<()> {
    check_name(new, name)?;
    fill_namespace(new, w.call, w.target)
}

/// 400 for an object that does not say what it is called.
#[must_use]
pub fn nameless(name: &str) -> Box<Status> {
    Status::bad_request(format!(
        "the name of the object ({name} based on URL) was undeterminable: name must be provided"
    ))
}

/// An updated object names itself, as the path does.
///
/// # Errors
/// 400.
pub fn check_name(object: &Value, name: &str) -> Result<()> {
    match name_of(object) {
        "" => Err(nameless(name)),
        given if given != name => Err(Status::bad_request(format!(
            "the name of the object ({given}) does not match the name on the URL ({name})"
        ))),
        _ => Ok(()),
    }
}

/// uid and resourceVersion in the new state are conditions on the stored one.
fn preconditions(w: &Writing<'_>, new: &mut Value, old: &Value, name: &str) -> Result<()> {
    let resource = w.target.group_resource();
    let current = meta_text(old, "uid").unwrap_or_default();
    // A patch that changes it changes an immutable field.
    let is_patch = w.call.info.verb == Verb::Patch;
    if let Some(uid) = meta_text(new, "uid").filter(|uid| !is_patch && *uid != current) {
        let why = format!(
            "Precondition failed: UID in precondition: {uid}, UID in object meta: {current}"
        );
        return Err(Status::conflict(&resource, name, &why));
    }
    let current = meta_text(old, "resourceVersion").unwrap_or_default();
    match meta_text(new, "resourceVersion") {
        Some(version) if version == current => Ok(()),
        Some(version) if version.parse::<u64>().is_err() => Err(Status::plain(format!(
            "strconv.ParseUint: parsing {version:?}: invalid syntax"
        ))),
        Some(_) => Err(Status::modified(&resource, name)),
        None if w.target.def.flags.unconditional_update => {
            set(new, &["metadata", "resourceVersion"], current.into());
            Ok(())
        }
        None => {
            let path = Path::new("metadata").child("resourceVersion");
            let error = FieldError::invalid(&path, 0i64, "must be specified for an update");
            // The store says it, and knows resources only.
            let errors = ErrorList(vec![error]);
            Err(Status::invalid(
                &resource.resource,
                &resource.group,
                name,
                &errors,
            ))
        }
    }
}

/// What the write may not change goes back to what is stored.
fn prepare_update(w: &Writing<'_>, new: &mut Value, old: &Value) {
    let def = &w.target.def;
    let subresource = w.call.info.subresource;
    let part = if subresource == "status" {
        Part::Status
    } else {
        Part::Main
    };
    prepare::for_update(new, old, part, Traits::of(def));
    (def.hooks.prepare_update)(new, Update { old, subresource });
    prepare::bump_generation(new, old, def);
}

fn judge(w: &Writing<'_>, new: &mut Value, old: &Value) -> Result<()> {
    let def = &w.target.def;
    let warn = &mut |text| w.call.warn(text);
    let errors = validate::changed_object(def, new, old, w.call.info.subresource, warn);
    if !errors.is_empty() {
        return Err(w.invalid(name_of(new), &errors));
    }
    (def.hooks.warnings)(new, Some(old))
        .into_iter()
        .for_each(|text| w.call.warn(text));
    admit::validate_update(w, new, old)
}

/// Namespaces are held by finalizers of their own besides those of metadata (NS-03).
#[must_use]
pub fn is_held_by_spec(def: &ResourceDef, object: &Value) -> bool {
    is_namespace(def) && !get_array(object, &["spec", "finalizers"]).is_empty()
}

/// Whether the kind is the core Namespace.
#[must_use]
pub fn is_namespace(def: &ResourceDef) -> bool {
    def.group.is_empty() && def.plural == "namespaces"
}
