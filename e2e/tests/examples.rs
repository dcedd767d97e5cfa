//! Every example does what its README says: see `hanse_e2e::example`.

use anyhow::Result;
use hanse_e2e::example::{Example, Ground};

#[tokio::test(flavor = "multi_thread")]
async fn every_example_does_what_its_readme_says() -> Result<()> {
    let mut ground = Ground::default();
    let mut findings = Vec::new();
    for example in Example::all()? {
        if let Err(error) = ground.run(&example, |_, _| {}).await {
            findings.push(format!("examples/{}: {error:#}", example.name));
        }
    }
    assert!(findings.is_empty(), "{}", findings.join("\n\n"));
    Ok(())
}
