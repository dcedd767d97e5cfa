//! A full disk under the real process: writes are refused, reading goes on, nothing that was
//! acknowledged is lost, and with room again writing goes on without a restart.
//!
//! The disk is a small one in memory, which takes root to mount; without the right the test says
//! so and passes.

use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use anyhow::{Result, anyhow, ensure};
use hanse_e2e::http::Client;
use hanse_e2e::hub::{Hub, program};
use hanse_e2e::wait;
use serde_json::{Value, json};

const CONFIG_MAPS: &str = "/api/v1/namespaces/default/configmaps";
const DISK_MIB: u64 = 160;
const WRITERS: usize = 4;
const TIME_MAX: Duration = Duration::from_secs(30);

/// A file system of its own, gone with this.
struct Disk(PathBuf);

impl Disk {
    fn mount(at: &Path) -> Option<Disk> {
        let size = format!("size={DISK_MIB}m");
        let mut command = Command::new("mount");
        command
            .args(["-t", "tmpfs", "-o", &size, "hanse-full-disk"])
            .arg(at);
        let mounted = command.output().is_ok_and(|output| output.status.success());
        mounted.then(|| Disk(at.to_owned()))
    }

    fn ballast(&self) -> PathBuf {
        self.0.join("ballast")
    }

    /// Takes all room that there is, others' writes beside.
    fn fill(&self) -> Result<()> {
        let mut options = std::fs::OpenOptions::new();
        let mut file = options.create(true).append(true).open(self.ballast())?;
        for block in [1 << 20, 4 << 10] {
            let zeros = vec![0; block];
            while let Ok(()) = file.write_all(&zeros) {}
        }
        Ok(())
    }

    fn empty(&self) -> Result<()> {
        Ok(std::fs::remove_file(self.ballast())?)
    }
}

impl Drop for Disk {
    fn drop(&mut self) {
        let _ = Command::new("umount").arg("-l").arg(&self.0).output();
    }
}

fn config_map(name: &str) -> Value {
    json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": name},
        "data": {"filler": "x".repeat(16 << 10)}})
}

/// Creates until told to stop; answers the names that were acknowledged, and how many were refused
/// for want of room.
async fn write(client: Client, writer: usize, stop: Arc<AtomicBool>) -> Result<(Vec<String>, u64)> {
    let (mut acknowledged, mut refused) = (Vec::new(), 0);
    for number in 0.. {
        if stop.load(Ordering::SeqCst) {
            break;
        }
        let name = format!("{writer}-{number}");
        let answer = client.post(CONFIG_MAPS, &config_map(&name)).await?;
        let text = String::from_utf8_lossy(&answer.body).into_owned();
        match answer.status.as_u16() {
            201 => acknowledged.push(name),
            500 if text.contains("database space exceeded") => {
                refused += 1;
                tokio::time::sleep(Duration::from_millis(2)).await;
            }
            other => return Err(anyhow!("{other}: {text}")),
        }
    }
    Ok((acknowledged, refused))
}

#[tokio::test(flavor = "multi_thread")]
async fn a_full_disk_refuses_writes_and_nothing_else() -> Result<()> {
    let mut disk = None;
    let mut hub = Hub::start_on(|root| {
        let data = root.join("data");
        std::fs::create_dir_all(&data)?;
        disk = Disk::mount(&data);
        Ok(())
    })
    .await?;
    let Some(disk) = disk else {
        eprintln!("skipped: nothing can be mounted here");
        return Ok(());
    };
    let root = hub.cluster("root")?;
    let pid = hub.process()?.id();
    root.post(CONFIG_MAPS, &config_map("before"))
        .await?
        .success()?;
    let stop = Arc::new(AtomicBool::new(false));
    let mut writers = Vec::new();
    for writer in 0..WRITERS {
        writers.push(tokio::spawn(write(
            hub.cluster("root")?,
            writer,
            Arc::clone(&stop),
        )));
    }
    let refuses = async || {
        let mut some = config_map("");
        some["metadata"] = json!({"generateName": "refused-"});
        let answer = root.post(CONFIG_MAPS, &some).await?;
        let text = String::from_utf8_lossy(&answer.body).into_owned();
        let told =
            answer.status == 500 && text.contains("etcdserver: mvcc: database space exceeded");
        if told {
            Ok(())
        } else {
            Err(anyhow!("{} {text}", answer.status))
        }
    };
    let mut taken = 0;
    for round in 0..3 {
        tokio::time::sleep(Duration::from_millis(300)).await;
        disk.fill()?;
        wait::until("writes refused", TIME_MAX, refuses).await?;
        root.get(&format!("{CONFIG_MAPS}/before"))
            .await?
            .success()?;
        root.get(&format!("{CONFIG_MAPS}?limit=5"))
            .await?
            .success()?;
        ensure!(
            hub.client()?.get("/livez").await?.status == 200,
            "taken for dead"
        );
        disk.empty()?;
        let name = format!("after-{round}");
        wait::until("writing again", TIME_MAX, async || {
            root.post(CONFIG_MAPS, &config_map(&name)).await?.success()
        })
        .await?;
        taken += 1;
    }
    stop.store(true, Ordering::SeqCst);
    let mut names: Vec<String> = (0..taken).map(|round| format!("after-{round}")).collect();
    let mut refusals = 0;
    for writer in writers {
        let (acknowledged, refused) = writer.await??;
        ensure!(
            !acknowledged.is_empty() && refused > 0,
            "a writer met no full disk"
        );
        names.extend(acknowledged);
        refusals += refused;
    }
    println!("{} writes acknowledged, {refusals} refused", names.len());
    ensure!(hub.process()?.id() == pid, "it was restarted");
    hub.kill()?;
    hub.resume().await?;
    let root = hub.cluster("root")?;
    for name in &names {
        let there = root.get(&format!("{CONFIG_MAPS}/{name}")).await?;
        ensure!(there.status == 200, "{name} was acknowledged and is lost");
    }
    hub.stop()?;
    let mut verify = Command::new(program("HANSE_BIN", "hanse")?);
    let output = verify
        .arg("verify")
        .arg("--root-directory")
        .arg(hub.root())
        .output()?;
    ensure!(
        output.status.success(),
        "{}",
        String::from_utf8_lossy(&output.stdout)
    );
    drop(disk);
    Ok(())
}
