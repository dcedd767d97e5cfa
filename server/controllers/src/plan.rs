//! What a controller decides, and the few ways in which controllers write objects.

use std::time::Duration;

use hanse_cache::{
    Document, DocumentError, Expect, Hub, Object, ObjectKey, SchemaHash, Txn, Write,
};
use hanse_json::{Map, Value, get_array, get_i64, get_str, json};
use hanse_seams::{Bug, Seams};
use hanse_wire::time;

use crate::limits;
use crate::run::Config;

/// What a controller may look at. Pure but for the clock and chance, which the seams hold.
pub struct World<'w> {
    /// Everything stored.
    pub hub: &'w Hub,
    /// What the server was started with.
    pub config: &'w Config,
    /// Clock and chance.
    pub seams: &'w Seams,
}

impl World<'_> {
    /// The wall clock in microseconds since 1970.
    pub fn now_micros(&self) -> i64 {
        i64::try_from(self.seams.clock.wall().as_micros()).unwrap_or(i64::MAX)
    }

    /// The wall clock as objects carry it.
    pub fn now(&self) -> String {
        time::format(self.now_micros())
    }

    /// Metadata of an object that the server makes.
    pub fn new_metadata(&self, key: &ObjectKey) -> Value {
        let mut metadata = Map::new();
        metadata.insert("name".into(), Value::String(key.name.to_string()));
        if !key.namespace.is_empty() {
            metadata.insert("namespace".into(), Value::String(key.namespace.to_string()));
        }
        metadata.insert("uid".into(), Value::String(self.seams.rng.uuid_v4()));
        metadata.insert("creationTimestamp".into(), Value::String(self.now()));
        Value::Object(metadata)
    }
}

/// What is to be done about a key.
#[derive(Debug, Default)]
pub struct Plan {
    /// Committed in order; the first conflict ends the turn, and the key comes back at once.
    pub txns: Vec<Txn>,
    /// When to look again, beside what events bring.
    pub again: Option<Duration>,
}

impl Plan {
    /// Nothing to do.
    pub fn done() -> Plan {
        Plan::default()
    }

    /// Nothing to do now.
    pub fn later(delay: Duration) -> Plan {
        Plan {
            txns: Vec::new(),
            again: Some(delay),
        }
    }

    /// One transaction.
    pub fn commit(txn: Txn) -> Plan {
        Plan {
            txns: vec![txn],
            again: None,
        }
    }

    /// Many writes that need not be atomic, in as few transactions as the store allows.
    pub fn batches(hub: &Hub, writes: Vec<Write>) -> Plan {
        Plan {
            txns: hanse_cache::split(writes, hub.limits()),
            again: None,
        }
    }
}

/// Whether a turn has as much to write as one turn may: many objects, or few large ones.
pub fn is_full(writes: &[Write]) -> bool {
    let bytes = || writes.iter().map(Write::weight).sum::<usize>();
    writes.len() >= limits::DELETIONS_PER_TURN || bytes() >= limits::BYTES_PER_TURN
}

/// A new object.
pub fn create(key: ObjectKey, value: &Value, schema: SchemaHash) -> Result<Write, DocumentError> {
    let document = Document::from_value(value, NO_FIELDS, schema)?;
    Ok(Write {
        key,
        expect: Expect::Absent,
        put: Some(document),
    })
}

/// A new state of `old`; its selectable fields stay what they were.
pub fn restate(old: &Object, value: &Value) -> Result<Write, DocumentError> {
    let document = Document::from_value(value, old.fields(), old.schema())?;
    Ok(put(old, document))
}

/// As [`restate`], with selectable fields that change.
pub fn restate_with(
    old: &Object,
    value: &Value,
    fields: &[(&str, &str)],
) -> Result<Write, DocumentError> {
    let document = Document::from_value(value, fields.iter().copied(), old.schema())?;
    Ok(put(old, document))
}

fn put(old: &Object, document: Document) -> Write {
    let expect = Expect::Version(old.resource_version());
    Write {
        key: old.key().clone(),
        expect,
        put: Some(document),
    }
}

/// The object is gone.
pub fn erase(old: &Object) -> Write {
    Write {
        key: old.key().clone(),
        expect: Expect::Version(old.resource_version()),
        put: None,
    }
}

/// Deletes as DELETE does: at once without finalizers, otherwise marked (DEL-04). `None` when it is
/// marked already. `add` is a finalizer that makes the deletion wait (orphan, foreground).
pub fn delete(
    world: &World<'_>,
    old: &Object,
    add: Option<&str>,
) -> Result<Option<Write>, DocumentError> {
    delete_as(world, old, old.value(), add)
}

/// As [`delete`], with changes to the last state.
pub fn delete_as(
    world: &World<'_>,
    old: &Object,
    mut value: Value,
    add: Option<&str>,
) -> Result<Option<Write>, DocumentError> {
    if old.is_deleting() {
        return Ok(None);
    }
    let mut finalizers = finalizers(&value);
    if let Some(add) = add
        && !finalizers.iter().any(|f| f == add)
    {
        finalizers.push(add.to_owned());
    }
    let held = !finalizers.is_empty()
        || !get_array(&value, &["spec", "finalizers"]).is_empty() && is_namespace(old);
    if !held || world.seams.planted.is(Bug::SkippedFinalizer) {
        return Ok(Some(erase(old)));
    }
    set_finalizers(&mut value, finalizers);
    hanse_json::set(
        &mut value,
        &["metadata", "deletionTimestamp"],
        Value::String(world.now()),
    );
    hanse_json::set(
        &mut value,
        &["metadata", "deletionGracePeriodSeconds"],
        json!(0),
    );
    if let Some(generation) = get_i64(&value, &["metadata", "generation"]) {
        hanse_json::set(
            &mut value,
            &["metadata", "generation"],
            json!(generation + 1),
        );
    }
    if is_namespace(old) {
        hanse_json::set(&mut value, &["status", "phase"], json!("Terminating"));
        let name = old.key().name.to_string();
        return restate_with(
            old,
            &value,
            &[("name", &name), ("status.phase", "Terminating")],
        )
        .map(Some);
    }
    restate(old, &value).map(Some)
}

fn is_namespace(object: &Object) -> bool {
    let resource = &object.key().resource;
    resource.group().is_empty()
        && resource.resource() == "namespaces"
        && resource.identity().is_empty()
}

/// `metadata.finalizers`.
pub fn finalizers(value: &Value) -> Vec<String> {
    let list = get_array(value, &["metadata", "finalizers"]);
    list.iter()
        .filter_map(Value::as_str)
        .map(str::to_owned)
        .collect()
}

/// Writes `metadata.finalizers`; an empty list removes the field.
pub fn set_finalizers(value: &mut Value, finalizers: Vec<String>) {
    if finalizers.is_empty() {
        hanse_json::remove(value, &["metadata", "finalizers"]);
    } else {
        hanse_json::set(value, &["metadata", "finalizers"], json!(finalizers));
    }
}

/// Takes a finalizer off an object; the last one takes a deleted object with it.
pub fn release(old: &Object, value: &mut Value, finalizer: &str) -> Result<Write, DocumentError> {
    let mut left = finalizers(value);
    left.retain(|f| f != finalizer);
    let gone = left.is_empty() && old.is_deleting();
    set_finalizers(value, left);
    if gone {
        Ok(erase(old))
    } else {
        restate(old, value)
    }
}

/// No selectable fields beside those of metadata.
pub const NO_FIELDS: [(&str, &str); 0] = [];

/// The name of an object in a text.
pub fn name_of(value: &Value) -> &str {
    get_str(value, &["metadata", "name"]).unwrap_or_default()
}
