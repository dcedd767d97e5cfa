//! The one line that every placed object carries: annotation `sites.hanse.dev/status` (rule 11).
//!
//! Invariant: at most 256 bytes, one line, no ages (an age would make the object change for ever).

use hanse_apis::sites::{ProjectionStatus, STATUS_LINE_BYTES, SiteDetail};

/// Reason of the conditions of an object that goes to no site.
pub const NOT_PLACED: &str = "NotPlaced";

/// The line for a Projection's status: counts, then what is unknown since when, then the worst
/// site with its cause.
#[must_use]
pub fn line(status: &ProjectionStatus) -> String {
    let mut out = status.ready.clone();
    if status.unknown > 0 {
        out.push_str(&format!(
            " ({} unknown since {})",
            status.unknown, status.unknown_since
        ));
    }
    if let Some(nowhere) = status.conditions.iter().find(|c| c.reason == NOT_PLACED) {
        out.push_str(&format!(" {NOT_PLACED}: {}", nowhere.message));
    }
    if let Some(site) = status.sites.iter().find(|s| s.error.is_some())
        && let Some(error) = &site.error
    {
        out.push_str(&format!(
            " {}: {}: {}",
            site.site, error.reason, error.message
        ));
    } else if let Some(site) = status.sites.iter().find(|s| s.health == "Degraded") {
        out.push_str(&format!(" {}: Degraded", site.site));
    }
    cut(&out)
}

/// One line of at most 256 bytes: control characters become spaces, the end becomes `...`.
#[must_use]
pub fn cut(text: &str) -> String {
    let text: String = text
        .chars()
        .map(|c| if c.is_control() { ' ' } else { c })
        .collect();
    if text.len() <= STATUS_LINE_BYTES {
        return text;
    }
    let mut end = STATUS_LINE_BYTES - 3;
    while !text.is_char_boundary(end) {
        end -= 1;
    }
    format!("{}...", &text[..end])
}

/// How bad a site's state is, worst first.
#[must_use]
pub fn badness(site: &SiteDetail) -> u8 {
    match (
        site.state.as_str(),
        site.certainty.as_str(),
        site.health.as_str(),
    ) {
        ("Failed" | "Incompatible", _, _) => 0,
        ("Conflict", _, _) => 1,
        (_, "Lost", _) => 2,
        ("Pending" | "Waiting" | "", _, _) => 3,
        ("Removing", _, _) => 4,
        (_, _, "Degraded") => 5,
        (_, _, "Unknown") => 6,
        (_, _, "Progressing") => 7,
        _ => 8,
    }
}

/// What follows from the clock, as whoever shows a Projection derives it.
#[derive(Clone, Debug, Default)]
pub struct Ages {
    /// For how long the first of the Lost sites has been unknown.
    pub unknown: Option<String>,
    /// How many sites are overdue, and the first of them for how long.
    pub late: Option<(usize, String)>,
}

/// The summary that tables show: `2/3 (1 unknown 14m)`, `3/3 (1 late 12s)`.
#[must_use]
pub fn summary(status: &ProjectionStatus, ages: &Ages) -> String {
    let mut parts = Vec::new();
    match (status.unknown, &ages.unknown) {
        (0, _) => {}
        (n, None) => parts.push(format!("{n} unknown")),
        (n, Some(age)) => parts.push(format!("{n} unknown {age}")),
    }
    if let Some((n, age)) = &ages.late {
        parts.push(format!("{n} late {age}"));
    }
    match parts.is_empty() {
        true => status.ready.clone(),
        false => format!("{} ({})", status.ready, parts.join(", ")),
    }
}

/// The worst site's cause, to stand behind the summary: ` edge: Rejected`.
#[must_use]
pub fn worst(status: &ProjectionStatus) -> String {
    let failing = status.sites.iter().filter_map(|site| {
        let error = site.error.as_ref()?;
        Some((site.site.as_str(), error.reason.as_str()))
    });
    let degraded = status.sites.iter().filter(|s| s.health == "Degraded");
    let all: Vec<(&str, &str)> = failing
        .chain(degraded.map(|s| (s.site.as_str(), "Degraded")))
        .collect();
    match all.as_slice() {
        [] => String::new(),
        [(site, reason)] => format!(" {site}: {reason}"),
        [(site, reason), ..] if status.failed > 1 => {
            format!(" {site}: {reason} (and {} more)", status.failed - 1)
        }
        [(site, reason), ..] => format!(" {site}: {reason}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use hanse_apis::sites::ApplyError;

    #[test]
    fn says_how_many_and_the_worst() {
        let status = ProjectionStatus {
            ready: "1/3".into(),
            unknown: 1,
            unknown_since: "2026-11-21T03:00:00Z".into(),
            sites: vec![SiteDetail {
                site: "edge".into(),
                error: Some(ApplyError {
                    reason: "Incompatible".into(),
                    message: ".spec.x:\nnot declared ".to_owned() + &"é".repeat(400),
                    ..ApplyError::default()
                }),
                ..SiteDetail::default()
            }],
            ..ProjectionStatus::default()
        };
        let line = line(&status);
        assert!(line.len() <= 256 && line.ends_with("..."), "{line}");
        assert!(
            line.starts_with(
                "1/3 (1 unknown since 2026-11-21T03:00:00Z) edge: Incompatible: .spec.x: not"
            ),
            "{line}"
        );
        let mut ages = Ages {
            unknown: Some("14m".into()),
            late: None,
        };
        assert_eq!(summary(&status, &ages), "1/3 (1 unknown 14m)");
        ages.late = Some((2, "40s".into()));
        assert_eq!(summary(&status, &ages), "1/3 (1 unknown 14m, 2 late 40s)");
        assert_eq!(worst(&status), " edge: Incompatible");
    }
}
