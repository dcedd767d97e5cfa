//! Names made out of names: ids of logical clusters, label keys and values, identities.
//!
//! Everything is SHA-224 (identities: SHA-256) and an integer text in base 36 or 62; the table of
//! kcp's test vectors is the test. Invariant: pure and total, any input has exactly one output.

use hanse_apis::kcp::label;
use sha2::{Digest, Sha224, Sha256};
use std::fmt::Write;

const ALPHABET: &[u8; 62] = b"0123456789abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ";
/// Length of the id of a workspace's logical cluster.
pub const CLUSTER_ID_LENGTH: usize = 16;
/// Longest part of an export's name in the name of a default binding.
const DEFAULT_BINDING_EXPORT_MAX: usize = 247;

/// SHA-224 of a text.
#[must_use]
pub fn sha224(input: &[u8]) -> [u8; 28] {
    Sha224::digest(input).into()
}

/// The big-endian integer `input` in the given base (2..=62), without leading zeros.
fn in_base(input: &[u8], base: u32) -> String {
    let mut number: Vec<u8> = input.iter().copied().skip_while(|b| *b == 0).collect();
    let mut digits = Vec::with_capacity(input.len() * 2);
    while !number.is_empty() {
        let mut remainder = 0u32;
        for byte in &mut number {
            let value = (remainder << 8) | u32::from(*byte);
            *byte = (value / base) as u8;
            remainder = value % base;
        }
        digits.push(ALPHABET[remainder as usize]);
        let leading = number.iter().take_while(|b| **b == 0).count();
        number.drain(..leading);
    }
    digits.reverse();
    digits.into_iter().map(char::from).collect()
}

/// Base 62 without padding.
#[must_use]
pub fn base62(input: &[u8]) -> String {
    in_base(input, 62)
}

/// Base 36 with one `0` for each leading zero byte.
#[must_use]
pub fn base36_padded(input: &[u8]) -> String {
    let zeros = input.iter().take_while(|b| **b == 0).count();
    let mut out = "0".repeat(zeros);
    out.push_str(&in_base(input, 36));
    out
}

/// Lower-case hexadecimal.
#[must_use]
pub fn hex(input: &[u8]) -> String {
    input
        .iter()
        .fold(String::with_capacity(input.len() * 2), |mut out, byte| {
            let _ = write!(out, "{byte:02x}");
            out
        })
}

/// `base62(sha224(text))`, the form of most of kcp's internal labels.
#[must_use]
pub fn base62_sha224(text: &str) -> String {
    base62(&sha224(text.as_bytes()))
}

/// Id of a new logical cluster out of 32 random bytes.
#[must_use]
pub fn cluster_id(random: &[u8; 32]) -> String {
    let mut id = base36_padded(&sha224(random));
    id.truncate(CLUSTER_ID_LENGTH);
    id
}

/// Id of a user's home logical cluster.
#[must_use]
pub fn home_cluster_id(user: &str) -> String {
    base36_padded(&sha224(user.as_bytes())[..8])
}

/// Value of the deprecated shard annotation.
#[must_use]
pub fn shard_hash(shard: &str) -> String {
    let mut hash = base36_padded(&sha224(shard.as_bytes()));
    hash.truncate(8);
    hash
}

/// Label (key, value) for a remaining initializer.
#[must_use]
pub fn initializer_label(initializer: &str) -> (String, String) {
    lifecycle_label(label::INITIALIZER_PREFIX, 35, initializer)
}

/// Label (key, value) for a remaining terminator.
#[must_use]
pub fn terminator_label(terminator: &str) -> (String, String) {
    lifecycle_label(label::TERMINATOR_PREFIX, 36, terminator)
}

fn lifecycle_label(prefix: &str, key_length: usize, id: &str) -> (String, String) {
    let value = hex(&sha224(id.as_bytes()));
    (format!("{prefix}{}", &value[..key_length]), value)
}

/// Hash of an export: value of the label `internal.apis.kcp.io/export`, and the key part of
/// claim labels.
#[must_use]
pub fn export_hash(export_cluster: &str, export: &str) -> String {
    base62_sha224(&format!("{export_cluster}:{export}"))
}

/// Key of the label that marks objects claimed by an export.
#[must_use]
pub fn claim_label_key(export_cluster: &str, export: &str) -> String {
    format!(
        "{}{}",
        label::CLAIMED_PREFIX,
        export_hash(export_cluster, export)
    )
}

/// Value of the label that marks objects of a claimed resource. Verbs and selectors have no
/// influence: the JSON that is hashed carries `"verbs":null`.
#[must_use]
pub fn claim_label_value(group: &str, resource: &str, identity: &str) -> String {
    let quote = |s: &str| serde_json::Value::from(s).to_string();
    let mut json = String::from("{");
    if !group.is_empty() {
        let _ = write!(json, "\"group\":{},", quote(group));
    }
    let _ = write!(json, "\"resource\":{},\"verbs\":null", quote(resource));
    if !identity.is_empty() {
        let _ = write!(json, ",\"identityHash\":{}", quote(identity));
    }
    json.push('}');
    base62_sha224(&json)
}

/// Name of the default APIBinding for an export in a logical cluster.
#[must_use]
pub fn default_binding_name(cluster: &str, export_path: &str, export: &str) -> String {
    let hash = base62_sha224(&format!("{cluster}|{export_path}|{export}"));
    let short: String = hash.chars().take(5).collect::<String>().to_lowercase();
    let name: String = export.chars().take(DEFAULT_BINDING_EXPORT_MAX).collect();
    format!("{name}-{short}")
}

/// Identity of an export out of the raw bytes of its secret's key.
#[must_use]
pub fn identity_hash(key: &[u8]) -> String {
    hex(&Sha256::digest(key))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn generic_vectors() {
        assert_eq!(
            base62_sha224("hello"),
            "bPWFAjMdldrWYheSsV0t7VkdTNtgGHBplr6qLF"
        );
        assert_eq!(base62_sha224(""), "aAkHCkvjglfF66mdhRcVKb0I3FT1lepYlWZNwj");
        let padded = |s: &str| base36_padded(&sha224(s.as_bytes()));
        assert_eq!(
            padded("hello"),
            "2yfg0ibsewngbzapgs5fesiord507vsncfiw4jd5c2oj"
        );
        assert_eq!(
            padded("input50"),
            "04xtfzmllsov5334t8xolbc31qfgtl44oza013n6uzk"
        );
    }

    #[test]
    fn home_vectors() {
        for (user, id) in [
            ("", "36ks9xj4a2n61"),
            ("alice", "v1u4alow0iv9"),
            ("bob", "2okdry95y5lkv"),
            ("user-with-dash", "1e25681jymk1l"),
            ("user:with:colons", "2bqfj6xlthg3t"),
            ("user172", "0f9mt7goyif7"),
            ("user-1", "285xjbwx8vocb"),
        ] {
            assert_eq!(home_cluster_id(user), id, "{user}");
        }
    }

    #[test]
    fn shard_and_lifecycle_vectors() {
        assert_eq!(shard_hash("root"), "1pfxsevk");
        assert_eq!(shard_hash("shard-1"), "2e1tfbst");
        assert_eq!(shard_hash("shard-2"), "quyfennr");
        let (key, value) = initializer_label("root:universal");
        assert_eq!(
            key,
            "initializer.internal.kcp.io/d1d6459a03641b6fd7560fc2849f6c66fa9"
        );
        assert_eq!(
            value,
            "d1d6459a03641b6fd7560fc2849f6c66fa971a0afeded6ba2d2743f2"
        );
        let (key, _) = initializer_label("root:example");
        assert_eq!(
            key,
            "initializer.internal.kcp.io/38e7732cde2d692db77aa02ff9191566864"
        );
        let (key, _) = initializer_label("system:apibindings");
        assert_eq!(
            key,
            "initializer.internal.kcp.io/dd58c810629ccc3e49c7d8225b9bcfaa42a"
        );
        assert_eq!(
            terminator_label("root:example").0.len(),
            "terminator.internal.kcp.io/".len() + 36
        );
    }

    #[test]
    fn export_and_claim_vectors() {
        let tenancy = "bmCdly9xXiUpEHe3ypvDwvXMTfoVZUE92mqAQf";
        assert_eq!(export_hash("root", "tenancy.kcp.io"), tenancy);
        let topology = "7QHLqjz8KlhjPddt8MECYq0OLDUNvLAO5v9x4x";
        assert_eq!(export_hash("root", "topology.kcp.io"), topology);
        for (group, resource, identity, value) in [
            (
                "",
                "configmaps",
                "",
                "3QVjs6pfBjMpLEVYYhysJnroYGsQGlWm05E4qe",
            ),
            ("", "secrets", "", "ctwrJRvMX7cX8wwk40Lz00UjJhYxPWE3TpN1lu"),
            (
                "rbac.authorization.k8s.io",
                "clusterroles",
                "",
                "ceXYeezY4ygHH3LFSWHglOA19Z3wolo6x5Qxa6",
            ),
            (
                "wild.wild.west",
                "sheriffs",
                "abc",
                "8hHxRP8BePpJE6oB7vltgaUQ7LxcyqP9ymlxkQ",
            ),
        ] {
            assert_eq!(
                claim_label_value(group, resource, identity),
                value,
                "{resource}"
            );
        }
    }

    #[test]
    fn reflexive_value_is_base62_of_counting_bytes() {
        let bytes: Vec<u8> = (0..10).chain(0..10).chain(0..8).collect();
        assert_eq!(base62(&bytes), hanse_apis::kcp::REFLEXIVE_CLAIM_VALUE);
    }

    #[test]
    fn binding_names_and_identities() {
        assert_eq!(
            default_binding_name("abc", "root", "tenancy.kcp.io"),
            "tenancy.kcp.io-6pdv0"
        );
        let recorded = default_binding_name("2tq3qd0cl07stfyo", "root", "tenancy.kcp.io");
        assert_eq!(recorded, "tenancy.kcp.io-argvo");
        assert_eq!(
            identity_hash(b"secret-key"),
            "85dbe15d75ef9308c7ae0f33c7a324cc6f4bf519a2ed2f3027bd33c140a4f9aa"
        );
        assert_eq!(cluster_id(&[7; 32]).len(), CLUSTER_ID_LENGTH);
    }
}
