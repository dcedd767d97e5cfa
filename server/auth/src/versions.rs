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
    pub fn new(capacity: usize) -> Self {
        let generations = Generations {
            young: HashMap::new(),
            old: HashMap::new(),
        };
        Self {
            generations: Mutex::new(generations),
            capacity,
        }
    }

    /// What `make` makes of the key, from memory if it is there.
    pub fn get(&self, key: K, make: impl FnOnce() -> T) -> Arc<T> {
        match self.try_get(key, || Ok::<T, Infallible>(make())) {
            Ok(value) => value,
            Err(never) => match never {},
        }
    }

    /// As [`Recent::get`]; a failure is not kept.
    ///
    /// # Errors
    /// That of `make`.
    pub fn try_get<E>(&self, key: K, make: impl FnOnce() -> Result<T, E>) -> Result<Arc<T>, E> {
        {
            let mut generations = self.generations.lock();
            if let Some(found) = generations.young.get(&key) {
                return Ok(found.clone());
            }
            if let Some(found) = generations.old.remove(&key) {
                self.keep(&mut generations, key, found.clone());
                return Ok(found);
            }
        }
        let made = Arc::new(make()?);
        self.keep(&mut self.generations.lock(), key, made.clone());
        Ok(made)
    }

    /// What is in memory for the key.
    pub fn known(&self, key: &K) -> Option<Arc<T>> {
        let mut generations = self.generations.lock();
        if let Some(found) = generations.young.get(key) {
            return Some(found.clone());
        }
        let (key, found) = generations.old.remove_entry(key)?;
        self.keep(&mut generations, key, found.clone());
        Some(found)
    }

    fn keep(&self, generations: &mut Generations<K, T>, key: K, value: Arc<T>) {
        if generations.young.len() >= self.capacity {
            generations.old = std::mem::take(&mut generations.young);
        }
        generations.young.insert(key, value);
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
