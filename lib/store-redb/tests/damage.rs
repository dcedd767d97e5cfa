//! Blocks that are flipped, torn or lost: found and named, or harmless, but never served.
//!
//! A store is written once; then its file is damaged in one place, opened and read whole, again
//! and again. `HANSE_ROUNDS` and `HANSE_SEED` say how often and from which seed.

#![allow(clippy::unwrap_used, clippy::panic, reason = "helpers of tests")]

use std::collections::BTreeMap;
use std::path::Path;

use hanse_seams::{Rng, Seams, Simulation};
use hanse_store::{Batch, Expect, Op, Store};
use hanse_store_redb::{Config, RedbStore};

mod common;

use common::{Truth, read, variable};

const BLOCK: usize = 4096;

/// All files of a store, in order.
fn files(directory: &Path) -> BTreeMap<String, Vec<u8>> {
    let entries = std::fs::read_dir(directory).unwrap().map(Result::unwrap);
    entries
        .map(|entry| {
            let name = entry.file_name().into_string().unwrap();
            (name, std::fs::read(entry.path()).unwrap())
        })
        .collect()
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
    let block = chance.below(bytes.len().div_ceil(BLOCK) as u64) as usize * BLOCK;
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
    let half = half.min(bytes.len() - block);
    let old = earlier.get(block..block + half).filter(|_| kind > 1);
    match old {
        Some(old) => bytes[block..block + half].copy_from_slice(old),
        None => bytes[block..block + half].fill(0),
    }
    format!("{half} bytes of the block at {block} lost ({kind})")
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn damaged_blocks_are_found_and_never_served() {
    let seed = variable("HANSE_SEED").unwrap_or(0) << 32;
    let rounds = variable("HANSE_ROUNDS").unwrap_or(150);
    let chance = Simulation::new(seed);
    let whole = tempfile::tempdir().unwrap();
    let mut config = Config::new(whole.path());
    // Several segments: an eighth of what is kept each.
    config.retention.bytes = 1 << 20;
    let store = RedbStore::open(&config, &Seams::real()).unwrap();
    write(&store, &chance, 100).await;
    let earlier = files(whole.path());
    write(&store, &chance, 100).await;
    let truth = read(&store).await.unwrap();
    let verified = store.verify().await.unwrap();
    assert_eq!(
        (verified.findings, verified.keys),
        (vec![], truth.entries.len() as u64)
    );
    // Some of the last writes are in the log alone.
    let killed = files(whole.path());
    store.close().await;
    drop(store);
    assert!(RedbStore::check_pages(&Config::new(whole.path())).unwrap());
    let closed = files(whole.path());
    assert!(closed.len() > 4, "{:?}", closed.keys());
    let (mut found, mut named, mut in_log) = (0, 0, 0);
    for round in 0..rounds {
        let mut left = [&killed, &closed][chance.below(2) as usize].clone();
        let logs = left.keys().filter(|name| name.starts_with("log-"));
        let logs: Vec<String> = logs.cloned().collect();
        let name = match chance.below(2) {
            0 => "hanse.redb".to_owned(),
            _ => logs[chance.below(logs.len() as u64) as usize].clone(),
        };
        let nothing = Vec::new();
        let before = earlier.get(&name).unwrap_or(&nothing);
        let what = damage(left.get_mut(&name).unwrap(), before, &chance);
        let place = tempfile::tempdir().unwrap();
        for (name, bytes) in left {
            std::fs::write(place.path().join(name), bytes).unwrap();
        }
        match judge(place.path(), &truth).await {
            Err(error) => panic!("seed {seed}, round {round}: {name}: {what}: {error}"),
            Ok(Some(text)) => {
                found += 1;
                in_log += u64::from(name.starts_with("log-"));
                named += u64::from(
                    ["version", "revision", "log-"]
                        .iter()
                        .any(|w| text.contains(w)),
                );
            }
            Ok(None) => {}
        }
    }
    println!(
        "{rounds} damages: {found} found, {named} of them by name, {in_log} in the log, \
         the others harmless"
    );
    assert!(
        found > rounds / 10 && in_log > rounds / 10,
        "too little was hit to prove anything: {found}, {in_log} in the log"
    );
}
