//! Owner references: background, foreground and orphaning deletion (GC-01 to GC-14), inside one
//! logical cluster only.
//!
//! An owner is identified by kind, name, namespace and uid. Where the kind is not served nothing is
//! concluded: it may come back (GC-03). [`dependent`] decides about an object that names owners,
//! [`owner`] about one that waits for its dependents before it goes.

use hanse_cache::{DocumentError, Hub, Object, ObjectKey, ResourceId, SchemaHash, Write};
use hanse_json::{Value, get_array, get_bool, get_str, json};
use hanse_wire::time;

use crate::limits;
use crate::plan::{Plan, World, create, delete, finalizers, release, restate};

const FOREGROUND: &str = "foregroundDeletion";
const ORPHAN: &str = "orphan";

/// Does a deleted object wait for its dependents?
pub fn waits(object: &Object) -> bool {
    object.is_deleting()
        && object.raw(&["metadata", "finalizers"]).is_some_and(|raw| {
            let has = |name: &str| {
                let quoted = format!("\"{name}\"");
                raw.windows(quoted.len()).any(|w| w == quoted.as_bytes())
            };
            has(FOREGROUND) || has(ORPHAN)
        })
}

/// What became of one owner.
enum State {
    /// It is there.
    Solid,
    /// It is there and goes once its dependents have gone.
    Waiting,
    /// It is not there.
    Absent,
    /// Nobody can say.
    Unknown,
}

/// Where the owner is that a reference names; `None` when its kind is not served.
fn place(world: &World<'_>, from: &ObjectKey, reference: &Value) -> Option<Option<ObjectKey>> {
    let text = |name: &str| get_str(reference, &[name]).unwrap_or_default();
    let found = world
        .config
        .kinds
        .find(&from.cluster, text("apiVersion"), text("kind"))?;
    if found.namespaced && from.namespace.is_empty() {
        // A cluster-scoped object cannot say which namespace it means.
        return Some(None);
    }
    let namespace = if found.namespaced {
        from.namespace.clone()
    } else {
        "".into()
    };
    Some(Some(ObjectKey::new(
        &found.resource,
        &from.cluster,
        namespace,
        text("name"),
    )))
}

fn state(world: &World<'_>, from: &ObjectKey, reference: &Value) -> State {
    match place(world, from, reference) {
        None | Some(None) => State::Unknown,
        Some(Some(key)) => match world.hub.get(&key) {
            Some(owner) if Some(owner.uid()) == get_str(reference, &["uid"]) => {
                let foreground = owner.is_deleting()
                    && finalizers(&owner.value()).iter().any(|f| f == FOREGROUND);
                if foreground {
                    State::Waiting
                } else {
                    State::Solid
                }
            }
            _ => State::Absent,
        },
    }
}

/// The owners of a deleted object that may have waited for it.
pub fn owners_waiting(world: &World<'_>, object: &Object) -> Vec<ObjectKey> {
    let value = object.value();
    let references = get_array(&value, &["metadata", "ownerReferences"]);
    references
        .iter()
        .filter_map(|reference| place(world, object.key(), reference).flatten())
        .filter(|key| world.hub.get(key).is_some_and(|owner| waits(&owner)))
        .collect()
}

/// Decides about an object that names owners.
pub fn dependent(world: &World<'_>, key: &ObjectKey) -> Result<Plan, DocumentError> {
    let Some(object) = world.hub.get(key) else {
        return Ok(Plan::done());
    };
    if object.is_deleting() {
        return Ok(Plan::done());
    }
    let mut value = object.value();
    let references = get_array(&value, &["metadata", "ownerReferences"]).to_vec();
    let states: Vec<(State, &Value)> = references
        .iter()
        .map(|r| (state(world, key, r), r))
        .collect();
    let unknown = states.iter().find(|(s, _)| matches!(s, State::Unknown));
    if references.is_empty() {
        return Ok(Plan::done());
    }
    let solid = states.iter().any(|(s, _)| matches!(s, State::Solid));
    if solid {
        let keep: Vec<Value> = states
            .iter()
            .filter(|(s, _)| matches!(s, State::Solid | State::Unknown))
            .map(|(_, r)| (*r).clone())
            .collect();
        if keep.len() == references.len() {
            return Ok(Plan::done());
        }
        hanse_json::set(
            &mut value,
            &["metadata", "ownerReferences"],
            Value::Array(keep),
        );
        return Ok(Plan::batches(world.hub, vec![restate(&object, &value)?]));
    }
    if let Some((_, reference)) = unknown {
        return unresolved(world, &object, reference);
    }
    let waiting = states.iter().any(|(s, _)| matches!(s, State::Waiting));
    let has_dependents = !world.hub.by_owner(&key.cluster, object.uid()).is_empty();
    let policy = (waiting && has_dependents).then_some(FOREGROUND);
    let write = delete(world, &object, policy)?;
    let mut plan = Plan::batches(world.hub, write.into_iter().collect());
    if let (false, Some(event)) = (waiting, foreign_owner(world, &object, &references)) {
        plan.txns
            .extend(Plan::batches(world.hub, vec![event?]).txns);
    }
    Ok(plan)
}

/// The owner's kind is not served, or cannot be resolved from here: wait.
fn unresolved(
    world: &World<'_>,
    object: &Object,
    reference: &Value,
) -> Result<Plan, DocumentError> {
    let never = matches!(place(world, object.key(), reference), Some(None));
    if never {
        // A cluster-scoped object with a namespaced owner is never collected (GC-04).
        let event = event(world, object, reference)?;
        return Ok(Plan::batches(world.hub, event.into_iter().collect()));
    }
    Ok(Plan::later(limits::UNKNOWN_KIND_RETRY))
}

/// The warning for an owner that exists, but in another namespace.
fn foreign_owner(
    world: &World<'_>,
    object: &Object,
    references: &[Value],
) -> Option<Result<Write, DocumentError>> {
    let reference = references
        .iter()
        .find(|reference| elsewhere(world, object.key(), reference))?;
    event(world, object, reference).transpose()
}

fn elsewhere(world: &World<'_>, key: &ObjectKey, reference: &Value) -> bool {
    let uid = get_str(reference, &["uid"]).unwrap_or_default();
    // The uid has other dependents only if it is or was real; its place is found through them.
    world
        .hub
        .by_owner(&key.cluster, uid)
        .iter()
        .any(|other| other.namespace != key.namespace)
}

fn event(
    world: &World<'_>,
    object: &Object,
    reference: &Value,
) -> Result<Option<Write>, DocumentError> {
    let key = object.key();
    let namespace = if key.namespace.is_empty() {
        "default".into()
    } else {
        key.namespace.clone()
    };
    let name = format!("{}.{:x}", key.name, world.now_micros());
    let resource = ResourceId::new("", "events", "");
    let place = ObjectKey::new(&resource, &key.cluster, namespace, name);
    if world
        .hub
        .get(&crate::namespaces::key(&key.cluster, &place.namespace))
        .is_none_or(|n| n.is_deleting())
    {
        return Ok(None);
    }
    let text = |value: &Value, name: &str| get_str(value, &[name]).unwrap_or_default().to_owned();
    let value = object.value();
    let now = time::format(world.now_micros());
    let message = format!(
        "ownerRef [{}/{}, namespace: {}, name: {}, uid: {}] does not exist in namespace \"{}\"",
        text(reference, "apiVersion"),
        text(reference, "kind"),
        key.namespace,
        text(reference, "name"),
        text(reference, "uid"),
        key.namespace
    );
    let body = json!({
        "apiVersion": "v1", "kind": "Event", "metadata": world.new_metadata(&place),
        "involvedObject": {
            "apiVersion": text(&value, "apiVersion"), "kind": text(&value, "kind"),
            "namespace": &*key.namespace, "name": &*key.name, "uid": object.uid()
        },
        "reason": "OwnerRefInvalidNamespace", "message": message, "type": "Warning", "count": 1,
        "source": {"component": "garbage-collector-controller"},
        "firstTimestamp": now, "lastTimestamp": now, "eventTime": null,
        "reportingComponent": "garbage-collector-controller", "reportingInstance": ""
    });
    create(place, &body, SchemaHash::default()).map(Some)
}

/// Decides about a deleted object that waits for its dependents.
pub fn owner(world: &World<'_>, key: &ObjectKey) -> Result<Plan, DocumentError> {
    let Some(object) = world.hub.get(key) else {
        return Ok(Plan::done());
    };
    if !object.is_deleting() {
        return Ok(Plan::done());
    }
    let mut value = object.value();
    let held = finalizers(&value);
    let dependents = dependents(world.hub, &object);
    if held.iter().any(|f| f == ORPHAN) {
        let mut writes = Vec::new();
        for (dependent, mut body) in dependents {
            let mut left = get_array(&body, &["metadata", "ownerReferences"]).to_vec();
            left.retain(|r| get_str(r, &["uid"]) != Some(object.uid()));
            if left.is_empty() {
                hanse_json::remove(&mut body, &["metadata", "ownerReferences"]);
            } else {
                hanse_json::set(
                    &mut body,
                    &["metadata", "ownerReferences"],
                    Value::Array(left),
                );
            }
            writes.push(restate(&dependent, &body)?);
        }
        // The finalizer goes last: a crash in between repeats what is idempotent.
        let mut plan = Plan::batches(world.hub, writes);
        let last = release(&object, &mut value, ORPHAN)?;
        plan.txns.extend(Plan::batches(world.hub, vec![last]).txns);
        return Ok(plan);
    }
    if !held.iter().any(|f| f == FOREGROUND) {
        return Ok(Plan::done());
    }
    let blocks = |body: &Value| {
        get_array(body, &["metadata", "ownerReferences"])
            .iter()
            .any(|r| {
                get_str(r, &["uid"]) == Some(object.uid())
                    && get_bool(r, &["blockOwnerDeletion"]).unwrap_or(false)
            })
    };
    if !dependents.iter().any(|(_, body)| blocks(body)) {
        let mut plan = Plan::default();
        plan.txns
            .extend(Plan::batches(world.hub, vec![release(&object, &mut value, FOREGROUND)?]).txns);
        return Ok(plan);
    }
    let mut plan = Plan::default();
    for (dependent, _) in dependents {
        // Each decides for itself: it may have another owner.
        let own = self::dependent(world, dependent.key())?;
        plan.txns.extend(own.txns);
        plan.again = plan.again.or(own.again);
    }
    Ok(plan)
}

fn dependents(hub: &Hub, owner: &Object) -> Vec<(Object, Value)> {
    hub.by_owner(&owner.key().cluster, owner.uid())
        .iter()
        .filter_map(|key| hub.get(key))
        .map(|object| {
            let value = object.value();
            (object, value)
        })
        .collect()
}
