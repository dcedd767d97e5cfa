//! What a controller's function answers: writes with preconditions, and when to look again.
//!
//! Invariant: a write that would change nothing is not one (rule 3).

use std::time::Duration;

use hanse_cache::{ClusterName, DocumentError, Object, Write};
use hanse_tenancy::{Draft, Maker};
use serde_json::Value;

use crate::run::Key;

/// One turn of a controller.
#[derive(Debug, Default)]
pub struct Turn {
    /// The writes, in the order in which they must become true.
    pub writes: Vec<Write>,
    /// When to look again though nothing changed.
    pub again: Option<Duration>,
    /// Keys that this turn makes worth a look.
    pub wake: Vec<Key>,
}

impl Turn {
    /// Adds the next state of an object, when it differs.
    ///
    /// # Errors
    /// A tree that is no object.
    pub fn update(
        &mut self,
        maker: &Maker,
        old: &Object,
        new: &Value,
    ) -> Result<(), DocumentError> {
        if *new != old.value() {
            self.writes.push(maker.update(old, new)?);
        }
        Ok(())
    }

    /// Adds a new object.
    ///
    /// # Errors
    /// A tree that is no object.
    pub fn create(
        &mut self,
        maker: &Maker,
        cluster: &ClusterName,
        draft: Draft,
    ) -> Result<(), DocumentError> {
        self.writes
            .push(maker.create(cluster, draft, &maker.now())?);
        Ok(())
    }

    /// Adds the end of an object: at once, or after its finalizers.
    ///
    /// # Errors
    /// A tree that is no object.
    pub fn delete(&mut self, maker: &Maker, old: &Object) -> Result<(), DocumentError> {
        if old.is_deleting() {
            return Ok(());
        }
        let mut value = old.value();
        let held = value["metadata"]["finalizers"]
            .as_array()
            .is_some_and(|f| !f.is_empty());
        if !held {
            self.writes.push(Maker::delete(old));
            return Ok(());
        }
        value["metadata"]["deletionTimestamp"] = maker.now().into();
        value["metadata"]["deletionGracePeriodSeconds"] = 0.into();
        self.writes.push(maker.update(old, &value)?);
        Ok(())
    }

    /// Adds the next state of an object that lost a finalizer: its end when it was the last one
    /// and the object waited for it.
    ///
    /// # Errors
    /// A tree that is no object.
    pub fn release(
        &mut self,
        maker: &Maker,
        old: &Object,
        new: &Value,
    ) -> Result<(), DocumentError> {
        let held = new["metadata"]["finalizers"]
            .as_array()
            .is_some_and(|f| !f.is_empty());
        if old.is_deleting() && !held {
            self.writes.push(Maker::delete(old));
            return Ok(());
        }
        self.update(maker, old, new)
    }

    /// Looks again at the latest after this.
    pub fn again_in(&mut self, delay: Duration) {
        self.again = Some(self.again.map_or(delay, |planned| planned.min(delay)));
    }
}

/// Puts a finalizer on an object.
pub fn hold(value: &mut Value, finalizer: &str) {
    match value["metadata"]["finalizers"].as_array_mut() {
        Some(list) if list.iter().any(|f| f == finalizer) => {}
        Some(list) => list.push(finalizer.into()),
        None => value["metadata"]["finalizers"] = serde_json::json!([finalizer]),
    }
}

/// Takes a finalizer off an object.
pub fn let_go(value: &mut Value, finalizer: &str) {
    let Some(meta) = value["metadata"].as_object_mut() else {
        return;
    };
    if let Some(list) = meta.get_mut("finalizers").and_then(Value::as_array_mut) {
        list.retain(|f| f != finalizer);
        if list.is_empty() {
            meta.remove("finalizers");
        }
    }
}

/// Sets or removes an annotation.
pub fn annotate(value: &mut Value, key: &str, text: Option<&str>) {
    let Some(meta) = value["metadata"].as_object_mut() else {
        return;
    };
    match text {
        Some(text) => {
            let map = meta
                .entry("annotations")
                .or_insert_with(|| serde_json::json!({}));
            map[key] = text.into();
        }
        None => {
            if let Some(map) = meta.get_mut("annotations").and_then(Value::as_object_mut) {
                map.remove(key);
                if map.is_empty() {
                    meta.remove("annotations");
                }
            }
        }
    }
}
