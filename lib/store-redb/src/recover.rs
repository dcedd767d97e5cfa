//! Putting the log together when a store is opened.
//!
//! Start at [`log`]. The segments follow each other; what redb does not hold yet is read into the
//! overlay, and of what it holds the latest commits are compared with it. The invariant: a frame
//! that is not whole is cut off only where it is the last thing that was ever written; anywhere
//! else it is damage and named. Nothing is written here.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;

use bytes::Bytes;
use hanse_store::{Revision, Version};

use crate::commit::Mark;
use crate::disk::Disk;
use crate::engine::OpenError;
use crate::format::{Base, Failure};
use crate::limits::{CHECKED_COMMITS, MARK_BYTES, MARK_MILLIS};
use crate::log::{Found, Frames, Part, frames_behind};
use crate::overlay::Layer;
use crate::segment::{self, FRAME, Frame, HEADER, Header, Record, Records, Segment, Unreadable};

/// The log as it was found.
pub(crate) struct Recovered {
    pub(crate) log: VecDeque<Part>,
    /// The sum of the last frame.
    pub(crate) chain: u32,
    /// What redb does not hold.
    pub(crate) layer: Layer,
    pub(crate) revision: Revision,
    pub(crate) floor: Revision,
    /// How much there is in all.
    pub(crate) last: Mark,
    pub(crate) marks: Vec<Mark>,
    /// Something stands behind the end of the last segment, and is to be cut off.
    pub(crate) torn: bool,
    /// A segment that was begun and holds nothing, to be taken away.
    pub(crate) leftover: Option<String>,
}

/// Reads the end of the log.
pub(crate) fn log(disk: &Arc<dyn Disk>, base: &Base) -> Result<Recovered, OpenError> {
    let (log, leftover) = segments(&**disk)?;
    let oldest = log.front().map(|(segment, _)| segment.header.first);
    let oldest = oldest.ok_or(OpenError::Broken {
        missing: base.revision.next(),
    })?;
    let checked = Revision(base.revision.0.saturating_sub(CHECKED_COMMITS));
    let after = checked.max(Revision(oldest.0.saturating_sub(1)));
    if oldest > base.revision.next() {
        return Err(OpenError::Broken {
            missing: base.revision.next(),
        });
    }
    let parts: Vec<Part> = log.iter().cloned().collect();
    let mut replay = Replay::new(base, &parts, after);
    let mut frames = Frames::after(&parts, after);
    let torn = replay.run(&mut frames)?;
    if frames.expected > base.revision {
        replay.compare()?;
    }
    let Replay {
        layer, floor, at, ..
    } = replay;
    if oldest > floor.next() {
        return Err(OpenError::Broken {
            missing: floor.next(),
        });
    }
    let mut log = log;
    if let Some(last) = log.back_mut() {
        last.1 = frames.offset;
    }
    Ok(Recovered {
        log,
        chain: frames.chain.unwrap_or_default(),
        layer,
        revision: Revision(frames.expected.0.saturating_sub(1)),
        floor,
        last: at,
        marks: replay.marks,
        torn,
        leftover,
    })
}

/// All segments in order; and the name of one at the end that holds nothing, if there are others.
fn segments(disk: &dyn Disk) -> Result<(VecDeque<Part>, Option<String>), OpenError> {
    let failed = |error| OpenError::from(Failure::Io(error));
    let mut names = disk.names().map_err(failed)?;
    names.retain(|name| segment::revision_of(name).is_some());
    names.sort_unstable();
    let mut log = VecDeque::with_capacity(names.len());
    let count = names.len();
    for (place, name) in names.into_iter().enumerate() {
        let file = disk.open(&name).map_err(failed)?;
        let length = file.len().map_err(failed)?;
        // A segment is begun only when all before it are synced, so nothing is lost with it.
        if length <= HEADER as u64 && place > 0 && place + 1 == count {
            return Ok((log, Some(name)));
        }
        let mut bytes = [0; HEADER];
        let read = match length < HEADER as u64 {
            true => Err(Unreadable::Damaged),
            false => {
                file.read(0, &mut bytes).map_err(failed)?;
                Header::read(&bytes)
            }
        };
        let what = match read {
            Ok(header) if segment::revision_of(&name) == Some(header.first) => {
                log.push_back((Arc::new(Segment::new(header, file)), length));
                continue;
            }
            Ok(header) => format!("it begins with revision {}", header.first),
            Err(Unreadable::Damaged) => "its header is damaged".to_owned(),
            Err(Unreadable::TooNew { found, oldest }) => format!(
                "it has format {found}, readable from {oldest} on; this program reads {}",
                segment::FORMAT
            ),
        };
        return Err(OpenError::Segment { name, what });
    }
    Ok((log, None))
}

/// One way through the end of the log.
struct Replay<'a> {
    base: &'a Base,
    layer: Layer,
    floor: Revision,
    marks: Vec<Mark>,
    at: Mark,
    /// What the latest commits that redb holds left.
    shown: BTreeMap<Bytes, (Version, bool)>,
    /// The sums of the frames that end with redb's revision.
    chains: Vec<u32>,
}

impl<'a> Replay<'a> {
    /// With a mark for each segment that is not read.
    fn new(base: &'a Base, parts: &[Part], after: Revision) -> Self {
        let mut at = Mark::default();
        let mut marks = Vec::new();
        let begins = parts.partition_point(|(segment, _)| segment.header.first <= after.next());
        for (place, (segment, length)) in parts.iter().enumerate().take(begins) {
            at = Mark {
                revision: segment.header.first,
                wall_millis: segment.header.wall_millis,
                records: segment.header.records,
                ..at
            };
            if place + 1 < begins {
                marks.push(at);
                at.bytes += length;
            }
        }
        Self {
            base,
            layer: Layer::default(),
            floor: base.floor,
            marks,
            at,
            shown: BTreeMap::new(),
            chains: Vec::new(),
        }
    }

    /// Reads to the end; whether something is torn there.
    fn run(&mut self, frames: &mut Frames) -> Result<bool, OpenError> {
        loop {
            if frames.expected == self.base.revision.next() {
                self.chains.extend(frames.chain);
            }
            match frames.look()? {
                Found::Frame(frame) => {
                    if let Some(segment) = frames.segment() {
                        segment.mark(frame.first, frames.offset);
                    }
                    let body = frames.pass(&frame);
                    self.frame(&frame, body)?;
                }
                Found::End if frames.is_last() => return Ok(false),
                Found::End => frames.switch()?,
                Found::Nothing => return torn(frames).map(|()| true),
            }
        }
    }

    fn frame(&mut self, frame: &Frame, body: &[u8]) -> Result<(), OpenError> {
        let damaged = || Failure::Log(frame.first);
        self.floor = self.floor.max(frame.floor);
        self.at.bytes += (FRAME + body.len()) as u64;
        for record in Records::new(frame, body) {
            let record = record.ok_or_else(damaged)?;
            self.at.records += 1;
            self.at.wall_millis = record.wall_millis;
            self.record(&record)?;
        }
        self.at.revision = frame.last();
        let due = self.marks.last().is_none_or(|last| {
            self.at.wall_millis.saturating_sub(last.wall_millis) >= MARK_MILLIS
                || self.at.bytes - last.bytes >= MARK_BYTES
        });
        if due && frame.commits > 0 {
            self.marks.push(self.at);
        }
        Ok(())
    }

    fn record(&mut self, record: &Record<'_>) -> Result<(), OpenError> {
        let key = Bytes::copy_from_slice(record.key);
        let version = record.version;
        if version.revision() <= self.base.revision {
            self.shown.insert(key, (version, record.value.is_some()));
            return Ok(());
        }
        let before = match self.layer.slots.get(&key) {
            Some(slot) => slot.value.as_ref().map(|_| slot.version),
            None => self.base.get(&key)?.map(|(version, _)| version),
        };
        if before != record.previous.map(|(version, _)| version) {
            return Err(OpenError::Head { version });
        }
        let value = record.value.map(Bytes::copy_from_slice);
        self.layer.put(key, version, value);
        Ok(())
    }

    /// redb shows what the latest commits that it holds left, and this is the log that it knows.
    fn compare(&self) -> Result<(), OpenError> {
        for (key, (version, put)) in &self.shown {
            let found = self.base.get(key)?.map(|(version, _)| version);
            if found != put.then_some(*version) {
                return Err(OpenError::Head { version: *version });
            }
        }
        match self.chains.is_empty() || self.chains.contains(&self.base.chain) {
            true => Ok(()),
            false => Err(OpenError::Segment {
                name: segment::name(self.base.revision.next()),
                what: "the log is not the one that the database knows".to_owned(),
            }),
        }
    }
}

/// What stands at the end is no whole frame: nothing whole may stand behind it.
fn torn(frames: &Frames) -> Result<(), OpenError> {
    let missing = frames.expected;
    let Some((segment, end)) = frames.part().filter(|_| frames.is_last()) else {
        return Err(OpenError::Broken { missing });
    };
    let behind = frames_behind(segment, frames.offset, *end);
    match behind.map_err(Failure::Io)? {
        true => Err(OpenError::Broken { missing }),
        false => Ok(()),
    }
}
