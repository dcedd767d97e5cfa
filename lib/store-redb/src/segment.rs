//! What lies in a file of the log.
//!
//! A segment is a header and then frames, one for each group of commits that shared an fsync. All
//! numbers are little-endian.
//!
//! | header | frame |
//! |---|---|
//! | magic, 8 bytes | salt of the segment, 8 bytes |
//! | format, 4; oldest reader, 4 | first revision, 8 |
//! | salt, 8 | floor as of this frame, 8 |
//! | first revision, 8 | length of the body, 4; commits in it, 4 |
//! | wall clock, 8 | chain: the sum of the frame before, 4 |
//! | records in all segments before, 8 | sum over all this and the body, 4 |
//! | chain, 4; sum over all this, 4 | body |
//!
//! The body holds the commits one after the other: `wall_millis` 8, changes 2, and for each change
//! its index 1, flags 1, length of the key 2, of the value 4, and, where the key had a value
//! before, that one's version 8 and length 4; then key, value, and value before.
//!
//! The invariant: a frame is whole or it is not there. A frame is appended only when the one
//! before it is synced, so only the last one may be torn; the salt, which no client knows, lets
//! the search for later frames not be deceived by what a value holds. The chain tells a segment
//! from one that was put in its place.

use std::fmt;

use hanse_store::{Revision, Version};
use parking_lot::Mutex;
use redb::StorageBackend;

/// What this version writes.
pub(crate) const FORMAT: u32 = 3;
/// The oldest version of this engine that can read what this one writes.
pub(crate) const OLDEST_READER: u32 = 3;

const MAGIC: &[u8; 8] = b"hanselog";
/// Bytes of a segment's header.
pub(crate) const HEADER: usize = 56;
/// Bytes of a frame's header.
pub(crate) const FRAME: usize = 40;

const NAME: &str = "log-";
const PUT: u8 = 1;
const PREVIOUS: u8 = 2;

/// The file's name; names sort as their revisions do.
pub(crate) fn name(first: Revision) -> String {
    format!("{NAME}{:020}", first.0)
}

/// The first revision of the segment with this name; `None` for names of other files.
pub(crate) fn revision_of(name: &str) -> Option<Revision> {
    let digits = name.strip_prefix(NAME)?;
    (digits.len() == 20).then_some(Revision(digits.parse().ok()?))
}

/// What a segment says of itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Header {
    pub(crate) salt: u64,
    /// The first revision that it may hold.
    pub(crate) first: Revision,
    pub(crate) wall_millis: u64,
    /// Records in all segments before it.
    pub(crate) records: u64,
    /// The sum of the last frame before it.
    pub(crate) chain: u32,
}

/// Why a segment's header cannot be used.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Unreadable {
    Damaged,
    TooNew { found: u32, oldest: u32 },
}

impl Header {
    pub(crate) fn bytes(&self) -> [u8; HEADER] {
        let mut out = [0; HEADER];
        out[..8].copy_from_slice(MAGIC);
        out[8..12].copy_from_slice(&FORMAT.to_le_bytes());
        out[12..16].copy_from_slice(&OLDEST_READER.to_le_bytes());
        let numbers = [self.salt, self.first.0, self.wall_millis, self.records];
        for (place, number) in out[16..48].chunks_exact_mut(8).zip(numbers) {
            place.copy_from_slice(&number.to_le_bytes());
        }
        out[48..52].copy_from_slice(&self.chain.to_le_bytes());
        let sum = crc32fast::hash(&out[..52]);
        out[52..].copy_from_slice(&sum.to_le_bytes());
        out
    }

    pub(crate) fn read(bytes: &[u8; HEADER]) -> Result<Self, Unreadable> {
        if bytes[..8] != MAGIC[..] || u32_at(bytes, 52) != crc32fast::hash(&bytes[..52]) {
            return Err(Unreadable::Damaged);
        }
        let (found, oldest) = (u32_at(bytes, 8), u32_at(bytes, 12));
        if oldest > FORMAT {
            return Err(Unreadable::TooNew { found, oldest });
        }
        Ok(Self {
            salt: u64_at(bytes, 16),
            first: Revision(u64_at(bytes, 24)),
            wall_millis: u64_at(bytes, 32),
            records: u64_at(bytes, 40),
            chain: u32_at(bytes, 48),
        })
    }
}

fn u32_at(bytes: &[u8], at: usize) -> u32 {
    let four = bytes.get(at..at + 4).and_then(|four| four.try_into().ok());
    four.map_or(0, u32::from_le_bytes)
}

fn u64_at(bytes: &[u8], at: usize) -> u64 {
    let eight = bytes
        .get(at..at + 8)
        .and_then(|eight| eight.try_into().ok());
    eight.map_or(0, u64::from_le_bytes)
}

/// An open segment.
pub(crate) struct Segment {
    pub(crate) header: Header,
    pub(crate) file: Box<dyn StorageBackend>,
    /// Where some of its frames begin, by their first revisions; a reader starts at one of them.
    marks: Mutex<Vec<(Revision, u64)>>,
}

impl Segment {
    pub(crate) fn new(header: Header, file: Box<dyn StorageBackend>) -> Self {
        Self {
            header,
            file,
            marks: Mutex::default(),
        }
    }

    /// Remembers where a frame begins, unless another one nearby is remembered.
    pub(crate) fn mark(&self, first: Revision, offset: u64) {
        let mut marks = self.marks.lock();
        let last = marks.last().map_or(HEADER as u64, |mark| mark.1);
        if offset >= last + crate::limits::MARK_BYTES {
            marks.push((first, offset));
        }
    }

    /// The last frame that is remembered and begins at this revision or before.
    pub(crate) fn start(&self, revision: Revision) -> (Revision, u64) {
        let marks = self.marks.lock();
        let after = marks.partition_point(|mark| mark.0 <= revision);
        let found = after.checked_sub(1).and_then(|last| marks.get(last));
        *found.unwrap_or(&(self.header.first, HEADER as u64))
    }
}

impl fmt::Debug for Segment {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Segment({})", self.header.first)
    }
}

/// What a frame says of itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Frame {
    pub(crate) salt: u64,
    pub(crate) first: Revision,
    pub(crate) floor: Revision,
    pub(crate) length: u32,
    pub(crate) commits: u32,
    pub(crate) chain: u32,
    pub(crate) sum: u32,
}

impl Frame {
    /// Writes a frame's header into the first [`FRAME`] bytes before its body; the frame's sum.
    pub(crate) fn seal(mut self, out: &mut [u8]) -> u32 {
        let numbers = [self.salt, self.first.0, self.floor.0];
        for (place, number) in out.chunks_exact_mut(8).zip(numbers) {
            place.copy_from_slice(&number.to_le_bytes());
        }
        for (place, number) in [(24, self.length), (28, self.commits), (32, self.chain)] {
            out[place..place + 4].copy_from_slice(&number.to_le_bytes());
        }
        self.sum = sum(&out[..FRAME], &out[FRAME..]);
        out[36..FRAME].copy_from_slice(&self.sum.to_le_bytes());
        self.sum
    }

    /// Takes a header apart; whether it is whole is known with the body ([`Frame::is_whole`]).
    pub(crate) fn read(header: &[u8]) -> Self {
        Self {
            salt: u64_at(header, 0),
            first: Revision(u64_at(header, 8)),
            floor: Revision(u64_at(header, 16)),
            length: u32_at(header, 24),
            commits: u32_at(header, 28),
            chain: u32_at(header, 32),
            sum: u32_at(header, 36),
        }
    }

    pub(crate) fn is_whole(&self, header: &[u8], body: &[u8]) -> bool {
        self.sum == sum(header, body)
    }

    /// The last revision in it; the one before it when it holds no commit.
    pub(crate) fn last(&self) -> Revision {
        Revision((self.first.0 + u64::from(self.commits)).saturating_sub(1))
    }
}

fn sum(header: &[u8], body: &[u8]) -> u32 {
    let mut sum = crc32fast::Hasher::new();
    sum.update(&header[..36]);
    sum.update(body);
    sum.finalize()
}

/// One write, borrowed from its frame.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Record<'a> {
    pub(crate) version: Version,
    /// When it was committed, in milliseconds since 1970.
    pub(crate) wall_millis: u64,
    pub(crate) key: &'a [u8],
    /// The value; `None` for a deletion.
    pub(crate) value: Option<&'a [u8]>,
    /// What the key had before.
    pub(crate) previous: Option<(Version, &'a [u8])>,
}

/// Begins a commit at the end of a body; its place for [`end_commit`].
pub(crate) fn begin_commit(wall_millis: u64, body: &mut Vec<u8>) -> usize {
    body.extend_from_slice(&wall_millis.to_le_bytes());
    body.extend_from_slice(&[0; 2]);
    body.len() - 2
}

/// Says how many changes the commit has that began at `place`.
pub(crate) fn end_commit(place: usize, changes: u16, body: &mut [u8]) {
    if let Some(count) = body.get_mut(place..place + 2) {
        count.copy_from_slice(&changes.to_le_bytes());
    }
}

impl Record<'_> {
    /// Adds a change to the commit that was begun last.
    pub(crate) fn write(&self, body: &mut Vec<u8>) {
        let put = self.value.map_or(0, |_| PUT);
        let previous = self.previous.map_or(0, |_| PREVIOUS);
        let value = self.value.unwrap_or_default();
        body.extend_from_slice(&[self.version.index(), put | previous]);
        // Keys are at most `MAX_KEY_BYTES` long and batches some MiB, which fits.
        body.extend_from_slice(&(self.key.len() as u16).to_le_bytes());
        body.extend_from_slice(&(value.len() as u32).to_le_bytes());
        if let Some((version, value)) = self.previous {
            body.extend_from_slice(&version.0.to_le_bytes());
            body.extend_from_slice(&(value.len() as u32).to_le_bytes());
        }
        body.extend_from_slice(self.key);
        body.extend_from_slice(value);
        body.extend_from_slice(self.previous.map_or(&[], |(_, value)| value));
    }
}

/// The records of a frame, in the order of their versions. `None` in it, once and last, for a
/// body that is not what a frame holds.
pub(crate) struct Records<'a> {
    rest: &'a [u8],
    revision: Revision,
    commits: u32,
    wall_millis: u64,
    changes: u16,
}

impl<'a> Records<'a> {
    pub(crate) fn new(frame: &Frame, body: &'a [u8]) -> Self {
        Self {
            rest: body,
            revision: Revision(frame.first.0.saturating_sub(1)),
            commits: frame.commits,
            wall_millis: 0,
            changes: 0,
        }
    }

    fn take(&mut self, bytes: usize) -> Option<&'a [u8]> {
        let (taken, rest) = self.rest.split_at_checked(bytes)?;
        self.rest = rest;
        Some(taken)
    }

    fn record(&mut self) -> Option<Record<'a>> {
        if self.changes == 0 {
            let commit = self.take(10)?;
            self.wall_millis = u64_at(commit, 0);
            self.changes = u16::from_le_bytes([commit[8], commit[9]]);
            self.revision = self.revision.next();
            self.commits = self.commits.checked_sub(1)?;
        }
        self.changes = self.changes.checked_sub(1)?;
        let head = self.take(8)?;
        let (index, flags) = (head[0], head[1]);
        let key = usize::from(u16::from_le_bytes([head[2], head[3]]));
        let value = u32_at(head, 4) as usize;
        let before = match flags & PREVIOUS {
            0 => None,
            _ => {
                let before = self.take(12)?;
                Some((Version(u64_at(before, 0)), u32_at(before, 8) as usize))
            }
        };
        let key = self.take(key)?;
        let value = self.take(value)?;
        let previous = match before {
            Some((version, length)) => Some((version, self.take(length)?)),
            None => None,
        };
        Some(Record {
            version: self.revision.version(index),
            wall_millis: self.wall_millis,
            key,
            value: (flags & PUT > 0).then_some(value),
            previous,
        })
    }
}

impl<'a> Iterator for Records<'a> {
    type Item = Option<Record<'a>>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.commits == 0 && self.changes == 0 && self.rest.is_empty() {
            return None;
        }
        let record = self.record();
        if record.is_none() {
            (self.rest, self.commits, self.changes) = (&[], 0, 0);
        }
        Some(record)
    }
}

#[cfg(test)]
mod tests {
    use hanse_store::{Revision, Version};

    use super::{
        FRAME, Frame, HEADER, Header, Record, Records, Unreadable, begin_commit, end_commit,
    };

    const PUT: Record<'static> = Record {
        version: Version(7 << 8),
        wall_millis: 9,
        key: b"key",
        value: Some(b"value"),
        previous: None,
    };

    fn frame(commits: &[&[Record<'_>]]) -> Vec<u8> {
        let mut out = vec![0; FRAME];
        for records in commits {
            let place = begin_commit(records[0].wall_millis, &mut out);
            records.iter().for_each(|record| record.write(&mut out));
            end_commit(place, records.len() as u16, &mut out);
        }
        let frame = Frame {
            salt: 1,
            first: Revision(7),
            floor: Revision(2),
            length: (out.len() - FRAME) as u32,
            commits: commits.len() as u32,
            chain: 3,
            sum: 0,
        };
        frame.seal(&mut out);
        out
    }

    #[test]
    fn records_come_back_and_damaged_frames_do_not() {
        let replaced = Record {
            version: Version((7 << 8) + 3),
            previous: Some((Version(5), b"")),
            value: Some(b""),
            ..PUT
        };
        let deleted = Record {
            version: Version((8 << 8) + 254),
            wall_millis: 10,
            previous: Some((Version(6), b"before")),
            value: None,
            ..PUT
        };
        let mut bytes = frame(&[&[PUT, replaced], &[deleted]]);
        let read = Frame::read(&bytes);
        assert!(read.is_whole(&bytes[..FRAME], &bytes[FRAME..]));
        assert_eq!((read.first, read.last()), (Revision(7), Revision(8)));
        assert_eq!((read.floor, read.chain), (Revision(2), 3));
        let records: Vec<_> = Records::new(&read, &bytes[FRAME..]).collect();
        assert_eq!(records, [Some(PUT), Some(replaced), Some(deleted)]);
        for bit in 0..bytes.len() * 8 {
            bytes[bit / 8] ^= 1 << (bit % 8);
            let damaged = Frame::read(&bytes);
            assert!(
                !damaged.is_whole(&bytes[..FRAME], &bytes[FRAME..]),
                "bit {bit}"
            );
            bytes[bit / 8] ^= 1 << (bit % 8);
        }
    }

    #[test]
    fn a_body_that_says_too_much_is_refused_and_never_read_beyond() {
        let bytes = frame(&[&[PUT]]);
        let read = Frame::read(&bytes);
        for length in 0..bytes.len() - FRAME {
            let records: Vec<_> = Records::new(&read, &bytes[FRAME..FRAME + length]).collect();
            assert_eq!(records, [None], "{length} bytes");
        }
        let more = Frame { commits: 2, ..read };
        let records: Vec<_> = Records::new(&more, &bytes[FRAME..]).collect();
        assert_eq!(records, [Some(PUT), None]);
        let fewer = Frame { commits: 0, ..read };
        let records: Vec<_> = Records::new(&fewer, &bytes[FRAME..]).collect();
        assert_eq!(records, [None]);
    }

    #[test]
    fn headers_come_back_and_later_formats_are_named() {
        let header = Header {
            salt: 1,
            first: Revision(2),
            wall_millis: 3,
            records: 4,
            chain: 5,
        };
        let mut bytes = header.bytes();
        assert_eq!(Header::read(&bytes), Ok(header));
        bytes[20] ^= 1;
        assert_eq!(Header::read(&bytes), Err(Unreadable::Damaged));
        let mut bytes = header.bytes();
        bytes[8..16].copy_from_slice(&[9, 0, 0, 0, 8, 0, 0, 0]);
        let sum = crc32fast::hash(&bytes[..HEADER - 4]);
        bytes[HEADER - 4..].copy_from_slice(&sum.to_le_bytes());
        let found = Header::read(&bytes);
        assert_eq!(
            found,
            Err(Unreadable::TooNew {
                found: 9,
                oldest: 8
            })
        );
    }
}
