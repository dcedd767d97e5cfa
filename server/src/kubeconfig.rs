//! `admin.kubeconfig` and the bearer tokens in it.
//!
//! Start at [`Admin::ensure`]. The shard-admin token survives restarts: `.admin-token-store` holds
//! its SHA-256 (raw, 32 bytes) and the kubeconfig the token itself; when both agree the token
//! stays, otherwise a new one is made. The other tokens are new at each start, as in kcp.
//! Names of contexts, clusters and users are kcp's: programs written for kcp look for them.

use std::fmt::Write as _;
use std::path::Path;

use anyhow::Result;
use base64::Engine as _;
use sha2::{Digest, Sha256};

use crate::pki::{read, write_private};

/// User of contexts `system:admin` and `shard-base`.
pub const SHARD_ADMIN: &str = "shard-admin";
/// User of contexts `root` and `base`.
pub const KCP_ADMIN: &str = "kcp-admin";
/// User of context `user`, with battery `user`.
pub const USER: &str = "user";

/// The bearer tokens of this start, in clear.
pub struct Admin {
    /// Of [`SHARD_ADMIN`], group `system:masters`.
    pub shard_admin: String,
    /// Of [`KCP_ADMIN`], group `system:kcp:admin`.
    pub kcp_admin: String,
    /// Of [`USER`], when that battery is in.
    pub user: Option<String>,
}

/// Where the files are and what goes into them.
pub struct Layout<'a> {
    /// The kubeconfig.
    pub kubeconfig: &'a Path,
    /// The hash of the shard-admin token.
    pub token_store: &'a Path,
    /// `https://host:port`, without a path.
    pub base_url: &'a str,
    /// PEM of the authority that clients shall trust.
    pub ca_cert: &'a str,
    /// Whether battery `user` is in.
    pub with_user: bool,
}

impl Admin {
    /// Reads or makes the tokens, and writes the kubeconfig. `random` yields 16 fresh bytes.
    ///
    /// # Errors
    /// Files that cannot be read or written.
    pub fn ensure(layout: &Layout<'_>, mut random: impl FnMut() -> [u8; 16]) -> Result<Self> {
        let mut fresh = || uuid(random());
        let kept = kept_token(layout)?;
        let admin = Self {
            shard_admin: kept.clone().unwrap_or_else(&mut fresh),
            kcp_admin: fresh(),
            user: layout.with_user.then(&mut fresh),
        };
        if kept.is_none() {
            write_private(
                layout.token_store,
                &Sha256::digest(admin.shard_admin.as_bytes()),
            )?;
        }
        write_private(layout.kubeconfig, admin.kubeconfig(layout).as_bytes())?;
        Ok(admin)
    }

    fn kubeconfig(&self, layout: &Layout<'_>) -> String {
        let ca = base64::engine::general_purpose::STANDARD.encode(layout.ca_cert);
        let base = layout.base_url;
        let mut contexts = vec![
            ("base", "base", KCP_ADMIN),
            ("root", "root", KCP_ADMIN),
            ("shard-base", "base", SHARD_ADMIN),
            ("system:admin", "system:admin", SHARD_ADMIN),
        ];
        let mut users = vec![
            (KCP_ADMIN, &self.kcp_admin),
            (SHARD_ADMIN, &self.shard_admin),
        ];
        if let Some(user) = &self.user {
            contexts.push(("user", "root", USER));
            users.push((USER, user));
        }
        let clusters = [
            ("base", base.to_owned()),
            ("root", format!("{base}/clusters/root")),
            ("system:admin", format!("{base}/clusters/system:admin")),
        ];
        let mut text = String::from("apiVersion: v1\nclusters:\n");
        for (name, server) in clusters {
            let _ = write!(
                text,
                "- cluster:\n    certificate-authority-data: {ca}\n    server: {server}\n  \
                 name: {name}\n"
            );
        }
        text.push_str("contexts:\n");
        for (name, cluster, user) in contexts {
            let _ = write!(
                text,
                "- context:\n    cluster: {cluster}\n    user: {user}\n  name: {name}\n"
            );
        }
        text.push_str("current-context: root\nkind: Config\npreferences: {}\nusers:\n");
        for (name, token) in users {
            let _ = write!(text, "- name: {name}\n  user:\n    token: {token}\n");
        }
        text
    }
}

/// The token of the last start, when the store's hash vouches for it.
fn kept_token(layout: &Layout<'_>) -> Result<Option<String>> {
    let Ok(hash) = std::fs::read(layout.token_store) else {
        return Ok(None);
    };
    let Some(text) = read(layout.kubeconfig)? else {
        return Ok(None);
    };
    let tokens = text
        .lines()
        .filter_map(|line| line.trim().strip_prefix("token: "));
    Ok(tokens
        .map(|token| token.trim().to_owned())
        .find(|token| Sha256::digest(token.as_bytes()).as_slice() == hash))
}

/// 128 random bits in the shape of a UUID, without claims about their meaning.
pub fn uuid(bytes: [u8; 16]) -> String {
    let hex = bytes
        .iter()
        .fold(String::with_capacity(32), |mut hex, byte| {
            let _ = write!(hex, "{byte:02x}");
            hex
        });
    [
        &hex[..8],
        &hex[8..12],
        &hex[12..16],
        &hex[16..20],
        &hex[20..],
    ]
    .join("-")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_shard_admin_token_survives_a_restart_and_the_others_do_not() {
        let dir = tempfile::tempdir().unwrap();
        let (kubeconfig, store) = (dir.path().join("k"), dir.path().join("s"));
        let layout = Layout {
            kubeconfig: &kubeconfig,
            token_store: &store,
            base_url: "https://127.0.0.1:6443",
            ca_cert: "PEM",
            with_user: true,
        };
        let mut next = 0u8;
        let mut random = || {
            next += 1;
            [next; 16]
        };
        let first = Admin::ensure(&layout, &mut random).unwrap();
        let second = Admin::ensure(&layout, &mut random).unwrap();
        assert_eq!(first.shard_admin, second.shard_admin);
        assert_ne!(first.kcp_admin, second.kcp_admin);
        assert_eq!(std::fs::read(&store).unwrap().len(), 32);
        let text = std::fs::read_to_string(&kubeconfig).unwrap();
        assert!(text.contains("server: https://127.0.0.1:6443/clusters/system:admin"));
        assert!(text.contains("current-context: root"));
        std::fs::remove_file(&store).unwrap();
        let third = Admin::ensure(&layout, &mut random).unwrap();
        assert_ne!(
            first.shard_admin, third.shard_admin,
            "no hash, no trust in the file"
        );
    }
}
