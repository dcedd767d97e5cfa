//! Runs the real kubectl as a user would: with a kubeconfig of its own and nothing of the
//! machine's.

use std::path::{Path, PathBuf};
use std::process::Stdio;

use anyhow::{Context, Result, anyhow, bail};
use tokio::io::AsyncWriteExt;

use crate::tools;

/// A kubectl of one version against one server.
#[derive(Clone)]
pub struct Kubectl {
    program: PathBuf,
    kubeconfig: PathBuf,
    context: Option<String>,
    editor: String,
    home: PathBuf,
}

/// What a command came to.
#[derive(Debug)]
pub struct Output {
    /// The exit code; `None` when a signal ended it.
    pub code: Option<i32>,
    pub stdout: String,
    pub stderr: String,
}

impl Kubectl {
    /// The kubectl of the Kubernetes set.
    pub fn new(kubeconfig: &Path) -> Result<Kubectl> {
        Kubectl::of_set("kubernetes", kubeconfig)
    }

    /// The kubectl of a set of `tools.json`, such as `kubectl-1.30`.
    pub fn of_set(set: &str, kubeconfig: &Path) -> Result<Kubectl> {
        let tool = tools::named(set).with_context(|| format!("there is no set {set}"))?;
        let program = tool.command("kubectl").map_err(|advice| anyhow!(advice))?;
        let home = kubeconfig
            .parent()
            .unwrap_or(Path::new("."))
            .join(format!("home-{set}"));
        std::fs::create_dir_all(&home)?;
        let kubeconfig = kubeconfig.to_path_buf();
        Ok(Kubectl {
            program,
            kubeconfig,
            context: None,
            editor: "true".to_owned(),
            home,
        })
    }

    /// The same with another context of its kubeconfig.
    pub fn context(&self, context: &str) -> Kubectl {
        Kubectl {
            context: Some(context.to_owned()),
            ..self.clone()
        }
    }

    /// The same with a command that stands in for the editor.
    pub fn editor(&self, command: &str) -> Kubectl {
        Kubectl {
            editor: command.to_owned(),
            ..self.clone()
        }
    }

    /// Runs it to its end.
    pub async fn run(&self, args: &[&str], stdin: Option<&str>) -> Result<Output> {
        let mut command = tokio::process::Command::new(&self.program);
        command.arg("--kubeconfig").arg(&self.kubeconfig).args(args);
        if let Some(context) = &self.context {
            command.args(["--context", context]);
        }
        command
            .env_clear()
            .env("HOME", &self.home)
            .env("PATH", std::env::var_os("PATH").unwrap_or_default());
        command
            .env("EDITOR", &self.editor)
            .env("KUBECTL_EXTERNAL_DIFF", "diff -u")
            .kill_on_drop(true);
        command.stdin(if stdin.is_some() {
            Stdio::piped()
        } else {
            Stdio::null()
        });
        command.stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = command.spawn().context("cannot start kubectl")?;
        if let (Some(text), Some(mut pipe)) = (stdin, child.stdin.take()) {
            pipe.write_all(text.as_bytes()).await?;
        }
        let output = child.wait_with_output().await?;
        Ok(Output {
            code: output.status.code(),
            stdout: String::from_utf8_lossy(&output.stdout).into_owned(),
            stderr: String::from_utf8_lossy(&output.stderr).into_owned(),
        })
    }

    /// Runs it and answers what it prints; an error with its words when it fails.
    pub async fn ok(&self, args: &[&str]) -> Result<String> {
        let output = self.run(args, None).await?;
        if output.code != Some(0) {
            bail!("kubectl {}: {}", args.join(" "), output.stderr.trim());
        }
        Ok(output.stdout)
    }

    /// `kubectl apply -f -` with this text.
    pub async fn apply(&self, yaml: &str) -> Result<String> {
        let output = self.run(&["apply", "-f", "-"], Some(yaml)).await?;
        if output.code != Some(0) {
            bail!("kubectl apply: {}", output.stderr.trim());
        }
        Ok(output.stdout)
    }
}
