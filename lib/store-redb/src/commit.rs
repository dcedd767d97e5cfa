//! The commit loop: the only writer of the log, one group after the other.
//!
//! Start at [`Loop::step`], one turn of the worker: take what waits, judge each batch by the state
//! that the batches before it leave, append all that hold as one frame of the log, make it
//! durable, tell the observers, then the callers. Batches that are refused wait for the fsync too:
//! what they were refused for must not be undone by a crash.
//!
//! The invariant: nobody is told of anything that is not on disk. Where there was no room nothing
//! of the group is there, and the loop goes on; when writing fails otherwise, what is on disk is
//! unknown, and the loop never writes again: the process has to open the store anew.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;

use bytes::Bytes;
use hanse_seams::Turn;
use hanse_store::{
    Batch, Change, Commit, CommitError, Committed, ReadError, Retention, Revision, Version,
};
use tokio::sync::oneshot;

use crate::acknowledged::Acknowledged;
use crate::engine::Shared;
use crate::format::Failure;
use crate::limits::{
    BACKLOG_BYTES, BUFFER_BYTES, GROUP_BATCHES, GROUP_BYTES, MARK_BYTES, MARK_MILLIS,
    SEGMENT_BYTES, SEGMENT_BYTES_MIN, SEGMENT_MILLIS,
};
use crate::log::{AppendError, Writer};
use crate::overlay::{Hit, Slot};
use crate::segment::{FRAME, Record, begin_commit, end_commit};

/// How much was written up to a revision, and when.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Mark {
    pub(crate) revision: Revision,
    pub(crate) wall_millis: u64,
    /// Bytes of the log up to it, counted from wherever the first mark began.
    pub(crate) bytes: u64,
    /// Records of the log up to it.
    pub(crate) records: u64,
}

/// Where the loop begins.
pub(crate) struct Start {
    pub(crate) writer: Writer,
    pub(crate) revision: Revision,
    pub(crate) floor: Revision,
    pub(crate) bytes: u64,
    pub(crate) marks: Vec<Mark>,
}

/// See the module's own words.
pub(crate) struct Loop {
    shared: Arc<Shared>,
    retention: Retention,
    note: Acknowledged,
    writer: Writer,
    revision: Revision,
    floor: Revision,
    bytes: u64,
    marks: VecDeque<Mark>,
    /// The group's frame; kept, because the next one is about as large.
    frame: Vec<u8>,
}

type Answer = Result<Committed, CommitError>;
type Replies = Vec<oneshot::Sender<Answer>>;
type Compactions = Vec<(Revision, oneshot::Sender<Result<(), ReadError>>)>;

/// What a group comes to, before it is durable.
struct Group {
    now: u64,
    /// The last revision, of the group or before it.
    revision: Revision,
    records: u64,
    commits: Vec<Commit>,
    answers: Vec<Answer>,
    /// What the group's own batches left.
    slots: BTreeMap<Bytes, Slot>,
}

/// Why a group was not committed.
enum Refusal {
    /// The next one may be.
    Now(Arc<str>),
    Forever(Failure),
}

impl From<Failure> for Refusal {
    fn from(failure: Failure) -> Self {
        Self::Forever(failure)
    }
}

impl Loop {
    pub(crate) fn new(
        shared: Arc<Shared>,
        retention: Retention,
        note: Acknowledged,
        start: Start,
    ) -> Self {
        Self {
            shared,
            retention,
            note,
            writer: start.writer,
            revision: start.revision,
            floor: start.floor,
            bytes: start.bytes,
            marks: start.marks.into(),
            frame: Vec::new(),
        }
    }

    /// One turn: one group.
    pub(crate) fn step(&mut self) -> Turn {
        let behind = self.behind();
        let (group, compactions) = {
            let mut waiting = self.shared.queue.lock();
            if waiting.failed.is_some() {
                return Turn::Done;
            }
            if matches!(behind, Some(None)) {
                // redb has to catch up first, and wakes this loop when it has.
                return Turn::Idle;
            }
            let group = waiting.batches.take(GROUP_BATCHES, GROUP_BYTES);
            let compactions = std::mem::take(&mut waiting.compactions);
            if group.is_empty() && compactions.is_empty() {
                return if waiting.closing {
                    Turn::Done
                } else {
                    Turn::Idle
                };
            }
            (group, compactions)
        };
        let (batches, replies): (Vec<Batch>, Replies) = group
            .into_iter()
            .map(|queued| (queued.batch, queued.reply))
            .unzip();
        let written = match behind {
            Some(Some(full)) => Err(Refusal::Now(full)),
            _ => self.write(batches, &compactions),
        };
        match written {
            Ok(answers) => {
                for (reply, answer) in replies.into_iter().zip(answers) {
                    // Whoever dropped the future does not want to know.
                    let _ = reply.send(answer);
                }
                for (_, reply) in compactions {
                    let _ = reply.send(Ok(()));
                }
                Turn::Again
            }
            Err(Refusal::Now(why)) => {
                for reply in replies {
                    let _ = reply.send(Err(CommitError::Full));
                }
                refuse(&why, Vec::new(), compactions);
                Turn::Again
            }
            Err(Refusal::Forever(failure)) => {
                tracing::error!(%failure, "the store cannot write any more");
                let why: Arc<str> = failure.to_string().into();
                self.shared.fail(&why);
                refuse(&why, replies, compactions);
                Turn::Done
            }
        }
    }

    /// Whether redb is so far behind that nothing may be committed, and why if that may last.
    fn behind(&self) -> Option<Option<Arc<str>>> {
        if self.shared.published.lock().overlay.active.bytes < BACKLOG_BYTES {
            return None;
        }
        self.shared.wake_checkpoint();
        let waiting = self.shared.patience.waiting();
        Some(waiting.map(|why| format!("the store's disk: {why}").into()))
    }

    fn write(
        &mut self,
        batches: Vec<Batch>,
        compactions: &Compactions,
    ) -> Result<Vec<Answer>, Refusal> {
        let now = self.shared.seams.clock.wall_millis();
        let mut group = Group {
            now,
            revision: self.revision,
            records: 0,
            commits: Vec::with_capacity(batches.len()),
            answers: Vec::with_capacity(batches.len()),
            slots: BTreeMap::new(),
        };
        self.frame.clear();
        self.frame.resize(FRAME, 0);
        for batch in batches {
            let answer = self.apply(batch, &mut group)?;
            group.answers.push(answer);
        }
        let records = self.writer.records + group.records;
        let (floor, forgotten) = self.floor_for(compactions, &group, records);
        if !group.commits.is_empty() || floor > self.floor {
            self.append(&group, floor)?;
            self.marks.drain(..forgotten);
            self.mark(&group);
            self.publish(&group, floor);
        }
        Ok(group.answers)
    }

    fn append(&mut self, group: &Group, floor: Revision) -> Result<(), Refusal> {
        let first = self.revision.next();
        let most = (self.retention.bytes / 8).clamp(SEGMENT_BYTES_MIN, SEGMENT_BYTES);
        let begun = self.writer.segment.header.wall_millis;
        if self.writer.length >= most || group.now.saturating_sub(begun) >= SEGMENT_MILLIS {
            self.writer.roll(first, group.now);
        }
        let commits = group.commits.len() as u32;
        let appended = self
            .writer
            .append(&mut self.frame, (first, commits), floor, group.records);
        self.bytes += self.frame.len() as u64;
        self.frame.clear();
        self.frame.shrink_to(BUFFER_BYTES);
        appended.map_err(|error| match error {
            AppendError::Full(error) => {
                tracing::warn!(%error, "the disk is full: a group was refused");
                Refusal::Now(format!("the store's disk: {error}").into())
            }
            AppendError::Broken(error) => Refusal::Forever(Failure::Io(error)),
        })
    }

    /// Tells the world, in this order: the note, the observers, the callers (by the answers).
    fn publish(&mut self, group: &Group, floor: Revision) {
        (self.revision, self.floor) = (group.revision, floor);
        if !group.commits.is_empty()
            && let Err(error) = self.note.note(self.revision)
        {
            // The note only ever finds faults of others; without it the data is as safe.
            tracing::warn!(%error, "the acknowledged revision could not be noted");
        }
        let due = {
            let mut published = self.shared.published.lock();
            let part = (self.writer.segment.clone(), self.writer.length);
            match published.log.back_mut() {
                Some(last) if Arc::ptr_eq(&last.0, &part.0) => last.1 = part.1,
                _ => published.log.push_back(part),
            }
            for commit in &group.commits {
                published.overlay.apply(&commit.changes);
            }
            published.revision = self.revision;
            published.floor = floor;
            published.chain = self.writer.chain();
            if !group.commits.is_empty() {
                for observer in &published.observers {
                    observer.committed(&group.commits);
                }
            }
            published.overlay.active.bytes >= self.shared.checkpoint_bytes
        };
        if due {
            self.shared.wake_checkpoint();
        }
        self.shared.arm_timer();
    }

    /// What a key has now, with what the group did before.
    fn current(&self, key: &[u8], group: &Group) -> Result<Option<(Version, Bytes)>, Failure> {
        let slot = match group.slots.get(key) {
            Some(slot) => slot.clone(),
            None => {
                let hit = self.shared.published.lock().overlay.find(key);
                match hit {
                    Hit::Memory(slot) => slot,
                    Hit::Base(base) => return base.get(key),
                }
            }
        };
        Ok(slot.value.map(|value| (slot.version, value)))
    }

    /// Judges a batch and adds it to the group if it holds.
    fn apply(&mut self, batch: Batch, group: &mut Group) -> Result<Answer, Failure> {
        // What was looked up for a precondition need not be looked up again for the write.
        let mut known: VecDeque<(Bytes, Option<(Version, Bytes)>)> = VecDeque::new();
        let conflict = batch.conflict(|key| -> Result<Option<Version>, Failure> {
            let found = self.current(key, group)?;
            let version = found.as_ref().map(|found| found.0);
            known.push_back((Bytes::copy_from_slice(key), found));
            Ok(version)
        })?;
        if let Some(conflict) = conflict {
            return Ok(Err(conflict));
        }
        let checks = batch.checks.iter();
        let checked = checks.filter(|check| check.expect != hanse_store::Expect::Any);
        known.drain(..checked.count().min(known.len()));
        let revision = group.revision.next();
        let mut versions = Vec::with_capacity(batch.ops.len());
        let mut changes = Vec::with_capacity(batch.ops.len());
        let begun = self.frame.len();
        let place = begin_commit(group.now, &mut self.frame);
        for (index, op) in (0..=u8::MAX).zip(batch.ops) {
            let version = revision.version(index);
            let before = match known.front() {
                Some((key, _)) if *key == op.key => known.pop_front().and_then(|known| known.1),
                _ => self.current(&op.key, group)?,
            };
            if op.put.is_none() && before.is_none() {
                versions.push(None);
                continue;
            }
            let record = Record {
                version,
                wall_millis: group.now,
                key: &op.key,
                value: op.put.as_deref(),
                previous: before
                    .as_ref()
                    .map(|(version, value)| (*version, &value[..])),
            };
            record.write(&mut self.frame);
            versions.push(Some(version));
            changes.push(Change {
                version,
                key: op.key,
                value: op.put,
                previous: None,
                attachment: op.attachment,
            });
        }
        match changes.is_empty() {
            true => self.frame.truncate(begun),
            false => {
                end_commit(place, changes.len() as u16, &mut self.frame);
                group.add(revision, changes);
            }
        }
        Ok(Ok(Committed {
            revision: group.revision,
            versions,
        }))
    }

    /// Sets a mark when the last one is old enough or far enough away.
    fn mark(&mut self, group: &Group) {
        let due = self.marks.back().is_none_or(|last| {
            group.now.saturating_sub(last.wall_millis) >= MARK_MILLIS
                || self.bytes.saturating_sub(last.bytes) >= MARK_BYTES
        });
        if due && !group.commits.is_empty() {
            self.marks.push_back(Mark {
                revision: group.revision,
                wall_millis: group.now,
                bytes: self.bytes,
                records: self.writer.records,
            });
        }
    }

    /// The floor, raised to what was asked for and to what retention no longer holds, and how
    /// many marks are forgotten with it.
    fn floor_for(
        &self,
        compactions: &Compactions,
        group: &Group,
        records: u64,
    ) -> (Revision, usize) {
        let age = u64::try_from(self.retention.age.as_millis()).unwrap_or(u64::MAX);
        let bytes = self.bytes + self.frame.len() as u64;
        let old = |mark: &&Mark| mark.wall_millis.saturating_add(age) < group.now;
        let heavy = |mark: &&Mark| {
            bytes.saturating_sub(mark.bytes) > self.retention.bytes
                || records.saturating_sub(mark.records) > self.retention.records
        };
        let (old, heavy) = (
            self.marks.iter().take_while(old).count(),
            self.marks.iter().take_while(heavy).count(),
        );
        // What is younger than the last old mark is kept; of too many bytes only what fits is.
        let aged = old.checked_sub(1).and_then(|last| self.marks.get(last));
        let fitting = (heavy > 0)
            .then(|| self.marks.get(heavy).or(self.marks.back()))
            .flatten();
        let asked = compactions.iter().map(|(to, _)| *to).max();
        let marked = [aged, fitting].map(|mark| mark.map(|mark| mark.revision));
        let floors = marked.into_iter().chain([asked]).flatten();
        let floor = floors.map(|floor| floor.min(group.revision)).max();
        (self.floor.max(floor.unwrap_or_default()), old.max(heavy))
    }
}

impl Group {
    fn add(&mut self, revision: Revision, changes: Vec<Change>) {
        for change in &changes {
            let slot = Slot {
                version: change.version,
                value: change.value.clone(),
            };
            self.slots.insert(change.key.clone(), slot);
        }
        self.revision = revision;
        self.records += changes.len() as u64;
        self.commits.push(Commit {
            revision,
            wall_millis: self.now,
            changes,
        });
    }
}

impl Drop for Loop {
    /// Also when a turn panicked: nobody may wait for a loop that is no more.
    fn drop(&mut self) {
        self.shared.end_commits();
    }
}

pub(crate) fn refuse(why: &Arc<str>, replies: Replies, compactions: Compactions) {
    for reply in replies {
        let _ = reply.send(Err(CommitError::Unavailable(why.clone())));
    }
    for (_, reply) in compactions {
        let _ = reply.send(Err(ReadError::Unavailable(why.clone())));
    }
}
