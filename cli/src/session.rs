//! The kubeconfig and the workspace that its current context points to.
//!
//! Invariant: a kubeconfig is rewritten as a whole through a temporary file, keeping every member
//! that we do not know.

use std::path::{Path, PathBuf};

use anyhow::{Context, Result, anyhow, bail};
use hanse_client::http::Http;
use hanse_client::{Api, Config};
use hanse_seams::Seams;
use serde_json::{Value, json};

use crate::advice::advise;

/// The heading in `--help` of what every command takes.
const COMMON: &str = "Options of every command";

/// Which kubeconfig, and which of its contexts.
#[derive(clap::Args, Clone, Debug, Default)]
pub struct Flags {
    /// Path to the kubeconfig file.
    #[arg(long, global = true, value_name = "FILE", help_heading = COMMON)]
    pub kubeconfig: Option<PathBuf>,
    /// Name of the kubeconfig context to use.
    #[arg(long, global = true, value_name = "NAME", help_heading = COMMON)]
    pub context: Option<String>,
    /// Workspace to work in instead of the current one: `:root:org` (absolute), or relative to it.
    #[arg(short, long, global = true, value_name = "PATH", help_heading = COMMON)]
    pub workspace: Option<String>,
}

/// A kubeconfig that was read, and the server it points to.
pub struct Session {
    /// The file.
    pub file: PathBuf,
    /// Its content.
    pub content: Value,
    /// The context in use.
    pub context: String,
    /// Everything before `/clusters/`.
    pub origin: String,
    /// The workspace.
    pub path: String,
    /// The origin's API.
    pub server: Api,
}

impl Session {
    /// Opens the kubeconfig that the flags, `KUBECONFIG` or the home directory name.
    ///
    /// # Errors
    /// When it cannot be read, or its server names no workspace.
    pub fn open(flags: &Flags) -> Result<Self> {
        let file = file(flags)?;
        let text = std::fs::read_to_string(&file).map_err(|error| {
            advise(
                format!("cannot read {}: {error}", file.display()),
                "Name a kubeconfig with --kubeconfig or KUBECONFIG; `hanse start` writes one to \
                 .hanse/admin.kubeconfig.",
            )
        })?;
        let content: Value = serde_saphyr::from_str(&text)
            .with_context(|| format!("{} is not a kubeconfig", file.display()))?;
        let context = match &flags.context {
            Some(context) => context.clone(),
            None => content["current-context"]
                .as_str()
                .unwrap_or_default()
                .to_owned(),
        };
        let config = Config::from_file(&file, Some(&context))?;
        let (origin, path) = config.server.split_once("/clusters/").ok_or_else(|| {
            advise(
                format!(
                    "current config context URL {:?} does not point to a workspace",
                    config.server
                ),
                "A workspace's URL ends in /clusters/PATH. In the kubeconfig that `hanse start` \
                 writes, `kubectl config use-context root` chooses such a context.",
            )
        })?;
        let (origin, mut path) = (origin.to_owned(), path.trim_end_matches('/').to_owned());
        if let Some(to) = &flags.workspace {
            path = resolve(&path, to)?;
        }
        let server = Http::api(
            Config {
                server: origin.clone(),
                ..config
            },
            Seams::real(),
        )?;
        Ok(Self {
            file,
            content,
            context,
            origin,
            path,
            server,
        })
    }

    /// The API of a workspace.
    #[must_use]
    pub fn workspace(&self, path: &str) -> Api {
        self.server.below(&format!("/clusters/{path}"))
    }

    /// The API of the current workspace.
    #[must_use]
    pub fn here(&self) -> Api {
        self.workspace(&self.path)
    }

    /// A member of one of the lists `clusters`, `users`, `contexts`, by name.
    #[must_use]
    pub fn entry(&self, list: &str, name: &str) -> Option<&Value> {
        self.content[list]
            .as_array()?
            .iter()
            .find(|e| e["name"] == name)
    }

    /// Sets a member of one of the lists.
    pub fn set_entry(&mut self, list: &str, name: &str, member: &str, value: Value) {
        let entry = json!({"name": name, member: value});
        match self.content[list].as_array_mut() {
            Some(entries) => match entries.iter_mut().find(|e| e["name"] == name) {
                Some(old) => *old = entry,
                None => entries.push(entry),
            },
            None => self.content[list] = json!([entry]),
        }
    }

    /// Cluster entry and context entry of the context in use.
    ///
    /// # Errors
    /// When one of them is missing.
    pub fn parts(&self) -> Result<(Value, Value)> {
        let context = self
            .entry("contexts", &self.context)
            .with_context(|| format!("there is no context {:?}", self.context))?["context"]
            .clone();
        let cluster = context["cluster"].as_str().unwrap_or_default();
        let cluster = self
            .entry("clusters", cluster)
            .with_context(|| format!("there is no cluster {cluster:?}"))?["cluster"]
            .clone();
        Ok((cluster, context))
    }

    /// Writes the kubeconfig back.
    ///
    /// # Errors
    /// When the file cannot be written.
    pub fn save(&self) -> Result<()> {
        let text = serde_saphyr::to_string(&self.content)?;
        write_private(&self.file, &text)
    }
}

/// The absolute path that a user means who stands in `current`: `:root:org` is absolute, `..` and
/// names are relative; `/` reads as `:`.
///
/// # Errors
/// When it leads above the topmost workspace.
pub fn resolve(current: &str, to: &str) -> Result<String> {
    let to = to.replace('/', ":");
    if to == ":" {
        return Ok(current.split(':').next().unwrap_or_default().to_owned());
    }
    if let Some(absolute) = to.strip_prefix(':') {
        return Ok(absolute.to_owned());
    }
    if to == "root" || to.starts_with("root:") {
        eprintln!("Note: Using absolute path {to:?}; write \":{to}\" to be explicit.");
        return Ok(to);
    }
    let mut parts: Vec<&str> = current.split(':').collect();
    for step in to.split(':').filter(|s| !s.is_empty() && *s != ".") {
        if step == ".." {
            if parts.len() < 2 {
                bail!("current workspace {current:?} has no parent");
            }
            parts.pop();
        } else {
            parts.push(step);
        }
    }
    Ok(parts.join(":"))
}

/// Replaces a file that only its owner may read.
///
/// # Errors
/// When it cannot be written.
pub fn write_private(path: &Path, text: &str) -> Result<()> {
    use std::io::Write as _;
    use std::os::unix::fs::OpenOptionsExt as _;
    let mut next = path.as_os_str().to_owned();
    next.push(".next");
    let next = PathBuf::from(next);
    let mut file = std::fs::OpenOptions::new()
        .write(true)
        .create(true)
        .truncate(true)
        .mode(0o600)
        .open(&next)
        .with_context(|| format!("cannot write {}", next.display()))?;
    file.write_all(text.as_bytes())?;
    std::fs::rename(&next, path).with_context(|| format!("cannot write {}", path.display()))
}

fn file(flags: &Flags) -> Result<PathBuf> {
    if let Some(file) = &flags.kubeconfig {
        return Ok(file.clone());
    }
    if let Some(list) = std::env::var_os("KUBECONFIG").filter(|l| !l.is_empty()) {
        let files: Vec<PathBuf> = std::env::split_paths(&list).collect();
        return match files.as_slice() {
            [one] => Ok(one.clone()),
            _ => files
                .into_iter()
                .find(|f| f.exists())
                .ok_or_else(|| anyhow!("none of the files in KUBECONFIG exists")),
        };
    }
    match std::env::var_os("HOME") {
        Some(home) => Ok(PathBuf::from(home).join(".kube/config")),
        None => bail!("no kubeconfig: set KUBECONFIG or give --kubeconfig"),
    }
}

#[cfg(test)]
mod tests {
    use super::resolve;

    #[test]
    fn paths_are_absolute_or_relative_to_the_current_workspace() {
        for (to, path) in [
            (":", "root"),
            (":root:b", "root:b"),
            ("root:b", "root:b"),
            (".", "root:a"),
            ("..", "root"),
            ("../b", "root:b"),
            ("b:c", "root:a:b:c"),
        ] {
            assert_eq!(resolve("root:a", to).unwrap(), path, "{to}");
        }
        assert!(resolve("root", "..").is_err());
    }
}
