//! Encryption at rest under the real process: what the files hold, what a restart and a change of
//! keys leave, and what operators are told.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use anyhow::{Context, Result, anyhow, ensure};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use hanse_e2e::hub::{Hub, program};
use hanse_e2e::kubectl::Kubectl;
use hanse_e2e::process::Process;
use hanse_e2e::wait;
use http::Method;
use serde_json::{Value, json};

const SECRETS: &str = "/api/v1/namespaces/default/secrets";
const CONFIG_MAPS: &str = "/api/v1/namespaces/default/configmaps";
/// The file is looked at every ten seconds, and what is stale is written soon after.
const RELOAD_TIME_MAX: Duration = Duration::from_secs(60);

/// A key that is made now.
fn key() -> Result<String> {
    use std::io::Read as _;
    let mut bytes = [0; 32];
    std::fs::File::open("/dev/urandom")?.read_exact(&mut bytes)?;
    Ok(STANDARD.encode(bytes))
}

/// Writes a configuration for Secrets: these keys in their order, then plain ones.
fn configure(path: &Path, keys: &[(&str, &str)]) -> Result<()> {
    let keys: Vec<String> = keys
        .iter()
        .map(|(name, secret)| format!("      - {{name: {name}, secret: {secret}}}\n"))
        .collect();
    let text = format!(
        "apiVersion: apiserver.config.k8s.io/v1\nkind: EncryptionConfiguration\nresources:\n\
         - resources: [secrets]\n  providers:\n  - aesgcm:\n      keys:\n{}  - identity: {{}}\n",
        keys.concat()
    );
    Ok(std::fs::write(path, text)?)
}

/// How often a word stands in the files below a directory.
fn count(directory: &Path, word: &str) -> Result<usize> {
    let mut found = 0;
    for entry in std::fs::read_dir(directory)? {
        let path = entry?.path();
        found += match path.is_dir() {
            true => count(&path, word)?,
            false => {
                let bytes = std::fs::read(&path)?;
                let windows = bytes.windows(word.len());
                windows.filter(|window| *window == word.as_bytes()).count()
            }
        };
    }
    Ok(found)
}

fn flags(config: &Path) -> Vec<String> {
    vec![
        format!("--encryption-provider-config={}", config.display()),
        "--encryption-provider-config-automatic-reload".to_owned(),
    ]
}

fn verify(root: &Path, config: Option<&Path>) -> Result<(bool, String)> {
    let mut command = Command::new(program("HANSE_BIN", "hanse")?);
    command.arg("verify").arg("--root-directory").arg(root);
    if let Some(config) = config {
        command.arg(format!("--encryption-provider-config={}", config.display()));
    }
    let output = command.output()?;
    let text = [output.stdout, output.stderr].concat();
    Ok((
        output.status.success(),
        String::from_utf8_lossy(&text).into_owned(),
    ))
}

async fn plant(hub: &Hub, name: &str, word: &str) -> Result<Value> {
    let root = hub.cluster("root")?;
    let secret = json!({"apiVersion": "v1", "kind": "Secret", "metadata": {"name": name},
        "stringData": {"word": word}});
    root.post(SECRETS, &secret).await?.success()
}

#[tokio::test(flavor = "multi_thread")]
async fn secrets_are_sealed_at_rest_and_keys_change_while_it_serves() -> Result<()> {
    let dir = tempfile::tempdir()?;
    let config: PathBuf = dir.path().join("encryption.yaml");
    let (one, two) = (key()?, key()?);
    configure(&config, &[("one", &one)])?;
    let mut hub = Hub::start_with_flags(flags(&config)).await?;
    let word = "mellon-of-the-west-gate";
    plant(&hub, "word", word).await?;
    let root = hub.cluster("root")?;
    let plain = json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "plain"},
        "data": {"word": "speak-friend-and-enter"}});
    root.post(CONFIG_MAPS, &plain).await?.success()?;
    hub.kill()?;
    hub.resume().await?;
    let root = hub.cluster("root")?;
    let held = root.get(&format!("{SECRETS}/word")).await?.success()?;
    ensure!(
        held["data"]["word"] == json!(STANDARD.encode(word)),
        "{held}"
    );
    // A no-op update of what lies in the present form writes nothing ...
    let again = root
        .json(Method::PUT, &format!("{SECRETS}/word"), Some(&held))
        .await?
        .success()?;
    ensure!(
        again["metadata"]["resourceVersion"] == held["metadata"]["resourceVersion"],
        "{again}"
    );
    let version = |object: &Value| -> Result<u64> {
        let text = object["metadata"]["resourceVersion"].as_str();
        Ok(text.context("no version")?.parse()?)
    };
    let before = version(&root.get("/api/v1/secrets").await?.success()?)?;
    // ... and everything comes under a key that becomes the first one, while the hub serves.
    configure(&config, &[("two", &two), ("one", &one)])?;
    wait::until(
        "all Secrets under the new key",
        RELOAD_TIME_MAX,
        async || {
            let list = root.get("/api/v1/secrets").await?.success()?;
            let items = list["items"].as_array().context("no items")?;
            for item in items {
                ensure!(
                    version(item)? > before,
                    "{} is as it was",
                    item["metadata"]["name"]
                );
            }
            Ok(())
        },
    )
    .await?;
    hub.stop()?;
    let data = hub.root().join("data");
    ensure!(
        count(&data, "speak-friend-and-enter")? > 0,
        "this test finds nothing"
    );
    for hidden in [word.to_owned(), STANDARD.encode(word)] {
        ensure!(count(&data, &hidden)? == 0, "{hidden} lies in the files");
    }
    ensure!(
        count(&data, "k8s:enc:aesgcm:v1:two:")? > 0,
        "nothing lies under the new key"
    );
    // The old key is not needed any more: the present opens without it.
    configure(&config, &[("two", &two)])?;
    let (whole, text) = verify(&hub.root(), Some(&config))?;
    ensure!(whole, "{text}");
    let (whole, text) = verify(&hub.root(), None)?;
    ensure!(!whole && text.contains("is encrypted"), "{text}");
    hub.resume().await?;
    let held = hub
        .cluster("root")?
        .get(&format!("{SECRETS}/word"))
        .await?
        .success()?;
    ensure!(
        held["data"]["word"] == json!(STANDARD.encode(word)),
        "{held}"
    );
    Ok(())
}

async fn replace(kubectl: &Kubectl, list: &str) -> Result<()> {
    let output = kubectl.run(&["replace", "-f", "-"], Some(list)).await?;
    ensure!(output.code == Some(0), "{}", output.stderr);
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_replacement_without_a_change_seals_anew() -> Result<()> {
    let dir = tempfile::tempdir()?;
    let config = dir.path().join("encryption.yaml");
    let mut hub = Hub::start().await?;
    plant(&hub, "word", "mellon-of-the-west-gate").await?;
    hub.stop()?;
    configure(&config, &[("one", &key()?)])?;
    let mut flags = flags(&config);
    flags.push("--encryption-rewrite-rate=0".to_owned());
    hub.set_flags(flags);
    hub.resume().await?;
    // As the documentation of Kubernetes has it: get, and replace by what was got.
    let root = hub.kubectl("root")?;
    let get = ["get", "secrets", "-A", "-o", "json"];
    let version = |list: &str| -> Result<String> {
        let list: Value = serde_json::from_str(list)?;
        let items = list["items"].as_array().context("no items")?;
        let word = items.iter().find(|item| item["metadata"]["name"] == "word");
        let version = word.context("no Secret")?["metadata"]["resourceVersion"].as_str();
        Ok(version.context("no version")?.to_owned())
    };
    let first = root.ok(&get).await?;
    replace(&root, &first).await?;
    let second = root.ok(&get).await?;
    ensure!(version(&first)? != version(&second)?, "nothing was written");
    replace(&root, &second).await?;
    let third = root.ok(&get).await?;
    ensure!(
        version(&second)? == version(&third)?,
        "written without need"
    );
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_wrong_configuration_and_a_missing_plugin_are_told() -> Result<()> {
    let dir = tempfile::tempdir()?;
    let config = dir.path().join("encryption.yaml");
    std::fs::write(
        &config,
        "apiVersion: apiserver.config.k8s.io/v1\nkind: EncryptionConfiguration\n\
         resources: [{resources: [Secrets], providers: [{identity: {}}]}]\n",
    )?;
    let mut command = Command::new(program("HANSE_BIN", "hanse")?);
    let output = command
        .args(["start", "--bind-address=127.0.0.1", "--secure-port=1"])
        .arg(format!(
            "--root-directory={}",
            dir.path().join("root").display()
        ))
        .arg(format!("--encryption-provider-config={}", config.display()))
        .output()?;
    let text = String::from_utf8_lossy(&output.stderr).into_owned();
    let wanted = "resources[0].resources[0]: Invalid value: \"Secrets\": resource name should not \
                  contain capital letters";
    ensure!(!output.status.success() && text.contains(wanted), "{text}");
    Ok(())
}

/// The plugin is Kubernetes' own gRPC server with a key in memory (`e2e/oracles/atrest`).
#[tokio::test(flavor = "multi_thread")]
async fn a_plugin_seals_and_its_end_is_seen() -> Result<()> {
    let Ok(program) = std::env::var("HANSE_ORACLE_ATREST") else {
        eprintln!("skipped: HANSE_ORACLE_ATREST names no oracle (see e2e/oracles/atrest)");
        return Ok(());
    };
    let dir = tempfile::tempdir()?;
    let socket = dir.path().join("kms.sock");
    let mut command = Command::new(program);
    command.arg("plugin").arg(&socket);
    let plugin = Process::start("atrest", &mut command, &dir.path().join("plugin.log"))?;
    wait::until("the plugin's socket", RELOAD_TIME_MAX, async || {
        socket.exists().then_some(()).context("not there")
    })
    .await?;
    let config = dir.path().join("encryption.yaml");
    std::fs::write(
        &config,
        format!(
            "apiVersion: apiserver.config.k8s.io/v1\nkind: EncryptionConfiguration\n\
             resources: [{{resources: [secrets], providers: [{{kms: {{apiVersion: v2, name: go, \
             endpoint: 'unix://{}'}}}}]}}]\n",
            socket.display()
        ),
    )?;
    let flag = format!("--encryption-provider-config={}", config.display());
    let mut hub = Hub::start_with_flags(vec![flag]).await?;
    let word = "mellon-of-the-west-gate";
    plant(&hub, "word", word).await?;
    hub.kill()?;
    hub.resume().await?;
    let root = hub.cluster("root")?;
    let held = root.get(&format!("{SECRETS}/word")).await?.success()?;
    ensure!(
        held["data"]["word"] == json!(STANDARD.encode(word)),
        "{held}"
    );
    plugin.kill()?;
    wait::until("the plugin missed in readyz", RELOAD_TIME_MAX, async || {
        let answer = hub.client()?.get("/readyz").await?;
        let text = String::from_utf8_lossy(&answer.body).into_owned();
        match answer.status == 500 && text.contains("[-]kms-providers failed") {
            true => Ok(()),
            false => Err(anyhow!("{} {text}", answer.status)),
        }
    })
    .await?;
    // What is in memory is served, and sealed for some minutes more; it is alive.
    root.get(&format!("{SECRETS}/word")).await?.success()?;
    plant(&hub, "late", word).await?;
    ensure!(
        hub.client()?.get("/livez").await?.status == 200,
        "dead for want of a plugin"
    );
    hub.stop()?;
    let data = hub.root().join("data");
    ensure!(
        count(&data, &STANDARD.encode(word))? == 0,
        "the word lies in the files"
    );
    ensure!(
        count(&data, "k8s:enc:kms:v2:go:")? > 1,
        "nothing is sealed by the plugin"
    );
    Ok(())
}
