//! `metadata.managedFields`: reads the owners of an object, runs an update or an apply over them,
//! writes them back in the order that Kubernetes keeps (SSA-30 to SSA-46). Start at [`update`] and
//! [`apply`]; the algorithm itself is in [`crate::updater`].

use std::collections::BTreeMap;

use hanse_json::{Map, Value, get, get_array, get_str};

use crate::limits::{LAST_APPLIED_BYTES_MAX, UPDATE_MANAGERS_MAX};
use crate::path::render;
use crate::set::Set;
use crate::typed::{self, validate};
use crate::types::TypeSchema;
use crate::updater::{self, Conflict, Owned, Owners, Step};

const LAST_APPLIED: &str = "kubectl.kubernetes.io/last-applied-configuration";
/// The manager that gets what was there before the first apply (SSA-36).
const BEFORE_FIRST_APPLY: &str = "before-first-apply";
const UPDATE: bool = true;
const APPLY: bool = false;
/// The manager of collapsed old entries (SSA-33).
const ANCIENT_CHANGES: &str = "ancient-changes";

/// Who wrote: the identity of a `managedFields` entry. Appliers keep one entry over all versions,
/// so their `api_version` is empty here.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct ManagerId {
    /// The field manager's name.
    pub manager: String,
    /// Was the write something else than an apply?
    pub update: bool,
    /// The version of an update; empty for an apply.
    pub api_version: String,
    /// The subresource written through, or empty.
    pub subresource: String,
}

/// How it reads in a conflict: `"name"`, with the subresource, and for updates the version.
impl std::fmt::Display for ManagerId {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{:?}", self.manager)?;
        if !self.subresource.is_empty() {
            write!(f, " with subresource {:?}", self.subresource)?;
        }
        if self.update {
            write!(f, " using {}", self.api_version)?;
        }
        Ok(())
    }
}

/// The schemas of a kind's versions and the way between them.
pub trait Versions {
    /// The type of the kind in `api_version`; `None` when that version is not served (its entries
    /// are dropped).
    fn schema(&self, api_version: &str) -> Option<&TypeSchema>;
    /// The object in another version; `None` when it cannot be converted.
    fn convert(&self, object: &Value, api_version: &str) -> Option<Value>;
}

/// A kind with one version.
pub struct SingleVersion<'s> {
    /// Its `apiVersion`.
    pub api_version: &'s str,
    /// Its type.
    pub schema: &'s TypeSchema,
}

impl Versions for SingleVersion<'_> {
    fn schema(&self, api_version: &str) -> Option<&TypeSchema> {
        (api_version == self.api_version).then_some(self.schema)
    }

    fn convert(&self, object: &Value, api_version: &str) -> Option<Value> {
        (api_version == self.api_version).then(|| object.clone())
    }
}

/// What a write needs to know beside the objects.
pub struct Context<'c> {
    /// `apiVersion` of the request, e.g. `apps/v1`.
    pub api_version: &'c str,
    /// The subresource of the request, or empty.
    pub subresource: &'c str,
    /// The time to write, RFC 3339 in seconds.
    pub now: &'c str,
    /// Schemas and conversions.
    pub versions: &'c dyn Versions,
    /// Fields that this endpoint resets, so that no one comes to own them through it: `status` for
    /// a kind with that subresource, `spec` and `metadata` for the status endpoint.
    pub ignored: &'c Set,
    /// The kind's empty object as Kubernetes' Go types have it: struct fields that are always
    /// present are never *added*, hence have no `.` marker. `{}` for custom resources.
    pub empty: &'c Value,
}

/// Why an apply was refused.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ApplyError {
    /// The request holds managedFields: answered with 400.
    ManagedFieldsSet,
    /// The version of the request has no schema: a fault of the caller.
    NoSchema,
    /// The applied object is not of its type: answered with 500 and this text (SSA-19, SSA-20).
    Typed(String),
    /// Others own fields that would change: answered with 409.
    Conflicts(Vec<Conflict>),
}

impl ApplyError {
    /// The text of the answer.
    pub fn message(&self) -> String {
        match self {
            ApplyError::ManagedFieldsSet => "metadata.managedFields must be nil".to_owned(),
            ApplyError::NoSchema => "no corresponding type for the requested version".to_owned(),
            ApplyError::Typed(text) => text.clone(),
            ApplyError::Conflicts(conflicts) => conflict_message(conflicts),
        }
    }

    /// `(field, message)` of each conflict, for `details.causes` with reason
    /// `FieldManagerConflict`; empty for other errors.
    pub fn causes(&self) -> Vec<(String, String)> {
        match self {
            ApplyError::Conflicts(conflicts) => conflicts
                .iter()
                .map(|c| (render(&c.path), format!("conflict with {}", c.manager)))
                .collect(),
            _ => Vec::new(),
        }
    }
}

fn conflict_message(conflicts: &[Conflict]) -> String {
    if let [only] = conflicts {
        return format!(
            "Apply failed with 1 conflict: conflict with {}: {}",
            only.manager,
            render(&only.path)
        );
    }
    let mut by_manager: BTreeMap<&crate::managed::ManagerId, Vec<String>> = BTreeMap::new();
    for conflict in conflicts {
        by_manager
            .entry(&conflict.manager)
            .or_default()
            .push(render(&conflict.path));
    }
    let mut lines = Vec::new();
    for (manager, paths) in by_manager {
        lines.push(format!("conflicts with {manager}:"));
        lines.extend(paths.iter().map(|path| format!("- {path}")));
    }
    format!(
        "Apply failed with {} conflicts: {}",
        conflicts.len(),
        lines.join("\n")
    )
}

/// The owners of an object and when each last changed something.
#[derive(Clone, Debug, Default)]
struct Managed {
    owners: Owners,
    times: BTreeMap<ManagerId, String>,
}

impl Managed {
    /// Reads `metadata.managedFields`; an entry that cannot be read spoils all (SSA-37).
    fn decode(object: &Value) -> Result<Managed, String> {
        let mut managed = Managed::default();
        for entry in get_array(object, &["metadata", "managedFields"]) {
            let text = |name: &str| get_str(entry, &[name]).unwrap_or_default().to_owned();
            let update = match text("operation").as_str() {
                "Apply" => false,
                "Update" => true,
                other => return Err(format!("invalid operation {other:?}")),
            };
            if !matches!(text("fieldsType").as_str(), "" | "FieldsV1") {
                return Err("unknown fieldsType".to_owned());
            }
            let set = match get(entry, &["fieldsV1"]) {
                Some(fields) => Set::from_fields_v1(fields)?,
                None => Set::new(),
            };
            let api_version = text("apiVersion");
            let id = ManagerId {
                manager: text("manager"),
                update,
                api_version: if update {
                    api_version.clone()
                } else {
                    String::new()
                },
                subresource: text("subresource"),
            };
            let time = text("time");
            if !time.is_empty() {
                managed.times.insert(id.clone(), time);
            }
            managed.owners.insert(id, Owned { set, api_version });
        }
        Ok(managed)
    }

    /// Writes the entries into the object; none at all removes the field.
    fn encode(&self, object: &mut Value) {
        let mut entries: Vec<(&ManagerId, &Owned)> = self.owners.iter().collect();
        entries.sort_by(|(a, owned_a), (b, owned_b)| {
            let key = |id: &ManagerId, owned: &Owned| {
                let time = self.times.get(id).cloned().unwrap_or_default();
                (
                    id.update,
                    time,
                    id.manager.clone(),
                    owned.api_version.clone(),
                    id.subresource.clone(),
                )
            };
            key(a, owned_a).cmp(&key(b, owned_b))
        });
        let list: Vec<Value> = entries
            .into_iter()
            .map(|(id, owned)| self.entry(id, owned))
            .collect();
        strip(object);
        if !list.is_empty() {
            hanse_json::set(object, &["metadata", "managedFields"], Value::Array(list));
        }
    }

    fn entry(&self, id: &ManagerId, owned: &Owned) -> Value {
        let mut entry = Map::new();
        let mut put = |name: &str, value: &str| {
            if !value.is_empty() {
                entry.insert(name.to_owned(), Value::String(value.to_owned()));
            }
        };
        put("manager", &id.manager);
        put("operation", if id.update { "Update" } else { "Apply" });
        put("apiVersion", &owned.api_version);
        put(
            "time",
            self.times.get(id).map(String::as_str).unwrap_or_default(),
        );
        put("fieldsType", "FieldsV1");
        put("subresource", &id.subresource);
        entry.insert("fieldsV1".to_owned(), owned.set.to_fields_v1());
        Value::Object(entry)
    }

    /// Runs an update as `id` and stamps the time if it took any field.
    fn update(&mut self, live: &Value, new: &Value, id: &ManagerId, ctx: &Context<'_>) {
        let Some(schema) = ctx.versions.schema(ctx.api_version) else {
            return;
        };
        if !typed::validate(schema, new, true).is_empty() {
            // An object that is not of its type keeps no owners: they could only be wrong, and
            // validation refuses it in nearly every case.
            *self = Managed::default();
            return;
        }
        let step = ctx.step(schema);
        // The write itself is a manager of its own until it is known what it took, so that a
        // manager's earlier fields which this write changed are not lost to it.
        let probe = ManagerId {
            manager: String::new(),
            ..id.clone()
        };
        self.owners = updater::update(live, new, std::mem::take(&mut self.owners), &probe, &step);
        if let Some(mut taken) = self.owners.remove(&probe) {
            taken.set = taken.set.difference(&never_owned());
            if !taken.set.is_empty() {
                if let Some(before) = self.owners.get(id) {
                    taken.set = taken.set.union(&before.set);
                }
                self.owners.insert(id.clone(), taken);
                self.times.insert(id.clone(), ctx.now.to_owned());
            }
        }
        self.cap();
        self.forget_times();
    }

    fn forget_times(&mut self) {
        let owners = &self.owners;
        self.times.retain(|id, _| owners.contains_key(id));
    }

    /// Collapses the oldest update entries beyond the limit, per version, into one.
    fn cap(&mut self) {
        let mut updates: Vec<ManagerId> =
            self.owners.keys().filter(|id| id.update).cloned().collect();
        let mut count = updates.len();
        if count <= UPDATE_MANAGERS_MAX {
            return;
        }
        updates.sort_by_key(|id| (self.times.get(id).cloned().unwrap_or_default(), id.clone()));
        let mut first_of: BTreeMap<String, ManagerId> = BTreeMap::new();
        for id in updates {
            if count <= UPDATE_MANAGERS_MAX {
                break;
            }
            let Some(owned) = self.owners.get(&id).cloned() else {
                continue;
            };
            let Some(first) = first_of.get(&owned.api_version).cloned() else {
                first_of.insert(owned.api_version.clone(), id);
                continue;
            };
            let bucket = ManagerId {
                manager: ANCIENT_CHANGES.to_owned(),
                update: true,
                api_version: owned.api_version.clone(),
                subresource: String::new(),
            };
            if !self.owners.contains_key(&bucket)
                && let Some(start) = self.owners.remove(&first)
            {
                self.owners.insert(bucket.clone(), start);
            }
            self.owners.remove(&id);
            if let Some(into) = self.owners.get_mut(&bucket) {
                into.set.extend(&owned.set);
            }
            count -= 1;
            if let Some(time) = self.times.get(&id).cloned() {
                self.times.insert(bucket, time);
            }
        }
    }
}

impl Context<'_> {
    fn step<'s>(&'s self, schema: &'s TypeSchema) -> Step<'s> {
        Step {
            api_version: self.api_version,
            versions: self.versions,
            schema,
            ignored: self.ignored,
        }
    }

    fn id(&self, manager: &str, update: bool) -> ManagerId {
        let manager = if manager.is_empty() {
            "unknown"
        } else {
            manager
        };
        ManagerId {
            manager: manager.to_owned(),
            update,
            api_version: if update {
                self.api_version.to_owned()
            } else {
                String::new()
            },
            subresource: self.subresource.to_owned(),
        }
    }
}

/// Tracks a create (`live` is `None`), update or patch by `manager`, in `new`'s managedFields.
///
/// Entries that the request sent are taken where a client may set them (not through a subresource,
/// and only when readable); `[]` and `[{}]` reset tracking; an object that was not tracked stays
/// so until its first apply (SSA-35).
pub fn update(live: Option<&Value>, new: &mut Value, manager: &str, ctx: &Context<'_>) {
    let before = live
        .map(|l| Managed::decode(l).unwrap_or_default())
        .unwrap_or_default();
    let mut managed = match sent(new) {
        _ if !ctx.subresource.is_empty() => before,
        Sent::Nothing => before,
        Sent::Reset => Managed::default(),
        Sent::Entries => match Managed::decode(new) {
            Ok(read) if !read.owners.is_empty() => read,
            _ => before,
        },
    };
    strip(new);
    if !(managed.owners.is_empty() && live.is_some()) {
        let old = live.map_or_else(|| ctx.empty.clone(), stripped);
        managed.update(&old, new, &ctx.id(manager, UPDATE), ctx);
    }
    managed.encode(new);
}

/// The object after `manager` applied `config` over `live`, with its managedFields.
///
/// The result is merged but neither defaulted nor validated. When nothing changed it equals `live`
/// up to the times in managedFields; see [`same_but_times`].
pub fn apply(
    live: Option<&Value>,
    config: &Value,
    manager: &str,
    force: bool,
    ctx: &Context<'_>,
) -> Result<Value, ApplyError> {
    if !get_array(config, &["metadata", "managedFields"]).is_empty() {
        return Err(ApplyError::ManagedFieldsSet);
    }
    let mut config = config.clone();
    strip(&mut config);
    let schema = ctx
        .versions
        .schema(ctx.api_version)
        .ok_or(ApplyError::NoSchema)?;
    let errors = validate(schema, &config, false);
    if !errors.is_empty() {
        return Err(ApplyError::Typed(typed_message(
            &config,
            ctx,
            &validate::join(&errors),
        )));
    }
    let mut managed = live
        .map(|l| Managed::decode(l).unwrap_or_default())
        .unwrap_or_default();
    let old = live.map_or_else(|| hanse_json::json!({}), stripped);
    if managed.owners.is_empty() && live.is_some() {
        managed.update(ctx.empty, &old, &ctx.id(BEFORE_FIRST_APPLY, UPDATE), ctx);
    }
    let id = ctx.id(manager, APPLY);
    let step = ctx.step(schema);
    let last = managed.owners.get(&id).map(|o| o.set.clone());
    let outcome = updater::apply(&old, &config, managed.owners.clone(), &id, force, &step);
    let (mut object, mut owners) = match outcome {
        Err(found) if manager == "kubectl" && !force && allowed(&old, &found, ctx, schema) => {
            updater::apply(&old, &config, managed.owners, &id, true, &step)
                .map_err(ApplyError::Conflicts)?
        }
        other => other.map_err(ApplyError::Conflicts)?,
    };
    if let Some(owned) = owners.get_mut(&id) {
        owned.set = owned.set.difference(&never_owned());
    }
    owners.retain(|_, owned| !owned.set.is_empty());
    let changed = !updater::same(&old, &object) || owners.get(&id).map(|o| &o.set) != last.as_ref();
    managed.owners = owners;
    if changed && managed.owners.contains_key(&id) {
        managed.times.insert(id, ctx.now.to_owned());
    }
    if manager == "kubectl" {
        renew_last_applied(&mut object, &config);
    }
    managed.forget_times();
    managed.encode(&mut object);
    Ok(object)
}

/// Are the objects equal apart from the times in their managedFields? Such a write is no write
/// (CRU-34, SSA-22).
pub fn same_but_times(a: &Value, b: &Value) -> bool {
    let timeless = |object: &Value| {
        let mut object = object.clone();
        if let Some(Value::Array(entries)) =
            hanse_json::get_mut(&mut object, &["metadata", "managedFields"])
        {
            for entry in entries {
                hanse_json::remove(entry, &["time"]);
            }
        }
        object
    };
    updater::same(&timeless(a), &timeless(b))
}

enum Sent {
    Nothing,
    Reset,
    Entries,
}

fn sent(object: &Value) -> Sent {
    match get(object, &["metadata", "managedFields"]) {
        None | Some(Value::Null) => Sent::Nothing,
        Some(Value::Array(list)) => match list.as_slice() {
            [] => Sent::Reset,
            [Value::Object(only)] if only.is_empty() => Sent::Reset,
            _ => Sent::Entries,
        },
        Some(_) => Sent::Nothing,
    }
}

fn strip(object: &mut Value) {
    hanse_json::remove(object, &["metadata", "managedFields"]);
}

fn stripped(object: &Value) -> Value {
    let mut copy = object.clone();
    strip(&mut copy);
    copy
}

/// SSA-26: what the server itself keeps is owned by no one.
fn never_owned() -> Set {
    Set::of_fields(&[
        &["apiVersion"],
        &["kind"],
        &["metadata"],
        &["metadata", "name"],
        &["metadata", "namespace"],
        &["metadata", "creationTimestamp"],
        &["metadata", "selfLink"],
        &["metadata", "uid"],
        &["metadata", "clusterName"],
        &["metadata", "generation"],
        &["metadata", "managedFields"],
        &["metadata", "resourceVersion"],
    ])
}

fn typed_message(config: &Value, ctx: &Context<'_>, detail: &str) -> String {
    let name = get_str(config, &["metadata", "name"]).unwrap_or_default();
    let namespace = get_str(config, &["metadata", "namespace"]).unwrap_or_default();
    let kind = get_str(config, &["kind"]).unwrap_or_default();
    let version = ctx.api_version;
    let gvk = if version.contains('/') {
        version.to_owned()
    } else {
        format!("/{version}")
    };
    format!(
        "failed to create typed patch object ({namespace}/{name}; {gvk}, Kind={kind}): {detail}"
    )
}

/// May `kubectl` force its way? Yes if all conflicts are about fields that the last client-side
/// apply set and that still have that value (SSA-39).
fn allowed(live: &Value, conflicts: &[Conflict], ctx: &Context<'_>, schema: &TypeSchema) -> bool {
    let Some(text) = get_str(live, &["metadata", "annotations", LAST_APPLIED]) else {
        return false;
    };
    let limits = hanse_json::Limits::default();
    let Ok(parsed) = hanse_json::parse(text.as_bytes(), &limits) else {
        return false;
    };
    let version = get_str(&parsed.value, &["apiVersion"])
        .unwrap_or_default()
        .to_owned();
    let last = if version == ctx.api_version {
        Some(parsed.value)
    } else {
        ctx.versions.convert(&parsed.value, ctx.api_version)
    };
    let Some(last) = last.filter(|l| validate(schema, l, true).is_empty()) else {
        return false;
    };
    let change = typed::compare(schema, &last, live);
    let unchanged = typed::to_set(schema, &last)
        .difference(&change.modified)
        .difference(&change.added)
        .difference(&change.removed);
    conflicts
        .iter()
        .all(|conflict| unchanged.has(&conflict.path))
}

/// Keeps the annotation of client-side apply true after a server-side apply by `kubectl`.
fn renew_last_applied(object: &mut Value, config: &Value) {
    let path = ["metadata", "annotations", LAST_APPLIED];
    if get_str(object, &path).is_none() {
        return;
    }
    let mut config = config.clone();
    hanse_json::remove(&mut config, &path);
    let text = hanse_json::to_string(&config) + "\n";
    if text.len() > LAST_APPLIED_BYTES_MAX {
        hanse_json::remove(object, &path);
    } else {
        hanse_json::set(object, &path, Value::String(text));
    }
}
