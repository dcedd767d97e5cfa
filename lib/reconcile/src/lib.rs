//! Turns "something changed" into "bring it right, later, once": queues, loops, leases.
//!
//! Start at [`Queue`]; [`run`] turns one into a loop of workers, [`lease`] says on the wire that
//! somebody is alive. What an informer would be is [`hanse_client::Follow`] feeding a queue: no
//! object is kept twice here. Invariant: a key is worked on by one worker at a time, and a key
//! that changes while it is worked on is worked on again; all time comes from the seams, so a
//! simulation decides every order.

pub mod lease;
mod queue;
mod work;

pub use queue::{Counts, Key, Queue, Rate};
pub use work::{Outcome, run};
