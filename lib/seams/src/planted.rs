//! Bugs that a test plants on purpose, to see that its net catches fish.
//!
//! A [`Planted`] comes with the seams, so whoever has them can ask. The invariant: only a
//! simulation can plant ([`crate::Simulation::with_bug`]); everywhere else the answer is no.

/// A bug that can be planted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Bug {
    /// A store answers that a write is durable before it is.
    EarlyAcknowledgement,
    /// One event in so many never reaches a watcher that has caught up.
    LostEvent,
    /// A deletion by a controller takes an object that a finalizer holds.
    SkippedFinalizer,
    /// The garbage collector overlooks a dependent of an owner that is gone.
    ForgottenDependent,
    /// A restart takes the position of the controllers for one that lies further on.
    SkippedReplay,
}

impl Bug {
    /// All of them.
    pub const ALL: [Self; 5] = [
        Self::EarlyAcknowledgement,
        Self::LostEvent,
        Self::SkippedFinalizer,
        Self::ForgottenDependent,
        Self::SkippedReplay,
    ];
}

/// What is planted: at most one bug, and none outside of a simulation.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Planted(pub(crate) Option<Bug>);

impl Planted {
    /// Whether it is this one.
    #[must_use]
    pub fn is(self, bug: Bug) -> bool {
        self.0 == Some(bug)
    }
}
