//! From flags to what the server is built with: every value checked, every default resolved.
//!
//! Start at [`Config::from_flags`]. After it nothing asks a flag any more. The invariant: what is
//! asked for and not offered is an error here, at start-up, and never a silent nothing.

use std::net::{IpAddr, SocketAddr};
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context, Result, bail};

use crate::audit_log::Keep;
use crate::flags::{EncryptionFlags, StartFlags};
use crate::process;

/// Feature gates that kcp knows, with the value that this version has and keeps.
const GATES: &[(&str, bool)] = &[
    ("WorkspaceMounts", false),
    ("CacheAPIs", false),
    ("WorkspaceAuthentication", false),
    ("LogicalClusterMigration", false),
    ("EnableDeprecatedAPIExportVirtualWorkspacesUrls", false),
    ("GlobalServiceAccount", true),
    ("StorageVersionAPI", false),
];

/// Parts that may be left out, or added.
const BATTERIES: [&str; 4] = ["workspace-types", "admin", "user", "metrics-viewer"];
const BATTERIES_DEFAULT: [&str; 2] = ["workspace-types", "admin"];

/// A certificate and its key, as PEM.
pub struct OwnCertificate {
    /// The certificate with its chain.
    pub cert: String,
    /// The key.
    pub key: String,
}

/// What the server is built with.
pub struct Config {
    /// State, certificates, tokens.
    pub root: PathBuf,
    /// Where to listen.
    pub listen: SocketAddr,
    /// `host:port` by which clients reach the server.
    pub external_address: String,
    /// Names and addresses that the serving certificate must cover.
    pub serving_names: Vec<String>,
    /// A serving certificate that replaces the generated one.
    pub own_certificate: Option<OwnCertificate>,
    /// Further authorities of client certificates, PEM.
    pub client_ca: Option<String>,
    /// Static tokens, CSV.
    pub tokens: Option<String>,
    /// `admin.kubeconfig`.
    pub kubeconfig: PathBuf,
    /// `.admin-token-store`.
    pub token_store: PathBuf,
    /// Name of this shard.
    pub shard_name: String,
    /// URL for other shards.
    pub base_url: String,
    /// URL published in workspaces.
    pub external_url: String,
    /// URL published in endpoint slices.
    pub virtual_workspace_url: String,
    /// What comes with the server besides its bare self.
    pub batteries: Vec<String>,
    /// How many objects a workspace may hold unless it says otherwise; 0 is no limit.
    pub object_limit: u64,
    /// Who may have a home workspace.
    pub home_creator_groups: Vec<String>,
    /// How values lie at rest.
    pub encryption: EncryptionFlags,
    /// Where audit events go, and which.
    pub audit: Option<Audit>,
    /// How much may be going on at once.
    pub traffic: hanse_api::traffic::Config,
    /// Connections at once.
    pub connections: usize,
    /// Time between saying that the server stops and stopping.
    pub shutdown_delay: Duration,
}

impl Config {
    /// Checks flags and reads the files that they name.
    ///
    /// # Errors
    /// A text for people, naming the flag.
    pub fn from_flags(flags: StartFlags) -> Result<Self> {
        check_gates(&flags.feature_gates)?;
        flags.encryption.check()?;
        let batteries = batteries(&flags.batteries_included)?;
        if !flags.run_virtual_workspaces {
            bail!("--run-virtual-workspaces=false: an external server for them is not offered yet");
        }
        if !flags.enable_home_workspaces {
            bail!("--enable-home-workspaces=false is not offered yet");
        }
        let host = flags
            .external_hostname
            .clone()
            .unwrap_or_else(|| reachable(flags.bind_address));
        let external_address = match host.parse::<IpAddr>() {
            Ok(IpAddr::V6(address)) => format!("[{address}]:{}", flags.secure_port),
            _ => format!("{host}:{}", flags.secure_port),
        };
        let base_url = url(flags.shard_base_url, "shard-base-url")?
            .unwrap_or_else(|| format!("https://{external_address}"));
        let external_url = url(flags.shard_external_url, "shard-external-url")?;
        let views = url(
            flags.shard_virtual_workspace_url,
            "shard-virtual-workspace-url",
        )?;
        let keep = Keep {
            size: flags.audit_log_maxsize,
            age: flags.audit_log_maxage,
            backups: flags.audit_log_maxbackup,
        };
        let audit = audit(
            flags.audit_log_path,
            flags.audit_policy_file.as_deref(),
            keep,
        )?;
        let own_certificate = match (&flags.tls_cert_file, &flags.tls_private_key_file) {
            (Some(cert), Some(key)) => Some(OwnCertificate {
                cert: read(cert)?,
                key: read(key)?,
            }),
            _ => None,
        };
        Ok(Self {
            listen: SocketAddr::new(flags.bind_address, flags.secure_port),
            serving_names: serving_names(&host, flags.bind_address),
            external_address,
            own_certificate,
            client_ca: flags.client_ca_file.as_deref().map(read).transpose()?,
            tokens: flags.token_auth_file.as_deref().map(read).transpose()?,
            kubeconfig: flags.root_directory.join(&flags.kubeconfig_path),
            token_store: flags
                .root_directory
                .join(&flags.authentication_admin_token_path),
            root: flags.root_directory,
            shard_name: flags.shard_name,
            external_url: external_url.unwrap_or_else(|| base_url.clone()),
            virtual_workspace_url: views.unwrap_or_else(|| base_url.clone()),
            base_url,
            batteries,
            object_limit: flags.logical_cluster_total_object_limit,
            home_creator_groups: flags.home_workspaces_home_creator_groups,
            encryption: flags.encryption,
            audit,
            traffic: traffic(flags.max_requests_inflight, flags.memory_limit),
            connections: flags.max_connections,
            shutdown_delay: flags.shutdown_delay_duration,
        })
    }
}

fn traffic(requests: usize, memory: Option<u64>) -> hanse_api::traffic::Config {
    let allowed = memory.or_else(process::memory_allowed);
    hanse_api::traffic::Config {
        threads: crate::workers(),
        long_threads: crate::long_workers(),
        requests,
        memory_bytes: allowed,
        resident_bytes: process::resident_bytes,
    }
}

fn read(path: &Path) -> Result<String> {
    std::fs::read_to_string(path).with_context(|| format!("cannot read {}", path.display()))
}

fn url(given: Option<String>, flag: &str) -> Result<Option<String>> {
    let Some(url) = given else { return Ok(None) };
    if !url.starts_with("https://") {
        bail!("--{flag}={url}: an https:// URL is needed");
    }
    Ok(Some(url.trim_end_matches('/').to_owned()))
}

/// An address by which this machine itself reaches the server.
fn reachable(bind: IpAddr) -> String {
    match bind {
        IpAddr::V4(address) if address.is_unspecified() => "127.0.0.1".to_owned(),
        IpAddr::V6(address) if address.is_unspecified() => "::1".to_owned(),
        address => address.to_string(),
    }
}

fn serving_names(host: &str, bind: IpAddr) -> Vec<String> {
    let mut names = vec![host.to_owned()];
    if !bind.is_unspecified() {
        names.push(bind.to_string());
    }
    names.extend(["localhost", "127.0.0.1", "::1", "kubernetes.default.svc"].map(str::to_owned));
    names.sort_unstable();
    names.dedup();
    names
}

fn check_gates(given: &[String]) -> Result<()> {
    for gate in given.iter().filter(|gate| !gate.is_empty()) {
        let Some((name, value)) = gate.split_once('=') else {
            bail!("--feature-gates: missing bool value for {gate}");
        };
        let Some((_, fixed)) = GATES.iter().find(|(known, _)| *known == name) else {
            bail!("--feature-gates: unrecognized feature gate: {name}");
        };
        let value: bool = value
            .parse()
            .map_err(|_| anyhow::anyhow!("--feature-gates: invalid value of {name}: {value}"))?;
        if value != *fixed {
            bail!("--feature-gates: {name}={value} is not offered by this version");
        }
    }
    Ok(())
}

/// The batteries that are in: the list itself, or the default with `+` and `-` changes.
fn batteries(given: &[String]) -> Result<Vec<String>> {
    let changes = given
        .iter()
        .filter(|word| word.starts_with(['+', '-']))
        .count();
    if changes > 0 && changes < given.len() {
        bail!("--batteries-included: either all or none begin with + or -");
    }
    // An empty list is one empty word.
    let given: Vec<String> = given.iter().filter(|w| !w.is_empty()).cloned().collect();
    let mut chosen: Vec<String> = match changes {
        0 => given.clone(),
        _ => BATTERIES_DEFAULT.map(str::to_owned).to_vec(),
    };
    for word in &given {
        let name = word.trim_start_matches(['+', '-']);
        if !BATTERIES.contains(&name) {
            bail!("--batteries-included: unknown battery {name:?}");
        }
        match word.chars().next() {
            Some('+') => chosen.push(name.to_owned()),
            Some('-') => chosen.retain(|other| other != name),
            _ => {}
        }
    }
    let has = |name: &str| chosen.iter().any(|battery| battery == name);
    if has("user") && !has("admin") {
        bail!(
            "--batteries-included: battery user needs battery admin, which writes the kubeconfig"
        );
    }
    if chosen.iter().any(|battery| battery == "metrics-viewer") {
        bail!("--batteries-included: battery metrics-viewer is not offered yet");
    }
    Ok(chosen)
}

/// Where audit events go, which, and how much of them is kept.
#[derive(Debug)]
pub struct Audit {
    /// The file; `-` is standard output.
    pub path: PathBuf,
    /// The policy's text.
    pub policy: String,
    /// How much is kept.
    pub keep: Keep,
}

fn audit(path: Option<PathBuf>, policy: Option<&Path>, keep: Keep) -> Result<Option<Audit>> {
    match (path, policy) {
        (Some(path), Some(policy)) => Ok(Some(Audit {
            path,
            policy: read(policy)?,
            keep,
        })),
        (None, None) => Ok(None),
        (Some(_), None) => bail!("--audit-log-path needs --audit-policy-file"),
        (None, Some(_)) => bail!("--audit-policy-file needs --audit-log-path"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn batteries_are_a_list_or_changes_to_the_default() {
        let of = |words: &[&str]| {
            let words: Vec<String> = words.iter().map(|w| (*w).to_owned()).collect();
            batteries(&words)
        };
        assert_eq!(of(&["workspace-types", "admin"]).unwrap().len(), 2);
        assert_eq!(
            of(&["+user"]).unwrap(),
            ["workspace-types", "admin", "user"]
        );
        assert_eq!(of(&["-admin"]).unwrap(), ["workspace-types"]);
        assert_eq!(of(&["admin"]).unwrap(), ["admin"]);
        assert!(of(&[""]).unwrap().is_empty());
        for words in [&["+user", "admin"][..], &["nope"], &["user"]] {
            assert!(of(words).is_err(), "{words:?}");
        }
    }

    #[test]
    fn gates_that_are_not_offered_are_refused() {
        let of = |gate: &str| check_gates(&[gate.to_owned()]);
        assert!(of("GlobalServiceAccount=true").is_ok());
        assert!(of("WorkspaceMounts=false").is_ok());
        for gate in [
            "WorkspaceMounts=true",
            "Nope=true",
            "CacheAPIs",
            "CacheAPIs=x",
        ] {
            assert!(of(gate).is_err(), "{gate}");
        }
    }

    #[test]
    fn addresses_follow_from_the_flags() {
        assert_eq!(reachable(IpAddr::from([0, 0, 0, 0])), "127.0.0.1");
        let names = serving_names("hub.example.com", IpAddr::from([10, 0, 0, 1]));
        for name in [
            "hub.example.com",
            "10.0.0.1",
            "localhost",
            "127.0.0.1",
            "::1",
        ] {
            assert!(names.iter().any(|n| n == name), "{name}");
        }
    }
}
