//! Encryption at rest: values of chosen kinds are sealed before the engine sees them, and opened
//! when the engine gives them back.
//!
//! Start at [`Vault`], a store in front of a store. What is chosen stands in a file of Kubernetes'
//! format (`config.rs`, `validate.rs`); `rules.rs` finds the providers of a key, `cipher.rs` seals
//! with keys from the file, `kms/` with keys that a plugin wraps. The form at rest is Kubernetes'
//! own: `k8s:enc:aesgcm:v1:NAME:` and so on, so what is sealed here can be opened there.
//!
//! The invariant: an engine behind a vault never holds a plain byte of a chosen kind, neither in
//! the present nor in its log, and a sealed value opens only under the key (the place) for which
//! it was sealed. Deliberately elsewhere: what values mean (`hanse-cache`), and memory, which holds
//! plain values as the watch cache of kube-apiserver does.

mod cipher;
mod config;
mod kms;
pub mod limits;
mod reload;
mod rewrite;
mod rules;
mod store;
mod validate;

pub use config::{
    ConfigError, Configuration, Key, KeysConfiguration, KmsConfiguration, ProviderConfiguration,
    ResourceConfiguration,
};
pub use reload::Reload;
pub use rewrite::Rewritten;
pub use rules::Rules;
pub use store::{Names, Vault};

/// What every sealed value begins with.
pub(crate) const SEALED: &[u8] = b"k8s:enc:";
