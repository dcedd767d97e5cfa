//! What the virtual workspaces show, and to whom: rules for the request path as functions.
//!
//! Start with [`Tenancy::export_view`] (an export's provider, kcp-api 3.9) and
//! [`Tenancy::lifecycle_view`] (an initializer or terminator, 3.5). Serving the requests is the
//! API's business; here is what exists in a view and who may ask for it. Masters are never asked.

use crate::catalog::{BoundResource, Catalog, bound_resources};
use crate::tenancy::Tenancy;
use hanse_apis::kcp::{group, label, phase, user, verb};
use hanse_auth::{Attributes, UserInfo, Warrant};
use hanse_cache::{ClusterName, Object};
use hanse_kinds::ResourceDef;
use hanse_rules::claims::{self, Claim};
use hanse_rules::{hash, path};
use hanse_wire::gvk::GroupResource;
use hanse_wire::status::{Result, Status};
use serde_json::Value;
use std::sync::Arc;

/// What a URL that leads to no view is answered with (masters: 404).
pub const NOT_RESOLVED: &str = "Path not resolved to a valid virtual workspace";
/// Verbs that only read.
const READS: [&str; 3] = ["get", "list", "watch"];

/// One resource of an export view.
#[derive(Clone, Debug)]
pub struct ViewRow {
    /// The row to serve it by.
    pub row: Arc<ResourceDef>,
    /// The label that objects must carry to be seen: those of claimed resources.
    pub label: Option<(String, String)>,
    /// The export has it itself: it is neither claimed nor one of the bindings to the export.
    pub exported: bool,
}

/// An export as its provider sees it.
#[derive(Clone, Debug)]
pub struct ExportView {
    /// The APIExport.
    pub export: Object,
    /// What it serves.
    pub rows: Vec<ViewRow>,
    claims: Vec<Claim>,
}

impl ExportView {
    /// A row by name.
    #[must_use]
    pub fn find(&self, group: &str, version: &str, plural: &str) -> Option<&ViewRow> {
        let same = |v: &&ViewRow| {
            v.row.group == group && v.row.version == version && v.row.plural == plural
        };
        self.rows.iter().find(same)
    }

    fn is_exported(&self, group: &str, resource: &str) -> bool {
        let same = |v: &&ViewRow| v.row.group == group && v.row.plural == resource;
        self.rows.iter().find(same).is_some_and(|v| v.exported)
    }
}

/// A look at a resource of another logical cluster through a view.
#[derive(Clone, Copy, Debug)]
pub struct Through<'a> {
    /// Who asks.
    pub user: &'a UserInfo,
    /// The logical cluster looked into; `None` for all.
    pub target: Option<&'a str>,
    /// What is asked for; `attributes.user` is the caller.
    pub attributes: &'a Attributes<'a>,
}

/// The two sorts of lifecycle views.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Lifecycle {
    /// `initializingworkspaces`.
    Initializing,
    /// `terminatingworkspaces`.
    Terminating,
}

impl Lifecycle {
    fn verb(self) -> &'static str {
        match self {
            Lifecycle::Initializing => verb::INITIALIZE,
            Lifecycle::Terminating => verb::TERMINATE,
        }
    }

    fn noun(self) -> &'static str {
        match self {
            Lifecycle::Initializing => "initializer",
            Lifecycle::Terminating => "terminator",
        }
    }

    fn list(self) -> &'static str {
        match self {
            Lifecycle::Initializing => "initializers",
            Lifecycle::Terminating => "terminators",
        }
    }
}

/// How a request for the content of a workspace goes on behind a lifecycle view.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Content {
    /// As this user.
    As(UserInfo),
    /// Not at all: code and plain text.
    Refused(u16, String),
}

impl Tenancy {
    /// The view of an export; `None` if there is no such export.
    #[must_use]
    pub fn export_view(&self, catalog: &Catalog, cluster: &str, name: &str) -> Option<ExportView> {
        let view = self.view();
        let export = view.get(&view.resources().api_exports, cluster, "", name)?;
        let value = export.value();
        let identity = value["status"]["identityHash"].as_str().unwrap_or_default();
        let mut rows: Vec<ViewRow> = Vec::new();
        for listed in value["spec"]["resources"].as_array().into_iter().flatten() {
            let schema = listed["schema"].as_str().unwrap_or_default();
            let of = &view.resources().api_resource_schemas;
            let Some(schema) = view.get(of, cluster, "", schema) else {
                continue;
            };
            let found = catalog.schema_rows(&schema, identity).into_iter();
            rows.extend(found.map(|row| ViewRow {
                row,
                label: None,
                exported: true,
            }));
        }
        let claims = claims::of_export(&value);
        for claim in &claims {
            self.claimed_rows(catalog, cluster, name, claim, &mut rows);
        }
        let bindings = |v: &ViewRow| v.row.group == group::APIS && v.row.plural == "apibindings";
        if !rows.iter().any(bindings) {
            let label = (label::EXPORT.to_owned(), hash::export_hash(cluster, name));
            let own = catalog.to_read(group::APIS, "apibindings", false);
            rows.extend(own.into_iter().map(|row| ViewRow {
                row,
                label: Some(label.clone()),
                exported: false,
            }));
        }
        Some(ExportView {
            export,
            rows,
            claims,
        })
    }

    /// Rows of a claimed resource; what the export has itself is not claimed.
    fn claimed_rows(
        &self,
        catalog: &Catalog,
        cluster: &str,
        name: &str,
        claim: &Claim,
        rows: &mut Vec<ViewRow>,
    ) {
        let taken = |v: &ViewRow| {
            v.row.group == claim.group.as_str() && v.row.plural == claim.resource.as_str()
        };
        if rows.iter().any(taken) {
            return;
        }
        let group_name = if claim.resource == "events" && claim.group == "events.k8s.io" {
            ""
        } else {
            &claim.group
        };
        let label = (
            hash::claim_label_key(cluster, name),
            hash::claim_label_value(group_name, &claim.resource, &claim.identity),
        );
        let labelled = claims::is_labelled(&claim.group, &claim.resource);
        let ours =
            |r: &&Arc<ResourceDef>| claim.covers(&r.group, &r.plural) && !r.plural.is_empty();
        let found: Vec<Arc<ResourceDef>> = if claim.identity.is_empty() {
            catalog.in_views().iter().filter(ours).cloned().collect()
        } else {
            self.rows_of_identity(catalog, claim)
        };
        let show = |row| ViewRow {
            row,
            label: labelled.then(|| label.clone()),
            exported: false,
        };
        rows.extend(found.into_iter().map(show));
    }

    /// Rows of a resource that another export provides, found by its identity.
    fn rows_of_identity(&self, catalog: &Catalog, claim: &Claim) -> Vec<Arc<ResourceDef>> {
        self.exports_with_identity(&claim.identity)
            .iter()
            .flat_map(|export| {
                let value = export.value();
                let listed = value["spec"]["resources"]
                    .as_array()
                    .cloned()
                    .unwrap_or_default();
                let ours = listed.into_iter().filter(|r| {
                    r["group"] == claim.group.as_str() && r["name"] == claim.resource.as_str()
                });
                let of = &self.view().resources().api_resource_schemas;
                let schema = |r: Value| {
                    let name = r["schema"].as_str()?.to_owned();
                    self.view().get(of, &export.key().cluster, "", &name)
                };
                ours.filter_map(schema)
                    .flat_map(|schema| catalog.schema_rows(&schema, &claim.identity))
                    .collect::<Vec<_>>()
            })
            .collect()
    }

    pub(crate) fn exports_with_identity(&self, identity: &str) -> Vec<Object> {
        let view = self.view();
        let all = view.list(&view.resources().api_exports, &hanse_cache::Scope::Wildcard);
        let same = |o: &Object| o.text(&["status", "identityHash"]).as_deref() == Some(identity);
        all.into_iter().filter(same).collect()
    }

    /// May the caller do this through the view of an export?
    ///
    /// # Errors
    /// 403 for the first of the three checks that fails: the binding in the target, the
    /// permission on the export's content, the policies of claimed exports.
    pub fn authorize_export_view(&self, view: &ExportView, through: &Through<'_>) -> Result<()> {
        if through.user.is_master() {
            return Ok(());
        }
        let want = through.attributes;
        let target = through.target.filter(|_| want.is_resource);
        if target.is_some_and(|target| !self.binding_allows(view, target, want)) {
            return Err(refuse(want));
        }
        let key = view.export.key();
        let content = Attributes {
            subresource: "content",
            ..Attributes::resource(
                through.user,
                want.verb,
                group::APIS,
                "apiexports",
                &key.name,
            )
        };
        if !self
            .authorizer()
            .authorize(&content, Some(&key.cluster))
            .allowed
        {
            return Err(refuse(want));
        }
        let claimed = view.claims.iter().filter(|c| {
            want.is_resource && !c.identity.is_empty() && c.covers(want.group, want.resource)
        });
        for claim in claimed {
            let providers = self.exports_with_identity(&claim.identity);
            let allowed = |e: &Object| self.authorizer().allowed_by_policy(want, e);
            if providers.is_empty() || !providers.iter().all(allowed) {
                return Err(refuse(want));
            }
        }
        Ok(())
    }

    /// Does a binding in the target let the provider do that there?
    fn binding_allows(&self, view: &ExportView, target: &str, want: &Attributes<'_>) -> bool {
        let key = view.export.key();
        let of = &self.view().resources().api_bindings;
        let binding = self
            .view()
            .list_cluster(of, target)
            .into_iter()
            .find(|binding| {
                let text = |path: &[&str]| binding.text(path).unwrap_or_default();
                let cluster = text(&["status", "apiExportClusterName"]);
                let cluster = match cluster.is_empty() {
                    true => text(&["spec", "reference", "export", "path"]),
                    false => cluster,
                };
                *text(&["spec", "reference", "export", "name"]) == *key.name
                    && *cluster == *key.cluster
            });
        let Some(binding) = binding else { return false };
        if want.group == group::APIS && want.resource == "apibindings" && READS.contains(&want.verb)
        {
            return true;
        }
        if view.is_exported(want.group, want.resource) {
            let bound = bound_resources(&binding);
            return bound
                .iter()
                .any(|b| b.group == want.group && b.resource == want.resource);
        }
        let bound = claims::of_binding(&binding.value());
        claims::verb_allowed(&view.claims, &bound, want.group, want.resource, want.verb)
    }

    /// The caller as he goes on into the target: himself, and a warrant there.
    #[must_use]
    pub fn warranted(&self, caller: &UserInfo, target: &str) -> UserInfo {
        let mut warrant = Warrant {
            user: user::REST_SERVICE_ACCOUNT.to_owned(),
            groups: vec![user::KCP_ADMIN.to_owned()],
            ..Warrant::default()
        };
        warrant
            .extra
            .insert(user::CLUSTER_NAME.to_owned(), vec![target.to_owned()]);
        let mut caller = caller.clone();
        caller
            .extra
            .entry(user::WARRANT.to_owned())
            .or_default()
            .push(warrant.to_text());
        caller
    }

    /// Does an object written through the view fit the claim it goes by? Labels that the
    /// consumer's selector asks for are added.
    ///
    /// # Errors
    /// 403 for a label of another value, or an object that the selector does not match.
    pub fn fit_claim(
        &self,
        view: &ExportView,
        target: &str,
        row: &ResourceDef,
        name: &str,
        object: &mut Value,
        creates: bool,
    ) -> Result<()> {
        let key = view.export.key();
        let wanted = hash::export_hash(&key.cluster, &key.name);
        let of = &self.view().resources().api_bindings;
        let bindings = self.view().list_cluster(of, target);
        let binding = bindings
            .iter()
            .find(|b| b.label(label::EXPORT) == Some(&wanted));
        let Some(binding) = binding else {
            return Ok(());
        };
        let bound = claims::of_binding(&binding.value());
        let claim = bound
            .iter()
            .find(|c| c.accepted && c.covers(&row.group, &row.plural));
        let Some(selector) = claim.and_then(|c| c.selector.as_ref()) else {
            return Ok(());
        };
        let refuse = |why: String| {
            let resource = GroupResource::new(row.group.as_str(), row.plural.as_str());
            Err(Status::forbidden(&resource, name, &why))
        };
        let labels = selector.get("matchLabels").and_then(Value::as_object);
        for (label, value) in labels.into_iter().flatten().filter(|_| creates) {
            let has = &mut object["metadata"]["labels"][label.as_str()];
            if has.is_null() {
                *has = value.clone();
            } else if has != value {
                let value = value.as_str().unwrap_or_default();
                return refuse(format!("protected label {label} must have value {value}"));
            }
        }
        let label = hanse_rules::selector::label_of(object);
        if hanse_rules::selector::matches(Some(selector), &label) {
            return Ok(());
        }
        refuse("object does not match required labels".to_owned())
    }

    /// May the caller look at the schemas that the bindings of a logical cluster use?
    #[must_use]
    pub fn schema_view(&self, consumer: &str, caller: &UserInfo) -> bool {
        let want = Attributes::resource(caller, "get", group::APIS, "apibindings", "");
        self.authorizer().authorize(&want, Some(consumer)).allowed
    }

    /// Is this APIResourceSchema bound in a logical cluster?
    #[must_use]
    pub fn in_schema_view(&self, consumer: &str, schema: &Object) -> bool {
        let of = &self.view().resources().api_bindings;
        let bindings = self.view().list_cluster(of, consumer);
        let ours = |b: &BoundResource| b.uid == schema.uid();
        let bound = |binding: &Object| bound_resources(binding).iter().any(ours);
        bindings.iter().any(bound)
    }

    /// May the caller use the view of an initializer or terminator at all?
    #[must_use]
    pub fn lifecycle_view(&self, sort: Lifecycle, identifier: &str, caller: &UserInfo) -> bool {
        let (cluster, name) = path::split(identifier);
        let want =
            Attributes::resource(caller, sort.verb(), group::TENANCY, "workspacetypes", name);
        !cluster.is_empty() && self.authorizer().authorize(&want, Some(cluster)).allowed
    }

    /// Labels by which the logical clusters of a lifecycle view are found. For terminators they
    /// must also be on their way out.
    #[must_use]
    pub fn lifecycle_labels(sort: Lifecycle, identifier: &str) -> Vec<(String, String)> {
        match sort {
            Lifecycle::Initializing => vec![
                (label::PHASE.to_owned(), phase::INITIALIZING.to_owned()),
                hash::initializer_label(identifier),
            ],
            Lifecycle::Terminating => vec![hash::terminator_label(identifier)],
        }
    }

    /// True if a logical cluster is visible in a lifecycle view.
    #[must_use]
    pub fn in_lifecycle_view(sort: Lifecycle, identifier: &str, object: &Object) -> bool {
        let labels = Self::lifecycle_labels(sort, identifier);
        let labelled = labels
            .iter()
            .all(|(key, value)| object.label(key) == Some(value));
        labelled && (sort == Lifecycle::Initializing || object.is_deleting())
    }

    /// Checks a status write through a lifecycle view: only this one entry may go.
    ///
    /// # Errors
    /// 422 for any other change of the lists.
    pub fn check_lifecycle_status(
        sort: Lifecycle,
        identifier: &str,
        old: &Value,
        new: &Value,
    ) -> Result<()> {
        let strings = |value: &Value| -> Vec<String> {
            let list = value["status"][sort.list()]
                .as_array()
                .cloned()
                .unwrap_or_default();
            list.iter()
                .filter_map(|v| Some(v.as_str()?.to_owned()))
                .collect()
        };
        let (before, after) = (strings(old), strings(new));
        let without: Vec<String> = before
            .iter()
            .filter(|i| *i != identifier)
            .cloned()
            .collect();
        if after == before || after == without {
            return Ok(());
        }
        let path = hanse_schema::field::Path::new("status").child(sort.list());
        let why = format!(
            "only removing the {identifier:?} {} is supported",
            sort.noun()
        );
        let error = hanse_schema::field::Error::invalid(&path, &Value::from(after), why);
        Err(Status::invalid(
            "LogicalCluster",
            group::CORE,
            "cluster",
            &error.into(),
        ))
    }

    /// How a request for anything else in the workspace goes on.
    #[must_use]
    pub fn lifecycle_content(
        &self,
        sort: Lifecycle,
        identifier: &str,
        target: &ClusterName,
        want: &Attributes<'_>,
    ) -> Content {
        let noun = sort.noun();
        let object = self.view().logical_cluster(target);
        let visible = object.filter(|o| Self::in_lifecycle_view(sort, identifier, o));
        let Some(object) = visible else {
            let text = format!("{noun} {identifier:?} cannot access this workspace");
            return Content::Refused(403, text);
        };
        let (cluster, name) = path::split(identifier);
        let view = self.view();
        let of = view
            .tenancy()
            .and_then(|tenancy| view.get(&tenancy.workspace_types, cluster, "", name));
        let Some(of) = of else {
            return Content::Refused(
                503,
                format!("workspace type of {noun} {identifier:?} not found"),
            );
        };
        let field = format!("{noun}Permissions");
        match of.value()["spec"].get(&field).and_then(Value::as_array) {
            Some(rules) if !rules.is_empty() => {
                let allows =
                    |rule: &Value| hanse_auth::rbac::PolicyRule::from_value(rule).allows(want);
                if rules.iter().any(allows) {
                    let prefix = match sort {
                        Lifecycle::Initializing => user::INITIALIZER_PREFIX,
                        Lifecycle::Terminating => user::TERMINATOR_PREFIX,
                    };
                    let mut caller = want.user.clone();
                    caller.groups.push(format!("{prefix}{identifier}"));
                    return Content::As(caller);
                }
                let group = if want.group.is_empty() {
                    "core"
                } else {
                    want.group
                };
                Content::Refused(
                    403,
                    format!(
                        "{noun} {identifier:?} denied by {field}: no rule allows {} on {group}/{}",
                        want.verb, want.resource
                    ),
                )
            }
            _ => match created_by(&object.value()) {
                Some(creator) => Content::As(creator),
                None => Content::Refused(500, "logical cluster has no creator".to_owned()),
            },
        }
    }
}

/// The user in `spec.createdBy` of a LogicalCluster.
fn created_by(object: &Value) -> Option<UserInfo> {
    let by = object["spec"].get("createdBy")?;
    let strings = |value: &Value| -> Vec<String> {
        let list = value.as_array().map(Vec::as_slice).unwrap_or_default();
        list.iter()
            .filter_map(|v| Some(v.as_str()?.to_owned()))
            .collect()
    };
    let extra = by["extra"].as_object().into_iter().flatten();
    Some(UserInfo {
        name: by["username"].as_str()?.to_owned(),
        uid: by["uid"].as_str().unwrap_or_default().to_owned(),
        groups: strings(&by["groups"]),
        extra: extra
            .map(|(key, values)| (key.clone(), strings(values)))
            .collect(),
    })
}

/// The refusal of a request through a view.
fn refuse(want: &Attributes<'_>) -> Box<Status> {
    Status::denied(&hanse_wire::status::Denied {
        user: &want.user.name,
        verb: want.verb,
        group: want.group,
        resource: if want.is_resource { want.resource } else { "" },
        subresource: want.subresource,
        namespace: want.namespace,
        name: want.name,
        path: want.path,
        reason: hanse_auth::ACCESS_DENIED,
    })
}
