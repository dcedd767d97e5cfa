//! The store with what stands in front of it: the engine, and the vault where kinds are encrypted.
//!
//! Start at [`open`]. The server, and the commands that work on a root directory without one, open
//! the same way. The invariant: with a configuration, nothing reaches the engine past the vault.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use anyhow::{Context as _, Result, ensure};
use hanse_seams::{Seams, Shutdown, SteadyClock, Task};
use hanse_store::Store;
use hanse_store_redb::RedbStore;
use hanse_vault::{Configuration, Reload, Rules, Vault};

use crate::flags::EncryptionFlags;

/// A store, ready for a hub.
pub struct Storage {
    /// What the hub is given.
    pub store: Arc<dyn Store>,
    /// The engine itself, to be closed.
    pub engine: Arc<RedbStore>,
    vault: Option<(Vault, Reload)>,
}

/// Opens the engine, and puts the vault before it where a configuration is named.
///
/// # Errors
/// What cannot be opened or read; the text says why.
pub async fn open(
    config: &hanse_store_redb::Config,
    encryption: &EncryptionFlags,
    seams: &Seams,
) -> Result<Storage> {
    let front = match &encryption.encryption_provider_config {
        Some(file) => Some((file, rules(file, encryption.automatic_reload(), seams)?)),
        None => None,
    };
    // What is old enough to be forgotten is measured by a clock that does not jump.
    let steady = Seams {
        clock: Arc::new(SteadyClock::new(Arc::clone(&seams.clock))),
        ..seams.clone()
    };
    let engine = Arc::new(RedbStore::open(config, &steady)?);
    let inner: Arc<dyn Store> = engine.clone();
    let Some((file, (rules, content))) = front else {
        return Ok(Storage {
            store: inner,
            engine,
            vault: None,
        });
    };
    let vault = Vault::open(inner, rules, plural, seams).await;
    if let Err(why) = vault.health() {
        tracing::warn!(why, "kms-providers");
    }
    let reload = Reload::new(vault.clone(), file.clone(), &content);
    Ok(Storage {
        store: Arc::new(vault.clone()),
        engine,
        vault: Some((vault, reload)),
    })
}

fn rules(file: &Path, reload: bool, seams: &Seams) -> Result<(Rules, Vec<u8>)> {
    let read = || {
        let content = Configuration::load(file)?;
        let config = Configuration::read(file, &content, reload)?;
        Ok::<_, hanse_vault::ConfigError>((Rules::build(&config, seams)?, content))
    };
    read().context("--encryption-provider-config")
}

/// The plural of a kind that every logical cluster serves.
fn plural(group: &str, kind: &str) -> Option<String> {
    let mut rows = hanse_kinds::builtin().iter();
    let row = rows.find(|row| *row.group == *group && *row.kind == *kind)?;
    Some(row.storage.resource.to_string())
}

impl Storage {
    /// What `/readyz` asks of the plugins; nothing where none can be named.
    pub fn health(&self) -> Option<hanse_api::health::Probe> {
        let (vault, _) = self.vault.as_ref()?;
        let vault = vault.clone();
        Some(Box::new(move || vault.health()))
    }

    /// What goes on beside serving: looking at the configuration's file, and writing anew what
    /// lies in another form.
    pub fn start(self, encryption: &EncryptionFlags, seams: &Seams, stop: &Shutdown) -> Vec<Task> {
        let Some((vault, reload)) = self.vault else {
            return Vec::new();
        };
        let mut tasks = Vec::new();
        if encryption.automatic_reload() {
            tasks.push(seams.spawn("encryption-config", reload.run(stop.clone())));
        }
        if encryption.encryption_rewrite_rate > 0 {
            let fresh = vault.keep_fresh(encryption.encryption_rewrite_rate, stop.clone());
            tasks.push(seams.spawn("encryption-rewrite", fresh));
        }
        tasks
    }
}

impl EncryptionFlags {
    /// What commands that open a root directory for once need of it.
    pub fn of(file: Option<&PathBuf>) -> Self {
        Self {
            encryption_provider_config: file.cloned(),
            ..Self::default()
        }
    }

    fn automatic_reload(&self) -> bool {
        self.encryption_provider_config_automatic_reload
    }

    /// Refuses what has no meaning without a configuration.
    ///
    /// # Errors
    /// The flag that has none.
    pub fn check(&self) -> Result<()> {
        ensure!(
            self.encryption_provider_config.is_some() || !self.automatic_reload(),
            "--encryption-provider-config-automatic-reload must be used with \
             --encryption-provider-config"
        );
        Ok(())
    }
}
