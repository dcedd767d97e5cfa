//! Keeps the treaty when the line is cut: loops, local journal, back-pressure.
//!
//! Start at [`Agent::start`]. Its loops share one [`table`]: the inbox brings intents, appliers
//! bring them below, watchers see what became of them and what was born or warned of beside them,
//! tokens of Pods are renewed, reporters tell the hub, a heartbeat says that all this is alive.
//! Each talks to one side only, so a dead hub stops no repair and a dead site no heartbeat.
//!
//! Invariants: an intent is in the journal before it is acted on; nothing below is deleted or
//! taken that does not carry our marks; an object that cannot be applied waits alone; nothing is
//! written, on either side, without a difference. Deliberately elsewhere: what to render and how
//! to read conflicts (`hanse-projection`), flags and files (`hanse-syncer`).

mod agent;
mod apply;
mod below;
mod beside;
mod failure;
mod gap;
mod guard;
mod heartbeat;
mod inbox;
mod inventory;
mod join;
mod journal;
mod limits;
mod remove;
mod report;
mod table;
mod token;
mod warnings;

pub use agent::{Agent, Setup};
pub use heartbeat::{Facts, facts};
pub use join::{Identity, JoinError, join, lifetime, renew};
pub use journal::{Change, Disk, Journal, JournalError, Memory};
