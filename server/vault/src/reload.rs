//! The configuration's file, read again while the server runs.
//!
//! Start at [`Reload::run`]. A new content takes effect when it is valid and all plugins that it
//! names are well; until then what was stays. The invariant: between two looks at the file the
//! rules never change, and a change is taken whole.

use std::path::PathBuf;

use hanse_seams::Shutdown;
use sha2::{Digest, Sha256};

use crate::config::{ConfigError, Configuration};
use crate::limits::CONFIG_POLL;
use crate::rules::Rules;
use crate::store::Vault;

/// Follows a file for a vault.
#[derive(Debug)]
pub struct Reload {
    vault: Vault,
    path: PathBuf,
    seen: [u8; 32],
}

impl Reload {
    /// Follows the file from the content that the vault was opened with.
    #[must_use]
    pub fn new(vault: Vault, path: PathBuf, content: &[u8]) -> Self {
        let seen = Sha256::digest(content).into();
        Self { vault, path, seen }
    }

    /// Looks at the file until `stop`.
    pub async fn run(mut self, stop: Shutdown) {
        loop {
            tokio::select! {
                biased;
                () = stop.wait() => return,
                () = self.vault.shared.seams.clock.sleep(CONFIG_POLL) => {}
            }
            match self.look().await {
                Ok(false) => {}
                Ok(true) => tracing::info!(path = %self.path.display(), "encryption config loaded"),
                Err(error) => {
                    tracing::error!(%error, "encryption config not taken: what was stays");
                }
            }
        }
    }

    /// Takes the file's content if it is new. Answers whether it was.
    ///
    /// # Errors
    /// It is no configuration, or a plugin that it names is not well; it is tried again.
    pub async fn look(&mut self) -> Result<bool, ConfigError> {
        let shared = &self.vault.shared;
        let path = self.path.clone();
        let content = shared
            .seams
            .blocking("encryption-config", move || Configuration::load(&path))
            .await;
        let content = content.ok_or_else(|| ConfigError::Build("interrupted".to_owned()))??;
        let hash: [u8; 32] = Sha256::digest(&content).into();
        if hash == self.seen {
            return Ok(false);
        }
        let config = Configuration::read(&self.path, &content, true)?;
        let rules = Rules::build(&config, &shared.seams)?;
        for plugin in rules.plugins() {
            plugin.look().await;
        }
        rules.health().map_err(ConfigError::Build)?;
        shared.rules.store(rules.into());
        self.seen = hash;
        self.vault.watch_plugins();
        shared.changed.send_modify(|count| *count += 1);
        Ok(true)
    }
}
