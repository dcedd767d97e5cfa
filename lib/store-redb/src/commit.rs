//! The commit loop: the only writer, one group after the other.
//!
//! Start at [`Loop::step`], one turn of the worker: take what waits, judge each batch by the state
//! that the batches before it leave, write all that hold in one transaction, make it durable, tell
//! the observers, then the callers. Batches that are refused wait for the fsync too: what they
//! were refused for must not be undone by a crash.
//!
//! The invariant: nobody is told of anything that is not on disk. When writing fails, what is on
//! disk is unknown, and the loop never writes again: the process has to open the file anew.

use std::collections::VecDeque;
use std::sync::Arc;

use bytes::Bytes;
use hanse_seams::{Clock, Turn};
use hanse_store::{
    Batch, Change, Commit, CommitError, Committed, ReadError, Retention, Revision, Version,
};
use redb::{ReadableTable, Table, WriteTransaction};
use tokio::sync::oneshot;

use crate::acknowledged::Acknowledged;
use crate::engine::{Shared, Start};
use crate::format::{self, Failure, HEAD, LOG, MARKS, META, Record};
use crate::limits::{
    GROUP_BATCHES, GROUP_BYTES, MARK_BYTES, MARK_MILLIS, SWEEP_IDLE, SWEEP_WITH_COMMIT,
};

/// How much was written up to a revision, and when.
#[derive(Clone, Copy, Debug)]
struct Mark {
    revision: Revision,
    wall_millis: u64,
    bytes: u64,
}

/// The loop's own memory: the numbers as they stand on disk.
#[derive(Clone, Copy, Debug)]
struct Numbers {
    revision: Revision,
    floor: Revision,
    swept: u64,
    bytes: u64,
}

/// See the module's own words.
pub(crate) struct Loop {
    shared: Arc<Shared>,
    clock: Arc<dyn Clock>,
    retention: Retention,
    note: Option<Acknowledged>,
    numbers: Numbers,
    marks: VecDeque<Mark>,
    record: Vec<u8>,
}

type Answer = Result<Committed, CommitError>;
type Compactions = Vec<(Revision, oneshot::Sender<Result<(), ReadError>>)>;

/// What one transaction did.
struct Written {
    numbers: Numbers,
    commits: Vec<Commit>,
    answers: Vec<Answer>,
    mark: Option<Mark>,
    forgotten: usize,
}

type Log<'t> = Table<'t, u64, &'static [u8]>;
type Head<'t> = Table<'t, &'static [u8], u64>;

impl Loop {
    pub(crate) fn new(
        shared: Arc<Shared>,
        clock: Arc<dyn Clock>,
        retention: Retention,
        note: Option<Acknowledged>,
        start: Start,
    ) -> Self {
        let Start {
            revision,
            floor,
            swept,
            bytes,
            marks,
        } = start;
        let mark = |(revision, wall_millis, bytes): (u64, u64, u64)| Mark {
            revision: Revision(revision),
            wall_millis,
            bytes,
        };
        Self {
            shared,
            clock,
            retention,
            note,
            numbers: Numbers {
                revision,
                floor,
                swept,
                bytes,
            },
            marks: marks.into_iter().map(mark).collect(),
            record: Vec::new(),
        }
    }

    /// One turn: one group, or one stretch of compaction when nothing waits.
    pub(crate) fn step(&mut self) -> Turn {
        let (group, compactions, closing) = {
            let mut waiting = self.shared.queue.lock();
            let group = waiting.batches.take(GROUP_BATCHES, GROUP_BYTES);
            (
                group,
                std::mem::take(&mut waiting.compactions),
                waiting.closing,
            )
        };
        let sweeping = self.numbers.swept < self.numbers.floor.end().0 && self.numbers.floor.0 > 0;
        if group.is_empty() && compactions.is_empty() && (closing || !sweeping) {
            return if closing { Turn::Done } else { Turn::Idle };
        }
        let (batches, replies): (Vec<Batch>, Vec<_>) = group
            .into_iter()
            .map(|queued| (queued.batch, queued.reply))
            .unzip();
        match self.write(batches, &compactions) {
            Ok(written) => {
                let answers = self.publish(written);
                for (reply, answer) in replies.into_iter().zip(answers) {
                    // Whoever dropped the future does not want to know.
                    let _ = reply.send(answer);
                }
                for (_, reply) in compactions {
                    let _ = reply.send(Ok(()));
                }
                Turn::Again
            }
            Err(failure) => {
                self.fail(&failure, replies, compactions);
                Turn::Done
            }
        }
    }

    fn fail(
        &self,
        failure: &Failure,
        replies: Vec<oneshot::Sender<Answer>>,
        compactions: Compactions,
    ) {
        tracing::error!(%failure, "the store cannot write any more");
        let why: Arc<str> = failure.to_string().into();
        refuse(&why, replies, compactions);
        self.refuse_waiting(why);
    }

    /// Refuses what waits and all that will come.
    fn refuse_waiting(&self, why: Arc<str>) {
        let mut waiting = self.shared.queue.lock();
        let why = waiting.failed.get_or_insert(why).clone();
        let batches = waiting.batches.take(usize::MAX, usize::MAX);
        let compactions = std::mem::take(&mut waiting.compactions);
        drop(waiting);
        refuse(
            &why,
            batches.into_iter().map(|queued| queued.reply).collect(),
            compactions,
        );
    }

    /// Tells the world, in this order: the note, the observers, the callers (by the answers).
    fn publish(&mut self, written: Written) -> Vec<Answer> {
        self.numbers = written.numbers;
        self.marks.drain(..written.forgotten);
        self.marks.extend(written.mark);
        if !written.commits.is_empty()
            && let Some(note) = &mut self.note
            && let Err(error) = note.note(self.numbers.revision)
        {
            // The note only ever finds faults of others; without it the data is as safe.
            tracing::warn!(%error, "the acknowledged revision could not be noted");
        }
        let mut published = self.shared.published.lock();
        published.revision = self.numbers.revision;
        published.floor = self.numbers.floor;
        if !written.commits.is_empty() {
            for observer in &published.observers {
                observer.committed(&written.commits);
            }
        }
        written.answers
    }

    fn write(
        &mut self,
        batches: Vec<Batch>,
        compactions: &Compactions,
    ) -> Result<Written, Failure> {
        let now = self.clock.wall_millis();
        let shared = self.shared.clone();
        let mut transaction = shared.file.database()?.begin_write()?;
        transaction.set_quick_repair(true);
        let idle = batches.is_empty();
        let mut written = Written {
            numbers: self.numbers,
            commits: Vec::new(),
            answers: Vec::with_capacity(batches.len()),
            mark: None,
            forgotten: 0,
        };
        {
            let mut log = transaction.open_table(LOG)?;
            let mut head = transaction.open_table(HEAD)?;
            for batch in batches {
                let answer = self.apply(&mut log, &mut head, batch, now, &mut written)?;
                written.answers.push(answer);
            }
            self.mark(&transaction, now, &mut written)?;
            self.raise_floor(&transaction, compactions, now, &mut written)?;
            let stretch = if idle { SWEEP_IDLE } else { SWEEP_WITH_COMMIT };
            sweep(&mut log, stretch, &mut written.numbers)?;
            let mut meta = transaction.open_table(META)?;
            let numbers = &written.numbers;
            for (name, number) in [
                (format::META_REVISION, numbers.revision.0),
                (format::META_FLOOR, numbers.floor.0),
                (format::META_SWEPT, numbers.swept),
                (format::META_BYTES, numbers.bytes),
            ] {
                meta.insert(name, number)?;
            }
        }
        transaction.commit()?;
        Ok(written)
    }

    /// Judges a batch and writes it if it holds.
    fn apply(
        &mut self,
        log: &mut Log<'_>,
        head: &mut Head<'_>,
        batch: Batch,
        now: u64,
        written: &mut Written,
    ) -> Result<Answer, Failure> {
        let current = |key: &[u8]| -> Result<Option<Version>, Failure> {
            Ok(head.get(key)?.map(|guard| Version(guard.value())))
        };
        if let Some(conflict) = batch.conflict(current)? {
            return Ok(Err(conflict));
        }
        let revision = written.numbers.revision.next();
        let mut versions = Vec::with_capacity(batch.ops.len());
        let mut changes = Vec::with_capacity(batch.ops.len());
        for (index, op) in (0..=u8::MAX).zip(batch.ops) {
            let version = revision.version(index);
            let key = &op.key[..];
            let before = match &op.put {
                Some(_) => head.insert(key, version.0)?.map(|guard| guard.value()),
                None => head.remove(key)?.map(|guard| guard.value()),
            };
            if op.put.is_none() && before.is_none() {
                versions.push(None);
                continue;
            }
            let value: Option<&[u8]> = op.put.as_ref().map(|value: &Bytes| &value[..]);
            let record = Record {
                previous: before.unwrap_or(0),
                wall_millis: now,
                key,
                value,
            };
            record.write(version.0, &mut self.record);
            written.numbers.bytes += record.bytes();
            log.insert(version.0, &self.record[..])?;
            versions.push(Some(version));
            changes.push(Change {
                version,
                key: op.key,
                value: op.put,
                previous: None,
                attachment: op.attachment,
            });
        }
        if !changes.is_empty() {
            written.numbers.revision = revision;
            written.commits.push(Commit {
                revision,
                wall_millis: now,
                changes,
            });
        }
        Ok(Ok(Committed {
            revision: written.numbers.revision,
            versions,
        }))
    }

    /// Sets a mark when the last one is old enough or far enough away.
    fn mark(
        &self,
        transaction: &WriteTransaction,
        now: u64,
        written: &mut Written,
    ) -> Result<(), Failure> {
        let numbers = &written.numbers;
        let due = self.marks.back().is_none_or(|last| {
            numbers.revision > last.revision
                && (now.saturating_sub(last.wall_millis) >= MARK_MILLIS
                    || numbers.bytes.saturating_sub(last.bytes) >= MARK_BYTES)
        });
        if due && !written.commits.is_empty() {
            let mark = Mark {
                revision: numbers.revision,
                wall_millis: now,
                bytes: numbers.bytes,
            };
            let mut marks = transaction.open_table(MARKS)?;
            marks.insert(mark.revision.0, (mark.wall_millis, mark.bytes))?;
            written.mark = Some(mark);
        }
        Ok(())
    }

    /// Raises the floor to what was asked for and to what retention no longer holds.
    fn raise_floor(
        &self,
        transaction: &WriteTransaction,
        compactions: &Compactions,
        now: u64,
        written: &mut Written,
    ) -> Result<(), Failure> {
        let age = u64::try_from(self.retention.age.as_millis()).unwrap_or(u64::MAX);
        let numbers = &mut written.numbers;
        let old = |mark: &&Mark| mark.wall_millis.saturating_add(age) < now;
        let heavy = |mark: &&Mark| numbers.bytes.saturating_sub(mark.bytes) > self.retention.bytes;
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
        for floor in marked.into_iter().chain([asked]).flatten() {
            numbers.floor = numbers.floor.max(floor.min(numbers.revision));
        }
        written.forgotten = old.max(heavy);
        if written.forgotten > 0 {
            let mut marks = transaction.open_table(MARKS)?;
            for mark in self.marks.iter().take(written.forgotten) {
                marks.remove(mark.revision.0)?;
            }
        }
        Ok(())
    }
}

impl Drop for Loop {
    /// Also when a turn panicked: nobody may wait for a loop that is no more.
    fn drop(&mut self) {
        self.refuse_waiting("the commit loop has ended".into());
    }
}

fn refuse(why: &Arc<str>, replies: Vec<oneshot::Sender<Answer>>, compactions: Compactions) {
    for reply in replies {
        let _ = reply.send(Err(CommitError::Unavailable(why.clone())));
    }
    for (_, reply) in compactions {
        let _ = reply.send(Err(ReadError::Unavailable(why.clone())));
    }
}

/// Takes away what the next records up to the floor have replaced, and their deletions.
fn sweep(log: &mut Log<'_>, records: usize, numbers: &mut Numbers) -> Result<(), Failure> {
    let floor = numbers.floor.end().0;
    if numbers.floor.0 == 0 || numbers.swept >= floor {
        return Ok(());
    }
    let mut gone = Vec::new();
    let mut looked = 0;
    let mut last = floor;
    for item in log.range(numbers.swept + 1..=floor)? {
        let (version, bytes) = item?;
        let version = version.value();
        let record = Record::read(version, bytes.value()).ok_or(Failure::Record(version))?;
        if record.previous > 0 {
            gone.push(record.previous);
        }
        if record.value.is_none() {
            gone.push(version);
        }
        looked += 1;
        if looked == records {
            last = version;
            break;
        }
    }
    for version in gone {
        log.remove(version)?;
    }
    numbers.swept = last;
    Ok(())
}
