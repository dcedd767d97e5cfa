//! RBAC over the present: which bindings name a user, and what their roles say.
//!
//! A logical cluster's own bindings and roles count, and those of `system:admin`. The latter are
//! asked on every request, so they stand in one index by subject; a logical cluster's own are few
//! and read from the hub as they are, each parsed once per version. Nothing is kept for a
//! logical cluster that nobody asks about.

use crate::rbac::{Binding, PolicyRule, Subject};
use crate::versions::ByVersion;
use crate::{Attributes, UserInfo, View};
use hanse_apis::kcp::cluster;
use hanse_cache::{From, Object, ResourceId, Scope, Watcher};
use parking_lot::RwLock;
use std::collections::BTreeMap;
use std::sync::Arc;

/// Parsed roles and bindings that are kept.
const PARSED_MAX: usize = 2048;

type Rules = Arc<Vec<PolicyRule>>;

/// The bindings of `system:admin` by whom they name.
#[derive(Default)]
struct Bootstrap {
    grants: Vec<(Binding, Rules)>,
    by_user: BTreeMap<Box<str>, Vec<usize>>,
    by_group: BTreeMap<Box<str>, Vec<usize>>,
    cluster_roles: BTreeMap<Box<str>, Rules>,
}

/// The index and what tells that it is out of date.
struct Indexed {
    /// The hub's version up to which the watchers were drained.
    checked: u64,
    index: Arc<Bootstrap>,
    watchers: Vec<Watcher>,
}

/// Answers who grants what.
pub struct Grants {
    view: Arc<View>,
    bindings: ByVersion<Binding>,
    roles: ByVersion<Vec<PolicyRule>>,
    bootstrap: RwLock<Option<Indexed>>,
}

impl Grants {
    /// Reads through `view`.
    #[must_use]
    pub fn new(view: Arc<View>) -> Grants {
        Grants {
            view,
            bindings: ByVersion::new(PARSED_MAX),
            roles: ByVersion::new(PARSED_MAX),
            bootstrap: RwLock::new(None),
        }
    }

    /// The reason for which one of the users is allowed, if any is.
    #[must_use]
    pub fn allow(
        &self,
        want: &Attributes<'_>,
        users: &[UserInfo],
        cluster: &str,
    ) -> Option<String> {
        let reason = |binding: &Binding, user: &UserInfo| binding.reason(user);
        self.find(want, users, cluster, want.namespace, reason)
    }

    /// Whether one of the users is allowed.
    #[must_use]
    pub fn allows(&self, want: &Attributes<'_>, users: &[UserInfo], cluster: &str) -> bool {
        self.find(want, users, cluster, want.namespace, |_, _| ())
            .is_some()
    }

    /// As [`Grants::allows`], by ClusterRoleBindings only.
    #[must_use]
    pub fn allows_cluster_wide(
        &self,
        want: &Attributes<'_>,
        users: &[UserInfo],
        cluster: &str,
    ) -> bool {
        self.find(want, users, cluster, "", |_, _| ()).is_some()
    }

    fn find<T>(
        &self,
        want: &Attributes<'_>,
        users: &[UserInfo],
        cluster: &str,
        namespace: &str,
        tell: impl Fn(&Binding, &UserInfo) -> T,
    ) -> Option<T> {
        let mut found = None;
        self.visit(users, cluster, namespace, &mut |binding, rules, user| {
            let want = want.of(user);
            if rules.iter().any(|rule| rule.allows(&want)) {
                found = Some(tell(binding, user));
            }
            found.is_none()
        });
        found
    }

    /// All rules that the users have, for reviews and escalation checks.
    #[must_use]
    pub fn rules_for(&self, users: &[UserInfo], cluster: &str, namespace: &str) -> Vec<PolicyRule> {
        let mut all: Vec<PolicyRule> = Vec::new();
        self.visit(users, cluster, namespace, &mut |_, rules, _| {
            all.extend(rules.iter().cloned());
            true
        });
        all
    }

    /// Shows every (binding, rules) pair that names one of the users until `each` says stop.
    fn visit(
        &self,
        users: &[UserInfo],
        cluster: &str,
        namespace: &str,
        each: &mut dyn FnMut(&Binding, &[PolicyRule], &UserInfo) -> bool,
    ) {
        let bootstrap = self.bootstrap();
        for user in users {
            let groups = user
                .groups
                .iter()
                .filter_map(|g| bootstrap.by_group.get(g.as_str()));
            let places = bootstrap
                .by_user
                .get(user.name.as_str())
                .into_iter()
                .chain(groups);
            for at in places.flatten() {
                let (binding, rules) = &bootstrap.grants[*at];
                let here = binding.namespace.is_empty() || *binding.namespace == *namespace;
                if here && !each(binding, rules, user) {
                    return;
                }
            }
        }
        if cluster == cluster::SYSTEM_ADMIN {
            return;
        }
        let resources = self.view.resources();
        let mut local = self
            .view
            .list_cluster(&resources.cluster_role_bindings, cluster);
        if !namespace.is_empty() {
            let scope = Scope::Namespace(cluster.into(), namespace.into());
            local.extend(self.view.list(&resources.role_bindings, &scope));
        }
        for object in local {
            let binding = self.bindings.get(object.resource_version(), || {
                Binding::from_value(&object.value())
            });
            let named = users
                .iter()
                .filter(|u| binding.subjects.iter().any(|s| s.is(u)));
            for user in named {
                let Some(rules) = self.role_rules(&binding, cluster, &bootstrap) else {
                    break;
                };
                if !each(&binding, &rules, user) {
                    return;
                }
            }
        }
    }

    /// Rules of the role that a binding names: of the logical cluster, else of `system:admin`.
    fn role_rules(&self, binding: &Binding, cluster: &str, base: &Bootstrap) -> Option<Rules> {
        let own = self.role_object(
            binding.to_cluster_role,
            cluster,
            &binding.namespace,
            &binding.role,
        );
        match own {
            Some(object) => Some(self.parse(&object)),
            None if binding.to_cluster_role => base.cluster_roles.get(&*binding.role).cloned(),
            None => None,
        }
    }

    fn role_object(
        &self,
        cluster_role: bool,
        cluster: &str,
        namespace: &str,
        name: &str,
    ) -> Option<Object> {
        let resources = self.view.resources();
        if cluster_role {
            self.view.get(&resources.cluster_roles, cluster, "", name)
        } else {
            self.view.get(&resources.roles, cluster, namespace, name)
        }
    }

    /// Rules of a role by name, as a binding in `namespace` would find it.
    #[must_use]
    pub fn named_role(
        &self,
        cluster_role: bool,
        cluster: &str,
        namespace: &str,
        name: &str,
    ) -> Option<Rules> {
        if let Some(object) = self.role_object(cluster_role, cluster, namespace, name) {
            return Some(self.parse(&object));
        }
        self.bootstrap()
            .cluster_roles
            .get(name)
            .filter(|_| cluster_role)
            .cloned()
    }

    fn parse(&self, role: &Object) -> Rules {
        self.roles
            .get(role.resource_version(), || PolicyRule::list(&role.value()))
    }

    /// The index of `system:admin`, remade when something there has changed.
    fn bootstrap(&self) -> Arc<Bootstrap> {
        let now = self.view.hub().version();
        if let Some(indexed) = self.bootstrap.read().as_ref().filter(|i| i.checked == now) {
            return indexed.index.clone();
        }
        let mut kept = self.bootstrap.write();
        let fresh = kept.as_mut().is_some_and(|indexed| {
            indexed.checked = now;
            // Each is asked: what one of them holds back must not be seen later as new.
            let noisy = indexed
                .watchers
                .iter_mut()
                .filter_map(|w| (!is_quiet(w)).then_some(()));
            noisy.count() == 0
        });
        if let Some(indexed) = kept.as_ref().filter(|_| fresh) {
            return indexed.index.clone();
        }
        // Watch first, read then: a change in between is seen again, never missed.
        let watchers = self.bootstrap_watchers();
        let index = Arc::new(self.index_bootstrap(&self.bootstrap_objects()));
        *kept = Some(Indexed {
            checked: now,
            index: index.clone(),
            watchers,
        });
        index
    }

    fn bootstrap_watchers(&self) -> Vec<Watcher> {
        let scope = Scope::Cluster(cluster::SYSTEM_ADMIN.into());
        let watch = |r| self.view.hub().watch(r, &scope, From::Now, None);
        self.bootstrap_resources().into_iter().map(watch).collect()
    }

    fn bootstrap_resources(&self) -> [&ResourceId; 4] {
        let of = self.view.resources();
        [
            &of.cluster_roles,
            &of.cluster_role_bindings,
            &of.roles,
            &of.role_bindings,
        ]
    }

    /// ClusterRoles, ClusterRoleBindings, Roles, RoleBindings of `system:admin`.
    fn bootstrap_objects(&self) -> [Vec<Object>; 4] {
        let list = |r: &ResourceId| self.view.list_cluster(r, cluster::SYSTEM_ADMIN);
        self.bootstrap_resources().map(list)
    }

    fn index_bootstrap(&self, objects: &[Vec<Object>; 4]) -> Bootstrap {
        let [cluster_roles, cluster_bindings, roles, bindings] = objects;
        let parsed = |object: &Object| (Box::from(&*object.key().name), self.parse(object));
        let cluster_roles: BTreeMap<Box<str>, Rules> = cluster_roles.iter().map(parsed).collect();
        let mut index = Bootstrap {
            cluster_roles,
            ..Bootstrap::default()
        };
        for object in cluster_bindings.iter().chain(bindings) {
            let binding = Binding::from_value(&object.value());
            let rules = if binding.to_cluster_role {
                index.cluster_roles.get(&binding.role).cloned()
            } else {
                let same = |r: &&Object| {
                    *r.key().name == *binding.role && *r.key().namespace == *binding.namespace
                };
                roles.iter().find(same).map(|r| self.parse(r))
            };
            let Some(rules) = rules else { continue };
            for subject in &binding.subjects {
                let at = index.grants.len();
                match subject {
                    Subject::Group(name) => {
                        index.by_group.entry(name.clone()).or_default().push(at)
                    }
                    Subject::User(name) | Subject::ServiceAccount(name) => {
                        index.by_user.entry(name.clone()).or_default().push(at);
                    }
                }
            }
            index.grants.push((binding, rules));
        }
        index
    }
}

/// True if nothing happened since the last look.
fn is_quiet(watcher: &mut Watcher) -> bool {
    matches!(watcher.try_next(), Ok(None))
}
