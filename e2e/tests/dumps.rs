//! Dumps of a server under load, of a directory without a server, and what they cost in memory.
//!
//! `HANSE_DUMP_OBJECTS` says how many objects the measurement dumps.

use std::collections::BTreeMap;
use std::path::Path;
use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use anyhow::{Context, Result, ensure};
use hanse_e2e::http::Client;
use hanse_e2e::hub::{Hub, program};
use http::Method;
use serde_json::{Value, json};

const CONFIG_MAPS: &str = "/api/v1/namespaces/default/configmaps";
const WRITERS: usize = 4;
/// Writes that each writer has made at least when the dump begins, and after it.
const WRITES: usize = 20;

fn hanse(args: &[&str]) -> Result<String> {
    let mut command = Command::new(program("HANSE_BIN", "hanse")?);
    let output = command.args(args).env_remove("KUBECONFIG").output()?;
    let text = [output.stdout, output.stderr].concat();
    let text = String::from_utf8_lossy(&text).into_owned();
    ensure!(output.status.success(), "hanse {args:?}: {text}");
    Ok(text)
}

fn name(path: &Path) -> Result<&str> {
    path.to_str().context("a path that is no text")
}

/// The lines of a dump without their seals.
fn lines(path: &Path) -> Result<Vec<Value>> {
    let text = std::fs::read_to_string(path)?;
    let content = text
        .lines()
        .map(|line| line.split_once(' ').context("no seal"));
    content
        .map(|line| Ok(serde_json::from_str(line?.1)?))
        .collect()
}

fn version(object: &Value) -> Result<u64> {
    let text = object["metadata"]["resourceVersion"].as_str();
    Ok(text.context("no version")?.parse()?)
}

/// Writes two objects in turn until told to stop; answers the versions of each that were
/// acknowledged.
async fn write(client: Client, writer: usize, stop: Arc<AtomicBool>) -> Result<Vec<(String, u64)>> {
    let mut acknowledged = Vec::new();
    let names = [format!("{writer}-first"), format!("{writer}-second")];
    for count in 0.. {
        if count > WRITES && stop.load(Ordering::SeqCst) {
            break;
        }
        for name in &names {
            let body = json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": name},
                "data": {"count": count.to_string()}});
            let written = match count {
                0 => client.post(CONFIG_MAPS, &body).await?.success()?,
                _ => {
                    let path = format!("{CONFIG_MAPS}/{name}");
                    client
                        .json(Method::PUT, &path, Some(&body))
                        .await?
                        .success()?
                }
            };
            acknowledged.push((name.clone(), version(&written)?));
        }
    }
    Ok(acknowledged)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_dump_under_load_shows_one_moment() -> Result<()> {
    let hub = Hub::start().await?;
    let stop = Arc::new(AtomicBool::new(false));
    let mut writers = Vec::new();
    for writer in 0..WRITERS {
        let client = hub.cluster("root")?;
        writers.push(tokio::spawn(write(client, writer, Arc::clone(&stop))));
    }
    let (config, file) = (hub.kubeconfig(), hub.scratch().join("load.dump"));
    let (config, dump) = (name(&config)?.to_owned(), name(&file)?.to_owned());
    let mut dumps = Vec::new();
    for _ in 0..5 {
        let (config, dump) = (config.clone(), dump.clone());
        let run = move || {
            hanse(&[
                "dump",
                "--kubeconfig",
                &config,
                "--secrets=plain",
                "-o",
                &dump,
            ])
        };
        tokio::task::spawn_blocking(run).await??;
        dumps.push(lines(&file)?);
    }
    stop.store(true, Ordering::SeqCst);
    let mut written: BTreeMap<String, Vec<u64>> = BTreeMap::new();
    for writer in writers {
        for (name, version) in writer.await?? {
            written.entry(name).or_default().push(version);
        }
    }
    let mut moments = Vec::new();
    for dump in &dumps {
        let at: u64 = dump[0]["version"].as_str().context("no version")?.parse()?;
        let mut shown = BTreeMap::new();
        for line in &dump[1..dump.len() - 1] {
            let version = version(&line["object"])?;
            ensure!(
                version <= at,
                "{} is of {version}, after {at}",
                line["name"]
            );
            if line["resource"] == "configmaps" && line["cluster"] == "root" {
                let name = line["name"].as_str().context("no name")?;
                shown.insert(name.to_owned(), version);
            }
        }
        // Exactly what was written last before that moment, of every object.
        for (name, versions) in &written {
            let last = versions.iter().filter(|version| **version <= at).max();
            ensure!(
                shown.get(name) == last,
                "{name} at {at}: {:?}, not {last:?}",
                shown.get(name)
            );
        }
        moments.push(at);
    }
    moments.dedup();
    ensure!(
        moments.len() == dumps.len(),
        "nothing was written between the dumps: {moments:?}"
    );
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_directory_is_dumped_as_its_server_is() -> Result<()> {
    let mut hub = Hub::start().await?;
    hub.workspace("root", "org", "universal").await?;
    hub.workspace("root:org", "team", "universal").await?;
    let (config, root) = (hub.kubeconfig(), hub.root());
    let (config, root) = (name(&config)?, name(&root)?);
    let served = hub.scratch().join("served.dump");
    let plain = hub.scratch().join("plain.dump");
    let subtree = hub.scratch().join("subtree.dump");
    let busy = hanse(&["dump", "--root-directory", root]);
    ensure!(
        busy.is_err_and(|e| e.to_string().contains("open in another process")),
        "not refused"
    );
    hanse(&[
        "dump",
        "--kubeconfig",
        config,
        "--secrets=plain",
        "-o",
        name(&served)?,
    ])?;
    hub.stop()?;
    hanse(&[
        "dump",
        "--root-directory",
        root,
        "--secrets=plain",
        "-o",
        name(&plain)?,
    ])?;
    hanse(&["verify", "--dump", name(&plain)?])?;
    let org = ["--workspace=root:org", "-o", name(&subtree)?];
    hanse(&[&["dump", "--root-directory", root], &org[..]].concat())?;
    let sorted = |path: &Path| -> Result<Vec<String>> {
        let mut lines: Vec<String> = lines(path)?.iter().map(Value::to_string).collect();
        // The header tells the time, and what is written while a server stops its version.
        lines.remove(0);
        lines.sort();
        Ok(lines)
    };
    let (ours, theirs) = (sorted(&plain)?, sorted(&served)?);
    let differ = ours
        .iter()
        .zip(&theirs)
        .find(|(ours, theirs)| ours != theirs);
    ensure!(
        ours.len() == theirs.len() && differ.is_none(),
        "{differ:#?}"
    );
    let subtree = lines(&subtree)?;
    ensure!(
        subtree[0]["scope"] == "root:org" && subtree[0]["secrets"] == "omitted",
        "{}",
        subtree[0]
    );
    let top = &subtree[subtree.len() - 2];
    ensure!(
        top["resource"] == "workspaces" && top["name"] == "org",
        "the top is not last: {top}"
    );
    // It comes back as any dump does.
    let back = hub.scratch().join("back");
    hanse(&["restore", "--root-directory", name(&back)?, name(&plain)?])?;
    hanse(&["verify", "--root-directory", name(&back)?])?;
    Ok(())
}

/// What a dump adds to the server's memory is far less than the dump.
#[tokio::test(flavor = "multi_thread")]
async fn a_dump_is_a_stream() -> Result<()> {
    let text = std::env::var("HANSE_DUMP_OBJECTS").ok();
    let count: usize = text.and_then(|text| text.parse().ok()).unwrap_or(2000);
    let hub = Hub::start().await?;
    let filler = "x".repeat(8 << 10);
    let mut writers = Vec::new();
    for writer in 0..8 {
        let (client, filler) = (hub.cluster("root")?, filler.clone());
        writers.push(tokio::spawn(async move {
            for number in (writer..count).step_by(8) {
                let body = json!({"apiVersion": "v1", "kind": "ConfigMap",
                    "metadata": {"name": format!("filler-{number}")}, "data": {"filler": filler}});
                client.post(CONFIG_MAPS, &body).await?.success()?;
            }
            anyhow::Ok(())
        }));
    }
    for writer in writers {
        writer.await??;
    }
    let (config, file) = (hub.kubeconfig(), hub.scratch().join("all.dump"));
    let (config, dump) = (name(&config)?.to_owned(), name(&file)?.to_owned());
    let before = hub.process()?.resident_kib()?;
    let running = std::thread::spawn(move || {
        hanse(&[
            "dump",
            "--kubeconfig",
            &config,
            "--secrets=plain",
            "-o",
            &dump,
        ])
    });
    let mut most = before;
    while !running.is_finished() {
        most = most.max(hub.process()?.resident_kib()?);
        tokio::time::sleep(std::time::Duration::from_millis(5)).await;
    }
    running
        .join()
        .map_err(|_| anyhow::anyhow!("the dump panicked"))??;
    let size = std::fs::metadata(&file)?.len() / 1024;
    let grown = most - before;
    println!("a dump of {count} objects and {size} KiB: the server grew by {grown} KiB");
    ensure!(
        lines(&file)?.len() > count && size > count as u64 * 8,
        "the dump is too small"
    );
    ensure!(
        grown < size / 4 + (8 << 10),
        "the server grew by {grown} KiB for {size} KiB"
    );
    Ok(())
}

/// A workspace moves to another path of its own instance, beside the original, and into another
/// instance, and lives there.
#[tokio::test(flavor = "multi_thread")]
async fn a_subtree_moves() -> Result<()> {
    let (hub, other) = (Hub::start().await?, Hub::start().await?);
    hub.workspace("root", "org", "universal").await?;
    hub.workspace("root:org", "team", "universal").await?;
    other.workspace("root", "above", "universal").await?;
    let team = hub.cluster("root:org:team")?;
    let owner = json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "owner"},
        "data": {"path": "root:org"}});
    let owner = team.post(CONFIG_MAPS, &owner).await?.success()?;
    let owned = json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "owned",
        "ownerReferences": [{"apiVersion": "v1", "kind": "ConfigMap", "name": "owner",
            "uid": owner["metadata"]["uid"]}]}});
    team.post(CONFIG_MAPS, &owned).await?.success()?;
    let dump = hub.scratch().join("org.dump");
    let dump = name(&dump)?;
    let config = hub.kubeconfig();
    let config = name(&config)?;
    hanse(&[
        "dump",
        "--kubeconfig",
        config,
        "--workspace=root:org",
        "--secrets=plain",
        "-o",
        dump,
    ])?;
    for (to, path) in [(&hub, "root:copy"), (&other, "root:above:org")] {
        let config = to.kubeconfig();
        let config = name(&config)?;
        let restore = ["restore", "--kubeconfig", config, "--as", path, dump];
        hanse(&restore)?;
        let again = hanse(&restore)?;
        ensure!(again.starts_with("0 objects written"), "{path}: {again}");
        let moved = to.cluster(&format!("{path}:team"))?;
        let there = moved
            .get(&format!("{CONFIG_MAPS}/owner"))
            .await?
            .success()?;
        ensure!(
            there["data"]["path"] == "root:org",
            "a tenant's data was changed: {there}"
        );
        ensure!(
            there["metadata"]["uid"] != owner["metadata"]["uid"],
            "{there}"
        );
        // Its APIs are bound again, and a workspace below it is born as any other.
        hanse_e2e::wait::until(
            "bindings bound",
            std::time::Duration::from_secs(30),
            async || {
                let list = moved
                    .get("/apis/apis.kcp.io/v1alpha2/apibindings")
                    .await?
                    .success()?;
                let items = list["items"].as_array().context("no items")?;
                ensure!(!items.is_empty(), "no bindings");
                for item in items {
                    ensure!(item["status"]["phase"] == "Bound", "{item:#}");
                }
                Ok(())
            },
        )
        .await?;
        to.workspace(path, "new", "universal").await?;
        to.workspace(&format!("{path}:team"), "deeper", "universal")
            .await?;
        moved
            .get(&format!("{CONFIG_MAPS}/owned"))
            .await?
            .success()?;
        hanse(&["verify", "--kubeconfig", config])?;
    }
    // The original is as it was.
    let same = team.get(&format!("{CONFIG_MAPS}/owner")).await?.success()?;
    ensure!(same == owner, "{same}");
    Ok(())
}
