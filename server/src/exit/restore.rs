//! `hanse restore`: a dump comes back.
//!
//! Start at [`restore`]. The dump is read twice: once to believe all of it, once to write it, in
//! batches that are one commit each. The invariant: nothing that is there is overwritten.

use std::collections::BTreeMap;
use std::fs::File;
use std::sync::Arc;

use anyhow::{Context, Result, bail, ensure};
use aws_lc_rs::aead::RandomizedNonceKey;
use hanse_cache::dump::from_line;
use hanse_cache::{CLUSTER_ANNOTATION, Hub};
use hanse_client::http::Http;
use hanse_client::{Request, Transport};
use hanse_json::Value;
use hanse_seams::Seams;
use hanse_tenancy::moved::{Move, Place, Subtree, Wanted};

use super::{Reader, connect, key, read, unsealed};
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
            let written = write(flags, key.as_ref(), None, &target).await?;
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
            let to = match &flags.as_path {
                Some(path) => Some(moving(flags, path, key.as_ref(), &server, &reader).await?),
                None => {
                    same_instance(&server, &reader.header).await?;
                    None
                }
            };
            let target = Target::Server(server);
            let written = write(flags, key.as_ref(), to.as_ref(), &target).await?;
            eprintln!("{written} objects written, the others were there already");
        }
    }
    Ok(())
}

async fn write(
    flags: &RestoreFlags,
    key: Option<&RandomizedNonceKey>,
    to: Option<&Move>,
    target: &Target,
) -> Result<usize> {
    let (mut batch, mut written) = (Batch::default(), 0);
    let reading = read(&flags.dump, async |line| {
        let mut value = unsealed(serde_json::from_slice(line)?, key)?;
        if to.is_some_and(|to| !to.line(&mut value)) {
            return Ok(());
        }
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

async fn get(server: &Arc<Http>, path: &str) -> Result<Value> {
    Ok(serde_json::from_slice(
        &server.send(Request::get(path)).await?,
    )?)
}

const LOGICAL_CLUSTER: &str = "apis/core.kcp.io/v1alpha1/logicalclusters/cluster";

/// How the subtree is renamed to stand under a path of this server.
async fn moving(
    flags: &RestoreFlags,
    path: &str,
    key: Option<&RandomizedNonceKey>,
    server: &Arc<Http>,
    reader: &Reader,
) -> Result<Move> {
    let mut subtree = Subtree::default();
    let reading = read(&flags.dump, async |line| {
        subtree.see(&unsealed(serde_json::from_slice(line)?, key)?);
        Ok(())
    });
    reading.await?;
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    let from = text(&reader.header["scope"]);
    let (above, _) = path
        .rsplit_once(':')
        .context("--as: a path like root:team is needed")?;
    let parent = get(server, &format!("/clusters/{above}/{LOGICAL_CLUSTER}")).await;
    let parent = parent.with_context(|| format!("--as: the workspace {above}"))?;
    let root = get(server, &format!("/clusters/root/{LOGICAL_CLUSTER}")).await?;
    let mut identities = BTreeMap::new();
    for Wanted {
        path,
        name,
        identity,
    } in subtree.wanted(&from)
    {
        let at = format!("/clusters/{path}/apis/apis.kcp.io/v1alpha2/apiexports/{name}");
        let export = get(server, &at).await;
        let export = export.with_context(|| format!("the subtree is bound to {path}:{name}"))?;
        identities.insert(identity.clone(), text(&export["status"]["identityHash"]));
    }
    let url = text(&root["status"]["URL"]);
    let place = Place {
        to: path.to_owned(),
        parent: text(&parent["metadata"]["annotations"][CLUSTER_ANNOTATION]),
        url: url
            .strip_suffix("/clusters/root")
            .unwrap_or(&url)
            .to_owned(),
        instance: text(&root["metadata"]["uid"]),
        from,
    };
    Ok(subtree.to(place, identities))
}

/// A subtree's bindings name exports by identities of the instance from which it came.
async fn same_instance(server: &Arc<Http>, header: &Value) -> Result<()> {
    let root = get(server, &format!("/clusters/root/{LOGICAL_CLUSTER}")).await?;
    ensure!(
        root["metadata"]["uid"] == header["instance"],
        "the dump came from another instance: a subtree goes back into its own, into one that was \
         restored from a dump of it, or under a path that --as names"
    );
    Ok(())
}
