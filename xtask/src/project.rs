//! Where things lie: the source tree, the target directory and the cache outside of both.
//!
//! Start at [`Project::find`]. Every path that xtask reads or writes comes from here, so that
//! nothing depends on the directory one stands in.

use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, bail};

/// The checkout that this xtask was built from, and the directories that belong to it.
pub struct Project {
    /// The directory of the root `Cargo.toml`.
    pub root: PathBuf,
    /// Cargo's target directory; logs and resumable state go to `xtask/` in it.
    pub target: PathBuf,
}

impl Project {
    /// Finds the checkout from the manifest directory that cargo sets while running xtask.
    pub fn find() -> Result<Project> {
        let manifest = std::env::var_os("CARGO_MANIFEST_DIR")
            .map_or_else(|| PathBuf::from(env!("CARGO_MANIFEST_DIR")), PathBuf::from);
        let root = manifest
            .parent()
            .context("xtask has no parent directory")?
            .to_path_buf();
        if !root.join("Cargo.lock").is_file() {
            bail!(
                "{} holds no Cargo.lock: run this as `cargo xtask`",
                root.display()
            );
        }
        let target = std::env::var_os("CARGO_TARGET_DIR").map(PathBuf::from);
        let target = target.map_or_else(|| root.join("target"), |dir| root.join(dir));
        Ok(Project { root, target })
    }

    /// A directory under the target directory for logs and state, made when it is missing.
    pub fn state(&self, name: &str) -> Result<PathBuf> {
        let dir = self.target.join("xtask").join(name);
        std::fs::create_dir_all(&dir).with_context(|| format!("cannot make {}", dir.display()))?;
        Ok(dir)
    }

    /// The cargo that runs us, standing in the root.
    pub fn cargo<'a>(&self, args: impl IntoIterator<Item = &'a str>) -> Command {
        let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
        let mut command = Command::new(cargo);
        command.args(args).current_dir(&self.root);
        command
    }

    /// A path as it reads from the root; the whole path when it lies elsewhere.
    pub fn relative<'a>(&self, path: &'a Path) -> &'a Path {
        path.strip_prefix(&self.root).unwrap_or(path)
    }
}
