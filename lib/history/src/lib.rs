//! Judges what clients of one server saw: is there one order of commits that explains it all?
//!
//! Every write bears a value of its own, every answer bears a version, and versions are numbers
//! of one log. So the order need not be searched for: whoever saw everything (a wildcard watch, or
//! the store) tells it, and every request must have a place in it. Start at [`History::check`],
//! which demands
//!
//! - of the log: growing versions, each event fitting to the state before it, each made by one
//!   request whose preconditions held at its place, none by a request that was refused;
//! - of the requests: what was acknowledged is in the log; and there is an assignment of places
//!   that no two requests contradict which did not overlap in time (linearizability);
//! - of every watch: exactly the log's events of its scope and selectors between where it began
//!   and how far it says it came, in order, once, with what a selector gains told as added and
//!   what it loses as deleted; and that it began with exactly what stood there.
//!
//! The invariant: a request without an answer may have happened or not, but not by halves and not
//! after its end. What the requests are is decided elsewhere, in the tests: of processes that are
//! killed, of the simulator.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};

/// A logical cluster's id and an object's name.
pub type Key = (String, String);

/// What stands under a key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct State {
    /// The version that wrote it.
    pub version: u64,
    /// The value, which is its write's own number.
    pub value: u64,
}

/// What was asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Act {
    /// A new object; refused where one stands.
    Create,
    /// With the version that must be there, or with none.
    Update(Option<u64>),
    /// With the version that must be there.
    Delete(u64),
    /// One object as it is now.
    Get,
    /// All objects of the key's cluster.
    List,
}

/// What was answered.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// Nothing, or that it is not known: the write may have happened.
    Unknown,
    /// It was written with this version.
    Written(u64),
    /// It is gone, by this request.
    Deleted,
    /// It is there as read, or (for a write) was there and therefore refused.
    Found(State),
    /// Refused: the key has a value.
    Exists,
    /// Refused: the key's version is another one than was asked for.
    Conflict,
    /// There is nothing under the key.
    Absent,
    /// A list at this version.
    Listed(u64, BTreeMap<Key, State>),
}

/// One request. Its place in [`History::ops`] plus [`History::first_value`] is its value.
#[derive(Clone, Debug)]
pub struct Op {
    /// Of which object.
    pub key: Key,
    /// What was asked for.
    pub act: Act,
    /// When it was asked.
    pub start: Duration,
    /// When the answer was there; for an unknown outcome, when nothing can happen any more.
    pub end: Duration,
    /// What was answered.
    pub outcome: Outcome,
}

/// What happened to an object, as a watch tells it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// It is new, or new to the selector.
    Added,
    /// It has another value.
    Modified,
    /// It is gone, or gone from the selector.
    Deleted,
}

/// One event of a watch.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Event {
    /// What happened.
    pub kind: Kind,
    /// To which object.
    pub key: Key,
    /// The version, and for a deletion the last value at the deletion's version.
    pub state: State,
}

/// What a watch looks at.
#[derive(Clone, Debug, Default)]
pub struct View {
    /// One logical cluster only.
    pub cluster: Option<String>,
    /// One name only, as the field selector `metadata.name` has it.
    pub name: Option<String>,
    /// Only objects whose value leaves this rest: `(divisor, rest)`, as a label or field tells it.
    pub rest: Option<(u64, u64)>,
}

impl View {
    /// Whether a value under a key is selected.
    #[must_use]
    pub fn selects(&self, key: &Key, value: u64) -> bool {
        let is = |wanted: &Option<String>, name: &String| wanted.as_ref().is_none_or(|w| w == name);
        is(&self.cluster, &key.0)
            && is(&self.name, &key.1)
            && self.rest.is_none_or(|(by, rest)| value % by.max(1) == rest)
    }
}

/// What one watch told, over as many connections as it took.
#[derive(Clone, Debug, Default)]
pub struct Watch {
    /// What it looks at.
    pub view: View,
    /// The version after which it began.
    pub after: u64,
    /// What it began with, where it began with a list or with initial events.
    pub listed: Option<BTreeMap<Key, State>>,
    /// How far it came: the version of its last event or bookmark.
    pub until: u64,
    /// What it told, in its order.
    pub events: Vec<Event>,
}

/// Everything between two moments.
#[derive(Debug, Default)]
pub struct History {
    /// What was there before, by a list at `version`.
    pub before: BTreeMap<Key, State>,
    /// The version after which this history begins.
    pub version: u64,
    /// The value of the first request.
    pub first_value: u64,
    /// All requests.
    pub ops: Vec<Op>,
    /// Everything that happened, as whoever saw all of it tells it.
    pub log: Vec<Event>,
    /// What watches saw, none from before `version`.
    pub watches: Vec<Watch>,
}

/// What was judged.
#[derive(Clone, Copy, Debug, Default)]
pub struct Judged {
    /// Requests.
    pub requests: usize,
    /// Those that wrote.
    pub writes: usize,
    /// Writes that are there though nobody was told.
    pub unacknowledged: usize,
    /// Watches.
    pub watches: usize,
    /// Events that they told.
    pub events: usize,
}

impl std::ops::AddAssign for Judged {
    fn add_assign(&mut self, other: Self) {
        self.requests += other.requests;
        self.writes += other.writes;
        self.unacknowledged += other.unacknowledged;
        self.watches += other.watches;
        self.events += other.events;
    }
}

/// Every state that a key had: from this version on, this value or nothing.
type Timeline = BTreeMap<u64, Option<u64>>;

/// The log, and what follows from it.
struct Log<'h> {
    events: &'h [Event],
    timelines: BTreeMap<&'h Key, Timeline>,
    /// For each op the place of its event in the log.
    made: BTreeMap<usize, u64>,
}

const FOREVER: u64 = u64::MAX;

impl History {
    /// Judges all of it.
    ///
    /// # Errors
    /// What contradicts what.
    pub fn check(&self) -> Result<Judged> {
        let events = &self.log[..];
        let mut log = Log {
            events,
            timelines: self.timelines(events)?,
            made: BTreeMap::new(),
        };
        self.attribute(&mut log)?;
        self.order(&log)?;
        let mut judged = Judged {
            requests: self.ops.len(),
            writes: log.made.len(),
            ..Judged::default()
        };
        let unknown = |op: &&usize| self.ops[**op].outcome == Outcome::Unknown;
        judged.unacknowledged = log.made.keys().filter(unknown).count();
        for watch in &self.watches {
            self.watched(watch)?;
            judged.watches += 1;
            judged.events += watch.events.len();
        }
        Ok(judged)
    }

    /// Compares a watch with the log.
    fn watched(&self, watch: &Watch) -> Result<()> {
        let view = &watch.view;
        ensure!(
            watch.after >= self.version,
            "the watch of {view:?} begins at {}, before the history",
            watch.after
        );
        if let Some(listed) = &watch.listed {
            let stood = self.at(watch.after, view);
            ensure!(
                *listed == stood,
                "the watch of {view:?} begins with {listed:?}, the log has {stood:?}"
            );
        }
        let last = watch.events.last().map_or(0, |event| event.state.version);
        let until = watch.until.max(last);
        let mut wanted = self.projected(view);
        wanted.retain(|e| e.state.version > watch.after && e.state.version <= until);
        let seen = &watch.events;
        match (0..wanted.len().max(seen.len())).find(|i| wanted.get(*i) != seen.get(*i)) {
            Some(at) => bail!(
                "the watch of {view:?} tells {:?} as its event {at}; the log has {:?}",
                seen.get(at),
                wanted.get(at)
            ),
            None => Ok(()),
        }
    }

    /// What a view shows at a version.
    #[must_use]
    pub fn at(&self, version: u64, view: &View) -> BTreeMap<Key, State> {
        let mut state = self.before.clone();
        for event in self.log.iter().take_while(|e| e.state.version <= version) {
            match event.kind {
                Kind::Deleted => state.remove(&event.key),
                _ => state.insert(event.key.clone(), event.state),
            };
        }
        state.retain(|key, state| view.selects(key, state.value));
        state
    }

    /// What stands at the end of the log.
    #[must_use]
    pub fn after(&self) -> BTreeMap<Key, State> {
        self.at(FOREVER, &View::default())
    }

    /// The states of every key, from a log whose events fit to each other.
    fn timelines<'h>(&'h self, events: &'h [Event]) -> Result<BTreeMap<&'h Key, Timeline>> {
        let mut timelines: BTreeMap<&Key, Timeline> = BTreeMap::new();
        for (key, state) in &self.before {
            timelines.insert(key, [(state.version, Some(state.value))].into());
        }
        let mut last = self.version;
        for event in events {
            ensure!(
                event.state.version > last,
                "{event:?} came after version {last}"
            );
            last = event.state.version;
            let timeline = timelines.entry(&event.key).or_default();
            let before = timeline.last_key_value().and_then(|(_, value)| *value);
            let fits = match event.kind {
                Kind::Added => before.is_none(),
                Kind::Modified => before.is_some_and(|value| value != event.state.value),
                Kind::Deleted => before == Some(event.state.value),
            };
            ensure!(
                fits,
                "{event:?} does not follow {before:?}: an event is missing"
            );
            let value = (event.kind != Kind::Deleted).then_some(event.state.value);
            timeline.insert(last, value);
        }
        Ok(timelines)
    }

    /// Finds the request behind each event, and the event behind each acknowledged write.
    fn attribute(&self, log: &mut Log<'_>) -> Result<()> {
        let mut deletions: BTreeMap<(&Key, u64), Vec<usize>> = BTreeMap::new();
        for (index, op) in self.ops.iter().enumerate() {
            if let (Act::Delete(version), Outcome::Deleted | Outcome::Unknown) =
                (op.act, &op.outcome)
            {
                deletions.entry((&op.key, version)).or_default().push(index);
            }
        }
        for event in log.events {
            let before = log.timelines[&event.key].range(..event.state.version);
            let before = before.last().filter(|(_, value)| value.is_some());
            let before = before.map(|(version, _)| *version);
            let index = if event.kind == Kind::Deleted {
                let made_by = deletions.get(&(&event.key, before.unwrap_or(0)));
                let made_by = made_by.into_iter().flatten();
                // One that was acknowledged; else any without an answer can have been it.
                made_by
                    .copied()
                    .min_by_key(|i| (self.ops[*i].outcome == Outcome::Unknown, *i))
            } else {
                let index = event.state.value.checked_sub(self.first_value);
                index.and_then(|index| usize::try_from(index).ok())
            };
            let op = index.and_then(|index| self.ops.get(index));
            let (Some(index), Some(op)) = (index, op) else {
                bail!("nobody asked for {event:?}");
            };
            self.fits(op, event, before)
                .with_context(|| format!("{op:?}"))?;
            ensure!(
                log.made.insert(index, event.state.version).is_none(),
                "{op:?} happened twice"
            );
        }
        for (index, op) in self.ops.iter().enumerate() {
            let acknowledged = matches!(op.outcome, Outcome::Written(_) | Outcome::Deleted);
            ensure!(
                !acknowledged || log.made.contains_key(&index),
                "{op:?} is lost"
            );
        }
        Ok(())
    }

    /// Whether a request can have made an event, with what was there before.
    fn fits(&self, op: &Op, event: &Event, before: Option<u64>) -> Result<()> {
        ensure!(op.key == event.key, "made {event:?}");
        let allowed = match op.act {
            Act::Create => before.is_none(),
            Act::Update(expected) => before.is_some() && expected.is_none_or(|e| before == Some(e)),
            Act::Delete(expected) => before == Some(expected),
            Act::Get | Act::List => false,
        };
        ensure!(allowed, "made {event:?} where version {before:?} was");
        match (&op.outcome, event.kind) {
            (Outcome::Unknown, _) | (Outcome::Deleted, Kind::Deleted) => Ok(()),
            (Outcome::Written(version), _) if *version == event.state.version => Ok(()),
            _ => bail!("made {event:?}, which is not what was answered"),
        }
    }

    /// Gives every request the first place that is left to it, in the order of their beginnings.
    /// Only lower bounds are handed on, so the first place is always the best one.
    fn order(&self, log: &Log<'_>) -> Result<()> {
        let mut by_start: Vec<usize> = (0..self.ops.len()).collect();
        by_start.sort_by_key(|index| self.ops[*index].start);
        // Ends not yet passed, as a heap of (end, place, op); what has passed is the bound.
        let mut open = BTreeSet::new();
        let (mut bound, mut bounding) = (self.version, None);
        for index in by_start {
            let op = &self.ops[index];
            while let Some(first) = open.first().copied()
                && let (end, place, earlier) = first
                && end < op.start
            {
                open.remove(&first);
                if place > bound {
                    (bound, bounding) = (place, Some(earlier));
                }
            }
            let Some(place) = self.place(index, bound, log)? else {
                continue;
            };
            if let Some(place) = place {
                open.insert((op.end, place, index));
            } else {
                bail!(
                    "{op:?} has no place after {:?}, which ended before it began",
                    bounding.map(|earlier: usize| &self.ops[earlier])
                );
            }
        }
        Ok(())
    }

    /// The first place at or after the bound at which the answer is right; `Some(None)` when there
    /// is none, `None` when the request says nothing.
    fn place(&self, index: usize, bound: u64, log: &Log<'_>) -> Result<Option<Option<u64>>> {
        let op = &self.ops[index];
        if let Some(version) = log.made.get(&index) {
            // A place of its own: whoever ended before has seen something older.
            return Ok(Some((*version > bound).then_some(*version)));
        }
        let nothing = Timeline::new();
        let timeline = log.timelines.get(&op.key).unwrap_or(&nothing);
        let first = |wanted: &dyn Fn(u64, Option<u64>) -> bool| {
            stretches(timeline)
                .filter(|(from, _, value)| wanted(*from, *value))
                .find_map(|(from, to, _)| (bound < to).then_some(from.max(bound)))
        };
        Ok(match (&op.outcome, op.act) {
            (Outcome::Unknown, _) => None,
            (Outcome::Found(state), _) => Some(first(&|from, value| {
                from == state.version && value == Some(state.value)
            })),
            (Outcome::Absent, _) => Some(first(&|_, value| value.is_none())),
            (Outcome::Exists, Act::Create) => Some(first(&|_, value| value.is_some())),
            (Outcome::Conflict, Act::Update(Some(expected)) | Act::Delete(expected)) => {
                Some(first(&|from, value| value.is_some() && from != expected))
            }
            (Outcome::Listed(version, items), Act::List) => {
                let there = log.timelines.iter().filter_map(|(key, timeline)| {
                    let (from, value) = timeline.range(..=*version).next_back()?;
                    let state = State {
                        version: *from,
                        value: (*value)?,
                    };
                    (key.0 == op.key.0).then(|| ((*key).clone(), state))
                });
                let there: BTreeMap<Key, State> = there.collect();
                ensure!(
                    there == *items,
                    "the list at {version} has {items:?}, the log {there:?}"
                );
                Some((*version >= bound).then_some(*version))
            }
            _ => bail!("{op:?}: that is no answer to it"),
        })
    }

    /// The log as a view must tell it.
    #[must_use]
    pub fn projected(&self, view: &View) -> Vec<Event> {
        let mut last: BTreeMap<Key, State> = self.before.clone();
        let mut projected = Vec::new();
        for event in &self.log {
            let before = last.remove(&event.key);
            let was = before.is_some_and(|state| view.selects(&event.key, state.value));
            let stays = event.kind != Kind::Deleted;
            if stays {
                last.insert(event.key.clone(), event.state);
            }
            let is = stays && view.selects(&event.key, event.state.value);
            let (kind, value) = match (was, is) {
                (false, false) => continue,
                (false, true) => (Kind::Added, event.state.value),
                (true, true) => (Kind::Modified, event.state.value),
                // What a selector loses is told as it was.
                (true, false) => (Kind::Deleted, before.map_or(0, |state| state.value)),
            };
            let state = State {
                value,
                ..event.state
            };
            projected.push(Event {
                kind,
                key: event.key.clone(),
                state,
            });
        }
        projected
    }
}

/// The stretches of a key's life: from, to (not included), value.
fn stretches(timeline: &Timeline) -> impl Iterator<Item = (u64, u64, Option<u64>)> + '_ {
    let ends = timeline.keys().copied().chain([FOREVER]);
    let starts = std::iter::once((0, None)).chain(timeline.iter().map(|(v, value)| (*v, *value)));
    starts
        .zip(ends)
        .map(|((from, value), to)| (from, to, value))
}

#[cfg(test)]
mod tests;
