//! The demo comes true: see `hanse_e2e::demo`.

use anyhow::Result;
use hanse_e2e::demo::{self, Options};

#[tokio::test(flavor = "multi_thread")]
async fn every_step_of_the_demo_comes_true() -> Result<()> {
    demo::run(&Options::default()).await.map(|_| ())
}
