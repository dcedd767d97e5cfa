//! The order of objects: the bytes `cluster/namespace/name`, compared without joining them.
//!
//! [`Ordered`] puts an object in an ordered set; [`Position`] is a place in that order that need
//! not be an object's: the start of a cluster, or the last key of a page. The invariant: comparing
//! two of them is comparing the joined bytes.

use std::borrow::Borrow;
use std::cmp::Ordering;
use std::ops::Bound;
use std::sync::Arc;

use crate::names::{ObjectKey, Scope};
use crate::object::Object;

/// A place in the order, in up to five pieces.
pub(crate) trait Place {
    fn pieces(&self) -> [&[u8]; 5];

    /// The key, when the place is an object's.
    fn key(&self) -> Option<&ObjectKey> {
        None
    }
}

/// An object by its place.
pub(crate) struct Ordered(pub(crate) Object);

impl Place for Ordered {
    fn pieces(&self) -> [&[u8]; 5] {
        pieces(self.0.key())
    }

    fn key(&self) -> Option<&ObjectKey> {
        Some(self.0.key())
    }
}

impl Place for ObjectKey {
    fn pieces(&self) -> [&[u8]; 5] {
        pieces(self)
    }

    fn key(&self) -> Option<&ObjectKey> {
        Some(self)
    }
}

fn pieces(key: &ObjectKey) -> [&[u8]; 5] {
    [
        key.cluster.as_bytes(),
        b"/",
        key.namespace.as_bytes(),
        b"/",
        key.name.as_bytes(),
    ]
}

/// Any place, as joined bytes.
pub(crate) struct Position(pub(crate) String);

impl Place for Position {
    fn pieces(&self) -> [&[u8]; 5] {
        [self.0.as_bytes(), b"", b"", b"", b""]
    }
}

fn compare(left: [&[u8]; 5], right: [&[u8]; 5]) -> Ordering {
    let (mut left, mut right) = (left.into_iter(), right.into_iter());
    let (mut a, mut b): (&[u8], &[u8]) = (&[], &[]);
    loop {
        while a.is_empty() {
            let Some(next) = left.next() else { break };
            a = next;
        }
        while b.is_empty() {
            let Some(next) = right.next() else { break };
            b = next;
        }
        let common = a.len().min(b.len());
        if common == 0 {
            return a.len().cmp(&b.len());
        }
        match a[..common].cmp(&b[..common]) {
            Ordering::Equal => (a, b) = (&a[common..], &b[common..]),
            unequal => return unequal,
        }
    }
}

/// Keys of one namespace, which share its string, differ by their names alone: the usual case of
/// neighbours in an ordered set.
pub(crate) fn compare_keys(left: &ObjectKey, right: &ObjectKey) -> Ordering {
    let same = Arc::ptr_eq(left.cluster.as_arc(), right.cluster.as_arc())
        && Arc::ptr_eq(&left.namespace, &right.namespace);
    match same {
        true => left.name.cmp(&right.name),
        false => compare(pieces(left), pieces(right)),
    }
}

impl PartialEq for dyn Place + '_ {
    fn eq(&self, other: &Self) -> bool {
        self.cmp(other).is_eq()
    }
}

impl Eq for dyn Place + '_ {}

impl PartialOrd for dyn Place + '_ {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for dyn Place + '_ {
    fn cmp(&self, other: &Self) -> Ordering {
        match (self.key(), other.key()) {
            (Some(left), Some(right)) => compare_keys(left, right),
            _ => compare(self.pieces(), other.pieces()),
        }
    }
}

impl<'a> Borrow<dyn Place + 'a> for Ordered {
    fn borrow(&self) -> &(dyn Place + 'a) {
        self
    }
}

impl PartialEq for Ordered {
    fn eq(&self, other: &Self) -> bool {
        self.cmp(other).is_eq()
    }
}

impl Eq for Ordered {}

impl PartialOrd for Ordered {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Ordered {
    fn cmp(&self, other: &Self) -> Ordering {
        compare_keys(self.0.key(), other.0.key())
    }
}

/// Both ends of a stretch, as ordered sets take them.
type Bounds<'a> = (Bound<&'a dyn Place>, Bound<&'a dyn Place>);

/// The stretch of the order that a scope covers.
pub(crate) struct Stretch {
    start: Bound<Position>,
    end: Bound<Position>,
}

impl Stretch {
    /// The whole scope, or what of it lies after a place.
    pub(crate) fn new(scope: &Scope, after: Option<&str>) -> Self {
        let within = |prefix: String| {
            // '0' is the byte after '/', so this is the first place behind all with the prefix.
            let end = [&prefix[..prefix.len() - 1], "0"].concat();
            (
                Bound::Included(Position(prefix)),
                Bound::Excluded(Position(end)),
            )
        };
        let (start, end) = match scope {
            Scope::Wildcard => (Bound::Unbounded, Bound::Unbounded),
            Scope::Cluster(cluster) => within([cluster, "/"].concat()),
            Scope::Namespace(cluster, namespace) => within([cluster, "/", namespace, "/"].concat()),
            Scope::Object(cluster, namespace, name) => {
                let place = [cluster, "/", namespace, "/", name].concat();
                (
                    Bound::Included(Position(place.clone())),
                    Bound::Included(Position(place)),
                )
            }
        };
        let start = match (start, after) {
            (Bound::Included(start), Some(after)) if start.0.as_str() > after => {
                Bound::Included(start)
            }
            (_, Some(after)) => Bound::Excluded(Position(after.to_owned())),
            (start, None) => start,
        };
        Self { start, end }
    }

    /// Whether a key lies before the stretch begins.
    pub(crate) fn is_after(&self, key: &ObjectKey) -> bool {
        let key: &dyn Place = key;
        match &self.start {
            Bound::Included(start) => key < start as &dyn Place,
            Bound::Excluded(start) => key <= start as &dyn Place,
            Bound::Unbounded => false,
        }
    }

    /// The bounds for an ordered set; `None` when the stretch is empty.
    pub(crate) fn bounds(&self) -> Option<Bounds<'_>> {
        let (start, end) = (place(&self.start), place(&self.end));
        match (start, end) {
            // Ordered sets refuse bounds that do not enclose anything.
            (
                Bound::Included(start) | Bound::Excluded(start),
                Bound::Included(end) | Bound::Excluded(end),
            ) if start > end => None,
            (Bound::Excluded(start), Bound::Excluded(end) | Bound::Included(end))
                if start == end =>
            {
                None
            }
            bounds => Some(bounds),
        }
    }
}

fn place(bound: &Bound<Position>) -> Bound<&dyn Place> {
    match bound {
        Bound::Included(position) => Bound::Included(position),
        Bound::Excluded(position) => Bound::Excluded(position),
        Bound::Unbounded => Bound::Unbounded,
    }
}
