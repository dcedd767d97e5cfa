//! Aligned columns, as kubectl prints them.

use hanse_seams::Clock as _;

/// A table: heads in capitals, cells padded to the widest, three spaces between.
#[must_use]
pub fn table(heads: &[&str], rows: &[Vec<String>]) -> String {
    let width = |i: usize| {
        let cells = rows
            .iter()
            .filter_map(|r| r.get(i))
            .map(|c| c.chars().count());
        cells.chain([heads[i].chars().count()]).max().unwrap_or(0)
    };
    let widths: Vec<usize> = (0..heads.len()).map(width).collect();
    let mut out = String::new();
    let head: Vec<String> = heads.iter().map(|h| h.to_uppercase()).collect();
    for row in std::iter::once(&head).chain(rows) {
        let mut line = String::new();
        for (cell, width) in row.iter().zip(&widths) {
            line.push_str(&format!("{cell:<width$}   "));
        }
        out.push_str(line.trim_end());
        out.push('\n');
    }
    out
}

/// `<none>` for an empty cell.
#[must_use]
pub fn cell(text: &str) -> String {
    if text.is_empty() {
        "<none>".to_owned()
    } else {
        text.to_owned()
    }
}

/// How long ago a time was, as kubectl says it; `<none>` without one.
#[must_use]
pub fn age(text: Option<&str>) -> String {
    let Some(then) = text.and_then(hanse_wire::time::parse) else {
        return "<none>".to_owned();
    };
    let now = hanse_seams::RealClock::new().wall().as_micros();
    let now = i64::try_from(now).unwrap_or(i64::MAX);
    hanse_wire::time::human_duration(now - then)
}

#[cfg(test)]
mod tests {
    #[test]
    fn columns_line_up() {
        let rows = vec![
            vec!["a".into(), "long cell".into()],
            vec!["bbbb".into(), "x".into()],
        ];
        assert_eq!(
            super::table(&["Name", "What"], &rows),
            "NAME   WHAT\na      long cell\nbbbb   x\n"
        );
    }
}
