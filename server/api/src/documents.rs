//! Documents that depend only on what a logical cluster serves, made once for all that serve the
//! same: discovery and OpenAPI.
//!
//! Start at [`Documents::get`]. The key is the hash of the surface, so ten thousand workspaces with
//! the same bindings share one document. The invariant: the cache is bounded by count and bytes,
//! and what falls out is made again when it is asked for.

use std::collections::VecDeque;
use std::fmt::Write as _;
use std::sync::Arc;

use bytes::Bytes;
use hashbrown::HashMap;
use http::header;
use parking_lot::Mutex;

use crate::answer::Answer;
use crate::limits::{DOCUMENTS_BYTES_MAX, DOCUMENTS_MAX};

/// A document and its name by content.
#[derive(Debug)]
pub struct Document {
    /// The bytes.
    pub bytes: Bytes,
    /// Upper-case hexadecimal digits of its SHA-512.
    pub hash: String,
    /// When it was made here, seconds since 1970.
    pub made: i64,
}

impl Document {
    /// Names bytes by their content. `made` are seconds since 1970.
    #[must_use]
    pub fn new(bytes: Vec<u8>, made: i64) -> Self {
        use sha2::Digest;
        let digest = sha2::Sha512::digest(&bytes);
        let hash = digest
            .iter()
            .fold(String::with_capacity(128), |mut hash, byte| {
                let _ = write!(hash, "{byte:02X}");
                hash
            });
        Self {
            bytes: bytes.into(),
            hash,
            made,
        }
    }

    /// The document, or 304 for a client that has it already.
    #[must_use]
    pub fn answer(&self, content_type: &'static str, if_none_match: Option<&str>) -> Answer {
        let tag = format!("\"{}\"", self.hash);
        let known = if_none_match.is_some_and(|given| {
            given
                .split(',')
                .any(|one| one.trim().trim_start_matches("W/") == tag)
        });
        let answer = match known {
            true => Answer::bytes(304, content_type, Bytes::new()),
            false => Answer::bytes(200, content_type, self.bytes.clone()),
        };
        answer.with_header(header::ETAG, &tag)
    }

    /// The same with the time at which it was made, as OpenAPI documents have it.
    #[must_use]
    pub fn dated(&self, content_type: &'static str, if_none_match: Option<&str>) -> Answer {
        self.answer(content_type, if_none_match)
            .with_header(header::LAST_MODIFIED, &http_date(self.made))
    }
}

/// `Sat, 21 Nov 2026 02:42:01 GMT`.
#[must_use]
pub fn http_date(seconds: i64) -> String {
    const DAYS: [&str; 7] = ["Thu", "Fri", "Sat", "Sun", "Mon", "Tue", "Wed"];
    const MONTHS: [&str; 12] = [
        "Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec",
    ];
    let text = hanse_wire::time::format(seconds.saturating_mul(1_000_000));
    // 2026-11-21T02:42:01Z
    let part = |from: usize, to: usize| text.get(from..to).unwrap_or_default();
    let month = part(5, 7).parse::<usize>().unwrap_or(1).clamp(1, 12);
    let day = usize::try_from(seconds.div_euclid(24 * 3600).rem_euclid(7)).unwrap_or(0);
    format!(
        "{}, {} {} {} {} GMT",
        DAYS[day],
        part(8, 10),
        MONTHS[month - 1],
        part(0, 4),
        part(11, 19)
    )
}

type Key = ([u8; 32], String);

/// The cache.
#[derive(Default)]
pub struct Documents(Mutex<Kept>);

#[derive(Default)]
struct Kept {
    documents: HashMap<Key, Arc<Document>>,
    order: VecDeque<Key>,
    bytes: usize,
}

impl Documents {
    /// A kept document by the name of its content.
    pub fn by_hash(&self, hash: &str) -> Option<Arc<Document>> {
        let kept = self.0.lock();
        kept.order.iter().find_map(|key| {
            let document = kept.documents.get(key)?;
            (document.hash == hash).then(|| Arc::clone(document))
        })
    }

    /// The document called `name` of the surface with this hash, made by `make` when it is not
    /// there; `now` are seconds since 1970. Two callers at once may both make it; the bytes are
    /// the same.
    pub fn get(
        &self,
        surface: [u8; 32],
        name: &str,
        now: i64,
        make: impl FnOnce() -> Option<Vec<u8>>,
    ) -> Option<Arc<Document>> {
        let key = (surface, name.to_owned());
        if let Some(found) = self.0.lock().documents.get(&key) {
            return Some(Arc::clone(found));
        }
        let made = Arc::new(Document::new(make()?, now));
        let mut kept = self.0.lock();
        if kept
            .documents
            .insert(key.clone(), Arc::clone(&made))
            .is_none()
        {
            kept.bytes += made.bytes.len();
            kept.order.push_back(key);
        }
        while kept.order.len() > DOCUMENTS_MAX || kept.bytes > DOCUMENTS_BYTES_MAX {
            let Some(oldest) = kept.order.pop_front() else {
                break;
            };
            let gone = kept.documents.remove(&oldest);
            kept.bytes -= gone.map_or(0, |gone| gone.bytes.len());
        }
        Some(made)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn documents_are_shared_by_surface_and_bounded() {
        let documents = Documents::default();
        let first = documents
            .get([1; 32], "apis", 0, || Some(b"x".to_vec()))
            .unwrap();
        let second = documents
            .get([1; 32], "apis", 0, || panic!("made twice"))
            .unwrap();
        assert!(Arc::ptr_eq(&first, &second));
        assert!(documents.get([2; 32], "apis", 0, || None).is_none());
        for n in 0..DOCUMENTS_MAX {
            documents.get([1; 32], &n.to_string(), 0, || Some(Vec::new()));
        }
        let again = documents
            .get([1; 32], "apis", 0, || Some(b"y".to_vec()))
            .unwrap();
        assert_eq!(&again.bytes[..], b"y");
    }

    #[test]
    fn dates_are_those_of_http() {
        assert_eq!(http_date(0), "Thu, 01 Jan 1970 00:00:00 GMT");
        assert_eq!(http_date(1_795_228_921), "Sat, 21 Nov 2026 02:42:01 GMT");
    }

    #[test]
    fn a_client_that_has_it_gets_nothing() {
        let document = Document::new(b"{}".to_vec(), 0);
        let tag = format!("\"{}\"", document.hash);
        assert_eq!(tag.len(), 130);
        assert_eq!(document.answer("application/json", Some(&tag)).code, 304);
        assert_eq!(document.answer("application/json", Some("\"x\"")).code, 200);
    }
}
