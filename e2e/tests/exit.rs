//! Out of an instance and back: dump, restore and verify, of everything and of one subtree, while
//! the server serves.

use std::path::Path;
use std::process::{Command, Output};
use std::time::Duration;

use anyhow::{Context, Result, anyhow, ensure};
use hanse_e2e::http::Client;
use hanse_e2e::hub::{Hub, program};
use hanse_e2e::kubeconfig::Access;
use hanse_e2e::wait;
use serde_json::{Value, json};

const CONFIG_MAPS: &str = "/api/v1/namespaces/default/configmaps";
const SECRETS: &str = "/api/v1/namespaces/default/secrets";
const WORKSPACES: &str = "/apis/tenancy.kcp.io/v1alpha1/workspaces";
const CRDS: &str = "/apis/apiextensions.k8s.io/v1/customresourcedefinitions";
const TIME_MAX: Duration = Duration::from_secs(30);

fn hanse(args: &[&str]) -> Result<Output> {
    let mut command = Command::new(program("HANSE_BIN", "hanse")?);
    Ok(command.args(args).env_remove("KUBECONFIG").output()?)
}

/// Runs it to success and answers what it printed.
fn run(args: &[&str]) -> Result<String> {
    let output = hanse(args)?;
    let error = String::from_utf8_lossy(&output.stderr);
    ensure!(
        output.status.success(),
        "hanse {args:?}: {error}\n{}",
        text(&output.stdout)
    );
    Ok(text(&output.stdout) + &error)
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

fn path(path: &Path) -> Result<&str> {
    path.to_str().context("a path that is no text")
}

/// A tree with a bit of everything: nested workspaces, owned objects, a Secret, a CRD's object.
async fn plant(hub: &Hub) -> Result<()> {
    hub.workspace("root", "org", "universal").await?;
    hub.workspace("root:org", "team", "universal").await?;
    hub.workspace("root", "other", "universal").await?;
    let team = hub.cluster("root:org:team")?;
    let owner = json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "z-owner"}});
    let owner = team.post(CONFIG_MAPS, &owner).await?.success()?;
    let uid = &owner["metadata"]["uid"];
    let owned = json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {
        "name": "a-owned", "labels": {"app": "x"}, "ownerReferences": [
            {"apiVersion": "v1", "kind": "ConfigMap", "name": "z-owner", "uid": uid}]}});
    team.post(CONFIG_MAPS, &owned).await?.success()?;
    let secret = json!({"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "word"},
        "stringData": {"word": "mellon"}});
    team.post(SECRETS, &secret).await?.success()?;
    let crd = json!({"apiVersion": "apiextensions.k8s.io/v1", "kind": "CustomResourceDefinition",
        "metadata": {"name": "ships.example.org"}, "spec": {"group": "example.org",
            "names": {"plural": "ships", "singular": "ship", "kind": "Ship", "listKind": "ShipList"},
            "scope": "Cluster", "versions": [{"name": "v1", "served": true, "storage": true,
                "schema": {"openAPIV3Schema": {"type": "object", "properties": {
                    "spec": {"type": "object", "properties": {"masts": {"type": "integer"}}}}}}}]}});
    team.post(CRDS, &crd).await?.success()?;
    let ship = json!({"apiVersion": "example.org/v1", "kind": "Ship",
        "metadata": {"name": "kogge"}, "spec": {"masts": 1}});
    wait::until("a ship", TIME_MAX, async || {
        team.post("/apis/example.org/v1/ships", &ship)
            .await?
            .success()
    })
    .await?;
    Ok(())
}

/// What of the tree a dump must bring back, without the versions and without what follows the address
/// of the server, which is another where an instance moved to.
async fn harvest(hub: &Hub) -> Result<Vec<Value>> {
    let mut found = Vec::new();
    let team = hub.cluster("root:org:team")?;
    for (client, path) in [
        (&team, format!("{CONFIG_MAPS}/a-owned")),
        (&team, format!("{CONFIG_MAPS}/z-owner")),
        (&team, format!("{SECRETS}/word")),
        (&team, "/apis/example.org/v1/ships/kogge".to_owned()),
        (&hub.cluster("root:org")?, format!("{WORKSPACES}/team")),
        (&hub.cluster("root")?, format!("{WORKSPACES}/org")),
    ] {
        let mut object = client.get(&path).await?.success().context(path)?;
        let is_workspace = object["kind"] == "Workspace";
        let metadata = object["metadata"].as_object_mut().context("no metadata")?;
        metadata.remove("resourceVersion");
        if is_workspace {
            metadata.remove("managedFields");
            object["spec"]
                .as_object_mut()
                .map(|spec| spec.remove("URL"));
        }
        found.push(object);
    }
    Ok(found)
}

async fn gone(hub: &Hub, name: &str) -> Result<()> {
    let root = hub.cluster("root")?;
    let workspace = format!("{WORKSPACES}/{name}");
    root.delete(&workspace).await?.success()?;
    let mut access = Access::read(&hub.kubeconfig(), Some("system:admin"))?;
    access.server = hub.cluster_access("*")?.server;
    let everywhere = Client::connect(&access)?;
    wait::until("the subtree gone", TIME_MAX, async || {
        let ship = everywhere
            .get("/api/v1/configmaps")
            .await?
            .success()?
            .to_string();
        let still = root.get(&workspace).await?.status != 404 || ship.contains("z-owner");
        if still {
            Err(anyhow!("still there"))
        } else {
            Ok(())
        }
    })
    .await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_subtree_leaves_and_comes_back_while_the_server_serves() -> Result<()> {
    let hub = Hub::start().await?;
    plant(&hub).await?;
    let before = harvest(&hub).await?;
    let config = hub.kubeconfig();
    let config = path(&config)?;
    let file = hub.scratch().join("org.dump");
    let file = path(&file)?;
    let server = ["--kubeconfig", config];
    run(&[
        &["dump"],
        &server[..],
        &["--workspace=root:org", "--secrets=plain", "-o", file],
    ]
    .concat())?;
    run(&["verify", "--dump", file])?;
    run(&[&["verify"], &server[..]].concat())?;
    gone(&hub, "org").await?;
    run(&[&["restore"], &server[..], &[file]].concat())?;
    let after = harvest(&hub).await?;
    ensure!(before == after, "before: {before:#?}\nafter: {after:#?}");
    // It lives: the collector leaves what is owned, names are taken, new objects are possible.
    let again = run(&[&["restore"], &server[..], &[file]].concat())?;
    ensure!(again.starts_with("0 objects written"), "{again}");
    run(&[&["verify"], &server[..]].concat())?;
    hub.workspace("root:org", "new", "universal").await?;
    let tenants = hanse(&["dump", "--kubeconfig", config, "--context=base"])?;
    ensure!(
        !tenants.status.success(),
        "whoever is no master must not dump"
    );
    // An object that is another now is never overwritten.
    let team = hub.cluster("root:org:team")?;
    team.delete(&format!("{CONFIG_MAPS}/z-owner"))
        .await?
        .success()?;
    let other = json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "z-owner"}});
    team.post(CONFIG_MAPS, &other).await?.success()?;
    let refused = hanse(&[&["restore"], &server[..], &[file]].concat())?;
    let error = text(&refused.stderr);
    ensure!(
        !refused.status.success() && error.contains("z-owner"),
        "{error}"
    );
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn an_instance_moves_and_damage_is_found() -> Result<()> {
    let mut hub = Hub::start().await?;
    plant(&hub).await?;
    let before = harvest(&hub).await?;
    let (config, dump) = (hub.kubeconfig(), hub.scratch().join("all.dump"));
    let (config, dump) = (path(&config)?, path(&dump)?);
    let key = hub.scratch().join("key");
    std::fs::write(&key, "AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8=\n")?;
    let key = path(&key)?;
    let secrets = ["--secrets=sealed", "--key-file", key];
    run(&[
        &["dump", "--kubeconfig", config],
        &secrets[..],
        &["-o", dump],
    ]
    .concat())?;
    let whole = std::fs::read(dump)?;
    ensure!(
        !text(&whole).contains("bWVsbG9u"),
        "the Secret's word is in the dump"
    );
    let version: u64 = serde_json::from_slice::<Value>(
        &whole[17..whole
            .iter()
            .position(|byte| *byte == b'\n')
            .context("no line")?],
    )?["version"]
        .as_str()
        .context("no version")?
        .parse()?;
    let moved = Hub::start_on(|root| {
        let root = path(root)?;
        let without_key = hanse(&["restore", "--root-directory", root, dump])?;
        ensure!(
            !without_key.status.success(),
            "sealed Secrets came back without a key"
        );
        run(&["restore", "--root-directory", root, "--key-file", key, dump])?;
        run(&["verify", "--root-directory", root])?;
        let twice = hanse(&["restore", "--root-directory", root, "--key-file", key, dump])?;
        ensure!(!twice.status.success(), "a restore over a store");
        Ok(())
    })
    .await?;
    let after = harvest(&moved).await?;
    ensure!(before == after, "before: {before:#?}\nafter: {after:#?}");
    let here = moved.cluster_access("root:org")?.server;
    let list = wait::until("the workspaces at the new address", TIME_MAX, async || {
        let list = moved.cluster("root")?.get(WORKSPACES).await?.success()?;
        let items = list["items"].as_array().context("no list")?;
        let org = items.iter().find(|item| item["metadata"]["name"] == "org");
        let url = &org.context("no workspace org")?["spec"]["URL"];
        ensure!(*url == *here, "{url} instead of {here}");
        Ok(list)
    })
    .await?;
    let now: u64 = list["metadata"]["resourceVersion"]
        .as_str()
        .context("no version")?
        .parse()?;
    ensure!(now >= version, "versions went back from {version} to {now}");
    // A letter changed anywhere in the dump, or its end missing, is found before anything is made.
    let damaged = hub.scratch().join("damaged.dump");
    for place in [20, whole.len() / 2, whole.len() - 3] {
        let mut bytes = whole.clone();
        bytes[place] ^= 1;
        std::fs::write(&damaged, &bytes)?;
        ensure!(
            !hanse(&["verify", "--dump", path(&damaged)?])?
                .status
                .success(),
            "{place}"
        );
        std::fs::write(&damaged, &whole[..place])?;
        let cut = hanse(&["verify", "--dump", path(&damaged)?])?;
        ensure!(!cut.status.success(), "cut at {place}");
    }
    // So is a letter changed in the store: in each of its files and everywhere, as a page that is
    // free keeps its old bytes.
    hub.stop()?;
    let mut changed = 0;
    for file in std::fs::read_dir(hub.root().join("data"))? {
        let file = file?.path();
        let mut bytes = std::fs::read(&file)?;
        let words: Vec<usize> = (0..bytes.len())
            .filter(|at| bytes[*at..].starts_with(b"z-owner"))
            .collect();
        for at in &words {
            bytes[*at] = b'y';
        }
        std::fs::write(&file, bytes)?;
        changed += words.len();
    }
    ensure!(changed > 0, "the store holds no z-owner");
    let found = hanse(&["verify", "--root-directory", path(&hub.root())?])?;
    ensure!(
        !found.status.success(),
        "a changed letter was not found: {}",
        text(&found.stdout)
    );
    Ok(())
}
