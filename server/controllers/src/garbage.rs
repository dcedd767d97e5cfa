//! Owner references: background, foreground and orphaning deletion (GC-01 to GC-14), inside one
//! logical cluster only.
//!
//! An owner is identified by kind, name, namespace and uid. Where the kind is not served nothing is
//! concluded: it may come back (GC-03). [`dependent`] decides about an object that names owners,
//! [`owner`] about one that waits for its dependents before it goes.

use std::time::Duration;

use hanse_cache::{
    ClusterName, DocumentError, Hub, ListQuery, Object, ObjectKey, ResourceId, SchemaHash, Scope,
    Write,
};
use hanse_json::{Value, get_array, get_bool, get_str, json};
use hanse_seams::Bug;
use hanse_wire::time;

use crate::limits;
use crate::plan::{Plan, World, create, delete, delete_as, finalizers, is_full, release, restate};

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

/// What is to be done about one dependent.
#[derive(Default)]
struct Verdict {
    writes: Vec<Write>,
    /// When to look again, beside what events bring.
    again: Option<Duration>,
}

impl Verdict {
    fn write(write: impl IntoIterator<Item = Write>) -> Self {
        Self {
            writes: write.into_iter().collect(),
            again: None,
        }
    }
}

/// Decides about an object that names owners.
pub fn dependent(world: &World<'_>, key: &ObjectKey) -> Result<Plan, DocumentError> {
    let Some(object) = world.hub.get(key) else {
        return Ok(Plan::done());
    };
    let verdict = judge(world, &object, None)?;
    let mut plan = Plan::batches(world.hub, verdict.writes);
    plan.again = verdict.again;
    Ok(plan)
}

/// Decides about all dependents of an owner that is gone, a bounded number in one turn.
pub fn left_behind(
    world: &World<'_>,
    cluster: &ClusterName,
    uid: &str,
) -> Result<Plan, DocumentError> {
    let mut all = Verdict::default();
    let mut overlooks = world.seams.planted.is(Bug::ForgottenDependent);
    let more = each_dependent(world.hub, cluster, uid, |dependent| {
        if std::mem::take(&mut overlooks) {
            return Ok(true);
        }
        let verdict = judge(world, dependent, Some(uid))?;
        all.writes.extend(verdict.writes);
        all.again = all.again.or(verdict.again);
        Ok(!is_full(&all.writes))
    })?;
    let mut plan = Plan::batches(world.hub, all.writes);
    plan.again = if more {
        Some(Duration::ZERO)
    } else {
        all.again
    };
    Ok(plan)
}

/// Shows the dependents of an owner, those first that were written least recently, until `show`
/// says that it is enough; true if it did.
fn each_dependent(
    hub: &Hub,
    cluster: &ClusterName,
    uid: &str,
    mut show: impl FnMut(&Object) -> Result<bool, DocumentError>,
) -> Result<bool, DocumentError> {
    let mut after = 0;
    loop {
        let page = hub.owned(cluster, uid, after, limits::DEPENDENTS_PAGE);
        for dependent in &page {
            after = dependent.resource_version();
            if !show(dependent)? {
                return Ok(true);
            }
        }
        if page.len() < limits::DEPENDENTS_PAGE {
            return Ok(false);
        }
    }
}

/// `gone` is a uid that is known to be nowhere.
fn judge(world: &World<'_>, object: &Object, gone: Option<&str>) -> Result<Verdict, DocumentError> {
    if object.is_deleting() {
        return Ok(Verdict::default());
    }
    let key = object.key();
    let mut value = object.value();
    let references = get_array(&value, &["metadata", "ownerReferences"]).to_vec();
    if references.is_empty() {
        return Ok(Verdict::default());
    }
    let states: Vec<(State, &Value)> = references
        .iter()
        .map(|r| (state(world, key, r), r))
        .collect();
    let unknown = states.iter().find(|(s, _)| matches!(s, State::Unknown));
    let solid = states.iter().any(|(s, _)| matches!(s, State::Solid));
    if solid {
        let keep: Vec<Value> = states
            .iter()
            .filter(|(s, _)| matches!(s, State::Solid | State::Unknown))
            .map(|(_, r)| (*r).clone())
            .collect();
        if keep.len() == references.len() {
            return Ok(Verdict::default());
        }
        set_references(&mut value, keep);
        return Ok(Verdict::write([restate(object, &value)?]));
    }
    if let Some((_, reference)) = unknown {
        return unresolved(world, object, reference);
    }
    if states.iter().any(|(s, _)| matches!(s, State::Waiting)) {
        return Ok(Verdict::write(delete_below(world, object, value)?));
    }
    let mut verdict = Verdict::default();
    if let Some(event) = foreign_owner(world, object, &references, gone) {
        verdict.writes.push(event?);
    }
    verdict.writes.extend(delete(world, object, None)?);
    Ok(verdict)
}

/// Deletes a dependent of an owner that waits: with its own dependents first, where it has any. If
/// one of these waits already, the owners go round in a circle, and this one blocks no more
/// (GC-08).
fn delete_below(
    world: &World<'_>,
    object: &Object,
    mut value: Value,
) -> Result<Option<Write>, DocumentError> {
    let cluster = &object.key().cluster;
    let below = world
        .hub
        .owned(cluster, object.uid(), 0, limits::DEPENDENTS_PAGE);
    if below.is_empty() {
        return delete(world, object, None);
    }
    if below.iter().any(waits) {
        let mut references = get_array(&value, &["metadata", "ownerReferences"]).to_vec();
        for reference in &mut references {
            if get_bool(reference, &["blockOwnerDeletion"]) == Some(true) {
                hanse_json::set(reference, &["blockOwnerDeletion"], json!(false));
            }
        }
        set_references(&mut value, references);
    }
    delete_as(world, object, value, Some(FOREGROUND))
}

fn set_references(value: &mut Value, left: Vec<Value>) {
    if left.is_empty() {
        hanse_json::remove(value, &["metadata", "ownerReferences"]);
    } else {
        let path = ["metadata", "ownerReferences"];
        hanse_json::set(value, &path, Value::Array(left));
    }
}

/// The owner's kind is not served, or cannot be resolved from here: wait.
fn unresolved(
    world: &World<'_>,
    object: &Object,
    reference: &Value,
) -> Result<Verdict, DocumentError> {
    let never = matches!(place(world, object.key(), reference), Some(None));
    if never {
        // A cluster-scoped object with a namespaced owner is never collected (GC-04).
        return Ok(Verdict::write(event(world, object, reference)?));
    }
    Ok(Verdict {
        again: Some(limits::UNKNOWN_KIND_RETRY),
        ..Verdict::default()
    })
}

/// The warning for an owner that exists, but in another namespace.
fn foreign_owner(
    world: &World<'_>,
    object: &Object,
    references: &[Value],
    gone: Option<&str>,
) -> Option<Result<Write, DocumentError>> {
    let mut references = references
        .iter()
        .filter(|r| gone.is_none() || get_str(r, &["uid"]) != gone);
    let reference = references.find(|reference| elsewhere(world, object.key(), reference))?;
    event(world, object, reference).transpose()
}

fn elsewhere(world: &World<'_>, key: &ObjectKey, reference: &Value) -> bool {
    let Some(Some(here)) = place(world, key, reference) else {
        return false;
    };
    let namespaces = ListQuery {
        limit: Some(limits::NAMESPACES_SEARCHED),
        ..ListQuery::default()
    };
    let scope = Scope::Cluster(key.cluster.clone());
    let of = ResourceId::new("", "namespaces", "");
    let found = world.hub.list(&of, &scope, &namespaces);
    let found = found.map(|page| page.objects).unwrap_or_default();
    found.iter().any(|namespace| {
        let there = ObjectKey {
            namespace: namespace.key().name.clone(),
            ..here.clone()
        };
        let owner = world.hub.get(&there);
        owner.is_some_and(|owner| Some(owner.uid()) == get_str(reference, &["uid"]))
    })
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
    let Some(object) = world.hub.get(key).filter(Object::is_deleting) else {
        return Ok(Plan::done());
    };
    let held = finalizers(&object.value());
    if held.iter().any(|f| f == ORPHAN) {
        return orphan(world, &object);
    }
    if held.iter().any(|f| f == FOREGROUND) {
        return foreground(world, &object);
    }
    Ok(Plan::done())
}

/// Takes the owner out of its dependents, and then goes on without them.
fn orphan(world: &World<'_>, object: &Object) -> Result<Plan, DocumentError> {
    let mut writes = Vec::new();
    let cluster = &object.key().cluster;
    let more = each_dependent(world.hub, cluster, object.uid(), |dependent| {
        let mut body = dependent.value();
        let mut left = get_array(&body, &["metadata", "ownerReferences"]).to_vec();
        left.retain(|r| get_str(r, &["uid"]) != Some(object.uid()));
        set_references(&mut body, left);
        if dependent.key() != object.key() {
            writes.push(restate(dependent, &body)?);
        }
        Ok(!is_full(&writes))
    })?;
    let mut plan = Plan::batches(world.hub, writes);
    if more {
        plan.again = Some(Duration::ZERO);
        return Ok(plan);
    }
    // The finalizer goes last: a crash in between repeats what is idempotent.
    let last = release(object, &mut object.value(), ORPHAN)?;
    plan.txns.extend(Plan::batches(world.hub, vec![last]).txns);
    Ok(plan)
}

/// Deletes the dependents, and goes when none is left that blocks.
fn foreground(world: &World<'_>, object: &Object) -> Result<Plan, DocumentError> {
    let (mut all, mut blocked) = (Verdict::default(), false);
    let cluster = &object.key().cluster;
    let more = each_dependent(world.hub, cluster, object.uid(), |dependent| {
        if dependent.key() != object.key() {
            blocked |= blocks(dependent, object.uid());
            // Each decides for itself: it may have another owner.
            let verdict = judge(world, dependent, None)?;
            all.writes.extend(verdict.writes);
            all.again = all.again.or(verdict.again);
        }
        Ok(!is_full(&all.writes))
    })?;
    if !blocked && !more {
        all.writes
            .push(release(object, &mut object.value(), FOREGROUND)?);
    } else if !all.writes.is_empty() {
        // A dependent that stays with another owner is nothing to wait for, and no event says so.
        all.again = Some(limits::GATHER);
    }
    let mut plan = Plan::batches(world.hub, all.writes);
    plan.again = if more {
        Some(Duration::ZERO)
    } else {
        all.again
    };
    Ok(plan)
}

fn blocks(dependent: &Object, uid: &str) -> bool {
    let raw = dependent.raw(&["metadata", "ownerReferences"]);
    let parsed = hanse_json::parse(raw.unwrap_or(b"[]"), &hanse_json::Limits::default());
    let references = parsed.map(|p| p.value).unwrap_or_default();
    let ours = |r: &Value| {
        get_str(r, &["uid"]) == Some(uid) && get_bool(r, &["blockOwnerDeletion"]).unwrap_or(false)
    };
    references
        .as_array()
        .is_some_and(|list| list.iter().any(ours))
}
