//! Asking again until there is an answer, or time is up.

use std::time::Duration;

use anyhow::Result;
use hanse_seams::Seams;

/// Between two questions.
const LOOK: Duration = Duration::from_millis(250);

/// Asks until `ask` answers something; `None` when it has not within `time_max`.
///
/// # Errors
/// The first error that `ask` answers.
pub async fn until<T, F: Future<Output = Result<Option<T>>>>(
    time_max: Duration,
    ask: impl Fn() -> F,
) -> Result<Option<T>> {
    let clock = Seams::real().clock;
    let end = clock.monotonic() + time_max;
    loop {
        if let Some(answer) = ask().await? {
            return Ok(Some(answer));
        }
        if clock.monotonic() > end {
            return Ok(None);
        }
        clock.sleep(LOOK).await;
    }
}
