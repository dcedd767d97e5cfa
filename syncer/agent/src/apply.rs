//! One object brought below: namespace, ownership, server-side apply without force, conflicts.
//!
//! Start at [`reconcile`]. Invariant: an object is written only when its intent is new or
//! something of ours was seen to be gone or changed; a conflict holds back only its own fields.

use std::sync::Arc;
use std::time::Duration;

use hanse_apis::sites::{ApplyError, ManifestSpec, names};
use hanse_client::Error;
use hanse_projection::dress;
use hanse_projection::names::{
    Ownership, locator_line, namespace_defaults, namespace_locator_line, namespace_object,
    ownership,
};
use hanse_projection::owned::{self, Conflict};
use hanse_reconcile::Outcome;
use serde_json::Value;

use crate::agent::Shared;
use crate::below::{self, hex, namespaces};
use crate::failure::{self, explain};
use crate::guard::{self, Verdict};
use crate::limits::{
    CONFLICT_ROUNDS, FIGHT_PAUSE, FIGHT_REPAIRS, FIGHT_WINDOW, ORDER_LOOK, REMOVE_LOOK,
};
use crate::table::Entry;
use crate::{remove, token};

/// What an attempt came to.
enum Attempt {
    /// The object stands; others hold these fields.
    Stands {
        live: Value,
        held: Vec<Conflict>,
        was_gone: bool,
    },
    /// Somebody is deleting it below; it is made again when it is gone.
    Going,
    /// It cannot be applied.
    Failed(ApplyError),
}

/// Brings one object to where it shall be, when what comes before it has been tried.
pub async fn reconcile(shared: Arc<Shared>, name: Arc<str>) -> Outcome {
    let Some(entry) = shared.table.lock().get(&name).cloned() else {
        return Outcome::Done;
    };
    if entry.standing.removing {
        return match guard::verdict(&shared, &name) {
            Verdict::Go => remove::run(&shared, &name, &entry).await,
            Verdict::Later(wait) => Outcome::Again(wait),
            Verdict::Parked => {
                hold(&shared, &name);
                Outcome::Done
            }
        };
    }
    // Those it waits for wake it; the pause is only a net under that.
    if shared.table.lock().waits(&name) {
        return Outcome::Again(ORDER_LOOK);
    }
    let outcome = turn(&shared, &name, entry).await;
    let next = shared.table.lock().tried(&name);
    next.into_iter().for_each(|name| shared.work.add(name));
    outcome
}

async fn turn(shared: &Arc<Shared>, name: &Arc<str>, entry: Entry) -> Outcome {
    let standing = &entry.standing;
    let stands = standing.applied_hash == standing.hash;
    let failed = standing
        .error
        .as_ref()
        .is_some_and(|e| e.reason != "Conflict");
    if stands && !entry.dirty && !failed {
        return Outcome::Done;
    }
    let now = shared.seams.clock.monotonic();
    if let Some(truce) = entry.truce.filter(|t| *t > now) {
        return Outcome::Again(truce - now);
    }
    let intent = match shared.journal.intent(name) {
        Ok(Some(bytes)) => serde_json::from_slice::<ManifestSpec>(&bytes).ok(),
        Ok(None) => None,
        Err(error) => {
            tracing::error!(%name, %error, "an intent cannot be read");
            return Outcome::Retry;
        }
    };
    let Some(spec) = intent else {
        return Outcome::Done;
    };
    let attempt = attempt(shared, name, &entry, &spec).await;
    settle(shared, name, &entry, &spec, attempt)
}

async fn attempt(shared: &Shared, name: &str, entry: &Entry, spec: &ManifestSpec) -> Attempt {
    let kind = entry.standing.place.resource().to_string();
    match steps(shared, name, entry, spec).await {
        Ok(attempt) => attempt,
        Err(error) => Attempt::Failed(explain(&error, &kind)),
    }
}

async fn steps(
    shared: &Shared,
    name: &str,
    entry: &Entry,
    spec: &ManifestSpec,
) -> Result<Attempt, Error> {
    if let Some(refused) = ensure_namespace(shared, spec).await? {
        return Ok(Attempt::Failed(refused));
    }
    if let Err(refused) = token::ensure(shared, name, spec).await {
        return Ok(Attempt::Failed(*refused));
    }
    let place = &entry.standing.place;
    let mut was_gone = false;
    if entry.dirty || entry.standing.applied_hash.is_empty() {
        let live = shared
            .site
            .get(&place.resource(), &place.namespace, &place.name)
            .await;
        match live {
            Ok(live) => {
                if live["metadata"].get("deletionTimestamp").is_some() {
                    return Ok(Attempt::Going);
                }
                if let Some(refused) = disputed_name(shared, entry, spec, &live) {
                    return Ok(Attempt::Failed(refused));
                }
            }
            Err(error) if is_absent(&error) => was_gone = true,
            Err(error) => return Err(error),
        }
    }
    match rounds(shared, entry, spec).await {
        Err(error) if is_absent(&error) => {
            // The namespace went between the look and the apply; the next turn makes it again.
            shared.namespaces.lock().remove(&spec.target.namespace);
            Err(error)
        }
        Ok((live, held)) => Ok(Attempt::Stands {
            live,
            held,
            was_gone,
        }),
        Err(error) => Err(error),
    }
}

/// A 404 for an object or its namespace, not for its kind.
pub fn is_absent(error: &Error) -> bool {
    error.is_not_found()
        && error
            .refusal()
            .is_some_and(|r| !failure::is_missing_kind(&r.message))
}

fn disputed_name(
    shared: &Shared,
    entry: &Entry,
    spec: &ManifestSpec,
    live: &Value,
) -> Option<ApplyError> {
    let line = locator_line(&spec.source);
    let message = match ownership(live, &shared.inbox, &spec.target.locator, &line) {
        Ownership::Ours => return None,
        Ownership::Foreign if spec.adopt || is_known(entry, live) => return None,
        Ownership::Foreign => "an object of this name exists at the site and is not ours".into(),
        Ownership::Another(whose) => format!("the object at the site belongs to {whose}"),
    };
    Some(ApplyError {
        reason: "NotOurs".into(),
        message,
        ..ApplyError::default()
    })
}

/// Whether a live object is the very one that we made, though it lost every mark.
pub fn is_known(entry: &Entry, live: &Value) -> bool {
    let uid = &entry.standing.live_uid;
    !uid.is_empty() && live["metadata"]["uid"] == **uid
}

/// Applies, and again without the fields that others hold; forced only when every field that is
/// left in dispute may be taken.
async fn rounds(
    shared: &Shared,
    entry: &Entry,
    spec: &ManifestSpec,
) -> Result<(Value, Vec<Conflict>), Error> {
    let resource = entry.standing.place.resource();
    let mut held: Vec<Conflict> = Vec::new();
    let intent = dress(&spec.object, &spec.source, &spec.target, &shared.inbox);
    let mut body = intent.clone();
    let mut force = false;
    for _ in 0..CONFLICT_ROUNDS {
        let error = match shared
            .site
            .apply(&resource, &body, names::FIELD_MANAGER, force)
            .await
        {
            Ok(live) => return Ok((live, held)),
            Err(error) => error,
        };
        let status = error
            .refusal()
            .map(hanse_client::Refusal::status)
            .unwrap_or_default();
        let found = owned::conflicts(&status);
        if !error.is_conflict() || found.is_empty() {
            return Err(error);
        }
        let (ours, theirs): (Vec<Conflict>, Vec<Conflict>) = found
            .into_iter()
            .partition(|c| spec.force.contains(&c.field));
        if theirs.is_empty() {
            force = !ours.is_empty();
            continue;
        }
        held.extend(theirs);
        held.sort();
        held.dedup();
        match owned::without(&intent, &held) {
            Some(rest) => body = rest,
            None => return Err(error),
        }
    }
    Err(Error::Unreachable("conflicts kept changing".into()))
}

/// Makes sure that the object's namespace stands with its marks; an explanation when it cannot.
async fn ensure_namespace(
    shared: &Shared,
    spec: &ManifestSpec,
) -> Result<Option<ApplyError>, Error> {
    let target = &spec.target;
    // A namespace without a locator is the site's own, which a rule of its operator names.
    if target.namespace_locator.is_empty() || shared.namespaces.lock().contains(&target.namespace) {
        return Ok(None);
    }
    let line = namespace_locator_line(&spec.source, target);
    let found = shared
        .site
        .find(&namespaces(), "", &target.namespace)
        .await?;
    if found.is_none() {
        // Once, under a name of its own: from then on it is the site's.
        let defaults = namespace_defaults(target);
        shared
            .site
            .apply(&namespaces(), &defaults, names::DEFAULTS_MANAGER, false)
            .await?;
    }
    if let Some(live) = found {
        if live["metadata"].get("deletionTimestamp").is_some() {
            return Err(Error::Unreachable(
                "the namespace is still being deleted".into(),
            ));
        }
        if ownership(&live, &shared.inbox, &target.namespace_locator, &line) != Ownership::Ours {
            let message = format!("namespace {} at the site is not ours", target.namespace);
            let reason = "NotOurs".to_owned();
            return Ok(Some(ApplyError {
                reason,
                message,
                ..ApplyError::default()
            }));
        }
    }
    let object = namespace_object(&spec.source, target, &shared.inbox);
    shared
        .site
        .apply(&namespaces(), &object, names::FIELD_MANAGER, false)
        .await?;
    shared.namespaces.lock().insert(target.namespace.clone());
    Ok(None)
}

fn settle(
    shared: &Arc<Shared>,
    name: &Arc<str>,
    before: &Entry,
    spec: &ManifestSpec,
    attempt: Attempt,
) -> Outcome {
    match attempt {
        Attempt::Going => Outcome::Again(REMOVE_LOOK),
        Attempt::Failed(error) => {
            let pause = shared.work.retry(Arc::clone(name));
            fail(shared, name, error, pause);
            Outcome::Planned
        }
        Attempt::Stands {
            live,
            held,
            was_gone,
        } => {
            let fight = stood(shared, name, before, spec, (&live, &held, was_gone));
            below::note_status(shared, name, &live);
            shared.remember(name);
            if !spec.upsync.is_empty() {
                shared.beside.add(Arc::clone(name));
            }
            if spec.access.is_given() {
                shared.renewals.add(Arc::clone(name));
            }
            shared.reports.add(Arc::clone(name));
            if fight {
                Outcome::Again(FIGHT_PAUSE)
            } else {
                Outcome::Done
            }
        }
    }
}

/// Books an apply that succeeded; answers whether it was one of a fight.
fn stood(
    shared: &Shared,
    name: &str,
    before: &Entry,
    spec: &ManifestSpec,
    (live, held, was_gone): (&Value, &[Conflict], bool),
) -> bool {
    let now = shared.seams.clock.monotonic();
    let disputed: Vec<String> = held.iter().map(|c| c.field.clone()).collect();
    let digest = hex(&owned::digest(live, names::FIELD_MANAGER, &disputed));
    let mut table = shared.table.lock();
    let Some(entry) = table.get_mut(name) else {
        return false;
    };
    // Undone and made again: the same intent, and what was ours is as it was.
    let repair = before.dirty
        && before.standing.applied_hash == spec.hash
        && (was_gone || digest == before.standing.digest);
    if repair {
        entry.repairs.push_back(now);
        while entry
            .repairs
            .front()
            .is_some_and(|at| *at + FIGHT_WINDOW < now)
        {
            entry.repairs.pop_front();
        }
    }
    let fight = entry.repairs.len() >= FIGHT_REPAIRS;
    entry.dirty = false;
    entry.applied_at = now;
    let standing = &mut entry.standing;
    standing.applied_hash = spec.hash.clone();
    standing.applied_generation = spec.source.generation;
    standing.live_uid = live["metadata"]["uid"]
        .as_str()
        .unwrap_or_default()
        .to_owned();
    standing.digest = digest;
    standing.disputed = disputed;
    let error = match (fight, held.first()) {
        (true, _) => Some(ApplyError {
            reason: "Fight".into(),
            message: format!("undone {FIGHT_REPAIRS} times in a short while; given up for now"),
            next_try: shared.after(FIGHT_PAUSE),
            ..ApplyError::default()
        }),
        (false, Some(first)) => Some(ApplyError {
            reason: "Conflict".into(),
            message: said(held),
            fields: held.iter().map(|c| c.field.clone()).collect(),
            manager: first.manager.clone(),
            ..ApplyError::default()
        }),
        (false, None) => None,
    };
    standing.error = dated(shared, standing.error.take(), error);
    if fight {
        entry.truce = Some(now + FIGHT_PAUSE);
        entry.repairs.clear();
    }
    fight
}

fn said(held: &[Conflict]) -> String {
    let parts: Vec<String> = held
        .iter()
        .map(|c| format!("{} is held by {:?}", c.field, c.manager))
        .collect();
    failure::short(&parts.join("; "))
}

/// Books that an object's removal waits for the operator.
fn hold(shared: &Shared, name: &Arc<str>) {
    if let Some(entry) = shared.table.lock().get_mut(name) {
        let old = entry.standing.error.take();
        entry.standing.error = dated(shared, old, Some(guard::held()));
    }
    shared.remember(name);
    shared.reports.add(Arc::clone(name));
}

/// Books a failure, with the time of the next try.
pub fn fail(shared: &Shared, name: &Arc<str>, error: ApplyError, pause: Duration) {
    let error = ApplyError {
        next_try: shared.after(pause),
        ..error
    };
    if let Some(entry) = shared.table.lock().get_mut(name) {
        let old = entry.standing.error.take();
        entry.standing.error = dated(shared, old, Some(error));
    }
    shared.remember(name);
    shared.reports.add(Arc::clone(name));
}

/// The same error keeps the time since when it is so.
fn dated(
    shared: &Shared,
    old: Option<Box<ApplyError>>,
    new: Option<ApplyError>,
) -> Option<Box<ApplyError>> {
    let mut new = Box::new(new?);
    new.since = match old {
        Some(old) if old.reason == new.reason && old.message == new.message => old.since,
        _ => shared.now(),
    };
    Some(new)
}
