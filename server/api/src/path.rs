//! From a URL path to the logical cluster or view that it addresses, and the rest of the path.
//!
//! Start at [`route`]. Only one `/clusters/<x>` prefix is ever cut off: a second one belongs to
//! the Kubernetes path and is unknown there, while a resource whose plural is `clusters` goes on
//! working. The invariant: nothing here looks anything up; that a path leads somewhere is decided
//! by `hanse-tenancy`, and who may go there by `hanse-auth`.

use hanse_wire::status::Status;

use crate::limits::{CLUSTER_SEGMENT_BYTES_MAX, CLUSTER_SEGMENTS_MAX};

/// What stands between `/clusters/` and the next slash.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ClusterRef<'a> {
    /// No prefix: no logical cluster in context.
    None,
    /// `*`: every logical cluster of this shard.
    Wildcard,
    /// A single segment or `system:...`: an id, taken without a look whether it exists.
    Id(&'a str),
    /// Two segments or more, to be resolved through the workspace tree.
    Path(&'a str),
}

/// A virtual workspace below `/services/`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum View<'a> {
    /// `/services/apiexport/<cluster>/<export>`: what an export's provider sees.
    ApiExport {
        /// Id of the logical cluster that holds the export.
        cluster: &'a str,
        /// Name of the export.
        export: &'a str,
    },
    /// `/services/initializingworkspaces/<initializer>`.
    Initializing {
        /// The initializer's id, `<path>:<type>`.
        initializer: &'a str,
    },
    /// `/services/terminatingworkspaces/<terminator>`.
    Terminating {
        /// The terminator's id.
        terminator: &'a str,
    },
    /// `/services/apiresourceschema/<consumer cluster>`.
    ApiResourceSchema {
        /// Id of the logical cluster whose bindings are looked at.
        consumer: &'a str,
    },
}

/// A routed path.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Route<'a> {
    /// The virtual workspace, if the path began with `/services/`.
    pub view: Option<View<'a>>,
    /// The logical cluster.
    pub cluster: ClusterRef<'a>,
    /// What is left: a Kubernetes path, beginning with `/`.
    pub path: &'a str,
}

/// A path that could not be routed.
#[derive(Debug)]
pub enum RouteError {
    /// The cluster's name is malformed: 400.
    Bad(Box<Status>),
    /// A `/services/` path of no known view. 403, for masters 404.
    NoView,
}

/// Cuts the prefix off an (already percent-decoded) path.
///
/// # Errors
/// See [`RouteError`].
pub fn route(path: &str) -> Result<Route<'_>, RouteError> {
    if let Some(rest) = path.strip_prefix("/services/") {
        return route_view(rest);
    }
    let Some(rest) = strip_clusters(path) else {
        return Ok(Route {
            view: None,
            cluster: ClusterRef::None,
            path,
        });
    };
    let (cluster, path) = cut_cluster(rest)?;
    Ok(Route {
        view: None,
        cluster,
        path,
    })
}

fn strip_clusters(path: &str) -> Option<&str> {
    path.strip_prefix("/clusters/")
}

fn cut_cluster(rest: &str) -> Result<(ClusterRef<'_>, &str), RouteError> {
    let (name, path) = match rest.find('/') {
        Some(slash) => rest.split_at(slash),
        None => (rest, "/"),
    };
    let cluster = match name {
        "" => ClusterRef::None,
        "*" => ClusterRef::Wildcard,
        _ if !is_cluster_path(name) => {
            let message = format!("invalid cluster: {name:?} does not match the regex");
            return Err(RouteError::Bad(Status::bad_request(message)));
        }
        _ if name.starts_with("system:") || !name.contains(':') => ClusterRef::Id(name),
        _ => ClusterRef::Path(name),
    };
    Ok((cluster, path))
}

fn route_view(rest: &str) -> Result<Route<'_>, RouteError> {
    let (service, rest) = rest.split_once('/').ok_or(RouteError::NoView)?;
    let (first, rest) = rest.split_once('/').ok_or(RouteError::NoView)?;
    let (view, rest) = match service {
        "apiexport" => {
            let (export, rest) = rest.split_once('/').ok_or(RouteError::NoView)?;
            (
                View::ApiExport {
                    cluster: first,
                    export,
                },
                rest,
            )
        }
        "initializingworkspaces" => (View::Initializing { initializer: first }, rest),
        "terminatingworkspaces" => (View::Terminating { terminator: first }, rest),
        "apiresourceschema" => (View::ApiResourceSchema { consumer: first }, rest),
        _ => return Err(RouteError::NoView),
    };
    let rest = rest.strip_prefix("clusters/").ok_or(RouteError::NoView)?;
    match cut_cluster(rest)? {
        // Views take ids only: resolving a path could lead out of what the view may show.
        (ClusterRef::Path(_) | ClusterRef::None, _) => Err(RouteError::NoView),
        (cluster, path) => Ok(Route {
            view: Some(view),
            cluster,
            path,
        }),
    }
}

/// Whether `name` is segments of lower-case letters, digits and inner dashes, joined by colons.
pub(crate) fn is_cluster_path(name: &str) -> bool {
    let bound = CLUSTER_SEGMENTS_MAX * (CLUSTER_SEGMENT_BYTES_MAX + 1);
    name.len() <= bound && name.split(':').all(is_cluster_segment)
}

fn is_cluster_segment(segment: &str) -> bool {
    let bytes = segment.as_bytes();
    let alphanumeric = |b: &u8| b.is_ascii_lowercase() || b.is_ascii_digit();
    bytes.len() <= CLUSTER_SEGMENT_BYTES_MAX
        && bytes.first().is_some_and(alphanumeric)
        && bytes.last().is_some_and(alphanumeric)
        && bytes.iter().all(|b| alphanumeric(b) || *b == b'-')
}

/// The 404 of a workspace path that leads nowhere.
#[must_use]
pub fn workspace_not_found(path: &str) -> Box<Status> {
    let resource = hanse_wire::gvk::GroupResource::new("tenancy.kcp.io", "workspaces");
    Status::not_found(&resource, path)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_leading_prefix_is_cut() {
        for (path, cluster, rest) in [
            ("/api/v1", ClusterRef::None, "/api/v1"),
            (
                "/clusters/root/api/v1/x",
                ClusterRef::Id("root"),
                "/api/v1/x",
            ),
            ("/clusters/root", ClusterRef::Id("root"), "/"),
            ("/clusters/root/", ClusterRef::Id("root"), "/"),
            (
                "/clusters/a/clusters/b/x",
                ClusterRef::Id("a"),
                "/clusters/b/x",
            ),
            (
                "/clusters/root:org:ws/apis",
                ClusterRef::Path("root:org:ws"),
                "/apis",
            ),
            (
                "/clusters/system:admin/apis",
                ClusterRef::Id("system:admin"),
                "/apis",
            ),
            (
                "/clusters/*/api/v1/pods",
                ClusterRef::Wildcard,
                "/api/v1/pods",
            ),
            ("/clusters//api", ClusterRef::None, "/api"),
            ("/clusters", ClusterRef::None, "/clusters"),
            (
                "/clusters/root:x/apis/url.test/v1/clusters/test/status",
                ClusterRef::Path("root:x"),
                "/apis/url.test/v1/clusters/test/status",
            ),
        ] {
            let route = route(path).unwrap();
            assert_eq!(
                (route.view, route.cluster, route.path),
                (None, cluster, rest),
                "{path}"
            );
        }
    }

    #[test]
    fn malformed_names_are_refused_with_kcps_words() {
        for name in ["Bad$", "-a", "a-", "a::b", "a:", ":a", "**", "root:B"] {
            let path = format!("/clusters/{name}/api");
            let Err(RouteError::Bad(status)) = route(&path) else {
                panic!("{name} was taken")
            };
            assert_eq!(
                status.message,
                format!("invalid cluster: \"{name}\" does not match the regex")
            );
        }
    }

    #[test]
    fn views_take_ids_only() {
        let route_ = route("/services/apiexport/abc/today-cowboys/clusters/*/apis/x").unwrap();
        let view = View::ApiExport {
            cluster: "abc",
            export: "today-cowboys",
        };
        assert_eq!(
            route_,
            Route {
                view: Some(view),
                cluster: ClusterRef::Wildcard,
                path: "/apis/x"
            }
        );
        let route_ = route("/services/initializingworkspaces/root:x/clusters/abc").unwrap();
        assert_eq!(
            route_.view,
            Some(View::Initializing {
                initializer: "root:x"
            })
        );
        assert_eq!((route_.cluster, route_.path), (ClusterRef::Id("abc"), "/"));
        for path in [
            "/services/apiexport/abc/x/clusters/root:org/api",
            "/services/apiexport/abc/x",
            "/services/unknown/abc/clusters/*/api",
            "/services/",
        ] {
            assert!(matches!(route(path), Err(RouteError::NoView)), "{path}");
        }
    }
}
