//! A client that wants something to be so, whatever happens to the server meanwhile.
//!
//! Start at [`Client::want`]. A request is repeated until it is answered; what an earlier try has
//! done already is as good. The invariant: what is true in the end follows from what was wanted,
//! and not from how often the server died.

use std::time::Duration;

use anyhow::{Result, bail};
use hanse_seams::Seams;
use http::StatusCode;
use serde_json::{Value, json};

use crate::server::{Answer, Server};

/// How long something may take to become so, crashes included.
const PATIENCE: Duration = Duration::from_secs(600);

/// See the module's own words.
#[derive(Clone)]
pub struct Client {
    server: Server,
    seams: Seams,
}

/// A path of a logical cluster.
#[must_use]
pub fn at(cluster: &str, path: &str) -> String {
    format!("/clusters/{cluster}{path}")
}

impl Client {
    /// A client of the server.
    #[must_use]
    pub fn new(server: &Server) -> Self {
        Self {
            server: server.clone(),
            seams: server.world(),
        }
    }

    /// Does nothing for up to so many milliseconds.
    pub async fn idle(&self, millis: u64) {
        let pause = Duration::from_millis(self.seams.rng.below(millis.max(1)));
        self.seams.clock.sleep(pause).await;
    }

    /// Repeats a request until its answer is one of these codes.
    ///
    /// # Errors
    /// An answer that no repetition makes better, or none in time.
    pub async fn want(
        &self,
        method: &str,
        path: &str,
        body: Option<&Value>,
        good: &[StatusCode],
    ) -> Result<Answer> {
        let end = self.seams.clock.monotonic() + PATIENCE;
        let mut last = None;
        while self.seams.clock.monotonic() < end {
            match self.server.ask(method, path, body).await {
                Some(answer) if good.contains(&answer.status) => return Ok(answer),
                Some(answer) if is_final(&answer) => {
                    bail!("{method} {path}: {}: {}", answer.status, answer.body)
                }
                answer => last = answer,
            }
            self.idle(500).await;
        }
        bail!("{method} {path} never succeeds: {last:?}")
    }

    /// Makes an object, if it is not there.
    ///
    /// # Errors
    /// See [`Client::want`].
    pub async fn make(&self, collection: &str, object: &Value) -> Result<()> {
        let good = [StatusCode::CREATED, StatusCode::CONFLICT];
        self.want("POST", collection, Some(object), &good).await?;
        self.server.stumble();
        Ok(())
    }

    /// Asks for a deletion; that nothing is there is as good.
    ///
    /// # Errors
    /// See [`Client::want`].
    pub async fn delete(&self, path: &str, policy: &str) -> Result<()> {
        let options = json!({"propagationPolicy": policy});
        let good = [StatusCode::OK, StatusCode::ACCEPTED, StatusCode::NOT_FOUND];
        self.want("DELETE", path, Some(&options), &good).await?;
        self.server.stumble();
        Ok(())
    }

    /// Looks until an object is as wanted.
    ///
    /// # Errors
    /// It does not become so in time.
    pub async fn until(&self, path: &str, is: impl Fn(&Value) -> bool) -> Result<Value> {
        self.look(path, |answer| {
            answer.status == StatusCode::OK && is(&answer.body)
        })
        .await
    }

    /// Looks until nothing is there.
    ///
    /// # Errors
    /// It does not go in time.
    pub async fn until_gone(&self, path: &str) -> Result<()> {
        let gone = |answer: &Answer| answer.status == StatusCode::NOT_FOUND;
        self.look(path, gone).await?;
        Ok(())
    }

    async fn look(&self, path: &str, is: impl Fn(&Answer) -> bool) -> Result<Value> {
        let end = self.seams.clock.monotonic() + PATIENCE;
        let mut last = None;
        while self.seams.clock.monotonic() < end {
            match self.server.ask("GET", path, None).await {
                Some(answer) if is(&answer) => return Ok(answer.body),
                answer => last = answer.or(last),
            }
            self.idle(700).await;
        }
        bail!("{path} does not become as wanted: {last:?}")
    }
}

/// Whether the same request would be answered the same again.
fn is_final(answer: &Answer) -> bool {
    let code = answer.status;
    let waits = [
        // A kind or a workspace that is still to come; and one that is going.
        StatusCode::NOT_FOUND,
        StatusCode::FORBIDDEN,
        StatusCode::CONFLICT,
        StatusCode::TOO_MANY_REQUESTS,
    ];
    !code.is_server_error() && !waits.contains(&code)
}
