//! The hub's clock is set by hours: no site that is heard is taken for silent, and none that is
//! silent for heard.

use std::sync::Arc;

use hanse_seams::Simulation;
use hanse_store::MemoryStore;
use serde_json::json;

use super::{HOME, play_over};

#[test]
fn silence_is_measured_without_the_clock() {
    for seconds in [5 * 3600, -5 * 3600] {
        let machine = Simulation::new(3);
        let told = machine.clone();
        let store = Arc::new(MemoryStore::with_defaults(machine.seams().clock));
        play_over(machine, store, move |w| async move {
            let inbox = w.site("a", json!({})).await;
            let contact = || {
                let site = w.get(&w.sites.ids.sites, HOME, "", "a").unwrap();
                w.cell(&w.sites.ids.sites, &site, "Contact")
            };
            assert_eq!(contact(), "Live");
            told.shift_wall(seconds);
            w.wait(5).await;
            assert_eq!(contact(), "Live", "{seconds}: it was heard a moment ago");
            w.renew(&inbox).await;
            w.wait(5).await;
            assert_eq!(contact(), "Live", "{seconds}");
            w.wait(3600).await;
            assert_eq!(
                contact(),
                "Lost",
                "{seconds}: it has been silent for an hour"
            );
        });
    }
}
