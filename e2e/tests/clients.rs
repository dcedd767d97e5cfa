//! Programs that others wrote against Kubernetes' client libraries, unchanged, in a workspace.
//!
//! The programs stand under `e2e/clients`; each works through its scenarios in the workspace of
//! the kubeconfig that it is given, says `ok` or `FAILED` for each, and fails when one did. The
//! variables that name them are set by `cargo xtask test`.

use std::path::Path;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use hanse_e2e::hub::Hub;

/// How long all scenarios of a program may take on a busy machine.
const PROGRAM_TIME_MAX: Duration = Duration::from_secs(240);

/// Runs the program that `variable` names in a fresh workspace; answers what it did, a line each.
async fn run(variable: &str, scenarios: usize) -> Result<()> {
    let Some(program) = std::env::var_os(variable) else {
        eprintln!("skipped: {variable} names no program (cargo xtask setup builds it)");
        return Ok(());
    };
    let hub = Hub::start().await?;
    hub.workspace("root", "clients", "universal").await?;
    let kubeconfig = hub.cluster_kubeconfig("root:clients")?;
    let mut command = tokio::process::Command::new(&program);
    command
        .arg("-kubeconfig")
        .arg(kubeconfig)
        .kill_on_drop(true);
    let output = tokio::time::timeout(PROGRAM_TIME_MAX, command.output()).await;
    let output = output.with_context(|| format!("{} hangs", Path::new(&program).display()))??;
    let said = String::from_utf8_lossy(&output.stdout);
    let done = said.lines().filter(|line| line.starts_with("ok ")).count();
    ensure!(
        output.status.success() && done == scenarios,
        "{done} of {scenarios} scenarios:\n{said}\n{}",
        String::from_utf8_lossy(&output.stderr)
    );
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn client_go_works_as_in_a_cluster() -> Result<()> {
    run("HANSE_CLIENT_CLIENT_GO", 19).await
}

#[tokio::test(flavor = "multi_thread")]
async fn an_operator_works_as_in_a_cluster() -> Result<()> {
    run("HANSE_CLIENT_CONTROLLER_RUNTIME", 7).await
}
