//! Which objects of a collection a request is about: its scope and its selectors.
//!
//! Start at [`Selection::of`]. A selector that fixes the name narrows the scope to one object, so
//! that watching one object costs nothing for the others. The invariant: what is not selectable
//! is refused with Kubernetes' words before anything is read (SEL-05 to SEL-10).

use std::borrow::Cow;
use std::sync::Arc;

use hanse_cache::{Filter, Object, Scope};
use hanse_kinds::ResourceDef;
use hanse_wire::options::ListOptions;
use hanse_wire::selector::{FieldSelector, LabelSelector};
use hanse_wire::status::{Result, Status};

use crate::call::{Call, Target};
use crate::views::Lens;

/// What is selected.
#[derive(Clone)]
pub struct Selection {
    /// Where.
    pub scope: Scope,
    /// Which; `None` for all.
    pub filter: Option<Filter>,
}

impl Selection {
    /// The selection of a list, a watch or a deletion of a collection.
    ///
    /// # Errors
    /// 400 for fields that are not selectable and for names that contradict each other.
    pub fn of(call: &Call<'_>, target: &Target, options: &ListOptions) -> Result<Self> {
        target.def.check_field_selector(&options.field_selector)?;
        let wanted = options.field_selector.exact("metadata.name");
        if let Some(wanted) = wanted
            && !call.info.name.is_empty()
            && call.info.name != wanted
        {
            let why = "fieldSelector metadata.name doesn't match requested name";
            return Err(Status::bad_request(why));
        }
        let name = wanted.or(Some(call.info.name).filter(|name| !name.is_empty()));
        let scope = narrow(target.scope(call)?, &target.def, name);
        let filter = filter(
            options.label_selector.clone(),
            options.field_selector.clone(),
            call.lens.clone(),
        );
        Ok(Self { scope, filter })
    }
}

/// A scope narrowed to one object, where the name alone says which that is.
fn narrow(scope: Scope, def: &ResourceDef, name: Option<&str>) -> Scope {
    match (scope, name) {
        (Scope::Cluster(cluster), Some(name)) if !def.namespaced => {
            Scope::Object(cluster, "".into(), name.into())
        }
        (Scope::Namespace(cluster, namespace), Some(name)) => {
            Scope::Object(cluster, namespace, name.into())
        }
        (scope, _) => scope,
    }
}

/// The two selectors, and what the view shows, as one test of an object's index entry.
fn filter(labels: LabelSelector, fields: FieldSelector, lens: Option<Lens>) -> Option<Filter> {
    if labels.is_everything() && fields.is_everything() && lens.is_none() {
        return None;
    }
    Some(Arc::new(move |object: &Object| {
        lens.as_ref().is_none_or(|lens| lens.shows(object))
            && labels.matches(|key| object.label(key))
            && fields.matches(|field| Cow::Borrowed(object.field(field).unwrap_or_default()))
    }))
}
