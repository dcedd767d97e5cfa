//! A Lease as a sign of life.
//!
//! One merge patch an interval, one create when it is missing: nothing is read. The interval stands
//! on the Lease, where whoever watches it may change it. Invariant: times
//! are those of whoever writes; whoever reads compares renewals with its own clock only to see
//! that they go on.

use std::time::Duration;

use hanse_client::{Api, Error, PatchKind, Resource};
use hanse_seams::Seams;
use hanse_wire::time;
use serde_json::{Value, json};

/// What a lease says.
#[derive(Clone, Debug, Default)]
pub struct Sign {
    /// Namespace of the Lease.
    pub namespace: String,
    /// Its name.
    pub name: String,
    /// Who is alive.
    pub holder: String,
    /// How long the sign is good for, when the Lease does not say so itself.
    pub duration: Duration,
    /// Facts that travel along.
    pub annotations: Vec<(&'static str, String)>,
}

/// The resource.
#[must_use]
pub fn leases() -> Resource {
    Resource::new("coordination.k8s.io", "v1", "leases")
}

/// Renews the lease now; makes it when it is not there. Answers the Lease.
///
/// # Errors
/// As the API says.
pub async fn renew(api: &Api, seams: &Seams, sign: &Sign) -> Result<Value, Error> {
    let micros = i64::try_from(seams.clock.wall().as_micros()).unwrap_or(i64::MAX);
    let annotations: serde_json::Map<String, Value> = sign
        .annotations
        .iter()
        .map(|(k, v)| ((*k).to_owned(), json!(v)))
        .collect();
    let mut lease = json!({
        "metadata": {"annotations": annotations},
        "spec": {
            "holderIdentity": sign.holder, "renewTime": time::format_micro(micros),
        },
    });
    let at = (sign.namespace.as_str(), sign.name.as_str(), "");
    match api.patch(&leases(), at, PatchKind::Merge, &lease).await {
        Err(error) if error.is_not_found() => {
            lease["apiVersion"] = json!("coordination.k8s.io/v1");
            lease["kind"] = json!("Lease");
            lease["spec"]["leaseDurationSeconds"] = json!(sign.duration.as_secs().max(1));
            lease["metadata"]["name"] = json!(sign.name);
            lease["metadata"]["namespace"] = json!(sign.namespace);
            api.create(&leases(), &lease).await
        }
        other => other,
    }
}

/// How long a Lease says that a sign is good for.
#[must_use]
pub fn interval(lease: &Value) -> Option<Duration> {
    lease["spec"]["leaseDurationSeconds"]
        .as_u64()
        .map(Duration::from_secs)
}

/// When a Lease was last renewed, in seconds since 1970; `None` when it never was.
#[must_use]
pub fn renewed(lease: &Value) -> Option<i64> {
    let text = lease["spec"]["renewTime"].as_str()?;
    time::parse(text).map(|micros| micros.div_euclid(1_000_000))
}

#[cfg(test)]
mod tests {
    use super::*;
    use hanse_client::testing::Fake;
    use hanse_seams::Simulation;

    #[test]
    fn the_first_sign_makes_the_lease_and_the_next_renews_it() {
        let simulation = Simulation::new(1);
        let seams = simulation.seams();
        let renewals = simulation.run(async move {
            let fake = Fake::new();
            fake.serve(leases(), "Lease", true);
            let api = fake.api();
            let ns = json!({"metadata": {"name": "default"}});
            api.create(&Resource::new("", "v1", "namespaces"), &ns)
                .await
                .unwrap();
            let sign = Sign {
                namespace: "default".into(),
                name: "syncer".into(),
                holder: "me".into(),
                duration: Duration::from_secs(10),
                annotations: vec![("a/b", "c".into())],
            };
            let first = renewed(&renew(&api, &seams, &sign).await.unwrap()).unwrap();
            seams.clock.sleep(Duration::from_secs(10)).await;
            let second = renew(&api, &seams, &sign).await.unwrap();
            assert_eq!(second["metadata"]["annotations"]["a/b"], "c");
            renewed(&second).unwrap() - first
        });
        assert_eq!(renewals, Some(10));
    }
}
