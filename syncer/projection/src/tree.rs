//! One hash tree over what an inbox holds, kept by the hub and by the site (rule 5).
//!
//! A leaf stands for one Manifest: its identity, the intent, and what was last reported of it.
//! Leaves lie in [`BUCKETS`] buckets by their names; a bucket's digest is the sum of its leaves, so
//! that a change costs one subtraction and one addition, and the root is the hash of all buckets.
//! Start at [`Tree::add`] and [`differing`]. Invariant: the tree is a function of the set of
//! leaves, whatever the order in which they came and went.

use std::collections::BTreeMap;

use sha2::{Digest, Sha256};

use crate::digest::hex;

/// Buckets of a tree.
pub const BUCKETS: usize = 256;

/// The digest of one Manifest.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Leaf(u128);

impl Leaf {
    /// Puts a leaf together: name and uid, the hash of the intent, whether it is to go, and the
    /// digest of the last report.
    #[must_use]
    pub fn new(name: &str, uid: &str, intent: &str, removing: bool, observed: &str) -> Self {
        let mut hash = Sha256::new();
        let going = if removing { "going" } else { "" };
        for part in [name, uid, intent, going, observed] {
            hash.update((part.len() as u64).to_be_bytes());
            hash.update(part.as_bytes());
        }
        let mut head = [0; 16];
        head.copy_from_slice(&hash.finalize()[..16]);
        Self(u128::from_be_bytes(head))
    }

    /// As text.
    #[must_use]
    pub fn text(self) -> String {
        hex(&self.0.to_be_bytes())
    }
}

/// The bucket of a name.
#[must_use]
pub fn bucket(name: &str) -> usize {
    usize::from(Sha256::digest(name.as_bytes())[0])
}

/// See the module's words.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Tree {
    buckets: Vec<u128>,
}

impl Default for Tree {
    fn default() -> Self {
        Self {
            buckets: vec![0; BUCKETS],
        }
    }
}

impl Tree {
    /// Puts a leaf in.
    pub fn add(&mut self, name: &str, leaf: Leaf) {
        let at = &mut self.buckets[bucket(name)];
        *at = at.wrapping_add(leaf.0);
    }

    /// Takes a leaf out that was put in.
    pub fn remove(&mut self, name: &str, leaf: Leaf) {
        let at = &mut self.buckets[bucket(name)];
        *at = at.wrapping_sub(leaf.0);
    }

    /// The root: equal roots mean that both sides hold the same.
    #[must_use]
    pub fn root(&self) -> String {
        let mut hash = Sha256::new();
        for bucket in &self.buckets {
            hash.update(bucket.to_be_bytes());
        }
        hex(&hash.finalize()[..16])
    }

    /// The digests of the buckets, as text.
    #[must_use]
    pub fn digests(&self) -> Vec<String> {
        self.buckets.iter().map(|b| hex(&b.to_be_bytes())).collect()
    }
}

/// The leaves in the buckets whose digests are not those of the other side.
#[must_use]
pub fn differing<'n>(
    leaves: impl Iterator<Item = (&'n str, Leaf)>,
    theirs: &[String],
) -> BTreeMap<usize, Vec<(&'n str, Leaf)>> {
    let mut tree = Tree::default();
    let mut rows: Vec<Vec<(&str, Leaf)>> = vec![Vec::new(); BUCKETS];
    for (name, leaf) in leaves {
        tree.add(name, leaf);
        rows[bucket(name)].push((name, leaf));
    }
    let ours = tree.digests();
    let differs = |at: &usize| theirs.get(*at) != ours.get(*at);
    let all = rows.into_iter().enumerate();
    all.filter(|(at, _)| differs(at)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn leaf(name: &str, n: u8) -> Leaf {
        Leaf::new(name, "uid", &n.to_string(), false, "")
    }

    #[test]
    fn every_part_of_a_leaf_counts() {
        let all = [
            Leaf::new("a", "u", "h", false, ""),
            Leaf::new("b", "u", "h", false, ""),
            Leaf::new("a", "v", "h", false, ""),
            Leaf::new("a", "u", "i", false, ""),
            Leaf::new("a", "u", "h", true, ""),
            Leaf::new("a", "u", "h", false, "o"),
            Leaf::new("au", "", "h", false, ""),
        ];
        for (n, one) in all.iter().enumerate() {
            assert!(all[n + 1..].iter().all(|other| other != one));
        }
        assert_eq!(all[0].text().len(), 32);
        assert_ne!(Tree::default().root(), "");
    }

    proptest! {
        #[test]
        fn a_tree_is_its_set_of_leaves(
            mut names in proptest::collection::btree_map("[a-z]{1,4}", 0u8..3, 0..60),
            gone in proptest::collection::btree_map("[A-Z]{1,4}", 0u8..3, 0..20),
        ) {
            let mut straight = Tree::default();
            for (name, n) in &names {
                straight.add(name, leaf(name, *n));
            }
            let mut winding = Tree::default();
            for (name, n) in gone.iter().chain(names.iter().rev()) {
                winding.add(name, leaf(name, *n));
            }
            for (name, n) in &gone {
                winding.remove(name, leaf(name, *n));
            }
            prop_assert_eq!(&straight, &winding);
            let rows = |names: &BTreeMap<String, u8>| {
                let rows: Vec<(String, Leaf)> =
                    names.iter().map(|(k, n)| (k.clone(), leaf(k, *n))).collect();
                rows
            };
            let of = rows(&names);
            let same = differing(of.iter().map(|(k, l)| (k.as_str(), *l)), &straight.digests());
            prop_assert!(same.is_empty());
            // One change shows in one bucket alone.
            if let Some(name) = names.keys().next().cloned() {
                names.insert(name.clone(), 9);
                let of = rows(&names);
                let one = differing(of.iter().map(|(k, l)| (k.as_str(), *l)), &straight.digests());
                prop_assert_eq!(one.keys().copied().collect::<Vec<_>>(), vec![bucket(&name)]);
                prop_assert!(one[&bucket(&name)].iter().any(|(k, _)| *k == name));
            }
        }
    }
}
