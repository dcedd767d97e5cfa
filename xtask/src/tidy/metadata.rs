//! What `cargo metadata` says of the crates that are really compiled, cut to what the rules need.

use std::collections::BTreeSet;

use anyhow::{Context, Result, bail};
use serde::Deserialize;

use crate::project::Project;

/// The packages that a member of the workspace reaches, on any platform and with any feature that
/// is on.
#[derive(Deserialize)]
pub struct Metadata {
    pub packages: Vec<Package>,
    workspace_members: BTreeSet<String>,
}

/// One crate in one version.
#[derive(Deserialize)]
pub struct Package {
    pub name: String,
    pub version: String,
    pub license: Option<String>,
    pub dependencies: Vec<Dependency>,
    id: String,
}

/// A line of a manifest's dependencies.
#[derive(Deserialize)]
pub struct Dependency {
    pub name: String,
    /// `None` for an ordinary dependency, else `dev` or `build`.
    pub kind: Option<String>,
}

impl Metadata {
    /// The crates of this workspace.
    pub fn members(&self) -> impl Iterator<Item = &Package> {
        self.packages
            .iter()
            .filter(|package| self.workspace_members.contains(&package.id))
    }
}

/// Asks cargo. The lock file, and so `cargo metadata`, also names crates behind features that are
/// off; those are neither compiled nor shipped, and `cargo tree` leaves them out.
pub fn read(project: &Project) -> Result<Metadata> {
    let output = ask(project, &["metadata", "--format-version", "1"])?;
    let mut metadata: Metadata =
        serde_json::from_slice(&output).context("cargo metadata answered no metadata")?;
    let tree = [
        "tree",
        "--workspace",
        "--target",
        "all",
        "--prefix",
        "none",
        "--format",
        "{p}",
    ];
    let tree = ask(project, &tree)?;
    let reached: BTreeSet<String> = String::from_utf8_lossy(&tree)
        .lines()
        .filter_map(|line| {
            let mut words = line.split(' ');
            Some(format!("{} {}", words.next()?, words.next()?))
        })
        .collect();
    metadata
        .packages
        .retain(|p| reached.contains(&format!("{} v{}", p.name, p.version)));
    Ok(metadata)
}

fn ask(project: &Project, args: &[&str]) -> Result<Vec<u8>> {
    let output = project.cargo(args.iter().copied()).output()?;
    if !output.status.success() {
        bail!(
            "cargo {}: {}",
            args[0],
            String::from_utf8_lossy(&output.stderr)
        );
    }
    Ok(output.stdout)
}

#[cfg(test)]
pub(super) fn of(crates: &[(&str, &[&str])]) -> Metadata {
    let package = |name: &str, dependencies: &[&str]| Package {
        name: name.to_owned(),
        version: "1.0.0".to_owned(),
        license: Some("MIT".to_owned()),
        dependencies: dependencies
            .iter()
            .map(|name| Dependency {
                name: (*name).to_owned(),
                kind: None,
            })
            .collect(),
        id: name.to_owned(),
    };
    Metadata {
        packages: crates.iter().map(|(name, of)| package(name, of)).collect(),
        workspace_members: crates.iter().map(|(name, _)| (*name).to_owned()).collect(),
    }
}
