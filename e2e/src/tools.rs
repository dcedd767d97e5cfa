//! Finds the real programs that the tests run: etcd, the Kubernetes commands, kwok, kubectl.
//!
//! `tools.json` beside the manifest says which sets of commands there are, from which Go module
//! each is built, and which versions do. [`Tool::find`] looks a set up in the order
//! `KUBEBUILDER_ASSETS`, the cache, `PATH`; a set counts where all of its commands lie together in
//! an accepted version. Building is not done here but by `cargo xtask setup`, which shares this
//! file, so that both agree about every path.

use std::path::{Path, PathBuf};
use std::process::Command;

use serde::Deserialize;

/// The sets as the data file states them.
const TOOLS: &str = include_str!("../tools.json");

/// A set of commands that are built together from one Go module.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Tool {
    /// The name that tests ask for.
    pub set: String,
    /// The version that is built where none is found.
    pub version: String,
    /// Found commands do when their major is this one's and their minor is at least this one's;
    /// for the Kubernetes commands the minor has to be equal.
    pub accepts: String,
    /// The directory of the Go module, from the root of the source tree.
    pub module: String,
    /// The packages to build, inside that module.
    pub packages: Vec<String>,
    /// The commands that come out.
    pub commands: Vec<String>,
    /// Go packages whose version variables are set in Kubernetes' way.
    #[serde(default)]
    pub stamp: Vec<String>,
    /// One Go variable that is set to `v` and the version.
    #[serde(default)]
    pub stamp_variable: Option<String>,
    /// How a command is asked for its version.
    pub version_args: Vec<String>,
}

/// The third-party APIs as the data file states them.
const CRDS: &str = include_str!("../crds/crds.json");

/// An API of somebody else's: the CRD files of a Go module.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Crds {
    pub name: String,
    pub version: String,
    /// The Go module that holds the files.
    pub module: String,
    /// The directory with the files in that module.
    pub directory: String,
}

impl Crds {
    /// The directory with its files and nothing else, made by `cargo xtask setup`.
    pub fn built(&self) -> PathBuf {
        cache()
            .join("crds")
            .join(format!("{}-{}", self.name, self.version))
    }
}

/// All third-party APIs.
pub fn crds() -> Vec<Crds> {
    serde_json::from_str(CRDS).unwrap_or_default()
}

/// All sets, in the order in which they are built.
pub fn all() -> Vec<Tool> {
    // The file is compiled in and a test reads it; an unreadable one would be a build error.
    serde_json::from_str(TOOLS).unwrap_or_default()
}

/// The set of this name.
pub fn named(set: &str) -> Option<Tool> {
    all().into_iter().find(|tool| tool.set == set)
}

/// The sets with a kubectl that are there; the one of the Kubernetes set is always among them.
pub fn kubectls() -> Vec<String> {
    let sets = all()
        .into_iter()
        .filter(|tool| tool.commands.iter().any(|c| c == "kubectl"));
    sets.filter(|tool| tool.set == "kubernetes" || tool.find().is_some())
        .map(|tool| tool.set)
        .collect()
}

/// The directory outside the source tree where built programs are kept: `HANSE_CACHE`, else
/// `hanse` in the user's cache directory.
pub fn cache() -> PathBuf {
    if let Some(dir) = std::env::var_os("HANSE_CACHE").filter(|dir| !dir.is_empty()) {
        return PathBuf::from(dir);
    }
    let base = std::env::var_os("XDG_CACHE_HOME").filter(|dir| !dir.is_empty());
    let base = base.map(PathBuf::from).unwrap_or_else(|| {
        let home = std::env::var_os("HOME").map_or_else(std::env::temp_dir, PathBuf::from);
        home.join(".cache")
    });
    base.join("hanse")
}

impl Tool {
    /// Where the set lies once it is built: keyed by version, so that a new version is built
    /// beside the old one.
    pub fn built(&self) -> PathBuf {
        cache()
            .join("tools")
            .join(format!("{}-{}", self.set, self.version))
    }

    /// The directory that holds all commands of the set in an accepted version, if there is one.
    pub fn find(&self) -> Option<PathBuf> {
        let assets = std::env::var_os("KUBEBUILDER_ASSETS").filter(|dir| !dir.is_empty());
        let path = std::env::var_os("PATH").unwrap_or_default();
        let in_path = std::env::split_paths(&path).find(|dir| {
            self.commands
                .first()
                .is_some_and(|command| dir.join(command).is_file())
        });
        assets
            .map(PathBuf::from)
            .into_iter()
            .filter(|dir| self.does(dir))
            .chain(Some(self.built()).filter(|dir| self.complete(dir)))
            .chain(in_path.filter(|dir| self.does(dir)))
            .next()
    }

    /// The path of one command of the set, or what to do to get it.
    pub fn command(&self, command: &str) -> Result<PathBuf, String> {
        let dir = self.find().ok_or_else(|| {
            format!(
                "{command} {} was not found: run `cargo xtask setup`",
                self.version
            )
        })?;
        Ok(dir.join(command))
    }

    fn complete(&self, dir: &Path) -> bool {
        self.commands
            .iter()
            .all(|command| dir.join(command).is_file())
    }

    fn does(&self, dir: &Path) -> bool {
        self.complete(dir)
            && self.commands.iter().all(|command| {
                // kubectl has no `--version`, the servers have no `version`.
                let client = ["version".to_owned(), "--client".to_owned()];
                let args = if command == "kubectl" {
                    &client[..]
                } else {
                    &self.version_args[..]
                };
                let output = Command::new(dir.join(command)).args(args).output();
                output.is_ok_and(|output| {
                    let text = String::from_utf8_lossy(&output.stdout).into_owned();
                    first_version(&text).is_some_and(|found| self.accepted(&found))
                })
            })
    }

    fn accepted(&self, found: &(u32, u32)) -> bool {
        let Some(wanted) = first_version(&self.accepts) else {
            return false;
        };
        let kubernetes = self.module.contains("kube");
        found.0 == wanted.0 && (found.1 == wanted.1 || !kubernetes && found.1 > wanted.1)
    }
}

/// The first `major.minor` in a text such as `Kubernetes v1.35.4` or `etcd Version: 3.6.16`.
fn first_version(text: &str) -> Option<(u32, u32)> {
    let words = text.split(|c: char| !c.is_ascii_digit() && c != '.');
    words.filter(|word| word.contains('.')).find_map(|word| {
        let mut parts = word.split('.').map(str::parse::<u32>);
        Some((parts.next()?.ok()?, parts.next()?.ok()?))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_data_file_reads() {
        assert_eq!(crds().len(), 2);
        let read: Vec<Tool> = serde_json::from_str(TOOLS).unwrap();
        assert!(
            read.iter()
                .all(|tool| first_version(&tool.accepts).is_some())
        );
        assert!(
            named("kubernetes")
                .unwrap()
                .commands
                .contains(&"kube-apiserver".to_owned())
        );
    }

    #[test]
    fn versions_are_found_in_what_programs_print() {
        assert_eq!(first_version("Kubernetes v1.35.4\n"), Some((1, 35)));
        assert_eq!(
            first_version("etcd Version: 3.6.16\nGit SHA: 1a2b"),
            Some((3, 6))
        );
        assert_eq!(
            first_version("Client Version: v1.30.14\nKustomize v5.0.4"),
            Some((1, 30))
        );
        assert_eq!(first_version("no version"), None);
    }

    #[test]
    fn kubernetes_minors_are_exact_and_etcd_minors_are_a_minimum() {
        let (kubernetes, etcd) = (named("kubernetes").unwrap(), named("etcd").unwrap());
        assert!(kubernetes.accepted(&(1, 35)));
        assert!(!kubernetes.accepted(&(1, 36)));
        assert!(etcd.accepted(&(3, 6)));
        assert!(!etcd.accepted(&(3, 4)));
    }
}
