//! Work that takes long enough to be felt by others: schemas, rules, large bodies, compression.
//!
//! Start at [`LongWork::begin`], which a request awaits before such work. It is only a mark: the
//! request's turn takes its seats from the queue for long work from then on
//! ([`crate::flow::Turn::run`]), and whoever drives the request moves it to other threads, which
//! the system may take from it at any time. The invariant: what follows `begin` may compute for
//! seconds, and the threads that answer all others do not stand still meanwhile.

use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use hanse_cache::Hub;
use hanse_kinds::def::Shape;
use hanse_wire::gzip;
use http::header;
use http::request::Parts as Head;

use crate::answer::Answer;
use crate::body::Body;
use crate::call::{Call, Target};
use crate::limits::LONG_WORK_BYTES;
use crate::series;

/// The mark of one request; clones are the same mark.
#[derive(Clone, Debug, Default)]
pub struct LongWork(Arc<AtomicBool>);

impl LongWork {
    /// The mark that whoever drives a request gave it.
    #[must_use]
    pub fn of(head: &Head) -> Self {
        head.extensions.get::<Self>().cloned().unwrap_or_default()
    }

    /// Whether the request has come to long work.
    #[must_use]
    pub fn has_begun(&self) -> bool {
        self.0.load(Ordering::Relaxed)
    }

    /// The mark as a flag.
    #[must_use]
    pub fn flag(&self) -> &AtomicBool {
        &self.0
    }

    /// Sets the mark and lets go of the thread once, so that the mark is seen.
    pub async fn begin(&self) {
        if !self.0.swap(true, Ordering::Relaxed) {
            tokio::task::yield_now().await;
        }
    }

    /// The same if it is so.
    pub async fn begin_if(&self, long: bool) {
        if long {
            self.begin().await;
        }
    }
}

/// Kinds whose objects define others: to judge one is to compile schemas and rules.
const DEFINITIONS: [&str; 4] = [
    "customresourcedefinitions",
    "apiresourceschemas",
    "apiexports",
    "validatingadmissionpolicies",
];

/// Whether a request with a body of so many bytes may take more than a millisecond: it writes
/// something large, or others' rules run. What reads decide for themselves is theirs.
#[must_use]
pub fn is_long(hub: &Hub, call: &Call<'_>, target: &Target, bytes: usize) -> bool {
    if call.info.verb.is_read() {
        return false;
    }
    let def = &target.def;
    // Rules of kinds that this program defines are known to be short.
    let ours = series::named(&def.group, &def.version, &def.plural, "").is_ours();
    let rules = match &def.schema.shape {
        Shape::Structural(schema) => !ours && schema.has_rules(),
        Shape::Native(_) => false,
    };
    let current = || {
        let key = target.key(call, call.info.name).ok()?;
        Some(hub.get(&key)?.json_len())
    };
    rules
        || bytes > LONG_WORK_BYTES
        || DEFINITIONS.contains(&def.plural.as_str())
        || !call.info.name.is_empty() && current().is_some_and(|len| len > LONG_WORK_BYTES)
}

/// Compresses a large whole body for clients that take it (NEG-15).
pub async fn compressed(head: &Head, long: &LongWork, mut answer: Answer) -> Answer {
    let accepted = head
        .headers
        .get(header::ACCEPT_ENCODING)
        .and_then(|v| v.to_str().ok());
    let Some(length) = answer.body.length() else {
        return answer;
    };
    if answer.headers.contains_key(header::CONTENT_ENCODING) || !gzip::wanted(accepted, length) {
        return answer;
    }
    long.begin().await;
    let whole = answer.body.gathered(length);
    let Some(small) = whole.and_then(|whole| gzip::compress(&whole)) else {
        return answer;
    };
    let answer = Answer {
        body: Body::whole(small),
        ..answer
    };
    answer
        .with_header(header::CONTENT_ENCODING, "gzip")
        .with_header(header::VARY, "Accept-Encoding")
}

/// Runs a future; `None` when it panicked.
pub async fn catch<T>(future: impl Future<Output = T>) -> Option<T> {
    let mut future = std::pin::pin!(future);
    std::future::poll_fn(move |cx| {
        let poll = AssertUnwindSafe(|| future.as_mut().poll(cx));
        match std::panic::catch_unwind(poll) {
            Ok(poll) => poll.map(Some),
            Err(_) => std::task::Poll::Ready(None),
        }
    })
    .await
}
