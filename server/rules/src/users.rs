//! Who a user is in a given logical cluster: scopes, warrants, global service accounts, and the
//! prefixed identities of maximal permission policies.
//!
//! Start with [`effective_users`]. Invariant: a user confined to one logical cluster is never
//! effective in another, except as anonymous or under its global name.

use hanse_apis::kcp::user;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// Deepest nesting of warrants that is followed.
const WARRANT_DEPTH_MAX: usize = 8;
/// Most identities that one request can act as.
const EFFECTIVE_USERS_MAX: usize = 64;

/// Who makes a request.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct UserInfo {
    /// User name.
    pub name: String,
    /// Stable id; empty if unknown.
    pub uid: String,
    /// Groups, in the order in which they were learned.
    pub groups: Vec<String>,
    /// Further keys.
    pub extra: BTreeMap<String, Vec<String>>,
}

impl UserInfo {
    /// The user of requests without credentials.
    #[must_use]
    pub fn anonymous() -> UserInfo {
        UserInfo::new(user::ANONYMOUS, &[user::UNAUTHENTICATED])
    }

    /// A user with groups and nothing else.
    #[must_use]
    pub fn new(name: &str, groups: &[&str]) -> UserInfo {
        UserInfo {
            name: name.to_owned(),
            groups: groups.iter().map(|g| (*g).to_owned()).collect(),
            ..UserInfo::default()
        }
    }

    /// True if the user is in the group.
    #[must_use]
    pub fn in_group(&self, group: &str) -> bool {
        self.groups.iter().any(|g| g == group)
    }

    /// True for members of `system:masters`.
    #[must_use]
    pub fn is_master(&self) -> bool {
        self.in_group(user::MASTERS)
    }

    /// Namespace and name if this is a service account.
    #[must_use]
    pub fn service_account(&self) -> Option<(&str, &str)> {
        self.name
            .strip_prefix(user::SERVICE_ACCOUNT_PREFIX)?
            .split_once(':')
    }

    fn extra(&self, key: &str) -> &[String] {
        self.extra.get(key).map(Vec::as_slice).unwrap_or_default()
    }

    /// The owner annotation of a workspace: fields in the order of Kubernetes' UserInfo.
    #[must_use]
    pub fn owner_annotation(&self) -> String {
        let wire = Wire {
            username: &self.name,
            uid: &self.uid,
            groups: &self.groups,
            extra: &self.extra,
        };
        serde_json::to_string(&wire).unwrap_or_default()
    }
}

#[derive(Serialize)]
struct Wire<'a> {
    #[serde(skip_serializing_if = "str::is_empty")]
    username: &'a str,
    #[serde(skip_serializing_if = "str::is_empty")]
    uid: &'a str,
    #[serde(skip_serializing_if = "<[String]>::is_empty")]
    groups: &'a [String],
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    extra: &'a BTreeMap<String, Vec<String>>,
}

/// A further identity on whose behalf a request runs.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct Warrant {
    /// User name.
    pub user: String,
    /// Groups.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub groups: Vec<String>,
    /// Stable id.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub uid: String,
    /// Further keys.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub extra: BTreeMap<String, Vec<String>>,
}

impl Warrant {
    /// Text of the warrant as it stands in an extra value.
    #[must_use]
    pub fn to_text(&self) -> String {
        serde_json::to_string(self).unwrap_or_default()
    }

    fn into_user(self) -> UserInfo {
        UserInfo {
            name: self.user,
            uid: self.uid,
            groups: self.groups,
            extra: self.extra,
        }
    }
}

/// Logical clusters that every scope value of the user names; `None` without any scope.
fn scopes(who: &UserInfo) -> Option<Vec<&str>> {
    let mut left: Option<Vec<&str>> = None;
    for value in who.extra(user::SCOPES) {
        let named = value
            .split(',')
            .filter_map(|s| s.trim().strip_prefix(user::SCOPE_PREFIX));
        let named: Vec<&str> = named.collect();
        left = Some(match left {
            None => named,
            Some(before) => before.into_iter().filter(|c| named.contains(c)).collect(),
        });
    }
    left
}

/// True if the user may be itself in the logical cluster.
#[must_use]
pub fn in_scope(who: &UserInfo, cluster: &str) -> bool {
    let homes = who.extra(user::CLUSTER_NAME);
    if who.service_account().is_some() && !homes.is_empty() && homes != [cluster] {
        return false;
    }
    scopes(who).is_none_or(|named| named.contains(&cluster))
}

/// True for a service account of this very logical cluster, in scope. One that names no logical
/// cluster is meant to be local: `kubectl --as=system:serviceaccount:...` names none.
#[must_use]
pub fn is_local_service_account(who: &UserInfo, cluster: &str) -> bool {
    who.service_account().is_some() && in_scope(who, cluster)
}

fn scope_groups(who: &UserInfo) -> impl Iterator<Item = String> + '_ {
    scopes(who)
        .into_iter()
        .flatten()
        .map(|c| format!("{}{c}", user::CLUSTER_PREFIX))
}

/// The name of a service account outside its own logical cluster.
#[must_use]
pub fn global_service_account(who: &UserInfo) -> Option<String> {
    let (namespace, name) = who.service_account()?;
    let [home] = who.extra(user::CLUSTER_NAME) else {
        return None;
    };
    Some(format!(
        "{}{home}:{namespace}:{name}",
        user::GLOBAL_SERVICE_ACCOUNT_PREFIX
    ))
}

/// Everybody as whom the user acts in the logical cluster; any allow wins.
#[must_use]
pub fn effective_users(who: &UserInfo, cluster: &str) -> Vec<UserInfo> {
    let mut found = Effective::default();
    found.collect(who, cluster, 0);
    let anonymous = |group: &str| {
        let mut anonymous = UserInfo::new(user::ANONYMOUS, &[group]);
        anonymous.groups.extend(scope_groups(who));
        anonymous
    };
    if found.stranger_authenticated {
        found.users.push(anonymous(user::AUTHENTICATED));
    }
    if found.stranger_unauthenticated {
        found.users.push(anonymous(user::UNAUTHENTICATED));
    }
    found.users
}

#[derive(Default)]
struct Effective {
    users: Vec<UserInfo>,
    stranger_authenticated: bool,
    stranger_unauthenticated: bool,
}

impl Effective {
    fn collect(&mut self, who: &UserInfo, cluster: &str, depth: usize) {
        if depth > WARRANT_DEPTH_MAX || self.users.len() >= EFFECTIVE_USERS_MAX {
            return;
        }
        if in_scope(who, cluster) {
            let mut itself = who.clone();
            if depth > 0 {
                itself.groups.extend(scope_groups(who));
            }
            self.users.push(itself);
        } else if who.in_group(user::AUTHENTICATED) {
            self.stranger_authenticated = true;
        } else {
            self.stranger_unauthenticated = true;
        }
        if let Some(name) = global_service_account(who) {
            let mut global = UserInfo {
                name,
                ..UserInfo::default()
            };
            if who.in_group(user::AUTHENTICATED) {
                global.groups.push(user::AUTHENTICATED.to_owned());
            }
            global.groups.extend(scope_groups(who));
            self.users.push(global);
        }
        for text in who.extra(user::WARRANT) {
            let Ok(warrant) = serde_json::from_str::<Warrant>(text) else {
                continue;
            };
            let next = warrant.into_user();
            let homeless = next.extra(user::CLUSTER_NAME).is_empty();
            if next.service_account().is_some() && homeless {
                continue;
            }
            self.collect(&next, cluster, depth + 1);
        }
    }
}

/// The user as a maximal permission policy names it: everything prefixed, service accounts under
/// their global name, no scopes (the caller has already been found effective in its own logical
/// cluster), no warrants (each of them is prefixed as an effective user of its own).
///
/// Whoever is confined to a logical cluster has its name and groups from there: its administrator
/// may impersonate anybody. The provider of an export knows them by where they come from only.
#[must_use]
pub fn prefixed(who: &UserInfo) -> UserInfo {
    let prefix = |s: &str| format!("{}{s}", user::BINDING_PREFIX);
    let global = global_service_account(who);
    if global.is_none() && scopes(who).is_some() {
        let known = who.groups.iter().filter(|g| *g == user::AUTHENTICATED);
        return UserInfo {
            name: prefix(user::ANONYMOUS),
            groups: known
                .cloned()
                .chain(scope_groups(who))
                .map(|g| prefix(&g))
                .collect(),
            ..UserInfo::default()
        };
    }
    UserInfo {
        name: prefix(global.as_deref().unwrap_or(&who.name)),
        uid: who.uid.clone(),
        groups: who.groups.iter().map(|g| prefix(g)).collect(),
        extra: BTreeMap::new(),
    }
}

/// Adds a scope: the user is valid in this logical cluster only from now on.
pub fn confine(who: &mut UserInfo, cluster: &str) {
    let scopes = who.extra.entry(user::SCOPES.to_owned()).or_default();
    scopes.push(format!("{}{cluster}", user::SCOPE_PREFIX));
}

/// Groups that nobody may impersonate without having them (or being a master).
pub const PROTECTED_GROUPS: [&str; 6] = [
    user::MASTERS,
    user::LOGICAL_CLUSTER_ADMIN,
    user::EXTERNAL_LOGICAL_CLUSTER_ADMIN,
    user::WORKSPACE_BOOTSTRAPPER,
    user::KCP_ADMIN,
    user::AUTHENTICATED,
];

/// Whether an extra key is one by which the platform itself says who somebody is: scopes, warrants,
/// the home of a service account.
fn is_protected_extra(key: &str) -> bool {
    let domain = key.split_once('/').map_or("", |(domain, _)| domain);
    domain == "kcp.io" || domain.ends_with(".kcp.io")
}

/// True if the requester may ask to impersonate these extra values at all: one who could claim a
/// warrant or the home of a service account would be somebody else in other logical clusters.
#[must_use]
pub fn may_impersonate_extra(requester: &UserInfo, extra: &BTreeMap<String, Vec<String>>) -> bool {
    let protected = extra.iter().filter(|(key, _)| is_protected_extra(key));
    requester.is_master()
        || protected
            .into_iter()
            .all(|(key, values)| values.iter().all(|v| requester.extra(key).contains(v)))
}

/// True if the requester may ask to impersonate these groups at all.
#[must_use]
pub fn may_impersonate_groups(requester: &UserInfo, groups: &[String]) -> bool {
    let protected = |g: &&String| PROTECTED_GROUPS.contains(&g.as_str());
    requester.is_master()
        || groups
            .iter()
            .filter(protected)
            .all(|g| requester.in_group(g))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn with_extra(mut who: UserInfo, key: &str, values: &[&str]) -> UserInfo {
        who.extra
            .insert(key.into(), values.iter().map(|v| (*v).to_owned()).collect());
        who
    }

    fn names(users: &[UserInfo]) -> Vec<(&str, Vec<&str>)> {
        let groups = |u: &UserInfo| {
            u.groups
                .iter()
                .map(String::as_str)
                .collect::<Vec<_>>()
                .len()
        };
        assert!(users.iter().all(|u| groups(u) <= 8));
        users
            .iter()
            .map(|u| {
                (
                    u.name.as_str(),
                    u.groups.iter().map(String::as_str).collect(),
                )
            })
            .collect()
    }

    #[test]
    fn plain_user_is_itself() {
        let alice = UserInfo::new("alice", &["system:authenticated"]);
        assert_eq!(effective_users(&alice, "c"), std::slice::from_ref(&alice));
    }

    #[test]
    fn scopes_are_anded_and_entries_ored() {
        let alice = UserInfo::new("alice", &["system:authenticated"]);
        let alice = with_extra(alice, user::SCOPES, &["cluster:a,cluster:b", "cluster:b"]);
        assert!(in_scope(&alice, "b"));
        assert!(!in_scope(&alice, "a"));
        let abroad = effective_users(&alice, "a");
        assert_eq!(
            names(&abroad),
            [(
                "system:anonymous",
                vec!["system:authenticated", "system:cluster:b"]
            )]
        );
    }

    #[test]
    fn service_accounts_have_a_global_name() {
        let account = UserInfo::new(
            "system:serviceaccount:ns:sa",
            &["system:serviceaccounts", "system:authenticated"],
        );
        let account = with_extra(account, user::CLUSTER_NAME, &["home"]);
        let account = with_extra(account, user::SCOPES, &["cluster:home"]);
        assert!(is_local_service_account(&account, "home"));
        assert!(!is_local_service_account(&account, "elsewhere"));
        let unqualified = UserInfo::new("system:serviceaccount:ns:sa", &["system:authenticated"]);
        assert!(is_local_service_account(&unqualified, "home"));
        assert_eq!(effective_users(&account, "home").len(), 2);
        let abroad = effective_users(&account, "other");
        assert_eq!(
            names(&abroad),
            [
                (
                    "system:kcp:serviceaccount:home:ns:sa",
                    vec!["system:authenticated", "system:cluster:home"]
                ),
                (
                    "system:anonymous",
                    vec!["system:authenticated", "system:cluster:home"]
                ),
            ]
        );
        assert_eq!(
            prefixed(&account).name,
            "apis.kcp.io:binding:system:kcp:serviceaccount:home:ns:sa"
        );
    }

    #[test]
    fn warrants_nest_and_homeless_accounts_are_ignored() {
        let inner = Warrant {
            user: "carol".into(),
            ..Warrant::default()
        };
        let mut outer = Warrant {
            user: "bob".into(),
            groups: vec!["g".into()],
            ..inner.clone()
        };
        outer
            .extra
            .insert(user::WARRANT.into(), vec![inner.to_text()]);
        let rest = Warrant {
            user: user::REST_SERVICE_ACCOUNT.into(),
            ..Warrant::default()
        };
        let alice = UserInfo::new("alice", &[]);
        let texts = [outer.to_text(), rest.to_text(), "{".into()];
        let texts: Vec<&str> = texts.iter().map(String::as_str).collect();
        let alice = with_extra(alice, user::WARRANT, &texts);
        let found = effective_users(&alice, "c");
        let found: Vec<&str> = found.iter().map(|u| u.name.as_str()).collect();
        assert_eq!(found, ["alice", "bob", "carol"]);
    }

    #[test]
    fn impersonation_of_protected_groups() {
        let admin = UserInfo::new("a", &["system:kcp:admin", "system:authenticated"]);
        let wish = |g: &str| vec![g.to_owned()];
        assert!(may_impersonate_groups(&admin, &wish("system:kcp:admin")));
        assert!(may_impersonate_groups(&admin, &wish("dev")));
        assert!(!may_impersonate_groups(&admin, &wish("system:masters")));
        let master = UserInfo::new("m", &["system:masters"]);
        assert!(may_impersonate_groups(&master, &wish("system:kcp:admin")));
    }

    #[test]
    fn impersonation_of_protected_extras() {
        let extra = |key: &str, value: &str| BTreeMap::from([(key.into(), vec![value.into()])]);
        let admin = UserInfo::new("a", &["system:kcp:admin"]);
        let warrant = Warrant {
            user: "root".into(),
            groups: vec![user::KCP_ADMIN.into()],
            ..Warrant::default()
        };
        for (key, value) in [
            (user::WARRANT, warrant.to_text().as_str()),
            (user::SCOPES, "cluster:other"),
            (user::CLUSTER_NAME, "other"),
        ] {
            assert!(!may_impersonate_extra(&admin, &extra(key, value)), "{key}");
            let own = with_extra(admin.clone(), key, &[value]);
            assert!(may_impersonate_extra(&own, &extra(key, value)), "{key}");
        }
        assert!(may_impersonate_extra(
            &admin,
            &extra("example.org/team", "a")
        ));
        let master = UserInfo::new("m", &["system:masters"]);
        assert!(may_impersonate_extra(
            &master,
            &extra(user::SCOPES, "cluster:c")
        ));
    }

    #[test]
    fn a_confined_name_is_nobody_for_an_export() {
        let mut bob = UserInfo::new("bob", &["trusted", "system:authenticated"]);
        confine(&mut bob, "c1");
        let prefixed = prefixed(&bob);
        assert_eq!(prefixed.name, "apis.kcp.io:binding:system:anonymous");
        let groups = ["system:authenticated", "system:cluster:c1"];
        let groups = groups.map(|g| format!("apis.kcp.io:binding:{g}"));
        assert_eq!(prefixed.groups, groups);
    }

    #[test]
    fn owner_annotation_has_kubernetes_field_order() {
        let mut who = UserInfo::new("kcp-admin", &["system:kcp:admin"]);
        assert_eq!(
            who.owner_annotation(),
            r#"{"username":"kcp-admin","groups":["system:kcp:admin"]}"#
        );
        who.uid = "u".into();
        assert!(
            who.owner_annotation()
                .starts_with(r#"{"username":"kcp-admin","uid":"u","groups""#)
        );
    }
}
