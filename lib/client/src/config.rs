//! Where a server is and who we are there: kubeconfig files and the in-cluster account.
//!
//! Invariant: what is asked for and not supported (exec plugins, passwords, skipping the
//! verification of a server) is refused by name, never ignored.

use std::path::{Path, PathBuf};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde::Deserialize;

use crate::error::{Error, Result};

/// How to reach one server.
#[derive(Clone, Debug, Default)]
pub struct Config {
    /// The server's URL, with the path below which its API stands.
    pub server: String,
    /// Name to expect in the server's certificate, when it is not the URL's host.
    pub server_name: Option<String>,
    /// Certificates (PEM) that sign the server's.
    pub ca: Vec<u8>,
    /// Our certificate chain (PEM).
    pub certificate: Vec<u8>,
    /// Our private key (PEM).
    pub key: Vec<u8>,
    /// Our token.
    pub token: Option<String>,
    /// A file that holds our token; it is read again now and then.
    pub token_file: Option<PathBuf>,
    /// Namespace of the context.
    pub namespace: String,
}

#[derive(Deserialize, Default)]
#[serde(default, rename_all = "kebab-case")]
struct File {
    clusters: Vec<Named>,
    users: Vec<Named>,
    contexts: Vec<Named>,
    current_context: String,
}

#[derive(Deserialize, Default)]
#[serde(default)]
struct Named {
    name: String,
    cluster: Cluster,
    user: User,
    context: Context,
}

#[derive(Deserialize, Default, Clone)]
#[serde(default, rename_all = "kebab-case")]
struct Cluster {
    server: String,
    certificate_authority: String,
    certificate_authority_data: String,
    tls_server_name: Option<String>,
    insecure_skip_tls_verify: bool,
}

#[derive(Deserialize, Default, Clone)]
#[serde(default, rename_all = "kebab-case")]
struct User {
    client_certificate: String,
    client_certificate_data: String,
    client_key: String,
    client_key_data: String,
    token: Option<String>,
    #[serde(rename = "tokenFile")]
    token_file: Option<PathBuf>,
    username: Option<String>,
    exec: Option<serde_json::Value>,
    auth_provider: Option<serde_json::Value>,
}

#[derive(Deserialize, Default, Clone)]
#[serde(default)]
struct Context {
    cluster: String,
    user: String,
    namespace: String,
}

impl Config {
    /// Reads a kubeconfig file; the current context unless another is named.
    ///
    /// # Errors
    /// [`Error::Config`] that says what is missing or not supported.
    pub fn from_file(path: &Path, context: Option<&str>) -> Result<Self> {
        let text = std::fs::read_to_string(path)
            .map_err(|e| Error::Config(format!("{}: {e}", path.display())))?;
        let base = path.parent().unwrap_or(Path::new("."));
        Self::from_text(&text, base, context)
            .map_err(|e| Error::Config(format!("{}: {e}", path.display())))
    }

    /// Reads a kubeconfig; relative file names in it start at `base`.
    ///
    /// # Errors
    /// As [`Config::from_file`].
    pub fn from_text(text: &str, base: &Path, context: Option<&str>) -> Result<Self> {
        let file: File = serde_saphyr::from_str(text)
            .map_err(|e| Error::Config(format!("not a kubeconfig: {e}")))?;
        let wanted = context.unwrap_or(&file.current_context);
        let context = pick(&file.contexts, wanted, "context")?.context.clone();
        let cluster = pick(&file.clusters, &context.cluster, "cluster")?
            .cluster
            .clone();
        let user = file
            .users
            .iter()
            .find(|u| u.name == context.user)
            .map(|u| u.user.clone())
            .unwrap_or_default();
        refuse(&cluster, &user)?;
        Ok(Self {
            server: cluster.server.trim_end_matches('/').to_owned(),
            server_name: cluster.tls_server_name,
            ca: content(
                base,
                &cluster.certificate_authority,
                &cluster.certificate_authority_data,
            )?,
            certificate: content(
                base,
                &user.client_certificate,
                &user.client_certificate_data,
            )?,
            key: content(base, &user.client_key, &user.client_key_data)?,
            token: user.token.filter(|t| !t.is_empty()),
            token_file: user.token_file.map(|f| base.join(f)),
            namespace: context.namespace,
        })
    }

    /// The account that Kubernetes gives to a pod.
    ///
    /// # Errors
    /// [`Error::Config`] outside a cluster.
    pub fn in_cluster() -> Result<Self> {
        let dir = Path::new("/var/run/secrets/kubernetes.io/serviceaccount");
        let env = |key: &str| {
            std::env::var(key)
                .map_err(|_| Error::Config(format!("not in a cluster: {key} is not set")))
        };
        let (host, port) = (
            env("KUBERNETES_SERVICE_HOST")?,
            env("KUBERNETES_SERVICE_PORT")?,
        );
        let host = if host.contains(':') {
            format!("[{host}]")
        } else {
            host
        };
        let namespace = std::fs::read_to_string(dir.join("namespace")).unwrap_or_default();
        Ok(Self {
            server: format!("https://{host}:{port}"),
            ca: read(&dir.join("ca.crt"))?,
            token_file: Some(dir.join("token")),
            namespace,
            ..Self::default()
        })
    }
}

fn refuse(cluster: &Cluster, user: &User) -> Result<()> {
    let no = |what: &str| Err(Error::Config(format!("{what} is not supported")));
    if cluster.insecure_skip_tls_verify {
        return no("insecure-skip-tls-verify");
    }
    if user.exec.is_some() {
        return no("a credential plugin (exec)");
    }
    if user.auth_provider.is_some() {
        return no("auth-provider");
    }
    if user.username.is_some() {
        return no("a user name with a password");
    }
    Ok(())
}

fn pick<'a>(list: &'a [Named], name: &str, what: &str) -> Result<&'a Named> {
    list.iter()
        .find(|n| n.name == name)
        .ok_or_else(|| Error::Config(format!("there is no {what} {name:?}")))
}

fn content(base: &Path, file: &str, data: &str) -> Result<Vec<u8>> {
    if !data.is_empty() {
        return unpack(data);
    }
    if file.is_empty() {
        Ok(Vec::new())
    } else {
        read(&base.join(file))
    }
}

/// Reads base64 as it stands in kubeconfigs and Secrets.
///
/// # Errors
/// [`Error::Config`] when it is none.
pub fn unpack(data: &str) -> Result<Vec<u8>> {
    let packed: String = data.split_whitespace().collect();
    STANDARD
        .decode(packed)
        .map_err(|e| Error::Config(format!("inline data is not base64: {e}")))
}

fn read(path: &Path) -> Result<Vec<u8>> {
    std::fs::read(path).map_err(|e| Error::Config(format!("{}: {e}", path.display())))
}

#[cfg(test)]
mod tests {
    use super::*;

    const TEXT: &str = r#"
apiVersion: v1
kind: Config
current-context: b
clusters:
- {name: one, cluster: {server: "https://h:1/clusters/root/", certificate-authority-data: QUI=}}
contexts:
- {name: a, context: {cluster: none, user: u}}
- {name: b, context: {cluster: one, user: u, namespace: n}}
users:
- name: u
  user: {token: t}
- name: e
  user: {exec: {command: x}}
"#;

    #[test]
    fn reads_the_current_context() {
        let config = Config::from_text(TEXT, Path::new("/"), None).unwrap();
        assert_eq!(config.server, "https://h:1/clusters/root");
        assert_eq!(config.ca, b"AB");
        assert_eq!(config.token.as_deref(), Some("t"));
        assert_eq!(config.namespace, "n");
    }

    #[test]
    fn says_what_is_wrong() {
        let error = |text: &str, context| {
            Config::from_text(text, Path::new("/"), context)
                .unwrap_err()
                .to_string()
        };
        assert_eq!(error(TEXT, Some("a")), "there is no cluster \"none\"");
        assert_eq!(error(TEXT, Some("z")), "there is no context \"z\"");
        let exec = TEXT.replace("user: u, ", "user: e, ");
        assert_eq!(
            error(&exec, None),
            "a credential plugin (exec) is not supported"
        );
    }
}
