//! Writing again what lies in another form than it would get now: after a rotation of keys, or
//! after a kind was chosen.
//!
//! Start at [`Vault::keep_fresh`]. A stale value is committed again as it is, under the condition
//! that nobody wrote it meanwhile; to clients that is an update without a change, as Kubernetes'
//! own way (`kubectl replace`) is. The invariant: it holds up nobody. It looks at a page at a time,
//! and writes no faster than it was told.

use std::time::Duration;

use bytes::Bytes;
use hanse_seams::Shutdown;
use hanse_store::{Batch, CommitError, Entry, Expect, Op, Range, ReadError, Store as _};

use crate::limits::REWRITE_PAGE;
use crate::store::Vault;

/// What one pass did.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Rewritten {
    /// Values of chosen kinds.
    pub looked: u64,
    /// Those that were written again.
    pub written: u64,
    /// Those that could not be, for now.
    pub failed: u64,
}

impl Vault {
    /// One pass over all values of chosen kinds, writing at most `rate` a second.
    ///
    /// # Errors
    /// The store cannot be read.
    pub async fn rewrite(&self, rate: u32) -> Result<Rewritten, ReadError> {
        let rules = self.shared.rules.load_full();
        let mut prefixes: Vec<String> = rules.resources().map(|r| r.prefix()).collect();
        // Bodies that many objects share follow the rules of what they were made from.
        prefixes.push("!part/".to_owned());
        prefixes.sort_unstable();
        let (mut done, mut covered) = (Rewritten::default(), None::<String>);
        for prefix in prefixes {
            if covered
                .as_ref()
                .is_some_and(|wide| prefix.starts_with(wide))
            {
                continue;
            }
            self.rewrite_below(&prefix, rate, &mut done).await?;
            covered = Some(prefix);
        }
        Ok(done)
    }

    async fn rewrite_below(
        &self,
        prefix: &str,
        rate: u32,
        done: &mut Rewritten,
    ) -> Result<(), ReadError> {
        let shared = &self.shared;
        let mut start = Bytes::copy_from_slice(prefix.as_bytes());
        loop {
            let range = Range {
                start,
                end: None,
                at: None,
                limit: REWRITE_PAGE,
            };
            let page = shared.inner.range(range).await?;
            let mut inside = true;
            for entry in &page.entries {
                inside = entry.key.starts_with(prefix.as_bytes());
                if !inside {
                    break;
                }
                done.looked += 1;
                if self.rewrite_one(entry, done).await {
                    let pause = Duration::from_secs(1) / rate.max(1);
                    shared.seams.clock.sleep(pause).await;
                }
            }
            match page.entries.last() {
                Some(last) if page.more && inside => {
                    start = [&last.key[..], b"\0"].concat().into();
                }
                _ => return Ok(()),
            }
        }
    }

    /// Whether it tried to write.
    async fn rewrite_one(&self, entry: &Entry, done: &mut Rewritten) -> bool {
        let Entry {
            key,
            version,
            value,
        } = entry;
        let plain = match self.shared.opened(key, value).await {
            Ok(plain) => plain,
            Err(error) => {
                tracing::warn!(%error, "a value cannot be written again");
                done.failed += 1;
                return false;
            }
        };
        if !self.shared.is_stale(key, value, &plain) {
            return false;
        }
        let op = Op {
            key: key.clone(),
            expect: Expect::Version(*version),
            put: Some(plain),
            attachment: None,
        };
        let batch = Batch {
            ops: vec![op],
            ..Batch::default()
        };
        match self.commit(batch).await {
            Ok(_) => done.written += 1,
            // Whoever was faster has written it in the new form.
            Err(CommitError::Conflict { .. }) => {}
            Err(error) => {
                tracing::warn!(%error, "a value cannot be written again");
                done.failed += 1;
            }
        }
        true
    }

    /// Makes a pass now, and one whenever what values are sealed with has changed; again after a
    /// while when some could not be written.
    pub async fn keep_fresh(self, rate: u32, stop: Shutdown) {
        /// Until values that failed are tried again.
        const AGAIN: Duration = Duration::from_secs(60);
        let mut changed = self.shared.changed.subscribe();
        loop {
            changed.borrow_and_update();
            let pass = tokio::select! {
                biased;
                () = stop.wait() => return,
                pass = self.rewrite(rate) => pass,
            };
            let failed = match pass {
                Ok(Rewritten {
                    looked,
                    written,
                    failed,
                }) => {
                    if written > 0 || failed > 0 {
                        tracing::info!(looked, written, failed, "values were written anew");
                    }
                    failed > 0
                }
                Err(error) => {
                    tracing::warn!(%error, "values cannot be looked at to be written anew");
                    true
                }
            };
            tokio::select! {
                biased;
                () = stop.wait() => return,
                news = changed.changed() => if news.is_err() { return },
                () = self.shared.seams.clock.sleep(AGAIN), if failed => {}
            }
        }
    }
}
