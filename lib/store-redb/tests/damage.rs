//! Blocks that are flipped, torn or lost: found and named, or harmless, but never served.
//!
//! A store is written once; then its file is damaged in one place, opened and read whole, again
//! and again. `HANSE_ROUNDS` and `HANSE_SEED` say how often and from which seed.

#![allow(clippy::unwrap_used, clippy::panic, reason = "helpers of tests")]

use std::collections::BTreeMap;
use std::path::Path;

use bytes::Bytes;
use hanse_seams::{Rng, Seams, Simulation};
use hanse_store::{Batch, Commit, Entry, Expect, Op, Range, Revision, Store};
use hanse_store_redb::{Config, RedbStore};

const BLOCK: usize = 4096;
const FILES: [&str; 2] = ["hanse.redb", "acknowledged"];

/// Everything that the store has to tell.
#[derive(Debug, PartialEq)]
struct Truth {
    entries: BTreeMap<Bytes, Entry>,
    commits: BTreeMap<Revision, Commit>,
}

async fn write(store: &RedbStore, chance: &Simulation, commits: u64) {
    for _ in 0..commits {
        let mut keys: Vec<u64> = (0..1 + chance.below(3)).map(|_| chance.below(60)).collect();
        keys.sort_unstable();
        keys.dedup();
        let op = |key: u64| Op {
            key: format!("key/{key}").into(),
            expect: Expect::Any,
            put: (chance.below(6) > 0).then(|| vec![key as u8; 200 + key as usize * 20].into()),
            attachment: None,
        };
        let ops = keys.into_iter().map(op).collect();
        let batch = Batch {
            ops,
            ..Batch::default()
        };
        store.commit(batch).await.unwrap();
    }
}

/// Reads everything there is, as a hub that opens does, and then the whole log.
async fn read(store: &RedbStore) -> Result<Truth, String> {
    let range = Range {
        limit: usize::MAX,
        ..Range::default()
    };
    let page = store.range(range).await;
    let page = page.map_err(|error| error.to_string())?;
    let log = store.log(store.floor(), usize::MAX).await;
    let log = log.map_err(|error| error.to_string())?;
    Ok(Truth {
        entries: page
            .entries
            .into_iter()
            .map(|entry| (entry.key.clone(), entry))
            .collect(),
        commits: log
            .commits
            .into_iter()
            .map(|commit| (commit.revision, commit))
            .collect(),
    })
}

/// What the damaged store says: what was found, or nothing when it tells the truth.
async fn judge(directory: &Path, truth: &Truth) -> Result<Option<String>, String> {
    let seams = Seams::real();
    let store = match RedbStore::open(&Config::new(directory), &seams) {
        Ok(store) => store,
        Err(error) => return Ok(Some(error.to_string())),
    };
    let found = match read(&store).await {
        Err(found) => Some(found),
        Ok(told) if told == *truth => store.verify().await.map_or_else(
            |error| Some(error.to_string()),
            |verified| verified.findings.into_iter().next(),
        ),
        Ok(_) => return Err("damage was served".into()),
    };
    store.close().await;
    Ok(found)
}

/// Damages one place of the file: bits flipped, or a block (or half of it) that is zero or as it
/// was some time before.
fn damage(bytes: &mut [u8], earlier: &[u8], chance: &Simulation) -> String {
    let block = chance.below((bytes.len() / BLOCK) as u64) as usize * BLOCK;
    let kind = chance.below(4);
    if kind == 0 {
        let bit = chance.below((bytes.len() * 8) as u64) as usize;
        bytes[bit / 8] ^= 1 << (bit % 8);
        return format!("bit {bit} flipped");
    }
    let half = if chance.below(2) == 0 {
        BLOCK
    } else {
        BLOCK / 2
    };
    let old = earlier.get(block..block + half).filter(|_| kind > 1);
    match old {
        Some(old) => bytes[block..block + half].copy_from_slice(old),
        None => bytes[block..block + half].fill(0),
    }
    format!("{half} bytes of the block at {block} lost ({kind})")
}

fn variable(name: &str) -> Option<u64> {
    std::env::var(name).ok()?.parse().ok()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn damaged_blocks_are_found_and_never_served() {
    let seed = variable("HANSE_SEED").unwrap_or(0) << 32;
    let rounds = variable("HANSE_ROUNDS").unwrap_or(150);
    let chance = Simulation::new(seed);
    let whole = tempfile::tempdir().unwrap();
    let file = whole.path().join(FILES[0]);
    let store = RedbStore::open(&Config::new(whole.path()), &Seams::real()).unwrap();
    write(&store, &chance, 100).await;
    let earlier = std::fs::read(&file).unwrap();
    write(&store, &chance, 100).await;
    let truth = read(&store).await.unwrap();
    let verified = store.verify().await.unwrap();
    assert_eq!(
        (verified.findings, verified.keys),
        (vec![], truth.entries.len() as u64)
    );
    store.close().await;
    drop(store);
    assert!(RedbStore::check_pages(&Config::new(whole.path())).unwrap());
    let (mut found, mut named) = (0, 0);
    for round in 0..rounds {
        let place = tempfile::tempdir().unwrap();
        for name in FILES {
            std::fs::copy(whole.path().join(name), place.path().join(name)).unwrap();
        }
        let mut bytes = std::fs::read(&file).unwrap();
        let what = damage(&mut bytes, &earlier, &chance);
        std::fs::write(place.path().join(FILES[0]), bytes).unwrap();
        match judge(place.path(), &truth).await {
            Err(error) => panic!("seed {seed}, round {round}: {what}: {error}"),
            Ok(Some(text)) => {
                found += 1;
                named += u64::from(text.contains("version") || text.contains("revision"));
            }
            Ok(None) => {}
        }
    }
    println!("{rounds} damages: {found} found, {named} of them by name, the others harmless");
    assert!(
        found > rounds / 10,
        "too little was hit to prove anything: {found}"
    );
}
