//! A watch that goes on: list, watch, resume after a break, start over after a 410.
//!
//! Start at [`Follow::next`]. The protocol that a consumer sees: `Restart`, then `Seen` for every
//! object that exists, then `Complete` (whatever was not seen since `Restart` is gone), then
//! `Seen` and `Gone` as things happen. After a break only the gap is told; after a 410 the
//! sequence begins again with `Restart`. With a version to start from, the first list is spared.
//!
//! Invariant: `version()` is a point from which following again loses nothing that was told.

use std::time::Duration;

use serde_json::Value;

use hanse_seams::Seams;

use crate::api::{Api, EventKind, List, Watch};
use crate::error::Error;
use crate::limits::{RETRY_FIRST, RETRY_MAX};
use crate::request::Resource;

/// What a follower is told.
#[derive(Debug)]
pub enum Notice {
    /// Everything is told again from here.
    Restart,
    /// The object exists and looks like this.
    Seen(Value),
    /// The object is gone; this is how it looked.
    Gone(Value),
    /// All objects have been told since `Restart`.
    Complete,
    /// Nothing happened up to [`Follow::version`].
    Quiet,
    /// The line is broken or the server refuses; following goes on by itself after a pause.
    Broken(Error),
}

enum State {
    /// Nothing is known; the next step lists.
    Empty,
    /// A list came; its pages are being told.
    Listing {
        items: std::vec::IntoIter<Value>,
        token: String,
        kind: (String, Value),
    },
    /// All is told up to the version; the next step opens a watch.
    Waiting,
    /// A watch runs.
    Watching(Watch),
}

/// A resource being followed.
pub struct Follow {
    api: Api,
    resource: Resource,
    list: List,
    seams: Seams,
    state: State,
    version: String,
    listed: String,
    pause: Duration,
    resume: Option<Duration>,
}

impl Follow {
    /// Follows a resource; from `version` on when it is not empty, else from a list.
    #[must_use]
    pub fn new(api: Api, resource: Resource, list: List, seams: Seams, version: String) -> Self {
        let state = if version.is_empty() {
            State::Empty
        } else {
            State::Waiting
        };
        Self {
            api,
            resource,
            list,
            seams,
            state,
            version,
            listed: String::new(),
            pause: RETRY_FIRST,
            resume: None,
        }
    }

    /// Where following can go on without a list.
    #[must_use]
    pub fn version(&self) -> &str {
        &self.version
    }

    /// Goes on from a version up to which the caller has made up for everything by itself: after a
    /// 410 that spares the list.
    pub fn resume_at(&mut self, version: String) {
        self.version = version;
        self.state = State::Waiting;
        self.resume = None;
        self.pause = RETRY_FIRST;
    }

    /// Waits for the next notice. Never ends by itself; dropping the wait loses nothing.
    pub async fn next(&mut self) -> Notice {
        loop {
            // A moment rather than a length, so that a caller who gives up waiting and comes back
            // neither starts the pause again nor escapes it.
            if let Some(resume) = self.resume {
                let now = self.seams.clock.monotonic();
                self.seams.clock.sleep(resume.saturating_sub(now)).await;
                self.resume = None;
            }
            if let Some(notice) = self.step().await {
                return notice;
            }
        }
    }

    async fn step(&mut self) -> Option<Notice> {
        match &mut self.state {
            State::Empty => match self.page(String::new()).await {
                Ok(()) => Some(Notice::Restart),
                Err(error) => Some(self.broken(error)),
            },
            State::Listing { items, token, kind } => {
                if let Some(mut item) = items.next() {
                    if item.get("kind").is_none() {
                        item["kind"] = Value::String(kind.0.clone());
                        item["apiVersion"] = kind.1.clone();
                    }
                    return Some(Notice::Seen(item));
                }
                if token.is_empty() {
                    self.version = std::mem::take(&mut self.listed);
                    self.state = State::Waiting;
                    return Some(Notice::Complete);
                }
                let token = token.clone();
                match self.page(token).await {
                    Ok(()) => None,
                    Err(error) => {
                        self.state = State::Empty;
                        Some(self.broken(error))
                    }
                }
            }
            State::Waiting => {
                match self
                    .api
                    .watch(&self.resource, &self.list, &self.version)
                    .await
                {
                    Ok(watch) => {
                        self.state = State::Watching(watch);
                        None
                    }
                    Err(error) => Some(self.broken(error)),
                }
            }
            State::Watching(watch) => match watch.next().await {
                Some(Ok(event)) => {
                    self.pause = RETRY_FIRST;
                    let version = event.version().to_owned();
                    if !version.is_empty() {
                        self.version = version;
                    }
                    Some(match event.kind {
                        EventKind::Added | EventKind::Modified => Notice::Seen(event.object),
                        EventKind::Deleted => Notice::Gone(event.object),
                        EventKind::Bookmark => Notice::Quiet,
                    })
                }
                Some(Err(error)) => Some(self.broken(error)),
                None => {
                    // A server ends watches as a matter of course; one that ends each of them at
                    // once is not asked without a pause.
                    self.rest();
                    self.state = State::Waiting;
                    None
                }
            },
        }
    }

    /// Plans the pause before the next attempt: half fixed, half drawn, so that many followers of
    /// one server do not come back at once.
    fn rest(&mut self) {
        let half = u64::try_from(self.pause.as_millis() / 2).unwrap_or(0);
        let drawn = Duration::from_millis(half + self.seams.rng.below(half + 1));
        self.resume = Some(self.seams.clock.monotonic() + drawn);
        self.pause = (self.pause * 2).min(RETRY_MAX);
    }

    async fn page(&mut self, token: String) -> Result<(), Error> {
        let mut page = self.api.page(&self.resource, &self.list, &token).await?;
        let Value::Array(items) = page["items"].take() else {
            return Err(Error::Malformed("a list without items".into()));
        };
        let token = page["metadata"]["continue"]
            .as_str()
            .unwrap_or_default()
            .to_owned();
        let kind = page["kind"].as_str().and_then(|k| k.strip_suffix("List"));
        let kind = (
            kind.unwrap_or_default().to_owned(),
            page["apiVersion"].take(),
        );
        let version = page["metadata"]["resourceVersion"].as_str();
        self.listed = version.unwrap_or_default().to_owned();
        self.pause = RETRY_FIRST;
        self.state = State::Listing {
            items: items.into_iter(),
            token,
            kind,
        };
        Ok(())
    }

    fn broken(&mut self, error: Error) -> Notice {
        if error.is_expired() {
            self.version.clear();
            self.state = State::Empty;
        } else if !matches!(self.state, State::Empty) {
            self.state = State::Waiting;
        }
        if let Some(after) = error.retry_after() {
            self.pause = self.pause.max(after.min(RETRY_MAX));
        }
        self.rest();
        Notice::Broken(error)
    }
}
