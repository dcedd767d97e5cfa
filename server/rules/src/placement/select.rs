//! The choice among sites that may be chosen: how many, and spread over what.
//!
//! Start at [`select`]. What is held comes first and stays while it can; then the sites that bring
//! a missing group; then the rest, in their rank. Invariant: a choice satisfies every constraint,
//! or nothing new is chosen. For one constraint over facts of one value a choice is found whenever
//! there is one; for several the search is greedy, from up to [`STARTS`] first sites.

use std::collections::BTreeMap;

use hanse_apis::sites::SpreadConstraint;

use super::Candidate;

/// First sites from which a choice is looked for.
const STARTS: usize = 64;

/// One site that may be chosen.
pub struct Entry<'a> {
    /// The site.
    pub site: &'a Candidate,
    /// Whether it holds the objects already.
    pub held: bool,
}

/// What came of a choice; indices are those of the entries.
#[derive(Debug, PartialEq, Eq)]
pub struct Selection {
    /// Whether each entry is chosen.
    pub chosen: Vec<bool>,
    /// What cannot be satisfied, if anything: then only what is held stays.
    pub unmet: Option<String>,
}

/// The values of a fact, as numbers.
struct Group {
    least: usize,
    most: usize,
    /// For each entry the values that it has.
    of: Vec<Vec<usize>>,
    values: usize,
}

/// Chooses at most `limit` of the entries, which are in the order in which they are preferred.
#[must_use]
pub fn select(entries: &[Entry<'_>], limit: usize, spread: &[SpreadConstraint]) -> Selection {
    let groups: Vec<Group> = spread.iter().map(|c| group(c, entries)).collect();
    let found = attempt(entries, limit, &groups, None, true)
        .or_else(|| attempt(entries, limit, &groups, None, false))
        .or_else(|| {
            let starts = 0..entries.len().min(STARTS);
            starts
                .into_iter()
                .find_map(|start| attempt(entries, limit, &groups, Some(start), false))
        });
    if let Some(chosen) = found {
        return Selection {
            chosen,
            unmet: None,
        };
    }
    let mut choice = Choice::new(&groups, entries.len());
    for (index, entry) in entries.iter().enumerate() {
        if entry.held && choice.count < limit {
            choice.add(index);
        }
    }
    Selection {
        chosen: choice.chosen,
        unmet: Some(unmet(spread, &groups, limit)),
    }
}

/// What the sites could be spread over, and what was asked.
fn unmet(spread: &[SpreadConstraint], groups: &[Group], limit: usize) -> String {
    let short = spread.iter().zip(groups).find(|(_, g)| g.values < g.least);
    match short {
        Some((c, g)) => format!(
            "{} needs {} groups, and the sites that fit have {}",
            c.by, g.least, g.values
        ),
        None => match groups.iter().map(|g| g.least).max() {
            Some(least) if least > limit => format!("{limit} sites cannot have {least} groups"),
            _ => "no choice satisfies all spread constraints together".to_owned(),
        },
    }
}

fn group(constraint: &SpreadConstraint, entries: &[Entry<'_>]) -> Group {
    let mut known: BTreeMap<&str, usize> = BTreeMap::new();
    let mut of = Vec::with_capacity(entries.len());
    for entry in entries {
        let mut mine = Vec::new();
        for value in values(&constraint.by, entry.site) {
            let next = known.len();
            mine.push(*known.entry(value).or_insert(next));
        }
        of.push(mine);
    }
    Group {
        least: constraint.least(),
        most: constraint.most(),
        of,
        values: known.len(),
    }
}

/// The values that a site has of a fact; none when it is not known.
pub fn values<'a>(fact: &str, site: &'a Candidate) -> Vec<&'a str> {
    let facts = &site.facts;
    let one = match fact {
        "provider" => &facts.provider,
        "jurisdiction" => &facts.jurisdiction,
        "operator" => &facts.operator,
        "region" => &facts.region,
        _ => return facts.zones.iter().map(String::as_str).collect(),
    };
    match one.as_str() {
        "" => Vec::new(),
        value => vec![value],
    }
}

/// A choice on its way.
struct Choice<'g> {
    groups: &'g [Group],
    chosen: Vec<bool>,
    count: usize,
    /// For each constraint how often each value is there, and how many are.
    seen: Vec<(Vec<u32>, usize)>,
}

impl<'g> Choice<'g> {
    fn new(groups: &'g [Group], entries: usize) -> Self {
        Self {
            groups,
            chosen: vec![false; entries],
            count: 0,
            seen: groups.iter().map(|g| (vec![0; g.values], 0)).collect(),
        }
    }

    /// How many values a site would bring to a constraint.
    fn fresh(&self, constraint: usize, index: usize) -> usize {
        let (seen, _) = &self.seen[constraint];
        let of = &self.groups[constraint].of[index];
        of.iter().filter(|value| seen[**value] == 0).count()
    }

    /// Whether a site may join without exceeding a maximum.
    fn fits(&self, index: usize) -> bool {
        !self.chosen[index]
            && (0..self.groups.len()).all(|c| {
                let group = &self.groups[c];
                !group.of[index].is_empty() && self.seen[c].1 + self.fresh(c, index) <= group.most
            })
    }

    /// How many constraints that lack groups a site would help.
    fn helps(&self, index: usize) -> usize {
        let helped = |c: &usize| self.lacks(*c) && self.fresh(*c, index) > 0;
        (0..self.groups.len()).filter(helped).count()
    }

    fn lacks(&self, constraint: usize) -> bool {
        self.seen[constraint].1 < self.groups[constraint].least
    }

    fn is_lacking(&self) -> bool {
        (0..self.groups.len()).any(|c| self.lacks(c))
    }

    fn add(&mut self, index: usize) {
        if std::mem::replace(&mut self.chosen[index], true) {
            return;
        }
        self.count += 1;
        for (group, (seen, values)) in self.groups.iter().zip(&mut self.seen) {
            for value in &group.of[index] {
                *values += usize::from(seen[*value] == 0);
                seen[*value] += 1;
            }
        }
    }

    /// Adds the sites that bring what is missing, the most helpful first.
    fn cover(&mut self, limit: usize) {
        while self.count < limit && self.is_lacking() {
            let mut best: Option<(usize, usize)> = None;
            for index in 0..self.chosen.len() {
                if !self.fits(index) {
                    continue;
                }
                let helps = self.helps(index);
                if helps > best.map_or(0, |(most, _)| most) {
                    best = Some((helps, index));
                }
            }
            match best {
                Some((_, index)) => self.add(index),
                None => return,
            }
        }
    }
}

fn attempt(
    entries: &[Entry<'_>],
    limit: usize,
    groups: &[Group],
    start: Option<usize>,
    keep: bool,
) -> Option<Vec<bool>> {
    let mut choice = Choice::new(groups, entries.len());
    if let Some(start) = start.filter(|start| limit > 0 && choice.fits(*start)) {
        choice.add(start);
    }
    for (index, entry) in entries.iter().enumerate() {
        if keep && entry.held && choice.count < limit && choice.fits(index) {
            choice.add(index);
        }
    }
    choice.cover(limit);
    if choice.is_lacking() {
        return None;
    }
    for index in 0..entries.len() {
        if choice.count < limit && choice.fits(index) {
            choice.add(index);
        }
    }
    Some(choice.chosen)
}
