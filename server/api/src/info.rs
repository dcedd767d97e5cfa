//! What a request asks for, read from its method and path alone: verb, group, version, resource,
//! subresource, namespace, name.
//!
//! Start at [`RequestInfo::parse`]. It borrows from the path and allocates nothing: this runs for
//! every request. Nothing is checked against what is served; that comes with the surface. The
//! classification decides what is authorized, so it must equal Kubernetes' to the letter
//! (kubernetes-api URL-01 to URL-09).

use http::Method;

/// Kubernetes' verbs for resources; for other paths the lower-case method counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verb {
    /// GET or HEAD with a name.
    Get,
    /// GET without a name.
    List,
    /// GET without a name and with `watch`.
    Watch,
    /// POST.
    Create,
    /// PUT.
    Update,
    /// PATCH.
    Patch,
    /// DELETE with a name.
    Delete,
    /// DELETE without a name.
    DeleteCollection,
    /// Any other method.
    None,
}

impl Verb {
    /// As RBAC rules spell it.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Get => "get",
            Self::List => "list",
            Self::Watch => "watch",
            Self::Create => "create",
            Self::Update => "update",
            Self::Patch => "patch",
            Self::Delete => "delete",
            Self::DeleteCollection => "deletecollection",
            Self::None => "",
        }
    }

    /// Whether the verb changes nothing.
    #[must_use]
    pub fn is_read(self) -> bool {
        matches!(self, Self::Get | Self::List | Self::Watch)
    }
}

/// A classified request. Fields that do not apply are empty.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RequestInfo<'a> {
    /// Whether the path addresses a resource (and not discovery, health, ...).
    pub is_resource: bool,
    /// The whole path, without the logical cluster's prefix.
    pub path: &'a str,
    /// The verb.
    pub verb: Verb,
    /// API group, `""` for the core group.
    pub group: &'a str,
    /// API version.
    pub version: &'a str,
    /// Namespace; for `namespaces/{n}` itself that name too.
    pub namespace: &'a str,
    /// Plural of the resource, without an identity suffix.
    pub resource: &'a str,
    /// Identity hash after a colon behind the resource, if any.
    pub identity: Option<&'a str>,
    /// Subresource.
    pub subresource: &'a str,
    /// Object name.
    pub name: &'a str,
    /// Whether more path segments follow than any resource has.
    pub too_long: bool,
}

/// Segments below `/namespaces/{n}/` that are subresources of the namespace itself.
const NAMESPACE_SUBRESOURCES: [&str; 2] = ["status", "finalize"];
/// Longest legal rest of a resource path: namespaces, ns, resource, name, subresource.
const SEGMENTS_MAX: usize = 12;

impl<'a> RequestInfo<'a> {
    /// Classifies a request. `watch` is the parsed truth of the query parameter of that name.
    #[must_use]
    pub fn parse(method: &Method, path: &'a str, watch: bool) -> Self {
        let mut info = Self {
            is_resource: false,
            path,
            verb: method_verb(method),
            group: "",
            version: "",
            namespace: "",
            resource: "",
            identity: None,
            subresource: "",
            name: "",
            too_long: false,
        };
        let mut segments = [""; SEGMENTS_MAX];
        let mut count = 0;
        for segment in path.trim_matches('/').split('/').take(SEGMENTS_MAX) {
            segments[count] = segment;
            count += 1;
        }
        let Some(rest) = info.take_group(&segments[..count]) else {
            return info;
        };
        info.is_resource = true;
        info.take_resource(rest, watch);
        info
    }

    /// Takes `api/v1` or `apis/g/v` off and returns the rest, if something is left.
    fn take_group<'s>(&mut self, segments: &'s [&'a str]) -> Option<&'s [&'a str]> {
        let rest = match segments {
            ["api", version, rest @ ..] => {
                self.version = version;
                rest
            }
            ["apis", group, version, rest @ ..] => {
                (self.group, self.version) = (group, version);
                rest
            }
            _ => return None,
        };
        (!rest.is_empty()).then_some(rest)
    }

    fn take_resource(&mut self, mut rest: &[&'a str], watch: bool) {
        let legacy_watch = rest[0] == "watch" && rest.len() > 1;
        if legacy_watch {
            rest = &rest[1..];
        }
        if rest[0] == "namespaces" && rest.len() > 1 {
            self.namespace = rest[1];
            if rest.len() > 2 && !NAMESPACE_SUBRESOURCES.contains(&rest[2]) {
                rest = &rest[2..];
            }
        }
        self.resource = rest[0];
        if let Some((resource, identity)) = rest[0].split_once(':') {
            (self.resource, self.identity) = (resource, Some(identity));
        }
        self.name = rest.get(1).copied().unwrap_or_default();
        if !legacy_watch {
            self.subresource = rest.get(2).copied().unwrap_or_default();
        }
        self.too_long = rest.len() > 3;
        self.verb = match self.verb {
            Verb::Get if legacy_watch => Verb::Watch,
            Verb::Get if self.name.is_empty() && watch => Verb::Watch,
            Verb::Get if self.name.is_empty() => Verb::List,
            Verb::Delete if self.name.is_empty() => Verb::DeleteCollection,
            verb => verb,
        };
    }

    /// The verb as the authorizer wants it: for other paths than resources the method.
    #[must_use]
    pub fn authorization_verb(&self, method: &Method) -> String {
        if self.is_resource {
            self.verb.as_str().to_owned()
        } else {
            method.as_str().to_ascii_lowercase()
        }
    }
}

fn method_verb(method: &Method) -> Verb {
    match *method {
        Method::GET | Method::HEAD => Verb::Get,
        Method::POST => Verb::Create,
        Method::PUT => Verb::Update,
        Method::PATCH => Verb::Patch,
        Method::DELETE => Verb::Delete,
        _ => Verb::None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// `METHOD PATH` to `verb group/version namespace resource subresource name`.
    fn check(request: &str, expected: &str) {
        let (method, path) = request.split_once(' ').unwrap();
        let (path, query) = path.split_once('?').unwrap_or((path, ""));
        let method = Method::from_bytes(method.as_bytes()).unwrap();
        let i = RequestInfo::parse(&method, path, query.contains("watch"));
        let text = format!(
            "{} {}/{} ns={} {}{} sub={} name={}",
            if i.is_resource { i.verb.as_str() } else { "-" },
            i.group,
            i.version,
            i.namespace,
            i.resource,
            i.identity.map(|h| format!(":{h}")).unwrap_or_default(),
            i.subresource,
            i.name
        );
        assert_eq!(text, expected, "{request}");
    }

    #[test]
    fn paths_are_classified_like_kubernetes_does() {
        check(
            "GET /api/v1/namespaces",
            "list /v1 ns= namespaces sub= name=",
        );
        check(
            "GET /api/v1/namespaces/a",
            "get /v1 ns=a namespaces sub= name=a",
        );
        check(
            "PUT /api/v1/namespaces/a/finalize",
            "update /v1 ns=a namespaces sub=finalize name=a",
        );
        check(
            "GET /api/v1/namespaces/a/pods",
            "list /v1 ns=a pods sub= name=",
        );
        check(
            "GET /api/v1/namespaces/a/pods/",
            "list /v1 ns=a pods sub= name=",
        );
        check(
            "GET /api/v1/namespaces/a/pods?watch",
            "watch /v1 ns=a pods sub= name=",
        );
        check(
            "GET /api/v1/namespaces/a/pods/p?watch",
            "get /v1 ns=a pods sub= name=p",
        );
        check(
            "HEAD /api/v1/namespaces/a/pods/p",
            "get /v1 ns=a pods sub= name=p",
        );
        check(
            "POST /api/v1/namespaces/a/pods",
            "create /v1 ns=a pods sub= name=",
        );
        check(
            "DELETE /api/v1/namespaces/a/pods",
            "deletecollection /v1 ns=a pods sub= name=",
        );
        check(
            "DELETE /api/v1/namespaces/a/pods/p",
            "delete /v1 ns=a pods sub= name=p",
        );
        check(
            "PATCH /apis/g/v2/x/n/status",
            "patch g/v2 ns= x sub=status name=n",
        );
        check("GET /apis/g/v2/x:abc", "list g/v2 ns= x:abc sub= name=");
        check("GET /api/v1/watch/pods", "watch /v1 ns= pods sub= name=");
        check(
            "GET /api/v1/watch/namespaces/a/pods/p",
            "watch /v1 ns=a pods sub= name=p",
        );
        check("BREW /api/v1/pods", " /v1 ns= pods sub= name=");
        for discovery in [
            "/api",
            "/api/v1",
            "/apis",
            "/apis/g",
            "/apis/g/v1",
            "/healthz",
            "/",
        ] {
            let i = RequestInfo::parse(&Method::GET, discovery, false);
            assert!(!i.is_resource, "{discovery}");
        }
    }
}
