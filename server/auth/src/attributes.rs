//! What a request wants, as authorization sees it, and the answer.

use crate::UserInfo;

/// What a request wants. Everything is borrowed: deciding allocates nothing for it.
#[derive(Clone, Copy, Debug)]
pub struct Attributes<'a> {
    /// Who asks.
    pub user: &'a UserInfo,
    /// `get`, `list`, ... or a lower-case HTTP method for non-resource requests.
    pub verb: &'a str,
    /// API group; empty for core.
    pub group: &'a str,
    /// API version.
    pub version: &'a str,
    /// Plural.
    pub resource: &'a str,
    /// Subresource; empty if none.
    pub subresource: &'a str,
    /// Namespace; empty for cluster-scoped and all.
    pub namespace: &'a str,
    /// Object name; empty if none.
    pub name: &'a str,
    /// URL path without the cluster prefix, for non-resource requests.
    pub path: &'a str,
    /// True for a request on a resource.
    pub is_resource: bool,
}

impl<'a> Attributes<'a> {
    /// A request on a resource of no namespace.
    #[must_use]
    pub fn resource(
        user: &'a UserInfo,
        verb: &'a str,
        group: &'a str,
        resource: &'a str,
        name: &'a str,
    ) -> Attributes<'a> {
        Attributes {
            user,
            verb,
            group,
            version: "*",
            resource,
            subresource: "",
            namespace: "",
            name,
            path: "",
            is_resource: true,
        }
    }

    /// A request on a URL that is no resource.
    #[must_use]
    pub fn url(user: &'a UserInfo, verb: &'a str, path: &'a str) -> Attributes<'a> {
        Attributes {
            path,
            is_resource: false,
            ..Attributes::resource(user, verb, "", "", "")
        }
    }

    /// The same request of somebody else.
    #[must_use]
    pub fn of<'b>(&self, user: &'b UserInfo) -> Attributes<'b>
    where
        'a: 'b,
    {
        Attributes { user, ..*self }
    }
}

/// The answer.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Decision {
    /// The request may go on.
    pub allowed: bool,
    /// Some stage said no, rather than having no opinion.
    pub denied: bool,
    /// Why; for logs and audit. Clients see `access denied` instead when it is not allowed.
    pub reason: String,
}

impl Decision {
    /// Yes.
    #[must_use]
    pub fn allow(reason: impl Into<String>) -> Decision {
        Decision {
            allowed: true,
            denied: false,
            reason: reason.into(),
        }
    }

    /// No.
    #[must_use]
    pub fn deny(reason: impl Into<String>) -> Decision {
        Decision {
            allowed: false,
            denied: true,
            reason: reason.into(),
        }
    }

    /// Not mine to say.
    #[must_use]
    pub fn no_opinion(reason: impl Into<String>) -> Decision {
        Decision {
            allowed: false,
            denied: false,
            reason: reason.into(),
        }
    }
}

/// What clients read after the text of a refused request.
pub const ACCESS_DENIED: &str = "access denied";
