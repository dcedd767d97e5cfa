//! Where the syncer's credentials are kept: a file of its own, or a Secret beside it.
//!
//! Invariant: what is saved replaces what was there as a whole, or not at all.

use std::io::Write as _;
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::PathBuf;

use anyhow::{Context, Result, anyhow};
use hanse_agent::Identity;
use hanse_client::{Api, Config, PatchKind, Resource};
use serde_json::{Value, json};

/// The place.
pub enum Keep {
    /// A file that only we may read.
    File(PathBuf),
    /// A Secret of the physical cluster.
    Secret {
        site: Api,
        namespace: String,
        name: String,
    },
}

/// What is kept: who we are and where the hub is.
#[derive(Clone)]
pub struct Kept {
    /// The inbox's URL.
    pub server: String,
    /// Name in the hub's certificate, when it is not the URL's host.
    pub server_name: Option<String>,
    /// Who signs the hub's certificate (PEM).
    pub ca: String,
    /// Our key and certificate.
    pub identity: Identity,
}

impl Kept {
    /// Takes the hub from a bootstrap configuration.
    pub fn new(bootstrap: &Config, identity: Identity) -> Self {
        Self {
            server: bootstrap.server.clone(),
            server_name: bootstrap.server_name.clone(),
            ca: String::from_utf8_lossy(&bootstrap.ca).into_owned(),
            identity,
        }
    }

    /// The hub, with our certificate.
    pub fn config(&self) -> Config {
        Config {
            server: self.server.clone(),
            server_name: self.server_name.clone(),
            ca: self.ca.clone().into_bytes(),
            certificate: self.identity.certificate.clone().into_bytes(),
            key: self.identity.key.clone().into_bytes(),
            ..Config::default()
        }
    }

    fn to_json(&self) -> Value {
        json!({
            "server": self.server, "serverName": self.server_name, "ca": self.ca,
            "key": self.identity.key, "certificate": self.identity.certificate,
        })
    }

    fn from_json(value: &Value) -> Result<Self> {
        let text = |key: &str| {
            let text = value[key].as_str().map(str::to_owned);
            text.ok_or_else(|| anyhow!("the kept credentials lack {key:?}"))
        };
        Ok(Self {
            server: text("server")?,
            server_name: value["serverName"].as_str().map(str::to_owned),
            ca: text("ca")?,
            identity: Identity {
                key: text("key")?,
                certificate: text("certificate")?,
            },
        })
    }
}

fn secrets() -> Resource {
    Resource::new("", "v1", "secrets")
}

impl Keep {
    /// Keeps in a file.
    pub fn file(path: PathBuf) -> Self {
        Self::File(path)
    }

    /// Keeps in a Secret, named as `namespace/name`.
    pub fn secret(site: Api, place: &str) -> Result<Self> {
        let (namespace, name) = place
            .split_once('/')
            .ok_or_else(|| anyhow!("--identity-secret {place:?} is not NAMESPACE/NAME"))?;
        Ok(Self::Secret {
            site,
            namespace: namespace.into(),
            name: name.into(),
        })
    }

    /// What is kept, if anything.
    pub async fn load(&self) -> Result<Option<Kept>> {
        match self {
            Self::File(path) => match std::fs::read(path) {
                Ok(bytes) => {
                    let value = serde_json::from_slice(&bytes)
                        .with_context(|| format!("{}", path.display()))?;
                    Kept::from_json(&value).map(Some)
                }
                Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(None),
                Err(error) => Err(error).with_context(|| format!("{}", path.display())),
            },
            Self::Secret {
                site,
                namespace,
                name,
            } => {
                let Some(secret) = site.find(&secrets(), namespace, name).await? else {
                    return Ok(None);
                };
                let packed = secret["data"]["identity"].as_str().unwrap_or_default();
                let bytes = hanse_client::config::unpack(packed)?;
                let value = serde_json::from_slice(&bytes).context("the identity Secret")?;
                Kept::from_json(&value).map(Some)
            }
        }
    }

    /// Keeps.
    pub async fn save(&self, kept: &Kept) -> Result<()> {
        let text = kept.to_json().to_string();
        match self {
            Self::File(path) => {
                let next = path.with_extension("next");
                let mut file = std::fs::OpenOptions::new()
                    .write(true)
                    .create(true)
                    .truncate(true)
                    .mode(0o600)
                    .open(&next)
                    .with_context(|| format!("{}", next.display()))?;
                file.write_all(text.as_bytes())?;
                file.sync_all()?;
                std::fs::rename(&next, path).with_context(|| format!("{}", path.display()))
            }
            Self::Secret {
                site,
                namespace,
                name,
            } => {
                let patch = json!({"stringData": {"identity": text}});
                let at = (namespace.as_str(), name.as_str(), "");
                match site.patch(&secrets(), at, PatchKind::Merge, &patch).await {
                    Err(error) if error.is_not_found() => {
                        let secret = json!({
                            "apiVersion": "v1", "kind": "Secret", "type": "Opaque",
                            "metadata": {"namespace": namespace, "name": name},
                            "stringData": {"identity": text},
                        });
                        site.create(&secrets(), &secret).await?;
                        Ok(())
                    }
                    other => other.map(|_| ()).map_err(Into::into),
                }
            }
        }
    }
}
