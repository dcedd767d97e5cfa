//! Syntax of logical cluster names and workspace paths.
//!
//! A *name* (id) is globally unique and opaque; a *path* is a name followed by workspace names.
//! Names that start with `system:` are one opaque word and never split. Looking a path up needs
//! the present state and is elsewhere.

use crate::hash::home_cluster_id;
use hanse_apis::kcp::cluster;

/// Longest path that is looked at at all: bounds the work of one request.
pub const PATH_LENGTH_MAX: usize = 4096;
/// Longest segment of a path.
const SEGMENT_LENGTH_MAX: usize = 63;

fn is_alphanumeric(byte: u8) -> bool {
    byte.is_ascii_lowercase() || byte.is_ascii_digit()
}

/// True for one segment: lower-case letters, digits and dashes, at most 63, no dash at the ends.
#[must_use]
pub fn is_segment(segment: &str) -> bool {
    let bytes = segment.as_bytes();
    let (Some(first), Some(last)) = (bytes.first(), bytes.last()) else {
        return false;
    };
    bytes.len() <= SEGMENT_LENGTH_MAX
        && is_alphanumeric(*first)
        && is_alphanumeric(*last)
        && bytes.iter().all(|b| is_alphanumeric(*b) || *b == b'-')
}

/// True for what may stand after `/clusters/`: a path, or `*`.
#[must_use]
pub fn is_valid(path: &str) -> bool {
    path == cluster::WILDCARD || (path.len() <= PATH_LENGTH_MAX && path.split(':').all(is_segment))
}

/// True for a name that needs no lookup: a single segment, or anything after `system:`.
#[must_use]
pub fn is_name(path: &str) -> bool {
    !path.contains(':') || path.starts_with(cluster::SYSTEM_PREFIX)
}

/// True for the logical clusters that belong to the shard and to no workspace.
#[must_use]
pub fn is_system(name: &str) -> bool {
    name.starts_with(cluster::SYSTEM_PREFIX)
}

/// The segments of a path; one for a `system:` name.
pub fn segments(path: &str) -> impl Iterator<Item = &str> {
    let (whole, parts) = if is_name(path) {
        (Some(path), "")
    } else {
        (None, path)
    };
    whole
        .into_iter()
        .chain(parts.split(':').filter(|s| !s.is_empty()))
}

/// The path one step up, if there is one.
#[must_use]
pub fn parent(path: &str) -> Option<&str> {
    if is_name(path) {
        None
    } else {
        path.rsplit_once(':').map(|(parent, _)| parent)
    }
}

/// Splits `root:org:type` into (`root:org`, `type`); the first part is empty without a colon.
#[must_use]
pub fn split(path: &str) -> (&str, &str) {
    path.rsplit_once(':').unwrap_or(("", path))
}

/// A path and one more segment.
#[must_use]
pub fn join(path: &str, name: &str) -> String {
    if path.is_empty() {
        name.to_owned()
    } else {
        format!("{path}:{name}")
    }
}

/// Rewrites `user:<name>[:rest]` to the user's home cluster; other paths stay.
#[must_use]
pub fn rewrite_home(path: &str) -> String {
    let Some(rest) = path.strip_prefix("user:") else {
        return path.to_owned();
    };
    match rest.split_once(':') {
        Some((user, rest)) => format!("{}:{rest}", home_cluster_id(user)),
        None => home_cluster_id(rest),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn syntax() {
        for good in [
            "root",
            "root:org:ws",
            "*",
            "system:admin",
            "a-b:c",
            "user:alice",
            "0",
        ] {
            assert!(is_valid(good), "{good}");
        }
        let long = "a".repeat(64);
        for bad in [
            "",
            "Bad$",
            "root:",
            ":root",
            "-a",
            "a-",
            "root::a",
            "A",
            long.as_str(),
        ] {
            assert!(!is_valid(bad), "{bad}");
        }
    }

    #[test]
    fn names_and_segments() {
        assert!(is_name("root") && is_name("system:bound-crds") && !is_name("root:org"));
        assert_eq!(
            segments("system:admin").collect::<Vec<_>>(),
            ["system:admin"]
        );
        assert_eq!(segments("root:a:b").collect::<Vec<_>>(), ["root", "a", "b"]);
        assert_eq!(parent("root:a:b"), Some("root:a"));
        assert_eq!(parent("root"), None);
        assert_eq!(parent("system:admin"), None);
        assert_eq!(split("root:org:team"), ("root:org", "team"));
    }

    #[test]
    fn homes() {
        assert_eq!(rewrite_home("user:alice"), "v1u4alow0iv9");
        assert_eq!(rewrite_home("user:alice:x:y"), "v1u4alow0iv9:x:y");
        assert_eq!(rewrite_home("users:alice"), "users:alice");
        assert_eq!(rewrite_home("user"), "user");
    }
}
