//! `hanse dump`: an instance, or a workspace with all below it, leaves.
//!
//! Start at [`dump`]. A server is asked for the lines of one version and goes on serving; without
//! one they are made here, of a root directory that no server has open. The invariant: what is
//! held in memory does not grow with the dump, but for a subtree of a root directory, which is put
//! in order in the memory of a whole hub.

use std::fs::File;
use std::io::Write;
use std::path::Path;
use std::sync::Arc;

use anyhow::{Context, Result, bail, ensure};
use aws_lc_rs::aead::RandomizedNonceKey;
use hanse_apis::kcp::{cluster, group};
use hanse_cache::dump::{Seal, to_line};
use hanse_cache::{Hub, Object, Stored};
use hanse_client::{Request, Transport};
use hanse_json::{Value, json};
use hanse_seams::Seams;
use hanse_store::Store;
use hanse_tenancy::exit;

use super::{FORMAT, Reader, connect, key, sealed};
use crate::assemble;
use crate::flags::{DumpFlags, EncryptionFlags, Secrets};
use crate::storage::{self, Storage};

/// Where the lines go: Secrets encrypted where there is a key, every line sealed.
struct Out {
    key: Option<RandomizedNonceKey>,
    seal: Seal,
    text: Vec<u8>,
    file: Box<dyn Write>,
}

impl Out {
    fn open(flags: &DumpFlags) -> Result<Self> {
        let key = match (flags.secrets, &flags.key_file) {
            (Secrets::Sealed, Some(file)) => Some(key(file)?),
            (Secrets::Sealed, None) => bail!("--secrets=sealed needs a --key-file"),
            _ => None,
        };
        let file: Box<dyn Write> = match &flags.output {
            Some(path) => Box::new(File::create(path).with_context(|| path.display().to_string())?),
            None => Box::new(std::io::stdout().lock()),
        };
        Ok(Self {
            key,
            seal: Seal::default(),
            text: Vec::new(),
            file,
        })
    }

    fn line(&mut self, line: &[u8]) -> Result<()> {
        let content = sealed(line, self.key.as_ref())?;
        self.seal.write(&content, &mut self.text);
        Ok(())
    }

    fn flush(&mut self) -> Result<()> {
        self.file.write_all(&self.text)?;
        self.text.clear();
        Ok(self.file.flush()?)
    }
}

/// Writes a dump.
pub async fn dump(flags: &DumpFlags, seams: &Seams) -> Result<()> {
    let mut out = Out::open(flags)?;
    let (objects, version) = match &flags.root_directory {
        Some(root) => of_directory(root, flags, seams, &mut out).await?,
        None => of_server(flags, seams, &mut out).await?,
    };
    out.flush()?;
    eprintln!("{objects} objects as of version {version}");
    if flags.secrets == Secrets::Omit {
        eprintln!("Secrets were left out (--secrets): exports need theirs to be restored.");
    }
    Ok(())
}

/// The lines of a server, checked as they come.
async fn of_server(flags: &DumpFlags, seams: &Seams, out: &mut Out) -> Result<(u64, u64)> {
    let scope = flags.workspace.as_deref().unwrap_or("*");
    let mut request = Request::get(format!("/services/dump/clusters/{scope}"));
    request.accept = "*/*";
    if flags.secrets != Secrets::Omit {
        request = request.with("secrets", "true");
    }
    let mut pieces = connect(&flags.server, seams)?.open(request).await?;
    let (mut reader, mut rest) = (Reader::default(), Vec::new());
    while let Some(piece) = pieces.next().await {
        rest.extend_from_slice(&piece?);
        let mut lines = rest.split(|byte| *byte == b'\n').peekable();
        let mut taken = 0;
        while let Some(line) = lines.next()
            && lines.peek().is_some()
        {
            taken += line.len() + 1;
            out.line(reader.line(line)?)?;
        }
        rest.drain(..taken);
        out.flush()?;
    }
    ensure!(
        rest.is_empty() && reader.ended,
        "the server's answer ends before the dump does"
    );
    Ok((reader.objects, reader.version()?.0))
}

// === without a server ===

async fn of_directory(
    root: &Path,
    flags: &DumpFlags,
    seams: &Seams,
    out: &mut Out,
) -> Result<(u64, u64)> {
    let data = root.join("data");
    ensure!(data.exists(), "{} holds no store", data.display());
    let config = hanse_store_redb::Config::new(&data);
    let encryption = EncryptionFlags::of(flags.encryption_provider_config.as_ref());
    let Storage { store, engine, .. } = storage::open(&config, &encryption, seams).await?;
    let mut lines = Lines {
        out,
        secrets: flags.secrets,
        objects: 0,
    };
    let version = match &flags.workspace {
        None => lines.instance(&store, seams).await?,
        Some(path) => lines.subtree(store, path, seams).await?,
    };
    let objects = lines.objects;
    let end = json!({"end": true, "objects": objects});
    out.line(&hanse_json::to_vec(&end))?;
    engine.close().await;
    Ok((objects, version))
}

/// The lines of a store.
struct Lines<'o> {
    out: &'o mut Out,
    secrets: Secrets,
    objects: u64,
}

impl Lines<'_> {
    /// All objects in the order of their keys: an instance comes back where nothing runs yet.
    async fn instance(&mut self, store: &Arc<dyn Store>, seams: &Seams) -> Result<u64> {
        let mut roots = Stored::of(Arc::clone(store), group::CORE, "logicalclusters");
        let mut instance = None;
        while let Some(page) = roots.next().await? {
            let root = page.iter().find(|o| &*o.key().cluster == cluster::ROOT);
            instance = root.map(|object| object.uid().to_owned()).or(instance);
        }
        let mut stored = Stored::all(Arc::clone(store));
        let version = stored.version();
        self.header(version, instance, "*", seams)?;
        while let Some(page) = stored.next().await? {
            page.iter().try_for_each(|object| self.object(object))?;
            self.out.flush()?;
        }
        Ok(version)
    }

    /// A workspace with all below it, in the order of a restore.
    async fn subtree(&mut self, store: Arc<dyn Store>, path: &str, seams: &Seams) -> Result<u64> {
        let hub = Hub::open(store, assemble::memory()).await?;
        let extent = exit::scope(&hub, path);
        let extent = extent.with_context(|| format!("there is no workspace {path}"))?;
        let snapshot = hub.snapshot(|key| extent.holds(key), |object| extent.rank(object));
        let snapshot = snapshot.await?;
        self.header(snapshot.version, exit::instance(&hub), path, seams)?;
        for object in &snapshot.objects {
            self.object(object)?;
            self.out.flush()?;
        }
        Ok(snapshot.version)
    }

    fn header(
        &mut self,
        version: u64,
        instance: Option<String>,
        scope: &str,
        seams: &Seams,
    ) -> Result<()> {
        let micros = i64::try_from(seams.clock.wall().as_micros()).unwrap_or(i64::MAX);
        let header: Value = json!({
            "dump": "hanse", "format": FORMAT, "version": version.to_string(),
            "instance": instance, "scope": scope,
            "secrets": if self.secrets == Secrets::Omit { "omitted" } else { "plain" },
            "time": hanse_wire::time::format(micros),
        });
        self.out.line(&hanse_json::to_vec(&header))
    }

    fn object(&mut self, object: &Object) -> Result<()> {
        let of = &object.key().resource;
        if self.secrets == Secrets::Omit && of.group().is_empty() && of.resource() == "secrets" {
            return Ok(());
        }
        self.objects += 1;
        self.out.line(&to_line(object))
    }
}
