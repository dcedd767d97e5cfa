//! Virtual workspaces: requests that look into other logical clusters through a lens.
//!
//! Start at [`enter`]: it decides whether the caller may look through the view at all, and what the
//! view shows. From there on a request runs through the same verbs as any other; a [`Lens`] on the
//! call hides what the view does not show and judges what is written through it. The rules
//! themselves are `hanse-tenancy`'s. The invariant: an object that the lens does not show does not
//! exist for the caller, for reading as for writing.

use std::sync::Arc;

use hanse_auth::{Attributes, UserInfo};
use hanse_cache::Object;
use hanse_json::Value;
use hanse_kinds::ResourceDef;
use hanse_tenancy::Tenancy;
use hanse_tenancy::views::{Content, ExportView, Lifecycle, NOT_RESOLVED, Through};
use hanse_wire::status::{Result, Status};

use crate::answer::Answer;
use crate::info::RequestInfo;
use crate::path::View;
use crate::service::Inner;

/// What a request sees through a view.
#[derive(Clone)]
pub enum Lens {
    /// The provider's view of an export: where there is a label, only what carries it.
    Export {
        /// The view.
        view: Arc<ExportView>,
        /// The label of claimed objects.
        label: Option<(String, String)>,
    },
    /// The logical clusters that wait for an initializer or a terminator.
    Lifecycle {
        /// Which of the two.
        sort: Lifecycle,
        /// Whose.
        identifier: String,
    },
    /// The schemas that the bindings of a logical cluster use, wherever they are.
    Schemas {
        /// Whose bindings.
        tenancy: Arc<Tenancy>,
        /// The logical cluster.
        consumer: String,
    },
}

impl std::fmt::Debug for Lens {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Export { .. } => "Export",
            Self::Lifecycle { .. } => "Lifecycle",
            Self::Schemas { .. } => "Schemas",
        })
    }
}

impl Lens {
    /// Whether the view shows an object.
    #[must_use]
    pub fn shows(&self, object: &Object) -> bool {
        match self {
            Self::Export { label: None, .. } => true,
            Self::Export {
                label: Some((key, value)),
                ..
            } => object.label(key).is_some_and(|found| found == value),
            Self::Lifecycle { sort, identifier } => {
                Tenancy::in_lifecycle_view(*sort, identifier, object)
            }
            Self::Schemas { tenancy, consumer } => tenancy.in_schema_view(consumer, object),
        }
    }

    /// Judges an object that is written through the view, and completes it.
    ///
    /// # Errors
    /// 403 and 422 for what may not be written through it.
    pub fn fit(
        &self,
        service: &Inner,
        target: &str,
        def: &ResourceDef,
        new: &mut Value,
        old: Option<&Value>,
    ) -> Result<()> {
        match (self, old) {
            (Self::Export { label: None, .. }, _) => Ok(()),
            (Self::Export { view, .. }, old) => {
                let name = crate::write::name_of(new).to_owned();
                service
                    .tenancy
                    .fit_claim(view, target, def, &name, new, old.is_none())
            }
            (Self::Lifecycle { sort, identifier }, Some(old)) => {
                Tenancy::check_lifecycle_status(*sort, identifier, old, new)
            }
            (Self::Lifecycle { .. } | Self::Schemas { .. }, _) => Ok(()),
        }
    }
}

/// Where a view leads.
pub enum Entered {
    /// To these resources, seen through a lens, as this user.
    Through {
        /// What the view serves.
        rows: Vec<Arc<ResourceDef>>,
        /// What of it is seen.
        lens: Lens,
        /// Who goes on.
        user: UserInfo,
        /// Whether it is looked for in every logical cluster, whatever the URL says.
        wildcard: bool,
    },
    /// Into the workspace itself, as this user.
    As(UserInfo),
    /// Nowhere.
    Answer(Answer),
}

/// A request at the door of a view.
pub struct Door<'d> {
    /// Which view.
    pub view: View<'d>,
    /// The logical cluster looked into; `None` for all.
    pub target: Option<&'d str>,
    /// What is asked for.
    pub info: &'d RequestInfo<'d>,
    /// The verb, as the authorizer wants it.
    pub verb: &'d str,
    /// Who asks.
    pub user: &'d UserInfo,
}

impl Door<'_> {
    fn attributes(&self) -> Attributes<'_> {
        Attributes {
            user: self.user,
            verb: self.verb,
            group: self.info.group,
            version: self.info.version,
            resource: self.info.resource,
            subresource: self.info.subresource,
            namespace: self.info.namespace,
            name: self.info.name,
            path: self.info.path,
            is_resource: self.info.is_resource,
        }
    }
}

/// Lets a request into a view, or not.
///
/// # Errors
/// 403 for callers who may not, 500 for an export that is not there.
pub fn enter(service: &Inner, door: &Door<'_>) -> Result<Entered> {
    match door.view {
        View::ApiExport { cluster, export } => enter_export(service, door, cluster, export),
        View::Initializing { initializer } => {
            enter_lifecycle(service, door, Lifecycle::Initializing, initializer)
        }
        View::Terminating { terminator } => {
            enter_lifecycle(service, door, Lifecycle::Terminating, terminator)
        }
        View::ApiResourceSchema { consumer } => enter_schemas(service, door, consumer),
    }
}

/// The answer where there is no view: masters are told so, others may not know.
///
/// # Errors
/// 403 for everybody else.
pub fn nowhere(user: &UserInfo) -> Result<Answer> {
    if user.is_master() {
        return Ok(Answer::no_such_path());
    }
    Err(Status::forbidden(&Default::default(), "", NOT_RESOLVED))
}

fn enter_export(service: &Inner, door: &Door<'_>, cluster: &str, export: &str) -> Result<Entered> {
    let attributes = door.attributes();
    let Some(view) = service
        .tenancy
        .export_view(&service.catalog, cluster, export)
    else {
        let content = Attributes {
            subresource: "content",
            ..Attributes::resource(door.user, door.verb, "apis.kcp.io", "apiexports", export)
        };
        return Err(
            match service
                .authorizer
                .authorize(&content, Some(cluster))
                .allowed
            {
                true => Status::plain("API export not found"),
                false => Status::forbidden(&Default::default(), "", NOT_RESOLVED),
            },
        );
    };
    let through = Through {
        user: door.user,
        target: door.target,
        attributes: &attributes,
    };
    service.tenancy.authorize_export_view(&view, &through)?;
    let info = door.info;
    let row = view.find(info.group, info.version, info.resource);
    let label = row.and_then(|row| row.label.clone());
    let user = match door.target {
        Some(target) => service.tenancy.warranted(door.user, target),
        None => door.user.clone(),
    };
    if let Some(target) = door.target.filter(|_| info.is_resource) {
        // From here on it is a request like any other, of the caller and his warrant.
        service.authorize(&user, info, door.verb, Some(target))?;
    }
    let rows = view.rows.iter().map(|row| Arc::clone(&row.row)).collect();
    let lens = Lens::Export {
        view: Arc::new(view),
        label,
    };
    Ok(Entered::Through {
        rows,
        lens,
        user,
        wildcard: door.target.is_none(),
    })
}

/// The schemas that a logical cluster uses, for readers of its bindings (kcp-api 3.14).
fn enter_schemas(service: &Inner, door: &Door<'_>, consumer: &str) -> Result<Entered> {
    let own = door.target.is_none_or(|target| target == consumer);
    let reads = !door.info.is_resource || door.info.verb.is_read();
    if !own || !reads || !service.tenancy.schema_view(consumer, door.user) {
        return nowhere(door.user).map(Entered::Answer);
    }
    let rows = service
        .catalog
        .to_read("apis.kcp.io", "apiresourceschemas", false);
    let lens = Lens::Schemas {
        tenancy: Arc::clone(&service.tenancy),
        consumer: consumer.to_owned(),
    };
    Ok(Entered::Through {
        rows,
        lens,
        user: door.user.clone(),
        wildcard: true,
    })
}

fn enter_lifecycle(
    service: &Inner,
    door: &Door<'_>,
    sort: Lifecycle,
    identifier: &str,
) -> Result<Entered> {
    if !service.tenancy.lifecycle_view(sort, identifier, door.user) {
        return nowhere(door.user).map(Entered::Answer);
    }
    let is_own = door.info.group == "core.kcp.io" && door.info.resource == "logicalclusters";
    if let Some(target) = door.target.filter(|_| !is_own) {
        let attributes = door.attributes();
        let target = target.into();
        return Ok(
            match service
                .tenancy
                .lifecycle_content(sort, identifier, &target, &attributes)
            {
                Content::As(user) => Entered::As(user),
                Content::Refused(code, text) => Entered::Answer(Answer::text(code, text)),
            },
        );
    }
    // Of all, the lists of what is to be done are all that is written, one entry at a time.
    let in_one = door.target.is_some();
    let rows = service
        .catalog
        .to_read("core.kcp.io", "logicalclusters", in_one);
    let lens = Lens::Lifecycle {
        sort,
        identifier: identifier.to_owned(),
    };
    let user = door.user.clone();
    Ok(Entered::Through {
        rows,
        lens,
        user,
        wildcard: door.target.is_none(),
    })
}
