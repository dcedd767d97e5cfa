//! `hanse dump`, `restore` and `verify`: the way out of an instance, the way back, and the question
//! whether all is well.
//!
//! Start at [`dump`], [`restore`] or [`verify`]. The server, or a store that no server has open,
//! gives the lines; Secrets are sealed with a key that the server never sees, and the lines are
//! sealed anew. The invariant: nothing is written of a dump that is not whole. The form is in
//! `docs/dump-format.md`; the objects' own lines are read and written in `hanse_cache::dump`.

mod dump;
mod restore;
mod verify;

use std::fs::File;
use std::io::{BufRead, BufReader};
use std::path::Path;
use std::sync::Arc;

use anyhow::{Context, Result, anyhow, ensure};
use aws_lc_rs::aead::{AES_256_GCM, Aad, Nonce, RandomizedNonceKey};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use hanse_cache::dump::{Seal, key_of};
use hanse_client::http::Http;
use hanse_json::{Value, json};
use hanse_seams::Seams;
use hanse_store::Version;

use crate::flags::ServerFlags;

pub use dump::dump;
pub use restore::restore;
pub use verify::verify;

/// The version of the dump's form.
const FORMAT: u64 = 1;
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
                *format == FORMAT,
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
