//! Whether a site is heard: Live, Late or Lost.
//!
//! Invariant: a function of the last renewal, the intervals and now; nobody stores the result
//! where it could go stale, except the two turns in and out of Lost. Seconds since 1970 in, so
//! that no clock is read here.

use hanse_apis::sites::Times;

/// How well a site is heard.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Contact {
    /// It renewed its lease in time.
    Live,
    /// It is overdue; its last word still counts.
    Late,
    /// It has been silent so long that nothing is known.
    Lost,
}

impl Contact {
    /// The word that stands in objects.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Live => "Live",
            Self::Late => "Late",
            Self::Lost => "Lost",
        }
    }
}

/// What follows from a last renewal.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Derived {
    /// How the site is heard now.
    pub contact: Contact,
    /// Since when, in seconds since 1970.
    pub since: i64,
    /// When this changes if nothing is heard, in seconds since 1970.
    pub changes: Option<i64>,
}

/// Derives the contact. A renewal from the future (a site's clock that runs ahead) counts as one
/// of this second.
#[must_use]
pub fn contact(last: i64, now: i64, times: &Times) -> Derived {
    let last = last.min(now);
    let (late, lost) = (last + times.late(), last + times.lost());
    if now < late {
        Derived {
            contact: Contact::Live,
            since: last,
            changes: Some(late),
        }
    } else if now < lost {
        Derived {
            contact: Contact::Late,
            since: late,
            changes: Some(lost),
        }
    } else {
        Derived {
            contact: Contact::Lost,
            since: lost,
            changes: None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn silence_makes_late_and_then_lost() {
        let times = Times::default();
        let at = |now| contact(1000, now, &times);
        assert_eq!(
            at(1029),
            Derived {
                contact: Contact::Live,
                since: 1000,
                changes: Some(1030)
            }
        );
        assert_eq!(
            at(1030),
            Derived {
                contact: Contact::Late,
                since: 1030,
                changes: Some(1300)
            }
        );
        assert_eq!(
            at(1300),
            Derived {
                contact: Contact::Lost,
                since: 1300,
                changes: None
            }
        );
        assert_eq!(at(900).contact, Contact::Live);
    }

    #[test]
    fn silly_intervals_keep_their_order() {
        let times = Times {
            lease_seconds: 60,
            late_seconds: 5,
            lost_seconds: 1,
        };
        assert_eq!((times.lease(), times.late(), times.lost()), (60, 60, 60));
    }
}
