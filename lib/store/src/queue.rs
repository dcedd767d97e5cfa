//! The queue before an engine's commit loop: first come, first served within a lane, and lanes in
//! turn, so that one workspace that writes a lot delays itself and not the others.
//!
//! Start at [`LaneQueue::take`]. The invariant: the order within a lane is the order of arrival;
//! a lane exists only while something waits in it.

use std::collections::{BTreeMap, VecDeque};

use crate::Batch;

/// A batch that waits, and what is needed to answer it.
#[derive(Debug)]
pub struct Queued<R> {
    /// The batch.
    pub batch: Batch,
    /// Where the answer goes.
    pub reply: R,
}

impl std::fmt::Debug for Batch {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Batch")
            .field("lane", &self.lane)
            .field("ops", &self.ops.len())
            .finish()
    }
}

/// Batches by lane.
#[derive(Debug)]
pub struct LaneQueue<R> {
    lanes: BTreeMap<u64, VecDeque<Queued<R>>>,
    turn: u64,
    length: usize,
}

impl<R> Default for LaneQueue<R> {
    fn default() -> Self {
        Self {
            lanes: BTreeMap::new(),
            turn: 0,
            length: 0,
        }
    }
}

impl<R> LaneQueue<R> {
    /// Adds a batch at the end of its lane.
    pub fn push(&mut self, queued: Queued<R>) {
        self.length += 1;
        self.lanes
            .entry(queued.batch.lane)
            .or_default()
            .push_back(queued);
    }

    /// How many batches wait.
    pub fn len(&self) -> usize {
        self.length
    }

    /// Whether nothing waits.
    pub fn is_empty(&self) -> bool {
        self.length == 0
    }

    /// Takes the next group: one batch of each lane in turn, until `max_batches` or `max_bytes`
    /// are reached. At least one when any waits.
    pub fn take(&mut self, max_batches: usize, max_bytes: usize) -> Vec<Queued<R>> {
        let mut group = Vec::with_capacity(self.length.min(max_batches));
        let mut bytes = 0;
        while group.len() < max_batches {
            let next = self
                .lanes
                .range(self.turn..)
                .next()
                .or_else(|| self.lanes.iter().next());
            let Some(lane) = next.map(|(lane, _)| *lane) else {
                break;
            };
            let Some(waiting) = self.lanes.get_mut(&lane) else {
                break;
            };
            let size = waiting.front().map_or(0, |queued| queued.batch.bytes());
            if !group.is_empty() && bytes + size > max_bytes {
                break;
            }
            bytes += size;
            group.extend(waiting.pop_front());
            if waiting.is_empty() {
                self.lanes.remove(&lane);
            }
            self.turn = lane.wrapping_add(1);
        }
        self.length -= group.len();
        group
    }
}

#[cfg(test)]
mod tests {
    use super::{LaneQueue, Queued};
    use crate::{Batch, Expect, Op};

    fn queued(lane: u64, number: u32, size: usize) -> Queued<u32> {
        let op = Op {
            key: "k".into(),
            expect: Expect::Any,
            put: Some(vec![0; size].into()),
            attachment: None,
        };
        Queued {
            batch: Batch {
                lane,
                checks: Vec::new(),
                ops: vec![op],
            },
            reply: number,
        }
    }

    #[test]
    fn lanes_take_turns_and_keep_their_order() {
        let mut queue = LaneQueue::default();
        for number in 0..4 {
            queue.push(queued(1, number, 1));
        }
        queue.push(queued(u64::MAX, 10, 1));
        queue.push(queued(7, 20, 1));
        let order: Vec<u32> = queue
            .take(4, 1 << 20)
            .into_iter()
            .map(|queued| queued.reply)
            .collect();
        assert_eq!(order, [0, 20, 10, 1]);
        let order: Vec<u32> = queue
            .take(9, 1 << 20)
            .into_iter()
            .map(|queued| queued.reply)
            .collect();
        assert_eq!(order, [2, 3]);
        assert!(queue.is_empty());
    }

    #[test]
    fn a_group_ends_at_its_bytes_but_is_never_empty() {
        let mut queue = LaneQueue::default();
        queue.push(queued(1, 0, 1000));
        queue.push(queued(2, 1, 10));
        assert_eq!(queue.take(9, 100).len(), 1);
        assert_eq!(queue.take(9, 100).len(), 1);
        assert_eq!(queue.len(), 0);
    }
}
