//! The queue before an engine's commit loop: first come, first served within a lane, and lanes in
//! turn, each for as many bytes, so that one workspace that writes a lot delays itself and not the
//! others.
//!
//! Start at [`LaneQueue::take`]. The invariant: the order within a lane is the order of arrival; a
//! lane exists only while something waits in it; while others wait, no lane has more bytes in a
//! group than its credit, and what is larger than that saves up for it.

use std::collections::{BTreeMap, VecDeque};

use crate::Batch;
use crate::limits::LANE_BYTES;

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
    lanes: BTreeMap<u64, Lane<R>>,
    turn: u64,
    length: usize,
}

#[derive(Debug)]
struct Lane<R> {
    waiting: VecDeque<Queued<R>>,
    /// Bytes that it may commit before others.
    credit: usize,
}

impl<R> Lane<R> {
    /// The bytes of what comes next.
    fn next_bytes(&self) -> usize {
        self.waiting
            .front()
            .map_or(0, |queued| queued.batch.bytes())
    }
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
        let new = || Lane {
            waiting: VecDeque::new(),
            credit: 0,
        };
        let lane = self.lanes.entry(queued.batch.lane).or_insert_with(new);
        lane.waiting.push_back(queued);
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
    /// are reached, or nothing is left that its lane has credit for. At least one when any waits.
    pub fn take(&mut self, max_batches: usize, max_bytes: usize) -> Vec<Queued<R>> {
        for lane in self.lanes.values_mut() {
            lane.credit += LANE_BYTES;
        }
        let mut group = Vec::with_capacity(self.length.min(max_batches));
        let (mut bytes, mut passed) = (0, 0);
        let alone = self.lanes.len() == 1;
        while group.len() < max_batches && passed < self.lanes.len() {
            let next = self.lanes.range_mut(self.turn..).next();
            let next = match next {
                Some(next) => Some(next),
                None => self.lanes.iter_mut().next(),
            };
            let Some((name, lane)) = next else { break };
            let (name, size) = (*name, lane.next_bytes());
            if !group.is_empty() && bytes + size > max_bytes {
                break;
            }
            self.turn = name.wrapping_add(1);
            if size > lane.credit && !alone {
                passed += 1;
                continue;
            }
            (bytes, passed) = (bytes + size, 0);
            lane.credit = lane.credit.saturating_sub(size);
            group.extend(lane.waiting.pop_front());
            if lane.waiting.is_empty() {
                self.lanes.remove(&name);
            }
        }
        if group.is_empty() {
            group.extend(self.take_richest());
        }
        self.length -= group.len();
        group
    }

    /// The next batch of the lane that has saved most for it, when no lane has enough.
    fn take_richest(&mut self) -> Option<Queued<R>> {
        let missing = |lane: &Lane<R>| lane.next_bytes().saturating_sub(lane.credit);
        let richest = self.lanes.iter().min_by_key(|(_, lane)| missing(lane));
        let name = *richest?.0;
        let lane = self.lanes.get_mut(&name)?;
        lane.credit = 0;
        let queued = lane.waiting.pop_front();
        if lane.waiting.is_empty() {
            self.lanes.remove(&name);
        }
        queued
    }
}

#[cfg(test)]
mod tests {
    use super::{LaneQueue, Queued};
    use crate::limits::LANE_BYTES;
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

    /// A lane of large batches waits for others' small ones, but not for ever.
    #[test]
    fn lanes_take_turns_by_bytes() {
        let mut queue = LaneQueue::default();
        for number in 0..3 {
            queue.push(queued(1, number, 4 * LANE_BYTES));
        }
        let mut small = 100;
        let mut order = Vec::new();
        for _ in 0..10 {
            for lane in [2, 3] {
                queue.push(queued(lane, small, 10));
                small += 1;
            }
            order.push(queue.take(1_000, 8 << 20).len());
        }
        // Once it has saved up, every fourth group has a large one beside the two small ones.
        assert_eq!(order, [2, 2, 2, 2, 3, 2, 2, 2, 3, 2]);
        assert_eq!(
            queue.take(1_000, 8 << 20).len(),
            1,
            "alone it need not save"
        );
        assert!(queue.is_empty());
    }

    #[test]
    fn what_only_large_batches_wait_for_goes_on() {
        let mut queue = LaneQueue::default();
        for lane in 0..3 {
            queue.push(queued(lane, 0, 100 * LANE_BYTES));
        }
        for _ in 0..3 {
            assert_eq!(queue.take(9, usize::MAX).len(), 1);
        }
        assert!(queue.is_empty());
    }
}
