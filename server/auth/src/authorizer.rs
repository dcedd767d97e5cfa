//! May a request go on: kcp's chain of stages around RBAC.
//!
//! Start with [`Authorizer::authorize`]. Order: masters, always-allowed paths, required groups,
//! workspace content, system CRDs, maximal permission policy, RBAC. The first stage that says yes
//! or no ends the matter; what nobody allows is refused. RBAC itself is in `grants`.

use crate::grants::Grants;
use crate::versions::ByVersion;
use crate::{Attributes, Decision, UserInfo, View};
use hanse_apis::kcp::{annotation, group, phase, user, verb};
use hanse_cache::Object;
use hanse_rules::{path, users};
use std::borrow::Cow;
use std::sync::Arc;

/// Parsed objects of each sort that are kept.
const PARSED_MAX: usize = 2048;
/// Paths that everybody may get, also without a logical cluster.
const ALWAYS_ALLOWED: [&str; 3] = ["/healthz", "/readyz", "/livez"];

/// What a decision needs to know of an APIBinding.
struct BoundApi {
    export_path: String,
    export: String,
    resources: Vec<(Box<str>, Box<str>)>,
}

/// Decides requests.
pub struct Authorizer {
    view: Arc<View>,
    grants: Grants,
    bound: ByVersion<BoundApi>,
    policies: ByVersion<bool>,
}

impl Authorizer {
    /// Decides by what `view` shows.
    #[must_use]
    pub fn new(view: Arc<View>) -> Authorizer {
        Authorizer {
            grants: Grants::new(view.clone()),
            view,
            bound: ByVersion::new(PARSED_MAX),
            policies: ByVersion::new(PARSED_MAX),
        }
    }

    /// What it looks at.
    #[must_use]
    pub fn view(&self) -> &Arc<View> {
        &self.view
    }

    /// RBAC alone.
    #[must_use]
    pub fn grants(&self) -> &Grants {
        &self.grants
    }

    /// Decides a request in a logical cluster; `None` and `*` are no logical cluster.
    #[must_use]
    pub fn authorize(&self, want: &Attributes<'_>, cluster: Option<&str>) -> Decision {
        if let Some(decision) = always(want) {
            return decision;
        }
        let cluster = cluster.filter(|c| *c != "*" && !c.is_empty());
        let Some(cluster) = cluster else {
            if !want.is_resource && want.path == "/metrics" {
                return self.rbac(want, "root");
            }
            return Decision::no_opinion("empty cluster name");
        };
        let users = users_in(want.user, cluster);
        let object = self.view.logical_cluster(cluster);
        if let Some(decision) = required_groups(want.user, &users, object.as_ref()) {
            return decision;
        }
        if let Some(decision) = self.content(want.user, &users, cluster, object.as_ref()) {
            return decision;
        }
        if let Some(decision) = system_crd(want) {
            return decision;
        }
        if let Some(decision) = self.maximal_permission(want, &users, cluster) {
            return decision;
        }
        self.rbac_of(want, &users, cluster)
    }

    /// A deep review: only system CRDs and RBAC, for questions that the server asks itself.
    #[must_use]
    pub fn authorize_deep(&self, want: &Attributes<'_>, cluster: &str) -> Decision {
        if let Some(decision) = always(want).or_else(|| system_crd(want)) {
            return decision;
        }
        self.rbac(want, cluster)
    }

    fn rbac(&self, want: &Attributes<'_>, cluster: &str) -> Decision {
        self.rbac_of(want, &users_in(want.user, cluster), cluster)
    }

    fn rbac_of(&self, want: &Attributes<'_>, users: &[UserInfo], cluster: &str) -> Decision {
        match self.grants.allow(want, users, cluster) {
            Some(reason) => Decision::allow(reason),
            None => Decision::no_opinion("no rule allows it"),
        }
    }

    /// May somebody be in this logical cluster at all? `None` delegates.
    fn content(
        &self,
        who: &UserInfo,
        users: &[UserInfo],
        cluster: &str,
        object: Option<&Object>,
    ) -> Option<Decision> {
        if path::is_system(cluster) {
            return Some(Decision::no_opinion("system logical cluster"));
        }
        if who.in_group(user::LOGICAL_CLUSTER_ADMIN) {
            return None;
        }
        let Some(object) = object else {
            return Some(Decision::deny("LogicalCluster not found"));
        };
        let at = object.text(&["status", "phase"]);
        let at = at.as_deref().unwrap_or_default();
        let open = [
            phase::INITIALIZING,
            phase::READY,
            phase::INACTIVE,
            phase::TERMINATING,
            phase::DELETING,
        ];
        if !open.contains(&at) {
            return Some(Decision::no_opinion(format!("phase {at:?}")));
        }
        let lifecycle = [phase::INITIALIZING, phase::TERMINATING, phase::DELETING].contains(&at);
        let through_view = |g: &String| {
            g.starts_with(user::INITIALIZER_PREFIX) || g.starts_with(user::TERMINATOR_PREFIX)
        };
        if lifecycle && who.groups.iter().any(through_view) {
            return Some(Decision::allow("initializer or terminator"));
        }
        if users::is_local_service_account(who, cluster) {
            return None;
        }
        let enter = Attributes::url(who, verb::ACCESS, "/");
        match self.grants.allows_cluster_wide(&enter, users, cluster) {
            true => None,
            false => Some(Decision::no_opinion("no verb=access permission on /")),
        }
    }

    /// Does the export of a bound resource let this user do that? `None` delegates.
    fn maximal_permission(
        &self,
        want: &Attributes<'_>,
        users: &[UserInfo],
        cluster: &str,
    ) -> Option<Decision> {
        if !want.is_resource {
            return None;
        }
        let binding = self.binding_of(cluster, want.group, want.resource)?;
        let export = self
            .view
            .export(&binding.export_path, &binding.export, cluster)?;
        if !*self
            .policies
            .get(export.resource_version(), || has_local_policy(&export))
        {
            return None;
        }
        self.policy_refuses(want, users, &export)
    }

    /// Evaluates the maximal permission policy of an export for prefixed users.
    fn policy_refuses(
        &self,
        want: &Attributes<'_>,
        users: &[UserInfo],
        export: &Object,
    ) -> Option<Decision> {
        let prefixed: Vec<UserInfo> = users.iter().map(users::prefixed).collect();
        match self.grants.allows(want, &prefixed, &export.key().cluster) {
            true => None,
            false => Some(Decision::no_opinion("maximal permission policy")),
        }
    }

    /// Is the request allowed by the maximal permission policy of this export? For views, where
    /// the policies of all providers of claimed resources are asked.
    #[must_use]
    pub fn allowed_by_policy(&self, want: &Attributes<'_>, export: &Object) -> bool {
        if !*self
            .policies
            .get(export.resource_version(), || has_local_policy(export))
        {
            return true;
        }
        let prefixed = users::prefixed(want.user);
        self.grants
            .allows(want, std::slice::from_ref(&prefixed), &export.key().cluster)
    }

    fn binding_of(&self, cluster: &str, group: &str, resource: &str) -> Option<Arc<BoundApi>> {
        let bindings = self
            .view
            .list_cluster(&self.view.resources().api_bindings, cluster);
        bindings.into_iter().find_map(|object| {
            let bound = self
                .bound
                .get(object.resource_version(), || BoundApi::read(&object));
            let ours = |(g, r): &(Box<str>, Box<str>)| **g == *group && **r == *resource;
            bound.resources.iter().any(ours).then_some(bound)
        })
    }
}

impl BoundApi {
    fn read(object: &Object) -> BoundApi {
        let text = |path: &[&str]| object.text(path).map(Cow::into_owned).unwrap_or_default();
        let bound = object.raw(&["status", "boundResources"]).unwrap_or(b"[]");
        let bound: Vec<serde_json::Value> = serde_json::from_slice(bound).unwrap_or_default();
        let part =
            |v: &serde_json::Value, key: &str| v.get(key).and_then(|s| s.as_str()).map(Box::from);
        BoundApi {
            export_path: text(&["spec", "reference", "export", "path"]),
            export: text(&["spec", "reference", "export", "name"]),
            resources: bound
                .iter()
                .filter_map(|b| Some((part(b, "group")?, part(b, "resource")?)))
                .collect(),
        }
    }
}

fn has_local_policy(export: &Object) -> bool {
    export
        .raw(&["spec", "maximalPermissionPolicy", "local"])
        .is_some()
}

fn always(want: &Attributes<'_>) -> Option<Decision> {
    if want.user.is_master() {
        return Some(Decision::allow(""));
    }
    let open = !want.is_resource && ALWAYS_ALLOWED.contains(&want.path);
    open.then(|| Decision::allow(""))
}

/// The effective users, without copying the one of the usual request.
pub(crate) fn users_in<'a>(who: &'a UserInfo, cluster: &str) -> Cow<'a, [UserInfo]> {
    let special = [user::SCOPES, user::CLUSTER_NAME, user::WARRANT];
    if special.iter().any(|key| who.extra.contains_key(*key)) {
        Cow::Owned(users::effective_users(who, cluster))
    } else {
        Cow::Borrowed(std::slice::from_ref(who))
    }
}

/// `None` delegates.
fn required_groups(
    who: &UserInfo,
    users: &[UserInfo],
    object: Option<&Object>,
) -> Option<Decision> {
    if who.in_group(user::LOGICAL_CLUSTER_ADMIN) || who.service_account().is_some() {
        return None;
    }
    // Without a LogicalCluster there is nothing to require; the next stage denies.
    let required = object?.annotation(annotation::REQUIRED_GROUPS)?;
    if who.in_group(user::EXTERNAL_LOGICAL_CLUSTER_ADMIN) || required.is_empty() {
        return None;
    }
    let all = |u: &UserInfo, set: &str| set.split(',').all(|g| u.in_group(g.trim()));
    let satisfied = users.iter().any(|u| {
        required.split(';').any(|set| all(u, set))
            || u.in_group(user::KCP_ADMIN)
            || u.in_group(user::WORKSPACE_BOOTSTRAPPER)
    });
    (!satisfied).then(|| Decision::deny("user is not in the required groups"))
}

/// Nobody but masters writes or reads these; `None` delegates.
fn system_crd(want: &Attributes<'_>) -> Option<Decision> {
    let closed = want.is_resource
        && want.group == group::APIS
        && want.subresource == "status"
        && matches!(want.resource, "apibindings" | "apiexports");
    closed.then(|| Decision::deny("status is written by the system"))
}
