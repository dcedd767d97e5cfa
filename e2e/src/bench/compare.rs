//! This run beside an earlier one: what changed, and what of it is more than noise.
//!
//! Start at [`Earlier::read`]. The rule is plain, so that it can be judged: where both runs
//! repeated a number three times or more, a change counts when the two ranges of repeats do not
//! touch and the medians differ by more than [`CHANGE_MIN`]; where a number was taken only once,
//! nothing is known of its noise, and only a change beyond [`CHANGE_MIN_ONCE`] is marked, with a
//! question mark.

use std::path::Path;

use anyhow::{Result, bail};

use super::report::{Line, number};
use super::store;

/// A smaller change than this is not worth a word: code moves in memory from build to build.
const CHANGE_MIN: f64 = 0.03;
/// The same where a number was measured only once.
const CHANGE_MIN_ONCE: f64 = 0.15;
/// Repeats of which the range says something.
const REPEATS_MIN: usize = 3;

/// A run that was stored.
pub struct Earlier {
    lines: Vec<Line>,
}

/// What a change is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Change {
    Noise,
    Better,
    Worse,
    PerhapsBetter,
    PerhapsWorse,
}

impl Earlier {
    /// Reads what `--save` wrote: JSON lines.
    pub fn read(path: &Path) -> Result<Earlier> {
        let lines = store::read(path)?;
        if lines.is_empty() {
            bail!("{} holds no numbers", path.display());
        }
        Ok(Earlier { lines })
    }

    fn find(&self, line: &Line) -> Option<&Line> {
        let same = |other: &&Line| {
            (&other.name, &other.unit, other.at) == (&line.name, &line.unit, line.at)
        };
        self.lines.iter().find(same)
    }

    fn machine(&self) -> Option<&str> {
        self.lines.iter().find_map(|line| line.text.as_deref())
    }
}

/// The last two cells of a row: the earlier number, and the change.
pub fn cells(line: &Line, earlier: &Earlier) -> [String; 2] {
    let Some(before) = earlier.find(line) else {
        return [String::new(), "new".to_owned()];
    };
    let percent = (line.value / before.value - 1.0) * 100.0;
    let word = match change(before, line) {
        Change::Noise => "within noise",
        Change::Better => "BETTER",
        Change::Worse => "WORSE",
        Change::PerhapsBetter => "better?",
        Change::PerhapsWorse => "worse?",
    };
    let told = match percent.is_finite() {
        true => format!("{percent:+.1} % {word}"),
        false => word.to_owned(),
    };
    [number(before.value), told]
}

/// What the marks mean, and whether the two runs can be compared at all.
pub fn footnote(earlier: &Earlier, machine: Option<&str>) -> String {
    let mut text = format!(
        "Change: BETTER and WORSE where the ranges of the repeats do not touch and the medians \
         differ by more than {:.0} %\n(of three repeats each, one row in ten does so by chance; of \
         five, one in a hundred); a question mark\nwhere it was taken only once and differs by \
         more than {:.0} %.\n",
        CHANGE_MIN * 100.0,
        CHANGE_MIN_ONCE * 100.0,
    );
    let (then, now) = (earlier.machine(), machine);
    if then.map(without_date) != now.map(without_date) {
        let then = then.unwrap_or("not said");
        text.push_str(&format!("THE EARLIER RUN WAS TAKEN ELSEWHERE: {then}\n"));
    }
    text
}

/// The machine and the profile, without the day.
fn without_date(machine: &str) -> &str {
    machine.rsplit_once(';').map_or(machine, |(rest, _)| rest)
}

fn change(before: &Line, now: &Line) -> Change {
    let difference = (now.value / before.value - 1.0).abs();
    let better = (now.value > before.value) == now.more_is_better;
    let known = before.repeats >= REPEATS_MIN && now.repeats >= REPEATS_MIN;
    let apart = before.low > now.high || before.high < now.low;
    match (known, better) {
        (true, better) if apart && difference > CHANGE_MIN => {
            [Change::Worse, Change::Better][usize::from(better)]
        }
        (false, better) if difference > CHANGE_MIN_ONCE => {
            [Change::PerhapsWorse, Change::PerhapsBetter][usize::from(better)]
        }
        _ => Change::Noise,
    }
}

#[cfg(test)]
mod tests {
    use super::super::report::{Report, Row, Target};
    use super::*;

    fn line(samples: &[f64], unit: &str) -> Line {
        let mut report = Report::new(false);
        report.row(Row::new("row", unit, Target::None, samples));
        report.lines()[0].clone()
    }

    #[test]
    fn what_overlaps_is_noise() {
        let before = line(&[100.0, 110.0, 95.0], "us");
        assert_eq!(
            change(&before, &line(&[109.0, 130.0, 140.0], "us")),
            Change::Noise
        );
        assert_eq!(
            change(&before, &line(&[120.0, 130.0, 140.0], "us")),
            Change::Worse
        );
        assert_eq!(
            change(&before, &line(&[80.0, 81.0, 82.0], "us")),
            Change::Better
        );
    }

    #[test]
    fn a_small_change_is_noise_however_still_the_machine_was() {
        let before = line(&[100.0, 100.1, 99.9], "us");
        assert_eq!(
            change(&before, &line(&[102.0, 102.1, 101.9], "us")),
            Change::Noise
        );
    }

    #[test]
    fn one_sample_is_only_a_hint() {
        let before = line(&[100.0], "1/s");
        assert_eq!(change(&before, &line(&[110.0], "1/s")), Change::Noise);
        assert_eq!(
            change(&before, &line(&[130.0], "1/s")),
            Change::PerhapsBetter
        );
        assert_eq!(change(&before, &line(&[70.0], "1/s")), Change::PerhapsWorse);
    }

    #[test]
    fn a_stored_run_is_read_again_and_another_machine_is_named() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("run.jsonl");
        let mut report = Report::new(false);
        report.machine("fast");
        report.add("row", 4.0, "us", Target::None);
        store::save(report.lines(), &file).unwrap();
        let earlier = Earlier::read(&file).unwrap();
        let mut later = Report::new(false);
        later.machine("release");
        later.add("row", 2.0, "us", Target::None);
        let table = later.table(Some(&earlier));
        assert!(table.contains("-50.0 % better?"), "{table}");
        assert!(table.contains("TAKEN ELSEWHERE"), "{table}");
        assert!(!report.table(Some(&earlier)).contains("TAKEN ELSEWHERE"));
    }
}
