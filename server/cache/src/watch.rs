//! A watcher: events of one scope from a version on, without gap or double.
//!
//! Start at [`Watcher::next`]. New events come through a bounded [`Mailbox`] that the hub fills; a
//! watcher that starts in the past or falls behind reads the resource's ring instead, and below
//! the ring the store's log, until it has caught up. The invariant: `returned` is the version up
//! to which every event of the scope was given out or found not to be selected.

use std::collections::VecDeque;
use std::sync::Arc;

use hanse_seams::{Bug, Planted};
use parking_lot::Mutex;
use tokio::sync::Notify;

use crate::event::{Event, WatchEvent};
use crate::hub::Hub;
use crate::limits::WATCHER_QUEUE;
use crate::names::{ResourceId, Scope};
use crate::table::{Filter, ReadError};

/// Where a watch begins.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum From {
    /// After this version. A version that is not there yet waits for it in silence.
    Version(u64),
    /// With the next event.
    Now,
}

/// Where the hub puts a watcher's events.
pub(crate) struct Mailbox {
    scope: Scope,
    queue: Mutex<Queue>,
    bell: Notify,
    planted: Planted,
}

/// Of so many commits a planted bug loses the events of one.
const LOST_EVERY: u64 = 7;

#[derive(Default)]
struct Queue {
    events: VecDeque<Event>,
    /// Whether the hub delivers here: the watcher has caught up and has not fallen behind since.
    live: bool,
    /// What happened later is not told any more.
    cut: Option<u64>,
}

impl Mailbox {
    fn new(scope: Scope, planted: Planted) -> Arc<Self> {
        Arc::new(Self {
            scope,
            queue: Mutex::default(),
            bell: Notify::new(),
            planted,
        })
    }

    pub(crate) fn scope(&self) -> &Scope {
        &self.scope
    }

    /// Adds an event; true when the watcher has to be woken.
    pub(crate) fn deliver(&self, event: &Event) -> bool {
        let mut queue = self.queue.lock();
        if !queue.live || queue.cut.is_some() {
            return false;
        }
        if self.planted.is(Bug::LostEvent) && (event.version() >> 8).is_multiple_of(LOST_EVERY) {
            return false;
        }
        if queue.events.len() >= WATCHER_QUEUE {
            // It reads on from the ring, which has these events too.
            queue.events = VecDeque::new();
            queue.live = false;
            return true;
        }
        queue.events.push_back(event.clone());
        queue.events.len() == 1
    }

    pub(crate) fn wake(&self) {
        self.bell.notify_one();
    }

    pub(crate) fn cut(&self, version: u64) {
        self.queue.lock().cut.get_or_insert(version);
        self.bell.notify_one();
    }
}

/// See the module's own words. Ends when dropped.
pub struct Watcher {
    hub: Hub,
    resource: ResourceId,
    mailbox: Arc<Mailbox>,
    filter: Option<Filter>,
    /// Events read from the ring or the log and not given out yet.
    backlog: VecDeque<Event>,
    returned: u64,
    /// Up to where events were read into `backlog`.
    read: u64,
}

enum Next {
    Event(Event),
    Wait,
    CatchUp,
}

impl Watcher {
    pub(crate) fn new(
        hub: Hub,
        resource: ResourceId,
        scope: Scope,
        after: u64,
        filter: Option<Filter>,
    ) -> Self {
        let mailbox = Mailbox::new(scope, hub.shared.config.planted);
        Self {
            hub,
            resource,
            mailbox,
            filter,
            backlog: VecDeque::new(),
            returned: after,
            read: after,
        }
    }

    pub(crate) fn mailbox(&self) -> &Arc<Mailbox> {
        &self.mailbox
    }

    /// The next event that is selected. Waits for it; dropping the future loses nothing.
    pub async fn next(&mut self) -> Result<WatchEvent, ReadError> {
        loop {
            if let Some(event) = self.try_next()? {
                return Ok(event);
            }
            if !self.is_live() {
                // Below the ring: read on from the store's log.
                self.read_log().await?;
                continue;
            }
            self.mailbox.bell.notified().await;
        }
    }

    /// The next event if it is there already. `None` says that there is nothing in memory now;
    /// only [`Watcher::next`] reads the store's log.
    pub fn try_next(&mut self) -> Result<Option<WatchEvent>, ReadError> {
        loop {
            let event = match self.step()? {
                Next::Event(event) => event,
                Next::Wait => return Ok(None),
                Next::CatchUp => match self.catch_up() {
                    true => continue,
                    false => return Ok(None),
                },
            };
            let version = event.version();
            let seen = (version > self.returned).then(|| event.seen(self.filter.as_ref()));
            self.returned = self.returned.max(version);
            if let Some(seen) = seen.flatten() {
                return Ok(Some(seen));
            }
        }
    }

    /// A version up to which this watcher has been given everything: what a bookmark carries.
    /// The present one when nothing is waiting.
    pub fn bookmark(&mut self) -> u64 {
        let mailbox = &self.mailbox;
        let idle = || {
            let queue = mailbox.queue.lock();
            queue.live && queue.events.is_empty()
        };
        if self.backlog.is_empty() {
            // Nothing is published between the look into the queue and the version.
            let current = self.hub.version_if(idle);
            self.returned = self.returned.max(current.unwrap_or(0));
        }
        self.returned
    }

    /// What is watched.
    pub fn resource(&self) -> &ResourceId {
        &self.resource
    }

    /// Where it is watched.
    pub fn scope(&self) -> &Scope {
        &self.mailbox.scope
    }

    fn is_live(&self) -> bool {
        self.mailbox.queue.lock().live
    }

    fn step(&mut self) -> Result<Next, ReadError> {
        let mut queue = self.mailbox.queue.lock();
        let over = |event: &Event| queue.cut.is_some_and(|cut| event.version() > cut);
        if self.backlog.front().is_some_and(over) {
            return Err(ReadError::Cut);
        }
        if let Some(event) = self.backlog.pop_front() {
            return Ok(Next::Event(event));
        }
        if !queue.live {
            return Ok(Next::CatchUp);
        }
        match queue.events.pop_front() {
            Some(event) => {
                self.read = self.read.max(event.version());
                Ok(Next::Event(event))
            }
            None if queue.cut.is_some() => Err(ReadError::Cut),
            None => Ok(Next::Wait),
        }
    }

    /// Reads on from the ring, and goes live at its end; false when the ring begins later.
    fn catch_up(&mut self) -> bool {
        let mailbox = self.mailbox.clone();
        let batch = self
            .hub
            .ring_after(&self.resource, mailbox.scope(), self.read, || {
                mailbox.queue.lock().live = true;
            });
        let Some((events, read)) = batch else {
            return false;
        };
        self.backlog.extend(events);
        self.read = self.read.max(read);
        true
    }

    async fn read_log(&mut self) -> Result<(), ReadError> {
        let page = self.hub.log_after(self.read).await?;
        let wanted = |event: &&Event| {
            let key = event.object().key();
            event.version() > self.read
                && key.resource == self.resource
                && self.mailbox.scope.contains(key)
        };
        let events: Vec<Event> = page.events.iter().filter(wanted).cloned().collect();
        self.backlog.extend(events);
        self.read = self.read.max(page.end);
        Ok(())
    }
}

impl Drop for Watcher {
    fn drop(&mut self) {
        self.hub.leave(&self.resource, &self.mailbox);
    }
}

impl std::fmt::Debug for Watcher {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(
            f,
            "Watcher({} {:?} @{})",
            self.resource, self.mailbox.scope, self.returned
        )
    }
}
