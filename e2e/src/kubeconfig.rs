//! Kubeconfig files: reads what kubectl reads, and writes one for a cluster that a test started.

use std::path::Path;

use anyhow::{Context, Result};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde::Deserialize;

/// How to reach a server and as whom.
#[derive(Clone, Debug, Default)]
pub struct Access {
    /// `https://host:port` and maybe a path.
    pub server: String,
    /// The certificates that the server's is checked with.
    pub ca_pem: String,
    /// A client certificate and its key.
    pub client: Option<(String, String)>,
    /// A bearer token.
    pub token: Option<String>,
}

#[derive(Deserialize)]
struct File {
    #[serde(rename = "current-context", default)]
    current_context: String,
    contexts: Vec<NamedContext>,
    clusters: Vec<NamedCluster>,
    users: Vec<NamedUser>,
}

#[derive(Deserialize)]
struct NamedContext {
    name: String,
    context: Context_,
}

#[derive(Deserialize)]
struct Context_ {
    cluster: String,
    user: String,
}

#[derive(Deserialize)]
struct NamedCluster {
    name: String,
    cluster: Cluster,
}

#[derive(Deserialize)]
#[serde(rename_all = "kebab-case")]
struct Cluster {
    server: String,
    certificate_authority_data: Option<String>,
    certificate_authority: Option<String>,
}

#[derive(Deserialize)]
struct NamedUser {
    name: String,
    user: User,
}

#[derive(Deserialize)]
#[serde(rename_all = "kebab-case")]
struct User {
    client_certificate_data: Option<String>,
    client_key_data: Option<String>,
    client_certificate: Option<String>,
    client_key: Option<String>,
    token: Option<String>,
}

impl Access {
    /// Reads a kubeconfig; the current context unless one is named.
    pub fn read(path: &Path, context: Option<&str>) -> Result<Access> {
        let text = std::fs::read_to_string(path)
            .with_context(|| format!("cannot read {}", path.display()))?;
        let file: File = serde_saphyr::from_str(&text)
            .with_context(|| format!("{} is no kubeconfig", path.display()))?;
        let wanted = context.unwrap_or(&file.current_context);
        let context = file.contexts.iter().find(|entry| entry.name == wanted);
        let context = &context
            .with_context(|| format!("no context {wanted:?}"))?
            .context;
        let cluster = file
            .clusters
            .iter()
            .find(|entry| entry.name == context.cluster);
        let cluster = &cluster
            .with_context(|| format!("no cluster {:?}", context.cluster))?
            .cluster;
        let user = file.users.iter().find(|entry| entry.name == context.user);
        let user = &user
            .with_context(|| format!("no user {:?}", context.user))?
            .user;
        let dir = path.parent().unwrap_or(Path::new("."));
        let pem = |data: &Option<String>, file: &Option<String>| -> Result<Option<String>> {
            match (data, file) {
                (Some(data), _) => Ok(Some(String::from_utf8(STANDARD.decode(data.trim())?)?)),
                (None, Some(file)) => Ok(Some(std::fs::read_to_string(dir.join(file))?)),
                (None, None) => Ok(None),
            }
        };
        let certificate = pem(&user.client_certificate_data, &user.client_certificate)?;
        let key = pem(&user.client_key_data, &user.client_key)?;
        Ok(Access {
            server: cluster.server.clone(),
            ca_pem: pem(
                &cluster.certificate_authority_data,
                &cluster.certificate_authority,
            )?
            .unwrap_or_default(),
            client: certificate.zip(key),
            token: user.token.clone(),
        })
    }

    /// Writes a kubeconfig with one context of this name.
    pub fn write(&self, path: &Path, name: &str) -> Result<()> {
        let mut user = String::new();
        if let Some((certificate, key)) = &self.client {
            user.push_str(&format!(
                "    client-certificate-data: {}\n    client-key-data: {}\n",
                STANDARD.encode(certificate),
                STANDARD.encode(key)
            ));
        }
        if let Some(token) = &self.token {
            user.push_str(&format!("    token: {token}\n"));
        }
        if user.is_empty() {
            user.push_str("    {}\n");
        }
        let text = format!(
            "apiVersion: v1\nkind: Config\ncurrent-context: {name}\nclusters:\n- name: {name}\n  \
             cluster:\n    server: {}\n    certificate-authority-data: {}\ncontexts:\n- name: \
             {name}\n  context:\n    cluster: {name}\n    user: {name}\nusers:\n- name: {name}\n  \
             user:\n{user}",
            self.server,
            STANDARD.encode(&self.ca_pem)
        );
        std::fs::write(path, text).with_context(|| format!("cannot write {}", path.display()))
    }

    /// The same server asked as somebody else, by token; by nobody with `None`.
    pub fn with_token(&self, token: Option<&str>) -> Access {
        Access {
            client: None,
            token: token.map(str::to_owned),
            ..self.clone()
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_reads_again() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("kubeconfig");
        let access = Access {
            server: "https://127.0.0.1:6443/clusters/root".to_owned(),
            ca_pem: "ca".to_owned(),
            client: Some(("certificate".to_owned(), "key".to_owned())),
            token: None,
        };
        access.write(&path, "here").unwrap();
        let read = Access::read(&path, None).unwrap();
        assert_eq!(
            (read.server, read.ca_pem),
            (access.server.clone(), access.ca_pem.clone())
        );
        assert_eq!(read.client, access.client);
        access.with_token(Some("t")).write(&path, "there").unwrap();
        let read = Access::read(&path, Some("there")).unwrap();
        assert_eq!((read.token.as_deref(), read.client), (Some("t"), None));
    }
}
