//! A wall clock that does not jump: for those who measure how long ago something was by it.
//!
//! Between two looks at it passes what really passed, whatever is done to the machine's clock. It
//! begins where that one stands, so over a restart it may begin elsewhere.

use std::sync::Arc;
use std::time::Duration;

use crate::{BoxFuture, Clock};

/// See the module's own words.
pub struct SteadyClock {
    clock: Arc<dyn Clock>,
    /// The wall's and the monotonic time of the beginning.
    began: (Duration, Duration),
}

impl SteadyClock {
    /// Begins at what the clock says now.
    #[must_use]
    pub fn new(clock: Arc<dyn Clock>) -> Self {
        let began = (clock.wall(), clock.monotonic());
        Self { clock, began }
    }
}

impl Clock for SteadyClock {
    fn monotonic(&self) -> Duration {
        self.clock.monotonic()
    }

    fn wall(&self) -> Duration {
        let (wall, monotonic) = self.began;
        wall + self.clock.monotonic().saturating_sub(monotonic)
    }

    fn sleep(&self, duration: Duration) -> BoxFuture<()> {
        self.clock.sleep(duration)
    }
}
