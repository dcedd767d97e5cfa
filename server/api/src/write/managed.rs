//! Who owns which field: the write path's side of `hanse-apply`.
//!
//! Start at [`track`] and [`apply`]. What is decided here is only what `hanse-apply` cannot know:
//! the versions that a kind is served in, and which fields an endpoint resets, so that nobody
//! comes to own through `/status` what `/status` does not write (SSA-27).

use std::sync::LazyLock;

use hanse_apply::managed::{self, ApplyError, Context, Versions};
use hanse_apply::{Set, TypeSchema};
use hanse_json::{Value, json};
use hanse_kinds::ResourceDef;
use hanse_wire::status::{Cause, Result, Status};

use super::Writing;
use crate::call::Target;
use crate::convert;

/// What an endpoint of a kind without subresource `status` resets: nothing.
static NOTHING: LazyLock<Set> = LazyLock::new(Set::new);
/// What the main endpoint of a kind with that subresource resets.
static STATUS: LazyLock<Set> = LazyLock::new(|| Set::of_fields(&[&["status"]]));
/// What the status endpoint resets.
static NOT_STATUS: LazyLock<Set> = LazyLock::new(|| Set::of_fields(&[&["spec"], &["metadata"]]));

/// The versions of a kind, as ownership is kept across them.
struct Served<'t>(&'t Target);

impl Served<'_> {
    fn def(&self, api_version: &str) -> Option<&ResourceDef> {
        let all = std::iter::once(&self.0.def).chain(&self.0.versions);
        all.map(AsRef::as_ref)
            .find(|def| def.api_version() == api_version)
    }
}

impl Versions for Served<'_> {
    fn schema(&self, api_version: &str) -> Option<&TypeSchema> {
        self.def(api_version).map(|def| &def.schema.types)
    }

    fn convert(&self, object: &Value, api_version: &str) -> Option<Value> {
        let from = hanse_json::get_str(object, &["apiVersion"])?;
        if from == api_version {
            return Some(object.clone());
        }
        let stored = convert::to_storage(self.def(from)?, object.clone());
        Some(convert::from_storage(self.def(api_version)?, stored))
    }
}

/// Notes in `new`'s managedFields what the writer has changed.
pub fn track(w: &Writing<'_>, live: Option<&Value>, new: &mut Value) {
    with_context(w, |context| managed::update(live, new, &w.manager, context));
}

/// As [`track`], for a body that is of no stored kind and has no schema.
pub fn track_untyped(w: &Writing<'_>, api_version: &str, new: &mut Value) {
    let schema = TypeSchema::deduced();
    let context = Context {
        api_version,
        subresource: w.call.info.subresource,
        now: &w.now,
        versions: &managed::SingleVersion {
            api_version,
            schema: &schema,
        },
        ignored: &STATUS,
        empty: &json!({"spec": {}}),
    };
    // Tracking through a subresource takes nothing that was sent.
    managed::update(None, new, &w.manager, &context);
}

/// The object after an apply of `config`, with its managedFields.
///
/// # Errors
/// 400, 409 or 500 as Kubernetes has them for each cause.
pub fn apply(w: &Writing<'_>, live: Option<&Value>, config: &Value) -> Result<Value> {
    let force = w.options.force.unwrap_or(false);
    let applied = with_context(w, |context| {
        managed::apply(live, config, &w.manager, force, context)
    });
    applied.map_err(|error| apply_status(&error))
}

fn with_context<T>(w: &Writing<'_>, run: impl FnOnce(&Context<'_>) -> T) -> T {
    let def = &w.target.def;
    let subresource = w.call.info.subresource;
    let ignored = match subresource {
        "status" => &*NOT_STATUS,
        _ if def.has_status() => &*STATUS,
        _ => &*NOTHING,
    };
    run(&Context {
        api_version: &def.api_version(),
        subresource,
        now: &w.now,
        versions: &Served(w.target),
        ignored,
        empty: &empty(def),
    })
}

/// The kind's empty object: what decoding makes of nothing. Custom resources have none.
fn empty(def: &ResourceDef) -> Value {
    let mut empty = json!({});
    if def.schema.structural().is_none() {
        // Nothing in an empty object can be of the wrong type.
        let _ = def.schema.decode(&mut empty);
    }
    empty
}

fn apply_status(error: &ApplyError) -> Box<Status> {
    match error {
        ApplyError::ManagedFieldsSet => Status::bad_request(error.message()),
        ApplyError::NoSchema | ApplyError::Typed(_) => Status::plain(error.message()),
        ApplyError::Conflicts(_) => {
            let cause = |(field, message)| Cause {
                reason: "FieldManagerConflict".to_owned(),
                message,
                field,
            };
            let causes = error.causes().into_iter().map(cause).collect();
            Status::apply_conflict(error.message(), causes)
        }
    }
}
