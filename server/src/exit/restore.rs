//! `hanse restore`: a dump comes back.
//!
//! Start at [`restore`]. The dump is read twice: once to believe all of it, once to write it, in
//! batches that are one commit each. The invariant: nothing that is there is overwritten.

use std::fs::File;
use std::sync::Arc;

use anyhow::{Context, Result, bail, ensure};
use aws_lc_rs::aead::RandomizedNonceKey;
use hanse_cache::Hub;
use hanse_cache::dump::from_line;
use hanse_client::http::Http;
use hanse_client::{Request, Transport};
use hanse_json::Value;
use hanse_seams::Seams;

use super::{connect, key, read, unsealed};
use crate::assemble;
use crate::flags::{EncryptionFlags, RestoreFlags};
use crate::storage::{self, Storage};

/// Objects of one commit of a restore, and their bytes: below what every engine takes.
const BATCH_OBJECTS: usize = 200;
/// See [`BATCH_OBJECTS`]; a single larger object goes alone.
const BATCH_BYTES: usize = 1 << 20;

/// Where the batches of a restore go.
enum Target {
    Store(Hub),
    Server(Arc<Http>),
}

impl Target {
    async fn write(&self, batch: &mut Batch) -> Result<usize> {
        let Batch { lines, bytes, .. } = std::mem::take(batch);
        if lines.is_empty() {
            return Ok(0);
        }
        match self {
            Self::Store(hub) => {
                let objects: Result<Vec<_>, _> = lines.iter().map(|line| from_line(line)).collect();
                Ok(hub.restore(objects?).await?)
            }
            Self::Server(server) => {
                let mut body = Vec::with_capacity(bytes + lines.len());
                lines.iter().for_each(|line| {
                    body.extend_from_slice(line);
                    body.push(b'\n');
                });
                let mut request = Request::new(http::Method::POST, "/services/restore");
                request.content_type = "application/x-ndjson";
                request.body = body.into();
                let answer: Value = serde_json::from_slice(&server.send(request).await?)?;
                let written = answer["written"].as_u64().context("no number of objects")?;
                Ok(usize::try_from(written)?)
            }
        }
    }
}

#[derive(Default)]
struct Batch {
    lines: Vec<Vec<u8>>,
    bytes: usize,
}

/// Brings a dump back.
pub async fn restore(flags: &RestoreFlags, seams: &Seams) -> Result<()> {
    let key = flags.key_file.as_deref().map(key).transpose()?;
    let checked = read(&flags.dump, async |line| {
        from_line(&hanse_json::to_vec(&unsealed(
            serde_json::from_slice(line)?,
            key.as_ref(),
        )?))?;
        Ok(())
    });
    let reader = checked
        .await
        .with_context(|| flags.dump.display().to_string())?;
    let whole = reader.header["scope"] == "*";
    match &flags.root_directory {
        Some(root) if whole => {
            let (unfinished, data) = (root.join("data.restoring"), root.join("data"));
            ensure!(
                !data.exists(),
                "{} is there: a restore overwrites nothing",
                data.display()
            );
            if unfinished.exists() {
                std::fs::remove_dir_all(&unfinished)?;
            }
            let mut config = hanse_store_redb::Config::new(&unfinished);
            config.begins_at = reader.version()?.revision();
            let encryption = EncryptionFlags::of(flags.encryption_provider_config.as_ref());
            let Storage { store, engine, .. } = storage::open(&config, &encryption, seams).await?;
            let hub = Hub::open(store, assemble::memory()).await?;
            let target = Target::Store(hub);
            let written = write(flags, key.as_ref(), &target).await?;
            drop(target);
            engine.close().await;
            drop(engine);
            std::fs::rename(&unfinished, &data)?;
            File::open(root)?.sync_all()?;
            eprintln!("{written} objects in {}", data.display());
        }
        Some(_) => bail!("this is a subtree: restore it into a running server (--kubeconfig)"),
        None if whole => bail!("this is a whole instance: restore it with --root-directory"),
        None => {
            let server = connect(&flags.server, seams)?;
            same_instance(&server, &reader.header).await?;
            let written = write(flags, key.as_ref(), &Target::Server(server)).await?;
            eprintln!("{written} objects written, the others were there already");
        }
    }
    Ok(())
}

async fn write(
    flags: &RestoreFlags,
    key: Option<&RandomizedNonceKey>,
    target: &Target,
) -> Result<usize> {
    let (mut batch, mut written) = (Batch::default(), 0);
    let reading = read(&flags.dump, async |line| {
        let value = unsealed(serde_json::from_slice(line)?, key)?;
        let line = hanse_json::to_vec(&value);
        let full = batch.lines.len() >= BATCH_OBJECTS || batch.bytes + line.len() > BATCH_BYTES;
        if full {
            written += target.write(&mut batch).await?;
        }
        batch.bytes += line.len();
        batch.lines.push(line);
        Ok(())
    });
    reading.await?;
    Ok(written + target.write(&mut batch).await?)
}

/// A subtree's bindings name exports by identities of the instance from which it came.
async fn same_instance(server: &Arc<Http>, header: &Value) -> Result<()> {
    let path = "/clusters/root/apis/core.kcp.io/v1alpha1/logicalclusters/cluster";
    let root: Value = serde_json::from_slice(&server.send(Request::get(path)).await?)?;
    ensure!(
        root["metadata"]["uid"] == header["instance"],
        "the dump came from another instance: a subtree goes back into its own, or into one that \
         was restored from a dump of it"
    );
    Ok(())
}
