//! What must hold of everything that lies in redb and in the log, looked at as of one moment.
//!
//! Start at [`all`]. Opening looks at the end of the log only; this walks over all of it. The
//! invariant: a finding names what is broken, and a walk that meets damage goes on with the next
//! segment. redb's own pages are compared with their checksums by `RedbStore::check_pages`.

use std::collections::BTreeMap;

use bytes::Bytes;
use hanse_store::{Verified, Version};
use redb::{ReadableTable as _, ReadableTableMetadata as _};

use crate::format::{Failure, read_value};
use crate::limits::FINDINGS_MAX;
use crate::log::{Frames, Part};
use crate::read::View;
use crate::segment::{Record, Records};

/// Walks over the present, then over the log.
pub(crate) fn all(view: &View) -> Result<Verified, Failure> {
    let mut verified = Verified::default();
    let (revision, floor) = (view.revision, view.floor);
    if floor > revision {
        finding(
            &mut verified,
            format!("the floor {floor} is above the revision {revision}"),
        );
    }
    present(view, &mut verified)?;
    let mut last = BTreeMap::new();
    let mut expected = None;
    for part in &view.log {
        let header = &part.0.header;
        if expected.is_some_and(|expected| expected != (header.first, header.chain)) {
            let text = format!("the log does not go on at revision {}", header.first);
            finding(&mut verified, text);
        }
        expected = segment(part, &mut last, &mut verified)?;
    }
    if expected.is_some_and(|(next, _)| next != revision.next()) {
        finding(
            &mut verified,
            format!("the log does not end with revision {revision}"),
        );
    }
    latest(view, &last, &mut verified)?;
    verified.findings.truncate(FINDINGS_MAX);
    Ok(verified)
}

fn finding(verified: &mut Verified, text: String) {
    if verified.findings.len() <= FINDINGS_MAX {
        verified.findings.push(text);
    }
}

/// Every key's value is there, whole, and its own.
fn present(view: &View, verified: &mut Verified) -> Result<(), Failure> {
    let base = &view.base;
    let mut rows = 0;
    for item in base.present.iter()? {
        let (key, bytes) = item?;
        rows += 1;
        match read_value(key.value(), bytes.value()) {
            Ok((version, _)) if version > base.revision.end() => {
                let name = String::from_utf8_lossy(key.value());
                let text = format!("{name} is at {version}, after the last revision");
                finding(verified, text);
            }
            Ok(_) => {}
            Err(failure) => finding(verified, failure.to_string()),
        }
    }
    if base.present.len()? != rows {
        finding(verified, "the present counts its keys wrongly".to_owned());
    }
    verified.keys = rows;
    for (key, slot) in &view.slots {
        let below = base.present.get(&key[..])?.is_some();
        match slot.value {
            Some(_) if !below => verified.keys += 1,
            None if below => verified.keys -= 1,
            _ => {}
        }
    }
    Ok(())
}

type Latest = BTreeMap<Bytes, Option<Version>>;

/// Every record is whole, and says of what was before it what the log itself says. What follows
/// the segment, if it could be read to its end.
fn segment(
    part: &Part,
    latest: &mut Latest,
    verified: &mut Verified,
) -> Result<Option<(hanse_store::Revision, u32)>, Failure> {
    let mut frames = Frames::of(part);
    loop {
        let (frame, body) = match frames.next() {
            Ok(Some(found)) => found,
            Ok(None) => return Ok(Some((frames.expected, frames.chain.unwrap_or_default()))),
            Err(failure @ Failure::Log(_)) => {
                finding(verified, failure.to_string());
                // What the keys of the lost records had is not known any more.
                latest.clear();
                return Ok(None);
            }
            Err(failure) => return Err(failure),
        };
        for record in Records::new(&frame, body) {
            let Some(record) = record else {
                finding(verified, Failure::Log(frame.first).to_string());
                break;
            };
            verified.records += 1;
            check(&record, latest, verified);
        }
    }
}

fn check(record: &Record<'_>, latest: &mut Latest, verified: &mut Verified) {
    let (version, previous) = (record.version, record.previous);
    let before = previous.map(|(version, _)| version);
    let now = record.value.map(|_| version);
    let known = latest.insert(Bytes::copy_from_slice(record.key), now);
    let fits = match known {
        Some(known) => known == before,
        None => before.is_none_or(|before| before < version),
    };
    if !fits {
        finding(
            verified,
            format!("record {version} follows {before:?}, which cannot be"),
        );
    }
}

/// The present is what the log left.
fn latest(view: &View, latest: &Latest, verified: &mut Verified) -> Result<(), Failure> {
    for (key, version) in latest {
        let shown = match view.slots.get(key) {
            Some(slot) => slot.value.as_ref().map(|_| slot.version),
            None => match view.base.get(key) {
                Ok(found) => found.map(|(version, _)| version),
                // Named already.
                Err(Failure::Value { .. }) => continue,
                Err(failure) => return Err(failure),
            },
        };
        if shown != *version {
            let name = String::from_utf8_lossy(key);
            let text = format!("{name} is shown at version {shown:?}, the log has {version:?}");
            finding(verified, text);
        }
    }
    Ok(())
}
