//! Waiting with a deadline, and saying at the end what it was that did not come.

use std::time::{Duration, Instant};

use anyhow::{Result, bail};

use crate::process::Ended;

/// Between two looks.
const INTERVAL: Duration = Duration::from_millis(50);

/// Looks again and again until `look` answers a value. What it answers instead (`Err`: what is
/// there now) stands in the message when the time is over. A program that ended ends the waiting.
pub async fn until<T, F>(what: &str, time_max: Duration, look: F) -> Result<T>
where
    F: AsyncFnMut() -> Result<T>,
{
    until_every(INTERVAL, what, time_max, look).await
}

/// The same, looking more or less often: for what is measured.
pub async fn until_every<T, F>(
    interval: Duration,
    what: &str,
    time_max: Duration,
    mut look: F,
) -> Result<T>
where
    F: AsyncFnMut() -> Result<T>,
{
    let deadline = Instant::now() + time_max;
    loop {
        match look().await {
            Ok(value) => return Ok(value),
            Err(last) if last.is::<Ended>() => return Err(last.context(what.to_owned())),
            Err(last) if Instant::now() >= deadline => {
                bail!("{what}: not within {time_max:?}; at last: {last:#}");
            }
            Err(_) => tokio::time::sleep(interval).await,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use anyhow::anyhow;

    #[tokio::test]
    async fn the_last_look_stands_in_the_message() {
        let mut looks = 0;
        let second = async || {
            looks += 1;
            if looks == 2 {
                Ok(looks)
            } else {
                Err(anyhow!("not yet"))
            }
        };
        assert_eq!(
            until("two", Duration::from_secs(5), second).await.unwrap(),
            2
        );
        let never = async || -> Result<()> { Err(anyhow!("still dark")) };
        let error = until("light", Duration::ZERO, never)
            .await
            .unwrap_err()
            .to_string();
        assert!(
            error.contains("light") && error.contains("still dark"),
            "{error}"
        );
    }
}
