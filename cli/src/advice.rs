//! What to do next, said below an error.
//!
//! An error of our own carries its advice ([`advise`]); for what a server answered or failed to
//! answer there is a table ([`of`]). Invariant: advice is a sentence or a command that can be
//! followed as it stands, never a guess about what the user meant.

use hanse_client::Error;

/// A message with what to do about it.
#[derive(Debug)]
struct Advised {
    message: String,
    advice: String,
}

impl std::fmt::Display for Advised {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.message)
    }
}

impl std::error::Error for Advised {}

/// An error with what to do about it.
pub fn advise(message: impl Into<String>, advice: impl Into<String>) -> anyhow::Error {
    Advised {
        message: message.into(),
        advice: advice.into(),
    }
    .into()
}

/// What to do about an error, when there is something to say.
#[must_use]
pub fn of(error: &anyhow::Error) -> Option<String> {
    error.chain().find_map(|cause| {
        if let Some(advised) = cause.downcast_ref::<Advised>() {
            return Some(advised.advice.clone());
        }
        let cause = cause.downcast_ref::<Error>()?;
        let advice = match cause {
            Error::Unreachable(_) => {
                "Is the server running, and does the kubeconfig name its address? \
                 `hanse start` starts one and writes .hanse/admin.kubeconfig."
            }
            Error::Refused(_) if cause.code() == 401 => {
                "The credentials of this context are not known to the server. The one of \
                 admin.kubeconfig is written anew at each start of the server."
            }
            Error::Refused(_) if cause.code() == 403 => {
                "`kubectl auth can-i --list` says what you may do in this workspace; \
                 `kubectl ws .` says which one it is."
            }
            _ => return None,
        };
        Some(advice.to_owned())
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use anyhow::Context as _;

    #[test]
    fn advice_is_found_below_what_was_added_on_the_way() {
        let own = Err::<(), _>(advise("no such thing", "make one")).context("looking");
        let own = own.unwrap_err();
        assert_eq!(format!("{own:#}"), "looking: no such thing");
        assert_eq!(of(&own).as_deref(), Some("make one"));
        let gone = anyhow::Error::from(Error::Unreachable("refused".into()));
        assert!(of(&gone).unwrap().contains("hanse start"));
        assert_eq!(of(&anyhow::anyhow!("other")), None);
    }
}
