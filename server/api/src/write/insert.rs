//! Creation: from a decoded object to a stored one.
//!
//! Start at [`insert`]. Names are made here when the client asked for that, with as many tries as
//! Kubernetes has; the invariant is that a creation never overwrites: the commit's precondition is
//! that the name is free.

use hanse_cache::{ClusterName, CommitError, Expect, Write};
use hanse_json::{Value, set};
use hanse_schema::meta::dedup_owner_references;
use hanse_wire::status::{Result, Status};

use super::prepare::{self, Traits};
use super::{
    Writing, Written, admit, commit_error, fill_namespace, finish, managed, meta_text, name_of,
    strip_cluster, validate,
};
use crate::convert;
use crate::limits::{
    GENERATE_NAME_ATTEMPTS_MAX, GENERATE_NAME_BASE_BYTES_MAX, GENERATE_NAME_SUFFIX_BYTES,
};

/// Letters of generated names: none that could form words, none that look alike.
const LETTERS: &[u8; 27] = b"bcdfghjklmnpqrstvwxz2456789";

/// Whether the fields of an object have their owners noted already.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Owners {
    /// No: everything in it is the writer's.
    Untracked,
    /// Yes, by server-side apply.
    Tracked,
}

/// Creates an object (or, for a dry run, does everything but).
///
/// # Errors
/// 400, 403, 409, 422 as they come from each step.
pub async fn insert(w: &Writing<'_>, mut object: Value, owners: Owners) -> Result<Written> {
    let def = &w.target.def;
    if meta_text(&object, "resourceVersion").is_some() {
        let why = "resourceVersion should not be set on objects to be created";
        return Err(Status::plain(why));
    }
    if def.terminating {
        let why = "create not allowed while custom resource definition is terminating";
        return Err(Status::forbidden(
            &w.target.group_resource(),
            name_of(&object),
            why,
        ));
    }
    fill_namespace(&mut object, w.call, w.target)?;
    strip_cluster(&mut object);
    convert::default(def, &mut object);
    if let Some(text) = object.get_mut("metadata").and_then(dedup_owner_references) {
        w.call.warn(text);
    }
    prepare::revive(&mut object);
    if owners == Owners::Untracked {
        managed::track(w, None, &mut object);
    }
    if let (Some(lens), Some(cluster)) = (&w.call.lens, &w.call.cluster) {
        lens.fit(w.service, cluster, def, &mut object, None)?;
    }
    admit::create(w, &mut object)?;
    prepare::for_create(
        &mut object,
        Traits::of(def),
        &w.service.seams.rng.uuid_v4(),
        &w.now,
    );
    (def.hooks.prepare_create)(&mut object);
    let base = match meta_text(&object, "name") {
        Some(_) => None,
        None => meta_text(&object, "generateName").map(str::to_owned),
    };
    let attempts = if base.is_some() {
        GENERATE_NAME_ATTEMPTS_MAX
    } else {
        1
    };
    for attempt in 1..=attempts {
        if let Some(base) = &base {
            set(
                &mut object,
                &["metadata", "name"],
                generate_name(w, base).into(),
            );
            // Some defaults depend on the name.
            convert::default(def, &mut object);
        }
        if attempt == 1 {
            judge(w, &mut object)?;
        }
        let candidate = match base {
            Some(_) => object.clone(),
            None => std::mem::take(&mut object),
        };
        match store(w, candidate).await {
            Err(status) if status.code == 409 && base.is_some() => {}
            stored => return stored,
        }
    }
    Err(Status::generate_name_conflict(
        &w.target.group_resource(),
        name_of(&object),
    ))
}

fn judge(w: &Writing<'_>, object: &mut Value) -> Result<()> {
    let def = &w.target.def;
    let warn = &mut |text| w.call.warn(text);
    let errors = validate::new_object(def, object, warn);
    if !errors.is_empty() {
        return Err(w.invalid(name_of(object), &errors));
    }
    (def.hooks.warnings)(object, None)
        .into_iter()
        .for_each(|text| w.call.warn(text));
    admit::validate_create(w, object)
}

/// One try at storing the object under its name.
async fn store(w: &Writing<'_>, mut object: Value) -> Result<Written> {
    let key = w.target.key(w.call, name_of(&object))?;
    let taken = || match w.service.hub.get(&key) {
        Some(other) if other.is_deleting() => {
            Status::already_exists_deleting(&w.target.group_resource(), &key.name)
        }
        _ => Status::already_exists(&w.target.group_resource(), &key.name),
    };
    if w.service.hub.get(&key).is_some() {
        return Err(taken());
    }
    if w.options.is_dry_run() {
        return Ok(Written::Tree(finish(object, None, &key.cluster)));
    }
    // What an object brings along stands before it: it shows itself last.
    let mut writes = companions(w, &key.cluster, &mut object);
    let put = Some(w.document(&object)?);
    writes.push(Write {
        key: key.clone(),
        expect: Expect::Absent,
        put,
    });
    let commit = w.service.tenancy.commit(writes);
    match w.service.timed("create", commit).await {
        Ok(committed) => {
            let last = committed.and_then(|mut committed| committed.objects.pop().flatten());
            let Some(stored) = last else {
                return Ok(Written::Tree(finish(object, None, &key.cluster)));
            };
            let born = match bears(w) {
                true => w.service.tenancy.born(&stored).await,
                false => None,
            };
            Ok(Written::Stored(born.unwrap_or(stored)))
        }
        Err(CommitError::Conflict { .. }) => Err(taken()),
        Err(error) => Err(commit_error(&error)),
    }
}

/// Other objects that belong into the commit of a new one: all that a workspace is born with.
fn companions(w: &Writing<'_>, cluster: &ClusterName, object: &mut Value) -> Vec<Write> {
    match bears(w) {
        true => w.service.tenancy.on_create_workspace(cluster, object),
        false => Vec::new(),
    }
}

/// Whether a logical cluster comes with the object.
fn bears(w: &Writing<'_>) -> bool {
    let def = &w.target.def;
    def.group == "tenancy.kcp.io" && def.plural == "workspaces"
}

fn generate_name(w: &Writing<'_>, base: &str) -> String {
    let mut cut = base.len().min(GENERATE_NAME_BASE_BYTES_MAX);
    while !base.is_char_boundary(cut) {
        cut -= 1;
    }
    let mut name = base[..cut].to_owned();
    for _ in 0..GENERATE_NAME_SUFFIX_BYTES {
        let letter = w.service.seams.rng.below(LETTERS.len() as u64);
        name.push(char::from(LETTERS[usize::try_from(letter).unwrap_or(0)]));
    }
    name
}
