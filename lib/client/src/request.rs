//! Requests as plain data: what a verb on a resource looks like on the wire. No I/O.
//!
//! Invariant: every name that goes into a path is percent-encoded, so no name can leave its
//! segment.

use bytes::Bytes;
use percent_encoding::{AsciiSet, CONTROLS, utf8_percent_encode};

const SEGMENT: &AsciiSet = &CONTROLS
    .add(b' ')
    .add(b'"')
    .add(b'#')
    .add(b'%')
    .add(b'/')
    .add(b'<')
    .add(b'>')
    .add(b'?')
    .add(b'`')
    .add(b'{')
    .add(b'}')
    .add(b'&')
    .add(b'+')
    .add(b'=');

/// A resource in one version.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Resource {
    /// API group; empty is the core group.
    pub group: String,
    /// Version.
    pub version: String,
    /// Plural name.
    pub plural: String,
}

impl Resource {
    /// Names a resource.
    #[must_use]
    pub fn new(group: &str, version: &str, plural: &str) -> Self {
        Self {
            group: group.into(),
            version: version.into(),
            plural: plural.into(),
        }
    }

    /// `apiVersion` of its objects.
    #[must_use]
    pub fn api_version(&self) -> String {
        if self.group.is_empty() {
            self.version.clone()
        } else {
            format!("{}/{}", self.group, self.version)
        }
    }

    /// Path of its group and version.
    #[must_use]
    pub fn group_path(&self) -> String {
        if self.group.is_empty() {
            format!("/api/{}", segment(&self.version))
        } else {
            format!("/apis/{}/{}", segment(&self.group), segment(&self.version))
        }
    }

    /// Path of the collection, in one namespace or (empty) in all.
    #[must_use]
    pub fn path(&self, namespace: &str) -> String {
        let base = self.group_path();
        if namespace.is_empty() {
            format!("{base}/{}", segment(&self.plural))
        } else {
            format!(
                "{base}/namespaces/{}/{}",
                segment(namespace),
                segment(&self.plural)
            )
        }
    }

    /// Path of one object, or of its subresource.
    #[must_use]
    pub fn object_path(&self, namespace: &str, name: &str, subresource: &str) -> String {
        let mut path = format!("{}/{}", self.path(namespace), segment(name));
        if !subresource.is_empty() {
            path.push('/');
            path.push_str(&segment(subresource));
        }
        path
    }
}

impl std::fmt::Display for Resource {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self.group.as_str() {
            "" => f.write_str(&self.plural),
            group => write!(f, "{}.{group}", self.plural),
        }
    }
}

fn segment(text: &str) -> String {
    utf8_percent_encode(text, SEGMENT).to_string()
}

/// How a patch's body is meant.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PatchKind {
    /// RFC 6902.
    Json,
    /// RFC 7386.
    Merge,
    /// Kubernetes' strategic merge patch.
    Strategic,
    /// Server-side apply.
    Apply,
}

impl PatchKind {
    /// The media type.
    #[must_use]
    pub fn content_type(self) -> &'static str {
        match self {
            Self::Json => "application/json-patch+json",
            Self::Merge => "application/merge-patch+json",
            Self::Strategic => "application/strategic-merge-patch+json",
            Self::Apply => "application/apply-patch+yaml",
        }
    }
}

/// One request, independent of how it is carried.
#[derive(Clone, Debug)]
pub struct Request {
    /// HTTP method.
    pub method: http::Method,
    /// Path below the server's base, encoded.
    pub path: String,
    /// Query parameters, not encoded.
    pub query: Vec<(&'static str, String)>,
    /// Media type of the body.
    pub content_type: &'static str,
    /// What is accepted.
    pub accept: &'static str,
    /// The body.
    pub body: Bytes,
}

impl Request {
    /// A request without a body.
    #[must_use]
    pub fn new(method: http::Method, path: impl Into<String>) -> Self {
        Self {
            method,
            path: path.into(),
            query: Vec::new(),
            content_type: "application/json",
            accept: "application/json",
            body: Bytes::new(),
        }
    }

    /// A GET.
    #[must_use]
    pub fn get(path: impl Into<String>) -> Self {
        Self::new(http::Method::GET, path)
    }

    /// Adds a query parameter; an empty value adds none.
    #[must_use]
    pub fn with(mut self, key: &'static str, value: impl Into<String>) -> Self {
        let value = value.into();
        if !value.is_empty() {
            self.query.push((key, value));
        }
        self
    }

    /// Sets the body.
    #[must_use]
    pub fn body(mut self, content_type: &'static str, body: impl Into<Bytes>) -> Self {
        self.content_type = content_type;
        self.body = body.into();
        self
    }

    /// Path and query as they stand in the request line.
    #[must_use]
    pub fn target(&self) -> String {
        let mut out = self.path.clone();
        for (i, (key, value)) in self.query.iter().enumerate() {
            out.push(if i == 0 && !self.path.contains('?') {
                '?'
            } else {
                '&'
            });
            out.push_str(key);
            out.push('=');
            out.push_str(&segment(value));
        }
        out
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_stay_in_their_segment() {
        let pods = Resource::new("", "v1", "pods");
        assert_eq!(
            pods.object_path("n", "../x?y", "log"),
            "/api/v1/namespaces/n/pods/..%2Fx%3Fy/log"
        );
        let deployments = Resource::new("apps", "v1", "deployments");
        assert_eq!(deployments.path(""), "/apis/apps/v1/deployments");
        let request = Request::get(deployments.path("a"))
            .with("labelSelector", "a=b,c in (d)")
            .with("x", "");
        assert_eq!(
            request.target(),
            "/apis/apps/v1/namespaces/a/deployments?labelSelector=a%3Db,c%20in%20(d)"
        );
    }
}
