//! Waves: which sites get a change now, and which wait for others.
//!
//! Start at [`Gate::opens`]. Invariant: nothing is remembered. A wave is open when the sites of all
//! waves before it have what is wished now and are healthy, so a hub that dies in the middle of a
//! rollout goes on where it was, and a failing wave stops it without anybody's doing.

use std::time::Duration;

use hanse_rules::placement::wave;

use crate::going::{SiteRef, Wanted};
use crate::status::Part;

/// What is known of the waves so far, while an object goes to its sites in their order.
pub struct Gate {
    now: i64,
    /// The wave that is being looked at.
    wave: usize,
    /// Whether it gets the change.
    open: bool,
    paused: bool,
    waves: bool,
    min_healthy: i64,
    max_unhealthy: usize,
    unhealthy: usize,
    /// When the next wave may begin although nothing is reported.
    pub again: Option<Duration>,
}

impl Gate {
    /// The gate of an object's Placement.
    pub fn of(wanted: &Wanted, now: i64) -> Self {
        let rules = wanted.sites.values().find_map(|place| place.rules.as_ref());
        let rollout = rules.map(|r| r.policy.spec.rollout.clone());
        let rollout = rollout.unwrap_or_default();
        Self {
            now,
            wave: 0,
            open: !rollout.paused,
            paused: rollout.paused,
            waves: !rollout.waves.is_empty(),
            min_healthy: rollout.min_healthy_seconds,
            max_unhealthy: usize::try_from(rollout.max_unhealthy).unwrap_or(0),
            unhealthy: 0,
            again: None,
        }
    }

    /// The sites with their waves, in the order in which they get a change.
    pub fn order<'w>(&self, wanted: &'w Wanted) -> Vec<(usize, &'w String, &'w SiteRef)> {
        let of = |place: &SiteRef| {
            let rules = place.rules.as_ref();
            rules.map_or(0, |r| wave(&r.policy.spec, &r.site, self.now))
        };
        let sites = wanted.sites.iter();
        let mut out: Vec<_> = sites
            .map(|(site, place)| (of(place), site, place))
            .collect();
        out.sort_by_key(|(wave, site, _)| (*wave, *site));
        out
    }

    /// Whether the sites of a wave get the change; waves are asked for in their order.
    pub fn opens(&mut self, wave: usize) -> bool {
        if wave != self.wave {
            self.wave = wave;
            self.open = self.unhealthy <= self.max_unhealthy && !self.paused;
        }
        self.open
    }

    /// Whether anybody has to wait for others at all.
    pub fn is_there(&self) -> bool {
        self.waves
    }

    /// Takes in how a site does.
    pub fn passed(&mut self, part: &Part, well: bool) {
        let since = part.observed().unwrap_or(self.now).min(self.now);
        let left = since + self.min_healthy - self.now;
        if !well || left > 0 {
            self.unhealthy += 1;
        }
        if well && left > 0 {
            let left = Duration::from_secs(u64::try_from(left).unwrap_or(0));
            self.again = Some(self.again.map_or(left, |known| known.min(left)));
        }
    }
}
