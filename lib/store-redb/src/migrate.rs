//! From format 2, where the log and the present both lay in redb.
//!
//! Start at [`run`]. Format 2 had a table `log` (version to record), `head` (key to version) and
//! `marks`. The invariant: until the one transaction that states format 3, the file is a whole
//! store of format 2 and the segments beside it count for nothing; they are durable before it. So
//! a crash at any moment leaves either, and the next opening begins again or goes on.

use std::sync::Arc;

use hanse_seams::Seams;
use hanse_store::{Revision, Version};
use redb::{Database, ReadableDatabase, ReadableTable, TableDefinition, WriteTransaction};

use crate::disk::Disk;
use crate::engine::OpenError;
use crate::format::{self, Failure, META, PRESENT, number, write_value};
use crate::limits::{BUFFER_BYTES, CHECKED_COMMITS, SEGMENT_BYTES};
use crate::log::{AppendError, Writer, make_segment};
use crate::segment::{self, FRAME, HEADER, Header, Segment, begin_commit, end_commit};

/// The format that is read here.
pub(crate) const FORMAT: u64 = 2;

const LOG: TableDefinition<'static, u64, &[u8]> = TableDefinition::new("log");
const HEAD: TableDefinition<'static, &[u8], u64> = TableDefinition::new("head");
const MARKS: TableDefinition<'static, u64, (u64, u64)> = TableDefinition::new("marks");

/// The first byte of every record.
const RECORD: u8 = 2;
const DELETED: u8 = 1;
/// Where the checksum stands in a record's header, behind all that it covers of it.
const SUM: usize = 1 + 1 + 8 + 8 + 2;
const RECORD_HEADER: usize = SUM + 4;

type Log = redb::ReadOnlyTable<u64, &'static [u8]>;
type Head = redb::ReadOnlyTable<&'static [u8], u64>;

/// One write of the old log, borrowed from its bytes.
struct Old<'a> {
    /// The version that wrote the key's value before; 0 when it had none.
    previous: u64,
    wall_millis: u64,
    key: &'a [u8],
    value: Option<&'a [u8]>,
}

impl<'a> Old<'a> {
    /// `None` for bytes that were not written under this version, or not as they are now.
    fn read(version: u64, bytes: &'a [u8]) -> Option<Self> {
        let (header, rest) = bytes.split_at_checked(RECORD_HEADER)?;
        let mut sum = crc32fast::Hasher::new();
        sum.update(&version.to_le_bytes());
        sum.update(&header[..SUM]);
        sum.update(rest);
        if header[SUM..] != sum.finalize().to_le_bytes() {
            return None;
        }
        let number = |at: usize| header[at..at + 8].try_into().ok().map(u64::from_le_bytes);
        let length = usize::from(u16::from_le_bytes([header[18], header[19]]));
        let (key, value) = rest.split_at_checked(length)?;
        let value = match (header[0], header[1]) {
            (RECORD, 0) => Some(value),
            (RECORD, DELETED) if value.is_empty() => None,
            _ => return None,
        };
        Some(Self {
            previous: number(2)?,
            wall_millis: number(10)?,
            key,
            value,
        })
    }
}

/// Brings a store of format 2 to this one.
pub(crate) fn run(
    database: &Database,
    disk: &Arc<dyn Disk>,
    seams: &Seams,
) -> Result<(), OpenError> {
    tracing::info!(
        "the store is brought from format {FORMAT} to {}",
        format::FORMAT
    );
    let read = database.begin_read().map_err(Failure::from)?;
    let log = read.open_table(LOG).map_err(Failure::from)?;
    let head = read.open_table(HEAD).map_err(Failure::from)?;
    let meta = read.open_table(META).map_err(Failure::from)?;
    let revision = Revision(number(&meta, format::META_REVISION)?);
    let floor = Revision(number(&meta, format::META_FLOOR)?);
    check_chain(&log, &head, revision, floor)?;
    let mut copy = Copy::begin(disk, seams, floor).map_err(Failure::Io)?;
    copy.all(&log, revision)?;
    let chain = copy.writer.chain();
    let write = database.begin_write().map_err(Failure::from)?;
    present(write, &log, &head, chain)?;
    Ok(())
}

/// Writes the table of the present, and that this is format 3.
fn present(mut write: WriteTransaction, log: &Log, head: &Head, chain: u32) -> Result<(), Failure> {
    write.set_quick_repair(true);
    {
        let mut present = write.open_table(PRESENT)?;
        let mut value = Vec::new();
        for item in head.iter()? {
            let (key, version) = item?;
            let (key, version) = (key.value(), version.value());
            with_old(log, version, |old| match old.value {
                Some(bytes) if old.key == key => {
                    write_value(key, Version(version), bytes, &mut value);
                    Ok(())
                }
                _ => Err(Failure::Record(version)),
            })??;
            present.insert(key, &value[..])?;
        }
        let mut meta = write.open_table(META)?;
        meta.insert(format::META_FORMAT, format::FORMAT)?;
        meta.insert(format::META_OLDEST_READER, format::OLDEST_READER)?;
        meta.insert(format::META_CHAIN, u64::from(chain))?;
        for gone in ["swept", "bytes"] {
            meta.remove(gone)?;
        }
    }
    write.delete_table(LOG)?;
    write.delete_table(HEAD)?;
    write.delete_table(MARKS)?;
    write.commit()?;
    Ok(())
}

fn with_old<T>(log: &Log, version: u64, read: impl FnOnce(Old<'_>) -> T) -> Result<T, Failure> {
    let guard = log.get(version)?.ok_or(Failure::Record(version))?;
    let old = Old::read(version, guard.value()).ok_or(Failure::Record(version))?;
    Ok(read(old))
}

/// The old log on its way into segments.
struct Copy {
    writer: Writer,
    floor: Revision,
    frame: Vec<u8>,
    /// The first revision of the frame, and its commits and records.
    first: Revision,
    commits: u32,
    records: u64,
}

impl Copy {
    /// Takes away what an earlier attempt left, and begins with the first segment.
    fn begin(disk: &Arc<dyn Disk>, seams: &Seams, floor: Revision) -> std::io::Result<Self> {
        for name in disk.names()? {
            if segment::revision_of(&name).is_some() {
                disk.remove(&name)?;
            }
        }
        disk.sync()?;
        let header = Header {
            salt: crate::open::salt(&*seams.rng),
            first: floor.next(),
            wall_millis: seams.clock.wall_millis(),
            records: 0,
            chain: 0,
        };
        let segment: Arc<Segment> = Arc::new(make_segment(&**disk, header)?);
        let end = (segment, HEADER as u64);
        Ok(Self {
            writer: Writer::new(disk.clone(), seams.rng.clone(), end, 0, 0),
            floor,
            frame: vec![0; FRAME],
            first: floor.next(),
            commits: 0,
            records: 0,
        })
    }

    /// Every record above the floor, each with what its key had before.
    fn all(&mut self, log: &Log, revision: Revision) -> Result<(), OpenError> {
        let mut commit: Option<(Revision, usize, u16)> = None;
        for item in log.range(self.floor.end().0 + 1..).map_err(Failure::from)? {
            let (version, bytes) = item.map_err(Failure::from)?;
            let version = Version(version.value());
            let old = Old::read(version.0, bytes.value()).ok_or(Failure::Record(version.0))?;
            let (place, changes) = match commit {
                Some((revision, place, changes)) if revision == version.revision() => {
                    (place, changes)
                }
                _ => {
                    if self.frame.len() >= BUFFER_BYTES {
                        self.flush(old.wall_millis)?;
                    }
                    let missing = Revision(self.first.0 + u64::from(self.commits));
                    if version.revision() != missing {
                        return Err(OpenError::Broken { missing });
                    }
                    self.commits += 1;
                    (begin_commit(old.wall_millis, &mut self.frame), 0)
                }
            };
            self.record(log, version, &old)?;
            end_commit(place, changes + 1, &mut self.frame);
            commit = Some((version.revision(), place, changes + 1));
        }
        self.flush(0)?;
        match self.first == revision.next() {
            true => Ok(()),
            false => Err(OpenError::Broken {
                missing: self.first,
            }),
        }
    }

    fn record(&mut self, log: &Log, version: Version, old: &Old<'_>) -> Result<(), Failure> {
        let mut before = Vec::new();
        if old.previous > 0 {
            // What a key had before is a value: after a deletion a key has nothing before.
            with_old(log, old.previous, |previous| match previous.value {
                Some(value) => {
                    before.extend_from_slice(value);
                    Ok(())
                }
                None => Err(Failure::Record(old.previous)),
            })??;
        }
        let record = segment::Record {
            version,
            wall_millis: old.wall_millis,
            key: old.key,
            value: old.value,
            previous: (old.previous > 0).then_some((Version(old.previous), &before[..])),
        };
        record.write(&mut self.frame);
        self.records += 1;
        Ok(())
    }

    /// Writes the frame, and goes on in a new segment where this one is large enough.
    fn flush(&mut self, wall_millis: u64) -> Result<(), Failure> {
        if self.commits == 0 {
            return Ok(());
        }
        let commits = (self.first, self.commits);
        let appended = self
            .writer
            .append(&mut self.frame, commits, self.floor, self.records);
        appended.map_err(|(AppendError::Full(error) | AppendError::Broken(error))| {
            Failure::Io(error)
        })?;
        self.first = Revision(self.first.0 + u64::from(self.commits));
        (self.commits, self.records) = (0, 0);
        self.frame.truncate(FRAME);
        if self.writer.length >= SEGMENT_BYTES {
            self.writer.roll(self.first, wall_millis);
        }
        Ok(())
    }
}

/// Walks back over the latest commits: their numbers have no gap, the last one is the revision
/// that the file states, and each key that they wrote stands in `head` as they left it.
fn check_chain(
    log: &Log,
    head: &Head,
    revision: Revision,
    floor: Revision,
) -> Result<(), OpenError> {
    let oldest = floor.max(Revision(revision.0.saturating_sub(CHECKED_COMMITS)));
    // The revision whose records were met last, on the way down.
    let mut met: Option<Revision> = None;
    let mut seen = std::collections::BTreeSet::new();
    let start = oldest.end().0 + 1;
    for entry in log.range(start..).map_err(Failure::from)?.rev() {
        let (version, bytes) = entry.map_err(Failure::from)?;
        let version = Version(version.value());
        let old = Old::read(version.0, bytes.value()).ok_or(Failure::Record(version.0))?;
        let expected = met.map_or(revision, |met| Revision(met.0 - 1));
        if met != Some(version.revision()) && version.revision() != expected {
            return Err(OpenError::Broken { missing: expected });
        }
        met = Some(version.revision());
        if seen.insert(old.key.to_vec()) {
            let stands = head.get(old.key).map_err(Failure::from)?;
            if stands.map(|guard| guard.value()) != old.value.map(|_| version.0) {
                return Err(OpenError::Head { version });
            }
        }
    }
    match met {
        Some(met) if met != oldest.next() => Err(OpenError::Broken {
            missing: Revision(met.0 - 1),
        }),
        None if oldest < revision => Err(OpenError::Broken { missing: revision }),
        _ => Ok(()),
    }
}
