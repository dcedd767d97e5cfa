//! What was made of something, kept by a key that names its content, bounded.
//!
//! Mostly the key is an object's resourceVersion: no two writes of a shard share one, so an entry
//! can never be stale. Two generations, the older dropped as a whole when the younger is full.

use hashbrown::HashMap;
use parking_lot::Mutex;
use std::convert::Infallible;
use std::hash::Hash;
use std::sync::Arc;

/// A bounded cache from object version to what was parsed.
pub type ByVersion<T> = Recent<u64, T>;

/// A bounded cache.
pub struct Recent<K, T> {
    generations: Mutex<Generations<K, T>>,
    capacity: usize,
}

struct Generations<K, T> {
    young: HashMap<K, Arc<T>>,
    old: HashMap<K, Arc<T>>,
}

impl<K: Hash + Eq, T> Recent<K, T> {
    /// Keeps at least `capacity` and at most twice as many entries.
    #[must_use]
    pub fn new(capacity: usize) -> ByVersion<T> {
        let generations = Generations {
            young: HashMap::new(),
            old: HashMap::new(),
        };
        ByVersion {
            generations: Mutex::new(generations),
            capacity,
        }
    }

    /// What `parse` makes of the object of this version, from memory if it is there.
    pub fn get(&self, version: u64, parse: impl FnOnce() -> T) -> Arc<T> {
        {
            let mut generations = self.generations.lock();
            if let Some(found) = generations.young.get(&version) {
                return found.clone();
            }
            if let Some(found) = generations.old.remove(&version) {
                self.keep(&mut generations, version, found.clone());
                return found;
            }
        }
        let parsed = Arc::new(parse());
        self.keep(&mut self.generations.lock(), version, parsed.clone());
        parsed
    }

    fn keep(&self, generations: &mut Generations<T>, version: u64, value: Arc<T>) {
        if generations.young.len() >= self.capacity {
            generations.old = std::mem::take(&mut generations.young);
        }
        generations.young.insert(version, value);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bounded_and_recent_entries_stay() {
        let cache: ByVersion<u64> = ByVersion::new(2);
        for version in 0..10 {
            cache.get(version, || version);
            assert_eq!(*cache.get(9999, || 1), 1);
        }
        let generations = cache.generations.lock();
        assert!(generations.young.len() + generations.old.len() <= 4);
        drop(generations);
        cache.get(9999, || panic!("must still be there"));
    }
}
