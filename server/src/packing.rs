//! Keeps idle objects small, in short turns beside the requests; what that is, `hanse_cache` says.

use std::time::Duration;

use hanse_cache::{Hub, Packer};
use hanse_seams::{Seams, Shutdown};

/// Between two looks at whether there is something to do.
const LOOK: Duration = Duration::from_secs(1);
/// Between two turns that did something: requests go first.
const PAUSE: Duration = Duration::from_millis(1);

/// Packs until the server stops.
pub async fn run(hub: Hub, seams: Seams, stop: Shutdown) {
    let mut packer = Packer::new(&hub);
    drop(hub);
    let work = async {
        loop {
            seams.clock.sleep(LOOK).await;
            if packer.is_due() {
                while let Some(packed) = packer.turn() {
                    match packed {
                        0 => tokio::task::yield_now().await,
                        _ => seams.clock.sleep(PAUSE).await,
                    }
                }
            }
        }
    };
    tokio::select! {
        biased;
        () = stop.wait() => {}
        () = work => {}
    }
}
