//! What must hold of everything that lies in the file, looked at on one snapshot.
//!
//! Start at [`all`]. Opening looks at the latest commits only; this walks over all of them. The
//! invariant: a finding names what is broken, and a walk that meets a broken record goes on behind
//! it. redb's own pages are compared with their checksums by `RedbStore::check_pages`.

use std::collections::BTreeSet;

use hanse_store::{Verified, Version};
use redb::{Database, ReadableDatabase, ReadableTable, ReadableTableMetadata};

use crate::format::{self, Failure, META, Record, with_record};
use crate::limits::FINDINGS_MAX;
use crate::read::{self, Snapshot};

/// Walks over the present, then over the log.
pub(crate) fn all(database: &Database) -> Result<Verified, Failure> {
    let snapshot = Snapshot::new(database).map_err(|error| match error {
        read::Error::Failed(failure) => failure,
        read::Error::Refused(why) => Failure::Refused(why.to_string()),
    })?;
    let mut verified = Verified::default();
    numbers(database, &snapshot, &mut verified)?;
    head(&snapshot, &mut verified)?;
    log(&snapshot, &mut verified)?;
    let Snapshot {
        revision, floor, ..
    } = snapshot;
    let chain = format::check_chain(&snapshot.log, &snapshot.head, revision, floor, u64::MAX);
    if let Err(error) = chain {
        finding(&mut verified, error.to_string());
    }
    verified.findings.truncate(FINDINGS_MAX);
    Ok(verified)
}

fn finding(verified: &mut Verified, text: String) {
    if verified.findings.len() <= FINDINGS_MAX {
        verified.findings.push(text);
    }
}

fn numbers(
    database: &Database,
    snapshot: &Snapshot,
    verified: &mut Verified,
) -> Result<(), Failure> {
    let read = database.begin_read()?;
    let meta = read.open_table(META)?;
    let swept = Version(format::number(&meta, format::META_SWEPT)?);
    let Snapshot {
        revision, floor, ..
    } = snapshot;
    if floor > revision {
        finding(
            verified,
            format!("the floor {floor} is above the revision {revision}"),
        );
    }
    if swept > floor.end() {
        finding(
            verified,
            format!("compaction went to {swept}, above the floor {floor}"),
        );
    }
    Ok(())
}

/// Every key's value is there, whole, and its own.
fn head(snapshot: &Snapshot, verified: &mut Verified) -> Result<(), Failure> {
    for item in snapshot.head.iter()? {
        let (key, version) = item?;
        let (key, version) = (key.value(), version.value());
        verified.keys += 1;
        let name = String::from_utf8_lossy(key);
        if Version(version) > snapshot.revision.end() {
            finding(
                verified,
                format!("{name} is at {version}, after the last revision"),
            );
        }
        let found = with_record(&snapshot.log, version, |record| match record.value {
            Some(_) if record.key == key => None,
            Some(_) => Some(String::from_utf8_lossy(record.key).into_owned()),
            None => Some("a deletion".to_owned()),
        });
        match found {
            Ok(None) => {}
            Ok(Some(other)) => {
                finding(
                    verified,
                    format!("{name} is at {version}, which is of {other}"),
                );
            }
            Err(Failure::Record(version)) => {
                let key = name.into_owned();
                finding(verified, Failure::Value { key, version }.to_string());
            }
            Err(failure) => return Err(failure),
        }
    }
    if snapshot.head.len()? != verified.keys {
        finding(verified, "the present counts its keys wrongly".to_owned());
    }
    Ok(())
}

/// Every record is whole, has what was before it, and belongs to a commit that there was.
fn log(snapshot: &Snapshot, verified: &mut Verified) -> Result<(), Failure> {
    let mut before: BTreeSet<u64> = BTreeSet::new();
    for item in snapshot.log.iter()? {
        let (version, bytes) = item?;
        let version = version.value();
        verified.records += 1;
        let Some(record) = Record::read(version, bytes.value()) else {
            finding(verified, Failure::Record(version).to_string());
            continue;
        };
        if Version(version) > snapshot.revision.end() {
            finding(
                verified,
                format!("record {version} is after the last revision"),
            );
        }
        let previous = record.previous;
        if previous == 0 || Version(version).revision() <= snapshot.floor {
            continue;
        }
        let same = |other: Record<'_>| other.key == record.key && other.value.is_some();
        if previous >= version || !before.insert(previous) {
            finding(
                verified,
                format!("record {version} follows {previous}, which cannot be"),
            );
        } else if !with_record(&snapshot.log, previous, same).unwrap_or(false) {
            let text = format!("record {version} follows {previous}, which is missing or damaged");
            finding(verified, text);
        }
    }
    Ok(())
}
