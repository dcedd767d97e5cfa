//! Exact answers: what real servers were recorded to answer, asked again.
//!
//! The first test proves the runner itself: the real kube-apiserver of the same version answers
//! as it was recorded to. The others compare Hanse.

use std::time::Duration;

use anyhow::Result;
use hanse_e2e::golden::mask::Mask;
use hanse_e2e::golden::{
    Extent, Target, directory, exceptions, record, replay, replay_entries, setup,
};
use hanse_e2e::hub::Hub;
use hanse_e2e::site::{Site, TokenUser};

/// How long a physical cluster's controllers take for what the recorder waited for.
const SITE_SETTLE_TIME_MAX: Duration = Duration::from_secs(10);

/// The same of the hub's controllers.
const HUB_SETTLE_TIME_MAX: Duration = Duration::from_secs(1);

const USERS: [TokenUser<'static>; 3] = [
    TokenUser {
        token: "admin-token",
        user: "admin",
        groups: &["system:masters"],
    },
    TokenUser {
        token: "shard-admin-token",
        user: "shard-admin",
        groups: &["system:masters"],
    },
    TokenUser {
        token: "user-1-token",
        user: "user-1",
        groups: &[],
    },
];

const TOKENS: [(&str, &str); 4] = [
    ("admin", "admin-token"),
    ("shard-admin", "shard-admin-token"),
    ("user-1", "user-1-token"),
    ("(an invalid token)", "nobody's token"),
];

/// The files recorded from a kube-apiserver, in the order in which they were recorded.
const KUBERNETES: [(&str, Extent); 3] = [
    ("kubernetes/answers.json", Extent::Whole),
    ("kubernetes/discovery.json", Extent::Whole),
    ("kubernetes/tables.json", Extent::Columns),
];

/// The files recorded from kcp, in the order in which they were recorded.
const KCP: [&str; 24] = [
    "kcp/root.json",
    "kcp/root-schemas.json",
    "kcp/system-admin-rbac.json",
    "kcp/provider.json",
    "kcp/workspace-with-a-binding.json",
    "kcp/birth-of-a-workspace.json",
    "kcp/apiexport-view.json",
    "kcp/discovery.json",
    "kcp/tables.json",
    "kcp/openapi-v3-index.json",
    "kcp/openapi-v3-api_v1.json",
    "kcp/openapi-v3-apis_admissionregistration.k8s.io_v1.json",
    "kcp/openapi-v3-apis_apis.kcp.io_v1alpha2.json",
    "kcp/openapi-v3-apis_authentication.k8s.io_v1.json",
    "kcp/openapi-v3-apis_authorization.k8s.io_v1.json",
    "kcp/openapi-v3-apis_certificates.k8s.io_v1.json",
    "kcp/openapi-v3-apis_coordination.k8s.io_v1.json",
    "kcp/openapi-v3-apis_core.kcp.io_v1alpha1.json",
    "kcp/openapi-v3-apis_events.k8s.io_v1.json",
    "kcp/openapi-v3-apis_golden.example.com_v1.json",
    "kcp/openapi-v3-apis_rbac.authorization.k8s.io_v1.json",
    "kcp/openapi-v3-apis_tenancy.kcp.io_v1alpha1.json",
    "kcp/errors-and-answers.json",
    "kcp/watch-list.json",
];

/// Replays files in order; every difference that is not excused fails, and so does every excuse
/// that is not needed.
async fn compare(server: &str, files: &[(&str, Extent)], target: &Target<'_>) -> Result<()> {
    let mut lines = Vec::new();
    for (file, extent) in files {
        let known = exceptions::load(server, file)?;
        let findings = replay(file, *extent, target, &known).await?;
        let rest = exceptions::apply(&findings, &known);
        lines.extend(rest.into_iter().map(|line| format!("{file} {line}")));
    }
    let (count, lines) = (lines.len(), lines.join("\n"));
    assert!(lines.is_empty(), "{count} differences:\n{lines}");
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn the_real_apiserver_answers_as_recorded() -> Result<()> {
    let mut site = Site::apiserver("golden", &USERS).await?;
    site.start_controllers()?;
    let target = Target {
        access: site.access.clone(),
        tokens: &TOKENS,
        mask: Mask::default(),
        settle_time_max: SITE_SETTLE_TIME_MAX,
    };
    compare("kube-apiserver", &KUBERNETES, &target).await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_workspace_answers_as_kubernetes_does() -> Result<()> {
    let hub = Hub::start_with(&USERS).await?;
    hub.workspace("root", "golden", "universal").await?;
    let target = Target {
        access: hub.cluster_access("root:golden")?,
        tokens: &TOKENS,
        mask: Mask {
            prefix: "/clusters/root:golden".to_owned(),
            ignore_cluster: true,
            ..Mask::default()
        },
        settle_time_max: HUB_SETTLE_TIME_MAX,
    };
    let mut files = KUBERNETES;
    files[1].1 = Extent::Common;
    compare("hanse", &files, &target).await
}

#[tokio::test(flavor = "multi_thread")]
async fn the_hub_answers_as_kcp_does() -> Result<()> {
    let hub = Hub::start_with(&USERS).await?;
    let aliases = setup::kcp(&hub).await?;
    let target = Target {
        access: hub.access()?,
        tokens: &TOKENS,
        mask: Mask {
            aliases,
            ..Mask::default()
        },
        settle_time_max: HUB_SETTLE_TIME_MAX,
    };
    let files = KCP.map(|file| (file, Extent::Whole));
    compare("hanse", &files, &target).await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_workspace_answers_as_an_apiserver_beside_it() -> Result<()> {
    let mut site = Site::apiserver("beside", &USERS).await?;
    site.start_controllers()?;
    let mut target = Target {
        access: site.access.clone(),
        tokens: &TOKENS,
        mask: Mask::default(),
        settle_time_max: HUB_SETTLE_TIME_MAX,
    };
    let entries = record(&target).await?;
    let hub = Hub::start_with(&USERS).await?;
    hub.workspace("root", "beside", "universal").await?;
    target.access = hub.cluster_access("root:beside")?;
    target.mask.prefix = "/clusters/root:beside".to_owned();
    target.mask.ignore_cluster = true;
    let known = exceptions::load("hanse", "beside.json")?;
    let findings = replay_entries(&entries, Extent::Whole, &target, &known).await?;
    let lines = exceptions::apply(&findings, &known);
    let (count, lines) = (lines.len(), lines.join("\n"));
    assert!(lines.is_empty(), "{count} differences:\n{lines}");
    Ok(())
}

#[test]
fn every_recording_is_replayed() -> Result<()> {
    let mut left = Vec::new();
    for set in ["kcp", "kubernetes"] {
        for entry in std::fs::read_dir(directory().join(set))? {
            let name = format!("{set}/{}", entry?.file_name().to_string_lossy());
            let known = KUBERNETES.iter().any(|(file, _)| *file == name);
            if !known && !KCP.contains(&&*name) {
                left.push(name);
            }
        }
    }
    assert!(left.is_empty(), "not replayed: {left:?}");
    Ok(())
}
