//! Exact answers: what real servers were recorded to answer, asked again.
//!
//! The first test proves the runner itself: the real kube-apiserver of the same version answers
//! as it was recorded to. The others compare Hanse.

use anyhow::Result;
use hanse_e2e::golden::mask::Mask;
use hanse_e2e::golden::{Extent, Target, exceptions, replay};
use hanse_e2e::site::{Site, TokenUser};

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

#[tokio::test(flavor = "multi_thread")]
async fn the_real_apiserver_answers_as_recorded() -> Result<()> {
    let mut site = Site::apiserver("golden", &USERS).await?;
    site.start_controllers()?;
    let mut lines = Vec::new();
    for (file, extent) in KUBERNETES {
        let access = site.access.clone();
        let target = Target {
            access,
            tokens: &TOKENS,
            mask: Mask::default(),
        };
        let known = exceptions::load("kube-apiserver", file)?;
        let findings = replay(file, extent, &target, &known).await?;
        let rest = exceptions::apply(&findings, &known);
        lines.extend(rest.into_iter().map(|line| format!("{file} {line}")));
    }
    assert!(
        lines.is_empty(),
        "{} differences:\n{}",
        lines.len(),
        lines.join("\n")
    );
    Ok(())
}
