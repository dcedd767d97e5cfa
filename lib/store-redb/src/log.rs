//! The log: segments one after the other, written at the end and read from anywhere.
//!
//! Start at [`Writer::append`] for the way of a group and at [`Frames`] for reading. The
//! invariant: what lies behind the length that was published is nobody's; a frame that could not
//! be written whole is cut off before the next one is written, and where that is not possible
//! nothing is written any more.

use std::io;
use std::sync::Arc;

use hanse_seams::Rng;
use hanse_store::Revision;
use redb::StorageBackend;

use crate::disk::{Disk, is_full};
use crate::format::Failure;
use crate::limits::READ_BYTES;
use crate::segment::{self, FRAME, Frame, HEADER, Header, Segment};

/// A segment, and up to where it may be read.
pub(crate) type Part = (Arc<Segment>, u64);

/// Why a group was not written.
#[derive(Debug)]
pub(crate) enum AppendError {
    /// There was no room. Nothing of the group is there, and the next one may succeed.
    Full(io::Error),
    /// What is on disk is unknown.
    Broken(io::Error),
}

/// The end of the log; the commit loop's own.
pub(crate) struct Writer {
    disk: Arc<dyn Disk>,
    rng: Arc<dyn Rng>,
    pub(crate) segment: Arc<Segment>,
    pub(crate) length: u64,
    /// The sum of the last frame.
    chain: u32,
    /// Records in all segments.
    pub(crate) records: u64,
    /// A frame could not be written whole and may be there in part.
    torn: bool,
}

/// Makes a segment's file under its name, with its header; both are durable then.
pub(crate) fn make_segment(disk: &dyn Disk, header: Header) -> io::Result<Segment> {
    let name = segment::name(header.first);
    let file = disk.create(&name)?;
    let made = || -> io::Result<()> {
        file.write(0, &header.bytes())?;
        file.sync_data()?;
        disk.sync()
    };
    if let Err(error) = made() {
        // What cannot be taken away is empty, and opening takes it away.
        drop(file);
        let _ = disk.remove(&name);
        return Err(error);
    }
    Ok(Segment::new(header, file))
}

impl Writer {
    pub(crate) fn new(
        disk: Arc<dyn Disk>,
        rng: Arc<dyn Rng>,
        (segment, length): Part,
        chain: u32,
        records: u64,
    ) -> Self {
        Self {
            disk,
            rng,
            segment,
            length,
            chain,
            records,
            torn: false,
        }
    }

    /// The last frame's sum.
    pub(crate) fn chain(&self) -> u32 {
        self.chain
    }

    /// Goes on in a new segment that begins with `first`. When it cannot be made the old one
    /// goes on being written.
    pub(crate) fn roll(&mut self, first: Revision, wall_millis: u64) {
        if self.length <= HEADER as u64 || self.torn || first <= self.segment.header.first {
            return;
        }
        let header = Header {
            salt: crate::open::salt(&*self.rng),
            first,
            wall_millis,
            records: self.records,
            chain: self.chain,
        };
        match make_segment(&*self.disk, header) {
            Ok(segment) => {
                self.segment = Arc::new(segment);
                self.length = HEADER as u64;
            }
            Err(error) => tracing::warn!(%error, "no new segment of the log could be made"),
        }
    }

    /// Writes a frame and makes it durable. `out` holds [`FRAME`] free bytes and then the body.
    pub(crate) fn append(
        &mut self,
        out: &mut [u8],
        (first, commits): (Revision, u32),
        floor: Revision,
        records: u64,
    ) -> Result<(), AppendError> {
        self.mend()?;
        let length = u32::try_from(out.len().saturating_sub(FRAME));
        let length = length.map_err(|error| AppendError::Full(io::Error::other(error)))?;
        let frame = Frame {
            salt: self.segment.header.salt,
            first,
            floor,
            length,
            commits,
            chain: self.chain,
            sum: 0,
        };
        let sum = frame.seal(out);
        if let Err(error) = self.segment.file.write(self.length, out) {
            self.torn = true;
            return match is_full(&error) {
                true => self.mend().and(Err(AppendError::Full(error))),
                false => Err(AppendError::Broken(error)),
            };
        }
        if let Err(error) = self.segment.file.sync_data() {
            self.torn = true;
            return match is_full(&error) {
                // Some file systems find out only now. Where the cut is durable, all is known.
                true => self.mend().and(Err(AppendError::Full(error))),
                false => Err(AppendError::Broken(error)),
            };
        }
        self.segment.mark(first, self.length);
        self.length += out.len() as u64;
        self.chain = sum;
        self.records += records;
        Ok(())
    }

    /// Cuts off what was written in part.
    fn mend(&mut self) -> Result<(), AppendError> {
        if self.torn {
            let file = &self.segment.file;
            let cut = file.set_len(self.length).and_then(|()| file.sync_data());
            cut.map_err(AppendError::Broken)?;
            self.torn = false;
        }
        Ok(())
    }
}

/// Frames from a place on, in order, each compared with its sum and with the one before it.
pub(crate) struct Frames {
    parts: std::collections::VecDeque<Part>,
    /// Where the next frame begins in the first of the parts.
    pub(crate) offset: u64,
    /// What the next frame begins with.
    pub(crate) expected: Revision,
    /// The sum of the frame before, once one was read.
    pub(crate) chain: Option<u32>,
    window: Vec<u8>,
    window_at: u64,
}

/// What stands where a frame was looked for.
pub(crate) enum Found {
    Frame(Frame),
    /// The part ends here.
    End,
    /// No whole frame, though the part goes on.
    Nothing,
}

impl Frames {
    /// All frames that may hold what comes after a revision. Without a segment that reaches back
    /// so far it begins with the first there is.
    pub(crate) fn after(parts: &[Part], after: Revision) -> Self {
        let next = after.next();
        let begins = parts.partition_point(|(segment, _)| segment.header.first <= next);
        let parts: std::collections::VecDeque<Part> = parts
            .iter()
            .skip(begins.saturating_sub(1))
            .cloned()
            .collect();
        let first = parts.front().map(|(segment, _)| segment);
        let (expected, offset) = first.map_or((next, 0), |segment| segment.start(next));
        let begins = first.filter(|_| offset == HEADER as u64);
        Self {
            chain: begins.map(|segment| segment.header.chain),
            parts,
            offset,
            expected,
            window: Vec::new(),
            window_at: 0,
        }
    }

    /// All frames of one segment.
    pub(crate) fn of(part: &Part) -> Self {
        let first = part.0.header.first;
        let before = Revision(first.0.saturating_sub(1));
        let mut frames = Self::after(std::slice::from_ref(part), before);
        // From its beginning, where its chain is known.
        (frames.expected, frames.offset) = (first, HEADER as u64);
        frames.chain = Some(part.0.header.chain);
        frames
    }

    /// The segment that is being read.
    pub(crate) fn segment(&self) -> Option<&Arc<Segment>> {
        self.parts.front().map(|(segment, _)| segment)
    }

    /// The same, with its end.
    pub(crate) fn part(&self) -> Option<&Part> {
        self.parts.front()
    }

    /// Whether no segment comes behind the one that is being read.
    pub(crate) fn is_last(&self) -> bool {
        self.parts.len() <= 1
    }

    /// The next frame with its body; `None` at the end. Anything else that stands there is
    /// damage, named by the revision that was expected.
    pub(crate) fn next(&mut self) -> Result<Option<(Frame, &[u8])>, Failure> {
        loop {
            match self.look()? {
                Found::Frame(frame) => {
                    let body = self.pass(&frame);
                    return Ok(Some((frame, body)));
                }
                Found::Nothing => return Err(Failure::Log(self.expected)),
                Found::End if self.is_last() => return Ok(None),
                Found::End => self.switch()?,
            }
        }
    }

    /// Goes on with the next segment, which must begin where the last one ended.
    pub(crate) fn switch(&mut self) -> Result<(), Failure> {
        self.parts.pop_front();
        self.window.clear();
        let Some((segment, _)) = self.parts.front() else {
            return Ok(());
        };
        let header = &segment.header;
        let follows = self.chain.is_none_or(|chain| header.chain == chain);
        if header.first != self.expected || !follows {
            return Err(Failure::Log(self.expected));
        }
        (self.offset, self.chain) = (HEADER as u64, Some(header.chain));
        Ok(())
    }

    /// What stands at the place, without going on.
    pub(crate) fn look(&mut self) -> Result<Found, Failure> {
        let Some((segment, end)) = self.parts.front().cloned() else {
            return Ok(Found::End);
        };
        let left = end.saturating_sub(self.offset);
        if left == 0 {
            return Ok(Found::End);
        }
        let head = FRAME as u64;
        if left < head {
            return Ok(Found::Nothing);
        }
        self.fill(&*segment.file, end, FRAME)?;
        let frame = Frame::read(self.bytes(0, FRAME));
        let length = frame.length as usize;
        if frame.salt != segment.header.salt || frame.length as u64 > left - head {
            return Ok(Found::Nothing);
        }
        self.fill(&*segment.file, end, FRAME + length)?;
        let (header, body) = (self.bytes(0, FRAME), self.bytes(FRAME, length));
        let fits = frame.is_whole(header, body)
            && frame.first == self.expected
            && self.chain.is_none_or(|chain| chain == frame.chain);
        Ok(if fits {
            Found::Frame(frame)
        } else {
            Found::Nothing
        })
    }

    /// Goes on behind the frame that [`Frames::look`] found; its body.
    pub(crate) fn pass(&mut self, frame: &Frame) -> &[u8] {
        let length = frame.length as usize;
        self.expected = frame.last().next();
        self.chain = Some(frame.sum);
        self.offset += (FRAME + length) as u64;
        let end = usize::try_from(self.offset - self.window_at).unwrap_or(usize::MAX);
        self.window
            .get(end.saturating_sub(length)..end)
            .unwrap_or_default()
    }

    /// Makes sure that so many bytes from the place on are in the window, which the caller knows
    /// to be in the file.
    fn fill(&mut self, file: &dyn StorageBackend, end: u64, bytes: usize) -> Result<(), Failure> {
        let inside = self.offset >= self.window_at
            && self.offset + bytes as u64 <= self.window_at + self.window.len() as u64;
        if inside {
            return Ok(());
        }
        let most = usize::try_from(end - self.offset).unwrap_or(usize::MAX);
        self.window.resize(bytes.max(READ_BYTES).min(most), 0);
        self.window_at = self.offset;
        file.read(self.offset, &mut self.window)
            .map_err(Failure::Io)
    }

    fn bytes(&self, from: usize, length: usize) -> &[u8] {
        let at = usize::try_from(self.offset - self.window_at).unwrap_or(usize::MAX);
        let from = at.saturating_add(from);
        self.window.get(from..from + length).unwrap_or_default()
    }
}

/// Whether a whole frame stands at a place of a segment or anywhere behind it. One does only when
/// what stands before it had been synced.
pub(crate) fn frames_behind(segment: &Segment, from: u64, end: u64) -> io::Result<bool> {
    let most = usize::try_from(end.saturating_sub(from)).unwrap_or(usize::MAX);
    let mut rest = vec![0; most];
    segment.file.read(from, &mut rest)?;
    let salt = segment.header.salt.to_le_bytes();
    let mut at = 0;
    while let Some(found) = find(rest.get(at..).unwrap_or_default(), &salt) {
        at += found;
        let candidate = rest.get(at..).unwrap_or_default();
        if let Some((header, tail)) = candidate.split_at_checked(FRAME) {
            let frame = Frame::read(header);
            let body = tail.get(..frame.length as usize);
            if body.is_some_and(|body| frame.is_whole(header, body)) {
                return Ok(true);
            }
        }
        at += 1;
    }
    Ok(false)
}

fn find(bytes: &[u8], wanted: &[u8]) -> Option<usize> {
    bytes
        .windows(wanted.len())
        .position(|window| window == wanted)
}
