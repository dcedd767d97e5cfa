//! Bodies of answers: whole, in pieces, or as a stream that goes on for as long as a watch does.
//!
//! Start at [`Body`]. A watch is written as an ordinary `async` block that hands out frames
//! through an [`Emitter`]; [`Body::generate`] turns it into an HTTP body that is polled by the
//! connection. There is no task and no channel per watch, and the block stops with its
//! connection: when the client goes away, the body is dropped, and the watcher with it.
//! The invariant: a frame that was emitted is delivered before the block is polled again, so at
//! most one frame of each watch waits in memory here.

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use bytes::Bytes;
use hanse_wire::status::Status;
use http_body::{Frame, SizeHint};
use parking_lot::Mutex;

use crate::cost::Meter;
use crate::flow::Outgoing;
use crate::limits::ANSWER_BYTES_HELD;
use crate::memory::Memory;

/// Anything that may go wrong while a body is read; the connection ends it.
pub type BodyError = Box<dyn std::error::Error + Send + Sync>;
/// The body of a request, whatever transport it came by.
pub type RequestBody = http_body_util::combinators::UnsyncBoxBody<Bytes, BodyError>;

type Pieces = Box<dyn Iterator<Item = Bytes> + Send>;
type Block = Pin<Box<dyn Future<Output = ()> + Send>>;

/// The body of an answer.
#[derive(Default)]
pub struct Body {
    kind: Kind,
    /// How many bytes the pieces have that are not taken yet, where that is known.
    left: Option<usize>,
    /// Who is charged for what goes out.
    outgoing: Option<Outgoing>,
    /// Who is told what it cost.
    meter: Option<Box<Meter>>,
    /// What is done when the last of it is sent, or nobody takes it any more.
    at_end: Option<AtEnd>,
}

type AtEnd = Box<dyn FnOnce() + Send>;

impl Drop for Body {
    fn drop(&mut self) {
        if let Some(end) = self.at_end.take() {
            end();
        }
    }
}

#[derive(Default)]
enum Kind {
    /// Nothing more to say.
    #[default]
    Done,
    /// All of it.
    Whole(Bytes),
    /// Made piece by piece as the connection takes it (lists).
    Pieces(Pieces),
    /// Emitted by a block as things happen (watches).
    Generated {
        block: Block,
        slot: Slot,
        ended: bool,
    },
}

type Slot = Arc<Mutex<Option<Bytes>>>;

impl Kind {
    fn is_generated(&self) -> bool {
        matches!(self, Self::Generated { .. })
    }

    /// Resolves once there is a next piece, or none any more.
    fn look(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        let Self::Generated { block, slot, ended } = self else {
            return Poll::Ready(());
        };
        if !*ended && slot.lock().is_none() {
            *ended = block.as_mut().poll(cx).is_ready();
        }
        match *ended || slot.lock().is_some() {
            true => Poll::Ready(()),
            false => Poll::Pending,
        }
    }

    /// The next piece; `None` at the end.
    fn take(&mut self) -> Option<Bytes> {
        match self {
            Self::Done => None,
            Self::Whole(bytes) => {
                let bytes = std::mem::take(bytes);
                *self = Self::Done;
                Some(bytes)
            }
            Self::Pieces(pieces) => pieces.next(),
            Self::Generated { slot, .. } => slot.lock().take(),
        }
    }
}

fn length(piece: &Option<Bytes>) -> usize {
    piece.as_ref().map_or(0, Bytes::len)
}

impl Body {
    fn new(kind: Kind) -> Self {
        Self {
            kind,
            left: None,
            outgoing: None,
            meter: None,
            at_end: None,
        }
    }

    /// No bytes at all.
    #[must_use]
    pub fn empty() -> Self {
        Self::new(Kind::Done)
    }

    /// Charges the bytes to a flow: at once where they are all there, piece by piece otherwise.
    pub fn charge_to(&mut self, outgoing: Outgoing) {
        match &self.kind {
            Kind::Done => drop(outgoing),
            Kind::Whole(bytes) => outgoing.whole(bytes.len()),
            Kind::Pieces(_) | Kind::Generated { .. } => self.outgoing = Some(outgoing),
        }
    }

    /// Reserves memory for a large whole body and for a stream without end.
    ///
    /// # Errors
    /// 429 when there is none left.
    pub fn hold(&mut self, memory: &Memory) -> Result<(), Box<Status>> {
        match &mut self.kind {
            Kind::Whole(bytes) if bytes.len() >= ANSWER_BYTES_HELD => {
                *bytes = memory.hold(std::mem::take(bytes))?;
            }
            Kind::Generated { .. } => {
                let watch = memory.watches.reserve(1)?;
                self.at_end(move || drop(watch));
            }
            Kind::Pieces(_) => {
                let stream = memory.streams.reserve(1)?;
                self.at_end(move || drop(stream));
            }
            Kind::Done | Kind::Whole(_) => {}
        }
        Ok(())
    }

    /// Counts what goes out, and the time that it takes to make it.
    pub fn meter(&mut self, meter: Meter) {
        self.meter = Some(Box::new(meter));
    }

    /// All bytes at once.
    #[must_use]
    pub fn whole(bytes: impl Into<Bytes>) -> Self {
        let bytes = bytes.into();
        if bytes.is_empty() {
            Self::empty()
        } else {
            Self::new(Kind::Whole(bytes))
        }
    }

    /// Pieces made as they are taken.
    #[must_use]
    pub fn pieces(pieces: impl Iterator<Item = Bytes> + Send + 'static) -> Self {
        Self::new(Kind::Pieces(Box::new(pieces)))
    }

    /// Pieces that have so many bytes together.
    #[must_use]
    pub fn pieces_of(total: usize, pieces: impl Iterator<Item = Bytes> + Send + 'static) -> Self {
        let mut body = Self::pieces(pieces);
        body.left = Some(total);
        body
    }

    /// How many bytes there are, where that is known.
    #[must_use]
    pub fn length(&self) -> Option<usize> {
        self.as_whole().map(Bytes::len).or(self.left)
    }

    /// Frames emitted by the block that `make` builds around its [`Emitter`].
    #[must_use]
    pub fn generate<F>(make: impl FnOnce(Emitter) -> F) -> Self
    where
        F: Future<Output = ()> + Send + 'static,
    {
        let slot = Slot::default();
        let block = Box::pin(make(Emitter {
            slot: Arc::clone(&slot),
        }));
        Self::new(Kind::Generated {
            block,
            slot,
            ended: false,
        })
    }

    /// Does something when the body ends, however that comes; after what was to be done already.
    pub fn at_end(&mut self, end: impl FnOnce() + Send + 'static) {
        self.at_end = Some(match self.at_end.take() {
            None => Box::new(end),
            Some(first) => Box::new(move || {
                first();
                end();
            }),
        });
    }

    /// The whole body where it has at most so many bytes, for those who want a copy.
    pub fn gathered(&mut self, most: usize) -> Option<Bytes> {
        if let Kind::Pieces(pieces) = &mut self.kind {
            let (mut taken, mut size) = (Vec::<Bytes>::new(), 0);
            while size <= most {
                let Some(piece) = pieces.next() else {
                    let whole: Vec<u8> = taken.concat();
                    self.left = None;
                    self.kind = Kind::Whole(whole.into());
                    return self.gathered(most);
                };
                size += piece.len();
                taken.push(piece);
            }
            if let Kind::Pieces(rest) = std::mem::replace(&mut self.kind, Kind::Done) {
                self.kind = Kind::Pieces(Box::new(taken.into_iter().chain(rest)));
            }
            return None;
        }
        self.as_whole().filter(|whole| whole.len() <= most).cloned()
    }

    /// Lets go of what has not been sent; answers how many bytes that was, where it is known.
    pub fn leave_out(&mut self) -> Option<usize> {
        match std::mem::replace(&mut self.kind, Kind::Done) {
            Kind::Done => Some(0),
            Kind::Whole(bytes) => Some(bytes.len()),
            Kind::Pieces(_) | Kind::Generated { .. } => self.left.take(),
        }
    }

    /// Whether this is a stream without a foreseeable end.
    #[must_use]
    pub fn is_stream(&self) -> bool {
        matches!(self.kind, Kind::Generated { .. })
    }

    /// The whole body, when it is whole.
    #[must_use]
    pub fn as_whole(&self) -> Option<&Bytes> {
        match &self.kind {
            Kind::Whole(bytes) => Some(bytes),
            _ => None,
        }
    }
}

/// Where a generating block puts its frames.
pub struct Emitter {
    slot: Slot,
}

impl Emitter {
    /// Hands out one frame; waits while the one before has not been taken.
    pub fn emit(&self, bytes: Bytes) -> impl Future<Output = ()> + '_ {
        let mut bytes = Some(bytes);
        std::future::poll_fn(move |_| {
            let mut slot = self.slot.lock();
            if slot.is_some() {
                // The body takes the frame and then polls the block again: no waker is needed.
                return Poll::Pending;
            }
            *slot = bytes.take();
            Poll::Ready(())
        })
    }
}

impl http_body::Body for Body {
    type Data = Bytes;
    type Error = BodyError;

    fn poll_frame(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        let Self {
            kind,
            left,
            outgoing,
            meter,
            ..
        } = self.get_mut();
        if kind.is_generated() {
            let mut look = || match outgoing {
                Some(outgoing) => outgoing.look(cx, |cx| kind.look(cx)),
                None => kind.look(cx),
            };
            let looked = match meter {
                Some(meter) => meter.measure(look, |_| 0),
                None => look(),
            };
            if looked.is_pending() {
                return Poll::Pending;
            }
        }
        if let Some(outgoing) = outgoing
            && outgoing.poll_ready(cx).is_pending()
        {
            return Poll::Pending;
        }
        let next = match meter {
            Some(meter) => meter.measure(|| kind.take(), length),
            None => kind.take(),
        };
        if let Some(outgoing) = outgoing {
            outgoing.sent(length(&next));
        }
        if let (Some(left), Some(bytes)) = (left, &next) {
            *left = left.saturating_sub(bytes.len());
        }
        Poll::Ready(next.map(|bytes| Ok(Frame::data(bytes))))
    }

    fn is_end_stream(&self) -> bool {
        matches!(self.kind, Kind::Done)
    }

    fn size_hint(&self) -> SizeHint {
        match &self.kind {
            Kind::Done => SizeHint::with_exact(0),
            Kind::Whole(bytes) => SizeHint::with_exact(bytes.len() as u64),
            Kind::Pieces(_) | Kind::Generated { .. } => match self.left {
                Some(left) => SizeHint::with_exact(left as u64),
                None => SizeHint::default(),
            },
        }
    }
}

#[cfg(test)]
mod tests {
    use http_body_util::BodyExt;

    use super::*;

    async fn all(body: Body) -> Vec<String> {
        let mut frames = Vec::new();
        let mut body = body;
        while let Some(frame) = body.frame().await {
            let data = frame.unwrap().into_data().unwrap();
            frames.push(String::from_utf8(data.to_vec()).unwrap());
        }
        frames
    }

    #[tokio::test]
    async fn a_block_is_delivered_frame_by_frame_to_its_end() {
        let body = Body::generate(|out| async move {
            for text in ["a", "b", "c"] {
                out.emit(Bytes::from_static(text.as_bytes())).await;
                tokio::task::yield_now().await;
            }
        });
        assert!(body.is_stream());
        assert_eq!(all(body).await, ["a", "b", "c"]);
    }

    #[tokio::test]
    async fn whole_bodies_know_their_size() {
        use http_body::Body as _;
        assert_eq!(Body::whole("abc").size_hint().exact(), Some(3));
        assert!(Body::whole("").is_end_stream());
        assert_eq!(all(Body::whole("abc")).await, ["abc"]);
        let pieces = || {
            ["x", "y"]
                .map(|p| Bytes::from_static(p.as_bytes()))
                .into_iter()
        };
        let mut gathered = Body::pieces(pieces());
        assert_eq!(gathered.gathered(1), None);
        assert_eq!(gathered.gathered(2).as_deref(), Some(&b"xy"[..]));
        assert_eq!(all(Body::pieces(pieces())).await, ["x", "y"]);
    }
}
