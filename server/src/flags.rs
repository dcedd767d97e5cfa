//! The command line of `hanse`: kcp's flag names, so that scripts written for kcp go on working.
//!
//! Start at [`parse`]. A flag is one of four things: understood (a field of [`StartFlags`]),
//! accepted and ignored with a note (it configures an etcd that Hanse does not have), refused by
//! name (it asks for behaviour that this server does not offer, and starting without it would be
//! a lie), or unknown. The invariant: no flag is ever taken silently without effect.
//! What the values mean together is decided in `config.rs`.

use std::net::IpAddr;
use std::path::PathBuf;

use clap::{Args, Parser, Subcommand};

/// A control plane for control planes: many logical clusters behind one Kubernetes-style API.
#[derive(Debug, Parser)]
#[command(name = "hanse", version, max_term_width = 100, after_help = HELP)]
pub struct Cli {
    /// What to do.
    #[command(subcommand)]
    pub command: Command,
}

/// The sub-commands.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Start the server: one process, one directory, ready at once.
    #[command(after_help = START_HELP)]
    Start(Box<StartFlags>),
    /// Write everything, or one workspace and all below it, as lines of JSON at one version
    ///
    /// The server goes on serving. The form is documented, and every line is sealed:
    /// docs/dump-format.md.
    Dump(DumpFlags),
    /// Bring a dump back: an instance into a new directory, a subtree into a running server
    ///
    /// Nothing that is there is ever overwritten; an interrupted restore can be begun again.
    Restore(RestoreFlags),
    /// Check every invariant of a store, a running server or a dump, and name what is broken
    Verify(VerifyFlags),
}

/// A running server, as a member of `system:masters`.
#[derive(Debug, Args)]
pub struct ServerFlags {
    /// Kubeconfig of a running server (`admin.kubeconfig`).
    #[arg(long, value_name = "FILE", env = "KUBECONFIG")]
    pub kubeconfig: Option<PathBuf>,
    /// Its context; the user has to be in group system:masters.
    #[arg(long, value_name = "NAME", default_value = "shard-base")]
    pub context: String,
}

/// How values of chosen kinds lie at rest; for everything that opens a root directory.
#[derive(Clone, Debug, Default, Args)]
pub struct EncryptionFlags {
    /// Which resources are encrypted at rest, and how (apiserver.config.k8s.io/v1
    /// EncryptionConfiguration: identity, aesgcm, aescbc, kms v2).
    #[arg(long, value_name = "FILE")]
    pub encryption_provider_config: Option<PathBuf>,
    /// Read the file again when it changes.
    #[arg(long, value_name = "BOOL", num_args = 0..=1, require_equals = true,
        default_value_t = false, default_missing_value = "true", action = clap::ArgAction::Set)]
    pub encryption_provider_config_automatic_reload: bool,
    /// Values a second that are written anew when what they are encrypted with has changed; 0
    /// leaves them until they are written by others.
    #[arg(long, value_name = "COUNT", default_value_t = 100)]
    pub encryption_rewrite_rate: u32,
}

/// What becomes of Secrets in a dump.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub enum Secrets {
    /// They are left out.
    Omit,
    /// They are encrypted with the key of --key-file (AES-256-GCM).
    Sealed,
    /// They are written as they are.
    Plain,
}

/// Flags of `hanse dump`.
#[derive(Debug, Args)]
pub struct DumpFlags {
    #[command(flatten)]
    pub server: ServerFlags,
    /// Take the dump from this root directory, which no server may have open.
    #[arg(long, value_name = "DIR")]
    pub root_directory: Option<PathBuf>,
    /// How the store's values lie at rest (see hanse start).
    #[arg(long, value_name = "FILE", requires = "root_directory")]
    pub encryption_provider_config: Option<PathBuf>,
    /// Path of the workspace to dump with all below it; everything when left out.
    #[arg(long, value_name = "PATH")]
    pub workspace: Option<String>,
    /// What becomes of Secrets.
    #[arg(long, value_enum, default_value = "omit")]
    pub secrets: Secrets,
    /// File with the key for sealed Secrets: 32 bytes in base64.
    #[arg(long, value_name = "FILE")]
    pub key_file: Option<PathBuf>,
    /// Where to write; standard output when left out.
    #[arg(long, short, value_name = "FILE")]
    pub output: Option<PathBuf>,
}

/// Flags of `hanse restore`.
#[derive(Debug, Args)]
pub struct RestoreFlags {
    #[command(flatten)]
    pub server: ServerFlags,
    /// Restore an instance into this root directory, which must have no store yet.
    #[arg(long, value_name = "DIR")]
    pub root_directory: Option<PathBuf>,
    /// Restore a subtree under this path instead of its own, beside the original or into another
    /// instance: workspaces and objects get new ids, bindings are bound anew.
    #[arg(long = "as", value_name = "PATH", conflicts_with = "root_directory")]
    pub as_path: Option<String>,
    /// How the new store's values lie at rest (see hanse start).
    #[arg(long, value_name = "FILE", requires = "root_directory")]
    pub encryption_provider_config: Option<PathBuf>,
    /// File with the key for sealed Secrets: 32 bytes in base64.
    #[arg(long, value_name = "FILE")]
    pub key_file: Option<PathBuf>,
    /// The dump; it is checked whole before anything is written.
    pub dump: PathBuf,
}

/// Flags of `hanse verify`.
#[derive(Debug, Args)]
pub struct VerifyFlags {
    #[command(flatten)]
    pub server: ServerFlags,
    /// Check the store in this root directory; no server may have it open.
    #[arg(long, value_name = "DIR", conflicts_with = "dump")]
    pub root_directory: Option<PathBuf>,
    /// How the store's values lie at rest (see hanse start).
    #[arg(long, value_name = "FILE", requires = "root_directory")]
    pub encryption_provider_config: Option<PathBuf>,
    /// Check a dump.
    #[arg(long, value_name = "FILE")]
    pub dump: Option<PathBuf>,
}

const HELP: &str = "\
Examples:
  hanse start                                   serve; state in ./.hanse
  hanse dump --kubeconfig .hanse/admin.kubeconfig --output backup.jsonl
  hanse verify --dump backup.jsonl

`hanse COMMAND --help` says more. The kubectl plugins `kubectl ws` and `kubectl hanse` are for those
who work in it, `hanse-syncer` for the physical clusters.";

const START_HELP: &str = "\
First steps:
  hanse start                                   serve on port 6443, state in ./.hanse
  export KUBECONFIG=.hanse/admin.kubeconfig     context `root` is the root workspace
  kubectl api-resources                         what this workspace serves
  kubectl ws create team-a --enter              a workspace of its own, and into it (our plugin)

Contexts of admin.kubeconfig: `root` and `base` act as kcp-admin, `system:admin` and `shard-base`
as shard-admin (group system:masters). `base` and `shard-base` carry no workspace in their URL.

Flags written for kcp's embedded etcd (--embedded-etcd-*) are accepted and ignored: the store is
part of the process.";

/// Flags of `hanse start`. Names, meaning and defaults follow kcp where the two agree.
#[derive(Debug, Args)]
pub struct StartFlags {
    /// Directory for state, certificates, tokens and admin.kubeconfig.
    #[arg(long, value_name = "DIR", default_value = ".hanse")]
    pub root_directory: PathBuf,
    /// Address to listen on.
    #[arg(long, value_name = "IP", default_value = "0.0.0.0")]
    pub bind_address: IpAddr,
    /// Port to serve HTTPS on.
    #[arg(long, value_name = "PORT", default_value_t = 6443,
        value_parser = clap::value_parser!(u16).range(1..))]
    pub secure_port: u16,
    /// Host name or address by which clients reach this server; goes into its certificate and
    /// into every URL that it publishes. Default: the bind address, or 127.0.0.1 instead of
    /// 0.0.0.0.
    #[arg(long, value_name = "HOST")]
    pub external_hostname: Option<String>,
    /// Serving certificate (PEM). With --tls-private-key-file replaces the generated one.
    #[arg(long, value_name = "FILE", requires = "tls_private_key_file")]
    pub tls_cert_file: Option<PathBuf>,
    /// Key of the serving certificate (PEM).
    #[arg(long, value_name = "FILE", requires = "tls_cert_file")]
    pub tls_private_key_file: Option<PathBuf>,
    /// Certificate authorities (PEM) whose client certificates name users: CN is the user, O the
    /// groups.
    #[arg(long, value_name = "FILE")]
    pub client_ca_file: Option<PathBuf>,
    /// Static bearer tokens, one a line: token,user,uid,"group1,group2".
    #[arg(long, value_name = "FILE")]
    pub token_auth_file: Option<PathBuf>,
    /// Where to write admin.kubeconfig, relative to the root directory.
    #[arg(long, value_name = "FILE", default_value = "admin.kubeconfig")]
    pub kubeconfig_path: PathBuf,
    /// Where the hash of the shard-admin token is kept, relative to the root directory.
    #[arg(long, value_name = "FILE", default_value = ".admin-token-store")]
    pub authentication_admin_token_path: PathBuf,
    /// Name of this shard.
    #[arg(long, value_name = "NAME", default_value = "root")]
    pub shard_name: String,
    /// URL by which other shards reach this one. Default: the external address.
    #[arg(long, value_name = "URL")]
    pub shard_base_url: Option<String>,
    /// URL published in workspaces. Default: --shard-base-url.
    #[arg(long, value_name = "URL")]
    pub shard_external_url: Option<String>,
    /// URL published in endpoint slices. Default: --shard-base-url.
    #[arg(long, value_name = "URL")]
    pub shard_virtual_workspace_url: Option<String>,
    /// What to bring besides the bare server: workspace-types, admin, user, metrics-viewer;
    /// a leading + or - changes the default set.
    #[arg(
        long,
        value_name = "LIST",
        value_delimiter = ',',
        allow_hyphen_values = true,
        default_value = "workspace-types,admin"
    )]
    pub batteries_included: Vec<String>,
    /// Feature gates, NAME=true|false, comma separated.
    #[arg(long, value_name = "LIST", value_delimiter = ',')]
    pub feature_gates: Vec<String>,
    /// Serve /services/... in this process. Only true is offered.
    #[arg(long, value_name = "BOOL", num_args = 0..=1, require_equals = true,
        default_value_t = true, default_missing_value = "true", action = clap::ArgAction::Set)]
    pub run_virtual_workspaces: bool,
    /// Give every user a home workspace on first request (GET workspaces/~ in root).
    #[arg(long, value_name = "BOOL", num_args = 0..=1, require_equals = true,
        default_value_t = true, default_missing_value = "true", action = clap::ArgAction::Set)]
    pub enable_home_workspaces: bool,
    /// Groups whose members may create their home workspace.
    #[arg(
        long,
        value_name = "LIST",
        value_delimiter = ',',
        default_value = "system:authenticated"
    )]
    pub home_workspaces_home_creator_groups: Vec<String>,
    /// How many objects a workspace may hold in all, unless its LogicalCluster says otherwise
    /// (annotation core.kcp.io/max-total-objects). 0 is no limit; root and system:* have none.
    #[arg(long, value_name = "COUNT", default_value_t = 0)]
    pub logical_cluster_total_object_limit: u64,
    #[command(flatten)]
    pub encryption: EncryptionFlags,
    /// File for audit events, one JSON document a line; `-` is standard output.
    #[arg(long, value_name = "FILE")]
    pub audit_log_path: Option<PathBuf>,
    /// Audit policy (audit.k8s.io/v1 Policy, YAML or JSON). Without it nothing is logged.
    #[arg(long, value_name = "FILE")]
    pub audit_policy_file: Option<PathBuf>,
    /// MiB of the audit log before it is put aside under a name with the time; 0 is 100.
    #[arg(long, value_name = "MIB", default_value_t = 0)]
    pub audit_log_maxsize: u64,
    /// Days that audit logs put aside are kept; 0 is for ever.
    #[arg(long, value_name = "DAYS", default_value_t = 0)]
    pub audit_log_maxage: u64,
    /// Audit logs put aside that are kept; 0 is all.
    #[arg(long, value_name = "COUNT", default_value_t = 0)]
    pub audit_log_maxbackup: usize,
    /// Format of the audit log; there is one.
    #[arg(long, value_name = "FORMAT", default_value = "json", value_parser = ["json"])]
    pub audit_log_format: String,
    /// How the audit log is written: in batches behind the requests; there is no other way.
    #[arg(long, value_name = "MODE", default_value = "batch", value_parser = ["batch"])]
    pub audit_log_mode: String,
    /// Seconds to go on serving after /readyz has turned 500 on termination.
    #[arg(long, value_name = "DURATION", default_value = "0s", value_parser = duration)]
    pub shutdown_delay_duration: std::time::Duration,
    /// Requests of tenants that are answered or wait at once; more get 429 and a time to come
    /// again. One workspace or one user has a quarter of them at most.
    #[arg(long, value_name = "COUNT", default_value_t = hanse_api::limits::FLOW_REQUESTS_MAX,
        value_parser = counts)]
    pub max_requests_inflight: usize,
    /// Connections at once; more wait until one ends.
    #[arg(long, value_name = "COUNT", default_value_t = crate::serve::CONNECTIONS_MAX,
        value_parser = counts)]
    pub max_connections: usize,
    /// Memory that the server may use (bytes, or with Ki, Mi, Gi): close to it, writes and new
    /// watches get 429, reading and deleting go on. Default: what the control group allows.
    #[arg(long, value_name = "SIZE", value_parser = size)]
    pub memory_limit: Option<u64>,
    /// How much to log: 0 what matters, 2 requests, 4 and more for debugging.
    #[arg(long = "v", short = 'v', value_name = "LEVEL", default_value_t = 0)]
    pub verbosity: u8,
}

/// Flags of kcp and of the generic API server that are refused, and why.
const REFUSED: &[(&str, &str)] = &[
    ("enable-admission-plugins", "the admission chain is fixed"),
    ("disable-admission-plugins", "the admission chain is fixed"),
    (
        "admission-control-config-file",
        "the admission chain is fixed",
    ),
    ("runtime-config", "the served API versions are fixed"),
    ("advertise-address", "use --external-hostname"),
    (
        "enable-priority-and-fairness",
        "fairness is not configurable",
    ),
    ("request-timeout", "request time limits are fixed"),
    ("min-request-timeout", "watch time limits are fixed"),
    ("etcd-servers", "this version has the embedded store only"),
    (
        "root-shard-kubeconfig-file",
        "this version runs one shard only",
    ),
    ("cache-kubeconfig", "this version runs one shard only"),
    ("shard-kubeconfig-file", "this version runs one shard only"),
    (
        "authorization-webhook-config-file",
        "authorization webhooks are not offered yet",
    ),
    ("authorization-order", "the order of authorizers is fixed"),
    (
        "audit-webhook-config-file",
        "the audit webhook backend is not offered yet",
    ),
    (
        "root-identities-file",
        "preset identities are not offered yet",
    ),
];

/// Beginnings of flags that are accepted and ignored, with the note that says why.
const IGNORED: &[(&str, &str)] = &[
    ("--embedded-etcd-", "the store is part of this process"),
    (
        "--logical-cluster-object-count-scan-interval",
        "objects are counted as they come and go",
    ),
    (
        "--conversion-cel-transformation-timeout",
        "nothing evaluates APIConversions",
    ),
];

/// Reads the command line. `Err` holds the text for standard error and the exit code.
///
/// # Errors
/// Help and version requests (exit code 0) and every bad command line (2).
pub fn parse(args: impl IntoIterator<Item = String>) -> Result<(Cli, Vec<String>), (String, i32)> {
    let (kept, notes) = screen(args).map_err(|text| (text, 2))?;
    let cli = Cli::try_parse_from(kept).map_err(|e| (e.to_string(), e.exit_code()))?;
    Ok((cli, notes))
}

/// Takes the ignored flags (with their values) out of the arguments and refuses the refused ones.
fn screen(args: impl IntoIterator<Item = String>) -> Result<(Vec<String>, Vec<String>), String> {
    let (mut kept, mut notes) = (Vec::new(), Vec::new());
    let mut args = args.into_iter().peekable();
    while let Some(arg) = args.next() {
        let name = arg.split('=').next().unwrap_or_default();
        if let Some(flag) = name.strip_prefix("--")
            && let Some((_, why)) = REFUSED.iter().find(|(refused, _)| *refused == flag)
        {
            return Err(format!("error: the flag --{flag} is refused: {why}\n"));
        }
        let ignored = IGNORED.iter().find(|(begin, _)| name.starts_with(begin));
        let Some((_, why)) = ignored else {
            kept.push(arg);
            continue;
        };
        notes.push(format!("{name} is ignored: {why}"));
        let value_follows = !arg.contains('=') && args.peek().is_some_and(|v| !v.starts_with('-'));
        if value_follows {
            args.next();
        }
    }
    Ok((kept, notes))
}

/// A number that is not zero.
fn counts(text: &str) -> Result<usize, String> {
    match text.parse() {
        Ok(0) | Err(_) => Err("a number above zero is needed".to_owned()),
        Ok(number) => Ok(number),
    }
}

/// A size: `268435456`, `256Mi`.
fn size(text: &str) -> Result<u64, String> {
    let digits = text.trim_end_matches(|c: char| c.is_ascii_alphabetic());
    let unit = match &text[digits.len()..] {
        "" => 1,
        "Ki" => 1 << 10,
        "Mi" => 1 << 20,
        "Gi" => 1 << 30,
        unit => return Err(format!("unknown unit {unit:?}; there are Ki, Mi and Gi")),
    };
    let number = digits.parse::<u64>().ok().and_then(|n| n.checked_mul(unit));
    match number {
        None | Some(0) => Err(format!("invalid size {text:?}")),
        Some(bytes) => Ok(bytes),
    }
}

/// A Go duration of whole units: `90s`, `2m`, `1h`, `500ms`.
fn duration(text: &str) -> Result<std::time::Duration, String> {
    let digits = text.trim_end_matches(|c: char| c.is_ascii_alphabetic());
    let number: u64 = digits
        .parse()
        .map_err(|_| format!("invalid duration {text:?}"))?;
    let millis = match &text[digits.len()..] {
        "ms" => 1,
        "s" => 1_000,
        "m" => 60_000,
        "h" => 3_600_000,
        _ => return Err(format!("missing or unknown unit in duration {text:?}")),
    };
    let total = number.checked_mul(millis).ok_or("duration too large")?;
    Ok(std::time::Duration::from_millis(total))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn start(args: &[&str]) -> Result<(Box<StartFlags>, Vec<String>), String> {
        let all = ["hanse", "start"]
            .iter()
            .chain(args)
            .map(|s| (*s).to_owned());
        let (cli, notes) = parse(all).map_err(|(text, _)| text)?;
        match cli.command {
            Command::Start(flags) => Ok((flags, notes)),
            other => Err(format!("{other:?}")),
        }
    }

    #[test]
    fn both_spellings_of_a_value_are_understood() {
        for args in [
            &["--secure-port=7443", "-v=4"][..],
            &["--secure-port", "7443", "-v", "4"],
        ] {
            let (flags, notes) = start(args).unwrap();
            assert_eq!((flags.secure_port, flags.verbosity), (7443, 4));
            assert!(notes.is_empty());
        }
    }

    #[test]
    fn flags_of_the_embedded_etcd_are_ignored_with_a_note() {
        let args = [
            "--embedded-etcd-client-port",
            "2379",
            "--embedded-etcd-directory=/x",
        ];
        let (flags, notes) = start(&args).unwrap();
        assert_eq!(flags.secure_port, 6443);
        assert_eq!(notes.len(), 2, "{notes:?}");
    }

    #[test]
    fn limits_are_numbers() {
        let (flags, notes) = start(&["--logical-cluster-total-object-limit=100"]).unwrap();
        assert_eq!(
            (flags.logical_cluster_total_object_limit, notes.len()),
            (100, 0)
        );
        let (_, notes) = start(&["--logical-cluster-object-count-scan-interval", "5s"]).unwrap();
        assert_eq!(notes.len(), 1, "{notes:?}");
        assert!(start(&["--logical-cluster-total-object-limit=many"]).is_err());
    }

    #[test]
    fn refused_and_unknown_flags_and_values_fail() {
        for (args, text) in [
            (["--etcd-servers=https://x"], "refused"),
            (["--no-such-flag"], "unexpected argument"),
            (["--secure-port=x"], "invalid value"),
            (["--secure-port=0"], "invalid value"),
            (["--bind-address=nowhere"], "invalid value"),
            (["--enable-home-workspaces=maybe"], "invalid value"),
            (["--shutdown-delay-duration=5"], "unit"),
            (["--max-requests-inflight=0"], "above zero"),
            (["--max-connections=many"], "above zero"),
            (["--memory-limit=12Mb"], "unknown unit"),
            (["--memory-limit=-1"], "invalid size"),
        ] {
            let error = start(&args).err().unwrap_or_default();
            assert!(error.contains(text), "{args:?}: {error}");
        }
    }
}
