//! A mass change is parked and asks (rule 6).
//!
//! Whatever takes objects away (a selector that was changed in error, a reconnect to the wrong
//! hub) arrives here as removals. Start at [`verdict`], which every removal asks before it begins.
//! Removals that come close together are judged together, once no more of them come; when they are
//! too many of what is here, none of them begins until the operator says so, and how many of what
//! they are is told on the Lease. Invariant: a removal that has been let through is never held
//! again. Deliberately elsewhere: what the operator sets and sees (the Site, by the hub).

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use hanse_apis::sites::{ApplyError, MassChange, names};
use hanse_projection::mass;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::agent::Shared;
use crate::journal::{Change, JournalError};
use crate::limits::GUARD_SETTLE;
use crate::table::{Entry, Table};

/// What stands between a removal and its beginning.
#[derive(Default)]
pub struct Guard {
    /// What the operator has set, as the Lease says it.
    settings: MassChange,
    /// When the last removal was told (monotonic).
    told: Duration,
    /// Whether something was told since the last judgement.
    open: bool,
    /// When removals ended lately (monotonic).
    ended: VecDeque<Duration>,
    /// Removals that may go on.
    allowed: BTreeSet<Arc<str>>,
    /// Those of them that the operator has confirmed: they count for nothing that comes later.
    confirmed: BTreeSet<Arc<str>>,
    /// What is held, if anything.
    parked: Option<Parked>,
}

/// What a restart keeps: without it, it would not know what it has to ask about.
#[derive(Default, Serialize, Deserialize)]
struct Kept {
    settings: MassChange,
    parked: Option<Parked>,
}

/// Removals that wait for the operator.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Parked {
    /// Since when, as objects write it; the operator's word names it.
    pub since: String,
    /// How many of what.
    pub what: String,
}

/// What a removal may do.
#[derive(Debug, PartialEq, Eq)]
pub enum Verdict {
    /// Begin.
    Go,
    /// Ask again after this: more of them may be coming.
    Later(Duration),
    /// Wait until it is woken.
    Parked,
}

/// Takes up what the journal remembers.
///
/// # Errors
/// When it cannot be read.
pub fn recall(shared: &Shared) -> Result<(), JournalError> {
    let kept = shared.journal.guard()?;
    let kept: Kept = serde_json::from_slice(&kept).unwrap_or_default();
    let mut guard = shared.guard.lock();
    guard.settings = kept.settings;
    guard.parked = kept.parked;
    Ok(())
}

fn keep(shared: &Shared) {
    let kept = {
        let guard = shared.guard.lock();
        Kept {
            settings: guard.settings.clone(),
            parked: guard.parked.clone(),
        }
    };
    let Ok(bytes) = serde_json::to_vec(&kept) else {
        return;
    };
    if let Err(error) = shared.journal.write(&[Change::Guard(&bytes)], true) {
        tracing::warn!(%error, "what the guard knows is not kept");
    }
}

/// News from the inbox were taken in.
pub fn told(shared: &Shared, removals: bool) {
    let mut guard = shared.guard.lock();
    guard.open = true;
    if removals {
        guard.told = shared.seams.clock.monotonic();
    }
    let held = guard.parked.is_some();
    drop(guard);
    // Nobody else would ask while all of them wait.
    if held {
        judge(shared);
    }
}

/// Whether a removal may begin.
pub fn verdict(shared: &Shared, name: &str) -> Verdict {
    let stands = shared.table.lock().get(name).is_some_and(stands);
    if !stands {
        return Verdict::Go;
    }
    let (open, wait) = {
        let guard = shared.guard.lock();
        if guard.allowed.contains(name) {
            return Verdict::Go;
        }
        let now = shared.seams.clock.monotonic();
        (guard.open, (guard.told + GUARD_SETTLE).saturating_sub(now))
    };
    if open {
        if !wait.is_zero() {
            return Verdict::Later(wait);
        }
        judge(shared);
    }
    match shared.guard.lock().allowed.contains(name) {
        true => Verdict::Go,
        false => Verdict::Parked,
    }
}

/// Whether a removal has been let through.
pub fn may_go(shared: &Shared, name: &str) -> bool {
    shared.guard.lock().allowed.contains(name)
}

/// What a held removal tells the tenant: not how much of others is at the site.
pub fn held() -> ApplyError {
    ApplyError {
        reason: "Parked".into(),
        message: "held back: a large share of what is at this site is to go at once, and the \
                  site's operator is asked first"
            .into(),
        ..ApplyError::default()
    }
}

/// A removal is over.
pub fn ended(shared: &Shared, name: &str) {
    let mut guard = shared.guard.lock();
    // What was never below has nothing to count.
    let confirmed = guard.confirmed.remove(name);
    if guard.allowed.remove(name) && !confirmed {
        guard.ended.push_back(shared.seams.clock.monotonic());
    }
}

/// What is held now.
pub fn parked(shared: &Shared) -> Option<Parked> {
    shared.guard.lock().parked.clone()
}

/// Takes in what the hub has written on the Lease: the operator's settings and word.
pub fn heard(shared: &Shared, lease: &Value) {
    let text = lease["metadata"]["annotations"][names::MASS_CHANGE_ANNOTATION].as_str();
    let settings: MassChange = text
        .and_then(|text| serde_json::from_str(text).ok())
        .unwrap_or_default();
    let confirmed = {
        let mut guard = shared.guard.lock();
        if guard.settings == settings {
            return;
        }
        guard.open = true;
        guard.settings = settings;
        let said = &guard.settings.confirmed;
        guard.parked.as_ref().is_some_and(|p| p.since == *said)
    };
    if confirmed {
        let all = removals(&shared.table.lock());
        let mut guard = shared.guard.lock();
        tracing::info!(
            removals = all.len(),
            "the operator has confirmed a mass change"
        );
        guard.allowed.extend(all.iter().cloned());
        guard.confirmed.extend(all.iter().cloned());
        guard.ended.clear();
        guard.parked = None;
        drop(guard);
        all.into_iter().for_each(|name| shared.work.add(name));
        shared.beat.notify_one();
    } else {
        judge(shared);
    }
    keep(shared);
}

/// Whether something of ours is below: only that can be lost.
fn stands(entry: &Entry) -> bool {
    !entry.standing.applied_hash.is_empty()
}

fn goes(entry: &Entry) -> bool {
    entry.standing.removing && stands(entry)
}

fn removals(table: &Table) -> Vec<Arc<str>> {
    let removing = table.iter().filter(|(_, e)| goes(e));
    removing.map(|(name, _)| Arc::clone(name)).collect()
}

/// Judges all removals that wait: they go on, or are parked.
fn judge(shared: &Shared) {
    let before = parked(shared);
    let woken = {
        let table = shared.table.lock();
        let mut guard = shared.guard.lock();
        let guard = &mut *guard;
        guard.open = false;
        let now = shared.seams.clock.monotonic();
        let window = Duration::from_secs(u64::try_from(guard.settings.window()).unwrap_or(0));
        while guard.ended.front().is_some_and(|at| *at + window < now) {
            guard.ended.pop_front();
        }
        let mut waiting: Vec<Arc<str>> = Vec::new();
        let mut kinds: BTreeMap<String, usize> = BTreeMap::new();
        for (name, entry) in table.iter().filter(|(_, e)| goes(e)) {
            if !guard.allowed.contains(name) {
                waiting.push(Arc::clone(name));
                let kind = entry.standing.place.resource().to_string();
                *kinds.entry(kind).or_default() += 1;
            }
        }
        let under_way =
            guard.allowed.len().saturating_sub(guard.confirmed.len()) + guard.ended.len();
        let here = table.iter().filter(|(_, e)| stands(e)).count();
        let total = here + guard.ended.len();
        let going = waiting.len() + under_way;
        // What was parked stays so until it comes back or the operator lets it go: while a mistake
        // is being put right, the last of it are only few.
        let parks = guard.parked.is_some() || mass::is_mass(&guard.settings, going, total);
        if waiting.is_empty() || !parks {
            guard.parked = None;
            guard.allowed.extend(waiting.iter().cloned());
            waiting
        } else {
            let what = mass::says(&kinds, waiting.len(), total);
            let since = guard.parked.take().map(|p| p.since);
            let since = since.unwrap_or_else(|| shared.now());
            tracing::warn!(what, "a mass change is parked");
            guard.parked = Some(Parked { since, what });
            Vec::new()
        }
    };
    woken.into_iter().for_each(|name| shared.work.add(name));
    if parked(shared) != before {
        keep(shared);
        shared.beat.notify_one();
    }
}
