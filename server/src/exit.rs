//! `hanse dump`, `restore` and `verify`: the way out of an instance, the way back, and the question
//! whether all is well.
//!
//! Start at [`dump`]. The server writes the lines and their seals; here they are checked as they
//! come, Secrets are sealed with a key that the server never sees, and the lines are sealed anew.
//! A restore reads the dump twice: once to believe all of it, once to write it, in batches that are
//! one commit each. The invariant: nothing is written of a dump that is not whole. The form is in
//! `docs/dump-format.md`; the objects' own lines are read and written in `hanse_cache::dump`.

use std::fs::File;
use std::io::{BufRead, BufReader, Write};
use std::path::Path;
use std::sync::Arc;

use anyhow::{Context, Result, anyhow, bail, ensure};
use aws_lc_rs::aead::{AES_256_GCM, Aad, Nonce, RandomizedNonceKey};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use hanse_cache::Hub;
use hanse_cache::dump::{Seal, from_line, key_of};
use hanse_client::http::Http;
use hanse_client::{Request, Transport};
use hanse_json::{Value, json};
use hanse_seams::Seams;
use hanse_store::Version;
use hanse_store_redb::RedbStore;
use hanse_tenancy::exit;

use crate::assemble;
use crate::flags::{DumpFlags, EncryptionFlags, RestoreFlags, Secrets, ServerFlags, VerifyFlags};
use crate::storage::{self, Storage};

/// Objects of one commit of a restore, and their bytes: below what every engine takes.
const BATCH_OBJECTS: usize = 200;
/// See [`BATCH_OBJECTS`]; a single larger object goes alone.
const BATCH_BYTES: usize = 1 << 20;
/// Bytes of the longest line: an object of 3 MiB, sealed in base64, and what stands around it.
const LINE_BYTES_MAX: usize = 8 << 20;
/// Bytes of a nonce of AES-GCM.
const NONCE_BYTES: usize = 12;

fn connect(flags: &ServerFlags, seams: &Seams) -> Result<Arc<Http>> {
    let file = flags.kubeconfig.as_ref();
    let file = file.context("name a running server with --kubeconfig, or a --root-directory")?;
    let mut config = hanse_client::Config::from_file(file, Some(&flags.context))
        .with_context(|| format!("{} (context {})", file.display(), flags.context))?;
    if let Some((base, _)) = config.server.split_once("/clusters/") {
        config.server = base.to_owned();
    }
    Ok(Http::new(config, seams.clone())?)
}

// === dump ===

/// Writes a dump.
pub async fn dump(flags: &DumpFlags, seams: &Seams) -> Result<()> {
    let key = match (flags.secrets, &flags.key_file) {
        (Secrets::Sealed, Some(file)) => Some(key(file)?),
        (Secrets::Sealed, None) => bail!("--secrets=sealed needs a --key-file"),
        _ => None,
    };
    let scope = flags.workspace.as_deref().unwrap_or("*");
    let mut request = Request::get(format!("/services/dump/clusters/{scope}"));
    request.accept = "*/*";
    if flags.secrets != Secrets::Omit {
        request = request.with("secrets", "true");
    }
    let mut pieces = connect(&flags.server, seams)?.open(request).await?;
    let mut out: Box<dyn Write> = match &flags.output {
        Some(path) => Box::new(File::create(path).with_context(|| path.display().to_string())?),
        None => Box::new(std::io::stdout().lock()),
    };
    let (mut reader, mut seal) = (Reader::default(), Seal::default());
    let (mut rest, mut text) = (Vec::new(), Vec::new());
    while let Some(piece) = pieces.next().await {
        rest.extend_from_slice(&piece?);
        let mut lines = rest.split(|byte| *byte == b'\n').peekable();
        let mut taken = 0;
        while let Some(line) = lines.next()
            && lines.peek().is_some()
        {
            taken += line.len() + 1;
            let content = sealed(reader.line(line)?, key.as_ref())?;
            seal.write(&content, &mut text);
        }
        rest.drain(..taken);
        out.write_all(&text)?;
        text.clear();
    }
    ensure!(
        rest.is_empty() && reader.ended,
        "the server's answer ends before the dump does"
    );
    out.flush()?;
    eprintln!(
        "{} objects as of version {}",
        reader.objects,
        reader.version()?
    );
    if flags.secrets == Secrets::Omit {
        eprintln!("Secrets were left out (--secrets): exports need theirs to be restored.");
    }
    Ok(())
}

/// A line as it is written: Secrets and the header's word on them changed where there is a key.
fn sealed(line: &[u8], key: Option<&RandomizedNonceKey>) -> Result<Vec<u8>> {
    let Some(key) = key else {
        return Ok(line.to_vec());
    };
    let mut value: Value = serde_json::from_slice(line)?;
    if value.get("dump").is_some() {
        value["secrets"] = json!("sealed");
        return Ok(hanse_json::to_vec(&value));
    }
    if value["group"] != "" || value["resource"] != "secrets" {
        return Ok(line.to_vec());
    }
    let object = value.as_object_mut().and_then(|line| line.remove("object"));
    let mut bytes = hanse_json::to_vec(&object.context("a Secret without its object")?);
    let aad = key_of(&value)?.path();
    let nonce = key.seal_in_place_append_tag(Aad::from(aad.as_bytes()), &mut bytes);
    let nonce = nonce.map_err(|_| anyhow!("cannot encrypt"))?;
    let whole = [&nonce.as_ref()[..], &bytes].concat();
    value["sealed"] = json!(STANDARD.encode(whole));
    Ok(hanse_json::to_vec(&value))
}

/// A line as it was before it was sealed.
fn unsealed(mut value: Value, key: Option<&RandomizedNonceKey>) -> Result<Value> {
    let Some(sealed) = value.as_object_mut().and_then(|line| line.remove("sealed")) else {
        return Ok(value);
    };
    let name = key_of(&value)?;
    let key = key.with_context(|| format!("{name} is sealed: give the --key-file"))?;
    let bytes = STANDARD.decode(sealed.as_str().unwrap_or_default())?;
    let (nonce, sealed) = bytes
        .split_at_checked(NONCE_BYTES)
        .context("a seal too short")?;
    let mut sealed = sealed.to_vec();
    let nonce = Nonce::try_assume_unique_for_key(nonce).map_err(|_| anyhow!("no nonce"))?;
    let plain = key.open_in_place(nonce, Aad::from(name.path().as_bytes()), &mut sealed);
    let plain = plain.map_err(|_| anyhow!("{name} was sealed with another key"))?;
    value["object"] = serde_json::from_slice(plain)?;
    Ok(value)
}

fn key(file: &Path) -> Result<RandomizedNonceKey> {
    let text = std::fs::read_to_string(file).with_context(|| file.display().to_string())?;
    let bytes = STANDARD
        .decode(text.trim())
        .ok()
        .filter(|bytes| bytes.len() == 32);
    let bytes = bytes.with_context(|| format!("{} holds no 32 bytes in base64", file.display()))?;
    RandomizedNonceKey::new(&AES_256_GCM, &bytes).map_err(|_| anyhow!("no key"))
}

// === reading a dump ===

/// Checks the lines of a dump in their order.
#[derive(Default)]
struct Reader {
    seal: Seal,
    header: Value,
    objects: u64,
    ended: bool,
}

impl Reader {
    /// Checks a line with its seal and answers what it says.
    fn line<'l>(&mut self, line: &'l [u8]) -> Result<&'l [u8]> {
        ensure!(!self.ended, "lines follow the last one");
        let content = self.seal.read(line)?;
        if self.header.is_null() {
            self.header = serde_json::from_slice(content)?;
            ensure!(self.header["dump"] == "hanse", "this is no dump");
            let format = &self.header["format"];
            ensure!(
                format == 1,
                "a dump of format {format}; this program reads 1"
            );
        } else if content.starts_with(b"{\"end\"") {
            let end: Value = serde_json::from_slice(content)?;
            ensure!(end["objects"] == self.objects, "objects are missing: {end}");
            self.ended = true;
        } else {
            self.objects += 1;
        }
        Ok(content)
    }

    fn version(&self) -> Result<Version> {
        let version = self.header["version"]
            .as_str()
            .and_then(|text| text.parse().ok());
        Ok(Version(version.context("a dump without its version")?))
    }
}

/// Reads a whole dump, line by line; `each` gets what the object lines say.
async fn read(path: &Path, mut each: impl AsyncFnMut(&[u8]) -> Result<()>) -> Result<Reader> {
    let file = File::open(path).with_context(|| path.display().to_string())?;
    let mut file = BufReader::new(file);
    let (mut reader, mut line) = (Reader::default(), Vec::new());
    loop {
        line.clear();
        let length =
            std::io::Read::take(&mut file, LINE_BYTES_MAX as u64).read_until(b'\n', &mut line)?;
        if length == 0 {
            break;
        }
        let line = line
            .strip_suffix(b"\n")
            .context("a line without an end: cut off, or too long")?;
        let before = reader.objects;
        let content = reader.line(line)?;
        if reader.objects > before {
            each(content).await?;
        }
    }
    ensure!(reader.ended, "the dump is cut off");
    Ok(reader)
}

// === restore ===

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

// === verify ===

/// Looks at a store, a server or a dump; an error when anything is broken.
pub async fn verify(flags: &VerifyFlags, seams: &Seams) -> Result<()> {
    if let Some(path) = &flags.dump {
        let checked = read(path, async |line| {
            let value: Value = serde_json::from_slice(line)?;
            if value.get("sealed").is_none() {
                from_line(line)?;
            }
            Ok(())
        });
        let reader = checked.await.with_context(|| path.display().to_string())?;
        println!(
            "{} objects as of version {}: whole",
            reader.objects,
            reader.version()?
        );
        return Ok(());
    }
    let report = match &flags.root_directory {
        Some(root) => {
            let encryption = EncryptionFlags::of(flags.encryption_provider_config.as_ref());
            verify_store(root, &encryption, seams).await?
        }
        None => {
            let server = connect(&flags.server, seams)?;
            serde_json::from_slice(&server.send(Request::get("/services/verify")).await?)?
        }
    };
    let findings = report["findings"]
        .as_array()
        .context("no findings in the answer")?;
    for finding in findings {
        println!("{}", finding.as_str().unwrap_or_default());
    }
    let (keys, records) = (&report["keys"], &report["records"]);
    println!(
        "{keys} keys, {records} records, {} findings",
        findings.len()
    );
    ensure!(findings.is_empty(), "the store is broken");
    Ok(())
}

async fn verify_store(root: &Path, encryption: &EncryptionFlags, seams: &Seams) -> Result<Value> {
    let data = root.join("data");
    ensure!(
        data.join("hanse.redb").exists(),
        "{} holds no store",
        data.display()
    );
    let config = hanse_store_redb::Config::new(&data);
    let mut findings = Vec::new();
    if !RedbStore::check_pages(&config)? {
        findings.push("pages of the file are not as they were written".to_owned());
    }
    let Storage { store, engine, .. } = storage::open(&config, encryption, seams).await?;
    let mut verified = match Hub::open(store.clone(), assemble::memory()).await {
        Ok(hub) => {
            let mut verified = hub.verify().await?;
            verified.findings.extend(exit::verify(&hub));
            verified
        }
        Err(error) => {
            // Objects that cannot be read: the engine alone still names all of them.
            findings.push(error.to_string());
            store.verify().await?
        }
    };
    engine.close().await;
    findings.append(&mut verified.findings);
    Ok(json!({"keys": verified.keys, "records": verified.records, "findings": findings}))
}
