//! Every event of every resource, in order: what feeds controllers.
//!
//! A [`Cursor`] reads the hub's memory of all recent events, and below it the store's log. Its
//! position can be saved in the store, so that a restarted controller replays from there; where
//! the log does not reach back so far it scans, as [`ReadError::TooOld`] tells it.

use crate::event::Event;
use crate::hub::Hub;
use crate::table::ReadError;
use crate::txn::CommitError;

/// See the module's own words.
#[derive(Debug)]
pub struct Cursor {
    hub: Hub,
    position: u64,
}

impl Cursor {
    pub(crate) fn new(hub: Hub, position: u64) -> Self {
        Self { hub, position }
    }

    /// The version up to which all events were given out.
    pub fn position(&self) -> u64 {
        self.position
    }

    /// The next events in order, at least one and `max` at most. Waits for them; dropping
    /// the future loses nothing.
    pub async fn next_batch(&mut self, max: usize) -> Result<Vec<Event>, ReadError> {
        loop {
            let seen = self.hub.version();
            match self.hub.recent_after(self.position, max.max(1)) {
                Some((events, position)) => {
                    self.position = position;
                    if !events.is_empty() {
                        return Ok(events);
                    }
                    self.hub.wait_for(seen + 1).await;
                }
                None => {
                    let page = self.hub.log_after(self.position).await?;
                    let after = self.position;
                    let later = page.events.iter().filter(|event| event.version() > after);
                    let events: Vec<Event> = later.take(max.max(1)).cloned().collect();
                    // A page that was taken to its end covers more than its last event.
                    let last = page.events.last().map(Event::version);
                    let taken = events.last().map(Event::version);
                    self.position = match taken {
                        Some(version) if taken != last => version,
                        _ => page.end.max(after),
                    };
                    if !events.is_empty() {
                        return Ok(events);
                    }
                }
            }
        }
    }

    /// Writes the position down under a name, for [`Hub::saved_position`] after a restart. What
    /// was processed since the last call is replayed then, so call it after the work is done.
    pub async fn save(&self, name: &str) -> Result<(), CommitError> {
        self.hub.save_position(name, self.position).await
    }
}
