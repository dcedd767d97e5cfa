//! Acting as somebody else: the headers, who may, and who one then is.
//!
//! Order: the gatekeeper of kcp (protected groups, and here also the extra values that say who
//! somebody is elsewhere), then one permission check for each value as in Kubernetes, then the new
//! user is confined to the logical cluster of the request.

use crate::{ACCESS_DENIED, Attributes, Authorizer, UserInfo};
use hanse_apis::kcp::user;
use hanse_rules::users;
use hanse_wire::gvk::GroupResource;
use hanse_wire::status::{Denied, Status};
use http::HeaderMap;
use std::collections::BTreeMap;

const USER: &str = "impersonate-user";
const GROUP: &str = "impersonate-group";
const UID: &str = "impersonate-uid";
const EXTRA: &str = "impersonate-extra-";
/// Most values that one request may impersonate: each is a permission check.
pub const VALUES_MAX: usize = 128;

/// What the headers ask for.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Impersonation {
    /// The user to become.
    pub user: String,
    /// Groups, as asked for.
    pub groups: Vec<String>,
    /// Uid, or empty.
    pub uid: String,
    /// Extra values; keys in lower case.
    pub extra: BTreeMap<String, Vec<String>>,
}

impl Impersonation {
    /// Reads the headers; `None` if the request impersonates nobody.
    ///
    /// # Errors
    /// 400 for a group, uid or extra without a user, for text that is no UTF-8, and for more than
    /// [`VALUES_MAX`] values.
    pub fn from_headers(headers: &HeaderMap) -> hanse_wire::status::Result<Option<Impersonation>> {
        let mut wish = Impersonation::default();
        let mut count = 0;
        for (name, value) in headers {
            let name = name.as_str();
            if !name.starts_with("impersonate-") {
                continue;
            }
            let text = std::str::from_utf8(value.as_bytes())
                .map_err(|_| Status::bad_request(format!("header {name} is no UTF-8 text")))?;
            count += 1;
            match name {
                USER => text.clone_into(&mut wish.user),
                UID => text.clone_into(&mut wish.uid),
                GROUP => wish.groups.push(text.to_owned()),
                _ => {
                    let Some(key) = name.strip_prefix(EXTRA) else {
                        continue;
                    };
                    let key = percent_decode(key).to_lowercase();
                    wish.extra.entry(key).or_default().push(text.to_owned());
                }
            }
        }
        if count > VALUES_MAX {
            return Err(Status::bad_request("too many impersonation headers"));
        }
        let others = !wish.groups.is_empty() || !wish.extra.is_empty() || !wish.uid.is_empty();
        match (wish.user.is_empty(), others) {
            (true, false) => Ok(None),
            (true, true) => Err(Status::bad_request(format!(
                "requested {} without impersonating a user",
                wish.describe()
            ))),
            (false, _) => Ok(Some(wish)),
        }
    }

    /// The requests as Go prints a list of object references.
    fn describe(&self) -> String {
        let reference = |kind: &str, name: &str, version: &str, field: &str| {
            format!("{{{kind}  {name}  {version}  {field}}}")
        };
        let mut all: Vec<String> = self
            .groups
            .iter()
            .map(|g| reference("Group", g, "", ""))
            .collect();
        for (key, values) in &self.extra {
            let v1 = "authentication.k8s.io/v1";
            all.extend(values.iter().map(|v| reference("UserExtra", v, v1, key)));
        }
        if !self.uid.is_empty() {
            all.push(reference("UID", &self.uid, "authentication.k8s.io/v1", ""));
        }
        format!("[{}]", all.join(" "))
    }

    /// Checks that `requester` may, and returns whom the request runs as from here on.
    ///
    /// # Errors
    /// 403 with the text of the first value that is refused.
    pub fn check(
        &self,
        requester: &UserInfo,
        cluster: Option<&str>,
        authorizer: &Authorizer,
    ) -> hanse_wire::status::Result<UserInfo> {
        if !users::may_impersonate_groups(requester, &self.groups)
            || !users::may_impersonate_extra(requester, &self.extra)
        {
            let why = "impersonation is not allowed for the requestor";
            return Err(Status::forbidden(
                &GroupResource::new("", "users"),
                &self.user,
                why,
            ));
        }
        let may = |group: &str, resource: &str, sub: &str, namespace: &str, name: &str| {
            let want = Attributes {
                subresource: sub,
                namespace,
                ..Attributes::resource(requester, "impersonate", group, resource, name)
            };
            if authorizer.authorize(&want, cluster).allowed {
                return Ok(());
            }
            Err(Status::denied(&Denied {
                user: &requester.name,
                verb: "impersonate",
                group,
                resource,
                subresource: sub,
                namespace,
                name,
                path: "",
                reason: ACCESS_DENIED,
            }))
        };
        let account = self.user.strip_prefix(user::SERVICE_ACCOUNT_PREFIX);
        match account.and_then(|a| a.split_once(':')) {
            Some((namespace, name)) => may("", "serviceaccounts", "", namespace, name)?,
            None => may("", "users", "", "", &self.user)?,
        }
        for group in &self.groups {
            may("", "groups", "", "", group)?;
        }
        for (key, values) in &self.extra {
            for value in values {
                may("authentication.k8s.io", "userextras", key, "", value)?;
            }
        }
        if !self.uid.is_empty() {
            may("authentication.k8s.io", "uids", "", "", &self.uid)?;
        }
        Ok(self.become_user(requester, cluster))
    }

    fn become_user(&self, requester: &UserInfo, cluster: Option<&str>) -> UserInfo {
        let mut groups = self.groups.clone();
        let account = self.user.strip_prefix(user::SERVICE_ACCOUNT_PREFIX);
        if let (Some((namespace, _)), true) =
            (account.and_then(|a| a.split_once(':')), groups.is_empty())
        {
            groups.push(user::SERVICE_ACCOUNTS.to_owned());
            groups.push(format!("{}:{namespace}", user::SERVICE_ACCOUNTS));
        }
        let implied = match self.user.as_str() {
            user::ANONYMOUS => user::UNAUTHENTICATED,
            _ => user::AUTHENTICATED,
        };
        if !groups.iter().any(|g| g == implied) {
            groups.push(implied.to_owned());
        }
        let mut user = UserInfo {
            name: self.user.clone(),
            uid: self.uid.clone(),
            groups,
            extra: self.extra.clone(),
        };
        if let Some(cluster) = cluster.filter(|_| !requester.is_master()) {
            users::confine(&mut user, cluster);
        }
        user
    }
}

/// Undoes the escaping of header names; what is no escape stays.
fn percent_decode(text: &str) -> String {
    let bytes = text.as_bytes();
    let mut out = Vec::with_capacity(bytes.len());
    let mut at = 0;
    while at < bytes.len() {
        let escape = text.get(at + 1..at + 3).filter(|_| bytes[at] == b'%');
        match escape.and_then(|hex| u8::from_str_radix(hex, 16).ok()) {
            Some(byte) => {
                out.push(byte);
                at += 3;
            }
            None => {
                out.push(bytes[at]);
                at += 1;
            }
        }
    }
    String::from_utf8_lossy(&out).into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn headers(pairs: &[(&'static str, &'static str)]) -> HeaderMap {
        let mut map = HeaderMap::new();
        for (name, value) in pairs {
            map.append(*name, http::HeaderValue::from_static(value));
        }
        map
    }

    #[test]
    fn headers_are_read() {
        assert_eq!(
            Impersonation::from_headers(&headers(&[("accept", "x")])).unwrap(),
            None
        );
        let wish = Impersonation::from_headers(&headers(&[
            ("Impersonate-User", "u"),
            ("Impersonate-Group", "a"),
            ("Impersonate-Group", "b"),
            ("Impersonate-Extra-Acme.com%2FScopes", "s"),
        ]));
        let wish = wish.unwrap().unwrap();
        assert_eq!(wish.groups, ["a", "b"]);
        assert_eq!(wish.extra["acme.com/scopes"], ["s"]);
        let error = Impersonation::from_headers(&headers(&[("Impersonate-Group", "g")]));
        let error = error.unwrap_err();
        assert_eq!(error.code, 400);
        assert_eq!(
            error.message,
            "requested [{Group  g    }] without impersonating a user"
        );
    }

    #[test]
    fn groups_follow_from_the_name() {
        let master = UserInfo::new("m", &["system:masters"]);
        let other = UserInfo::new("o", &[]);
        let wish = |user: &str| Impersonation {
            user: user.into(),
            ..Impersonation::default()
        };
        let account = wish("system:serviceaccount:ns:a").become_user(&master, Some("c"));
        assert_eq!(
            account.groups,
            [
                "system:serviceaccounts",
                "system:serviceaccounts:ns",
                "system:authenticated"
            ]
        );
        assert!(account.extra.is_empty());
        let anonymous = wish("system:anonymous").become_user(&other, Some("c"));
        assert_eq!(anonymous.groups, ["system:unauthenticated"]);
        assert_eq!(anonymous.extra[user::SCOPES], ["cluster:c"]);
    }
}
