//! The one line that every placed object carries: annotation `sites.hanse.dev/status` (rule 11).
//!
//! Invariant: at most 256 bytes, one line, no ages (an age would make the object change for ever).

use hanse_apis::sites::{ProjectionStatus, STATUS_LINE_BYTES, SiteDetail};

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
        ("Pending" | "", _, _) => 3,
        ("Removing", _, _) => 4,
        (_, _, "Degraded") => 5,
        (_, _, "Unknown") => 6,
        (_, _, "Progressing") => 7,
        _ => 8,
    }
}

/// The summary that tables show: `2/3 (1 unknown 14m)`; `age` is derived by whoever shows it.
#[must_use]
pub fn summary(status: &ProjectionStatus, age: Option<&str>) -> String {
    match (status.unknown, age) {
        (0, _) => status.ready.clone(),
        (n, None) => format!("{} ({n} unknown)", status.ready),
        (n, Some(age)) => format!("{} ({n} unknown {age})", status.ready),
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
        assert_eq!(summary(&status, Some("14m")), "1/3 (1 unknown 14m)");
    }
}
