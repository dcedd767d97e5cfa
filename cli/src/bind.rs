//! `bind apiexport`: uses another workspace's API in the current one.
//!
//! Invariant: a claim is accepted as the export states it (its verbs, objects and identity), as
//! far as we may read the export; an export that we may not read is bound all the same, with
//! claims for all verbs and objects, which is what kcp's plugin writes.

use std::time::Duration;

use anyhow::{Context, Result, bail};
use hanse_client::{Api, List, Resource};
use serde_json::{Value, json};

use crate::advice::advise;
use crate::session::Session;
use crate::wait;

/// Which export, and what becomes of its claims.
#[derive(clap::Args)]
pub struct Flags {
    /// The export, as `root:path:name`.
    #[arg(value_name = "PATH:EXPORT")]
    export: String,
    /// Name of the APIBinding; that of the export when it is not given.
    #[arg(long)]
    name: Option<String>,
    /// Seconds to wait until the API can be used.
    #[arg(long, value_name = "DURATION", default_value = "30s", value_parser = seconds)]
    timeout: Duration,
    /// Lets the export's owner work with these objects here: `configmaps.core`,
    /// `deployments.apps`; may be given several times.
    #[arg(long = "accept-permission-claim", value_name = "RESOURCE.GROUP")]
    accept: Vec<String>,
    /// Refuses it; may be given several times.
    #[arg(long = "reject-permission-claim", value_name = "RESOURCE.GROUP")]
    reject: Vec<String>,
    /// Accepts whatever the export claims.
    #[arg(long, conflicts_with_all = ["accept", "reject", "reject_all"])]
    accept_all_permission_claims: bool,
    /// Rejects whatever the export claims.
    #[arg(long = "reject-all-permission-claims", conflicts_with_all = ["accept", "reject"])]
    reject_all: bool,
}

/// What can be bound.
#[derive(clap::Subcommand)]
pub enum Command {
    /// Binds an APIExport: its resources appear in the current workspace.
    #[command(after_help = EXAMPLES)]
    Apiexport(Flags),
}

const EXAMPLES: &str = "\
Examples:
  kubectl hanse bind apiexport root:platform:databases
  kubectl hanse bind apiexport root:platform:databases --accept-permission-claim secrets.core
  kubectl hanse bind apiexport root:platform:databases --accept-all-permission-claims

Then `kubectl api-resources` lists what has come, and `kubectl get apibindings` how it stands.";

/// APIBindings, as a client asks for them.
#[must_use]
pub fn bindings() -> Resource {
    Resource::new("apis.kcp.io", "v1alpha2", "apibindings")
}

/// Binds.
///
/// # Errors
/// What the user is to read.
pub async fn run(session: &Session, command: &Command) -> Result<()> {
    let Command::Apiexport(flags) = command;
    let Some((path, export)) = flags.export.trim_start_matches(':').rsplit_once(':') else {
        return Err(advise(
            format!("{:?} is not PATH:EXPORT", flags.export),
            "Write the whole path, as in root:platform:databases.",
        ));
    };
    let exports = Resource::new("apis.kcp.io", "v1alpha2", "apiexports");
    let stated = match session.workspace(path).find(&exports, "", export).await {
        Ok(Some(found)) => found["spec"]["permissionClaims"].clone(),
        Ok(None) => bail!("there is no APIExport {export} in {path}"),
        Err(error) if error.code() == 403 => Value::Null,
        Err(error) => return Err(error.into()),
    };
    let claims = claims(flags, &stated)?;
    let name = flags.name.as_deref().unwrap_or(export);
    let here = session.here();
    bind(&here, name, (path, export), claims, flags.timeout).await?;
    println!("apibinding.apis.kcp.io/{name} created and bound");
    Ok(())
}

/// Creates a binding and waits until it is bound.
async fn bind(
    here: &Api,
    name: &str,
    (path, export): (&str, &str),
    claims: Vec<Value>,
    time_max: Duration,
) -> Result<()> {
    let mut binding = json!({
        "apiVersion": "apis.kcp.io/v1alpha2", "kind": "APIBinding", "metadata": {"name": name},
        "spec": {"reference": {"export": {"path": path, "name": export}}},
    });
    if !claims.is_empty() {
        binding["spec"]["permissionClaims"] = claims.into();
    }
    here.create(&bindings(), &binding).await?;
    wait_bound(here, name, time_max).await
}

async fn wait_bound(here: &Api, name: &str, time_max: Duration) -> Result<()> {
    let bound = wait::until(time_max, async || {
        let binding = here.get(&bindings(), "", name).await?;
        Ok((binding["status"]["phase"] == "Bound").then_some(()))
    })
    .await?;
    if bound.is_some() {
        return Ok(());
    }
    let binding = here.get(&bindings(), "", name).await?;
    Err(advise(
        format!(
            "apibinding {name} is not bound after {time_max:?}{}",
            reason(&binding)
        ),
        format!(
            "It stays and goes on trying: `kubectl get apibinding {name} -o yaml` shows its \
             conditions, `kubectl delete apibinding {name}` gives up."
        ),
    ))
}

/// Binds an export that is needed here, unless some binding to it is there already.
///
/// # Errors
/// As the hub says; or when the binding does not come to be.
pub async fn ensure(here: &Api, export: (&str, &str), time_max: Duration) -> Result<()> {
    let list = here.list(&bindings(), &List::default()).await?;
    let ours = |b: &&Value| b["spec"]["reference"]["export"]["name"] == export.1;
    match list.items.iter().find(ours) {
        Some(binding) => {
            let name = binding["metadata"]["name"].as_str().unwrap_or_default();
            wait_bound(here, name, time_max).await
        }
        None => bind(here, export.1, export, Vec::new(), time_max).await,
    }
}

/// `: <message>` of the first condition that is not true.
fn reason(binding: &Value) -> String {
    let conditions = binding["status"]["conditions"].as_array();
    let open = |c: &&Value| c["status"] != "True" && c["message"].is_string();
    let found = conditions.into_iter().flatten().find(open);
    found.map_or_else(String::new, |c| {
        format!(": {}", c["message"].as_str().unwrap_or_default())
    })
}

/// The claims of the binding: those that the flags name, as the export states them.
fn claims(flags: &Flags, stated: &Value) -> Result<Vec<Value>> {
    let known: Vec<&Value> = stated.as_array().into_iter().flatten().collect();
    if flags.accept_all_permission_claims || flags.reject_all {
        if stated.is_null() {
            bail!("the export cannot be read, so its claims are not known: name them one by one");
        }
        let state = if flags.reject_all {
            "Rejected"
        } else {
            "Accepted"
        };
        return Ok(known.into_iter().map(|c| claim(c, state)).collect());
    }
    let mut claims = Vec::new();
    for (words, state) in [(&flags.accept, "Accepted"), (&flags.reject, "Rejected")] {
        for word in words {
            let (resource, group) = group_resource(word)?;
            let same = |c: &&&Value| {
                c["resource"] == resource && c["group"].as_str().unwrap_or_default() == group
            };
            let plain = json!({"group": group, "resource": resource});
            let found = known.iter().find(same).copied();
            if found.is_none() && !stated.is_null() {
                bail!("the export does not claim {word}");
            }
            claims.push(claim(found.unwrap_or(&plain), state));
        }
    }
    Ok(claims)
}

/// `configmaps.core` names what has no group.
///
/// # Errors
/// When it is no `RESOURCE.GROUP`.
pub fn group_resource(word: &str) -> Result<(&str, &str)> {
    let (resource, group) = word.split_once('.').with_context(|| {
        format!("{word:?} is not RESOURCE.GROUP, as configmaps.core or deployments.apps")
    })?;
    Ok((resource, if group == "core" { "" } else { group }))
}

fn claim(stated: &Value, state: &str) -> Value {
    let or = |key: &str, other: Value| match &stated[key] {
        Value::Null => other,
        value => value.clone(),
    };
    let mut claim = json!({
        "group": or("group", json!("")), "resource": stated["resource"],
        "verbs": or("verbs", json!(["*"])),
        "selector": or("defaultSelector", json!({"matchAll": true})), "state": state,
    });
    if let Some(identity) = stated["identityHash"].as_str().filter(|i| !i.is_empty()) {
        claim["identityHash"] = identity.into();
    }
    claim
}

/// A Go duration of whole seconds or minutes.
fn seconds(text: &str) -> Result<Duration, String> {
    let (number, unit) = match text.strip_suffix('m') {
        Some(minutes) => (minutes, 60),
        None => (text.strip_suffix('s').unwrap_or_default(), 1),
    };
    let number: u32 = number
        .parse()
        .map_err(|_| format!("{text:?} is not a duration such as 30s or 2m"))?;
    Ok(Duration::from_secs(u64::from(number) * unit))
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::Parser as _;

    #[derive(clap::Parser)]
    struct Cli {
        #[command(flatten)]
        flags: Flags,
    }

    fn of(words: &str, stated: &Value) -> Result<Vec<Value>> {
        let words = ["bind", "root:a:b"]
            .into_iter()
            .chain(words.split_whitespace());
        claims(&Cli::try_parse_from(words)?.flags, stated)
    }

    #[test]
    fn claims_are_accepted_as_the_export_states_them() {
        let stated = json!([
            {"resource": "secrets", "verbs": ["get"], "defaultSelector": {"matchLabels": {"a": "b"}}},
            {"group": "g.io", "resource": "things", "verbs": ["*"], "identityHash": "abc"},
        ]);
        let accepted = of("--accept-permission-claim secrets.core", &stated).unwrap();
        assert_eq!(
            accepted,
            [
                json!({"group": "", "resource": "secrets", "verbs": ["get"], "state": "Accepted",
                    "selector": {"matchLabels": {"a": "b"}}})
            ]
        );
        let all = of("--reject-all-permission-claims", &stated).unwrap();
        assert_eq!(all.len(), 2);
        assert_eq!(all[1]["identityHash"], "abc");
        assert_eq!(all[1]["state"], "Rejected");
        assert!(of("--accept-permission-claim pods.core", &stated).is_err());
        assert!(of("--accept-permission-claim secrets", &stated).is_err());
    }

    #[test]
    fn an_export_that_cannot_be_read_is_bound_with_plain_claims() {
        let claims = of("--accept-permission-claim things.g.io", &Value::Null).unwrap();
        assert_eq!(claims[0]["verbs"], json!(["*"]));
        assert_eq!(claims[0]["selector"], json!({"matchAll": true}));
        assert!(of("--accept-all-permission-claims", &Value::Null).is_err());
        assert!(of("", &Value::Null).unwrap().is_empty());
    }

    #[test]
    fn durations_are_those_of_go() {
        assert_eq!(seconds("30s"), Ok(Duration::from_secs(30)));
        assert_eq!(seconds("2m"), Ok(Duration::from_secs(120)));
        assert!(seconds("30").is_err());
    }
}
